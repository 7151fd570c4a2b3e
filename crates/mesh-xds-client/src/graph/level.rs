use mesh_core::finding::FailureKind;
use mesh_core::resource::Entry;

/// How much is known of something that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Asked for.
    Unknown,
    /// Failed because the control plane cannot be reached: good enough to fail a request that
    /// has nothing else, not good enough to replace what works.
    Unreached,
    /// A value, or a failure that the control plane stands for.
    Known,
}

impl Level {
    pub(super) fn of<T>(entry: &Entry<T>) -> Self {
        match (&entry.value, &entry.failure) {
            (Some(_), _) => Self::Known,
            (None, Some(failure)) if failure.kind == FailureKind::Unreachable => Self::Unreached,
            (None, Some(_)) => Self::Known,
            (None, None) => Self::Unknown,
        }
    }

    /// What is asked of the parts of something, by whether an older one works.
    pub(super) fn required(has_working: bool) -> Self {
        if has_working { Self::Known } else { Self::Unreached }
    }
}

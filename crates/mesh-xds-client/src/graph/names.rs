//! Sets of names, most of which have one.

use mesh_core::resource::Name;

/// Names, each once, in order. One takes no room beside the set: there are several for each cluster.
#[derive(Debug, Default)]
pub(super) enum Names {
    #[default]
    None,
    One(Name),
    Many(Vec<Name>),
}

impl Names {
    /// Whether it is new.
    pub(super) fn insert(&mut self, name: Name) -> bool {
        let Err(at) = self.as_slice().binary_search(&name) else { return false };
        *self = match std::mem::take(self) {
            Self::None => Self::One(name),
            Self::One(one) => {
                let mut all = vec![one];
                all.insert(at, name);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.insert(at, name);
                Self::Many(all)
            }
        };
        true
    }

    pub(super) fn remove(&mut self, name: &Name) {
        match self {
            Self::One(one) if one == name => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(all) => {
                if let Ok(at) = all.binary_search(name) {
                    all.remove(at);
                }
                if all.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Name> {
        self.as_slice().iter()
    }

    fn as_slice(&self) -> &[Name] {
        match self {
            Self::None => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(all) => all,
        }
    }
}

impl IntoIterator for Names {
    type Item = Name;
    type IntoIter = std::vec::IntoIter<Name>;

    fn into_iter(self) -> Self::IntoIter {
        let all = match self {
            Self::None => Vec::new(),
            Self::One(name) => vec![name],
            Self::Many(all) => all,
        };
        all.into_iter()
    }
}

impl<'n> IntoIterator for &'n Names {
    type Item = &'n Name;
    type IntoIter = std::slice::Iter<'n, Name>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once_and_in_order_however_many() {
        let mut names = Names::default();
        let given = ["c", "a", "b", "a"].map(Name::from);
        let new = given.clone().map(|name| names.insert(name));
        assert_eq!(new, [true, true, true, false]);
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
        names.remove(&"x".into());
        for (left, name) in [2, 1, 0].into_iter().zip(&given) {
            names.remove(name);
            assert_eq!(names.iter().count(), left);
        }
        assert!(matches!(names, Names::None) && names.is_empty());
        names.insert("d".into());
        names.remove(&"x".into());
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["d".into()]);
    }
}

//! Values that occur in resource after resource, kept once.

use std::sync::{Arc, Mutex, PoisonError};

/// The values that occurred last, the latest in front.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Vec<Arc<T>>>);

/// How many are looked through. Thousands of clusters come from a few templates; what differs in each
/// is not worth more comparisons.
const KEPT: usize = 8;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: PartialEq> Recent<T> {
    /// A value equal to `made`: one that occurred before, if there is one.
    pub(super) fn share(&self, made: &Arc<T>) -> Arc<T> {
        // A list of values is as good after a panic as before.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter().position(|known| *known == *made) {
            Some(0) => {}
            Some(at) => known[..=at].rotate_right(1),
            None => {
                known.truncate(KEPT - 1);
                known.insert(0, made.clone());
            }
        }
        known[0].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_only_so_many() {
        let recent = Recent::default();
        let first = recent.share(&Arc::new(0));
        assert!(Arc::ptr_eq(&recent.share(&Arc::new(0)), &first));
        for other in 1..KEPT {
            recent.share(&Arc::new(other));
            assert!(Arc::ptr_eq(&recent.share(&Arc::new(0)), &first), "used now and then");
        }
        for other in KEPT..2 * KEPT {
            recent.share(&Arc::new(other));
        }
        assert!(!Arc::ptr_eq(&recent.share(&Arc::new(0)), &first), "long ago");
        assert_eq!(recent.0.lock().unwrap().len(), KEPT);
    }
}

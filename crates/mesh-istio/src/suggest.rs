//! The nearest valid name for a mistyped one.

/// The candidate most like `name`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One slip in three characters; a guess, generous enough for `weigth` and `hosst` and too
    // strict for `host` to become `port`.
    nearest_within((name.chars().count() / 3).max(1), name, candidates)
}

/// The candidate most like `name`, of those that `slips` letters at most make different.
pub(crate) fn nearest_within<'a>(
    slips: usize,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_swapped_letters_and_refuses_other_words() {
        let fields = ["host", "port", "weight", "subset"];
        assert_eq!(nearest("weigth", fields), Some("weight"));
        assert_eq!(nearest("Subset", fields), Some("subset"));
        assert_eq!(nearest("timeout", fields), None);
    }
}

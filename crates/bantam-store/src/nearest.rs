//! Suggests names that the user may have meant.

/// Most names that a hint lists.
const NAMES_MAX: usize = 3;

/// Returns the candidates similar to `word`, nearest first: misspellings, and names that contain it.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let word = word.to_ascii_lowercase();
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            // A missing tag or owner does not count as a difference.
            let bare = lower.split(':').next().unwrap_or(&lower);
            let last = bare.rsplit('/').next().unwrap_or(bare);
            let distance = [&*lower, bare, last]
                .iter()
                .map(|form| strsim::damerau_levenshtein(&word, form))
                .min()
                .unwrap_or(usize::MAX);
            let is_part = word.len() >= 3 && lower.contains(&word);
            (is_part || distance <= (word.chars().count() / 3).max(1)).then_some((distance, candidate))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(NAMES_MAX).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_and_parts_are_suggested_but_unrelated_names_are_not() {
        let names = ["Qwen/Qwen3-0.6B:Q8_0", "smol:latest", "Qwen/Qwen3-0.6B:Q4_K_M"];
        assert_eq!(nearest("smoll", names), ["smol:latest"]);
        assert_eq!(nearest("qwen3-0.6b", names).len(), 2);
        assert_eq!(nearest("Qwen/Qwen3-0.6B:Q8_1", names)[0], "Qwen/Qwen3-0.6B:Q8_0");
        assert!(nearest("gemma", names).is_empty());
    }
}

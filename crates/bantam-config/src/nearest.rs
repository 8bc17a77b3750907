//! The word somebody probably meant.

/// Returns the candidate that is closest to `word`, if one is close enough to be a slip of the hand.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || candidate.to_lowercase() == word)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the help for a `word` that is not among `candidates`: the closest one, or all of them.
pub(crate) fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(candidate) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let mut all: Vec<&str> = candidates.into_iter().collect();
    let hidden = all.len().saturating_sub(20);
    all.truncate(20);
    let rest = if hidden > 0 { format!(" and {hidden} more") } else { String::new() };
    (!all.is_empty()).then(|| format!("known here: {}{rest}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slip_but_does_not_guess() {
        let keys = ["bind", "threads", "body_bytes_max"];
        assert_eq!(nearest("bnid", keys), Some("bind"));
        assert_eq!(nearest("body_byte_max", keys), Some("body_bytes_max"));
        assert_eq!(nearest("THREADS", keys), Some("threads"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(suggestion("colour", keys).unwrap(), "known here: bind, threads, body_bytes_max");
        assert_eq!(suggestion("colour", []), None);
    }
}

//! Model names: `NAME[:TAG][@REVISION]`.

use std::fmt;
use std::str::FromStr;

/// Longest part of a name, in bytes.
const PART_BYTES_MAX: usize = 96;
/// Prefixes of hub names that users paste from an address.
const HUB_PREFIXES: [&str; 4] = ["https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/"];

/// The name of a model: `NAME`, or `ORG/REPO` as on the hub. A `:TAG` tells variants of one model apart, such as
/// quantisations, and `@REVISION` selects a revision on the hub.
///
/// Comparisons of names and tags ignore ASCII case, so `:q4_k_m` means `:Q4_K_M`.
#[derive(Clone, Debug)]
pub struct ModelName {
    name: String,
    tag: Option<String>,
    revision: Option<String>,
}

/// Why a text is not a valid model name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid model name: {what}")]
pub struct ParseNameError {
    /// The text, shortened if it is long.
    pub text: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl ModelName {
    /// The tag of a model without an explicit one.
    pub const DEFAULT_TAG: &str = "latest";

    /// Returns the name without tag and revision: `NAME` or `ORG/REPO`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the revision, if there is one.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Returns whether the name has the form `ORG/REPO` of a hub model.
    pub fn is_of_hub(&self) -> bool {
        self.name.contains('/')
    }

    /// Returns the name with another tag and without a revision: the form under which manifests are stored.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseNameError> {
        check_part(tag).map_err(|what| ParseNameError { text: shortened(tag), what })?;
        Ok(Self { name: self.name.clone(), tag: Some(tag.to_owned()), revision: None })
    }

    /// Returns the path of this model's manifest below `manifests/`.
    pub(crate) fn manifest_path(&self) -> String {
        format!("{}/{}.json", self.name, self.tag.as_deref().unwrap_or(Self::DEFAULT_TAG))
    }

    /// Whether this name matches `other`, which has a tag.
    pub(crate) fn means(&self, other: &Self) -> bool {
        let has_tag = |tag: &str| other.tag.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(tag));
        self.name.eq_ignore_ascii_case(&other.name) && self.tag.as_deref().is_none_or(has_tag)
    }
}

impl FromStr for ModelName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse(text.trim()).map_err(|what| ParseNameError { text: shortened(text), what })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.revision {
            Some(revision) => write!(formatter, "@{revision}"),
            None => Ok(()),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn parse(text: &str) -> Result<ModelName, &'static str> {
    let text = HUB_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let (text, revision) = match text.split_once('@') {
        Some((before, revision)) => (before, Some(revision)),
        None => (text, None),
    };
    let (name, tag) = match text.split_once(':') {
        Some((before, tag)) => (before, Some(tag)),
        None => (text, None),
    };
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 {
        return Err("it has more than one `/`; import a model file under a name of its own");
    }
    parts.iter().copied().chain(tag).try_for_each(check_part)?;
    if let Some(revision) = revision {
        // Branch names may contain slashes.
        revision.split('/').try_for_each(check_part)?;
    }
    let owned = |part: Option<&str>| part.map(str::to_owned);
    Ok(ModelName { name: name.to_owned(), tag: owned(tag), revision: owned(revision) })
}

/// Names become paths and URLs, so they may contain only characters that are safe in both.
fn check_part(part: &str) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err("a part of it is empty; write NAME, ORG/REPO or ORG/REPO:TAG");
    }
    if part.len() > PART_BYTES_MAX {
        return Err("a part of it is longer than 96 characters");
    }
    if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err("it may contain only A to Z, a to z, 0 to 9, `.`, `_` and `-`");
    }
    if part.starts_with(['.', '-']) || part.ends_with('.') {
        return Err("a part of it begins with `.` or `-`, or ends with `.`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: (&str, Option<&str>, Option<&str>)) {
        let name: ModelName = text.parse().unwrap();
        assert_eq!((name.name(), name.tag(), name.revision()), expected, "{text}");
    }

    #[test]
    fn names_parse_with_tags_revisions_and_hub_addresses() {
        check("smol", ("smol", None, None));
        check("smol:q8", ("smol", Some("q8"), None));
        check("Qwen/Qwen3-0.6B-GGUF:Q4_K_M", ("Qwen/Qwen3-0.6B-GGUF", Some("Q4_K_M"), None));
        check("hf.co/a/b:c@refs/pr/1", ("a/b", Some("c"), Some("refs/pr/1")));
        check("https://huggingface.co/a/b@main", ("a/b", None, Some("main")));
    }

    #[test]
    fn names_that_could_escape_their_folder_are_refused() {
        for text in
            ["", "..", "a/..", "a/b/c", "/etc/passwd", "./a", "a:", "a:../b", "a@..", "a b", "ä", "-x"]
        {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
        assert!("x".repeat(97).parse::<ModelName>().is_err());
        let error = "models/tiny/x.gguf".parse::<ModelName>().unwrap_err().to_string();
        assert!(error.contains("import a model file"), "{error}");
    }

    #[test]
    fn a_name_without_a_tag_matches_any_tag_and_case_is_ignored() {
        let name = |text: &str| text.parse::<ModelName>().unwrap();
        assert!(name("A/b").means(&name("a/B:x")));
        assert!(name("a/b:q8_0").means(&name("a/b:Q8_0")));
        assert!(!name("a/b:q8_0").means(&name("a/b:Q4_0")));
        assert!(!name("b").means(&name("a/b:x")));
    }

    proptest! {
        #[test]
        fn every_parsed_name_round_trips_and_stays_in_its_folder(text in "[-a-c./:@A_ ]{0,12}") {
            if let Ok(name) = text.parse::<ModelName>() {
                let again: ModelName = name.to_string().parse().unwrap();
                prop_assert_eq!(again.to_string(), name.to_string());
                prop_assert!(!name.manifest_path().split('/').any(|part| part.starts_with('.')));
            }
        }
    }
}

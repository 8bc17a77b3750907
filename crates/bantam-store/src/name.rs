//! What models are called: `NAME[:TAG][@REVISION]`.

use std::fmt;
use std::str::FromStr;

/// Bytes of one part of a name at most.
const PART_BYTES_MAX: usize = 96;
/// What stands before names of the hub where somebody writes their place too.
const HUB_PREFIXES: [&str; 4] = ["https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/"];

/// The name of a model: `NAME` or `ORG/REPO`, where the hub has it so, with a `:TAG` that tells variants of one model
/// apart, such as quantisations, and the `@REVISION` that a hub is asked for.
///
/// Names and tags compare without regard to the case of ASCII letters, so that `:q4_k_m` means `:Q4_K_M`.
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
    /// The text, cut where it is long.
    pub text: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl ModelName {
    /// The tag of a model that got none.
    pub const DEFAULT_TAG: &str = "latest";

    /// Returns the name without tag and revision: `NAME` or `ORG/REPO`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the tag, where there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the revision, where there is one.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Returns whether a hub can have a model of this name.
    pub fn is_of_hub(&self) -> bool {
        self.name.contains('/')
    }

    /// Returns the name with another tag and no revision: what a manifest is kept under.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseNameError> {
        check_part(tag).map_err(|what| ParseNameError { text: shown(tag), what })?;
        Ok(Self { name: self.name.clone(), tag: Some(tag.to_owned()), revision: None })
    }

    /// Returns what follows `manifests/` in the path of this model's manifest.
    pub(crate) fn manifest_path(&self) -> String {
        format!("{}/{}.json", self.name, self.tag.as_deref().unwrap_or(Self::DEFAULT_TAG))
    }

    /// Whether `other`, which has a tag, is what this name means.
    pub(crate) fn means(&self, other: &Self) -> bool {
        let has_tag = |tag: &str| other.tag.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(tag));
        self.name.eq_ignore_ascii_case(&other.name) && self.tag.as_deref().is_none_or(has_tag)
    }
}

impl FromStr for ModelName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse(text.trim()).map_err(|what| ParseNameError { text: shown(text), what })
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

fn shown(text: &str) -> String {
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
        return Err("it has more than one `/`; a file is imported, and gets a name of its own");
    }
    parts.iter().copied().chain(tag).try_for_each(check_part)?;
    if let Some(revision) = revision {
        // A branch may have slashes in it.
        revision.split('/').try_for_each(check_part)?;
    }
    let owned = |part: Option<&str>| part.map(str::to_owned);
    Ok(ModelName { name: name.to_owned(), tag: owned(tag), revision: owned(revision) })
}

/// Names become paths and addresses, so they are made of what is harmless in both.
fn check_part(part: &str) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err("a part of it is empty; write NAME, ORG/REPO or ORG/REPO:TAG");
    }
    if part.len() > PART_BYTES_MAX {
        return Err("a part of it has more than 96 letters");
    }
    if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err("it has other letters than A to Z, 0 to 9, `.`, `_` and `-`");
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
    fn names_have_tags_and_revisions_and_may_say_where_the_hub_is() {
        check("smol", ("smol", None, None));
        check("smol:q8", ("smol", Some("q8"), None));
        check("Qwen/Qwen3-0.6B-GGUF:Q4_K_M", ("Qwen/Qwen3-0.6B-GGUF", Some("Q4_K_M"), None));
        check("hf.co/a/b:c@refs/pr/1", ("a/b", Some("c"), Some("refs/pr/1")));
        check("https://huggingface.co/a/b@main", ("a/b", None, Some("main")));
    }

    #[test]
    fn what_could_leave_its_folder_is_refused() {
        for text in
            ["", "..", "a/..", "a/b/c", "/etc/passwd", "./a", "a:", "a:../b", "a@..", "a b", "ä", "-x"]
        {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
        assert!("x".repeat(97).parse::<ModelName>().is_err());
        let error = "models/tiny/x.gguf".parse::<ModelName>().unwrap_err().to_string();
        assert!(error.contains("a file is imported"), "{error}");
    }

    #[test]
    fn a_name_without_a_tag_means_any_and_case_does_not_matter() {
        let name = |text: &str| text.parse::<ModelName>().unwrap();
        assert!(name("A/b").means(&name("a/B:x")));
        assert!(name("a/b:q8_0").means(&name("a/b:Q8_0")));
        assert!(!name("a/b:q8_0").means(&name("a/b:Q4_0")));
        assert!(!name("b").means(&name("a/b:x")));
    }

    proptest! {
        #[test]
        fn whatever_parses_says_itself_and_stays_in_its_folder(text in "[-a-c./:@A_ ]{0,12}") {
            if let Ok(name) = text.parse::<ModelName>() {
                let again: ModelName = name.to_string().parse().unwrap();
                prop_assert_eq!(again.to_string(), name.to_string());
                prop_assert!(!name.manifest_path().split('/').any(|part| part.starts_with('.')));
            }
        }
    }
}

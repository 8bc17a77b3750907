//! What a `tokenizer.json` does before and after its model.

use serde_json::Value;

use super::super::TokenizerError;
use super::super::charsmap::{Charsmap, from_base64};
use super::super::normalise::Change;
use super::super::split::{Keep, Prefix, Run, SPACE_MARK, Step};
use super::super::vocabulary::{Vocabulary, unsupported};
use super::super::words::WordRules;

const INSERTED_BYTES_MAX: usize = 64;

/// A part's kind, or nothing where the part is absent.
fn kind_of(part: &Value) -> Option<&str> {
    (!part.is_null()).then(|| part["type"].as_str().unwrap_or("without a type"))
}

/// The parts of a `Sequence`.
fn parts<'v>(part: &'v Value, name: &'static str) -> Result<&'v [Value], TokenizerError> {
    part[name].as_array().map(Vec::as_slice).ok_or_else(|| unsupported("sequence without", name))
}

fn text<'v>(part: &'v Value, name: &'static str) -> Result<&'v str, TokenizerError> {
    part[name].as_str().ok_or_else(|| unsupported("part without the text", name))
}

/// A text that is put into others; a long one could make a short text fill the memory.
fn inserted(part: &Value, name: &'static str) -> Result<Box<str>, TokenizerError> {
    let found = text(part, name)?;
    if found.len() > INSERTED_BYTES_MAX {
        return Err(unsupported("long text to put in", found));
    }
    Ok(found.into())
}

fn flag(part: &Value, name: &str, default: bool) -> bool {
    part[name].as_bool().unwrap_or(default)
}

/// Appends what is done to a text before it is cut.
pub(super) fn changes(part: &Value, out: &mut Vec<Change>) -> Result<(), TokenizerError> {
    let Some(kind) = kind_of(part) else { return Ok(()) };
    out.push(match kind {
        "Sequence" => return parts(part, "normalizers")?.iter().try_for_each(|part| changes(part, out)),
        "NFC" => Change::Nfc,
        "NFD" => Change::Nfd,
        "NFKC" => Change::Nfkc,
        "NFKD" => Change::Nfkd,
        "Precompiled" => {
            let table = from_base64(text(part, "precompiled_charsmap")?);
            let table = table.ok_or(TokenizerError::Charsmap { what: "it is no base64" })?;
            Change::Charsmap(Charsmap::read(&table, true)?)
        }
        "Lowercase" => Change::Lowercase,
        "StripAccents" => Change::DropMarks,
        "Strip" => {
            Change::Strip { left: flag(part, "strip_left", true), right: flag(part, "strip_right", true) }
        }
        "Prepend" => Change::Prepend(inserted(part, "prepend")?),
        "Replace" => {
            let (pattern, to) = (&part["pattern"], inserted(part, "content")?);
            match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
                (Some(from), _) if !from.is_empty() => Change::Replace { from: from.into(), to },
                (_, Some(" {2,}")) => Change::ReplaceSpaces(to),
                _ => return Err(unsupported("pattern to replace", &pattern.to_string())),
            }
        }
        other => return Err(unsupported("normalizer", other)),
    });
    Ok(())
}

/// How a text is cut.
#[derive(Default)]
pub(super) struct Cut {
    pub(super) steps: Vec<Step>,
    /// Whether the pieces are bytes.
    pub(super) is_byte_level: bool,
}

/// Appends how a text is cut.
pub(super) fn cut(part: &Value, out: &mut Cut) -> Result<(), TokenizerError> {
    let Some(kind) = kind_of(part) else { return Ok(()) };
    if kind == "Sequence" {
        return parts(part, "pretokenizers")?.iter().try_for_each(|part| cut(part, out));
    }
    if out.is_byte_level {
        // It would see the bytes' letters in place of the text.
        return Err(unsupported("pre-tokenizer after ByteLevel", kind));
    }
    match kind {
        "ByteLevel" => {
            if flag(part, "add_prefix_space", true) {
                out.steps.push(Step::PrefixSpace);
            }
            if flag(part, "use_regex", true) {
                out.steps.push(Step::Words(WordRules::GPT2));
            }
            out.is_byte_level = true;
        }
        "Split" => out.steps.push(split(part)?),
        "Digits" => out.steps.push(Step::Runs(match flag(part, "individual_digits", false) {
            true => Run::EachNumber,
            false => Run::Numbers,
        })),
        "WhitespaceSplit" => out.steps.push(Step::DropSpace),
        "Metaspace" => out.steps.push(metaspace(part)?),
        other => return Err(unsupported("pre-tokenizer", other)),
    }
    Ok(())
}

fn split(part: &Value) -> Result<Step, TokenizerError> {
    let (behavior, is_inverted) = (text(part, "behavior")?, flag(part, "invert", false));
    if let Some(expression) = part["pattern"]["Regex"].as_str() {
        // These match all of any text, so what is not matched may be dropped as well as kept.
        let keeps_matches = matches!((behavior, is_inverted), ("Isolated", _) | ("Removed", true));
        if let Some(rules) = WordRules::of_expression(expression).filter(|_| keeps_matches) {
            return Ok(Step::Words(rules));
        }
        if let (Some(run), "Isolated", false) = (Run::of_expression(expression), behavior, is_inverted) {
            return Ok(Step::Runs(run));
        }
        return Err(unsupported("pattern to split at", expression));
    }
    let pattern = part["pattern"]["String"].as_str().filter(|pattern| !pattern.is_empty() && !is_inverted);
    let pattern = pattern.ok_or_else(|| unsupported("pattern to split at", &part["pattern"].to_string()))?;
    let keep = match behavior {
        "Isolated" => Keep::Isolated,
        "Removed" => Keep::Removed,
        "MergedWithPrevious" => Keep::WithPrevious,
        "MergedWithNext" => Keep::WithNext,
        other => return Err(unsupported("behavior of a split", other)),
    };
    Ok(Step::Literal { pattern: pattern.into(), keep })
}

fn metaspace(part: &Value) -> Result<Step, TokenizerError> {
    let replacement = text(part, "replacement")?;
    if replacement.chars().ne([SPACE_MARK]) {
        return Err(unsupported("mark for spaces", replacement));
    }
    let prefix = match (part["prepend_scheme"].as_str(), part["add_prefix_space"].as_bool()) {
        (Some("never"), _) | (None, Some(false)) => Prefix::Never,
        (Some("first"), _) => Prefix::First,
        (Some("always"), _) | (None, _) => Prefix::Always,
        (Some(other), _) => return Err(unsupported("prepend_scheme", other)),
    };
    Ok(Step::Mark { prefix, cuts: flag(part, "split", true) })
}

/// Whether decoding takes a space away from a text's start.
pub(super) fn strips_space(decoder: &Value) -> bool {
    match kind_of(decoder) {
        Some("Sequence") => {
            decoder["decoders"].as_array().is_some_and(|parts| parts.iter().any(strips_space))
        }
        Some("Strip") => {
            decoder["content"] == " " && decoder["start"].as_u64().is_some_and(|start| start > 0)
        }
        Some("Metaspace") => !matches!(
            (decoder["prepend_scheme"].as_str(), decoder["add_prefix_space"].as_bool()),
            (Some("never"), _) | (None, Some(false))
        ),
        _ => false,
    }
}

/// The tokens around a text.
#[derive(Default)]
pub(super) struct Around {
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

/// Adds the tokens around a text.
pub(super) fn around(part: &Value, vocabulary: &Vocabulary, out: &mut Around) -> Result<(), TokenizerError> {
    let Some(kind) = kind_of(part) else { return Ok(()) };
    let require = |id: &Value| {
        let id = id.as_u64().ok_or_else(|| unsupported("token around a text", &id.to_string()))?;
        vocabulary.require("token around a text", id)
    };
    match kind {
        "Sequence" => parts(part, "processors")?.iter().try_for_each(|part| around(part, vocabulary, out)),
        "ByteLevel" => Ok(()),
        "BertProcessing" | "RobertaProcessing" => {
            out.before.insert(0, require(&part["cls"][1])?);
            out.after.push(require(&part["sep"][1])?);
            Ok(())
        }
        "TemplateProcessing" => {
            let (mut is_after, mut before) = (false, Vec::new());
            for item in parts(part, "single")? {
                if item["Sequence"]["id"].is_string() && !is_after {
                    is_after = true;
                    continue;
                }
                let ids =
                    item["SpecialToken"]["id"].as_str().map(|name| &part["special_tokens"][name]["ids"]);
                let ids = ids.and_then(Value::as_array);
                let ids = ids.ok_or_else(|| unsupported("template", &part["single"].to_string()))?;
                let ids = ids.iter().map(require).collect::<Result<Vec<_>, _>>()?;
                if is_after { &mut out.after } else { &mut before }.extend(ids);
            }
            before.append(&mut out.before);
            out.before = before;
            match is_after {
                true => Ok(()),
                false => Err(unsupported("template", &part["single"].to_string())),
            }
        }
        other => Err(unsupported("post-processor", other)),
    }
}

//! The steps of a `tokenizer.json` before and after its model.

use data_encoding::BASE64;
use serde_json::Value;

use super::super::TokenizerError;
use super::super::charsmap::Charsmap;
use super::super::normalise::Normaliser;
use super::super::split::{PrependScheme, RunPattern, SPACE_MARK, SplitBehavior, SplitStep};
use super::super::vocabulary::{Vocabulary, unsupported};
use super::super::words::WordRules;

const INSERTED_BYTES_MAX: usize = 64;

/// Returns a component's type, or `None` if the component is absent.
fn kind_of(part: &Value) -> Option<&str> {
    (!part.is_null()).then(|| part["type"].as_str().unwrap_or("without a type"))
}

/// Returns the components of a `Sequence`.
fn parts<'v>(part: &'v Value, name: &'static str) -> Result<&'v [Value], TokenizerError> {
    part[name].as_array().map(Vec::as_slice).ok_or_else(|| unsupported("sequence without", name))
}

fn text<'v>(part: &'v Value, name: &'static str) -> Result<&'v str, TokenizerError> {
    part[name].as_str().ok_or_else(|| unsupported("component without the string", name))
}

/// Returns a string that is inserted into texts. A long one could expand a short text until memory is full.
fn inserted(part: &Value, name: &'static str) -> Result<Box<str>, TokenizerError> {
    let found = text(part, name)?;
    if found.len() > INSERTED_BYTES_MAX {
        return Err(unsupported("long inserted string", found));
    }
    Ok(found.into())
}

fn flag(part: &Value, name: &str, default: bool) -> bool {
    part[name].as_bool().unwrap_or(default)
}

/// Appends the normalisers.
pub(super) fn normalisers(part: &Value, out: &mut Vec<Normaliser>) -> Result<(), TokenizerError> {
    let Some(kind) = kind_of(part) else { return Ok(()) };
    out.push(match kind {
        "Sequence" => return parts(part, "normalizers")?.iter().try_for_each(|part| normalisers(part, out)),
        "NFC" => Normaliser::Nfc,
        "NFD" => Normaliser::Nfd,
        "NFKC" => Normaliser::Nfkc,
        "NFKD" => Normaliser::Nfkd,
        "Precompiled" => {
            let table = BASE64.decode(text(part, "precompiled_charsmap")?.as_bytes());
            let table = table.map_err(|_| TokenizerError::Charsmap { what: "it is not base64" })?;
            Normaliser::Charsmap(Charsmap::read(&table, true)?)
        }
        "Lowercase" => Normaliser::Lowercase,
        "StripAccents" => Normaliser::DropMarks,
        "Strip" => {
            Normaliser::Strip { left: flag(part, "strip_left", true), right: flag(part, "strip_right", true) }
        }
        "Prepend" => Normaliser::Prepend(inserted(part, "prepend")?),
        "Replace" => {
            let (pattern, to) = (&part["pattern"], inserted(part, "content")?);
            match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
                (Some(from), _) if !from.is_empty() => Normaliser::Replace { from: from.into(), to },
                (_, Some(" {2,}")) => Normaliser::ReplaceSpaces(to),
                _ => return Err(unsupported("pattern to replace", &pattern.to_string())),
            }
        }
        other => return Err(unsupported("normalizer", other)),
    });
    Ok(())
}

/// The pre-tokenizer.
#[derive(Default)]
pub(super) struct PreTokenization {
    pub(super) steps: Vec<SplitStep>,
    /// Whether the pieces are bytes.
    pub(super) is_byte_level: bool,
}

/// Appends the steps that split a text.
pub(super) fn cut(part: &Value, out: &mut PreTokenization) -> Result<(), TokenizerError> {
    let Some(kind) = kind_of(part) else { return Ok(()) };
    if kind == "Sequence" {
        return parts(part, "pretokenizers")?.iter().try_for_each(|part| cut(part, out));
    }
    if out.is_byte_level {
        // It would see the letters that stand for bytes instead of the text.
        return Err(unsupported("pre-tokenizer after ByteLevel", kind));
    }
    match kind {
        "ByteLevel" => {
            if flag(part, "add_prefix_space", true) {
                out.steps.push(SplitStep::PrefixSpace);
            }
            if flag(part, "use_regex", true) {
                out.steps.push(SplitStep::Words(WordRules::GPT2));
            }
            out.is_byte_level = true;
        }
        "Split" => out.steps.push(split(part)?),
        "Digits" => out.steps.push(SplitStep::Runs(match flag(part, "individual_digits", false) {
            true => RunPattern::EachNumber,
            false => RunPattern::Numbers,
        })),
        "WhitespaceSplit" => out.steps.push(SplitStep::DropSpace),
        "Metaspace" => out.steps.push(metaspace(part)?),
        other => return Err(unsupported("pre-tokenizer", other)),
    }
    Ok(())
}

fn split(part: &Value) -> Result<SplitStep, TokenizerError> {
    let (behavior, is_inverted) = (text(part, "behavior")?, flag(part, "invert", false));
    if let Some(expression) = part["pattern"]["Regex"].as_str() {
        // These patterns match all of any text, so it does not matter whether unmatched text is kept or dropped.
        let keeps_matches = matches!((behavior, is_inverted), ("Isolated", _) | ("Removed", true));
        if let Some(rules) = WordRules::of_expression(expression).filter(|_| keeps_matches) {
            return Ok(SplitStep::Words(rules));
        }
        if let (Some(run), "Isolated", false) = (RunPattern::of_expression(expression), behavior, is_inverted)
        {
            return Ok(SplitStep::Runs(run));
        }
        return Err(unsupported("split pattern", expression));
    }
    let pattern = part["pattern"]["String"].as_str().filter(|pattern| !pattern.is_empty() && !is_inverted);
    let pattern = pattern.ok_or_else(|| unsupported("split pattern", &part["pattern"].to_string()))?;
    let keep = match behavior {
        "Isolated" => SplitBehavior::Isolated,
        "Removed" => SplitBehavior::Removed,
        "MergedWithPrevious" => SplitBehavior::WithPrevious,
        "MergedWithNext" => SplitBehavior::WithNext,
        other => return Err(unsupported("split behavior", other)),
    };
    Ok(SplitStep::Literal { pattern: pattern.into(), keep })
}

fn metaspace(part: &Value) -> Result<SplitStep, TokenizerError> {
    let replacement = text(part, "replacement")?;
    if replacement.chars().ne([SPACE_MARK]) {
        return Err(unsupported("space marker", replacement));
    }
    let prefix = match (part["prepend_scheme"].as_str(), part["add_prefix_space"].as_bool()) {
        (Some("never"), _) | (None, Some(false)) => PrependScheme::Never,
        (Some("first"), _) => PrependScheme::First,
        (Some("always"), _) | (None, _) => PrependScheme::Always,
        (Some(other), _) => return Err(unsupported("prepend_scheme", other)),
    };
    Ok(SplitStep::Mark { prefix, cuts: flag(part, "split", true) })
}

/// Returns whether decoding removes a space from the start of a text.
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
pub(super) struct SurroundingTokens {
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

/// Adds the tokens around a text.
pub(super) fn around(
    part: &Value,
    vocabulary: &Vocabulary,
    out: &mut SurroundingTokens,
) -> Result<(), TokenizerError> {
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

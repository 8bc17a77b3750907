//! `bantam import`, `rm` and `cp`: the store, changed.

use std::path::Path;

use bantam_store::{Added, ModelName};
use serde_json::json;

use super::progress::Progress;
use super::{bytes_text, entry_json, name, not_imported, open, unresolved};
use crate::cli::models::{CpArgs, ImportArgs, RmArgs};
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

pub(crate) fn import(args: &ImportArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    if let Some(taken) = super::bundle::import(args, &store, globals) {
        return taken;
    }
    let shown = args.file.display();
    let called = match &args.name {
        Some(text) => name(text)?,
        None => name_of(&args.file)?,
    };
    let mut progress = Progress::new(globals, "importing");
    progress.begin(size(&args.file));
    let added = store.import(&args.file, &called, args.replace, &mut |bytes| progress.advance(bytes));
    progress.end();
    let added = added.map_err(|error| not_imported(&format!("cannot import {shown}"), &error))?;
    told(&added, globals);
    Ok(())
}

/// Says under which name a model is there.
pub(super) fn told(added: &Added, globals: &Globals) {
    let entry = &added.entry;
    if globals.json {
        let mut body = entry_json(entry);
        body["was_there"] = json!(added.was_there);
        body["has_replaced"] = json!(added.has_replaced);
        output::line(body.to_string());
        return;
    }
    let about = &entry.manifest.about;
    let state = match (added.was_there, added.has_replaced) {
        (true, _) => "was there already",
        (_, true) => "takes the place of what had its name",
        _ => "is ready",
    };
    let size = bytes_text(entry.manifest.bytes());
    output::line(format!("{}  {}, {}, {size}: {state}", entry.name, about.architecture, about.quantisation));
    if !globals.quiet && about.kind == bantam_store::ModelKind::Decoder {
        output::note(format!("help: talk to it: bantam run {}", entry.name));
    }
}

/// Makes a name of a file's.
fn name_of(path: &Path) -> Result<ModelName, Failure> {
    let whole = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = whole.strip_suffix(".gguf").unwrap_or(&whole);
    let letters = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' }
    };
    let made: String = stem.chars().map(letters).collect();
    name(made.trim_matches(['.', '-'])).map_err(|failure| failure.hint("say what to call it: --name NAME"))
}

fn size(path: &Path) -> u64 {
    let Ok(about) = std::fs::metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

pub(crate) fn rm(args: &RmArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let names = args.names.iter().map(|text| name(text)).collect::<Result<Vec<_>, _>>()?;
    let mut removed = Vec::new();
    for name in &names {
        let gone = store.remove(name).map_err(|error| unresolved(&error))?;
        if !globals.json {
            output::line(format!(
                "{} is removed; {} are free again",
                gone.name,
                bytes_text(gone.freed_bytes)
            ));
        }
        removed.push(json!({ "name": gone.name.to_string(), "freed_bytes": gone.freed_bytes }));
    }
    let mut unfinished = 0;
    if args.unfinished {
        unfinished = store
            .remove_unfinished()
            .map_err(|error| Failure::from_error("cannot remove what broke off", &error))?;
        if !globals.json {
            output::line(format!("{} of downloads that broke off are removed", bytes_text(unfinished)));
        }
    }
    if globals.json {
        output::line(json!({ "removed": removed, "unfinished_bytes": unfinished }).to_string());
    }
    Ok(())
}

pub(crate) fn cp(args: &CpArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let added = store
        .copy(&name(&args.from)?, &name(&args.to)?)
        .map_err(|error| not_imported("cannot copy the model", &error))?;
    match globals.json {
        true => output::line(entry_json(&added.entry).to_string()),
        false => output::line(format!("{} is the same model as {}", added.entry.name, args.from)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_becomes_a_model_s() {
        for (path, expected) in [("/a/Qwen3-0.6B-Q8_0.gguf", "Qwen3-0.6B-Q8_0"), ("x y(1).gguf", "x-y-1")] {
            assert_eq!(name_of(Path::new(path)).unwrap().to_string(), expected);
        }
        assert!(name_of(Path::new("/")).is_err());
    }
}

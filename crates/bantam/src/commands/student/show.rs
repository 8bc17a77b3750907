//! `bantam student show`: what a student says of itself.

use std::path::Path;

use bantam_local::DecoderStudentFile;
use bantam_student::{Student, StudentDescription};
use serde_json::Value;

use crate::deploy::{Memory, decoder_hash, read_decoder, unusable};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Prints the description and the hash: as one document for machines, the hash on a line of its own for people.
pub(super) fn run(path: &Path, globals: &Globals) -> Result<(), Failure> {
    let (mut description, sha256) = match DecoderStudentFile::is_at(path) {
        true => decoder(path)?,
        false => file(path)?,
    };
    if globals.json {
        description["sha256"] = sha256.into();
        output::line(description.to_string());
    } else {
        output::line(format!("{description:#}"));
        output::line(format!("sha256 {sha256}"));
    }
    Ok(())
}

fn file(path: &Path) -> Result<(Value, String), Failure> {
    let (description, hash) = Student::read_description(path).map_err(|error| unusable(&error))?;
    // Whether a student reads a context is said of the kind that can.
    let (json, seen, reads_context) = match &description {
        StudentDescription::Linear(description) => {
            (serde_json::to_value(description), &description.seen, None)
        }
        StudentDescription::Encoder(description) => {
            (serde_json::to_value(description), &description.seen, None)
        }
        StudentDescription::Tagger(description) => {
            (serde_json::to_value(description), &description.seen, Some(description.reads_context))
        }
        StudentDescription::LinearTagger(description) => {
            (serde_json::to_value(description), &description.seen, Some(description.reads_context))
        }
        _ => return Err(Failure::new(Outcome::Failed, "this program does not know this kind of student")),
    };
    let mut json = json.map_err(|error| Failure::from_error("cannot describe the student", &error))?;
    // The hashes themselves say nothing to people.
    json["seen"] = seen.len().into();
    if let Some(reads_context) = reads_context {
        json["reads_context"] = reads_context.into();
    }
    Ok((json, hash.to_hex()))
}

fn decoder(folder: &Path) -> Result<(Value, String), Failure> {
    let file = read_decoder(folder)?;
    let json = serde_json::to_value(&file);
    let mut json = json.map_err(|error| Failure::from_error("cannot describe the student", &error))?;
    json["seen"] = file.seen.len().into();
    Ok((json, decoder_hash(&file, folder, None, &Memory::with_threads(1))?))
}

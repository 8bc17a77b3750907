//! The form of a task's answers: schemas, regular expressions and grammars, checked before anything answers by them.

use std::io;
use std::path::{Path, PathBuf};

use bantam_decode::{CompileGrammarError, SchemaError};
use bantam_extract::{Shape, ShapeError};
use bantam_local::{Grammar, check_grammar, check_schema};
use serde_json::Value;

/// Why the form of answers cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// The schema's file cannot be read.
    #[error("cannot use the schema {}", .path.display())]
    ReadSchema {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The schema's file is not JSON.
    #[error("cannot use the schema {}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The schema asks for what cannot be guaranteed.
    #[error("cannot use the schema {}", .path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        #[source]
        source: SchemaError,
    },
    /// The schema does not fit the student's slots.
    #[error("cannot use the schema {}", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        #[source]
        source: ShapeError,
    },
    /// The regular expression cannot be used.
    #[error("cannot use `regex`")]
    Regex(#[source] CompileGrammarError),
    /// The grammar's file cannot be read.
    #[error("cannot use the grammar {}", .path.display())]
    ReadGrammar {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The grammar cannot be used.
    #[error("cannot use the grammar {}", .path.display())]
    Grammar {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CompileGrammarError,
    },
}

impl FormError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::ReadSchema { .. } | Self::ReadGrammar { .. } => "check that the file may be read",
            Self::Json { .. } => "it must be a JSON schema, such as {\"type\": \"object\", ...}",
            Self::Schema { .. } => "leave out what cannot be honoured; check it in your application",
            Self::Shape { .. } => "give the properties the names of the student's slots",
            Self::Regex(_) => {
                "write it in the syntax of the Rust crate regex, without look-around and back-references"
            }
            Self::Grammar { .. } => {
                "write Lark as llguidance reads it: rules in lower case, terminals in upper case, `start` first"
            }
        }
    }
}

/// Returns the shape of the schema in a file, filled by a student with these slots; without any, by one that has a slot
/// for every property.
///
/// # Errors
/// When the file cannot be read, or the slots cannot fill the schema.
pub fn read_shape(path: &Path, slots: Option<&[String]>) -> Result<Shape, FormError> {
    let schema = read_schema_unchecked(path)?;
    let own = Shape::properties(&schema);
    Shape::new(&schema, slots.unwrap_or(&own))
        .map_err(|source| FormError::Shape { path: path.to_owned(), source })
}

/// Returns the schema in a file, which a language model can be held to.
///
/// # Errors
/// When the file cannot be read, or the schema asks for what cannot be guaranteed.
pub fn read_schema(path: &Path) -> Result<Value, FormError> {
    let schema = read_schema_unchecked(path)?;
    check_schema(&schema).map_err(|source| FormError::Schema { path: path.to_owned(), source })?;
    Ok(schema)
}

/// Returns the grammar in a file.
pub(crate) fn read_grammar(path: &Path) -> Result<String, FormError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FormError::ReadGrammar { path: path.to_owned(), source })?;
    check_grammar(&Grammar::Lark(text.clone()))
        .map_err(|source| FormError::Grammar { path: path.to_owned(), source })?;
    Ok(text)
}

/// Checks that a regular expression can constrain answers.
pub(crate) fn check_regex(regex: &str) -> Result<(), FormError> {
    check_grammar(&Grammar::Regex(regex.to_owned())).map_err(FormError::Regex)
}

/// Returns the schema in a file as it is: what of it can be honoured depends on who answers by it.
///
/// # Errors
/// When the file cannot be read or is not JSON.
pub fn read_schema_unchecked(path: &Path) -> Result<Value, FormError> {
    let text =
        std::fs::read(path).map_err(|source| FormError::ReadSchema { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| FormError::Json { path: path.to_owned(), source })
}

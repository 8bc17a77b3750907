//! What to do next, in the words of the command line: libraries say it without commands and flags.

use std::path::Path;

use bantam_admin::{FindModelError, UseCaseError, shell_word};
use bantam_deploy::{DeployError, FormError, ModelErrorKind, ReadConfigError, StudentError};
use bantam_store::ResolveError;
use bantam_student::LoadStudentErrorKind;

use crate::failure::{Failure, Outcome};

/// Says how to get a model that the store does not have.
pub(crate) fn for_store(error: &ResolveError) -> String {
    match error {
        ResolveError::Missing { nearest, .. } if !nearest.is_empty() => {
            format!("{} All are listed by: bantam list", error.hint())
        }
        ResolveError::Missing { name, .. } if name.is_of_hub() => {
            format!("get it: bantam pull {name}, or bantam import FILE --name {}", name.name())
        }
        ResolveError::Missing { name, .. } => {
            format!("get it: bantam pull ORG/{name}, or bantam import FILE --name {name}")
        }
        _ => error.hint(),
    }
}

pub(crate) fn for_finding(error: &FindModelError) -> Option<String> {
    match error {
        FindModelError::Resolve(error) => Some(for_store(error)),
        FindModelError::NoFile { .. } => {
            Some("check the path; models of the store are listed by: bantam list".to_owned())
        }
        FindModelError::NotStored { path } => {
            Some(format!("take it into the store first: bantam import {}", path.display()))
        }
        _ => error.hint(),
    }
}

pub(crate) fn for_deploy(error: &DeployError) -> String {
    match error {
        DeployError::Model(model) => match &*model.kind {
            ModelErrorKind::Store(error) => for_store(error),
            _ => model.hint(),
        },
        DeployError::Certificate { task, .. } => {
            format!("prove it again: bantam certify {task} --error 0.02")
        }
        DeployError::Student { source, .. } => for_student(source),
        _ => error.hint(),
    }
}

pub(crate) fn for_student(error: &StudentError) -> String {
    match error {
        StudentError::Load(load) => match load.kind {
            LoadStudentErrorKind::Base(_) | LoadStudentErrorKind::OtherKind { .. } => error.hint(),
            _ => "train it again: bantam student train --kind linear --data FILE.jsonl --out FILE".to_owned(),
        },
        StudentError::NotDecoder { .. } => {
            "train one (bantam student train --kind decoder), or name a language model in `student_model`"
                .to_owned()
        }
        StudentError::Form(form) => for_form(form),
        StudentError::Unreadable { .. } => {
            "bring it back, or say where it is: `base` in the task, --base on the command line".to_owned()
        }
        _ => error.hint(),
    }
}

pub(crate) fn for_form(error: &FormError) -> String {
    match error {
        FormError::Shape { .. } => format!("{} (bantam student show FILE)", error.hint()),
        _ => error.hint().to_owned(),
    }
}

/// Says how to write a missing configuration: two commands that work as they are printed.
pub(crate) fn for_missing_config(error: &ReadConfigError) -> Failure {
    let (path, folder) = (&error.path, error.path.parent().unwrap_or(Path::new("/")));
    let word = |path: &Path| shell_word(&path.display().to_string());
    let make = if folder.is_dir() { String::new() } else { format!("mkdir -p {} && ", word(folder)) };
    let what = format!("cannot read the configuration {}", path.display());
    Failure::from_error(what, &error.source)
        .hint(format!("write one: {make}bantam config example > {}", word(path)))
        .outcome(Outcome::Usage)
}

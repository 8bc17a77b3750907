//! A trained student in the form that another program reads.

use std::path::{Path, PathBuf};

use bantam_deploy::{ModelMemory, StudentError, decoder_hash, load_student, read_decoder};
use bantam_local::DecoderStudentFile;
use bantam_student::Bases;
use bantam_teach::{
    ExportError, ExportForm, ExportReport, ExportRequest, ExportSource, check_folder, export,
};

/// Why a student was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportStudentError {
    /// There is no student.
    #[error("there is no student at {}", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The student cannot be used.
    #[error("cannot use the student")]
    Student(#[from] StudentError),
    /// It could not be written in that form.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// Writes a student in the form of another program. Its base is `base`, or where training found it.
///
/// # Errors
/// When the student cannot be used, has no such form, or the folder cannot be written, which is tried first.
pub fn export_student(
    student: &Path,
    base: Option<&Path>,
    request: &ExportRequest,
) -> Result<ExportReport, ExportStudentError> {
    if !student.exists() {
        return Err(ExportStudentError::Missing { path: student.to_owned() });
    }
    // Before a base is read to its end.
    check_folder("out", "the export", &request.out).map_err(ExportError::from)?;
    if DecoderStudentFile::is_at(student) {
        let file = read_decoder(student)?;
        if !matches!(request.form, ExportForm::Axolotl | ExportForm::Trl) {
            // What is exported is what was trained, on what it was trained on.
            decoder_hash(&file, student, base, &ModelMemory::with_threads(1))?;
        }
        return Ok(export(request, ExportSource::Decoder { file: &file, folder: student, base })?);
    }
    if request.form != ExportForm::Peft {
        return Err(ExportError::PeftOnly.into());
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let loaded = load_student(student, base, &Bases::new(cores))?;
    Ok(export(request, ExportSource::Classifier(&loaded))?)
}

//! `bantam train export`: a trained student in the forms that other programs read.

use bantam_local::DecoderStudentFile;
use bantam_teach::{
    ExportError, ExportForm, ExportReport, ExportRequest, ExportSource, check_folder, export,
};

use crate::cli::train::TrainExportArgs;
use crate::commands::flags::{failure, with_flags};
use crate::deploy::{Memory, bases, decoder_hash, load_student, read_decoder};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(super) fn run(args: &TrainExportArgs, globals: &Globals) -> Result<(), Failure> {
    if !args.student.exists() {
        let message = format!("there is no student at {}", args.student.display());
        return Err(Failure::new(Outcome::ModelMissing, message).hint("train one: bantam train TASK"));
    }
    // Before a base is read to its end.
    check_folder("out", "the export", &args.out).map_err(|error| failed(&error.into()))?;
    let (form, base) = (ExportForm::from(args.to), args.base.as_deref());
    let request = ExportRequest { form, out: args.out.clone(), data: args.data.clone() };
    let report = if DecoderStudentFile::is_at(&args.student) {
        let file = read_decoder(&args.student)?;
        if !matches!(form, ExportForm::Axolotl | ExportForm::Trl) {
            // What is exported is what was trained, on what it was trained on.
            decoder_hash(&file, &args.student, base, &Memory::with_threads(1))?;
        }
        export(&request, ExportSource::Decoder { file: &file, folder: &args.student, base })
    } else if form == ExportForm::Peft {
        let student =
            load_student(&args.student, base, &bases(0)).map_err(|error| with_flags(error.into()))?;
        export(&request, ExportSource::Classifier(&student))
    } else {
        Err(ExportError::PeftOnly)
    };
    print(&report.map_err(|error| failed(&error))?, globals)
}

fn failed(error: &ExportError) -> Failure {
    let outcome = if error.is_invalid() { Outcome::Usage } else { Outcome::Failed };
    failure(outcome, error, error.hint())
}

fn print(report: &ExportReport, globals: &Globals) -> Result<(), Failure> {
    let shown = report.path.display();
    if globals.json {
        let json = serde_json::to_string(report);
        output::line(json.map_err(|error| Failure::from_error("cannot write the report", &error))?);
        return Ok(());
    }
    if globals.quiet {
        output::line(shown.to_string());
        return Ok(());
    }
    if let Some(rows) = &report.rows {
        output::note(format!("{} rows in {}", rows.count, rows.path.display()));
    }
    output::line(match (report.form, &report.start) {
        (_, Some(start)) => format!("in {shown}: {start}"),
        (ExportForm::Peft, _) => format!("{shown}: load it with peft.PeftModel.from_pretrained"),
        (ExportForm::Gguf, _) if report.is_whole_model => {
            format!("{shown}: a whole model, with its tokenizer and chat template")
        }
        (ExportForm::Gguf, _) => format!("{shown}: load it with llama.cpp's --lora beside the base"),
        _ => format!("{shown}: the base with the changes in its weights"),
    });
    Ok(())
}

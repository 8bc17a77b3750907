//! `bantam train export`: a trained student in the forms that other programs read.

use std::path::Path;

use bantam_local::DecoderStudentFile;
use bantam_student::Student;
use bantam_train::{
    BaseForm, DecoderExportError, DecoderNetwork, DecoderTuning, ExportError, Layout, LoraConfig,
    export_peft, read_gguf_adapter, write_merged, write_peft,
};

use super::recipe;
use crate::cli::train::{ExportForm, TrainExportArgs};
use crate::deploy::{Memory, bases, decoder_hash, load_student, read_decoder};
use crate::failure::{Failure, Outcome};
use crate::output;

pub(super) fn run(args: &TrainExportArgs) -> Result<(), Failure> {
    if !args.student.exists() {
        let message = format!("there is no student at {}", args.student.display());
        return Err(Failure::new(Outcome::ModelMissing, message).hint("train one: bantam train TASK"));
    }
    let written = if DecoderStudentFile::is_at(&args.student) {
        let student = read_decoder(&args.student)?;
        match args.to {
            ExportForm::Axolotl | ExportForm::Trl => recipe::write(args, &student)?,
            ExportForm::Peft | ExportForm::Gguf | ExportForm::Merged => weights(args, &student)?,
        }
    } else {
        encoder(args)?
    };
    output::line(written);
    Ok(())
}

/// Writes an encoder's changes.
fn encoder(args: &TrainExportArgs) -> Result<String, Failure> {
    let only = || {
        Failure::new(Outcome::Usage, "a student of this kind is exported to peft alone")
            .hint("say --to peft; its adapter must have been trained (--tune lora)")
    };
    if args.to != ExportForm::Peft {
        return Err(only());
    }
    let student = load_student(&args.student, args.base.as_deref(), &bases(0))?;
    let failed = |error: ExportError| Failure::from_error("cannot export the adapter", &error);
    match &student {
        Student::Encoder(student) => {
            let adapter = student.adapter().ok_or_else(only)?;
            export_peft(&args.out, adapter, &student.base().identity().name).map_err(failed)?;
        }
        _ => return Err(only()),
    }
    Ok(format!("{}: load it with peft.PeftModel.from_pretrained", args.out.display()))
}

/// Writes a decoder's changes, or all of it.
fn weights(args: &TrainExportArgs, student: &DecoderStudentFile) -> Result<String, Failure> {
    // What is exported is what was trained, on what it was trained on.
    decoder_hash(student, &args.student, args.base.as_deref(), &Memory::with_threads(1))?;
    let shown = args.out.display();
    make_folder(&args.out)?;
    let base = student.model_path(&args.student, args.base.as_deref());
    let Some(adapter) = student.adapter_path(&args.student) else {
        if args.to == ExportForm::Peft {
            return Err(Failure::new(Outcome::Usage, "a decoder without a base has no adapter")
                .hint("say --to gguf: it is a model of its own"));
        }
        copy(&base, &args.out.join("model.gguf"))?;
        return Ok(format!("{shown}/model.gguf: a whole model, with its tokenizer and chat template"));
    };
    if args.to == ExportForm::Gguf {
        copy(&adapter, &args.out.join("adapter.gguf"))?;
        return Ok(format!("{shown}/adapter.gguf: load it with llama.cpp's --lora beside the base"));
    }
    let number = |key: &str| student.config.get(key).and_then(serde_json::Value::as_f64);
    let (Some(rank), Some(alpha)) = (number("rank"), number("alpha")) else {
        return Err(Failure::new(Outcome::Failed, "student.json does not say the rank of its adapter")
            .hint("train it again"));
    };
    let lora = LoraConfig {
        rank: rank as usize,
        alpha: alpha as f32,
        lora_dropout: 0.0,
        dropout: 0.0,
        recompute: true,
    };
    let mut layout = Layout::default();
    let tuning = DecoderTuning { lora, form: BaseForm::AsStored };
    let network = DecoderNetwork::load(&base, &tuning, &mut layout).map_err(|error| {
        let hint = error.kind.hint();
        Failure::from_error("cannot open the base", &error).hint(hint)
    })?;
    let parameters = read_gguf_adapter(&adapter, &network, &layout)
        .map_err(|error| Failure::from_error("cannot read the student", &error).hint("train it again"))?;
    let trained = (&network, &layout, &*parameters);
    let failed = |error: DecoderExportError| {
        Failure::from_error("cannot export the student", &error).hint(error.hint())
    };
    if args.to == ExportForm::Peft {
        write_peft(&args.out, &base.to_string_lossy(), trained).map_err(failed)?;
        return Ok(format!("{shown}: load it with peft.PeftModel.from_pretrained"));
    }
    let to = if base.is_dir() { args.out.clone() } else { args.out.join("model.gguf") };
    write_merged(&base, &to, trained).map_err(failed)?;
    Ok(format!("{}: the base with the changes in its weights", to.display()))
}

pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::from_error(format!("cannot make the folder {}", folder.display()), &error)
            .hint("name a place that can be written, with --out")
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::copy(from, to).map(drop).map_err(|error| {
        Failure::from_error(format!("cannot copy {} to {}", from.display(), to.display()), &error)
            .hint("make room, or name another folder with --out")
    })
}

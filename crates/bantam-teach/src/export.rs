//! A trained student in the forms that other programs read.

mod error;
mod recipe;

use std::path::{Path, PathBuf};

use bantam_local::DecoderStudentFile;
use bantam_student::Student;
use bantam_train::{
    BaseForm, DecoderNetwork, DecoderTuning, Layout, LoraConfig, export_peft, read_gguf_adapter,
    write_merged, write_peft,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::destination::check_folder;
pub use error::ExportError;

/// The forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportForm {
    /// The adapter as peft loads it.
    Peft,
    /// The adapter, or a model without a base, as llama.cpp loads it.
    Gguf,
    /// The base with the changes in its weights.
    Merged,
    /// The same training as axolotl runs it: a configuration and the rows as conversations.
    Axolotl,
    /// The same training as trl runs it: a script and the rows as conversations.
    Trl,
}

impl ExportForm {
    /// Returns the form's name as requests and reports have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Gguf => "gguf",
            Self::Merged => "merged",
            Self::Axolotl => "axolotl",
            Self::Trl => "trl",
        }
    }
}

/// A student to export.
#[derive(Clone, Copy, Debug)]
pub enum ExportSource<'e> {
    /// A classifier; one over an encoder that was changed has an adapter.
    Classifier(&'e Student),
    /// A decoder, whose weights and base are known to be those that it was trained with.
    Decoder {
        /// What its file says.
        file: &'e DecoderStudentFile,
        /// Its folder.
        folder: &'e Path,
        /// Its base, where that is not where training found it.
        base: Option<&'e Path>,
    },
}

/// What to write, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// The form.
    pub form: ExportForm,
    /// The folder to write into; it is made.
    pub out: PathBuf,
    /// The rows that the student was trained on, for another trainer.
    pub data: Option<PathBuf>,
}

/// What was written.
///
/// The names of the fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// The form.
    pub form: ExportForm,
    /// The file or folder that the other program is given.
    pub path: PathBuf,
    /// Whether that is a model of its own rather than a change of one.
    pub is_whole_model: bool,
    /// The rows, for another trainer.
    pub rows: Option<ExportedRows>,
    /// The command that starts another trainer in the folder.
    pub start: Option<String>,
}

impl ExportReport {
    /// Returns in words where the other program finds the student, and how it loads it.
    pub fn summary(&self) -> String {
        let shown = self.path.display();
        match (self.form, &self.start) {
            (_, Some(start)) => format!("in {shown}: {start}"),
            (ExportForm::Peft, _) => format!("{shown}: load it with peft.PeftModel.from_pretrained"),
            (ExportForm::Gguf, _) if self.is_whole_model => {
                format!("{shown}: a whole model, with its tokenizer and chat template")
            }
            (ExportForm::Gguf, _) => format!("{shown}: load it with llama.cpp's --lora beside the base"),
            _ => format!("{shown}: the base with the changes in its weights"),
        }
    }
}

/// Rows as another trainer reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedRows {
    /// Their file.
    pub path: PathBuf,
    /// How many there are.
    pub count: u64,
}

impl ExportReport {
    fn weights(form: ExportForm, path: PathBuf, is_whole_model: bool) -> Self {
        Self { form, path, is_whole_model, rows: None, start: None }
    }
}

/// Writes a student in the form of another program.
///
/// # Errors
/// [`ExportError`], when the student has no such form or the folder cannot be written.
pub fn export(request: &ExportRequest, source: ExportSource<'_>) -> Result<ExportReport, ExportError> {
    check_folder("out", "the export", &request.out)?;
    match (source, request.form) {
        (ExportSource::Classifier(student), ExportForm::Peft) => {
            let Student::Encoder(encoder) = student else { return Err(ExportError::PeftOnly) };
            let adapter = encoder.adapter().ok_or(ExportError::PeftOnly)?;
            export_peft(&request.out, adapter, &encoder.base().identity().name)?;
            Ok(ExportReport::weights(ExportForm::Peft, request.out.clone(), false))
        }
        (ExportSource::Classifier(_), _) => Err(ExportError::PeftOnly),
        (ExportSource::Decoder { file, folder, base }, ExportForm::Axolotl | ExportForm::Trl) => {
            recipe::write(request, file, &file.model_path(folder, base))
        }
        (ExportSource::Decoder { file, folder, base }, _) => {
            let base = file.model_path(folder, base);
            match file.adapter_path(folder) {
                None => whole(request, &base),
                Some(adapter) => adapted(request, file, (&base, &adapter)),
            }
        }
    }
}

/// Writes a decoder without a base, which is a model of its own.
fn whole(request: &ExportRequest, model: &Path) -> Result<ExportReport, ExportError> {
    if request.form == ExportForm::Peft {
        return Err(ExportError::NoAdapter);
    }
    let to = request.out.join("model.gguf");
    make_folder(&request.out)?;
    copy(model, &to)?;
    Ok(ExportReport::weights(ExportForm::Gguf, to, true))
}

/// Writes a decoder's changes of its base, or the base with them.
fn adapted(
    request: &ExportRequest,
    file: &DecoderStudentFile,
    (base, adapter): (&Path, &Path),
) -> Result<ExportReport, ExportError> {
    if request.form == ExportForm::Gguf {
        let to = request.out.join("adapter.gguf");
        make_folder(&request.out)?;
        copy(adapter, &to)?;
        return Ok(ExportReport::weights(ExportForm::Gguf, to, false));
    }
    let number = |key: &str| file.config.get(key).and_then(Value::as_f64).ok_or(ExportError::NoRank);
    let lora = LoraConfig {
        rank: number("rank")? as usize,
        alpha: number("alpha")? as f32,
        lora_dropout: 0.0,
        dropout: 0.0,
        recompute: true,
    };
    let mut layout = Layout::default();
    let tuning = DecoderTuning { lora, form: BaseForm::AsStored };
    let network = DecoderNetwork::load(base, &tuning, &mut layout)?;
    let parameters = read_gguf_adapter(adapter, &network, &layout)?;
    let trained = (&network, &layout, &*parameters);
    make_folder(&request.out)?;
    if request.form == ExportForm::Peft {
        write_peft(&request.out, &base.to_string_lossy(), trained)?;
        return Ok(ExportReport::weights(ExportForm::Peft, request.out.clone(), false));
    }
    let to = if base.is_dir() { request.out.clone() } else { request.out.join("model.gguf") };
    write_merged(base, &to, trained)?;
    Ok(ExportReport::weights(ExportForm::Merged, to, true))
}

fn make_folder(folder: &Path) -> Result<(), ExportError> {
    std::fs::create_dir_all(folder).map_err(|source| ExportError::Folder { path: folder.to_owned(), source })
}

fn copy(from: &Path, to: &Path) -> Result<(), ExportError> {
    std::fs::copy(from, to).map(drop).map_err(|source| ExportError::Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    #[test]
    fn reports_keep_their_fields() {
        let weights = ExportReport::weights(ExportForm::Merged, "out/model.gguf".into(), true);
        let rows = Some(ExportedRows { path: "out/rows.jsonl".into(), count: 240 });
        let start = Some("axolotl train axolotl.yml".to_owned());
        let recipe = ExportReport {
            form: ExportForm::Axolotl,
            path: "out".into(),
            is_whole_model: false,
            rows,
            start,
        };
        assert_json_snapshot!([weights, recipe]);
    }
}

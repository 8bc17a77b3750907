//! What a model is, and whether it can run here, before it enters the store.

use std::path::{Path, PathBuf};

use bantam_engine::{Decoder, EncoderConfig, EncoderConfigError, LoadDecoderError};
use bantam_weights::{Format, OpenWeightsError, Tokenizer, TokenizerError, WeightFile, WordPiece};
use serde::{Deserialize, Serialize};

/// Endings of files that are pickles: programs, which run when they are read.
const PICKLES: [&str; 7] = ["bin", "pt", "pth", "ckpt", "pkl", "pickle", "model_state"];
/// Bytes of a `config.json` at most.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How a model's weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFormat {
    /// One GGUF file.
    Gguf,
    /// A folder with `config.json`, safetensors and `tokenizer.json`.
    Safetensors,
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Continues texts.
    Decoder,
    /// Turns texts into vectors.
    Encoder,
}

/// What a model says about itself, as its manifest keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// How its weights are written.
    pub format: ModelFormat,
    /// What it does.
    pub kind: ModelKind,
    /// Its family, such as `qwen3`.
    pub architecture: String,
    /// How its numbers are stored, such as `Q4_K_M` or `BF16`.
    pub quantisation: String,
    /// How many numbers it has.
    pub parameters: u64,
    /// Most tokens that it can hold.
    pub context_tokens: u64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
    /// Its layers.
    pub layers: u64,
    /// Numbers of one token's keys in a layer, and of its values; 0 for an encoder.
    pub kv_width: u64,
    /// Whether it has a chat template.
    pub has_template: bool,
}

/// A file that would run code when it is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is a Python pickle, a program that runs when it is read")]
pub struct PickleError {
    /// Its name.
    pub name: String,
}

/// Why a model cannot run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is nothing at the path.
    #[error("there is no file or folder {}", .path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A file that runs when it is read.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A part of a model in safetensors, which needs the files beside it.
    #[error("{name} is only a part of a model, which needs config.json and tokenizer.json beside it")]
    Part {
        /// The file's name.
        name: String,
    },
    /// A file that is damaged, or of no format that is read here.
    #[error(transparent)]
    Weights(#[from] OpenWeightsError),
    /// A decoder of an unknown architecture, or with tensors that are missing or of an unknown type.
    #[error(transparent)]
    Decoder(#[from] Box<LoadDecoderError>),
    /// An encoder of an unknown architecture.
    #[error("use config.json")]
    Encoder(#[from] EncoderConfigError),
    /// A tokenizer that cannot be used.
    #[error("use the tokenizer")]
    Tokenizer(#[from] TokenizerError),
    /// A word-piece tokenizer that cannot be used.
    #[error("use the tokenizer")]
    WordPiece(#[from] bantam_weights::WordPieceError),
    /// What the system said.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

impl InspectError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "check the path; a model of the hub is pulled, not imported",
            Self::Pickle(_) => "get the model as safetensors or GGUF: those cannot run anything",
            Self::Part { .. } => "give the folder that it lies in",
            Self::Weights(error) => error.kind.hint(),
            Self::Decoder(_) | Self::Encoder(_) => {
                "Llama, Mistral, Qwen 2 and 3, Gemma 3 (text) and Phi-3 decoders run here, and BERT and ModernBERT \
                 encoders; get one of these, or serve the model by another engine as an upstream"
            }
            Self::Tokenizer(_) | Self::WordPiece(_) => {
                "get the model from where it was published: its tokenizer is part of it"
            }
            Self::Read { .. } => "check that the file may be read",
        }
    }
}

/// Returns what the model at `path` is: a GGUF file, or a folder with `config.json`, safetensors and
/// `tokenizer.json`. Reads headers alone.
///
/// # Errors
/// If the model could not run here: everything is checked but the numbers.
pub fn inspect(path: &Path) -> Result<About, InspectError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !path.exists() {
        return Err(InspectError::Missing { path: path.to_owned() });
    }
    refuse_pickle(&name)?;
    if path.is_dir() && encoder_type(path)?.is_some() {
        return encoder(path);
    }
    let file = WeightFile::open(path)?;
    let is_gguf = matches!(file.format(), Format::Gguf { .. });
    if !is_gguf && !path.is_dir() {
        return Err(InspectError::Part { name });
    }
    let config = Decoder::inspect(path).map_err(Box::new)?;
    let tokenizer = Tokenizer::open(path)?;
    Ok(About {
        format: if is_gguf { ModelFormat::Gguf } else { ModelFormat::Safetensors },
        kind: ModelKind::Decoder,
        architecture: config.architecture.name().to_owned(),
        quantisation: quantisation(&file),
        parameters: parameters(&file),
        context_tokens: config.positions as u64,
        weight_bytes: weight_bytes(&file),
        layers: config.layers as u64,
        kv_width: config.kv_width() as u64,
        has_template: tokenizer.chat_template().is_some(),
    })
}

/// Refuses a file that is a pickle by its name.
pub(crate) fn refuse_pickle(name: &str) -> Result<(), PickleError> {
    let ending = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match PICKLES.contains(&&*ending) {
        true => Err(PickleError { name: name.to_owned() }),
        false => Ok(()),
    }
}

/// Returns the type of a folder's model, if it is that of an encoder.
fn encoder_type(folder: &Path) -> Result<Option<String>, InspectError> {
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(None);
    }
    let json = read_config(&path)?;
    let config: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    let name = config["model_type"].as_str().filter(|name| matches!(*name, "bert" | "modernbert"));
    Ok(name.map(str::to_owned))
}

fn read_config(path: &Path) -> Result<Vec<u8>, InspectError> {
    let wrong = |source| InspectError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(wrong)?.len();
    if bytes > CONFIG_BYTES_MAX {
        return Err(wrong(std::io::Error::other("it is longer than any configuration")));
    }
    std::fs::read(path).map_err(wrong)
}

fn encoder(folder: &Path) -> Result<About, InspectError> {
    let config = EncoderConfig::from_json(&read_config(&folder.join("config.json"))?)?;
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).map_err(|source| InspectError::Read { path, source })?;
    let name = encoder_type(folder)?.unwrap_or_default();
    if name == "bert" {
        WordPiece::from_tokenizer_json(&json)?;
    } else {
        Tokenizer::from_json(&json)?;
    }
    let file = WeightFile::open(folder)?;
    Ok(About {
        format: ModelFormat::Safetensors,
        kind: ModelKind::Encoder,
        architecture: name,
        quantisation: quantisation(&file),
        parameters: parameters(&file),
        context_tokens: config.positions as u64,
        weight_bytes: weight_bytes(&file),
        layers: config.layers as u64,
        kv_width: 0,
        has_template: false,
    })
}

/// Returns what the file says of its quantisation, or the type that has the most bytes.
fn quantisation(file: &WeightFile) -> String {
    let said = match file.metadata().u32("general.file_type") {
        Some(14) => Some("Q4_K_S"),
        Some(15) => Some("Q4_K_M"),
        Some(16) => Some("Q5_K_S"),
        Some(17) => Some("Q5_K_M"),
        _ => None,
    };
    let mut bytes: Vec<(&'static str, usize)> = Vec::new();
    for (_, view) in file.tensors() {
        let name = view.dtype().name();
        match bytes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += view.bytes().len(),
            None => bytes.push((name, view.bytes().len())),
        }
    }
    let most = bytes.iter().max_by_key(|(_, bytes)| *bytes).map_or("F32", |(name, _)| *name);
    // What a file says is believed only as far as its tensors bear it out.
    let said = said.filter(|said| most.starts_with("Q6_K") || said.starts_with(most));
    said.unwrap_or(most).to_owned()
}

fn parameters(file: &WeightFile) -> u64 {
    file.tensors().map(|(_, view)| view.len() as u64).sum()
}

fn weight_bytes(file: &WeightFile) -> u64 {
    file.tensors().map(|(_, view)| view.bytes().len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickles_are_refused_by_name_and_told_apart_from_safetensors() {
        for name in ["pytorch_model.bin", "a.pt", "b.PTH", "x.ckpt"] {
            assert!(refuse_pickle(name).unwrap_err().to_string().starts_with(name));
        }
        for name in ["model.safetensors", "model.gguf", "binary", "tokenizer.json"] {
            assert_eq!(refuse_pickle(name), Ok(()));
        }
    }

    #[test]
    fn nothing_at_the_path_says_so() {
        let error = inspect(Path::new("/nowhere/at/all.gguf")).unwrap_err();
        assert!(matches!(error, InspectError::Missing { .. }), "{error}");
    }
}

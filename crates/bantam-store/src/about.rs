//! Describes a model and checks that it can run here, before it enters the store.

use std::path::{Path, PathBuf};

use bantam_engine::{Decoder, EncoderConfig, EncoderConfigError, LoadDecoderError};
use bantam_weights::{Format, OpenWeightsError, Tokenizer, TokenizerError, WeightFile, WordPiece};
use serde::{Deserialize, Serialize};

/// File extensions of Python pickles, which run code when they are loaded.
const PICKLES: [&str; 7] = ["bin", "pt", "pth", "ckpt", "pkl", "pickle", "model_state"];
/// Largest `config.json` accepted, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The file format of a model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFormat {
    /// One GGUF file.
    Gguf,
    /// A folder with `config.json`, safetensors and `tokenizer.json`.
    Safetensors,
}

/// What a model is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Generates text.
    Decoder,
    /// Turns text into vectors.
    Encoder,
}

impl ModelKind {
    /// Returns what such a model is called.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Decoder => "language model",
            Self::Encoder => "encoder",
        }
    }
}

/// Properties of a model, as its manifest records them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDescription {
    /// The file format of its weights.
    pub format: ModelFormat,
    /// What it is used for.
    pub kind: ModelKind,
    /// Its family, such as `qwen3`.
    pub architecture: String,
    /// The type of most of its weights, such as `Q4_K_M` or `BF16`.
    pub quantisation: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Longest context, in tokens.
    pub context_tokens: u64,
    /// Size of its weights in bytes.
    pub weight_bytes: u64,
    /// Number of layers.
    pub layers: u64,
    /// Elements in one token's keys per layer, and in its values; 0 for an encoder.
    pub kv_width: u64,
    /// Whether it has a chat template.
    pub has_template: bool,
}

/// The file is a Python pickle, which would run code when loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is a Python pickle, which runs code when it is loaded")]
pub struct PickleError {
    /// The file's name.
    pub name: String,
}

/// Why a model cannot run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The path does not exist.
    #[error("no file or folder at {}", .path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file is a pickle.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A single safetensors file, which needs the files beside it.
    #[error("{name} alone is not a model; it needs config.json and tokenizer.json beside it")]
    Part {
        /// The file's name.
        name: String,
    },
    /// The file is damaged or in an unsupported format.
    #[error(transparent)]
    Weights(#[from] OpenWeightsError),
    /// The decoder has an unsupported architecture, missing tensors, or tensors of an unsupported type.
    #[error(transparent)]
    Decoder(#[from] Box<LoadDecoderError>),
    /// The encoder has an unsupported architecture.
    #[error("load config.json")]
    Encoder(#[from] EncoderConfigError),
    /// The tokenizer cannot be loaded.
    #[error("load the tokenizer")]
    Tokenizer(#[from] TokenizerError),
    /// The WordPiece tokenizer cannot be loaded.
    #[error("load the tokenizer")]
    WordPiece(#[from] bantam_weights::WordPieceError),
    /// A file cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl InspectError {
    /// Returns the next step for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "check the path; a model of the hub is pulled, not imported",
            Self::Pickle(_) => "use the model's safetensors or GGUF files: they cannot run code",
            Self::Part { .. } => "pass the folder that contains it",
            Self::Weights(error) => error.kind.hint(),
            Self::Decoder(_) | Self::Encoder(_) => {
                "supported are Llama, Mistral, Qwen 2 and 3, Gemma 3 (text) and Phi-3 decoders, and BERT and ModernBERT \
                 encoders; use one of these, or serve the model with another engine and add it as an upstream"
            }
            Self::Tokenizer(_) | Self::WordPiece(_) => {
                "download the model again from its publisher, with its tokenizer"
            }
            Self::Read { .. } => "check the file's permissions",
        }
    }
}

/// Describes the model at `path`: a GGUF file, or a folder with `config.json`, safetensors and `tokenizer.json`.
/// Reads only headers.
///
/// # Errors
/// If the model could not run here. Checks everything except the values of the weights.
pub fn inspect(path: &Path) -> Result<ModelDescription, InspectError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !path.exists() {
        return Err(InspectError::Missing { path: path.to_owned() });
    }
    refuse_pickle(&name)?;
    if path.is_dir() && encoder_type(path)?.is_some() {
        return inspect_encoder(path);
    }
    let file = WeightFile::open(path)?;
    let is_gguf = matches!(file.format(), Format::Gguf { .. });
    if !is_gguf && !path.is_dir() {
        return Err(InspectError::Part { name });
    }
    let config = Decoder::inspect(path).map_err(Box::new)?;
    let tokenizer = Tokenizer::open(path)?;
    Ok(ModelDescription {
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

/// Refuses a file whose name says that it is a pickle.
pub(crate) fn refuse_pickle(name: &str) -> Result<(), PickleError> {
    let ending = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match PICKLES.contains(&&*ending) {
        true => Err(PickleError { name: name.to_owned() }),
        false => Ok(()),
    }
}

/// Returns the model type of a folder, if it is an encoder.
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
        return Err(wrong(std::io::Error::other("the file is too long for a model configuration")));
    }
    std::fs::read(path).map_err(wrong)
}

fn inspect_encoder(folder: &Path) -> Result<ModelDescription, InspectError> {
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
    Ok(ModelDescription {
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

/// Returns the quantisation that the file names, or else the type with the most bytes.
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
    // The file's claim counts only if its tensors agree with it.
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
    fn a_missing_path_is_reported() {
        let error = inspect(Path::new("/nowhere/at/all.gguf")).unwrap_err();
        assert!(matches!(error, InspectError::Missing { .. }), "{error}");
    }
}

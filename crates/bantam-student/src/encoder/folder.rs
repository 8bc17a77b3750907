//! A base's folder: finds its files and reads them with a size limit before parsing.

use std::io::Read;
use std::path::{Path, PathBuf};

use bantam_engine::{EncoderConfig, LoadEncoderError};
use bantam_weights::{OpenWeightsError, WeightFile};
use serde::Deserialize;

use super::identity::{BaseIdentity, BasePooling, BasePrecision};
use super::reader::{TextReader, TextReaderError};
use crate::hash::FileHash;

/// The largest `tokenizer.json` in bytes.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;
/// The largest size of any other JSON file in bytes.
const JSON_BYTES_MAX: u64 = 1 << 20;
/// The default number of tokens to read, with which most sentence encoders are trained.
const TOKENS_DEFAULT: u32 = 512;
/// The two special tokens around a text and one of its own.
const TOKENS_MIN: u32 = 3;

/// Why a folder cannot be used as a base.
#[derive(Debug, thiserror::Error)]
#[error("use the base encoder {}", .folder.display())]
pub struct LoadBaseError {
    /// The folder.
    pub folder: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: LoadBaseErrorKind,
}

/// What is wrong with a base's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadBaseErrorKind {
    /// The folder does not exist.
    #[error("the folder does not exist")]
    Missing,
    /// A file is missing or cannot be read.
    #[error("read {file}")]
    Read {
        /// Its name.
        file: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than any valid one.
    #[error("{file} is larger than {bytes_max} bytes")]
    TooLong {
        /// Its name.
        file: &'static str,
        /// The limit.
        bytes_max: u64,
    },
    /// A file is invalid.
    #[error("cannot parse {file}")]
    Json {
        /// Its name.
        file: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The pooling is not supported.
    #[error("1_Pooling/config.json asks for a pooling other than the mean or the first token")]
    Pooling,
    /// The weights are missing or not supported.
    #[error("open the weights")]
    Weights(#[from] Box<OpenWeightsError>),
    /// The architecture or the tensors are not supported.
    #[error(transparent)]
    Encoder(#[from] Box<LoadEncoderError>),
    /// The tokenizer is not supported.
    #[error("use tokenizer.json")]
    Tokenizer(#[from] TextReaderError),
    /// The tokenizer belongs to another model.
    #[error("the tokenizer has {tokens} tokens, but the weights have {vocabulary}")]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Tokens of the weights.
        vocabulary: usize,
    },
    /// The student was trained on another base.
    #[error("the SHA-256 of its {what} is {found}; the student was trained on {expected}")]
    Different {
        /// The part that differs.
        what: &'static str,
        /// The hash of the student's base.
        expected: String,
        /// The hash found.
        found: String,
    },
    /// The base's configuration asks for texts that do not fit it.
    #[error("it is configured for texts of {tokens} tokens; 3 to {positions} fit")]
    Tokens {
        /// The configured number of tokens.
        tokens: u32,
        /// The positions that it has.
        positions: usize,
    },
    /// The student was trained on vectors of another length.
    #[error("its vectors have {found} numbers; the student was trained on {expected}")]
    Width {
        /// The length found.
        found: usize,
        /// The length that the student was trained on.
        expected: u32,
    },
}

impl LoadBaseErrorKind {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing | Self::Read { .. } | Self::Weights(_) => {
                "a base is a folder with config.json, model.safetensors and tokenizer.json: set `base` to such a folder"
            }
            Self::Different { .. } | Self::Width { .. } => {
                "set `base` to the folder of the base it was trained on, or train again on this one and certify again"
            }
            Self::TooLong { .. }
            | Self::Json { .. }
            | Self::Pooling
            | Self::Encoder(_)
            | Self::Tokenizer(_)
            | Self::Vocabulary { .. }
            | Self::Tokens { .. } => {
                "use a BERT or ModernBERT in the format of sentence-transformers, such as all-MiniLM-L6-v2"
            }
        }
    }
}

/// The content of a folder's small files, and the opened weights.
pub(super) struct BaseFiles {
    pub(super) weights: WeightFile,
    pub(super) tokenizer: Vec<u8>,
    config: Vec<u8>,
    pooling: BasePooling,
    tokens_max: Option<u32>,
}

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(rename = "_name_or_path")]
    name: Option<String>,
    #[serde(default)]
    hidden_size: u32,
    #[serde(default)]
    max_position_embeddings: u32,
}

#[derive(Deserialize)]
struct SentenceJson {
    max_seq_length: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingJson {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

impl BaseFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, LoadBaseErrorKind> {
        if !folder.is_dir() {
            return Err(LoadBaseErrorKind::Missing);
        }
        let config = required(folder, "config.json", JSON_BYTES_MAX)?;
        let tokenizer = required(folder, "tokenizer.json", TOKENIZER_BYTES_MAX)?;
        let sentence = optional(folder, "sentence_bert_config.json", JSON_BYTES_MAX)?;
        let sentence: Option<SentenceJson> = parse_optional(sentence, "sentence_bert_config.json")?;
        let pooling = optional(folder, "1_Pooling/config.json", JSON_BYTES_MAX)?;
        let pooling = parse_optional(pooling, "1_Pooling/config.json")?;
        Ok(Self {
            weights: WeightFile::open(folder).map_err(Box::new)?,
            tokenizer,
            config,
            pooling: pooling.as_ref().map_or(Ok(BasePooling::Mean), pooling_of)?,
            tokens_max: sentence.and_then(|sentence| sentence.max_seq_length),
        })
    }

    /// Returns the base's identity. Reads all of the weights, to hash them.
    pub(super) fn identity(
        &self,
        folder: &Path,
        precision: BasePrecision,
    ) -> Result<BaseIdentity, LoadBaseErrorKind> {
        let json: ConfigJson = parse(&self.config, "config.json")?;
        let named = json.name.filter(|name| !name.trim().is_empty());
        let name =
            named.unwrap_or_else(|| folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let positions = json.max_position_embeddings;
        let tokens_max = self.tokens_max.unwrap_or(TOKENS_DEFAULT).min(positions);
        Ok(BaseIdentity {
            name: name.chars().take(200).collect(),
            weights_sha256: self.weights.sha256().to_hex(),
            config_sha256: FileHash::of(&[&self.config]).to_hex(),
            tokenizer_sha256: FileHash::of(&[&self.tokenizer]).to_hex(),
            pooling: self.pooling,
            precision,
            tokens_max,
            width: json.hidden_size,
        })
    }

    /// Returns the encoder's configuration and its tokenizer, after checking that they fit each other and the identity.
    pub(super) fn parts(
        &self,
        identity: &BaseIdentity,
    ) -> Result<(EncoderConfig, TextReader), LoadBaseErrorKind> {
        let failed = |kind| Box::new(LoadEncoderError { path: identity.name.clone().into(), kind });
        let config = EncoderConfig::from_json(&self.config).map_err(|error| failed(error.into()))?;
        check_tokens(identity.tokens_max, config.positions)?;
        if config.hidden != identity.width as usize {
            return Err(LoadBaseErrorKind::Width { found: config.hidden, expected: identity.width });
        }
        let tokenizer = TextReader::from_json(&self.tokenizer)?;
        let (tokens, vocabulary) = (tokenizer.vocabulary_size(), config.vocabulary);
        if tokens > vocabulary {
            return Err(LoadBaseErrorKind::Vocabulary { tokens, vocabulary });
        }
        Ok((config, tokenizer))
    }
}

/// The parts of a base, for training on it.
#[derive(Debug)]
pub struct BaseParts {
    /// Everything that its vectors depend on.
    pub identity: BaseIdentity,
    /// The encoder's configuration.
    pub config: EncoderConfig,
    /// The tokenizer.
    pub tokenizer: TextReader,
    /// The encoder's weights.
    pub weights: WeightFile,
}

impl BaseParts {
    /// Returns the parts of the base in `folder`. Its `identity` comes from
    /// [`EncoderBase::identify`](super::EncoderBase::identify): the weights are not hashed again.
    ///
    /// # Errors
    /// [`LoadBaseError`] if a file is missing or does not belong to a base.
    pub fn open(folder: &Path, identity: BaseIdentity) -> Result<Self, LoadBaseError> {
        let open = || {
            let files = BaseFiles::read(folder)?;
            let (config, tokenizer) = files.parts(&identity)?;
            Ok(Self { identity, config, tokenizer, weights: files.weights })
        };
        open().map_err(|kind| LoadBaseError { folder: folder.to_owned(), kind })
    }
}

/// Checks that texts of this many tokens fit.
fn check_tokens(tokens: u32, positions: usize) -> Result<(), LoadBaseErrorKind> {
    if tokens < TOKENS_MIN || tokens as usize > positions {
        return Err(LoadBaseErrorKind::Tokens { tokens, positions });
    }
    Ok(())
}

fn pooling_of(json: &PoolingJson) -> Result<BasePooling, LoadBaseErrorKind> {
    let others = json.pooling_mode_max_tokens
        || json.pooling_mode_mean_sqrt_len_tokens
        || json.pooling_mode_weightedmean_tokens
        || json.pooling_mode_lasttoken;
    match (json.pooling_mode_mean_tokens, json.pooling_mode_cls_token) {
        (true, false) if !others => Ok(BasePooling::Mean),
        (false, true) if !others => Ok(BasePooling::Cls),
        _ => Err(LoadBaseErrorKind::Pooling),
    }
}

fn required(folder: &Path, file: &'static str, bytes_max: u64) -> Result<Vec<u8>, LoadBaseErrorKind> {
    let failed = |source| LoadBaseErrorKind::Read { file, source };
    let opened = std::fs::File::open(folder.join(file)).map_err(failed)?;
    let mut bytes = Vec::new();
    opened.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(LoadBaseErrorKind::TooLong { file, bytes_max });
    }
    Ok(bytes)
}

fn optional(folder: &Path, file: &'static str, bytes_max: u64) -> Result<Option<Vec<u8>>, LoadBaseErrorKind> {
    match required(folder, file, bytes_max) {
        Err(LoadBaseErrorKind::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(bytes: &[u8], file: &'static str) -> Result<T, LoadBaseErrorKind> {
    serde_json::from_slice(bytes).map_err(|source| LoadBaseErrorKind::Json { file, source })
}

fn parse_optional<T: for<'a> Deserialize<'a>>(
    bytes: Option<Vec<u8>>,
    file: &'static str,
) -> Result<Option<T>, LoadBaseErrorKind> {
    bytes.map(|bytes| parse(&bytes, file)).transpose()
}

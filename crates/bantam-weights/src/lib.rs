//! Model files, checked and memory-mapped, and their tokenizers.
//!
//! [`WeightFile::open`] reads GGUF (versions 2 and 3) and safetensors (one file or sharded) without copying tensors.
//! [`TensorView::to_f32`] converts any supported tensor type. [`write_safetensors`] and [`write_gguf`] write files
//! atomically. [`WordPiece`] converts text to the token ids of BERT encoders; [`Tokenizer`] does so for all other
//! models, and converts ids back to text.
//!
//! The content of a file decides its format, never its name. Model files come from strangers, so everything in a
//! header is checked before the first tensor is returned:
//!
//! **Invariant:** no file, however damaged or crafted, makes opening it or reading its contents panic, or allocate
//! more than a small multiple of the file's size.
//!
//! **Invariant:** a [`TensorView`] has exactly the bytes that its type and shape need, and no two tensors of a file
//! share a byte.
//!
//! **Invariant:** only safetensors and GGUF are read. No file can run code when it is loaded, as a pickle can.
//!
//! **Invariant:** the only `unsafe` is the memory mapping in `map.rs`, with its safety argument beside it.
//!
//! # Example
//!
//! ```
//! use bantam_weights::{Dtype, NewTensor, WeightFile, quantise, write_safetensors};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("model.safetensors");
//! let bytes = quantise(Dtype::F16, &[1.0, -2.0, 0.5, 4.0])?;
//! let tensor = NewTensor { name: "weight", dtype: Dtype::F16, shape: &[2, 2], bytes: &bytes };
//! let hash = write_safetensors(&path, &[("made_by", "an example")], &[tensor])?;
//!
//! let file = WeightFile::open(&path)?;
//! assert_eq!(file.sha256(), hash);
//! assert_eq!(file.require("weight", &[2, 2])?.to_f32()?, [1.0, -2.0, 0.5, 4.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dequantise;
mod dtype;
mod file;
mod gguf;
mod hash;
mod map;
mod metadata;
mod quantise;
mod safetensors;
mod sniff;
mod tensor;
mod tokenizer;
mod wordpiece;
mod write;

pub use dequantise::DequantiseError;
pub use dtype::Dtype;
pub use file::{Format, OpenWeightsError, OpenWeightsErrorKind, RequireTensorError, WeightFile};
pub use gguf::GgufError;
pub use hash::WeightsHash;
pub use map::MappedFile;
pub use metadata::{Array, Metadata, RawValue, Strings, Value};
pub use quantise::{QuantiseError, quantise};
pub use safetensors::{SafetensorsError, ShardIndexError};
pub use sniff::RefusedContent;
pub use tensor::{TensorError, TensorErrorKind, TensorView};
pub use tokenizer::{EncodeOptions, FillInTheMiddle, TextStream, Tokenizer, TokenizerError};
pub use wordpiece::{Fit, WordPiece, WordPieceError};
pub use write::{
    NewTensor, NewValue, PlannedTensor, WriteWeightsError, WriteWeightsErrorKind, write_file, write_gguf,
    write_gguf_planned, write_safetensors,
};

//! Model files, checked and mapped, and the tokenizers that go with them.
//!
//! [`WeightFile::open`] reads GGUF (versions 2 and 3) and safetensors (one file or sharded) without copying
//! tensors; [`TensorView::to_f32`] widens any tensor type read here; [`write_safetensors`] and [`write_gguf`]
//! write files that are either whole or absent. [`WordPiece`] turns text into the token ids of BERT encoders;
//! [`Tokenizer`] does so for every other model, and turns ids back into text.
//!
//! A file is known by its content, never by its name, and everything in its header is checked before the first
//! tensor is handed out, because a model file comes from strangers:
//!
//! **Invariant:** no file, however damaged or crafted, makes opening it or reading what it gave panic, or
//! allocate more than a small multiple of the file's size.
//!
//! **Invariant:** a [`TensorView`] has exactly the bytes that its type and shape ask for, and no two tensors of
//! a file share a byte.
//!
//! **Invariant:** only safetensors and GGUF are read. Nothing here can run what a file holds, as a pickle could.
//!
//! **Invariant:** the only `unsafe` is the mapping of a file, in `map.rs`, beside what makes it sound.
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
mod half;
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
pub use half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
pub use hash::WeightsHash;
pub use map::MappedFile;
pub use metadata::{Array, Metadata, StoredValue, Strings, Value};
pub use quantise::{QuantiseError, quantise};
pub use safetensors::{IndexError, SafetensorsError};
pub use sniff::RefusedContent;
pub use tensor::{TensorError, TensorErrorKind, TensorView};
pub use tokenizer::{EncodeOptions, FillInTheMiddle, TextStream, Tokenizer, TokenizerError};
pub use wordpiece::{Fit, WordPiece, WordPieceError};
pub use write::{
    NewTensor, NewValue, PlannedTensor, WriteWeightsError, WriteWeightsErrorKind, write_file, write_gguf,
    write_gguf_planned, write_safetensors,
};

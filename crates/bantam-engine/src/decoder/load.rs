//! Loads a decoder from files, with all checks.

mod error;
mod reader;
mod survey;

pub use error::{LoadDecoderError, LoadDecoderErrorKind};
pub(super) use reader::Reader;
pub use survey::DecoderSurvey;

use std::path::Path;

use bantam_kernels::{Gate, GroupedLinear, PackedBytes, Packing, Pool, Rope, RopeStyle};
use bantam_weights::{Format, WeightFile};

use super::cache::{CachedLayer, WeightCache};
use super::config::{self, DecoderConfig};
use super::layer::{HeadNorms, Layer};
use super::linear::Linear;
use super::naming::{LinearPart, LinearSource, Naming, Norm};
use super::{Decoder, DecoderOptions, DecoderPrecision};

/// Largest `config.json` accepted, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

impl Decoder {
    /// Opens a GGUF file, or a folder with `config.json` and safetensors. A safetensors file or index beside a
    /// `config.json` also works.
    ///
    /// The threads of `pool` pack quantised weights, which takes seconds for large models. With
    /// [`DecoderOptions::cache`] the result is cached and the next opening takes milliseconds.
    pub fn open(
        path: impl AsRef<Path>,
        options: &DecoderOptions,
        pool: &Pool,
    ) -> Result<Self, LoadDecoderError> {
        let path = path.as_ref();
        Self::open_path(path, options, pool).map_err(|kind| LoadDecoderError { path: path.to_owned(), kind })
    }

    /// Checks a model like [`Self::open`], except for the values of its weights, and returns its configuration. Reads
    /// only headers and norms, so it takes milliseconds.
    pub fn inspect(path: impl AsRef<Path>) -> Result<DecoderConfig, LoadDecoderError> {
        let path = path.as_ref();
        Self::inspect_path(path).map_err(|kind| LoadDecoderError { path: path.to_owned(), kind })
    }

    fn inspect_path(path: &Path) -> Result<DecoderConfig, LoadDecoderErrorKind> {
        let (config, naming, file) = open_parts(path)?;
        let reader = Reader { config: &config, file: &file, naming };
        reader.check_embeddings()?;
        linear_sources(&config, naming).try_for_each(|linear| reader.packing(&linear).map(drop))?;
        for layer in 0..config.layers {
            reader.layer_norm(layer, Norm::Attention)?;
            reader.layer_norm(layer, Norm::FeedForward)?;
        }
        reader.norm(naming.last_norm(), config.hidden)?;
        Ok(config)
    }

    fn open_path(path: &Path, options: &DecoderOptions, pool: &Pool) -> Result<Self, LoadDecoderErrorKind> {
        let (config, naming, file) = open_parts(path)?;
        Self::new(config, naming, file, options, pool)
    }

    fn new(
        config: DecoderConfig,
        naming: Naming,
        file: WeightFile,
        options: &DecoderOptions,
        pool: &Pool,
    ) -> Result<Self, LoadDecoderErrorKind> {
        let reader = Reader { config: &config, file: &file, naming };
        reader.check_embeddings()?;
        let linears = match options.precision {
            DecoderPrecision::F32 => f32_linears(&reader)?,
            DecoderPrecision::Quantised => grouped_linears(&reader, options, pool)?,
        };
        let weight_bytes = linears.iter().map(Linear::bytes).sum();
        let mut linears = linears.into_iter();
        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            // The sources list one layer per part, so none is missing.
            let (Some(qkv), Some(output), Some(gate_up), Some(down)) =
                (linears.next(), linears.next(), linears.next(), linears.next())
            else {
                break;
            };
            let norm = |norm| reader.layer_norm(index, norm);
            layers.push(Layer {
                attention_norm: norm(Norm::Attention)?,
                qkv,
                head_norms: match config.has_head_norms() {
                    true => Some(HeadNorms { queries: norm(Norm::Queries)?, keys: norm(Norm::Keys)? }),
                    false => None,
                },
                is_local: config.local_rope.is_some() && config.windows[index].is_some(),
                window: config.windows[index],
                output,
                after_attention: config.has_post_norms().then(|| norm(Norm::AfterAttention)).transpose()?,
                feed_forward_norm: norm(Norm::FeedForward)?,
                gate_up,
                gate: if config.has_gelu() { Gate::GeluTanh } else { Gate::Silu },
                down,
                after_feed_forward: config
                    .has_post_norms()
                    .then(|| norm(Norm::AfterFeedForward))
                    .transpose()?,
            });
        }
        let norm = reader.norm(naming.last_norm(), config.hidden)?;
        let head = linears.next().ok_or(LoadDecoderErrorKind::NoHead)?;
        let rope = |rope: &config::Rope| {
            Rope::new(RopeStyle::Halves, config.head_size, rope.frequencies.clone(), rope.magnitude)
        };
        let ropes = (rope(&config.rope), config.local_rope.as_ref().map(rope));
        let embeddings = format!("{}.weight", naming.embeddings());
        let precision = options.precision;
        Ok(Self { precision, ropes, layers, norm, head, embeddings, file, config, weight_bytes })
    }
}

/// Returns a model's configuration, its tensor naming, and its weight file.
fn open_parts(path: &Path) -> Result<(DecoderConfig, Naming, WeightFile), LoadDecoderErrorKind> {
    if path.is_dir() {
        // The configuration first: an unsupported architecture is a better error than a missing tensor.
        let config = read_config(&path.join("config.json"))?;
        return Ok((config, Naming::Transformers, WeightFile::open(path)?));
    }
    let file = WeightFile::open(path)?;
    if matches!(file.format(), Format::Gguf { .. }) {
        let config = DecoderConfig::from_gguf(&file)?;
        return Ok((config, Naming::Gguf, file));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let config = read_config(&folder.join("config.json"))?;
    Ok((config, Naming::Transformers, file))
}

fn read_config(path: &Path) -> Result<DecoderConfig, LoadDecoderErrorKind> {
    let bytes = std::fs::metadata(path).map_err(LoadDecoderErrorKind::ReadConfig)?.len();
    if bytes > CONFIG_BYTES_MAX {
        return Err(LoadDecoderErrorKind::ConfigTooLong { bytes });
    }
    let json = std::fs::read(path).map_err(LoadDecoderErrorKind::ReadConfig)?;
    Ok(DecoderConfig::from_json(&json)?)
}

/// Returns the sources of all linear layers, in execution order.
fn linear_sources(config: &DecoderConfig, naming: Naming) -> impl Iterator<Item = LinearSource> {
    let of_layer =
        move |layer| LinearPart::ALL.into_iter().map(move |part| naming.linear_source(config, layer, part));
    (0..config.layers).flat_map(of_layer).chain(std::iter::once_with(move || naming.head(config)))
}

fn f32_linears(reader: &Reader<'_>) -> Result<Vec<Linear>, LoadDecoderErrorKind> {
    linear_sources(reader.config, reader.naming)
        .map(|linear| reader.f32_linear(&linear).map(Linear::F32))
        .collect()
}

/// Takes packed weights from the cache, or packs and caches them.
fn grouped_linears(
    reader: &Reader<'_>,
    options: &DecoderOptions,
    pool: &Pool,
) -> Result<Vec<Linear>, LoadDecoderErrorKind> {
    let sources: Vec<LinearSource> = linear_sources(reader.config, reader.naming).collect();
    let entries = sources
        .iter()
        .map(|linear| {
            let (outputs, inputs) = (linear.outputs(), linear.inputs);
            Ok(CachedLayer { name: linear.name(), outputs, inputs, packing: reader.packing(linear)? })
        })
        .collect::<Result<Vec<CachedLayer<'_>>, LoadDecoderErrorKind>>()?;
    let cache = options.cache.as_deref().map(|path| WeightCache::new(path, reader.file, &entries));
    let packed: Vec<PackedBytes> = match cache.as_ref().and_then(WeightCache::open) {
        Some(packed) => packed,
        None => {
            let pack =
                |(linear, entry): (&LinearSource, &CachedLayer<'_>)| reader.pack(linear, entry.packing, pool);
            let packed = sources.iter().zip(&entries).map(pack).collect::<Result<Vec<_>, _>>()?;
            // Memory-mapped weights are in memory only once, however many processes use them.
            cache.and_then(|cache| cache.write(&packed)).unwrap_or(packed)
        }
    };
    let build = |((linear, entry), bytes): ((&LinearSource, &CachedLayer<'_>), PackedBytes)| {
        let layer = grouped(bytes, entry.outputs, entry.inputs, entry.packing)?;
        Ok(Linear::Grouped(match reader.bias(linear)? {
            Some(bias) => layer.with_bias(bias),
            None => layer,
        }))
    };
    sources.iter().zip(&entries).zip(packed).map(build).collect()
}

fn grouped(
    bytes: PackedBytes,
    outputs: usize,
    inputs: usize,
    packing: Packing,
) -> Result<GroupedLinear, LoadDecoderErrorKind> {
    Ok(GroupedLinear::from_packed(bytes, outputs, inputs, packing)?)
}

//! LoRA adapters (<https://arxiv.org/abs/2106.09685>): small changes to a decoder's linear layers, which can differ
//! between the sequences of a step.

mod error;
mod peft;
mod survey;

pub use error::{LoadAdapterError, LoadAdapterErrorKind};
pub use survey::AdapterSurvey;

use std::path::Path;

use bantam_kernels::LowRank;
use bantam_weights::{Format, WeightFile};

use super::naming::{Naming, TensorPiece};
use super::{Architecture, Decoder, DecoderConfig};
use LoadAdapterErrorKind as Kind;

/// Largest supported rank; real adapters use 4 to 256.
const RANK_MAX: usize = 4096;

/// A linear layer that an adapter can change: a separate one, or a fused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Queries,
    Keys,
    Values,
    Qkv,
    Output,
    Gate,
    Up,
    GateUp,
    Down,
}

/// A target with its names in GGUF files and in transformers modules.
struct NamedTarget(Target, &'static str, &'static str);

/// The targets of all architectures except Phi-3.
const SPLIT: [NamedTarget; 7] = [
    NamedTarget(Target::Queries, "attn_q", "self_attn.q_proj"),
    NamedTarget(Target::Keys, "attn_k", "self_attn.k_proj"),
    NamedTarget(Target::Values, "attn_v", "self_attn.v_proj"),
    NamedTarget(Target::Output, "attn_output", "self_attn.o_proj"),
    NamedTarget(Target::Gate, "ffn_gate", "mlp.gate_proj"),
    NamedTarget(Target::Up, "ffn_up", "mlp.up_proj"),
    NamedTarget(Target::Down, "ffn_down", "mlp.down_proj"),
];
/// The targets of Phi-3.
const FUSED: [NamedTarget; 4] = [
    NamedTarget(Target::Qkv, "attn_qkv", "self_attn.qkv_proj"),
    NamedTarget(Target::Output, "attn_output", "self_attn.o_proj"),
    NamedTarget(Target::GateUp, "ffn_up", "mlp.gate_up_proj"),
    NamedTarget(Target::Down, "ffn_down", "mlp.down_proj"),
];

impl Target {
    /// Returns the number of outputs and inputs.
    fn shape(self, config: &DecoderConfig) -> (usize, usize) {
        let (hidden, queries, keys) = (config.hidden, config.query_width(), config.kv_width());
        match self {
            Self::Queries => (queries, hidden),
            Self::Keys | Self::Values => (keys, hidden),
            Self::Qkv => (queries + 2 * keys, hidden),
            Self::Output => (hidden, queries),
            Self::Gate | Self::Up => (config.intermediate, hidden),
            Self::GateUp => (2 * config.intermediate, hidden),
            Self::Down => (hidden, config.intermediate),
        }
    }
}

/// The dimensions of the decoder that an adapter was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DecoderSizes {
    architecture: Architecture,
    layers: usize,
    hidden: usize,
    queries: usize,
    keys: usize,
    intermediate: usize,
}

impl DecoderSizes {
    fn of(config: &DecoderConfig) -> Self {
        Self {
            architecture: config.architecture,
            layers: config.layers,
            hidden: config.hidden,
            queries: config.query_width(),
            keys: config.kv_width(),
            intermediate: config.intermediate,
        }
    }
}

/// A LoRA adapter, checked against its decoder and ready to run. Immutable.
#[derive(Debug)]
pub struct Adapter {
    sizes: DecoderSizes,
    /// The changes of each layer.
    layers: Vec<Vec<(Target, LowRank)>>,
}

impl Adapter {
    /// Opens a PEFT adapter (a folder with `adapter_config.json` and `adapter_model.safetensors`) or a GGUF adapter.
    /// Features that the decoder cannot apply, such as DoRA or changed embeddings, are refused by name.
    pub fn open(path: impl AsRef<Path>, decoder: &Decoder) -> Result<Self, LoadAdapterError> {
        let path = path.as_ref();
        Self::open_path(path, decoder).map_err(|kind| LoadAdapterError { path: path.to_owned(), kind })
    }

    fn open_path(path: &Path, decoder: &Decoder) -> Result<Self, Kind> {
        let (file, naming, scaling) = source(path, decoder.config.architecture)?;
        Self::new(&file, naming, decoder, &scaling)
    }

    fn new(file: &WeightFile, naming: Naming, decoder: &Decoder, scaling: &Scaling) -> Result<Self, Kind> {
        let config = &decoder.config;
        let mut layers: Vec<Vec<(Target, LowRank)>> = (0..config.layers).map(|_| Vec::new()).collect();
        for adapted in adapted_layers(file, naming, config)? {
            let factors = read_factors(file, &adapted, naming, config, scaling)?;
            layers[adapted.layer].push((adapted.target, factors));
        }
        Ok(Self { sizes: DecoderSizes::of(config), layers })
    }

    /// Returns the memory of its factors, in bytes.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flatten().map(|(_, factors)| factors.bytes()).sum()
    }

    /// Whether the adapter was made for decoders of `config`.
    pub(super) fn fits(&self, config: &DecoderConfig) -> bool {
        self.sizes == DecoderSizes::of(config)
    }

    /// Returns the change to `target` of a layer, if there is one.
    pub(super) fn low_rank(&self, layer: usize, target: Target) -> Option<&LowRank> {
        self.layers[layer].iter().find(|(found, _)| *found == target).map(|(_, factors)| factors)
    }
}

/// Opens an adapter's weights and reads its scaling.
fn source(path: &Path, architecture: Architecture) -> Result<(WeightFile, Naming, Scaling), Kind> {
    if path.is_dir() {
        // Before the weights, because it may explain why they are unusual.
        let scaling = peft::read(&path.join("adapter_config.json"))?;
        let file = WeightFile::open(path.join("adapter_model.safetensors"))?;
        return Ok((file, Naming::Transformers, scaling));
    }
    let file = WeightFile::open(path)?;
    if matches!(file.format(), Format::Gguf { .. }) {
        let scaling = gguf_scaling(&file, architecture)?;
        return Ok((file, Naming::Gguf, scaling));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scaling = peft::read(&folder.join("adapter_config.json"))?;
    Ok((file, Naming::Transformers, scaling))
}

/// A linear layer that an adapter changes, with the tensor names of its two factors.
#[derive(Debug)]
struct AdaptedLayer {
    layer: usize,
    target: Target,
    down: String,
    up: String,
}

/// Returns all changes of an adapter, or an error naming a tensor that does not fit a decoder of `config`.
fn adapted_layers(
    file: &WeightFile,
    naming: Naming,
    config: &DecoderConfig,
) -> Result<Vec<AdaptedLayer>, Kind> {
    let mut adapted = Vec::new();
    for (name, _) in file.tensors() {
        let unknown = || Kind::UnknownTensor { tensor: name.into() };
        let found = parse_name(name, naming, config.is_fused()).ok_or_else(unknown)?;
        if found.layer >= config.layers {
            return Err(unknown());
        }
        let ParsedName { layer, target, is_down, other } = found;
        if is_down {
            adapted.push(AdaptedLayer { layer, target, down: name.to_owned(), up: other });
        } else if file.tensor(&other).is_none() {
            return Err(Kind::Missing { tensor: other.into() });
        }
    }
    if adapted.is_empty() { Err(Kind::Empty) } else { Ok(adapted) }
}

/// The scaling of `B A x`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scaling {
    alpha: f32,
    /// Whether alpha is divided by the square root of the rank instead of the rank (rsLoRA).
    is_by_root: bool,
    /// The rank that all factors must have, if known.
    rank: Option<usize>,
}

impl Scaling {
    fn factor(&self, rank: usize) -> f32 {
        let rank = rank as f32;
        self.alpha / if self.is_by_root { rank.sqrt() } else { rank }
    }
}

/// Reads the metadata of a GGUF adapter, as written by llama.cpp's converter.
fn gguf_scaling(file: &WeightFile, architecture: Architecture) -> Result<Scaling, Kind> {
    let metadata = file.metadata();
    let expect_value = |key: &'static str, expected: &'static str| match metadata.text(key) {
        Some(found) if found == expected => Ok(()),
        found => {
            let found = found.unwrap_or("missing").chars().take(64).collect();
            Err(Kind::Unsupported { key: key.into(), found, expected })
        }
    };
    expect_value("general.type", "adapter")?;
    expect_value("adapter.type", "lora")?;
    expect_value("general.architecture", architecture.name())?;
    let key = "adapter.lora.alpha";
    let alpha = metadata.f32(key).ok_or(Kind::MissingKey { key })?;
    check_alpha(alpha)?;
    Ok(Scaling { alpha, is_by_root: false, rank: None })
}

fn check_alpha(alpha: f32) -> Result<(), Kind> {
    match alpha.is_finite() && alpha != 0.0 {
        true => Ok(()),
        false => Err(Kind::Alpha { found: alpha }),
    }
}

/// The parts of a tensor's name.
#[derive(Debug, PartialEq, Eq)]
struct ParsedName {
    layer: usize,
    target: Target,
    /// Whether it is A, the factor that is applied first.
    is_down: bool,
    /// The name of the other factor.
    other: String,
}

fn parse_name(name: &str, naming: Naming, is_fused: bool) -> Option<ParsedName> {
    let (start, ends) = match naming {
        Naming::Gguf => ("blk.", [".weight.lora_a", ".weight.lora_b"]),
        Naming::Transformers => ("base_model.model.model.layers.", [".lora_A.weight", ".lora_B.weight"]),
    };
    let is_down = name.ends_with(ends[0]);
    let base = name.strip_suffix(ends[usize::from(!is_down)])?;
    let (layer, module) = base.strip_prefix(start)?.split_once('.')?;
    let named = |named: &&NamedTarget| module == if naming == Naming::Gguf { named.1 } else { named.2 };
    let target = if is_fused { FUSED.iter().find(named) } else { SPLIT.iter().find(named) }?.0;
    let other = format!("{base}{}", ends[usize::from(is_down)]);
    Some(ParsedName { layer: layer.parse().ok()?, target, is_down, other })
}

/// Returns the rank of a target's factors, after checking their shapes against the decoder.
fn rank_of(
    file: &WeightFile,
    adapted: &AdaptedLayer,
    config: &DecoderConfig,
    scaling: &Scaling,
) -> Result<usize, Kind> {
    let (outputs, inputs) = adapted.target.shape(config);
    let rank = file.tensor(&adapted.down).and_then(|view| view.shape().first().copied()).unwrap_or_default();
    if rank == 0 || rank > RANK_MAX || scaling.rank.is_some_and(|expected| expected != rank) {
        let tensor = adapted.down.as_str().into();
        return Err(Kind::Rank { tensor, found: rank, expected: scaling.rank });
    }
    file.require(&adapted.down, &[rank, inputs])?;
    file.require(&adapted.up, &[outputs, rank])?;
    Ok(rank)
}

/// Reads both factors of a target.
fn read_factors(
    file: &WeightFile,
    adapted: &AdaptedLayer,
    naming: Naming,
    config: &DecoderConfig,
    scaling: &Scaling,
) -> Result<LowRank, Kind> {
    let AdaptedLayer { target, down, up, .. } = adapted;
    let rank = rank_of(file, adapted, config, scaling)?;
    let (outputs, inputs) = target.shape(config);
    let numbers = |name: &str, shape: [usize; 2]| {
        let numbers = match file.require(name, &shape)?.to_f32() {
            Ok(numbers) => numbers,
            Err(source) => return Err(Kind::Dequantise { tensor: name.into(), source }),
        };
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(Kind::NotFinite { tensor: name.into() }),
        }
    };
    let a = numbers(down, [rank, inputs])?;
    let mut b = numbers(up, [outputs, rank])?;
    if naming == Naming::Gguf
        && config.architecture == Architecture::Llama
        && matches!(target, Target::Queries | Target::Keys)
    {
        let interleaved = Some((config.head_size, 2 * config.rope.frequencies.len()));
        let piece = TensorPiece { tensor: String::new(), outputs, interleaved };
        let rows = |output| &b[piece.row(output) * rank..][..rank];
        b = (0..outputs).flat_map(|output| rows(output).to_vec()).collect();
    }
    Ok(LowRank::new(&a, &b, inputs, rank, scaling.factor(rank)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_names_give_layer_target_and_factor() {
        let found = parse_name("blk.12.attn_q.weight.lora_a", Naming::Gguf, false).unwrap();
        assert_eq!((found.layer, found.target, found.is_down), (12, Target::Queries, true));
        assert_eq!(found.other, "blk.12.attn_q.weight.lora_b");
        let name = "base_model.model.model.layers.3.mlp.gate_up_proj.lora_B.weight";
        let found = parse_name(name, Naming::Transformers, true).unwrap();
        assert_eq!((found.layer, found.target, found.is_down), (3, Target::GateUp, false));
        assert_eq!(parse_name(name, Naming::Transformers, false), None);
        for other in ["base_model.model.lm_head.lora_A.weight", "blk.0.attn_q.weight.lora_a", "", "x"] {
            assert_eq!(parse_name(other, Naming::Transformers, false), None, "{other}");
        }
        assert_eq!(parse_name("blk.x.attn_q.weight.lora_a", Naming::Gguf, false), None);
        assert_eq!(parse_name("output.weight.lora_a", Naming::Gguf, false), None);
    }

    #[test]
    fn the_scale_is_alpha_divided_by_the_rank_or_its_root() {
        let scaling = Scaling { alpha: 8.0, is_by_root: false, rank: None };
        assert_eq!((scaling.factor(4), Scaling { is_by_root: true, ..scaling }.factor(4)), (2.0, 4.0));
    }
}

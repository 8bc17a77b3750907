//! LoRA adapters (<https://arxiv.org/abs/2106.09685>): small changes to a decoder's linear layers, different for
//! each sequence of a step if need be.

mod error;
mod peft;
mod survey;

pub use error::{LoadAdapterError, LoadAdapterErrorKind};
pub use survey::AdapterSurvey;

use std::path::Path;

use bantam_kernels::LowRank;
use bantam_weights::{Format, WeightFile};

use super::plan::{Naming, Piece};
use super::{Architecture, Decoder, DecoderConfig};
use LoadAdapterErrorKind as Kind;

/// Largest rank that is read; real adapters have 4 to 256.
const RANK_MAX: usize = 4096;

/// What an adapter changes in a layer: a linear layer of its own, or a part of a fused one.
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

/// A target with its name in GGUF files and in transformers' modules.
struct Named(Target, &'static str, &'static str);

/// Of all architectures but Phi-3.
const SPLIT: [Named; 7] = [
    Named(Target::Queries, "attn_q", "self_attn.q_proj"),
    Named(Target::Keys, "attn_k", "self_attn.k_proj"),
    Named(Target::Values, "attn_v", "self_attn.v_proj"),
    Named(Target::Output, "attn_output", "self_attn.o_proj"),
    Named(Target::Gate, "ffn_gate", "mlp.gate_proj"),
    Named(Target::Up, "ffn_up", "mlp.up_proj"),
    Named(Target::Down, "ffn_down", "mlp.down_proj"),
];
/// Of Phi-3.
const FUSED: [Named; 4] = [
    Named(Target::Qkv, "attn_qkv", "self_attn.qkv_proj"),
    Named(Target::Output, "attn_output", "self_attn.o_proj"),
    Named(Target::GateUp, "ffn_up", "mlp.gate_up_proj"),
    Named(Target::Down, "ffn_down", "mlp.down_proj"),
];

impl Target {
    /// Returns how many outputs and inputs it has.
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

/// The sizes of a decoder that an adapter was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    architecture: Architecture,
    layers: usize,
    hidden: usize,
    queries: usize,
    keys: usize,
    intermediate: usize,
}

impl Sizes {
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

/// A LoRA adapter, checked against its decoder and ready to run. It is never written to.
#[derive(Debug)]
pub struct Adapter {
    sizes: Sizes,
    /// For each layer, what it changes.
    layers: Vec<Vec<(Target, LowRank)>>,
}

impl Adapter {
    /// Opens a PEFT adapter (a folder with `adapter_config.json` and `adapter_model.safetensors`) or a GGUF one.
    /// What the decoder cannot apply, such as DoRA or a changed embedding, is refused by name.
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
        for changed in changes(file, naming, config)? {
            let factors = read(file, &changed, naming, config, scaling)?;
            layers[changed.layer].push((changed.target, factors));
        }
        Ok(Self { sizes: Sizes::of(config), layers })
    }

    /// Returns how many bytes of memory its factors take.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flatten().map(|(_, factors)| factors.bytes()).sum()
    }

    /// Whether a decoder of `config` can run with it.
    pub(super) fn fits(&self, config: &DecoderConfig) -> bool {
        self.sizes == Sizes::of(config)
    }

    /// Returns what it changes about `target` of a layer.
    pub(super) fn low_rank(&self, layer: usize, target: Target) -> Option<&LowRank> {
        self.layers[layer].iter().find(|(found, _)| *found == target).map(|(_, factors)| factors)
    }
}

/// Opens an adapter's weights and reads how they are applied.
fn source(path: &Path, architecture: Architecture) -> Result<(WeightFile, Naming, Scaling), Kind> {
    if path.is_dir() {
        // Before the weights, because it may say why they are not what is expected.
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

/// A linear layer that an adapter changes, with the names of its two factors.
#[derive(Debug)]
struct Changed {
    layer: usize,
    target: Target,
    down: String,
    up: String,
}

/// Returns all that an adapter changes about a decoder of `config`, or what of it the decoder does not have.
fn changes(file: &WeightFile, naming: Naming, config: &DecoderConfig) -> Result<Vec<Changed>, Kind> {
    let mut changes = Vec::new();
    for (name, _) in file.tensors() {
        let unknown = || Kind::UnknownTensor { tensor: name.into() };
        let found = parse(name, naming, config.is_fused()).ok_or_else(unknown)?;
        if found.layer >= config.layers {
            return Err(unknown());
        }
        let Found { layer, target, is_down, other } = found;
        if is_down {
            changes.push(Changed { layer, target, down: name.to_owned(), up: other });
        } else if file.tensor(&other).is_none() {
            return Err(Kind::Missing { tensor: other.into() });
        }
    }
    if changes.is_empty() { Err(Kind::Empty) } else { Ok(changes) }
}

/// What `B A x` is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scaling {
    alpha: f32,
    /// By the root of the rank in place of the rank (rsLoRA).
    is_by_root: bool,
    /// The rank that all factors must have, where it is known.
    rank: Option<usize>,
}

impl Scaling {
    fn factor(&self, rank: usize) -> f32 {
        let rank = rank as f32;
        self.alpha / if self.is_by_root { rank.sqrt() } else { rank }
    }
}

/// Reads the keys of a GGUF adapter, as llama.cpp's converter writes them.
fn gguf_scaling(file: &WeightFile, architecture: Architecture) -> Result<Scaling, Kind> {
    let metadata = file.metadata();
    let is = |key: &'static str, expected: &'static str| match metadata.text(key) {
        Some(found) if found == expected => Ok(()),
        found => {
            let found = found.unwrap_or("nothing").chars().take(64).collect();
            Err(Kind::Unsupported { key: key.into(), found, expected })
        }
    };
    is("general.type", "adapter")?;
    is("adapter.type", "lora")?;
    is("general.architecture", architecture.name())?;
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

/// What a tensor's name says.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    layer: usize,
    target: Target,
    /// Whether it is A, the factor that comes first.
    is_down: bool,
    /// The name of the other factor.
    other: String,
}

fn parse(name: &str, naming: Naming, is_fused: bool) -> Option<Found> {
    let (start, ends) = match naming {
        Naming::Gguf => ("blk.", [".weight.lora_a", ".weight.lora_b"]),
        Naming::Transformers => ("base_model.model.model.layers.", [".lora_A.weight", ".lora_B.weight"]),
    };
    let is_down = name.ends_with(ends[0]);
    let base = name.strip_suffix(ends[usize::from(!is_down)])?;
    let (layer, module) = base.strip_prefix(start)?.split_once('.')?;
    let named = |named: &&Named| module == if naming == Naming::Gguf { named.1 } else { named.2 };
    let target = if is_fused { FUSED.iter().find(named) } else { SPLIT.iter().find(named) }?.0;
    let other = format!("{base}{}", ends[usize::from(is_down)]);
    Some(Found { layer: layer.parse().ok()?, target, is_down, other })
}

/// Returns the rank of a target's factors, whose shapes are those that the decoder needs.
fn rank_of(
    file: &WeightFile,
    changed: &Changed,
    config: &DecoderConfig,
    scaling: &Scaling,
) -> Result<usize, Kind> {
    let (outputs, inputs) = changed.target.shape(config);
    let rank = file.tensor(&changed.down).and_then(|view| view.shape().first().copied()).unwrap_or_default();
    if rank == 0 || rank > RANK_MAX || scaling.rank.is_some_and(|expected| expected != rank) {
        let tensor = changed.down.as_str().into();
        return Err(Kind::Rank { tensor, found: rank, expected: scaling.rank });
    }
    file.require(&changed.down, &[rank, inputs])?;
    file.require(&changed.up, &[outputs, rank])?;
    Ok(rank)
}

/// Reads both factors of a target.
fn read(
    file: &WeightFile,
    changed: &Changed,
    naming: Naming,
    config: &DecoderConfig,
    scaling: &Scaling,
) -> Result<LowRank, Kind> {
    let Changed { target, down, up, .. } = changed;
    let rank = rank_of(file, changed, config, scaling)?;
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
        let piece = Piece { tensor: String::new(), outputs, interleaved };
        let rows = |output| &b[piece.row(output) * rank..][..rank];
        b = (0..outputs).flat_map(|output| rows(output).to_vec()).collect();
    }
    Ok(LowRank::new(&a, &b, inputs, rank, scaling.factor(rank)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_layer_target_and_factor() {
        let found = parse("blk.12.attn_q.weight.lora_a", Naming::Gguf, false).unwrap();
        assert_eq!((found.layer, found.target, found.is_down), (12, Target::Queries, true));
        assert_eq!(found.other, "blk.12.attn_q.weight.lora_b");
        let name = "base_model.model.model.layers.3.mlp.gate_up_proj.lora_B.weight";
        let found = parse(name, Naming::Transformers, true).unwrap();
        assert_eq!((found.layer, found.target, found.is_down), (3, Target::GateUp, false));
        assert_eq!(parse(name, Naming::Transformers, false), None);
        for other in ["base_model.model.lm_head.lora_A.weight", "blk.0.attn_q.weight.lora_a", "", "x"] {
            assert_eq!(parse(other, Naming::Transformers, false), None, "{other}");
        }
        assert_eq!(parse("blk.x.attn_q.weight.lora_a", Naming::Gguf, false), None);
        assert_eq!(parse("output.weight.lora_a", Naming::Gguf, false), None);
    }

    #[test]
    fn the_scale_is_alpha_by_the_rank_or_its_root() {
        let scaling = Scaling { alpha: 8.0, is_by_root: false, rank: None };
        assert_eq!((scaling.factor(4), Scaling { is_by_root: true, ..scaling }.factor(4)), (2.0, 4.0));
    }
}

//! The command line of the store of models.

use std::path::PathBuf;

use bantam_quantise::Quantisation;
use clap::Args;

use super::values::{QUANTISATIONS, one_of};

/// `bantam import`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArgs {
    /// A GGUF file, a folder with config.json, safetensors and tokenizer.json, or a bundle of `bantam export`
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What to call it, NAME or NAME:TAG [default: the file's name, or the bundle's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Takes the place of another model of that name
    #[arg(long)]
    pub(crate) replace: bool,
}

/// `bantam export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// The models
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Where to write the bundle
    #[arg(long, short, value_name = "FILE.tar")]
    pub(crate) out: PathBuf,
}

/// `bantam rm`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RmArgs {
    /// The models
    #[arg(value_name = "NAME", required_unless_present = "unfinished")]
    pub(crate) names: Vec<String>,
    /// Deletes downloads that broke off, too
    #[arg(long)]
    pub(crate) unfinished: bool,
}

/// `bantam cp`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CpArgs {
    /// The model
    #[arg(value_name = "NAME")]
    pub(crate) from: String,
    /// Its other name
    #[arg(value_name = "NEW")]
    pub(crate) to: String,
}

/// `bantam run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// A model of the store, or a path with a `/` to a GGUF file or folder
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// One question, answered once [default: a conversation, a line a turn]
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// Says what the model is to be
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Most tokens of an answer
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<u32>,
    /// 0 takes the likeliest token always; more lets chance in
    #[arg(long, value_name = "X")]
    pub(crate) temperature: Option<f64>,
    /// Makes chance come out the same
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

/// `bantam quantize`.
#[derive(Clone, Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The model: F16, BF16 or F32 GGUF, or safetensors
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What its numbers become
    #[arg(long, value_parser = one_of(QUANTISATIONS), ignore_case = true)]
    pub(crate) to: Quantisation,
    /// A text on which both are compared: KL divergence, agreement, perplexity
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) text: Option<PathBuf>,
    /// Tokens of the text that are compared at most
    #[arg(long, value_name = "N", default_value_t = 8_192)]
    pub(crate) tokens: usize,
    /// What to call the result [default: the model's name with the quantisation as tag]
    #[arg(long, value_name = "NAME")]
    pub(crate) out: Option<String>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

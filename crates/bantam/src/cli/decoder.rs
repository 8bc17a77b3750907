//! Flags of training decoders. Their ranges are checked by the plan, with those of every other caller.

use std::path::PathBuf;

use bantam_train::BaseForm;
use clap::Args;

use super::values::{BASE_FORMS, one_of};

/// How a decoder is trained.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Training a decoder")]
pub(crate) struct DecoderArgs {
    /// The system message that it is trained and served with [default with a task: the task's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) instructions: Option<String>,
    /// A JSON schema that every answer keeps to [default with a task: the task's]
    #[arg(long, value_name = "FILE.json")]
    pub(crate) schema: Option<PathBuf>,
    /// About how many parameters a decoder without a base has, such as 300k or 4m [default: 1m]
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) size: Option<usize>,
    /// Pieces of words that become tokens of a decoder without a base; 0 leaves it bytes [default: 2048]
    #[arg(long, value_name = "N")]
    pub(crate) merges: Option<usize>,
    /// How the frozen base is held while it is trained on [default: f32]
    #[arg(long, value_parser = one_of(BASE_FORMS))]
    pub(crate) base_form: Option<BaseForm>,
    /// Share of the rows that are held out to judge it [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub(crate) held_out: Option<f64>,
    /// Passes without a smaller loss on rows held out after which training ends [default: 3, and without a base at
    /// least a quarter of all]
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<u32>,
    /// Tokens of a row at most, prompt and answer together [default: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) tokens_max: Option<usize>,
    /// Further answers that are drawn to tell how sure one is; kept where rows held out are ranked better with them
    /// [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) samples: Option<usize>,
    /// How closely preferences are held to the base [default: 0.1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) beta: Option<f64>,
    /// Parts of a batch that are computed side by side, one a core [default: 2]
    #[arg(long, value_name = "N")]
    pub(crate) lanes: Option<usize>,
}

fn count(text: &str) -> Result<usize, String> {
    let count = bantam_admin::read_parameters(text).filter(|count| (10_000..=100_000_000).contains(count));
    let count = count.ok_or("expected a count from 10k to 100m, such as 300k or 4m")?;
    Ok(count as usize)
}

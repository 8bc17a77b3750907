//! Flags of training decoders.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How a decoder is trained.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Training a decoder")]
pub(crate) struct DecoderArgs {
    /// The system message that it is trained and served with [default with a task: the task's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) instructions: Option<String>,
    /// A JSON schema that every answer keeps to
    #[arg(long, value_name = "FILE.json")]
    pub(crate) schema: Option<PathBuf>,
    /// About how many numbers a decoder without a base has, such as 300k or 4m [default: 1m]
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) size: Option<usize>,
    /// Pieces of words that become tokens of a decoder without a base; 0 leaves it bytes
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u16).range(0..=16384))]
    pub(crate) merges: u16,
    /// How the frozen base is held while it is trained on
    #[arg(long, value_enum, default_value_t = BaseFormArg::F32)]
    pub(crate) base_form: BaseFormArg,
    /// Share of the rows that are held out to judge it
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = held_out)]
    pub(crate) held_out: f64,
    /// Passes without a smaller loss on rows held out after which training ends [default: 3, and without a base at
    /// least a quarter of all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) patience: Option<u32>,
    /// Tokens of a row at most, prompt and answer together
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=65536))]
    pub(crate) tokens_max: u32,
    /// Further answers that are drawn to tell how sure one is; kept where rows held out are ranked better with them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub(crate) samples: u8,
    /// How closely preferences are held to the base
    #[arg(long, value_name = "NUMBER", default_value_t = 0.1, value_parser = beta)]
    pub(crate) beta: f64,
    /// Parts of a batch that are computed side by side, one a core
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) lanes: u16,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: u64,
    /// Writes event files for TensorBoard
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tensorboard: Option<PathBuf>,
}

/// How a frozen base is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BaseFormArg {
    /// In 32 bits: the fastest, four bytes a weight
    F32,
    /// As it lies in the file: of a quantised GGUF file the very weights that are served
    Served,
    /// In 4 bits, as QLoRA has it; served is the base as it lies in the file
    Nf4,
}

fn count(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, times) = match lower.strip_suffix('m') {
        Some(digits) => (digits, 1e6),
        None => lower.strip_suffix('k').map_or((&*lower, 1.0), |digits| (digits, 1e3)),
    };
    match digits.parse::<f64>() {
        Ok(number) if (10_000.0..=100e6).contains(&(number * times)) => Ok((number * times) as usize),
        _ => Err("expected a count from 10k to 100m, such as 300k or 4m".to_owned()),
    }
}

fn held_out(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.01..=0.5).contains(&share) => Ok(share),
        _ => Err("expected a share from 0.01 to 0.5".to_owned()),
    }
}

fn beta(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(beta) if beta > 0.0 && beta <= 10.0 => Ok(beta),
        _ => Err("expected a number above 0 and at most 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(count("300k"), Ok(300_000));
        assert_eq!(count("1.5M"), Ok(1_500_000));
        assert_eq!(count("20000"), Ok(20_000));
        for wrong in ["", "9k", "200m", "many", "-1m"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }
}

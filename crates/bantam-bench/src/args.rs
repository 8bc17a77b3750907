//! The flags. There are only five, so they are parsed by hand: `clap` belongs to the product's binary.

use std::path::PathBuf;

use crate::case::{self, Case};

/// The text of `--help`.
pub(crate) const USAGE: &str = "\
Measures the gateway against a mock upstream on this machine.

usage: cargo xtask bench [FLAGS]
       cargo xtask bench ledger [FLAGS]

  --rounds N      number of rounds; each measures every case directly and through the gateway [default: 5]
  --secs N        seconds per measurement, after a warm-up [default: 5]
  --cases A,B     cases to run [default: all of c1, c64, sse16, big16, local1, local64, wide1, wide64]
  --json          prints JSON with every round instead of the table
  --bantam FILE   the gateway to measure [default: the one built next to this program]";

/// The values of the flags.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) json: bool,
    pub(crate) help: bool,
    pub(crate) bantam: Option<PathBuf>,
}

impl Args {
    /// Parses the flags, or returns what is wrong with them.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let cases = case::CASES.iter().collect();
        let mut args = Self { rounds: 5, seconds: 5.0, cases, json: false, help: false, bantam: None };
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--json" => args.json = true,
                "--help" | "-h" => args.help = true,
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| (1..=50).contains(rounds));
                    args.rounds = rounds.ok_or("--rounds expects a number from 1 to 50")?;
                }
                "--secs" => {
                    let seconds = value()?.parse().ok().filter(|seconds| (0.2..=600.0).contains(seconds));
                    args.seconds = seconds.ok_or("--secs expects a number from 0.2 to 600")?;
                }
                "--cases" => args.cases = value()?.split(',').map(case::find).collect::<Result<_, _>>()?,
                "--bantam" => args.bantam = Some(value()?.into()),
                _ => return Err(format!("unknown flag `{flag}`\n\n{USAGE}")),
            }
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, String> {
        Args::parse(flags.iter().map(|flag| (*flag).to_owned()))
    }

    #[test]
    fn flags_set_the_cases_and_the_duration() {
        let args = parse(&["--cases", "c1,local64", "--secs", "0.5", "--rounds", "1", "--json"]).unwrap();
        let names: Vec<&str> = args.cases.iter().map(|case| case.name).collect();
        assert_eq!((names, args.rounds, args.json), (vec!["c1", "local64"], 1, true));
        assert!((args.seconds - 0.5).abs() < 1e-9);
        let args = parse(&[]).unwrap();
        assert_eq!((args.cases.len(), args.rounds, args.json), (case::CASES.len(), 5, false));
    }

    #[test]
    fn rejects_invalid_flags() {
        for rejected in [
            &["--cases", "c2"][..],
            &["--cases", ""],
            &["--secs", "0"],
            &["--secs", "NaN"],
            &["--rounds", "0"],
            &["--rounds"],
            &["--fast"],
        ] {
            assert!(parse(rejected).is_err(), "{rejected:?}");
        }
    }

    #[test]
    fn the_usage_lists_every_case() {
        let names: Vec<&str> = case::CASES.iter().map(|case| case.name).collect();
        assert!(USAGE.contains(&names.join(", ")));
    }
}

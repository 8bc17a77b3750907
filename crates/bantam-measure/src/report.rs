//! What was measured, as `--json` and an API tell it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bantam_kernels::Pool;
use serde::{Serialize, Serializer};

use crate::case::Case;
use crate::{MachineLimits, SpeedRequest};

/// How fast a model is on a machine.
///
/// The names of the fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedReport {
    /// `bantam`, beside reports of other engines.
    pub engine: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The model's file or folder.
    pub model: PathBuf,
    /// What the model is, in words.
    pub kind: String,
    /// Threads.
    pub threads: usize,
    /// The instructions that its kernels use.
    pub instructions: &'static str,
    /// Milliseconds until it was open.
    pub load_ms: f64,
    /// MiB that the process held with the model at work, where the system tells.
    pub resident_mb: Option<u64>,
    /// Billions of operations on bytes a second that the machine can do.
    pub int8_gops: f64,
    /// Gigabytes a second that it can read.
    pub read_gb_s: f64,
    /// The cases, by name.
    #[serde(serialize_with = "by_name")]
    pub cases: Vec<CaseReport>,
    /// How much longer a token takes under a schema.
    pub schema: Vec<SchemaRatio>,
    /// Mixed load, by numbers of adapters.
    pub mixed: Vec<MixedLoadReport>,
    /// Tokens of a decoder's cases.
    pub lengths: Option<CaseLengths>,
    /// What was measured otherwise than usual, or not at all, and why.
    pub notes: Vec<String>,
}

/// What one case took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReport {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What is timed, in words.
    pub about: &'static str,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// How often it was timed.
    pub times: usize,
    /// Tokens a second, at the median.
    pub tokens_per_s: f64,
    /// How near it is to a limit of the machine.
    pub share: Option<ShareOfMachine>,
}

/// How near a case is to a limit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShareOfMachine {
    /// Which limit.
    pub of: &'static str,
    /// From 0 to 1.
    pub share: f64,
}

/// How long a token takes under a schema, beside a free one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SchemaRatio {
    /// The case with a schema.
    pub schema: &'static str,
    /// The case without.
    pub free: &'static str,
    /// Of the medians.
    pub ratio: f64,
}

impl fmt::Display for SchemaRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, free, ratio } = self;
        write!(f, "{schema} takes {ratio:.3} times as long as {free} (medians, in turns)")
    }
}

/// What mixed load over a number of adapters took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixedLoadReport {
    /// How many adapters.
    pub adapters: usize,
    /// Bytes of all of them.
    pub adapter_bytes: usize,
    /// MiB that the process held with them in use.
    pub resident_mb: Option<u64>,
    /// Requests a second: the median of the rounds.
    pub requests_per_s: f64,
    /// Requests a second of each round.
    pub rounds: Vec<f64>,
    /// The median of all requests, in milliseconds.
    pub p50_ms: f64,
    /// Their 95th percentile.
    pub p95_ms: f64,
    /// Who asks at a time: half of them classify, half of them talk.
    pub callers: usize,
}

/// Tokens of a decoder's cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CaseLengths {
    /// Of one prompt that is read in one go.
    pub prefill: usize,
    /// Behind each sequence when decoding begins.
    pub behind: usize,
    /// Of the beginning that requests of a task share.
    pub cached: usize,
    /// Of what is new to each.
    pub new: usize,
    /// Of the prompt of a caller that talks.
    pub talk: usize,
    /// Of an answer.
    pub answer: usize,
    /// Labels that are scored; each is one token.
    pub labels: usize,
}

impl CaseLengths {
    /// Returns in words what the callers of mixed load ask for.
    pub fn mixed_load(&self, load: &MixedLoadReport) -> String {
        let Self { labels, cached, new, talk, answer, .. } = self;
        let (callers, rounds) = (load.callers, load.rounds.len());
        format!(
            "mixed load, {callers} callers: half score {labels} labels behind {cached} cached tokens of their task and \
             {new} new ones, half read {talk} tokens and write {answer}; {rounds} rounds in turns"
        )
    }
}

/// What was measured of a model.
pub(crate) struct Measured {
    pub(crate) kind: String,
    pub(crate) load: Duration,
    pub(crate) resident_mb: Option<u64>,
    pub(crate) cases: Vec<Case>,
    pub(crate) ratios: Vec<SchemaRatio>,
    pub(crate) mixed: Vec<MixedLoadReport>,
    pub(crate) lengths: Option<CaseLengths>,
    pub(crate) notes: Vec<String>,
}

impl SpeedReport {
    pub(crate) fn new(
        request: &SpeedRequest,
        pool: &Pool,
        limits: &MachineLimits,
        measured: Measured,
    ) -> Self {
        Self {
            engine: "bantam",
            version: env!("CARGO_PKG_VERSION"),
            model: request.model.clone(),
            kind: measured.kind,
            threads: pool.threads(),
            instructions: pool.isa().name(),
            load_ms: measured.load.as_secs_f64() * 1e3,
            resident_mb: measured.resident_mb,
            int8_gops: limits.int8 / 1e9,
            read_gb_s: limits.read / 1e9,
            cases: measured.cases.into_iter().map(CaseReport::from).collect(),
            schema: measured.ratios,
            mixed: measured.mixed,
            lengths: measured.lengths,
            notes: measured.notes,
        }
    }

    /// Returns the tokens a second of a language model: of a prompt that is read, then of one sequence that is written.
    pub fn speeds(&self) -> Option<(f64, f64)> {
        let speed = |name: &str| self.cases.iter().find(|case| case.name.starts_with(name));
        Some((speed("prefill-")?.tokens_per_s, speed("decode-1")?.tokens_per_s))
    }
}

impl From<Case> for CaseReport {
    fn from(case: Case) -> Self {
        let p50_ms = case.percentile(0.5);
        Self {
            about: case.about,
            p50_ms,
            p99_ms: case.percentile(0.99),
            times: case.milliseconds.len(),
            tokens_per_s: case.tokens as f64 / p50_ms * 1e3,
            share: case.share.map(|(share, of)| ShareOfMachine { of, share }),
            name: case.name,
        }
    }
}

/// Writes cases as an object, in their order.
fn by_name<S: Serializer>(cases: &[CaseReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cases.iter().map(|case| (&case.name, case)))
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    #[test]
    fn a_report_keeps_its_fields() {
        let case = Case {
            name: "decode-1".to_owned(),
            about: "the next token of one sequence",
            milliseconds: (1..=100).map(f64::from).collect(),
            tokens: 10,
            share: Some((0.5, "the bandwidth")),
        };
        let lengths =
            CaseLengths { prefill: 512, behind: 64, cached: 300, new: 60, talk: 100, answer: 32, labels: 8 };
        let report = SpeedReport {
            engine: "bantam",
            version: "0.0.0",
            model: "tiny.gguf".into(),
            kind: "decoder of 2 layers of 64, 300 tokens".to_owned(),
            threads: 2,
            instructions: "avx2",
            load_ms: 1.5,
            resident_mb: Some(64),
            int8_gops: 100.0,
            read_gb_s: 25.0,
            cases: vec![case.into()],
            schema: vec![SchemaRatio { schema: "schema-greedy", free: "free-greedy", ratio: 1.25 }],
            mixed: vec![MixedLoadReport {
                adapters: 8,
                adapter_bytes: 1024,
                resident_mb: None,
                requests_per_s: 12.5,
                rounds: vec![12.0, 12.5, 13.0],
                p50_ms: 4.0,
                p95_ms: 8.0,
                callers: 16,
            }],
            lengths: Some(lengths),
            notes: vec!["a note".to_owned()],
        };
        assert_json_snapshot!(report);
        assert_eq!(report.speeds(), None);
    }
}

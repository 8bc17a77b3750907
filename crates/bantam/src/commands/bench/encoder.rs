//! An encoder, one sequence at a time, in int8.

use std::time::Instant;

use bantam_engine::{Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::Pool;

use super::{Case, Measured, Tokens, resident_mb, time};
use crate::cli::BenchArgs;
use crate::failure::Failure;

const CASES: [(&str, usize); 4] = [("embed-12", 12), ("embed-32", 32), ("embed-64", 64), ("embed-128", 128)];

pub(super) fn measure(args: &BenchArgs, pool: &Pool) -> Result<Measured, Failure> {
    let begin = Instant::now();
    let encoder = Encoder::load(&args.model, Precision::Int8)
        .map_err(|error| Failure::from_error("cannot measure the model", &error))?;
    let load = begin.elapsed();
    let vocabulary = encoder.config().vocabulary;
    let (mut tokens, mut scratch) = (Tokens::new(vocabulary), EncoderScratch::default());
    let mut cases = Vec::new();
    for (name, length) in CASES.into_iter().filter(|(_, length)| *length <= encoder.config().positions) {
        let mut batch = TokenBatch::new();
        let milliseconds = time(args.times.unwrap_or(60), || {
            batch.clear();
            batch.push(&tokens.take(length));
            encoder
                .embed(&batch, Pooling::Mean, pool, &mut scratch)
                .map(|_| ())
                .map_err(|error| Failure::from_error("the model failed", &error))
        })?;
        cases.push(Case {
            name: name.to_owned(),
            about: "one text to one vector",
            milliseconds,
            tokens: length,
            share: None,
        });
    }
    let (layers, hidden) = (encoder.config().layers, encoder.config().hidden);
    Ok(Measured {
        kind: format!("encoder of {layers} layers of {hidden}, int8"),
        load,
        resident_mb: resident_mb(),
        cases,
        ratios: Vec::new(),
        mixed: Vec::new(),
        notes: Vec::new(),
    })
}

//! An encoder, one sequence at a time, in int8.

use std::time::Instant;

use bantam_engine::{Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::Pool;
use bantam_types::Cancel;

use crate::case::{Case, time};
use crate::memory::resident_mb;
use crate::report::Measured;
use crate::tokens::Tokens;
use crate::{MeasureError, SpeedRequest};

const CASES: [(&str, usize); 4] = [("embed-12", 12), ("embed-32", 32), ("embed-64", 64), ("embed-128", 128)];
/// How often each case is timed, where nothing is said.
const TIMES: usize = 60;

pub(crate) fn measure(
    request: &SpeedRequest,
    pool: &Pool,
    cancel: &Cancel,
) -> Result<Measured, MeasureError> {
    let begun = Instant::now();
    let encoder = Encoder::load(&request.model, Precision::Int8)?;
    let load = begun.elapsed();
    let vocabulary = encoder.config().vocabulary;
    let (mut tokens, mut scratch) = (Tokens::new(vocabulary), EncoderScratch::default());
    let mut cases = Vec::new();
    for (name, length) in CASES.into_iter().filter(|(_, length)| *length <= encoder.config().positions) {
        let mut batch = TokenBatch::new();
        let milliseconds = time(request.times.unwrap_or(TIMES), cancel, || {
            batch.clear();
            batch.push(&tokens.take(length));
            let embedded = encoder.embed(&batch, Pooling::Mean, pool, &mut scratch);
            embedded.map(|_| ()).map_err(|error| MeasureError::Failed(error.to_string()))
        })?;
        let about = "one text to one vector";
        cases.push(Case { name: name.to_owned(), about, milliseconds, tokens: length, share: None });
    }
    let (layers, hidden) = (encoder.config().layers, encoder.config().hidden);
    Ok(Measured {
        kind: format!("encoder of {layers} layers of {hidden}, int8"),
        load,
        resident_mb: resident_mb(),
        cases,
        ratios: Vec::new(),
        mixed: Vec::new(),
        lengths: None,
        notes: Vec::new(),
    })
}

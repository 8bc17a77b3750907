//! The training loop: seeded batches, one gradient per lane, one optimiser step per batch.
//!
//! A batch is split into a fixed number of lanes, however many threads there are. Each lane runs on one thread, one
//! slice of tokens at a time, and accumulates its own gradient; the lanes' gradients are then summed in order. So
//! threads synchronise twice per step instead of after each operation, memory is bounded by the slice, splitting a
//! batch does not change its result, and equal seeds give equal bits with any number of threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bantam_kernels::Pool;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::ops::add;
use crate::optimiser::{AdamW, Moments, Rates, clip};
use crate::random::Key;
use crate::schedule::Schedule;

/// The step by which every tensor must have received a gradient. An adapter's `A` has none until its `B` has moved, and
/// the first step of a warm-up has a learning rate of zero.
const STEPS_UNTIL_ALL: u64 = 4;

/// A training objective: rows, a network and its loss.
pub trait Objective: Sync {
    /// A thread's buffers.
    type Scratch: Default + Send;

    /// Returns the trained tensors.
    fn layout(&self) -> &Layout;

    /// Returns the number of rows.
    fn rows(&self) -> usize;

    /// Returns the number of tokens of a row.
    fn tokens(&self, row: usize) -> usize;

    /// Returns the number of loss terms of a row. The loss of a batch is the sum of all its terms divided by their
    /// number, however the batch is split.
    fn terms(&self, row: usize) -> usize;

    /// Adds the gradient of the rows' summed loss times `factor` to `gradient`, and returns the summed loss without the
    /// factor. Each row comes with its dropout key.
    fn add_gradient(
        &self,
        parameters: &[f32],
        rows: &[(usize, Key)],
        factor: f32,
        scratch: &mut Self::Scratch,
        gradient: &mut [f32],
    ) -> f64;
}

/// Settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// Passes over the rows.
    pub epochs: u32,
    /// Rows per batch.
    pub batch_rows: usize,
    /// Maximum number of tokens per forward pass, unless a single row has more.
    pub slice_tokens: usize,
    /// Parts of a batch that are computed in parallel. More lanes can use more threads; their number determines the
    /// order of sums and with it the result's last bits.
    pub lanes: usize,
    /// Peak learning rate of adapters.
    pub rate: f64,
    /// Peak learning rate of heads.
    pub head_rate: f64,
    /// Share of the steps that warm up the learning rate.
    pub warmup: f64,
    /// Weight decay.
    pub decay: f64,
    /// Maximum norm of a step's gradient.
    pub clip: f64,
    /// Seeds the row order, the initial parameters and dropout.
    pub seed: u64,
}

impl RunConfig {
    /// Returns the name and the allowed range of the first setting that is out of range.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let rate = |rate: f64| rate > 0.0 && rate <= 1.0;
        let checks = [
            ((1..=1000).contains(&self.epochs), "epochs", "from 1 to 1,000"),
            ((1..=1 << 20).contains(&self.batch_rows), "batch_rows", "from 1 to 1,048,576"),
            ((1..=1 << 20).contains(&self.slice_tokens), "slice_tokens", "from 1 to 1,048,576"),
            ((1..=256).contains(&self.lanes), "lanes", "from 1 to 256"),
            (rate(self.rate), "rate", "above 0 and at most 1"),
            (rate(self.head_rate), "head_rate", "above 0 and at most 1"),
            ((0.0..1.0).contains(&self.warmup), "warmup", "at least 0 and below 1"),
            ((0.0..=1.0).contains(&self.decay), "decay", "from 0 to 1"),
            (self.clip > 0.0, "clip", "above 0"),
        ];
        checks.into_iter().find(|(fine, _, _)| !fine).map(|(_, name, range)| (name, range))
    }

    /// Returns the number of steps of a pass over `rows` rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch_rows.max(1)) as u64
    }

    /// Returns the learning-rate schedule of a run over `rows` rows, with a peak of 1.
    pub fn schedule(&self, rows: usize) -> Schedule {
        let steps = self.steps_per_epoch(rows) * u64::from(self.epochs);
        Schedule { peak: 1.0, warmup: (steps as f64 * self.warmup).ceil() as u64, steps }
    }
}

/// The state of a run: everything its next steps depend on, apart from its settings and rows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// The trained parameters.
    pub parameters: Vec<f32>,
    /// The optimiser's moments.
    pub moments: Moments,
}

impl State {
    /// Returns the state before the first step.
    pub fn new(parameters: Vec<f32>) -> Self {
        let moments = Moments::new(parameters.len());
        Self { step: 0, parameters, moments }
    }
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The step, from 1.
    pub step: u64,
    /// Total number of steps.
    pub steps: u64,
    /// The pass over the rows, from 1.
    pub epoch: u32,
    /// Whether the pass ends with this step.
    pub ends_epoch: bool,
    /// Mean loss of the batch before the step.
    pub loss: f64,
    /// Learning rate of adapters.
    pub rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient: f64,
    /// Tokens in the batch.
    pub tokens: usize,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Take the next step.
    Continue,
    /// End the run here.
    Stop,
}

/// Why a run ended before its last step.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A setting is out of range.
    #[error("`{setting}` must be {range}")]
    Config {
        /// Name of the field.
        setting: &'static str,
        /// What it must be.
        range: &'static str,
    },
    /// There are no rows.
    #[error("there are no rows to train on")]
    NoRows,
    /// The state belongs to another network.
    #[error("the state has {found} parameters, but the network has {expected}")]
    State {
        /// Parameters in the state.
        found: usize,
        /// Parameters of the network.
        expected: usize,
    },
    /// The loss or the gradient overflowed.
    #[error("step {step} diverged: loss {loss}, gradient norm {gradient}")]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient's norm.
        gradient: f64,
    },
    /// A tensor received no gradient: the forward and backward pass disagree.
    #[error("no gradient reached `{parameter}` in the first {STEPS_UNTIL_ALL} steps")]
    NoGradient {
        /// Its name.
        parameter: String,
    },
}

impl RunError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config { .. } => "start from the recommended settings",
            Self::NoRows => "add rows",
            Self::State { .. } => "resume with the base, rank and labels that the checkpoint was made with",
            Self::NotFinite { step: 1, .. } => {
                "check the base, if there is one: nothing has been trained yet, so its own weights are broken"
            }
            Self::NotFinite { .. } => {
                "lower `rate`, the learning rate, and train again; the last checkpoint is from before this step"
            }
            Self::NoGradient { .. } => "use another kind of tuning, and report this base as a bug",
        }
    }
}

/// A lane's gradient and summed loss.
#[derive(Default)]
struct Lane {
    gradient: Vec<f32>,
    loss: f64,
}

/// Takes steps from `state` until the last one or until `on_step` returns [`Control::Stop`]. `on_step` sees the state
/// after each step.
///
/// # Errors
/// [`RunError`]; `state` then is what it was after the last successful step.
pub fn run<O: Objective>(
    objective: &O,
    config: &RunConfig,
    pool: &Pool,
    state: &mut State,
    on_step: &mut dyn FnMut(&State, &Step) -> Control,
) -> Result<(), RunError> {
    if let Some((setting, range)) = config.fault() {
        return Err(RunError::Config { setting, range });
    }
    let (rows, layout) = (objective.rows(), objective.layout());
    if rows == 0 {
        return Err(RunError::NoRows);
    }
    if state.parameters.len() != layout.len() {
        return Err(RunError::State { found: state.parameters.len(), expected: layout.len() });
    }
    let (schedule, per_epoch) = (config.schedule(rows), config.steps_per_epoch(rows));
    let optimiser = AdamW { decay: config.decay, ..AdamW::default() };
    let mut lanes: Vec<Mutex<Lane>> = (0..config.lanes).map(|_| Mutex::default()).collect();
    let scratch: Vec<Mutex<O::Scratch>> = (0..pool.threads()).map(|_| Mutex::default()).collect();
    let mut order = (u64::MAX, Vec::new());
    while state.step < schedule.steps {
        let epoch = state.step / per_epoch;
        if order.0 != epoch {
            order = (epoch, shuffled(rows, config.seed, epoch));
        }
        let first = (state.step % per_epoch) as usize * config.batch_rows;
        let batch = &order.1[first..(first + config.batch_rows).min(rows)];
        let (loss, tokens) = batch_gradient(objective, config, pool, state, batch, &lanes, &scratch);
        let gradient = gather(&mut lanes);
        let length = clip(gradient, config.clip);
        if !(loss.is_finite() && length.is_finite()) {
            return Err(RunError::NotFinite { step: state.step + 1, loss, gradient: length });
        }
        let share = schedule.rate(state.step);
        let rates = Rates { adapter: share * config.rate, head: share * config.head_rate };
        state.step += 1;
        optimiser.step(layout, (state.step, rates), &mut state.parameters, &mut state.moments, gradient);
        if state.step == STEPS_UNTIL_ALL {
            check_reached(layout, &state.moments)?;
        }
        let step = Step {
            step: state.step,
            steps: schedule.steps,
            epoch: epoch as u32 + 1,
            ends_epoch: state.step.is_multiple_of(per_epoch),
            loss,
            rate: rates.adapter,
            gradient: length,
            tokens,
        };
        if on_step(state, &step) == Control::Stop {
            break;
        }
    }
    Ok(())
}

/// Returns the order of the rows in a pass.
fn shuffled(rows: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    Key::new(seed).part(1).part(epoch).shuffle(&mut order);
    order
}

/// Leaves a batch's gradient in the lanes, and returns its mean loss and its number of tokens.
fn batch_gradient<O: Objective>(
    objective: &O,
    config: &RunConfig,
    pool: &Pool,
    state: &State,
    batch: &[usize],
    lanes: &[Mutex<Lane>],
    scratch: &[Mutex<O::Scratch>],
) -> (f64, usize) {
    let terms: usize = batch.iter().map(|&row| objective.terms(row)).sum();
    let factor = 1.0 / terms.max(1) as f32;
    let noise = Key::new(config.seed).part(2).part(state.step);
    let rows: Vec<(usize, Key)> =
        batch.iter().enumerate().map(|(index, &row)| (row, noise.part(index as u64))).collect();
    let parts = split(&rows, config.lanes, |row| objective.tokens(row));
    pool.run(lanes.len(), |thread, index| {
        let mut lane = lanes[index].lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let Lane { gradient, loss } = &mut *lane;
        gradient.resize(state.parameters.len(), 0.0);
        gradient.fill(0.0);
        *loss = 0.0;
        for slice in slices(&rows[parts[index].clone()], config.slice_tokens, |row| objective.tokens(row)) {
            *loss += objective.add_gradient(&state.parameters, slice, factor, &mut scratch, gradient);
        }
    });
    let losses = lanes.iter().map(|lane| lane.lock().unwrap_or_else(PoisonError::into_inner).loss);
    (losses.sum::<f64>() / terms.max(1) as f64, batch.iter().map(|&row| objective.tokens(row)).sum())
}

/// Sums the lanes' gradients into the first lane and returns it.
fn gather(lanes: &mut [Mutex<Lane>]) -> &mut [f32] {
    let mut lanes = lanes.iter_mut().map(|lane| lane.get_mut().unwrap_or_else(PoisonError::into_inner));
    let Some(first) = lanes.next() else { return &mut [] };
    lanes.for_each(|lane| add(&mut first.gradient, &lane.gradient));
    &mut first.gradient
}

fn check_reached(layout: &Layout, moments: &Moments) -> Result<(), RunError> {
    let is_unreached =
        |range: &Range<usize>| moments.square[range.clone()].iter().all(|square| *square == 0.0);
    match layout.parameters().iter().find(|parameter| is_unreached(&parameter.range)) {
        Some(parameter) => Err(RunError::NoGradient { parameter: parameter.name.clone() }),
        None => Ok(()),
    }
}

/// Splits rows into consecutive parts with about the same number of tokens.
fn split(rows: &[(usize, Key)], parts: usize, tokens: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let total: usize = rows.iter().map(|(row, _)| tokens(*row)).sum();
    let (mut start, mut seen) = (0, 0);
    (1..=parts)
        .map(|part| {
            let mut end = start;
            while end < rows.len() && (part == parts || seen + tokens(rows[end].0) / 2 < total * part / parts)
            {
                seen += tokens(rows[end].0);
                end += 1;
            }
            std::mem::replace(&mut start, end)..end
        })
        .collect()
}

/// Splits rows into consecutive slices of at most `tokens_max` tokens, and at least one row each.
fn slices(
    rows: &[(usize, Key)],
    tokens_max: usize,
    tokens: impl Fn(usize) -> usize,
) -> impl Iterator<Item = &[(usize, Key)]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut sum = tokens(rest.first()?.0);
        let more = rest[1..].iter().take_while(|(row, _)| {
            sum += tokens(*row);
            sum <= tokens_max
        });
        let (slice, after) = rest.split_at(1 + more.count());
        rest = after;
        Some(slice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ParameterGroup;

    /// Fits the means of two columns: the loss of a row is half its squared distance to them.
    struct Means {
        layout: Layout,
        rows: Vec<[f32; 2]>,
    }

    impl Means {
        fn new() -> Self {
            let mut layout = Layout::default();
            layout.add("means".into(), [1, 2], false, ParameterGroup::Adapter);
            Self { layout, rows: (0..37).map(|row| [row as f32 / 37.0, (row * row % 5) as f32]).collect() }
        }
    }

    impl Objective for Means {
        type Scratch = ();

        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn rows(&self) -> usize {
            self.rows.len()
        }

        fn tokens(&self, row: usize) -> usize {
            1 + row % 3
        }

        fn terms(&self, _: usize) -> usize {
            1
        }

        fn add_gradient(
            &self,
            at: &[f32],
            rows: &[(usize, Key)],
            factor: f32,
            (): &mut (),
            gradient: &mut [f32],
        ) -> f64 {
            let mut loss = 0.0;
            for (row, _) in rows {
                for (column, gradient) in gradient.iter_mut().enumerate() {
                    let distance = at[column] - self.rows[*row][column];
                    *gradient += factor * distance;
                    loss += f64::from(distance * distance) / 2.0;
                }
            }
            loss
        }
    }

    fn config() -> RunConfig {
        RunConfig {
            epochs: 60,
            batch_rows: 8,
            slice_tokens: 4,
            lanes: 3,
            rate: 0.1,
            head_rate: 0.1,
            warmup: 0.1,
            decay: 0.0,
            clip: 1.0,
            seed: 7,
        }
    }

    fn trained(config: &RunConfig, threads: usize, mut state: State, stop_at: u64) -> State {
        let control = |step: &Step| if step.step == stop_at { Control::Stop } else { Control::Continue };
        run(&Means::new(), config, &Pool::new(threads), &mut state, &mut |_, step| control(step)).unwrap();
        state
    }

    #[test]
    fn a_run_converges_to_the_minimum() {
        let state = trained(&config(), 2, State::new(vec![0.0; 2]), u64::MAX);
        let rows = Means::new().rows;
        for column in 0..2 {
            let mean = rows.iter().map(|row| row[column]).sum::<f32>() / rows.len() as f32;
            assert!((state.parameters[column] - mean).abs() < 0.02, "{:?} {mean}", state.parameters);
        }
        assert_eq!(state.step, 60 * 5);
    }

    #[test]
    fn a_stopped_and_resumed_run_gives_the_same_bits_on_any_number_of_threads() {
        let whole = trained(&config(), 1, State::new(vec![0.0; 2]), u64::MAX);
        for stop in [1, 5, 77] {
            let stopped = trained(&config(), 2, State::new(vec![0.0; 2]), stop);
            assert_eq!(stopped.step, stop);
            assert_eq!(trained(&config(), 3, stopped, u64::MAX), whole);
        }
    }

    #[test]
    fn splitting_a_batch_does_not_change_its_result() {
        let parts = [(1, 1000), (1, 1), (2, 3), (7, 5)].map(|(lanes, slice_tokens)| {
            let config = RunConfig { lanes, slice_tokens, epochs: 1, ..config() };
            trained(&config, 2, State::new(vec![0.0; 2]), u64::MAX).parameters
        });
        for other in &parts[1..] {
            for (left, right) in parts[0].iter().zip(other) {
                assert!((left - right).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn lanes_and_slices_contain_every_row_once() {
        let rows: Vec<(usize, Key)> = (0..50).map(|row| (row, Key::new(0))).collect();
        let tokens = |row: usize| 1 + row % 7;
        let parts = split(&rows, 4, tokens);
        assert_eq!((parts.len(), parts[0].start, parts[3].end), (4, 0, 50));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        let sizes: Vec<usize> = parts.iter().map(|part| part.clone().map(tokens).sum()).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 7, "{sizes:?}");
        let found: Vec<&[(usize, Key)]> = slices(&rows, 10, tokens).collect();
        assert_eq!(found.concat(), rows);
        assert!(found.iter().all(|slice| slice.iter().map(|row| tokens(row.0)).sum::<usize>() <= 10));
        assert_eq!(slices(&rows, 1, tokens).count(), 50);
        assert_eq!(split(&rows[..1], 3, tokens).iter().filter(|part| !part.is_empty()).count(), 1);
    }

    #[test]
    fn a_nan_ends_the_run_with_the_state_before_it() {
        let mut broken = Means::new();
        broken.rows[3][0] = f32::NAN;
        let mut state = State::new(vec![0.0; 2]);
        let mut last = state.clone();
        let found = run(&broken, &config(), &Pool::new(1), &mut state, &mut |state, _| {
            last = state.clone();
            Control::Continue
        });
        assert!(matches!(found, Err(RunError::NotFinite { step, .. }) if step == last.step + 1), "{found:?}");
        assert_eq!(state, last);
    }

    #[test]
    fn invalid_settings_rows_and_states_are_refused() {
        let check = |config: &RunConfig, rows: usize, state: usize| {
            let mut means = Means::new();
            means.rows.truncate(rows);
            let mut state = State::new(vec![0.0; state]);
            let error =
                run(&means, config, &Pool::new(1), &mut state, &mut |_, _| Control::Stop).unwrap_err();
            assert!(!error.hint().is_empty());
            error
        };
        assert_eq!(check(&config(), 0, 2), RunError::NoRows);
        assert_eq!(check(&config(), 9, 3), RunError::State { found: 3, expected: 2 });
        let wrong = RunConfig { rate: f64::NAN, ..config() };
        assert!(matches!(check(&wrong, 9, 2), RunError::Config { setting: "rate", .. }));
    }

    #[test]
    fn a_tensor_that_receives_no_gradient_is_named() {
        let mut means = Means::new();
        means.layout.add("idle".into(), [1, 1], false, ParameterGroup::Head);
        let mut state = State::new(vec![0.0; 3]);
        means.rows.iter_mut().for_each(|row| row[1] = 1.0);
        struct Idle(Means);
        impl Objective for Idle {
            type Scratch = ();
            fn layout(&self) -> &Layout {
                &self.0.layout
            }
            fn rows(&self) -> usize {
                self.0.rows()
            }
            fn tokens(&self, _: usize) -> usize {
                1
            }
            fn terms(&self, _: usize) -> usize {
                1
            }
            fn add_gradient(
                &self,
                at: &[f32],
                rows: &[(usize, Key)],
                factor: f32,
                s: &mut (),
                gradient: &mut [f32],
            ) -> f64 {
                self.0.add_gradient(&at[..2], rows, factor, s, &mut gradient[..2])
            }
        }
        let found = run(&Idle(means), &config(), &Pool::new(1), &mut state, &mut |_, _| Control::Continue);
        assert_eq!(found, Err(RunError::NoGradient { parameter: "idle".into() }));
    }
}

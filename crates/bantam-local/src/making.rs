//! One answer under way: the engine runs the model, the chooser picks tokens on its thread, and what it picked
//! comes back here as text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bantam_decode::{Finish, Generation, Step};
use bantam_engine::{Choice, Chooser, ChooserError, GenerationEvent, RequestError, Timings};

/// Steps that were made and not yet taken. The chooser pushes before the engine tells of the tokens, so whoever
/// hears of a token finds its step here.
type Steps = Arc<Mutex<VecDeque<Step>>>;

/// Picks tokens on the engine's thread.
pub(crate) struct Picker {
    generation: Generation,
    steps: Steps,
}

impl Chooser for Picker {
    fn choose(&mut self, logits: &mut [f32]) -> Result<Choice, ChooserError> {
        let step = self.generation.next(logits)?;
        let choice = Choice {
            tokens: step.tokens.iter().map(|token| token.token).collect(),
            text: String::new(),
            is_over: step.is_over.is_some(),
        };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push_back(step);
        Ok(choice)
    }
}

/// Hands steps over as they are made. Dropping it cancels the answer.
pub(crate) struct Making {
    steps: Steps,
    /// The engine's side; nothing, where grammar forced the whole answer.
    run: Option<bantam_engine::Generation>,
    timings: Timings,
}

impl Making {
    /// Returns the two ends of an answer whose first step was made already.
    pub(crate) fn new(generation: Generation, first: Step) -> (Picker, Self) {
        let steps: Steps = Arc::new(Mutex::new(VecDeque::from([first])));
        let picker = Picker { generation, steps: Arc::clone(&steps) };
        (picker, Self { steps, run: None, timings: Timings::default() })
    }

    /// Goes on with what the engine runs.
    pub(crate) fn with_run(mut self, run: bantam_engine::Generation) -> Self {
        self.run = Some(run);
        self
    }

    /// Returns the next step; nothing after one that is over, or after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Step, RequestError>> {
        loop {
            let step = self.steps.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(step) = step {
                return Some(Ok(step));
            }
            match self.run.as_mut()?.next().await? {
                Ok(GenerationEvent::Chosen(_)) => {}
                Ok(GenerationEvent::Over(report)) => {
                    self.timings = report.timings;
                    self.run = None;
                }
                Err(error) => {
                    self.run = None;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Returns what the engine told of the answer, once it is over.
    pub(crate) fn timings(&self) -> Timings {
        self.timings
    }

    /// Returns all steps joined.
    pub(crate) async fn collect(&mut self) -> Result<Made, RequestError> {
        let mut made = Made { text: String::new(), tokens: Vec::new(), finish: Finish::Length };
        while let Some(step) = self.next().await {
            let step = step?;
            made.text.push_str(&step.text);
            made.tokens.extend(step.tokens);
            if let Some(finish) = step.is_over {
                made.finish = finish;
            }
        }
        Ok(made)
    }
}

/// A finished answer.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) text: String,
    pub(crate) tokens: Vec<bantam_decode::StepToken>,
    pub(crate) finish: Finish,
}

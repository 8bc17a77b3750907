//! One answer in progress: the engine runs the model, the chooser picks tokens on its thread, and what it picked comes
//! back here as text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bantam_decode::{Finish, Generation, Step};
use bantam_engine::{Choice, Chooser, ChooserError, GenerationEvent, RequestError, Timings};

/// Steps that were made and not yet taken. The chooser pushes before the engine tells of the tokens, so whoever hears
/// of a token finds its step here.
type Steps = Arc<Mutex<VecDeque<Step>>>;

/// Picks tokens on the engine's thread.
pub(crate) struct TokenPicker {
    generation: Generation,
    steps: Steps,
}

impl Chooser for TokenPicker {
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
pub(crate) struct RunningAnswer {
    steps: Steps,
    /// The engine's side; nothing where a grammar forced the whole answer.
    run: Option<bantam_engine::Generation>,
    timings: Timings,
}

impl RunningAnswer {
    /// Returns the two ends of an answer whose first step was made already.
    pub(crate) fn new(generation: Generation, first: Step) -> (TokenPicker, Self) {
        let steps: Steps = Arc::new(Mutex::new(VecDeque::from([first])));
        let picker = TokenPicker { generation, steps: Arc::clone(&steps) };
        (picker, Self { steps, run: None, timings: Timings::default() })
    }

    /// Continues with what the engine runs.
    pub(crate) fn with_run(mut self, run: bantam_engine::Generation) -> Self {
        self.run = Some(run);
        self
    }

    /// Returns the next step; nothing after the last one, or after an error.
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
    pub(crate) async fn finish(&mut self) -> Result<FinishedAnswer, RequestError> {
        let mut finished = FinishedAnswer { text: String::new(), tokens: Vec::new(), finish: Finish::Length };
        while let Some(step) = self.next().await {
            let step = step?;
            finished.text.push_str(&step.text);
            finished.tokens.extend(step.tokens);
            if let Some(finish) = step.is_over {
                finished.finish = finish;
            }
        }
        Ok(finished)
    }
}

/// A finished answer.
#[derive(Debug)]
pub(crate) struct FinishedAnswer {
    pub(crate) text: String,
    pub(crate) tokens: Vec<bantam_decode::StepToken>,
    pub(crate) finish: Finish,
}

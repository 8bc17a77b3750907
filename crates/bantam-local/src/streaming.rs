//! Answers that are handed over as they are made: text at once, calls of tools when they are whole.

use std::collections::VecDeque;
use std::sync::Arc;

use bantam_backend::{BackendError, BackendFault};
use bantam_decode::{Finish, Step, TokenTable};
use bantam_engine::{RequestError, Timings};
use bantam_types::TokenUsage;
use bantam_wire::Delta;
use bantam_wire::outcome::{AnswerHead, TokenLogProbability};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, unfold};
use serde_json::Value;

use crate::answer;
use crate::backend::run_fault;
use crate::calls::{CallForm, CallReader};
use crate::running::RunningAnswer;

/// What the answers of a stream have in common.
pub(crate) struct StreamSettings {
    /// How calls of `tools` are written.
    pub(crate) form: CallForm,
    /// The tools that may be called; none for a plain text.
    pub(crate) tools: Vec<Value>,
    /// Whether an answer may have one call at most.
    pub(crate) single_call: bool,
    /// Text that each answer begins with, though the model did not write it: the opening of a call.
    pub(crate) opening: &'static str,
    /// Whether log-probabilities are told.
    pub(crate) tells_probabilities: bool,
    /// Tokens of the prompts.
    pub(crate) input: u64,
}

/// Answers that run side by side, as one sequence of deltas.
pub(crate) struct StreamedAnswers {
    table: Arc<TokenTable>,
    settings: StreamSettings,
    running: SelectAll<BoxStream<'static, (usize, Event)>>,
    answers: Vec<StreamedAnswer>,
    /// How many answers may still go on.
    unfinished: usize,
    /// What is ready.
    deltas: VecDeque<Delta>,
    usage: TokenUsage,
    has_failed: bool,
}

/// What happens to a running answer.
enum Event {
    Step(Result<Step, RequestError>),
    /// Nothing more comes of it.
    Over(Timings),
}

/// One of the answers.
struct StreamedAnswer {
    choice: u32,
    /// Tells calls from text; nothing where there are no tools.
    reader: Option<CallReader>,
    /// Log-probabilities of tokens whose text is kept back.
    pending: Vec<TokenLogProbability>,
    /// Whether its end was told.
    is_over: bool,
}

impl StreamedAnswers {
    /// Returns the answers as deltas: those of one choice in order, those of several as they come.
    pub(crate) fn new(
        head: AnswerHead,
        running: Vec<RunningAnswer>,
        table: Arc<TokenTable>,
        settings: StreamSettings,
    ) -> Self {
        let answer = |choice| StreamedAnswer {
            choice,
            reader: (!settings.tools.is_empty()).then(|| CallReader::new(settings.form, settings.opening)),
            pending: Vec::new(),
            is_over: false,
        };
        Self {
            table,
            answers: (0..running.len() as u32).map(answer).collect(),
            unfinished: running.len(),
            running: running.into_iter().enumerate().map(|(at, running)| events(at, running)).collect(),
            deltas: VecDeque::from([Delta::Begin(head)]),
            usage: TokenUsage::new(settings.input, 0, 0),
            settings,
            has_failed: false,
        }
    }

    /// Waits until something is said, so that what fails before that can still be answered by another backend.
    pub(crate) async fn first(mut self) -> Result<Self, BackendError> {
        let begun = self.deltas.len();
        while self.deltas.len() == begun && self.advance().await? {}
        Ok(self)
    }

    /// Returns the next delta; nothing after the last, or after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Delta, BackendError>> {
        while self.deltas.is_empty() {
            match self.advance().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => return Some(Err(fault.into())),
            }
        }
        self.deltas.pop_front().map(Ok)
    }

    /// Waits for what happens next. Returns whether anything did.
    async fn advance(&mut self) -> Result<bool, BackendFault> {
        if self.has_failed {
            return Ok(false);
        }
        let Some((at, event)) = self.running.next().await else { return Ok(false) };
        let read = match event {
            Event::Step(Ok(step)) => {
                self.step(at, step);
                Ok(())
            }
            Event::Step(Err(error)) => Err(run_fault(&error)),
            Event::Over(timings) => self.over(at, timings),
        };
        self.has_failed = read.is_err();
        read.map(|()| true)
    }

    fn step(&mut self, at: usize, step: Step) {
        let Self { table, settings, answers, deltas, usage, .. } = self;
        let Some(answer) = answers.get_mut(at) else { return };
        let Step { tokens, text, is_over } = step;
        usage.output += tokens.len() as u64;
        if settings.tells_probabilities {
            answer.pending.extend(answer::log_probabilities(&tokens, table));
        }
        match &mut answer.reader {
            Some(reader) => {
                let text = reader.push(&text);
                if !text.is_empty() {
                    answer.tell(text, settings, deltas);
                }
            }
            None if !text.is_empty() || !answer.pending.is_empty() => answer.tell(text, settings, deltas),
            None => {}
        }
        if let Some(finish) = is_over {
            answer.end(finish, settings, deltas);
        }
    }

    fn over(&mut self, at: usize, timings: Timings) -> Result<(), BackendFault> {
        let answer = self.answers.get(at).ok_or(BackendFault::Broken)?;
        if !answer.is_over {
            return Err(BackendFault::Cut);
        }
        if at == 0 {
            self.usage.cached_input = (timings.cached_tokens as u64).min(self.usage.input);
        }
        self.unfinished = self.unfinished.saturating_sub(1);
        if self.unfinished == 0 {
            self.deltas.push_back(Delta::Usage(self.usage.into()));
        }
        Ok(())
    }
}

impl StreamedAnswer {
    /// Tells text, with the log-probabilities of the tokens up to it.
    fn tell(&mut self, text: String, settings: &StreamSettings, deltas: &mut VecDeque<Delta>) {
        let pending = std::mem::take(&mut self.pending);
        let log_probabilities = settings.tells_probabilities.then_some(pending);
        deltas.push_back(Delta::Text { choice: self.choice, text, log_probabilities });
    }

    fn end(&mut self, finish: Finish, settings: &StreamSettings, deltas: &mut VecDeque<Delta>) {
        let (text, mut calls) = match self.reader.take() {
            Some(reader) => reader.finish(&settings.tools),
            None => (String::new(), Vec::new()),
        };
        if settings.single_call {
            calls.truncate(1);
        }
        let reason = answer::finish_reason(finish, &calls);
        if !text.is_empty() {
            self.tell(text, settings, deltas);
        }
        let choice = self.choice;
        let calls = (0..).zip(calls.into_iter().map(answer::tool_call));
        deltas.extend(calls.map(|(index, call)| Delta::ToolCall { choice, index, call }));
        deltas.push_back(Delta::Finish { choice, reason });
        self.is_over = true;
    }
}

/// Returns what happens to an answer, in order; dropping it cancels the answer.
fn events(at: usize, running: RunningAnswer) -> BoxStream<'static, (usize, Event)> {
    let events = unfold(Some(running), move |running| async move {
        let mut running = running?;
        match running.next().await {
            Some(step) => Some(((at, Event::Step(step)), Some(running))),
            None => Some(((at, Event::Over(running.timings())), None)),
        }
    });
    events.boxed()
}

//! A local model as a backend of the gateway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bantam_backend::{
    Answer, AnswerStream, Ask, Backend, BackendError, BackendFault, BoxFuture, Completion, StreamItem,
};
use bantam_decode::{Generation, GenerationConfig, Step};
use bantam_engine::{Asked, Generate, RequestError, SubmitError};
use bantam_privacy::Cleared;
use bantam_types::{Tier, TokenUsage};
use bantam_wire::ChatRequest;
use bantam_wire::chat::Param;
use bantam_wire::chunk::read_chunk;
use futures_util::StreamExt;
use futures_util::stream::unfold;

use crate::answer::{self, Choice, Head};
use crate::making::{Made, Making};
use crate::model::LocalModel;
use crate::request::Wanted;

/// A language model of the embedded engine that answers chat requests.
pub struct LocalBackend<A> {
    model: Arc<LocalModel<A>>,
}

/// A request on its way to the engine.
struct Prepared {
    wanted: Wanted,
    prompt: Vec<u32>,
    /// Text that the prompt ends with and that is part of the answer all the same: the opening of a forced call.
    opening: &'static str,
    task: Arc<str>,
    deadline: Option<Instant>,
}

impl<A: Send + Sync + 'static> LocalBackend<A> {
    /// Returns `model` as a backend.
    pub fn new(model: Arc<LocalModel<A>>) -> Self {
        Self { model }
    }

    fn prepare(&self, request: &ChatRequest, ask: &Ask) -> Result<Prepared, BackendFault> {
        let mut wanted = Wanted::read(request, ask.system.as_deref()).map_err(BackendFault::CannotHonour)?;
        let mut opening = "";
        if wanted.must_call {
            let (before, grammar) = self.model.prompter.calls().forced(&wanted.tools);
            (opening, wanted.grammar) = (before, Some(grammar));
        }
        let talk = (&*wanted.messages, &*wanted.tools);
        let prompt = self
            .model
            .prompter
            .prompt(&self.model.tokenizer, talk, opening, now())
            .map_err(|_| BackendFault::CannotHonour(Param::Messages.as_str()))?;
        Ok(Prepared { wanted, prompt, opening, task: request.model.as_str().into(), deadline: ask.deadline })
    }

    /// Starts one of the answers.
    fn begin(&self, prepared: &Prepared, index: u32, seed: u64) -> Result<Making, BackendFault> {
        let Prepared { wanted, prompt, task, deadline, .. } = prepared;
        let param = if wanted.must_call { Param::Tools } else { Param::ResponseFormat }.as_str();
        let constraint = match wanted.grammar.clone() {
            Some(grammar) => {
                let compiled = self.model.compile(grammar).map_err(|_| BackendFault::CannotHonour(param))?;
                Some(compiled.start())
            }
            None => None,
        };
        let room = self.model.scheduler.shape().context.saturating_sub(prompt.len());
        let tokens_max = wanted.tokens_max.unwrap_or(room).min(room);
        if tokens_max == 0 {
            return Err(BackendFault::TooLarge);
        }
        let mut sampling = wanted.sampling.clone();
        sampling.seed = seed.wrapping_add(u64::from(index));
        let config = GenerationConfig { sampling, stops: wanted.stops.clone(), tokens_max };
        let mut generation = Generation::new(Arc::clone(&self.model.table), config, prompt, constraint)
            .map_err(|_| BackendFault::CannotHonour(Param::Stop.as_str()))?;
        let first = generation.begin().map_err(|_| BackendFault::CannotHonour(param))?;
        let is_over = first.is_over.is_some();
        let forced: Vec<u32> = first.tokens.iter().map(|token| token.token).collect();
        let (picker, making) = Making::new(generation, first);
        if is_over {
            return Ok(making);
        }
        let prompt: Vec<u32> = prompt.iter().copied().chain(forced.iter().copied()).collect();
        let asked = Asked { task: Arc::clone(task), adapter: None, prompt, deadline: *deadline };
        let tokens_max = tokens_max - forced.len();
        let generate = Generate { asked, tokens_max, chooser: Box::new(picker) };
        let run = self.model.scheduler.generate(generate).map_err(|error| submit_fault(&error))?;
        Ok(making.with_run(run))
    }

    async fn whole(&self, prepared: Prepared, begun: Instant) -> Result<Answer, BackendError> {
        let seed = prepared.wanted.seed.unwrap_or_else(random);
        // All are begun before the first is waited for, so that they run in one batch.
        let makings: Result<Vec<Making>, BackendFault> =
            (0..prepared.wanted.answers).map(|index| self.begin(&prepared, index, seed)).collect();
        let mut tokens = TokenUsage { input: prepared.prompt.len() as u64, cached_input: 0, output: 0 };
        let (mut choices, mut first_byte_us) = (Vec::new(), 0);
        for mut making in makings? {
            let made = making.collect().await.map_err(|error| make_fault(&error))?;
            tokens.output += made.tokens.len() as u64;
            if choices.is_empty() {
                tokens.cached_input = (making.timings().cached_tokens as u64).min(tokens.input);
                first_byte_us = micros(begun.elapsed());
            }
            choices.push(self.choice(&prepared, made));
        }
        let body = answer::whole(&self.head(), &choices, tokens, &self.model.table);
        let text = match &*choices {
            [only] if only.calls.is_empty() => Some(only.text.clone()),
            _ => None,
        };
        let body = body.into_bytes().into();
        Ok(Answer::Whole(Completion {
            body,
            usage: Some(tokens),
            text,
            has_note: false,
            first_byte_us,
            retries: 0,
        }))
    }

    fn choice(&self, prepared: &Prepared, made: Made) -> Choice {
        let Made { text, tokens, finish } = made;
        let text = if prepared.opening.is_empty() { text } else { format!("{}{text}", prepared.opening) };
        let (text, calls) = if prepared.wanted.tools.is_empty() {
            (text, Vec::new())
        } else {
            self.model.prompter.calls().read(&text, &prepared.wanted.tools)
        };
        let tokens = prepared.wanted.tells_probabilities.then_some(tokens);
        Choice { text, calls, finish, tokens }
    }

    async fn stream(&self, prepared: Prepared, begun: Instant) -> Result<Answer, BackendError> {
        let seed = prepared.wanted.seed.unwrap_or_else(random);
        let making = self.begin(&prepared, 0, seed)?;
        let streaming = Streaming {
            model: Arc::clone(&self.model),
            making,
            head: self.head(),
            items: VecDeque::new(),
            usage: TokenUsage { input: prepared.prompt.len() as u64, cached_input: 0, output: 0 },
            tells_probabilities: prepared.wanted.tells_probabilities,
            is_over: false,
        };
        // Calls are told from text only once the answer is whole.
        let streaming = if prepared.wanted.tools.is_empty() {
            streaming.first().await?
        } else {
            let made = |made| self.choice(&prepared, made);
            streaming.at_once(made).await?
        };
        let first_byte_us = micros(begun.elapsed());
        let items = unfold(streaming, |mut streaming| async move {
            let item = streaming.next().await?;
            Some((item, streaming))
        });
        Ok(Answer::Stream(AnswerStream { items: items.boxed(), first_byte_us, retries: 0 }))
    }

    fn head(&self) -> Head {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let id = format!("chatcmpl-{:016x}{:016x}", random(), random());
        Head { id, model: self.model.name.to_string(), created: i64::try_from(created).unwrap_or(i64::MAX) }
    }
}

/// An answer that is handed over chunk by chunk.
struct Streaming<A> {
    model: Arc<LocalModel<A>>,
    making: Making,
    head: Head,
    /// Chunks that are ready.
    items: VecDeque<String>,
    usage: TokenUsage,
    tells_probabilities: bool,
    is_over: bool,
}

impl<A: Send + Sync + 'static> Streaming<A> {
    /// Waits for the first step, so that what fails before it can still be answered by another backend.
    async fn first(mut self) -> Result<Self, BackendError> {
        self.items.push_back(answer::first_chunk(&self.head));
        while self.items.len() == 1 && !self.is_over {
            self.advance().await?;
        }
        Ok(self)
    }

    /// Makes the whole answer, and hands it over in one piece.
    async fn at_once(mut self, choice: impl FnOnce(Made) -> Choice) -> Result<Self, BackendError> {
        let made = self.making.collect().await.map_err(|error| make_fault(&error))?;
        self.usage.output = made.tokens.len() as u64;
        let choice = choice(made);
        self.items.push_back(answer::first_chunk(&self.head));
        if !choice.text.is_empty() {
            let tokens = choice.tokens.as_deref();
            self.items.push_back(answer::text_chunk(&self.head, &choice.text, tokens, &self.model.table));
        }
        let mut reason = answer::finish_reason(choice.finish);
        if !choice.calls.is_empty() {
            self.items.push_back(answer::calls_chunk(&self.head, &choice.calls));
            reason = "tool_calls";
        }
        self.end(reason);
        Ok(self)
    }

    async fn next(&mut self) -> Option<Result<StreamItem, BackendError>> {
        while self.items.is_empty() && !self.is_over {
            if let Err(fault) = self.advance().await {
                self.is_over = true;
                return Some(Err(fault.into()));
            }
        }
        let data = self.items.pop_front()?;
        // Our own chunks are chunks.
        let facts = read_chunk(&data).unwrap_or_default();
        Some(Ok(StreamItem { data, facts }))
    }

    /// Takes one step's text.
    async fn advance(&mut self) -> Result<(), BackendFault> {
        let Some(step) = self.making.next().await else {
            self.is_over = true;
            return Err(BackendFault::Cut);
        };
        let Step { tokens, text, is_over } = step.map_err(|error| make_fault(&error))?;
        self.usage.output += tokens.len() as u64;
        if !text.is_empty() || (self.tells_probabilities && !tokens.is_empty()) {
            let told = self.tells_probabilities.then_some(&*tokens);
            self.items.push_back(answer::text_chunk(&self.head, &text, told, &self.model.table));
        }
        if let Some(finish) = is_over {
            // What the engine counted comes after the last step.
            while self.making.next().await.is_some() {}
            self.end(answer::finish_reason(finish));
        }
        Ok(())
    }

    fn end(&mut self, reason: &str) {
        self.usage.cached_input = (self.making.timings().cached_tokens as u64).min(self.usage.input);
        self.items.push_back(answer::last_chunk(&self.head, reason));
        self.items.push_back(answer::usage_chunk(&self.head, self.usage));
        self.is_over = true;
    }
}

impl<A: Send + Sync + 'static> Backend for LocalBackend<A> {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, request: &ChatRequest) -> Option<&'static str> {
        Wanted::read(request, None).err()
    }

    fn is_available(&self) -> bool {
        self.model.scheduler.failure().is_none()
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(async move {
            let begun = Instant::now();
            if request.tier() != Tier::Local {
                return Err(BackendFault::NotCleared.into());
            }
            let prepared = self.prepare(request.request(), &ask)?;
            if ask.stream { self.stream(prepared, begun).await } else { self.whole(prepared, begun).await }
        })
    }
}

fn submit_fault(error: &SubmitError) -> BackendFault {
    match error {
        SubmitError::QueueFull { .. } => BackendFault::Busy,
        SubmitError::TooLong { .. } | SubmitError::TooManyPages { .. } => BackendFault::TooLarge,
        _ => BackendFault::Broken,
    }
}

fn make_fault(error: &RequestError) -> BackendFault {
    match error {
        RequestError::DeadlinePassed { .. } => BackendFault::TotalTimeout,
        _ => BackendFault::Broken,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns a number that nobody can guess, or the time where the system has none.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    })
}

/// The time that templates write into prompts: UTC, because the machine's zone is nobody's business.
pub(crate) fn now() -> jiff::civil::DateTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stamp = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    stamp.to_zoned(jiff::tz::TimeZone::UTC).datetime()
}

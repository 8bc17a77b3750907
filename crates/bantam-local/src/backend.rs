//! A local model as a backend of the gateway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bantam_backend::{
    Answer, AnswerStream, Ask, Backend, BackendError, BackendFault, BoxFuture, Completion, StreamItem,
};
use bantam_decode::{Generation, GenerationConfig, LabelScores, Step, TokenTable};
use bantam_engine::{Asked, Generate, LoadedAdapter, RequestError, SubmitError};
use bantam_privacy::Cleared;
use bantam_types::{Tier, TokenUsage};
use bantam_wire::chat::Param;
use bantam_wire::chunk::read_chunk;
use bantam_wire::{ChatRequest, Endpoint};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde_json::Value;

use crate::answer::{self, Choice, Head, text};
use crate::labels::LabelError;
use crate::making::{Made, Making};
use crate::model::LocalModel;
use crate::request::Wanted;

/// A language model of the embedded engine that answers conversations and goes on with texts.
pub struct LocalBackend<A> {
    model: Arc<LocalModel<A>>,
    /// The name that answers carry.
    name: Arc<str>,
    adapter: Option<Arc<LoadedAdapter<A>>>,
}

/// A request on its way to the engine.
pub(crate) struct Prepared {
    pub(crate) endpoint: Endpoint,
    pub(crate) wanted: Wanted,
    /// One for a conversation; as many as a completion has.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// Text that the prompt ends with and that is part of the answer all the same: the opening of a forced call.
    pub(crate) opening: &'static str,
    pub(crate) task: Arc<str>,
    pub(crate) deadline: Option<Instant>,
}

impl Prepared {
    /// Returns the tokens that all prompts have.
    fn input(&self) -> u64 {
        self.prompts.iter().map(|prompt| prompt.len() as u64).sum()
    }
}

impl<A: Send + Sync + 'static> LocalBackend<A> {
    /// Returns `model` as a backend.
    pub fn new(model: Arc<LocalModel<A>>) -> Self {
        let name = Arc::clone(&model.name);
        Self { model, name, adapter: None }
    }

    /// Returns the same under a name of its own, with an adapter or none.
    pub(crate) fn called(self, name: Arc<str>, adapter: Option<Arc<LoadedAdapter<A>>>) -> Self {
        Self { name, adapter, ..self }
    }

    /// Returns the probability of each label, with the adapter.
    pub(crate) async fn score_labels(
        &self,
        talk: &[Value],
        labels: &[String],
        asked: (Arc<str>, Option<Instant>),
    ) -> Result<LabelScores, LabelError> {
        self.model.score_labels_with(talk, labels, asked, self.adapter.clone()).await
    }

    /// Returns the tokens' texts.
    pub(crate) fn table(&self) -> &TokenTable {
        &self.model.table
    }

    fn prepare(&self, request: &ChatRequest, ask: &Ask) -> Result<Prepared, BackendError> {
        let mut wanted = Wanted::read(request, ask.system.as_deref()).map_err(BackendFault::CannotHonour)?;
        let mut opening = "";
        if wanted.must_call {
            let (before, grammar) = self.model.prompter.calls().forced(&wanted.tools);
            (opening, wanted.grammar) = (before, Some(grammar));
        }
        let prompts = match request.endpoint {
            Endpoint::Completions => self.texts(request)?,
            Endpoint::Chat | Endpoint::Embeddings => vec![self.conversation(&wanted, opening)?],
        };
        let task = request.model.as_str().into();
        let endpoint = request.endpoint;
        Ok(Prepared { endpoint, wanted, prompts, opening, task, deadline: ask.deadline })
    }

    /// Returns the prompt of a conversation.
    pub(crate) fn conversation(&self, wanted: &Wanted, opening: &str) -> Result<Vec<u32>, BackendError> {
        let talk = (&*wanted.messages, &*wanted.tools);
        self.model.prompter.prompt(&self.model.tokenizer, talk, opening, now()).map_err(|error| {
            let fault = BackendFault::CannotHonour(Param::Messages.as_str());
            BackendError::advising(fault, format!("the model's chat template refuses them: {error}"))
        })
    }

    /// Returns the prompts of a completion.
    fn texts(&self, request: &ChatRequest) -> Result<Vec<Vec<u32>>, BackendError> {
        let suffix: Option<String> =
            request.param(Param::Suffix).and_then(|json| serde_json::from_str(json).ok()).flatten();
        let (prompter, tokenizer) = (&self.model.prompter, &*self.model.tokenizer);
        let texts = request.messages.iter().map(|message| &*message.text);
        let prompts: Vec<Vec<u32>> = match (suffix, tokenizer.fill_in_the_middle()) {
            (None, _) => texts.map(|text| prompter.text(tokenizer, text)).collect(),
            (Some(suffix), Some(tokens)) => {
                texts.map(|text| prompter.middle(tokenizer, tokens, (text, &suffix))).collect()
            }
            (Some(_), None) => {
                let advice =
                    "the model was not trained to fill in the middle: its vocabulary has no tokens for that";
                return Err(BackendError::advising(
                    BackendFault::CannotHonour(Param::Suffix.as_str()),
                    advice,
                ));
            }
        };
        match prompts.iter().any(Vec::is_empty) {
            true => Err(BackendError::advising(
                BackendFault::CannotHonour(Param::Prompt.as_str()),
                "it is empty, and the model has no token that begins a text",
            )),
            false => Ok(prompts),
        }
    }

    /// Starts one of the answers, those of the first prompt first.
    pub(crate) fn begin(&self, prepared: &Prepared, index: u32, seed: u64) -> Result<Making, BackendError> {
        let Prepared { wanted, prompts, task, deadline, .. } = prepared;
        let prompt = prompts.get((index / wanted.answers) as usize).ok_or(BackendFault::Broken)?;
        let param = if wanted.must_call { Param::Tools } else { Param::ResponseFormat }.as_str();
        let constraint = match wanted.grammar.clone() {
            Some(grammar) => {
                let compiled = self.model.compile(grammar).map_err(|error| {
                    BackendError::advising(BackendFault::CannotHonour(param), error.to_string())
                })?;
                Some(compiled.start())
            }
            None => None,
        };
        let context = self.model.scheduler.shape().context;
        let room = context.saturating_sub(prompt.len());
        let tokens_max = wanted.tokens_max.unwrap_or(room).min(room);
        if tokens_max == 0 {
            let tokens = prompt.len() as u64;
            return Err(BackendFault::ContextLength { tokens, context: context as u64 }.into());
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
        let asked =
            Asked { task: Arc::clone(task), adapter: self.adapter.clone(), prompt, deadline: *deadline };
        let tokens_max = tokens_max - forced.len();
        let generate = Generate { asked, tokens_max, chooser: Box::new(picker) };
        let run = self.model.scheduler.generate(generate).map_err(|error| submit_fault(&error))?;
        Ok(making.with_run(run))
    }

    async fn whole(&self, prepared: Prepared, begun: Instant) -> Result<Answer, BackendError> {
        let seed = prepared.wanted.seed.unwrap_or_else(random);
        // All are begun before the first is waited for, so that they run in one batch.
        let answers = prepared.wanted.answers * prepared.prompts.len() as u32;
        let makings: Result<Vec<Making>, BackendError> =
            (0..answers).map(|index| self.begin(&prepared, index, seed)).collect();
        let mut tokens = TokenUsage { input: prepared.input(), cached_input: 0, output: 0 };
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
        let head = self.head(prepared.endpoint);
        let body = match prepared.endpoint {
            Endpoint::Completions => text::whole(&head, &choices, tokens, &self.model.table),
            Endpoint::Chat | Endpoint::Embeddings => {
                answer::whole(&head, &choices, tokens, &self.model.table)
            }
        };
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
            endpoint: prepared.endpoint,
            head: self.head(prepared.endpoint),
            items: VecDeque::new(),
            usage: TokenUsage { input: prepared.input(), cached_input: 0, output: 0 },
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

    fn head(&self, endpoint: Endpoint) -> Head {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let prefix = if endpoint == Endpoint::Completions { "cmpl" } else { "chatcmpl" };
        let id = format!("{prefix}-{:016x}{:016x}", random(), random());
        Head { id, model: self.name.to_string(), created: i64::try_from(created).unwrap_or(i64::MAX) }
    }
}

/// An answer that is handed over chunk by chunk.
struct Streaming<A> {
    model: Arc<LocalModel<A>>,
    making: Making,
    endpoint: Endpoint,
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
        if self.endpoint == Endpoint::Chat {
            self.items.push_back(answer::first_chunk(&self.head));
        }
        let begun = self.items.len();
        while self.items.len() == begun && !self.is_over {
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
            let item = match self.endpoint {
                Endpoint::Completions => text::chunk(&self.head, &text, told, &self.model.table),
                Endpoint::Chat | Endpoint::Embeddings => {
                    answer::text_chunk(&self.head, &text, told, &self.model.table)
                }
            };
            self.items.push_back(item);
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
        let (last, usage) = match self.endpoint {
            Endpoint::Completions => (text::last(&self.head, reason), text::usage(&self.head, self.usage)),
            Endpoint::Chat | Endpoint::Embeddings => {
                (answer::last_chunk(&self.head, reason), answer::usage_chunk(&self.head, self.usage))
            }
        };
        self.items.extend([last, usage]);
        self.is_over = true;
    }
}

impl<A: Send + Sync + 'static> Backend for LocalBackend<A> {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, request: &ChatRequest) -> Option<&'static str> {
        let is_middle = request.param(Param::Suffix).is_some_and(|json| json != "null");
        if is_middle && self.model.tokenizer.fill_in_the_middle().is_none() {
            return Some(Param::Suffix.as_str());
        }
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

pub(crate) fn submit_fault(error: &SubmitError) -> BackendFault {
    match error {
        SubmitError::QueueFull { .. } => BackendFault::Busy,
        SubmitError::TooLong { .. } | SubmitError::TooManyPages { .. } => BackendFault::TooLarge,
        _ => BackendFault::Broken,
    }
}

pub(crate) fn make_fault(error: &RequestError) -> BackendFault {
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

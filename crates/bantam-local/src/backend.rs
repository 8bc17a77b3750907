//! A local model as a backend of the gateway.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bantam_backend::{
    Answer, AnswerStream, Ask, Backend, BackendError, BackendFault, BoxFuture, WholeAnswer,
};
use bantam_decode::{
    CompileGrammarError, Generation, GenerationConfig, GenerationConfigError, LabelScores, TokenTable,
};
use bantam_engine::{Generate, LoadedAdapter, PrefixScope, RequestBase, RequestError, SubmitError};
use bantam_privacy::Cleared;
use bantam_types::{Tier, TokenUsage};
use bantam_wire::outcome::{AnswerHead, Content};
use bantam_wire::{AnswerBody, Call, CallKind, Choice, Feature, Outcome, StreamItem, Unsupported};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde_json::Value;

use crate::answer;
use crate::growth::MemorySource;
use crate::labels::LabelError;
use crate::model::LocalModel;
use crate::preparing::{PrepareError, Wanted};
use crate::request::GenerationRequest;
use crate::running::{FinishedAnswer, RunningAnswer};
use crate::streaming::{StreamSettings, StreamedAnswers};

/// Tokens that there is to be room for where a caller sets no limit; an answer may have more if there is more room.
const ANSWER_TOKENS: usize = 4_096;

/// A language model of the embedded engine that answers conversations and continues texts.
pub struct LocalBackend<A> {
    model: Arc<LocalModel<A>>,
    /// The name that answers carry.
    name: Arc<str>,
    adapter: Option<Arc<LoadedAdapter<A>>>,
    /// Where memory for long requests comes from.
    memory: Option<Arc<MemorySource>>,
    /// The most tokens of a request, prompt and answer together.
    context_max: usize,
}

impl<A> Clone for LocalBackend<A> {
    fn clone(&self) -> Self {
        let Self { model, name, adapter, memory, context_max } = self;
        let (model, name) = (Arc::clone(model), Arc::clone(name));
        Self { model, name, adapter: adapter.clone(), memory: memory.clone(), context_max: *context_max }
    }
}

/// A call on its way to the engine.
pub(crate) struct Prepared {
    pub(crate) request: GenerationRequest,
    /// One for a conversation; as many as a text call has.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// The text at the prompt's end that is part of the answer nevertheless: the opening of a forced call.
    pub(crate) opening: &'static str,
    pub(crate) task: Arc<str>,
    pub(crate) deadline: Option<Instant>,
    /// Who may share what is computed for the prompts.
    pub(crate) scope: PrefixScope,
}

/// A call whose answers have begun, those of the first prompt first.
struct Begun {
    prepared: Prepared,
    running: Vec<RunningAnswer>,
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
        Self { model, name, adapter: None, memory: None, context_max: usize::MAX }
    }

    /// Returns the same under a name of its own, with or without an adapter.
    pub(crate) fn called(self, name: Arc<str>, adapter: Option<Arc<LoadedAdapter<A>>>) -> Self {
        Self { name, adapter, ..self }
    }

    /// Returns the same with a source of memory for keys and values beyond those that the model began with.
    pub(crate) fn growing(self, memory: Arc<MemorySource>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Returns the same for requests of at most `tokens` tokens, prompt and answer together.
    pub(crate) fn within(self, tokens: usize) -> Self {
        Self { context_max: tokens, ..self }
    }

    /// Returns the probability of each label, with the adapter.
    pub(crate) async fn score_labels(
        &self,
        talk: &[Value],
        labels: &[String],
        asked: (Arc<str>, Option<Instant>),
        owner: u64,
    ) -> Result<LabelScores, LabelError> {
        let with = (self.adapter.clone(), self.memory.as_deref(), owner);
        self.model.score_labels_with(talk, labels, asked, with).await
    }

    /// Returns with how many tokens every prompt of a task begins: see [`LocalModel::shared_tokens`].
    pub(crate) fn shared_tokens(&self, prompt: &[u32], request: &GenerationRequest) -> usize {
        let variables = self.model.prompter.thinking().variables(request.effort.as_deref());
        let variables = variables.unwrap_or_default();
        self.model.shared_tokens(prompt, request.talk(&variables))
    }

    /// Returns the tokens' texts.
    pub(crate) fn table(&self) -> &TokenTable {
        &self.model.table
    }

    /// Runs `work` with the backend on a thread that may be busy, within the deadline.
    pub(crate) async fn prepare_with<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(&Self, &Wanted) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let backend = self.clone();
        self.model.preparations.run(deadline, move |wanted| work(&backend, wanted)).await
    }

    /// Begins every answer that is asked for, so that they run in one batch.
    fn begin_call(&self, call: &Call, ask: &Ask, wanted: &Wanted) -> Result<Begun, BackendError> {
        let prepared = self.prepare(call, ask)?;
        let answers = prepared.request.answers * prepared.prompts.len() as u32;
        let seed = prepared.request.seed.unwrap_or_else(random);
        let running = self.begin_all(&prepared, answers, seed, wanted)?;
        Ok(Begun { prepared, running })
    }

    /// Begins that many answers, unless the caller leaves in between.
    pub(crate) fn begin_all(
        &self,
        prepared: &Prepared,
        answers: u32,
        seed: u64,
        wanted: &Wanted,
    ) -> Result<Vec<RunningAnswer>, BackendError> {
        let begin = |index| {
            wanted.check()?;
            self.begin(prepared, index, seed, wanted)
        };
        (0..answers).map(begin).collect()
    }

    fn prepare(&self, call: &Call, ask: &Ask) -> Result<Prepared, BackendError> {
        let mut request = GenerationRequest::read(call, ask.system.as_deref())?;
        let vocabulary = self.model.scheduler.shape().vocabulary;
        if let Some(token) = request.sampling.logit_bias.keys().find(|token| **token as usize >= vocabulary) {
            let reason = format!("token {token} is not in the model's vocabulary of {vocabulary}");
            return Err(Unsupported::new(Feature::LogitBias, reason).into());
        }
        let mut opening = "";
        if request.must_call {
            let (before, grammar) = self.model.prompter.calls().forced(&request.tools);
            (opening, request.grammar) = (before, Some(grammar));
        }
        if request.single_call && !request.tools.is_empty() {
            // A second call would begin behind the first.
            request.stops.extend(self.model.prompter.calls().end().map(str::to_owned));
        }
        let prompts = match call.kind() {
            CallKind::Text => self.texts(call, request.suffix.as_deref())?,
            CallKind::Chat | CallKind::Embeddings => vec![self.conversation(&request, opening)?],
        };
        let task = call.model.as_str().into();
        let shared_tokens = match (&prompts[..], &ask.system) {
            ([prompt], Some(_)) => self.shared_tokens(prompt, &request),
            _ => 0,
        };
        let scope = PrefixScope { shared_tokens, owner: owner(ask.caller.as_deref()) };
        Ok(Prepared { request, prompts, opening, task, deadline: ask.deadline, scope })
    }

    /// Returns the prompt of a conversation.
    pub(crate) fn conversation(
        &self,
        request: &GenerationRequest,
        opening: &str,
    ) -> Result<Vec<u32>, BackendError> {
        let variables = self.model.prompter.thinking().variables(request.effort.as_deref())?;
        let talk = request.talk(&variables);
        self.model.prompter.prompt(&self.model.tokenizer, talk, opening, now()).map_err(|error| {
            let fault = BackendFault::CannotHonour(Feature::Chat);
            BackendError::advising(fault, format!("the model's chat template refuses them: {error}"))
        })
    }

    /// Returns the prompts of a text call.
    fn texts(&self, call: &Call, suffix: Option<&str>) -> Result<Vec<Vec<u32>>, BackendError> {
        let (prompter, tokenizer) = (&self.model.prompter, &*self.model.tokenizer);
        let texts = call.texts().iter().map(String::as_str);
        let prompts: Vec<Vec<u32>> = match (suffix, tokenizer.fill_in_the_middle()) {
            (None, _) => texts.map(|text| prompter.text(tokenizer, text)).collect(),
            (Some(suffix), Some(tokens)) => {
                texts.map(|text| prompter.middle(tokenizer, tokens, (text, suffix))).collect()
            }
            (Some(_), None) => return Err(FILLS_NO_MIDDLE.into()),
        };
        match prompts.iter().any(Vec::is_empty) {
            true => {
                let reason = "it is empty, and the model has no token that begins a text";
                Err(Unsupported::new(Feature::Text, reason).into())
            }
            false => Ok(prompts),
        }
    }

    /// Starts one of the answers, those of the first prompt first.
    fn begin(
        &self,
        prepared: &Prepared,
        index: u32,
        seed: u64,
        wanted: &Wanted,
    ) -> Result<RunningAnswer, BackendError> {
        let Prepared { request, prompts, task, deadline, scope, .. } = prepared;
        let prompt = prompts.get((index / request.answers) as usize).ok_or(BackendFault::Broken)?;
        let form = if request.must_call { Feature::Tools } else { Feature::AnswerForm };
        let constraint = match request.grammar.clone() {
            Some(grammar) => {
                let compiled = self.model.compile(grammar, wanted).map_err(|error| match error {
                    CompileGrammarError::Unwanted => PrepareError::Late.into(),
                    error => BackendError::advising(BackendFault::CannotHonour(form), error.to_string()),
                })?;
                Some(compiled.start())
            }
            None => None,
        };
        let tokens_max = self.answer_room(prompt.len(), request.tokens_max)?;
        let mut sampling = request.sampling.clone();
        sampling.seed = seed.wrapping_add(u64::from(index));
        let config = GenerationConfig { sampling, stops: request.stops.clone(), tokens_max };
        let mut generation = Generation::new(Arc::clone(&self.model.table), config, prompt, constraint)
            .map_err(|error| match error {
                GenerationConfigError::NoRoom { shortest, .. } => no_room(
                    shortest,
                    request.tokens_max.filter(|most| *most == tokens_max),
                    (prompt.len(), prompt.len() + tokens_max),
                ),
                _ => BackendFault::CannotHonour(Feature::Stop).into(),
            })?;
        let first = generation.begin().map_err(|_| BackendFault::CannotHonour(form))?;
        let is_over = first.is_over.is_some();
        let forced: Vec<u32> = first.tokens.iter().map(|token| token.token).collect();
        let (picker, running) = RunningAnswer::new(generation, first);
        if is_over {
            return Ok(running);
        }
        let prompt: Vec<u32> = prompt.iter().copied().chain(forced.iter().copied()).collect();
        let asked = RequestBase {
            task: Arc::clone(task),
            adapter: self.adapter.clone(),
            prompt,
            deadline: *deadline,
            scope: *scope,
        };
        let tokens_max = tokens_max - forced.len();
        let generate = Generate { asked, tokens_max, chooser: Box::new(picker) };
        let run = self.model.scheduler.generate(generate).map_err(|error| submit_fault(&error))?;
        Ok(running.with_run(run))
    }

    /// Returns how many tokens an answer to a prompt of `prompt` tokens may have: as many as were asked for, or as there is
    /// room for where that is less.
    fn answer_room(&self, prompt: usize, asked: Option<usize>) -> Result<usize, BackendError> {
        let wanted = prompt.saturating_add(asked.unwrap_or(ANSWER_TOKENS).max(1)).min(self.context_max);
        let room = self.model.room_for(wanted, self.memory.as_deref());
        let room = room.min(self.context_max).saturating_sub(prompt);
        if room > 0 {
            return Ok(asked.unwrap_or(room).min(room));
        }
        let context = self.model.room_max().min(self.context_max);
        if prompt < context {
            // It would fit, were it not for other models.
            return Err(BackendFault::NoRoom.into());
        }
        Err(BackendFault::ContextLength { tokens: prompt as u64, context: context as u64 }.into())
    }

    async fn whole(&self, call: Begun, begun: Instant) -> Result<Answer, BackendError> {
        let Begun { prepared, running } = call;
        let mut tokens = TokenUsage::new(prepared.input(), 0, 0);
        let (mut choices, mut first_byte_us) = (Vec::new(), 0);
        for mut running in running {
            let finished = running.finish().await.map_err(|error| run_fault(&error))?;
            tokens.output += finished.tokens.len() as u64;
            if choices.is_empty() {
                tokens.cached_input = (running.timings().cached_tokens as u64).min(tokens.input);
                first_byte_us = micros(begun.elapsed());
            }
            choices.push(self.choice(&prepared, finished));
        }
        let outcome =
            Outcome { head: self.head(), content: Content::Choices(choices), usage: Some(tokens.into()) };
        Ok(Answer::Whole(WholeAnswer {
            body: AnswerBody::Typed(outcome),
            first_byte_us,
            retries: 0,
            notes: None,
        }))
    }

    fn choice(&self, prepared: &Prepared, finished: FinishedAnswer) -> Choice {
        let FinishedAnswer { text, tokens, finish } = finished;
        let text = if prepared.opening.is_empty() { text } else { format!("{}{text}", prepared.opening) };
        let request = &prepared.request;
        let (text, mut calls) = if request.tools.is_empty() {
            (text, Vec::new())
        } else {
            self.model.prompter.calls().read(&text, &request.tools)
        };
        if request.single_call {
            calls.truncate(1);
        }
        let told = request.tells_probabilities.then(|| answer::log_probabilities(&tokens, &self.model.table));
        answer::choice(text, calls, finish, told)
    }

    async fn stream(&self, call: Begun, begun: Instant) -> Result<Answer, BackendError> {
        let Begun { prepared, running } = call;
        let settings = StreamSettings {
            form: self.model.prompter.calls(),
            input: prepared.input(),
            tools: prepared.request.tools,
            single_call: prepared.request.single_call,
            opening: prepared.opening,
            tells_probabilities: prepared.request.tells_probabilities,
        };
        let answers = StreamedAnswers::new(self.head(), running, Arc::clone(&self.model.table), settings);
        let answers = answers.first().await?;
        let first_byte_us = micros(begun.elapsed());
        let items = unfold(answers, |mut answers| async move {
            let delta = answers.next().await?;
            Some((delta.map(StreamItem::Typed), answers))
        });
        let (items, deadline) = (items.boxed(), prepared.deadline);
        Ok(Answer::Stream(AnswerStream { items, first_byte_us, retries: 0, notes: None, deadline }))
    }

    /// Returns what the answer is called: it has the id of its request.
    fn head(&self) -> AnswerHead {
        AnswerHead { id: None, model: Some(Arc::clone(&self.name)) }
    }
}

const FILLS_NO_MIDDLE: Unsupported = Unsupported {
    feature: Feature::Suffix,
    reason: Cow::Borrowed(
        "the model was not trained to fill in the middle: its vocabulary has no tokens for that",
    ),
};

impl<A: Send + Sync + 'static> Backend for LocalBackend<A> {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        if call.asks(Feature::Suffix) && self.model.tokenizer.fill_in_the_middle().is_none() {
            return Some(FILLS_NO_MIDDLE);
        }
        match GenerationRequest::read(call, None) {
            Ok(request) => self.model.prompter.thinking().variables(request.effort.as_deref()).err(),
            Err(unsupported) => Some(unsupported),
        }
    }

    fn is_available(&self, _: CallKind) -> bool {
        self.model.scheduler.failure().is_none()
    }

    fn counts_tokens(&self) -> bool {
        true
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(async move {
            let begun = Instant::now();
            if request.tier() != Tier::Local {
                return Err(BackendFault::NotCleared.into());
            }
            let (deadline, is_stream) = (ask.deadline, ask.stream);
            let begin =
                move |backend: &Self, wanted: &Wanted| backend.begin_call(request.request(), &ask, wanted);
            let call = self.prepare_with(deadline, begin).await?;
            if is_stream { self.stream(call, begun).await } else { self.whole(call, begun).await }
        })
    }
}

/// Returns the number under which a caller's prompts are cached: 0 for those who show no key.
pub(crate) fn owner(caller: Option<&str>) -> u64 {
    caller.map_or(0, |name| RANDOM.hash_one(name).max(1))
}

/// Hashes callers' names so that nobody can choose one that shares another's number.
static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Refuses an answer whose form needs more tokens than the caller allows, or than the context has left.
fn no_room(shortest: usize, asked: Option<usize>, (prompt, context): (usize, usize)) -> BackendError {
    match asked {
        Some(most) => BackendError::advising(
            BackendFault::CannotHonour(Feature::OutputLimit),
            format!(
                "the shortest answer in the form asked for has {shortest} tokens, and the limit is {most}"
            ),
        ),
        None => BackendError::advising(
            BackendFault::ContextLength { tokens: (prompt + shortest) as u64, context: context as u64 },
            format!(
                "the prompt has {prompt} tokens, and the shortest answer in the form asked for {shortest}"
            ),
        ),
    }
}

pub(crate) fn submit_fault(error: &SubmitError) -> BackendFault {
    match error {
        SubmitError::QueueFull { .. } => BackendFault::Busy,
        SubmitError::TooLong { .. } | SubmitError::TooManyPages { .. } => BackendFault::TooLarge,
        _ => BackendFault::Broken,
    }
}

pub(crate) fn run_fault(error: &RequestError) -> BackendFault {
    match error {
        RequestError::DeadlinePassed { .. } => BackendFault::TotalTimeout,
        _ => BackendFault::Broken,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns a random number that cannot be guessed, or the time where the system has no random numbers.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    })
}

/// The time that templates write into prompts: UTC, so that prompts do not tell the machine's time zone.
pub(crate) fn now() -> jiff::civil::DateTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stamp = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    stamp.to_zoned(jiff::tz::TimeZone::UTC).datetime()
}

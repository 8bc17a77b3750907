//! A conversation with a model on this machine.

mod command;
mod turn;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::BackendFault;
use bantam_config::Config;
use bantam_engine::{Adapter, Decoder};
use bantam_jobs::FailureReason;
use bantam_kernels::Pool;
use bantam_local::{LocalBackend, LocalModel, LocalModelOptions, OpenModelError};
use bantam_privacy::BuildScannerError;
use bantam_store::{Entry, Measurement, ModelKind, Store};
use bantam_types::Price;
use bantam_wire::DecodeError;
use serde_json::{Value, json};

use crate::error::UseCaseError;
use crate::models::{FindModelError, FoundModel, locate_model, measurement};
pub use command::TalkCommand;
pub use turn::{TalkTokens, TalkTurn, TurnBaseline};

/// Tokens of a conversation that are kept in memory at most, where the model could take more.
const KV_TOKENS_MAX: u64 = 8_192;
/// Tokens of an answer below which its speed says little.
const MEASURED_TOKENS_MIN: u64 = 32;

/// How answers are to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TalkSettings {
    /// What the model is to be, as its system message.
    pub system: Option<String>,
    /// Most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// 0 takes the likeliest token always; more lets chance in.
    pub temperature: Option<f64>,
    /// Makes chance come out the same.
    pub seed: Option<u64>,
    /// Threads; one for each core where nothing is said.
    pub threads: Option<usize>,
}

/// Why a model did not talk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// It cannot be found.
    #[error(transparent)]
    Find(#[from] FindModelError),
    /// It turns texts into vectors.
    #[error("{name} is an encoder: it turns texts into vectors, and cannot talk")]
    Encoder {
        /// Its name.
        name: String,
    },
    /// It cannot be opened.
    #[error("cannot use the model {name}")]
    Open {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<OpenModelError>,
    },
    /// The question cannot be asked.
    #[error("cannot ask the model")]
    Question(#[from] DecodeError),
    /// The scanner that every question passes cannot be built.
    #[error("cannot ask the model")]
    Scanner(#[from] BuildScannerError),
    /// It gave no answer.
    #[error("the model gave no answer")]
    NoAnswer(#[from] BackendFault),
}

impl UseCaseError for TalkError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Find(error) => error.reason(),
            Self::Encoder { .. } | Self::Question(_) | Self::NoAnswer(BackendFault::CannotHonour(_)) => {
                FailureReason::Invalid
            }
            Self::Open { .. } | Self::Scanner(_) | Self::NoAnswer(_) => FailureReason::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Find(error) => error.hint(),
            Self::Encoder { .. } => Some("use it as a student's base: base = FOLDER".to_owned()),
            Self::NoAnswer(BackendFault::TooLarge | BackendFault::ContextLength { .. }) => {
                Some("the conversation is longer than the model's context: begin another".to_owned())
            }
            _ => None,
        }
    }
}

/// A conversation with a model, from its first question on.
pub struct Conversation {
    name: String,
    settings: TalkSettings,
    /// Questions and answers so far.
    messages: Vec<Value>,
    backend: LocalBackend<Adapter>,
    /// What the same answers would have cost elsewhere.
    baseline: Option<(String, Price)>,
    entry: Option<Entry>,
    /// The fastest turn that says something about speed.
    fastest: Option<Measurement>,
    threads: usize,
}

impl Conversation {
    /// Opens the model that `model` means: one of the store, or a path. Calls `on_layout` before weights are laid out for
    /// this machine, which happens once and takes a while.
    ///
    /// # Errors
    /// When there is no such model, or it cannot talk.
    pub fn open(
        config: &Config,
        store: &Store,
        model: &str,
        settings: TalkSettings,
        on_layout: impl FnOnce(),
    ) -> Result<Self, TalkError> {
        let FoundModel { path, entry } = locate_model(store, model)?;
        if let Some(entry) = entry.as_ref().filter(|entry| entry.manifest.about.kind == ModelKind::Encoder) {
            return Err(TalkError::Encoder { name: entry.name.to_string() });
        }
        let baseline = config.routing.baseline.as_ref().and_then(|name| {
            let price = config.models.get(name)?.price.clone()?;
            Some((name.clone(), price))
        });
        let name = entry.as_ref().map_or_else(|| model.to_owned(), |entry| entry.name.to_string());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = settings.threads.unwrap_or(cores).max(1);
        if !Decoder::cache_path(&path).exists() {
            on_layout();
        }
        let context = entry.as_ref().map_or(KV_TOKENS_MAX, |entry| entry.manifest.about.context_tokens);
        let backend = open(&path, &name, context.min(KV_TOKENS_MAX) as usize, threads)
            .map_err(|source| TalkError::Open { name: name.clone(), source: Box::new(source) })?;
        Ok(Self { name, settings, messages: Vec::new(), backend, baseline, entry, fastest: None, threads })
    }

    /// Returns the model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Forgets what was said, but not what the model is to be.
    pub fn clear(&mut self) {
        self.messages.clear();
    }

    /// Says what the model is to be from now on.
    pub fn set_system(&mut self, system: Option<String>) {
        self.settings.system = system;
    }

    /// Asks the next question. Calls `on_text` with each piece of the answer, and breaks off when `stop` is ready: what
    /// was said until then is part of the conversation.
    ///
    /// # Errors
    /// When the model gives no answer; the question is not part of the conversation then.
    pub async fn ask(
        &mut self,
        question: &str,
        on_text: &mut dyn FnMut(&str),
        stop: impl Future<Output = ()>,
    ) -> Result<TalkTurn, TalkError> {
        self.messages.push(json!({ "role": "user", "content": question }));
        match turn::answer(self, on_text, stop).await {
            Ok(turn) => {
                self.messages.push(json!({ "role": "assistant", "content": turn.text }));
                self.note_speed(&turn);
                Ok(turn)
            }
            Err(error) => {
                self.messages.pop();
                Err(error)
            }
        }
    }

    /// Ends the conversation. The store keeps with its model how fast it was.
    pub fn end(self, store: &Store) {
        if let (Some(entry), Some(fastest)) = (&self.entry, self.fastest) {
            // A speed that cannot be kept must not fail answers that were given.
            let _ = store.record(entry, fastest);
        }
    }

    /// Keeps how fast a turn was, if it was long enough to say something and the fastest of all.
    fn note_speed(&mut self, turn: &TalkTurn) {
        if turn.usage.output < MEASURED_TOKENS_MIN {
            return;
        }
        let read = turn.usage.input.saturating_sub(turn.usage.cached_input) as f64;
        let prefill = read / (turn.first_token_ms / 1e3).max(1e-9);
        let is_faster = |before: &Measurement| turn.tokens_per_s > before.decode_tokens_per_s;
        if self.fastest.as_ref().is_none_or(is_faster) {
            self.fastest = Some(measurement(self.threads, (prefill, turn.tokens_per_s), "run"));
        }
    }
}

fn open(
    path: &Path,
    name: &str,
    kv_tokens: usize,
    threads: usize,
) -> Result<LocalBackend<Adapter>, OpenModelError> {
    let options = LocalModelOptions {
        name: name.into(),
        kv_tokens,
        kv_tokens_max: kv_tokens,
        keeps_layout: true,
        template: None,
        adapter_bytes_max: 0,
        pool: Arc::new(Pool::new(threads)),
        clock: Arc::new(Instant::now),
    };
    Ok(LocalBackend::new(Arc::new(LocalModel::open(path, &options)?)))
}

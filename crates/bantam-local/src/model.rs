//! A model with everything that it needs to answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bantam_decode::{
    CompileGrammarError, CompiledGrammar, Forcing, Grammar, GrammarLimits, Grammars, TokenTable,
    TokenTableError,
};
use bantam_engine::{AdapterRegistry, Scheduler, ShutDown};
use bantam_template::TemplateError;
use bantam_weights::{EncodeOptions, Tokenizer};
use serde_json::{Value, json};

use crate::preparing::{Preparations, Wanted};
use crate::prompt::{Prompter, Talk};
use crate::room::Resident;

/// Compiled grammars that are kept: applications send the same few schemas again and again.
const GRAMMARS_KEPT: usize = 64;

/// A language model that answers. Threads share it.
pub struct LocalModel<A> {
    pub(crate) name: Arc<str>,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) prompter: Prompter,
    pub(crate) table: Arc<TokenTable>,
    grammars: Grammars,
    compiled: Mutex<VecDeque<(Grammar, Arc<CompiledGrammar>)>>,
    pub(crate) preparations: Preparations,
    pub(crate) scheduler: Scheduler<A>,
    adapters: Option<AdapterRegistry<A>>,
    /// Bytes of memory that it took when it was loaded, as far as is known.
    bytes: u64,
    /// Bytes of each page of keys and values.
    pub(crate) page_bytes: u64,
    /// Held while pages are asked for, so that two requests do not ask for the same ones.
    pub(crate) growing: Mutex<()>,
}

impl<A> std::fmt::Debug for LocalModel<A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LocalModel").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a model cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildModelError {
    /// Its chat template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Its vocabulary cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenTableError),
    /// Grammars cannot be compiled for its vocabulary.
    #[error(transparent)]
    Grammars(#[from] CompileGrammarError),
}

impl<A: Send + Sync + 'static> LocalModel<A> {
    /// Joins the parts of a model. `template` replaces the tokenizer's own; a model with neither reads the messages' texts
    /// one after the other.
    pub fn new(
        name: Arc<str>,
        tokenizer: Tokenizer,
        template: Option<&str>,
        scheduler: Scheduler<A>,
    ) -> Result<Self, BuildModelError> {
        let prompter = Prompter::new(&tokenizer, template.or_else(|| tokenizer.chat_template()))?;
        let tokenizer = Arc::new(tokenizer);
        let encoder = Arc::clone(&tokenizer);
        let plain = EncodeOptions { add_special: false, parse_special: false };
        let forcing = Forcing::Encoder(Arc::new(move |text: &str| encoder.encode(text, plain)));
        let ids = 0..scheduler.shape().vocabulary as u32;
        let control: Vec<u32> = ids.clone().filter(|id| tokenizer.is_control(*id)).collect();
        let texts = ids.map(|id| tokenizer.token_bytes(id));
        let table = Arc::new(TokenTable::new(texts, &control, tokenizer.eos_ids(), forcing)?);
        let grammars = Grammars::new(&table, GrammarLimits::standard())?;
        Ok(Self {
            name,
            tokenizer,
            prompter,
            table,
            grammars,
            compiled: Mutex::default(),
            preparations: Preparations::new(),
            scheduler,
            adapters: None,
            bytes: 0,
            page_bytes: 0,
            growing: Mutex::default(),
        })
    }

    /// Returns the model with adapters that requests may name.
    pub(crate) fn with_adapters(self, adapters: AdapterRegistry<A>) -> Self {
        Self { adapters: Some(adapters), ..self }
    }

    /// Returns the model with the bytes that it takes, and those of each page of keys and values.
    pub(crate) fn with_bytes(self, bytes: u64, page_bytes: u64) -> Self {
        Self { bytes, page_bytes, ..self }
    }

    /// Returns its adapters, where it may have any.
    pub fn adapters(&self) -> Option<&AdapterRegistry<A>> {
        self.adapters.as_ref()
    }

    /// Returns the name that answers carry.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the scheduler, for what it counts.
    pub fn scheduler(&self) -> &Scheduler<A> {
        &self.scheduler
    }

    /// Returns with how many tokens the prompt of `messages` begins whatever the last of them says: the task's own
    /// instructions, which any caller's requests begin with.
    pub(crate) fn shared_tokens(&self, prompt: &[u32], talk: Talk<'_>) -> usize {
        let instructions = talk.messages.iter().take(1).filter(|message| message["role"] == "system");
        let mut silent: Vec<Value> = instructions.cloned().collect();
        silent.push(json!({ "role": "user", "content": "" }));
        let prompter = &self.prompter;
        let silent = Talk { messages: &silent, ..talk };
        let other = prompter.prompt(&self.tokenizer, silent, "", crate::backend::now());
        let other = other.unwrap_or_default();
        prompt.iter().zip(&other).take_while(|(one, other)| one == other).count()
    }

    /// Compiles a grammar, or returns it from those that were compiled recently. It belongs into
    /// [`Preparations::run`]: compiling takes up to some hundred milliseconds, and stops at its next step once the caller
    /// has left.
    pub(crate) fn compile(
        &self,
        grammar: Grammar,
        wanted: &Wanted,
    ) -> Result<Arc<CompiledGrammar>, CompileGrammarError> {
        let kept = || self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, compiled)) = kept().iter().find(|(known, _)| *known == grammar) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(self.grammars.compile_while(&grammar, &|| wanted.check().is_ok())?);
        let mut kept = kept();
        if kept.len() == GRAMMARS_KEPT {
            kept.pop_front();
        }
        kept.push_back((grammar, Arc::clone(&compiled)));
        Ok(compiled)
    }
}

impl<A: Send + Sync + 'static> Resident for LocalModel<A> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn has_failed(&self) -> bool {
        self.scheduler.failure().is_some()
    }

    fn end_blocking(&self) {
        self.scheduler.shut_down(ShutDown { refuses_waiting: true, by: None });
        self.scheduler.wait_ended_blocking();
    }
}

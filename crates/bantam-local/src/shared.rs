//! A model of a room as a backend of the gateway: loaded on demand, with or without an adapter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture};
use bantam_engine::{Adapter, LoadedAdapter};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::{Call, CallKind, Unsupported};
use futures_util::StreamExt;

use crate::backend::LocalBackend;
use crate::growth::MemorySource;
use crate::model::LocalModel;
use crate::open::adapter_key;
use crate::request::GenerationRequest;
use crate::room::{Lease, LeaseError, Place};

/// An adapter's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterFile {
    /// A PEFT folder, or a GGUF file.
    pub path: PathBuf,
    /// Changes when the file does, so that the new one is loaded.
    pub stamp: String,
}

/// A language model that need not be in memory. Several may share a model, each with an adapter of its own; their
/// requests run in one batch.
pub struct RoomBackend {
    place: Place<LocalModel<Adapter>>,
    /// The name that answers carry.
    name: Arc<str>,
    /// The adapter's key.
    adapter: Option<String>,
    /// The room's memory, for keys and values beyond those that the model begins with.
    memory: Arc<MemorySource>,
    /// The most tokens of a request, prompt and answer together.
    context_max: usize,
}

impl RoomBackend {
    /// Returns the model of a place as a backend; answers carry `name`.
    pub fn new(place: Place<LocalModel<Adapter>>, name: Arc<str>, adapter: Option<&AdapterFile>) -> Self {
        let adapter = adapter.map(|file| adapter_key(&file.path, &file.stamp));
        let growing = place.clone();
        let memory = Arc::new(move |wanted, unit| growing.grow(wanted, unit));
        Self { place, name, adapter, memory, context_max: usize::MAX }
    }

    /// Returns the same for requests of at most `tokens` tokens, prompt and answer together.
    #[must_use]
    pub fn within(self, tokens: usize) -> Self {
        Self { context_max: tokens, ..self }
    }

    /// Loads the model and its adapter, if they are not loaded, without a request.
    pub async fn preload(&self) -> Result<(), LeaseError> {
        let lease = self.place.lease(None).await?;
        let failed = |error: BackendError| LeaseError::Failed {
            reason: error.to_string().into(),
            retry_in: std::time::Duration::ZERO,
        };
        self.adapter(&lease).await.map(drop).map_err(failed)
    }

    /// Unloads the adapter; requests in progress keep it. Returns whether it was in memory, or nothing if the model has
    /// none.
    pub fn unload_adapter(&self) -> Option<bool> {
        let key = self.adapter.as_deref()?;
        let occupant = self.place.occupant();
        let model = occupant.and_then(|occupant| occupant.model);
        Some(model.is_some_and(|model| model.adapters().is_some_and(|adapters| adapters.remove(key))))
    }

    /// Returns the bytes of the adapter, where it is in memory.
    pub fn adapter_bytes(&self) -> Option<usize> {
        let key = self.adapter.as_deref()?;
        let model = self.place.occupant()?.model?;
        model.adapters()?.list().into_iter().find(|(name, _)| name == key).map(|(_, bytes)| bytes)
    }

    /// Returns whether it runs with an adapter.
    pub fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// Returns the place of its model.
    pub fn place(&self) -> &Place<LocalModel<Adapter>> {
        &self.place
    }

    async fn adapter(
        &self,
        model: &Arc<LocalModel<Adapter>>,
    ) -> Result<Option<Arc<LoadedAdapter<Adapter>>>, BackendError> {
        let Some(key) = &self.adapter else { return Ok(None) };
        let Some(adapters) = model.adapters() else { return Err(BackendFault::NotLoaded.into()) };
        if let Some(found) = adapters.find(key) {
            return Ok(Some(found));
        }
        let (model, name) = (Arc::clone(model), key.clone());
        let loading = tokio::task::spawn_blocking(move || {
            model.adapters().map(|adapters| adapters.get(&name)).transpose()
        });
        match loading.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::error!(model = %self.name, %error, "an adapter could not be loaded");
                Err(BackendFault::NotLoaded.into())
            }
            Err(_) => Err(BackendFault::NotLoaded.into()),
        }
    }

    async fn call(&self, request: Cleared, ask: Ask) -> Result<Answer, BackendError> {
        if request.tier() != Tier::Local {
            return Err(BackendFault::NotCleared.into());
        }
        let (backend, lease) = self.enter(ask.deadline).await?;
        let answer = backend.answer(request, ask).await?;
        Ok(holding(answer, lease))
    }

    /// Returns the model with its adapter, loaded, and the lease to hold while it is used.
    pub(crate) async fn enter(
        &self,
        deadline: Option<Instant>,
    ) -> Result<(LocalBackend<Adapter>, Lease<LocalModel<Adapter>>), BackendError> {
        let lease = self.place.lease(deadline).await.map_err(|error| self.lease_fault(&error))?;
        let adapter = self.adapter(&lease).await?;
        let backend = LocalBackend::new(Arc::clone(&lease)).called(Arc::clone(&self.name), adapter);
        Ok((backend.growing(Arc::clone(&self.memory)).within(self.context_max), lease))
    }

    fn lease_fault(&self, error: &LeaseError) -> BackendError {
        tracing::warn!(model = %self.name, %error, "a model could not be used");
        match error {
            LeaseError::NoRoom { .. } => BackendFault::NoRoom,
            LeaseError::Late => BackendFault::TotalTimeout,
            LeaseError::NeverFits { .. } | LeaseError::Failed { .. } => BackendFault::NotLoaded,
        }
        .into()
    }
}

/// Keeps the model until a stream ends or is dropped.
fn holding(mut answer: Answer, lease: Lease<LocalModel<Adapter>>) -> Answer {
    if let Answer::Stream(stream) = &mut answer {
        let items = std::mem::replace(&mut stream.items, futures_util::stream::empty().boxed());
        stream.items = items
            .map(move |item| {
                let _held = &lease;
                item
            })
            .boxed();
    }
    answer
}

impl Backend for RoomBackend {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        GenerationRequest::read(call, None).err()
    }

    fn is_available(&self, _: CallKind) -> bool {
        !self.place.is_failing()
    }

    fn counts_tokens(&self) -> bool {
        true
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.call(request, ask))
    }
}

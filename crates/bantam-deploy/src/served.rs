//! The models of this process as callers may list them and unload them.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bantam_backend::{BoxFuture, ResidentModel, Residents, Unload};
use bantam_gateway::Gateway;
use bantam_local::{Occupant, OccupantState, RoomBackend};

use crate::local::LocalModels;

/// A model that runs in this process.
pub struct ServedModel {
    pub(crate) backend: Arc<RoomBackend>,
    /// The paths of the model and its adapter.
    pub(crate) files: Vec<PathBuf>,
    /// Its file, as the ledger has it.
    pub(crate) model: Arc<str>,
    pub(crate) context_tokens: u64,
    /// Whether it is loaded at the start.
    pub(crate) preload: bool,
}

/// The models of the configuration in force.
pub struct ServedModels {
    models: RwLock<Arc<LocalModels>>,
    gateway: Arc<Gateway>,
}

impl ServedModels {
    /// Returns these models, which `gateway` serves.
    pub fn new(models: LocalModels, gateway: Arc<Gateway>) -> Self {
        Self { models: RwLock::new(Arc::new(models)), gateway }
    }

    /// Puts the models of another configuration in the place of these.
    pub fn replace(&self, models: LocalModels) {
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
    }

    fn models(&self) -> Arc<LocalModels> {
        Arc::clone(&self.models.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the models that are to be loaded before anybody asks, by name.
pub fn preloads(models: &LocalModels) -> Vec<(Arc<str>, Arc<RoomBackend>)> {
    let wanted = models.iter().filter(|(_, served)| served.preload);
    wanted.map(|(name, served)| (Arc::clone(name), Arc::clone(&served.backend))).collect()
}

impl Residents for ServedModels {
    fn list(&self) -> Vec<ResidentModel> {
        let models = self.models();
        let mut shown = Vec::new();
        for (name, served) in models.iter() {
            let key = served.backend.place().key();
            let sharing = || models.iter().filter(move |(_, other)| other.backend.place().key() == key);
            // The model itself is listed under the name that has no adapter, or else under the first.
            let named =
                sharing().find(|(_, other)| !other.backend.has_adapter()).or_else(|| sharing().next());
            let Some((base, _)) = named else { continue };
            let Some(occupant) = served.backend.place().occupant() else { continue };
            if base == name {
                let others = sharing().filter(|(other, _)| *other != name);
                let shared_by = others.map(|(other, _)| other.to_string()).collect();
                let bytes = occupant.bytes;
                shown.push(ResidentModel { shared_by, ..row(name, served, &occupant, bytes) });
            }
            if let Some(bytes) = served.backend.adapter_bytes() {
                let base = Some(base.to_string()).filter(|base| **base != **name);
                let row = row(name, served, &occupant, bytes as u64);
                if base.is_some() {
                    shown.push(ResidentModel { base, ..row });
                }
            }
        }
        shown
    }

    fn unload<'a>(&'a self, name: &'a str, wait: Duration) -> BoxFuture<'a, Unload> {
        Box::pin(async move {
            let models = self.models();
            let Some(served) = models.get(name) else {
                let is_elsewhere = self.gateway.deployment().models.contains_key(name);
                return if is_elsewhere { Unload::Elsewhere } else { Unload::Unknown };
            };
            let place = served.backend.place();
            let is_shared =
                models.values().filter(|other| other.backend.place().key() == place.key()).count() > 1;
            if let (Some(was_there), true) = (served.backend.unload_adapter(), is_shared) {
                // The others go on with the model.
                return if was_there { Unload::Done } else { Unload::NotLoaded };
            }
            match place.unload(Instant::now() + wait).await {
                Ok(true) => Unload::Done,
                Ok(false) => Unload::NotLoaded,
                Err(still) => Unload::StillUsed { leases: still.leases },
            }
        })
    }
}

fn row<M>(name: &str, served: &ServedModel, occupant: &Occupant<M>, bytes: u64) -> ResidentModel {
    let expires_at = occupant.expires.map(|when| {
        let left = when.saturating_duration_since(Instant::now());
        let left = jiff::SignedDuration::try_from(left).unwrap_or_default();
        jiff::Timestamp::now()
            .saturating_add(left)
            .unwrap_or_default()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    });
    ResidentModel {
        name: name.to_owned(),
        identity: served.model.to_string(),
        state: match occupant.state {
            OccupantState::Loading => "loading",
            OccupantState::Loaded => "loaded",
            OccupantState::Leaving => "leaving",
        },
        bytes,
        leases: occupant.leases,
        context_tokens: served.context_tokens,
        expires_at,
        shared_by: Vec::new(),
        base: None,
    }
}

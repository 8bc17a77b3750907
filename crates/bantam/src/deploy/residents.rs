//! The models of this process as the server shows them and sends them away.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bantam_gateway::Gateway;
use bantam_local::{Occupant, OccupantState, RoomBackend};
use bantam_server::{ResidentModel, Residents, Unload};
use futures_util::future::BoxFuture;

use super::LocalModels;

/// A model of the configuration that runs in this process.
pub(crate) struct Resident {
    pub(super) backend: Arc<RoomBackend>,
    /// The paths of the model and its adapter.
    pub(super) files: Vec<PathBuf>,
    /// Its file, as the ledger has it.
    pub(super) model: Arc<str>,
    pub(super) context_tokens: u64,
    /// Whether it is loaded at the start.
    pub(super) preload: bool,
}

/// What the server is told: the models of the configuration in force.
pub(crate) struct Present {
    models: RwLock<Arc<LocalModels>>,
    gateway: Arc<Gateway>,
}

impl Present {
    pub(crate) fn new(models: LocalModels, gateway: Arc<Gateway>) -> Self {
        Self { models: RwLock::new(Arc::new(models)), gateway }
    }

    /// Puts the models of another configuration in the place of these.
    pub(crate) fn replace(&self, models: LocalModels) {
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
    }

    fn models(&self) -> Arc<LocalModels> {
        Arc::clone(&self.models.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the models that are to be loaded before anybody asks, by name.
pub(crate) fn preloads(models: &LocalModels) -> Vec<(Arc<str>, Arc<RoomBackend>)> {
    let wanted = models.iter().filter(|(_, resident)| resident.preload);
    wanted.map(|(name, resident)| (Arc::clone(name), Arc::clone(&resident.backend))).collect()
}

impl Residents for Present {
    fn list(&self) -> Vec<ResidentModel> {
        let models = self.models();
        let mut shown = Vec::new();
        for (name, resident) in models.iter() {
            let key = resident.backend.place().key();
            let sharing = || models.iter().filter(move |(_, other)| other.backend.place().key() == key);
            // The model itself is told under the name that has no adapter, or else under the first.
            let named =
                sharing().find(|(_, other)| !other.backend.has_adapter()).or_else(|| sharing().next());
            let Some((base, _)) = named else { continue };
            let Some(occupant) = resident.backend.place().occupant() else { continue };
            if base == name {
                let others = sharing().filter(|(other, _)| *other != name);
                let shared_by = others.map(|(other, _)| other.to_string()).collect();
                let bytes = occupant.bytes;
                shown.push(ResidentModel { shared_by, ..row(name, resident, &occupant, bytes) });
            }
            if let Some(bytes) = resident.backend.adapter_bytes() {
                let base = Some(base.to_string()).filter(|base| **base != **name);
                let row = row(name, resident, &occupant, bytes as u64);
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
            let Some(resident) = models.get(name) else {
                let is_elsewhere = self.gateway.deployment().models.contains_key(name);
                return if is_elsewhere { Unload::Elsewhere } else { Unload::Unknown };
            };
            let place = resident.backend.place();
            let is_shared =
                models.values().filter(|other| other.backend.place().key() == place.key()).count() > 1;
            if let (Some(was_there), true) = (resident.backend.unload_adapter(), is_shared) {
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

fn row<M>(name: &str, resident: &Resident, occupant: &Occupant<M>, bytes: u64) -> ResidentModel {
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
        identity: resident.model.to_string(),
        state: match occupant.state {
            OccupantState::Loading => "loading",
            OccupantState::Loaded => "loaded",
            OccupantState::Leaving => "leaving",
        },
        bytes,
        leases: occupant.leases,
        context_tokens: resident.context_tokens,
        expires_at,
        shared_by: Vec::new(),
        base: None,
    }
}

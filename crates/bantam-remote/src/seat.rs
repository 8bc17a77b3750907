//! What is known of the engine behind an upstream, learned when it matters.

use std::time::Duration;

use bantam_backend::{BackendError, BackendFault};
use bantam_wire::{Call, Unsupported};
use tokio::sync::OnceCell;

use crate::client::BuildClientError;
use crate::engine::{Engine, FoundEngine, Version, find};
use crate::fetch::{JsonClient, Key};

/// How long an engine may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// The engine behind an upstream.
pub(crate) struct Seat {
    /// What the configuration says; nothing where it is to be found out.
    declared: Option<Engine>,
    root: String,
    client: JsonClient,
    found: OnceCell<Option<FoundEngine>>,
}

impl Seat {
    pub(crate) fn new(declared: Option<Engine>, base_url: &str) -> Result<Self, BuildClientError> {
        let client = JsonClient::new(PATIENCE)?;
        Ok(Self { declared, root: base_url.to_owned(), client, found: OnceCell::new() })
    }

    /// Returns what it is known not to honour, without asking it anything.
    pub(crate) fn refuses_surely(&self, request: &Call) -> Option<Unsupported> {
        match (self.found.get(), self.declared) {
            (Some(found), declared) => {
                let found = found.as_ref();
                let engine = declared.or(found.map(|found| found.engine))?;
                engine.refuses(told(found), request)
            }
            (None, Some(engine)) => engine.refuses(Version::Open, request),
            (None, None) => None,
        }
    }

    /// Returns which engine it is, once it is sure that it honours the request; asks it where that is not known.
    pub(crate) async fn engine(
        &self,
        key: Option<&Key>,
        request: &Call,
    ) -> Result<Option<Engine>, BackendError> {
        let refuse = |unsupported: Option<Unsupported>| match unsupported {
            Some(unsupported) => Err(BackendError::from(unsupported)),
            None => Ok(()),
        };
        if let Some(engine) = self.declared {
            refuse(engine.refuses(Version::Open, request))?;
            if engine.refuses(Version::Told(None), request).is_none() {
                return Ok(Some(engine));
            }
        }
        let asked = || find(&self.client, &self.root, key);
        let found = self.found.get_or_try_init(asked).await.map_err(|_| BackendFault::Connect)?.as_ref();
        let engine = self.declared.or(found.map(|found| found.engine));
        refuse(engine.and_then(|engine| engine.refuses(told(found), request)))?;
        Ok(engine)
    }
}

fn told(found: Option<&FoundEngine>) -> Version<'_> {
    Version::Told(found.and_then(|found| found.version.as_deref()))
}

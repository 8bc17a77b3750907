//! Lazily detects which engine serves an upstream.
//!
//! Callers who need to know share one detection and wait for it side by side, each up to its own deadline. It runs as long
//! as one of them waits; no caller's leaving stops it for the others. What it finds is kept. A failure is told to all who
//! waited and then forgotten, so that the next caller tries anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bantam_backend::{BackendError, BackendFault, ConnectFault};
use bantam_wire::{Call, Unsupported};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::timeout_at;

use crate::client::HttpClient;
use crate::engine::{Engine, FoundEngine, Version, find};
use crate::exchange::Deadlines;
use crate::fetch::{FetchError, JsonClient, Key};

/// How long an engine may take for each answer about itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The engine behind an upstream, as far as it is known.
pub(crate) struct EngineDetector {
    /// What the configuration says; nothing where it is to be found out.
    declared: Option<Engine>,
    root: String,
    client: JsonClient,
    key: Option<Key>,
    found: Arc<OnceLock<Option<FoundEngine>>>,
    running: Mutex<Weak<Detection>>,
}

/// Why a call cannot be made to the engine.
#[derive(Debug)]
pub(crate) enum DetectEngineError {
    /// The engine would not honour it.
    Unsupported(Unsupported),
    /// It is not known in time which engine it is.
    Failed {
        /// Why not.
        fault: BackendFault,
        /// Whether this is the first to say so of its detection: one detection that fails is one failure of the upstream,
        /// however many callers waited for it.
        is_first: bool,
    },
}

/// A detection that is under way.
struct Detection {
    end: Shared<BoxFuture<'static, Result<(), BackendFault>>>,
    has_counted: AtomicBool,
}

impl EngineDetector {
    pub(crate) fn new(
        declared: Option<Engine>,
        base_url: &str,
        client: HttpClient,
        key: Option<Key>,
    ) -> Self {
        Self {
            declared,
            root: base_url.to_owned(),
            client: JsonClient::over(client, PATIENCE),
            key,
            found: Arc::default(),
            running: Mutex::default(),
        }
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
        request: &Call,
        deadlines: &Deadlines,
    ) -> Result<Option<Engine>, DetectEngineError> {
        let refuse = |unsupported: Option<Unsupported>| match unsupported {
            Some(unsupported) => Err(DetectEngineError::Unsupported(unsupported)),
            None => Ok(()),
        };
        if let Some(engine) = self.declared {
            refuse(engine.refuses(Version::Open, request))?;
            if engine.refuses(Version::Told(None), request).is_none() {
                return Ok(Some(engine));
            }
        }
        if self.found.get().is_none() {
            self.detect(deadlines).await?;
        }
        let found = self.found.get().and_then(Option::as_ref);
        let engine = self.declared.or(found.map(|found| found.engine));
        refuse(engine.and_then(|engine| engine.refuses(told(found), request)))?;
        Ok(engine)
    }

    /// Waits for the detection that is under way, or for a new one.
    async fn detect(&self, deadlines: &Deadlines) -> Result<(), DetectEngineError> {
        let detection = self.running();
        let until = deadlines.first_byte.min(deadlines.total);
        let fault = match timeout_at(until.into(), detection.end.clone()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(fault)) => fault,
            Err(_) => deadlines.first_byte_fault(),
        };
        let is_first =
            !deadlines.is_callers_own(fault) && !detection.has_counted.swap(true, Ordering::Relaxed);
        Err(DetectEngineError::Failed { fault, is_first })
    }

    fn running(&self) -> Arc<Detection> {
        let mut running = self.running.lock();
        let has_failed = |detection: &Arc<Detection>| matches!(detection.end.peek(), Some(Err(_)));
        if let Some(detection) = running.upgrade().filter(|detection| !has_failed(detection)) {
            return detection;
        }
        let (client, root, key) = (self.client.clone(), self.root.clone(), self.key.clone());
        let found = Arc::clone(&self.found);
        let end = async move {
            let engine = find(&client, &root, key.as_ref()).await.map_err(fault_of)?;
            // Nobody else sets it: a detection begins only when the one before has failed or was given up.
            let _ = found.set(engine);
            Ok(())
        };
        let detection =
            Arc::new(Detection { end: end.boxed().shared(), has_counted: AtomicBool::new(false) });
        *running = Arc::downgrade(&detection);
        detection
    }
}

impl From<DetectEngineError> for BackendError {
    fn from(error: DetectEngineError) -> Self {
        match error {
            DetectEngineError::Unsupported(unsupported) => unsupported.into(),
            DetectEngineError::Failed { fault, .. } => fault.into(),
        }
    }
}

pub(crate) fn fault_of(error: FetchError) -> BackendFault {
    match error {
        FetchError::Late => BackendFault::FirstByteTimeout,
        FetchError::NotReady(status) => BackendFault::Overloaded(status),
        // The request itself was not sent, so this must be a fault that nobody is billed for.
        FetchError::Broken | FetchError::TooLarge | FetchError::Url(_) | FetchError::Key => {
            BackendFault::Connect(ConnectFault::Other)
        }
        FetchError::Connect(fault) => BackendFault::Connect(fault),
    }
}

fn told(found: Option<&FoundEngine>) -> Version<'_> {
    Version::Told(found.and_then(|found| found.version.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_detection_takes_no_new_callers_while_others_have_yet_to_hear_of_it() {
        let client = crate::client::build(crate::client::ClientSettings {
            connect_timeout: PATIENCE,
            ..Default::default()
        })
        .unwrap();
        let detector = EngineDetector::new(None, "not an address", client, None);
        let (first, second) = (detector.running(), detector.running());
        assert!(Arc::ptr_eq(&first, &second), "one that is under way is shared");
        assert_eq!(first.end.clone().await, Err(BackendFault::Connect(ConnectFault::Other)));
        assert!(!Arc::ptr_eq(&second, &detector.running()));
    }
}

//! Asking whether an upstream can be reached and takes its key, without sending it a prompt.

use std::time::Instant;

use bantam_backend::{BackendError, BackendFault};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

use crate::exchange::{Deadlines, send_request};
use crate::refusal::Failure;
use crate::upstream::{Dialect, Upstream};

impl Upstream {
    /// Asks for the list of models, which costs nothing, and returns how the upstream failed, if it did. That a server has
    /// no such list is not a failure: it answered, and took the key.
    ///
    /// # Errors
    /// Those of a call: no connection, no answer in time, a refused key.
    pub async fn probe(&self) -> Result<(), BackendError> {
        let started = Instant::now();
        let first_byte = started + self.settings.first_byte_timeout;
        let total = started + self.settings.total_timeout;
        let deadlines = Deadlines { started, first_byte, total, total_is_callers: false };
        let mut request = Request::new(Full::new(Bytes::new()));
        (*request.method_mut(), *request.uri_mut()) = (Method::GET, self.models_uri()?);
        match send_request(self, request, &deadlines).await {
            Err(Failure { error, .. }) => match error.fault {
                BackendFault::NotFound | BackendFault::Status(405) => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }

    /// Returns where the dialect lists models: beside chat.
    fn models_uri(&self) -> Result<http::Uri, BackendError> {
        let path = self.path.split('?').next().unwrap_or_default();
        let chat = match self.dialect {
            Dialect::OpenAi => "chat/completions",
            Dialect::Anthropic => "messages",
        };
        let path =
            path.strip_suffix(chat).map_or_else(|| path.to_owned(), |before| format!("{before}models"));
        self.address(&path, "").map_err(|_| BackendFault::NotFound.into())
    }
}

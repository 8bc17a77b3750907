//! Small requests to servers nearby: which engine runs there, and what a running gateway has in memory. They carry no
//! prompt, only a path and a key.

use std::time::Duration;

use bantam_backend::{BackendFault, ConnectFault};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::client::{self, BuildClientError, ClientSettings, HttpClient};
use crate::connect::fault_of;

/// The largest answer that is read.
const BYTES_MAX: usize = 4 << 20;

/// Asks for JSON, without retries, redirects or proxies.
#[derive(Clone)]
pub struct JsonClient {
    client: HttpClient,
    timeout: Duration,
}

/// A key as a header has it.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) HeaderName, pub(crate) HeaderValue);

impl Key {
    pub(crate) fn bearer(key: &str) -> Result<Self, FetchError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| FetchError::Key)?;
        value.set_sensitive(true);
        Ok(Self(header::AUTHORIZATION, value))
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonReply {
    /// The HTTP status.
    pub status: u16,
    /// The body; null where it is not JSON.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is not a valid URL.
    #[error("`{0}` is not a valid address")]
    Url(String),
    /// The key cannot be sent in a header.
    #[error("the key has characters that a header cannot carry")]
    Key,
    /// No connection to a server there.
    #[error("no server answers there: {0}")]
    Connect(ConnectFault),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// It took too long.
    #[error("there was no answer in time")]
    Late,
    /// The answer is larger than the limit.
    #[error("the answer is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// The server says that it cannot answer, at least not yet: a status from 500 on.
    #[error("the server is not ready (status {0})")]
    NotReady(u16),
}

impl JsonClient {
    /// Returns a client whose requests take at most `timeout` each, the connection included.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(timeout: Duration) -> Result<Self, BuildClientError> {
        Ok(Self {
            client: client::build(ClientSettings { connect_timeout: timeout, ..ClientSettings::default() })?,
            timeout,
        })
    }

    /// Returns a client over the connections of `client`.
    pub(crate) const fn over(client: HttpClient, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Asks with GET.
    pub async fn get(&self, url: &str, key: Option<&str>) -> Result<JsonReply, FetchError> {
        self.get_with(url, key.map(Key::bearer).transpose()?.as_ref()).await
    }

    /// Asks with POST and an empty body.
    pub async fn post(&self, url: &str, key: Option<&str>) -> Result<JsonReply, FetchError> {
        self.ask(Method::POST, url, key.map(Key::bearer).transpose()?.as_ref()).await
    }

    pub(crate) async fn get_with(&self, url: &str, key: Option<&Key>) -> Result<JsonReply, FetchError> {
        self.ask(Method::GET, url, key).await
    }

    async fn ask(&self, method: Method, url: &str, key: Option<&Key>) -> Result<JsonReply, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        if uri.host().is_none() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(FetchError::Url(url.to_owned()));
        }
        let mut request = Request::new(Full::new(Bytes::new()));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(Key(name, value)) = key {
            headers.insert(name.clone(), value.clone());
        }
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(FetchError::Late),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<JsonReply, FetchError> {
        let mut response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                return Err(match fault_of(&error) {
                    BackendFault::Connect(fault) => FetchError::Connect(fault),
                    _ => FetchError::Broken,
                });
            }
        };
        let mut bytes = BytesMut::new();
        while let Some(frame) = response.body_mut().frame().await {
            let Ok(data) = frame.map_err(|_| FetchError::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(JsonReply { status: response.status().as_u16(), body })
    }
}

//! One request to the hub, following redirects.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::HubSettings;
use super::connect::{connect, origin};

const REDIRECTS_MAX: usize = 8;
const AGENT: &str = concat!("bantam/", env!("CARGO_PKG_VERSION"));

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubRequestError {
    /// The host could not be reached, or the connection broke.
    #[error("the connection to {host} failed")]
    Connection {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The server sent nothing for too long.
    #[error("{host} sent nothing for {seconds} seconds")]
    Stalled {
        /// The host.
        host: String,
        /// How long.
        seconds: u64,
    },
    /// The address is invalid, or a redirect leads to a forbidden one.
    #[error("the address {address:?} {what}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The hub denies access.
    #[error("the hub refused access: {what} (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the status means.
        what: &'static str,
    },
    /// The repository, revision or file does not exist.
    #[error("the hub has no such {what}")]
    NotFound {
        /// What does not exist.
        what: &'static str,
    },
    /// The hub returned another error status.
    #[error("the hub returned status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// How long the hub asks to wait.
        retry_after: Option<Duration>,
    },
    /// The response is malformed.
    #[error("the hub's response is invalid: {what}")]
    Answer {
        /// What is wrong with it.
        what: String,
    },
}

impl HubRequestError {
    /// Returns whether a retry may succeed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Stalled { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Requests `address` from byte `start` on. Returns the head of a successful response: 200, or also 206 or 416 if
/// `start` is not 0.
pub(super) async fn get(
    settings: &HubSettings,
    address: &str,
    start: u64,
) -> Result<Response<Incoming>, HubRequestError> {
    let mut uri = parse(address)?;
    let home = origin(&parse(&settings.endpoint)?)
        .map_err(|_| address_error(&settings.endpoint, "is not an http or https address"))?;
    for _ in 0..REDIRECTS_MAX {
        let (is_tls, host, port) =
            origin(&uri).map_err(|_| address_error(&uri.to_string(), "is not an http or https address"))?;
        let is_home = (is_tls, &*host, port) == (home.0, &*home.1, home.2);
        let may_know = is_home && (is_tls || is_loopback(&host));
        let token = settings.token.as_deref().filter(|_| may_know);
        let response = send(settings, &uri, (token, start), &host).await?;
        let status = response.status();
        if !status.is_redirection() {
            return check_status(response, start);
        }
        let target = response.headers().get(header::LOCATION).and_then(|target| target.to_str().ok());
        let next = resolve_redirect(
            &uri,
            target.ok_or_else(|| address_error(address, "redirects without a target"))?,
        )?;
        if is_tls && next.scheme_str() != Some("https") {
            return Err(address_error(
                &next.to_string(),
                "is a redirect from https to an unencrypted address",
            ));
        }
        uri = next;
    }
    Err(address_error(address, "redirects too often"))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn address_error(address: &str, what: &'static str) -> HubRequestError {
    HubRequestError::Address { address: address.chars().take(200).collect(), what }
}

fn parse(address: &str) -> Result<Uri, HubRequestError> {
    address.parse().map_err(|_| address_error(address, "is malformed"))
}

/// Returns the absolute address of a redirect from `uri` to `target`.
fn resolve_redirect(uri: &Uri, target: &str) -> Result<Uri, HubRequestError> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return parse(target);
    }
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(address_error(target, "is malformed"));
    };
    match target.strip_prefix("//") {
        Some(other) => parse(&format!("{scheme}://{other}")),
        None if target.starts_with('/') => parse(&format!("{scheme}://{authority}{target}")),
        None => Err(address_error(target, "is a relative redirect, which is not supported")),
    }
}

async fn send(
    settings: &HubSettings,
    uri: &Uri,
    (token, start): (Option<&str>, u64),
    host: &str,
) -> Result<Response<Incoming>, HubRequestError> {
    let broken = |source| HubRequestError::Connection { host: host.to_owned(), source };
    let stalled = || HubRequestError::Stalled { host: host.to_owned(), seconds: settings.stall.as_secs() };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let mut request = Request::get(path).header(header::HOST, authority).header(header::USER_AGENT, AGENT);
    // The hashes are those of the plain file, not of a compressed transfer.
    request = request.header(header::ACCEPT_ENCODING, "identity");
    if start > 0 {
        request = request.header(header::RANGE, format!("bytes={start}-"));
    }
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| HubRequestError::Answer {
            what: "the token contains characters that are not allowed in a header".into(),
        })?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Empty::new()).map_err(|error| broken(io::Error::other(error)))?;
    let mut sender =
        timeout(settings.stall, connect(uri, settings)).await.map_err(|_| stalled())?.map_err(broken)?;
    let answer = timeout(settings.stall, sender.send_request(request)).await.map_err(|_| stalled())?;
    answer.map_err(|error| broken(io::Error::other(error)))
}

fn check_status(response: Response<Incoming>, start: u64) -> Result<Response<Incoming>, HubRequestError> {
    let status = response.status();
    let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    match (status, code) {
        (StatusCode::OK, _) => Ok(response),
        (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) if start > 0 => Ok(response),
        (_, "RepoNotFound") => Err(HubRequestError::NotFound { what: "repository, or it is private" }),
        (_, "RevisionNotFound") => Err(HubRequestError::NotFound { what: "revision" }),
        (_, "EntryNotFound") => Err(HubRequestError::NotFound { what: "file" }),
        (_, "GatedRepo") => Err(HubRequestError::Refused {
            status: status.as_u16(),
            what: "the model is gated; accept its licence first",
        }),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(HubRequestError::Refused {
            status: status.as_u16(),
            what: "the model is gated or private, or does not exist",
        }),
        (StatusCode::NOT_FOUND, _) => Err(HubRequestError::NotFound { what: "repository, revision or file" }),
        _ => {
            let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
            let retry_after = after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
            Err(HubRequestError::Status { status: status.as_u16(), retry_after })
        }
    }
}

/// Returns the next chunk of a body, or `None` at its end.
pub(super) async fn next_chunk(
    body: &mut Incoming,
    settings: &HubSettings,
) -> Result<Option<Bytes>, HubRequestError> {
    let host = || settings.endpoint.clone();
    loop {
        let seconds = settings.stall.as_secs();
        let frame = timeout(settings.stall, body.frame())
            .await
            .map_err(|_| HubRequestError::Stalled { host: host(), seconds })?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                return Err(HubRequestError::Connection { host: host(), source: io::Error::other(error) });
            }
            // Trailers carry nothing we need.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_) => continue,
            },
        }
    }
}

/// Returns the whole body of a short response.
pub(super) async fn read_short_body(
    settings: &HubSettings,
    address: &str,
    bytes_max: usize,
) -> Result<Vec<u8>, HubRequestError> {
    let mut body = get(settings, address, 0).await?.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(&mut body, settings).await? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(HubRequestError::Answer { what: format!("it exceeds {bytes_max} bytes") });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

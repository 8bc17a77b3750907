//! One question to the hub, wherever it redirects.

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

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The host could not be reached, or the connection broke.
    #[error("the connection to {host} failed")]
    Connection {
        /// The host.
        host: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// Nothing came for too long.
    #[error("{host} sent nothing for {seconds} seconds")]
    Stalled {
        /// The host.
        host: String,
        /// How long.
        seconds: u64,
    },
    /// An address that is none, or one that leads where it must not.
    #[error("the address {address:?} {what}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The hub wants to know who asks, or does not let them.
    #[error("the hub refuses: {what} (status {status})")]
    Refused {
        /// Its status.
        status: u16,
        /// What it means.
        what: &'static str,
    },
    /// There is no such repository, revision or file.
    #[error("the hub has no such {what}")]
    NotFound {
        /// What there is not.
        what: &'static str,
    },
    /// Another answer than a good one.
    #[error("the hub answered with status {status}")]
    Status {
        /// Its status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// An answer that is no answer to the question.
    #[error("the hub's answer is not understood: {what}")]
    Answer {
        /// What is wrong with it.
        what: String,
    },
}

impl ExchangeError {
    /// Returns whether the same question may get a better answer.
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

/// Asks for `address`, from byte `start` on, and returns the head of a good answer: 200, or 206 or 416 where a part
/// was asked for.
pub(super) async fn get(
    settings: &HubSettings,
    address: &str,
    start: u64,
) -> Result<Response<Incoming>, ExchangeError> {
    let mut uri = parse(address)?;
    let home = origin(&parse(&settings.endpoint)?).map_err(|_| bad(address, "is no address of a hub"))?;
    for _ in 0..REDIRECTS_MAX {
        let (is_tls, host, port) = origin(&uri).map_err(|_| bad(&uri.to_string(), "is no web address"))?;
        let is_home = (is_tls, &*host, port) == (home.0, &*home.1, home.2);
        let may_know = is_home && (is_tls || is_loopback(&host));
        let token = settings.token.as_deref().filter(|_| may_know);
        let response = send(settings, &uri, (token, start), &host).await?;
        let status = response.status();
        if !status.is_redirection() {
            return judge(response, start);
        }
        let target = response.headers().get(header::LOCATION).and_then(|target| target.to_str().ok());
        let next = follow(&uri, target.ok_or_else(|| bad(address, "redirects to nowhere"))?)?;
        if is_tls && next.scheme_str() != Some("https") {
            return Err(bad(&next.to_string(), "leads from https to an address without TLS"));
        }
        uri = next;
    }
    Err(bad(address, "redirects without end"))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bad(address: &str, what: &'static str) -> ExchangeError {
    ExchangeError::Address { address: address.chars().take(200).collect(), what }
}

fn parse(address: &str) -> Result<Uri, ExchangeError> {
    address.parse().map_err(|_| bad(address, "cannot be read"))
}

/// Returns the address that `target` means, seen from `uri`.
fn follow(uri: &Uri, target: &str) -> Result<Uri, ExchangeError> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return parse(target);
    }
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(bad(target, "cannot be read"));
    };
    match target.strip_prefix("//") {
        Some(other) => parse(&format!("{scheme}://{other}")),
        None if target.starts_with('/') => parse(&format!("{scheme}://{authority}{target}")),
        None => Err(bad(target, "is a redirect of a kind that is not followed")),
    }
}

async fn send(
    settings: &HubSettings,
    uri: &Uri,
    (token, start): (Option<&str>, u64),
    host: &str,
) -> Result<Response<Incoming>, ExchangeError> {
    let broken = |source| ExchangeError::Connection { host: host.to_owned(), source };
    let stalled = || ExchangeError::Stalled { host: host.to_owned(), seconds: settings.stall.as_secs() };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let mut request = Request::get(path).header(header::HOST, authority).header(header::USER_AGENT, AGENT);
    // Hashes are of the file, not of what a server makes of it on the way.
    request = request.header(header::ACCEPT_ENCODING, "identity");
    if start > 0 {
        request = request.header(header::RANGE, format!("bytes={start}-"));
    }
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| ExchangeError::Answer {
            what: "the token has letters that no header may have".into(),
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

fn judge(response: Response<Incoming>, start: u64) -> Result<Response<Incoming>, ExchangeError> {
    let status = response.status();
    let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    match (status, code) {
        (StatusCode::OK, _) => Ok(response),
        (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) if start > 0 => Ok(response),
        (_, "RepoNotFound") => Err(ExchangeError::NotFound { what: "repository, or it is private" }),
        (_, "RevisionNotFound") => Err(ExchangeError::NotFound { what: "revision" }),
        (_, "EntryNotFound") => Err(ExchangeError::NotFound { what: "file" }),
        (_, "GatedRepo") => Err(ExchangeError::Refused {
            status: status.as_u16(),
            what: "the model is gated, and its licence has to be accepted first",
        }),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(ExchangeError::Refused {
            status: status.as_u16(),
            what: "the model is gated or private, or does not exist",
        }),
        (StatusCode::NOT_FOUND, _) => Err(ExchangeError::NotFound { what: "repository, revision or file" }),
        _ => {
            let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
            let retry_after = after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
            Err(ExchangeError::Status { status: status.as_u16(), retry_after })
        }
    }
}

/// Returns the next piece of an answer; nothing at its end.
pub(super) async fn piece(
    body: &mut Incoming,
    settings: &HubSettings,
) -> Result<Option<Bytes>, ExchangeError> {
    let host = || settings.endpoint.clone();
    loop {
        let seconds = settings.stall.as_secs();
        let frame = timeout(settings.stall, body.frame())
            .await
            .map_err(|_| ExchangeError::Stalled { host: host(), seconds })?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                return Err(ExchangeError::Connection { host: host(), source: io::Error::other(error) });
            }
            // Trailers say nothing that is needed.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_) => continue,
            },
        }
    }
}

/// Returns the whole of a short answer.
pub(super) async fn whole(
    settings: &HubSettings,
    address: &str,
    bytes_max: usize,
) -> Result<Vec<u8>, ExchangeError> {
    let mut body = get(settings, address, 0).await?.into_body();
    let mut bytes = Vec::new();
    while let Some(piece) = piece(&mut body, settings).await? {
        if bytes.len() + piece.len() > bytes_max {
            return Err(ExchangeError::Answer { what: format!("it is longer than {bytes_max} bytes") });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

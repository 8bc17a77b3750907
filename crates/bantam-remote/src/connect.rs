//! Connects within one time limit for all steps, and says why a connection failed.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bantam_backend::{BackendFault, ConnectFault};
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tokio::time::timeout;
use tower_service::Service;

use crate::dial::{Dial, Dialled, ProxyFailed};

type BoxError = Box<dyn Error + Send + Sync>;
type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Resolves names, and says so when that is what failed.
#[derive(Clone)]
pub(crate) struct Resolver(GaiResolver);

/// A host name that does not resolve.
#[derive(Debug, thiserror::Error)]
#[error("the name could not be resolved")]
pub(crate) struct NotResolved(#[source] io::Error);

/// No connection in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection came about in time")]
struct Late;

/// Connects, TLS included, within a time.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<Dial>,
    timeout: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = NotResolved;
    type Future = Pending<GaiAddrs, NotResolved>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        self.0.poll_ready(context).map_err(NotResolved)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async move { found.await.map_err(NotResolved) })
    }
}

impl Connector {
    pub(crate) const fn new(inner: HttpsConnector<Dial>, timeout: Duration) -> Self {
        Self { inner, timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Dialled>;
    type Error = BoxError;
    type Future = Pending<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connected = timeout(self.timeout, self.inner.call(address));
        Box::pin(async move { connected.await.map_err(|_| Late)? })
    }
}

/// Returns why a request got no answer.
pub(crate) fn fault_of(error: &hyper_util::client::legacy::Error) -> BackendFault {
    if error.is_connect() {
        return BackendFault::Connect(connect_fault(error));
    }
    match find::<hyper::Error>(error) {
        // The connection was closed while nothing of the request had been written.
        Some(error) if error.is_canceled() => return BackendFault::Unsent,
        Some(error) if error.is_parse() => return BackendFault::NotHttp,
        _ => {}
    }
    if let Some(error) = find::<h2::Error>(error) {
        return http2_fault(error);
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => BackendFault::Reset,
        _ => BackendFault::Broken,
    }
}

/// Returns why a request over HTTP/2 got no answer.
fn http2_fault(error: &h2::Error) -> BackendFault {
    let is_remote = error.is_remote();
    match error.reason() {
        // The server did nothing for the stream: it says so (RFC 9113, 8.7), or the stream is behind the last one that it
        // answers before it closes the connection.
        Some(h2::Reason::REFUSED_STREAM) if is_remote => BackendFault::Unsent,
        Some(h2::Reason::NO_ERROR) if is_remote && error.is_go_away() => BackendFault::Unsent,
        Some(h2::Reason::HTTP_1_1_REQUIRED) if is_remote => BackendFault::Connect(ConnectFault::Http1Only),
        // What came is no frame of HTTP/2.
        Some(h2::Reason::FRAME_SIZE_ERROR | h2::Reason::PROTOCOL_ERROR) if !is_remote => {
            BackendFault::NotHttp
        }
        _ => match error.get_io().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => BackendFault::Reset,
            _ => BackendFault::Broken,
        },
    }
}

fn connect_fault(error: &(dyn Error + 'static)) -> ConnectFault {
    if find::<ProxyFailed>(error).is_some() {
        return ConnectFault::Proxy;
    }
    if find::<NotResolved>(error).is_some() {
        return ConnectFault::NameNotFound;
    }
    if find::<Late>(error).is_some() {
        return ConnectFault::Late;
    }
    if let Some(error) = find::<TlsError>(error) {
        return tls_fault(error);
    }
    match find_io(error, |kind| kind != io::ErrorKind::Other) {
        Some(io::ErrorKind::ConnectionRefused) => ConnectFault::Refused,
        Some(io::ErrorKind::TimedOut) => ConnectFault::Late,
        Some(io::ErrorKind::UnexpectedEof) => ConnectFault::Tls,
        Some(
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable,
        ) => ConnectFault::Unreachable,
        _ => ConnectFault::Other,
    }
}

fn tls_fault(error: &TlsError) -> ConnectFault {
    match error {
        TlsError::NoApplicationProtocol
        | TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => ConnectFault::Http2Only,
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => ConnectFault::UnknownIssuer,
        // A certificate that its owner signed as its own authority: it is the trust that is missing.
        TlsError::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            ConnectFault::UnknownIssuer
        }
        TlsError::InvalidCertificate(_) => ConnectFault::Certificate,
        TlsError::InvalidMessage(_) => ConnectFault::NotTls,
        _ => ConnectFault::Tls,
    }
}

/// Returns the first error of type `T` among `error` and its causes.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// Returns the first kind of I/O error among the causes that `is_wanted`.
fn find_io(error: &(dyn Error + 'static), is_wanted: fn(io::ErrorKind) -> bool) -> Option<io::ErrorKind> {
    causes(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .find(|kind| is_wanted(*kind))
}

/// Returns an error and what caused it, also what I/O errors are wrapped around: their `source` skips it.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error)).take(32)
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(outer) => Some(outer.get_ref()?),
        None => error.source(),
    }
}

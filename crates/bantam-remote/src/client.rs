//! The HTTP client of an upstream: HTTP/1.1 and HTTP/2, TLS by rustls, a proxy only where one is configured, no redirects.
//!
//! Over HTTP/2 all calls to a host share a connection, and servers take about a hundred at a time on one; whatever is
//! beyond waits, and so does everything behind a lost packet. So a client has lanes, each with connections of its own,
//! and a lane is filled before the next is used. HTTP/1.1 has a connection for each call anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::connect::Connector;
use crate::dial::{Dial, Proxy};

/// What Bantam calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("bantam/", env!("CARGO_PKG_VERSION")));
/// The most calls of a lane, while there is a lane with fewer. Servers take a hundred streams on a connection, or more.
const LANE_CALLS_MAX: usize = 64;
/// The most lanes.
const LANES_MAX: usize = 32;
/// How many bytes of one answer may be on their way. All streams of a lane together fit into the window of their
/// connection, so that callers who read slowly do not hold up the others.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * LANE_CALLS_MAX as u32;
/// After how much silence a connection with calls on it is asked whether it lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// The version of HTTP that an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// Over TLS what the server prefers, HTTP/1.1 without TLS.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, also without TLS.
    Http2,
}

/// What a client is built from.
#[derive(Default)]
pub(crate) struct ClientSettings<'s> {
    pub(crate) connect_timeout: Duration,
    pub(crate) extra_roots_pem: Option<&'s [u8]>,
    pub(crate) http: HttpVersion,
    pub(crate) proxy: Option<&'s Proxy>,
    /// Headers of every request.
    pub(crate) headers: HeaderMap,
    /// The most calls at a time.
    pub(crate) calls_max: usize,
}

/// The client that every upstream uses.
#[derive(Clone)]
pub(crate) struct HttpClient {
    lanes: Arc<[Lane]>,
    headers: Arc<HeaderMap>,
    /// For requests that a proxy passes on without a tunnel.
    proxy_login: Option<HeaderValue>,
}

struct Lane {
    client: Client<Connector, Full<Bytes>>,
    calls: Arc<AtomicUsize>,
}

/// A place in a lane. It stands among the extensions of an answer; whoever reads the body keeps it to the last byte.
#[derive(Clone)]
pub(crate) struct LanePlace {
    _held: Arc<Held>,
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildClientError {
    /// The extra root certificates cannot be read.
    #[error("the root certificates are not valid PEM")]
    RootCertificates,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The proxy cannot be used.
    #[error("`{0}` is not the address of a proxy: expected http://HOST:PORT")]
    Proxy(String),
    /// The proxy's login cannot be sent in a header.
    #[error("the login of the proxy has characters that a header cannot carry")]
    ProxyLogin,
}

impl HttpClient {
    /// Sends a request and returns the head of the answer.
    pub(crate) async fn request(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        let is_plain = request.uri().scheme() == Some(&http::uri::Scheme::HTTP);
        let headers = request.headers_mut();
        for (name, value) in &*self.headers {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers.entry(header::USER_AGENT).or_insert(AGENT);
        if let Some(login) = self.proxy_login.as_ref().filter(|_| is_plain) {
            headers.insert(header::PROXY_AUTHORIZATION, login.clone());
        }
        let (lane, place) = self.place();
        let mut response = lane.client.request(request).await?;
        response.extensions_mut().insert(place);
        Ok(response)
    }

    /// Returns the headers of every request.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Takes a place in the first lane that is not full, or in the emptiest.
    fn place(&self) -> (&Lane, LanePlace) {
        let calls = |lane: &&Lane| lane.calls.load(Ordering::Relaxed);
        let free = self.lanes.iter().find(|lane| calls(lane) < LANE_CALLS_MAX);
        let lane = free.or_else(|| self.lanes.iter().min_by_key(calls)).unwrap_or(&self.lanes[0]);
        lane.calls.fetch_add(1, Ordering::Relaxed);
        (lane, LanePlace { _held: Arc::new(Held(Arc::clone(&lane.calls))) })
    }
}

/// Returns a client that trusts the public roots and those in `extra_roots_pem`.
pub(crate) fn build(settings: ClientSettings<'_>) -> Result<HttpClient, BuildClientError> {
    let ClientSettings { connect_timeout, extra_roots_pem, http, proxy, headers, calls_max } = settings;
    let dial = Dial::new(connect_timeout, proxy, http == HttpVersion::Http2)?;
    let proxy_login = dial.login_of_requests();
    let mut tls = tls(extra_roots_pem)?;
    tls.alpn_protocols = match http {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        // Said, so that a server that speaks HTTP/2 only refuses by name.
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    let connector = Connector::new(HttpsConnector::from((dial, tls)), connect_timeout);
    let count = if http == HttpVersion::Http1 { 1 } else { calls_max.div_ceil(LANE_CALLS_MAX) };
    let lane = |_| Lane { client: lane(&connector, http), calls: Arc::default() };
    let lanes = (0..count.clamp(1, LANES_MAX)).map(lane).collect();
    Ok(HttpClient { lanes, headers: Arc::new(headers), proxy_login })
}

fn lane(connector: &Connector, http: HttpVersion) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .timer(TokioTimer::new())
        .http2_only(http == HttpVersion::Http2)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build(connector.clone())
}

fn tls(extra_roots_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, BuildClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(BuildClientError::Tls)?;
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = extra_roots_pem {
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| BuildClientError::RootCertificates)?;
            roots.add(certificate).map_err(|_| BuildClientError::RootCertificates)?;
            added += 1;
        }
        if added == 0 {
            return Err(BuildClientError::RootCertificates);
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

//! Opens connections: to the host itself, or through a proxy where one is configured.
//!
//! What goes to an `https` address, or is HTTP/2, goes through a tunnel (CONNECT), so that the proxy sees where it goes
//! and nothing else. Plain HTTP/1.1 is passed on by the proxy, as `GET http://host/path`.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use data_encoding::BASE64;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::client::BuildClientError;
use crate::connect::Resolver;

type BoxError = Box<dyn Error + Send + Sync>;
type Http = HttpConnector<Resolver>;

/// A proxy that an upstream is reached through.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address: `http`, host and port.
    pub url: String,
    /// `user:password`, where it wants one.
    pub login: Option<String>,
}

/// Shows no login.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &self.url)
            .field("has_login", &self.login.is_some())
            .finish_non_exhaustive()
    }
}

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Dial {
    http: Http,
    proxy: Option<Through>,
}

#[derive(Clone)]
struct Through {
    address: Uri,
    tunnel: Tunnel<Http>,
    login: Option<HeaderValue>,
    /// Nothing is passed on outside of a tunnel.
    always_tunnels: bool,
}

/// An open connection.
pub(crate) struct Dialled {
    io: TokioIo<TcpStream>,
    /// A proxy reads the requests and passes them on.
    is_passed_on: bool,
}

/// No connection through the proxy.
#[derive(Debug, thiserror::Error)]
#[error("the proxy gave no connection")]
pub(crate) struct ProxyFailed(#[source] BoxError);

impl Dial {
    pub(crate) fn new(
        connect_timeout: Duration,
        proxy: Option<&Proxy>,
        always_tunnels: bool,
    ) -> Result<Self, BuildClientError> {
        let mut http = HttpConnector::new_with_resolver(Resolver::default());
        http.enforce_http(false);
        http.set_nodelay(true);
        // This one is spread over the host's addresses; the connector's own bounds all of it, TLS included.
        http.set_connect_timeout(Some(connect_timeout));
        let proxy = proxy.map(|proxy| Through::new(proxy, &http, always_tunnels)).transpose()?;
        Ok(Self { http, proxy })
    }

    /// Returns the login that requests carry which the proxy passes on without a tunnel.
    pub(crate) fn login_of_requests(&self) -> Option<HeaderValue> {
        let proxy = self.proxy.as_ref().filter(|proxy| !proxy.always_tunnels)?;
        proxy.login.clone()
    }
}

impl Through {
    fn new(proxy: &Proxy, http: &Http, always_tunnels: bool) -> Result<Self, BuildClientError> {
        let refuse = || BuildClientError::Proxy(proxy.url.clone());
        let address: Uri = proxy.url.parse().map_err(|_| refuse())?;
        let is_sound = address.scheme() == Some(&Scheme::HTTP)
            && address.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let address = with_port(&address).filter(|_| is_sound).ok_or_else(refuse)?;
        let mut tunnel = Tunnel::new(address.clone(), http.clone());
        let login = proxy.login.as_deref().map(basic).transpose()?;
        if let Some(login) = &login {
            tunnel = tunnel.with_auth(login.clone());
        }
        Ok(Self { address, tunnel, login, always_tunnels })
    }
}

fn basic(login: &str) -> Result<HeaderValue, BuildClientError> {
    let value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(login.as_bytes())));
    let mut value = value.map_err(|_| BuildClientError::ProxyLogin)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the address with a port, that of its scheme where it names none.
fn with_port(address: &Uri) -> Option<Uri> {
    let usual = if address.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = address.host()?;
    let authority: Authority = format!("{host}:{}", address.port_u16().unwrap_or(usual)).parse().ok()?;
    let mut parts = address.clone().into_parts();
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

impl Service<Uri> for Dial {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let Some(proxy) = &mut self.proxy else {
            let connecting = self.http.call(address);
            return Box::pin(async move { Ok(Dialled { io: connecting.await?, is_passed_on: false }) });
        };
        if proxy.always_tunnels || address.scheme() == Some(&Scheme::HTTPS) {
            let address = with_port(&address).unwrap_or(address);
            let connecting = proxy.tunnel.call(address);
            return Box::pin(async move {
                let io = connecting.await.map_err(|error| ProxyFailed(error.into()))?;
                Ok(Dialled { io, is_passed_on: false })
            });
        }
        let connecting = self.http.call(proxy.address.clone());
        Box::pin(async move {
            let io = connecting.await.map_err(|error| ProxyFailed(error.into()))?;
            Ok(Dialled { io, is_passed_on: true })
        })
    }
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.is_passed_on)
    }
}

impl Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, data)
    }
}

//! Connects to one host: plain or TLS, directly or through a proxy.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderValue, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::HubSettings;

trait ByteStream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> ByteStream for S {}
type BoxedStream = Pin<Box<dyn ByteStream>>;

/// Returns whether an address uses TLS, and its host and port.
pub(super) fn origin(uri: &Uri) -> io::Result<(bool, String, u16)> {
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(io::Error::other("the address is neither http nor https")),
    };
    let host = uri.host().ok_or_else(|| io::Error::other("the address has no host"))?;
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    Ok((is_tls, host.trim_matches(['[', ']']).to_ascii_lowercase(), port))
}

/// Connects to the host of an address.
pub(super) async fn connect(uri: &Uri, settings: &HubSettings) -> io::Result<SendRequest<Empty<Bytes>>> {
    let (is_tls, host, port) = origin(uri)?;
    let proxy = settings.proxy.as_deref().filter(|_| is_tls && !bypasses_proxy(&host, &settings.no_proxy));
    let tcp = match proxy {
        Some(proxy) => tunnel(proxy, uri).await?,
        None => dial(&host, port).await?,
    };
    let stream: BoxedStream = match is_tls {
        true => Box::pin(encrypt(tcp, host).await?),
        false => Box::pin(tcp),
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // The request on this connection reports whatever ends it.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn encrypt(tcp: TcpStream, host: String) -> io::Result<impl ByteStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Opens a tunnel to the host of `uri` through a proxy, by HTTP CONNECT.
async fn tunnel(proxy: &str, uri: &Uri) -> io::Result<TcpStream> {
    let wrong = |what: &str| io::Error::other(format!("the proxy {what}"));
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let proxy: Uri = with_scheme.parse().map_err(|_| wrong("address is malformed"))?;
    let (is_tls, ..) = origin(&proxy)?;
    if is_tls {
        return Err(wrong("address is https, which is not supported; use the proxy's http address"));
    }
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    let mut tunnel = Tunnel::new(proxy.clone(), tcp);
    if let Some(login) = login(&proxy) {
        tunnel = tunnel.with_auth(login);
    }
    let failed = |error: &dyn std::error::Error| match error.source() {
        Some(cause) => wrong(&format!("failed: {error}: {cause}")),
        None => wrong(&format!("failed: {error}")),
    };
    poll_fn(|context| tunnel.poll_ready(context)).await.map_err(|error| failed(&error))?;
    Ok(tunnel.call(uri.clone()).await.map_err(|error| failed(&error))?.into_inner())
}

/// Returns the `Proxy-Authorization` header for the login in a proxy's address, if there is one.
fn login(proxy: &Uri) -> Option<HeaderValue> {
    let (login, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let login: Vec<u8> = percent_decode_str(login).collect();
    HeaderValue::from_str(&format!("Basic {}", BASE64.encode(&login))).ok()
}

/// Whether a host is contacted without the proxy.
fn bypasses_proxy(host: &str, no_proxy: &[String]) -> bool {
    no_proxy.iter().any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        let domain = entry.trim_start_matches('.');
        entry == "*" || (!domain.is_empty() && (host == domain || host.ends_with(&format!(".{domain}"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_the_proxy_address_becomes_basic_auth() {
        let of =
            |proxy: &str| login(&proxy.parse().unwrap()).map(|header| header.to_str().unwrap().to_owned());
        assert_eq!(of("http://user:pw@proxy:3128").as_deref(), Some("Basic dXNlcjpwdw=="));
        assert_eq!(of("http://user:p%77@proxy:3128").as_deref(), Some("Basic dXNlcjpwdw=="));
        assert_eq!(of("http://proxy:3128"), None);
    }

    #[test]
    fn listed_hosts_and_domains_bypass_the_proxy() {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(bypasses_proxy("hub.lan", &list("a, .lan")));
        assert!(bypasses_proxy("lan", &list("lan")));
        assert!(bypasses_proxy("x", &list("*")));
        assert!(!bypasses_proxy("hublan", &list("lan,,")));
    }

    #[test]
    fn an_address_without_a_port_uses_its_scheme_s_port() {
        let of = |text: &str| origin(&text.parse().unwrap()).ok();
        assert_eq!(of("https://A.b/x"), Some((true, "a.b".to_owned(), 443)));
        assert_eq!(of("http://[::1]:8/x"), Some((false, "::1".to_owned(), 8)));
        assert_eq!(of("ftp://a/x"), None);
    }
}

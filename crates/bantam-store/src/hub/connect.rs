//! A connection to one host: plain or TLS, by a proxy or without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::HubSettings;

/// Bytes of a proxy's answer at most.
const PROXY_ANSWER_BYTES_MAX: usize = 16 << 10;

trait Wire: AsyncRead + AsyncWrite + Send {}
impl<W: AsyncRead + AsyncWrite + Send> Wire for W {}
type Stream = Pin<Box<dyn Wire>>;

/// Returns the scheme, host and port that an address leads to.
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
    let proxy = settings.proxy.as_deref().filter(|_| is_tls && !is_direct(&host, &settings.no_proxy));
    let tcp = match proxy {
        Some(proxy) => tunnel(proxy, &host, port).await?,
        None => dial(&host, port).await?,
    };
    let stream: Stream = match is_tls {
        true => Box::pin(encrypt(tcp, host).await?),
        false => Box::pin(tcp),
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // Whatever ends the connection is told to the request that runs on it.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn encrypt(tcp: TcpStream, host: String) -> io::Result<impl Wire> {
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

/// Asks a proxy for a connection to a host.
async fn tunnel(proxy: &str, host: &str, port: u16) -> io::Result<TcpStream> {
    let wrong = |what: &str| io::Error::other(format!("the proxy {what}"));
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let uri: Uri = with_scheme.parse().map_err(|_| wrong("has no readable address"))?;
    let (is_tls, proxy_host, proxy_port) = origin(&uri)?;
    if is_tls {
        return Err(wrong("is itself behind TLS, which is not spoken here; give its http address"));
    }
    let mut tcp = dial(&proxy_host, proxy_port).await?;
    let login = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let login =
        login.map(|(login, _)| format!("Proxy-Authorization: Basic {}\r\n", base64(login.as_bytes())));
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let ask = format!(
        "CONNECT {shown}:{port} HTTP/1.1\r\nHost: {shown}:{port}\r\n{}\r\n",
        login.unwrap_or_default()
    );
    tcp.write_all(ask.as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to the host.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == PROXY_ANSWER_BYTES_MAX {
            return Err(wrong("answers without end"));
        }
        answer.push(tcp.read_u8().await?);
    }
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned).unwrap_or_default();
    match status.starts_with('2') {
        true => Ok(tcp),
        false => Err(wrong(&format!("answered {status}"))),
    }
}

/// Whether a host is asked without the proxy.
fn is_direct(host: &str, no_proxy: &[String]) -> bool {
    no_proxy.iter().any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        let domain = entry.trim_start_matches('.');
        entry == "*" || (!domain.is_empty() && (host == domain || host.ends_with(&format!(".{domain}"))))
    })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[(number >> (18 - 6 * place)) as usize & 63]);
            out.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_written_as_the_standard_says() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("user:pw", "dXNlcjpwdw==")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn hosts_and_domains_are_asked_directly() {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_direct("hub.lan", &list("a, .lan")));
        assert!(is_direct("lan", &list("lan")));
        assert!(is_direct("x", &list("*")));
        assert!(!is_direct("hublan", &list("lan,,")));
    }

    #[test]
    fn an_address_without_a_port_has_that_of_its_scheme() {
        let of = |text: &str| origin(&text.parse().unwrap()).ok();
        assert_eq!(of("https://A.b/x"), Some((true, "a.b".to_owned(), 443)));
        assert_eq!(of("http://[::1]:8/x"), Some((false, "::1".to_owned(), 8)));
        assert_eq!(of("ftp://a/x"), None);
    }
}

//! Why there is no connection, told apart: each kind asks for another mend.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bantam_backend::{BackendFault, ConnectFault};
use bantam_remote::{Dialect, Upstream, UpstreamSettings};
use bantam_simulate::{Behaviour, completion_body};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{HI, call, fault_of, hasty, model, settings, start};

/// A server behind TLS.
pub(crate) struct TlsServer {
    pub(crate) url: String,
    /// Its own certificate, which vouches for itself.
    pub(crate) pem: String,
}

/// Returns the settings of a server behind TLS, and its certificate.
pub(crate) fn server_config(name: &str, is_expired: bool, protocols: &[&str]) -> (ServerConfig, String) {
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    if is_expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let (der, pem) = (certificate.der().clone(), certificate.pem());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (config, pem)
}

/// Starts a server of HTTP/1.1 behind TLS.
pub(crate) fn tls_server(name: &str, is_expired: bool, protocols: &[&str]) -> TlsServer {
    let (config, pem) = server_config(name, is_expired, protocols);
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that refuses the certificate leaves.
            let _ = answer(StreamOwned::new(session, socket.unwrap()));
        }
    });
    TlsServer { url, pem }
}

fn answer(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let _ = stream.read(&mut head)?;
    let body = completion_body("m", "yes", 1, 1);
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    stream.flush()
}

/// Returns the fault of a call of `url`, if it fails.
async fn fault(url: &str, roots: Option<&str>) -> Option<BackendFault> {
    let extra_roots_pem = roots.map(|pem| pem.as_bytes().to_vec());
    let settings =
        UpstreamSettings { extra_roots_pem, connect_timeout: Duration::from_secs(10), ..settings(url) };
    call(&model(settings), HI, false).await.err().map(|error| error.fault)
}

#[tokio::test]
async fn certificates_and_protocols_are_told_apart() {
    let good = tls_server("127.0.0.1", false, &[]);
    assert_eq!(fault(&good.url, Some(&good.pem)).await, None);
    let older = tls_server("127.0.0.1", false, &["http/1.1"]);
    assert_eq!(fault(&older.url, Some(&older.pem)).await, None);
    let other = tls_server("other.example", false, &[]);
    let expired = tls_server("127.0.0.1", true, &[]);
    for (server, trusts, expected) in [
        (&good, false, ConnectFault::UnknownIssuer),
        (&other, true, ConnectFault::Certificate),
        (&expired, true, ConnectFault::Certificate),
    ] {
        let roots = trusts.then_some(server.pem.as_str());
        assert_eq!(fault(&server.url, roots).await, Some(BackendFault::Connect(expected)));
    }
}

/// Returns the fault of a call to a server that answers the first bytes of a TLS handshake with `answer`, and leaves.
async fn fault_of_handshake_answered(answer: &'static [u8]) -> Option<BackendFault> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        let _ = socket.read(&mut hello).await.unwrap();
        socket.write_all(answer).await.unwrap();
    });
    let fault = fault(&url, None).await;
    serving.await.unwrap();
    fault
}

#[tokio::test]
async fn a_server_that_answers_https_in_clear_text_is_named() {
    let fault = fault_of_handshake_answered(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(fault, Some(BackendFault::Connect(ConnectFault::NotTls)));
}

#[tokio::test]
async fn a_server_that_leaves_in_the_handshake_is_a_failed_handshake() {
    assert_eq!(fault_of_handshake_answered(b"").await, Some(BackendFault::Connect(ConnectFault::Tls)));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let fault = fault("http://no-such-host.invalid/v1", None).await;
    assert_eq!(fault, Some(BackendFault::Connect(ConnectFault::NameNotFound)));
    assert!(fault.unwrap().hint().unwrap().contains("base_url"));
}

#[tokio::test]
async fn a_connection_that_is_reset_after_the_request_is_told_from_one_that_is_closed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = socket.read(&mut head).await.unwrap();
        socket.set_zero_linger().unwrap();
    });
    let error = fault_of(call(&model(settings(&url)), HI, false).await);
    assert_eq!((error.fault, error.fault.is_never_billed()), (BackendFault::Reset, false));
    serving.await.unwrap();
}

/// Returns how an upstream that behaves like this answers a probe, and what it was sent.
async fn probed(behaviour: Behaviour, dialect: Dialect, path: &str) -> (Option<BackendFault>, String) {
    let upstream = start(move |_| behaviour.clone()).await;
    let settings = UpstreamSettings { dialect, path: path.to_owned(), ..hasty(&upstream.base_url()) };
    let failure = Upstream::new(settings).unwrap().probe().await.err().map(|error| error.fault);
    let received = upstream.received().remove(0);
    assert!(received.body.is_empty() && received.head.contains("Bearer key-of-the-upstream"), "{received:?}");
    (failure, received.head.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_probe_asks_for_models_with_the_key_and_tells_what_fails() {
    let good = || Behaviour::ok(r#"{"data":[]}"#.to_owned());
    for (dialect, path, expected) in [
        (Dialect::OpenAi, "/chat/completions", "GET /v1/models HTTP/1.1"),
        (
            Dialect::OpenAi,
            "/deployments/{model}/chat/completions?v=1",
            "GET /v1/deployments//models HTTP/1.1",
        ),
        (Dialect::Anthropic, "/v1/messages", "GET /v1/v1/models HTTP/1.1"),
        (Dialect::OpenAi, "/ask", "GET /v1/ask HTTP/1.1"),
    ] {
        assert_eq!(probed(good(), dialect, path).await, (None, expected.to_owned()));
    }
    for (behaviour, expected) in [
        (Behaviour::status(404), None),
        (Behaviour::status(405), None),
        (Behaviour::status(401), Some(BackendFault::Key(401))),
        (Behaviour::status(503), Some(BackendFault::Overloaded(503))),
        (Behaviour::status(308), Some(BackendFault::Status(308))),
        (Behaviour::Close, Some(BackendFault::Broken)),
        (Behaviour::Hang, Some(BackendFault::FirstByteTimeout)),
        (Behaviour::Raw(b"SSH-2.0-x\r\n".to_vec()), Some(BackendFault::NotHttp)),
    ] {
        let shown = format!("{behaviour:?}");
        assert_eq!(probed(behaviour, Dialect::OpenAi, "/chat/completions").await.0, expected, "{shown}");
    }
}

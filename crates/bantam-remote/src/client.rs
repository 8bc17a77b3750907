//! The HTTP client: one pool an upstream, TLS by rustls, no proxies and no redirects.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::connect::{Connector, Resolver};

/// The client that every upstream uses.
pub(crate) type HttpClient = Client<Connector, Full<Bytes>>;

/// A client that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildClientError {
    /// The extra root certificates cannot be read.
    #[error("the root certificates are not valid PEM")]
    RootCertificates,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Returns a client that trusts the public roots and those in `extra_roots_pem`.
pub(crate) fn build(
    connect_timeout: Duration,
    extra_roots_pem: Option<&[u8]>,
) -> Result<HttpClient, BuildClientError> {
    let mut http = HttpConnector::new_with_resolver(Resolver::default());
    http.enforce_http(false);
    http.set_nodelay(true);
    // This one is spread over the host's addresses; the connector's own bounds all of it, TLS included.
    http.set_connect_timeout(Some(connect_timeout));
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
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
    let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
    // Said, so that a server that speaks HTTP/2 only refuses by name.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = Connector::new(HttpsConnector::from((http, tls)), connect_timeout);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .build(connector))
}

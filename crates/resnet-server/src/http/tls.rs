//! Certificates, for who ends encryption here and not at a proxy in front.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with a file.
type Problem = (PathBuf, String);

/// Takes encrypted connections by a certificate chain and its key, both PEM. `http2`: what will be
/// spoken, for clients that want to be told, as gRPC's do.
pub(crate) fn acceptor(
    certificates: &Path,
    key: &Path,
    http2: bool,
) -> Result<TlsAcceptor, Problem> {
    let of = |path: &Path, problem: String| (path.to_owned(), problem);
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let chain = chain.map_err(|error| of(certificates, error.to_string()))?;
    if chain.is_empty() {
        return Err(of(certificates, "holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key, error.to_string()))?;
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private));
    let mut config = config.map_err(|error| of(certificates, error.to_string()))?;
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

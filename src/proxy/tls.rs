//! Certificate and key from PEM, ready for handshakes; replaced as a whole on reload.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Why there can be no TLS with these files.
#[derive(Debug, Error)]
pub(super) enum TlsError {
    /// The certificate file is not PEM, or has none.
    #[error("the certificate cannot be read")]
    Certificate(#[source] pem::Error),
    /// The file has no certificate.
    #[error("there is no certificate in the file")]
    NoCertificate,
    /// The key is not PEM in PKCS #8, PKCS #1 or SEC 1, or missing.
    #[error("the private key cannot be read")]
    Key(#[source] pem::Error),
    /// They don't fit, or rustls cannot use them.
    #[error("certificate and key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// Makes an acceptor from a certificate chain and its key, both PEM. The key may stand in the certificate's file; then
/// `key` is empty.
pub(super) fn acceptor(certificate: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = if key.is_empty() { certificate } else { key };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

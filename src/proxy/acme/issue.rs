//! Keys, requests and certificates of our own making.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// A name that no certificate bears, or no randomness.
    #[error("no certificate can be made for these names")]
    Made(#[source] rcgen::Error),
    /// rustls does not take it.
    #[error("what was made cannot be used")]
    Used(#[source] rustls::Error),
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self::Made(error)
    }
}

/// A fresh key as PEM, and a request (PKCS #10, DER) for a certificate of these names.
pub(super) fn request(names: &[String]) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), IssueError> {
    let key = KeyPair::generate()?;
    let request = params(names)?.serialize_request(&key)?;
    Ok((pem("PRIVATE KEY", key.serialized_der()), request.der().to_vec()))
}

/// Key and certificate, PEM, of these names, that nobody vouches for.
pub(super) fn unvouched(names: &[String]) -> Result<Zeroizing<Vec<u8>>, IssueError> {
    let key = KeyPair::generate()?;
    let certificate = params(names)?.self_signed(&key)?;
    let mut both = pem("PRIVATE KEY", key.serialized_der());
    both.extend_from_slice(&pem("CERTIFICATE", certificate.der()));
    Ok(both)
}

/// What an authority is shown that looks whose this name is (RFC 8737, section 3). `proof`: SHA-256 of the key
/// authorization.
pub(super) fn challenge(name: &str, proof: &[u8; 32]) -> Result<CertifiedKey, IssueError> {
    let key = KeyPair::generate()?;
    let mut params = params(&[name.to_owned()])?;
    params.custom_extensions.push(CustomExtension::new_acme_identifier(proof));
    let chain = vec![params.self_signed(&key)?.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()));
    // Not `from_der`, which refuses what it does not know and what says that it matters.
    let key = ring::sign::any_supported_type(&key).map_err(IssueError::Used)?;
    Ok(CertifiedKey::new(chain, key))
}

fn params(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    // Its names are what counts; rcgen would put its own name here.
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    out.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in text.as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::certificate;

    #[test]
    fn what_is_made_fits_and_bears_its_names() {
        let names = ["a.example".to_owned(), "b.example".to_owned()];
        let both = unvouched(&names).unwrap();
        assert_eq!(certificate::fits(&both, &both), Ok(()));
        assert_eq!(certificate::names(&both), names);
        let (key, request) = request(&names).unwrap();
        assert!(certificate::fits(&both, &key).is_err() && request.len() > 100);
    }

    #[test]
    fn a_challenge_shows_its_proof_and_says_that_it_matters() {
        let shown = challenge("a.example", &[0xAB; 32]).unwrap();
        // 1.3.6.1.5.5.7.1.31, critical, the digest packed twice.
        let mut extension = vec![6, 8, 0x2B, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xFF, 4, 34, 4, 32];
        extension.extend([0xAB; 32]);
        assert!(shown.cert[0].windows(extension.len()).any(|part| part == extension));
    }
}

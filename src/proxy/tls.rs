//! Certificates and keys from PEM, ready for handshakes; replaced as a whole on reload. Which certificate a visitor is
//! shown depends on the name he asks for (SNI, RFC 6066).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use super::acme::{Challenges, PROTOCOL};
use crate::config::{certificate, sections::TlsVersion, slice::ProxySlice};

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
    /// The authorities of visitors.
    #[error("the authorities of visitors cannot be used: {0}")]
    Authorities(String),
}

/// What is offered to visitors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    /// The oldest version.
    pub(super) oldest: TlsVersion,
    /// HTTP/2 too?
    pub(super) http2: bool,
    /// Who signs their certificates, PEM; empty: they need none.
    pub(super) client_ca: &'a [u8],
    /// What authorities ask to see in a handshake; none: they don't.
    pub(super) challenges: Option<&'a Arc<Challenges>>,
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self { oldest: TlsVersion::Tls12, http2: true, client_ca: b"", challenges: None }
    }
}

/// What the slice asks for, with the certificate that was got for it, if one was; nothing: no TLS.
pub(super) fn of(
    slice: &ProxySlice,
    got: Option<(&[u8], &[u8])>,
    challenges: &Arc<Challenges>,
) -> Result<Option<TlsAcceptor>, TlsError> {
    let first = (slice.certificate.as_slice(), slice.key.reveal().as_slice());
    let others =
        slice.certificates.iter().map(|(chain, key)| (chain.as_slice(), key.reveal().as_slice()));
    // Who asks for no name is shown the first.
    let (got, others) = (got.into_iter(), others.collect::<Vec<_>>());
    let identities: Vec<_> = if slice.certificate.is_empty() {
        got.chain(others).collect()
    } else {
        std::iter::once(first).chain(others).chain(got).collect()
    };
    if identities.is_empty() {
        return Ok(None);
    }
    let offer = Offer {
        oldest: slice.proxy.tls_min,
        http2: slice.proxy.http2,
        client_ca: &slice.client_ca,
        challenges: slice.proxy.acme.is_on().then_some(challenges),
    };
    acceptor(&identities, offer).map(Some)
}

/// Makes an acceptor from certificate chains and their keys, both PEM, of which the first is for names that nobody else
/// bears. A key may stand in its certificate's file; then it is empty here.
pub(super) fn acceptor(
    identities: &[(&[u8], &[u8])],
    offer: Offer<'_>,
) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let versions = match offer.oldest {
        TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(TlsError::Unusable)?;
    let builder = if offer.client_ca.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots = certificate::authorities(offer.client_ca).map_err(TlsError::Authorities)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| TlsError::Authorities(error.to_string()))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut shown = Shown { challenges: offer.challenges.cloned(), ..Shown::default() };
    for (chain, key) in identities {
        shown.add(chain, key, &provider)?;
    }
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if offer.http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    if offer.challenges.is_some() {
        config.alpn_protocols.push(PROTOCOL.to_vec());
    }
    config.ticketer = tickets(offer.client_ca)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Who makes session tickets, with keys that are replaced every six hours and that no disk has seen. They outlive a
/// reload, so that a renewed certificate costs nobody a whole handshake; but not a change of who is let in, since who
/// comes back with a ticket shows no certificate.
fn tickets(client_ca: &[u8]) -> Result<Arc<dyn ProducesTickets>, TlsError> {
    type Kept = Option<(Vec<u8>, Arc<dyn ProducesTickets>)>;
    static TICKETS: Mutex<Kept> = Mutex::new(None);
    let mut kept = TICKETS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, tickets)) = kept.as_ref()
        && of == client_ca
    {
        return Ok(tickets.clone());
    }
    let tickets = ring::Ticketer::new().map_err(TlsError::Unusable)?;
    *kept = Some((client_ca.to_vec(), tickets.clone()));
    Ok(tickets)
}

/// The certificates, by name.
#[derive(Default)]
struct Shown {
    first: Option<Arc<CertifiedKey>>,
    /// In lower case; `*.example.org` stands for one more label. Several of one name have keys of several kinds.
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
    challenges: Option<Arc<Challenges>>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.named.keys()).finish()
    }
}

impl Shown {
    fn add(
        &mut self,
        pem: &[u8],
        key: &[u8],
        provider: &rustls::crypto::CryptoProvider,
    ) -> Result<(), TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(TlsError::Certificate)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = if key.is_empty() { pem } else { key };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Unusable)?;
        let certified = Arc::new(certified);
        for name in certificate::names(pem) {
            self.named.entry(name).or_default().push(certified.clone());
        }
        self.first.get_or_insert(certified);
        Ok(())
    }

    /// Those that bear this name; the first of all where none does.
    fn bearing(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let wild = || {
            let (_, domain) = name.split_once('.')?;
            self.named.get(&format!("*.{domain}"))
        };
        let found = self.named.get(&name).or_else(wild);
        found.map_or(self.first.as_slice(), Vec::as_slice)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Only an authority offers this and nothing else (RFC 8737, section 3).
        let proves = hello.alpn().is_some_and(|mut all| all.next() == Some(PROTOCOL));
        if let Some(challenges) = self.challenges.as_ref().filter(|_| proves) {
            return challenges.certificate(hello.server_name()?);
        }
        let bearing = self.bearing(hello.server_name());
        let fits =
            |it: &&Arc<CertifiedKey>| it.key.choose_scheme(hello.signature_schemes()).is_some();
        bearing.iter().find(fits).or(bearing.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: (&[u8], &[u8]) =
        (include_bytes!("tests/tls/ec-cert.pem"), include_bytes!("tests/tls/ec-pkcs8.pem"));
    const NAMES: (&[u8], &[u8]) =
        (include_bytes!("tests/tls/names-cert.pem"), include_bytes!("tests/tls/names-key.pem"));

    #[test]
    fn a_certificate_is_chosen_by_name() {
        let provider = ring::default_provider();
        let mut shown = Shown::default();
        for (chain, key) in [EC, NAMES] {
            shown.add(chain, key, &provider).unwrap();
        }
        let ec = &shown.bearing(None)[0];
        let names = &shown.bearing(Some("hub.example.org"))[0];
        assert!(!Arc::ptr_eq(ec, names));
        let table = [
            ("localhost", ec),
            ("HUB.example.org", names),
            ("a.lab.example.org", names),
            ("lab.example.org", ec),
            ("b.a.lab.example.org", ec),
            ("x.example.org", ec),
            ("names", ec),
            ("", ec),
        ];
        for (name, expected) in table {
            assert!(Arc::ptr_eq(&shown.bearing(Some(name))[0], expected), "{name}");
        }
    }

    #[test]
    fn tickets_stay_as_long_as_the_same_people_are_let_in() {
        let one = tickets(b"").unwrap();
        assert!(Arc::ptr_eq(&one, &tickets(b"").unwrap()));
        let other = tickets(b"authority").unwrap();
        assert!(!Arc::ptr_eq(&one, &other));
        let ticket = one.encrypt(b"session").unwrap();
        assert!(other.decrypt(&ticket).is_none());
        assert_eq!(one.decrypt(&ticket).unwrap(), b"session");
    }
}

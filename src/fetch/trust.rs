//! Whom we believe behind `https` targets, and who we are to them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject as _},
};
use thiserror::Error as ThisError;
use zeroize::Zeroizing;

/// Where systems keep the authorities that they trust, as PEM; the first there is counts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why no TLS to backends can be set up.
#[derive(Debug, ThisError)]
pub(crate) enum TrustError {
    /// A file of certificates.
    #[error("certificates not readable")]
    Certificates(#[source] pem::Error),
    /// No certificate in it.
    #[error("no certificates in the file")]
    Empty,
    /// The key; its file is not quoted.
    #[error("the key is damaged or encrypted")]
    Key,
    /// They do not fit.
    #[error("certificate and key cannot be used")]
    Unusable(#[source] Error),
}

/// Trusting what the system trusts, and nobody in particular.
pub(crate) fn usual() -> Arc<ClientConfig> {
    static USUAL: LazyLock<Arc<ClientConfig>> =
        LazyLock::new(|| Arc::new(trusting(system_roots()).with_no_client_auth()));
    USUAL.clone()
}

/// How backends are believed to be who they say, and how we say who we are.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Authorities as PEM; empty: those of the system.
    pub(crate) authorities: Vec<u8>,
    /// Our certificate chain and its key as PEM, if they ask for one.
    pub(crate) identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// Believe everybody.
    pub(crate) unverified: bool,
}

impl Trust {
    /// Makes rustls's of it.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificates or the key.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let roots = if self.authorities.is_empty() {
            system_roots()
        } else {
            authorities(&self.authorities)?
        };
        let builder = if self.unverified {
            builder().dangerous().with_custom_certificate_verifier(Arc::new(Anybody))
        } else {
            trusting(roots)
        };
        let Some((chain, key)) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(TrustError::Certificates)?;
        if chain.is_empty() {
            return Err(TrustError::Empty);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TrustError::Key)?;
        let config = builder.with_client_auth_cert(chain, key);
        config.map(Arc::new).map_err(TrustError::Unusable)
    }
}

/// The certificates of a PEM file as authorities.
pub(crate) fn authorities(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    for one in all.map_err(TrustError::Certificates)? {
        roots.add(one).map_err(TrustError::Unusable)?;
    }
    if roots.is_empty() { Err(TrustError::Empty) } else { Ok(roots) }
}

/// Those that this machine trusts; what cannot be read is left out, so that nothing is trusted by mistake.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(Path::new);
    if let Some(pem) =
        named.as_deref().into_iter().chain(usual).find_map(|path| fs::read(path).ok())
    {
        roots
            .add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    }
    roots
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
}

fn trusting(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    builder().with_root_certificates(roots)
}

/// Believes every certificate, but not everybody who shows one: the key must be his.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(all(test, feature = "acme"))]
mod tests {
    use std::{io, time::Duration};

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
    };
    use rustls::{CertificateError, ServerConfig};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::fetch::{Fetch, FetchError};

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// What is asked for one thing at a server that shows a certificate for this name, good until that year.
    async fn asked(
        trusted: &Authority,
        by: &Authority,
        name: &str,
        year: i32,
    ) -> Result<u16, FetchError> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let chain = vec![params.signed_by(&key, by).unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/token", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
            // Whoever gets so far has said what it knows.
            let size = stream.read(&mut [0; 4096]).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
            Ok::<_, io::Error>(size)
        });
        let mut roots = RootCertStore::empty();
        roots.add(trusted.as_ref().der().clone()).unwrap();
        let trust = Arc::new(trusting(roots).with_no_client_auth());
        let patience = Duration::from_secs(10);
        let fetch = Fetch { trust, patience, longest: 1_000, plain_to_itself: true };
        let answer = fetch.ask(Request::get(url).body(Empty::<Bytes>::new()).unwrap()).await;
        let heard = serving.await.unwrap().unwrap_or(0);
        assert_eq!(heard > 0, answer.is_ok(), "no word is said to whom nobody vouches for");
        answer.map(|answer| answer.status().as_u16())
    }

    /// Why a certificate was not taken.
    fn why(error: FetchError) -> CertificateError {
        let FetchError::Connect(_, error) = error else { panic!("{error:?}") };
        match error.into_inner().and_then(|error| error.downcast::<Error>().ok()).map(|it| *it) {
            Some(Error::InvalidCertificate(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// `security: an identity provider's word counts only when every check of it holds`: the first is who it is.
    #[tokio::test]
    async fn who_shows_a_certificate_that_is_not_theirs_is_told_nothing() {
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        assert_eq!(asked(&ours, &ours, "127.0.0.1", 2090).await.unwrap(), 200);
        let stranger = why(asked(&ours, &theirs, "127.0.0.1", 2090).await.unwrap_err());
        assert_eq!(stranger, CertificateError::UnknownIssuer);
        let other = why(asked(&ours, &ours, "login.example.org", 2090).await.unwrap_err());
        assert!(matches!(other, CertificateError::NotValidForNameContext { .. }), "{other:?}");
        let old = why(asked(&ours, &ours, "127.0.0.1", 2021).await.unwrap_err());
        assert!(matches!(old, CertificateError::ExpiredContext { .. }), "{old:?}");
    }
}

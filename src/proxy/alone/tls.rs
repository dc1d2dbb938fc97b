//! TLS of the public side and of the REST API, by the flags.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CipherSuite, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use super::files;
use crate::fetch::trust;

/// What is offered: versions and suites.
#[derive(Debug, Clone, Default)]
pub(super) struct Offer {
    /// `--ssl-protocol`.
    pub(super) protocol: Option<String>,
    /// `--ssl-ciphers`.
    pub(super) ciphers: Option<String>,
}

/// One side's files, and what it asks of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Side {
    /// The name of its flags: `ssl`, `api-ssl`.
    pub(super) flags: &'static str,
    /// Certificate chain.
    pub(super) cert: PathBuf,
    /// Private key; none: in the file of the certificate.
    pub(super) key: Option<PathBuf>,
    /// Authorities of others' certificates.
    pub(super) ca: Option<PathBuf>,
    /// Ask for a certificate?
    pub(super) request: bool,
    /// Refuse those who have none?
    pub(super) reject: bool,
    /// Versions and suites.
    pub(super) offer: Offer,
    /// What is spoken over it.
    pub(super) alpn: &'static [&'static str],
}

impl Side {
    /// Reads the files. Why not, in words for whoever wrote the command line; no key is quoted.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let flag = |what: &str| format!("--{}-{what}", self.flags);
        let certificate = files::read(&flag("cert"), &self.cert)?;
        let key_file = self.key.as_ref().unwrap_or(&self.cert);
        let key = files::read_secret(&flag("key"), key_file)?;
        if files::is_encrypted(&key) {
            return Err(format!(
                "{}: the key is encrypted, and a passphrase cannot be used here. Write it without one, \
                 readable by the proxy alone: openssl pkey -in {} -out plain.pem",
                flag("key"),
                key_file.display()
            ));
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
        let chain = chain.map_err(|error| format!("{}: damaged: {error}", flag("cert")))?;
        if chain.is_empty() {
            return Err(format!("{}: there is no certificate in the file", flag("cert")));
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
            format!("{}: there is no key in the file, or it is damaged", flag("key"))
        })?;
        let provider = Arc::new(self.provider()?);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions()?)
            .map_err(|error| format!("{}: {error}", flag("ciphers")))?;
        let builder = match self.authorities()? {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier =
                    if self.reject { verifier } else { verifier.allow_unauthenticated() };
                let verifier =
                    verifier.build().map_err(|error| format!("{}: {error}", flag("ca")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("{} and {}: {error}", flag("cert"), flag("key")))?;
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Whose certificates count; none: nobody is asked for one.
    fn authorities(&self) -> Result<Option<RootCertStore>, String> {
        if !self.request {
            return Ok(None);
        }
        let flag = format!("--{}-ca", self.flags);
        let Some(ca) = &self.ca else {
            return Err(format!("--{}-request-cert: it needs {flag} beside it", self.flags));
        };
        let pem = files::read(&flag, ca)?;
        trust::authorities(&pem).map(Some).map_err(|error| format!("{flag}: {error}"))
    }

    fn versions(&self) -> Result<&'static [&'static SupportedProtocolVersion], String> {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self.offer.protocol.as_deref() {
            None | Some("TLS" | "SSLv23" | "TLS_server" | "SSLv23_server") => Ok(&BOTH),
            Some("TLSv1_2" | "TLSv1_2_server") => Ok(&BOTH[1..]),
            Some("TLSv1_3" | "TLSv1_3_server") => Ok(&BOTH[..1]),
            Some(other) => Err(format!(
                "--ssl-protocol {other}: TLSv1_2 and TLSv1_3 are served, nothing older"
            )),
        }
    }

    /// All suites, or those that are named. TLS 1.3's have no names there and stay.
    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = ring::default_provider();
        let Some(list) = &self.offer.ciphers else { return Ok(provider) };
        let named: Vec<CipherSuite> = list.split(':').filter_map(suite).collect();
        if named.is_empty() {
            return Err(format!(
                "--ssl-ciphers: none of them is served. There are: {}",
                SUITES.map(|(name, _)| name).join(":")
            ));
        }
        provider.cipher_suites.retain(|one| one.tls13().is_some() || named.contains(&one.suite()));
        Ok(provider)
    }
}

/// The suites of TLS 1.2 by OpenSSL's names.
const SUITES: [(&str, CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

fn suite(name: &str) -> Option<CipherSuite> {
    SUITES.iter().find(|(known, _)| *known == name.trim()).map(|(_, suite)| *suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_suites_are_those_named() {
        let side = |protocol: Option<&str>, ciphers: Option<&str>| Side {
            offer: Offer {
                protocol: protocol.map(str::to_owned),
                ciphers: ciphers.map(str::to_owned),
            },
            ..Side::default()
        };
        assert_eq!(side(None, None).versions().unwrap().len(), 2);
        assert_eq!(side(Some("TLSv1_2"), None).versions().unwrap(), [&TLS12]);
        assert!(side(Some("SSLv3"), None).versions().unwrap_err().contains("TLSv1_2"));
        let count = |list: &str| side(None, Some(list)).provider().map(|it| it.cipher_suites.len());
        assert_eq!(count("ECDHE-RSA-AES128-GCM-SHA256:HIGH:!RC4"), Ok(4));
        assert!(count("RC4").unwrap_err().contains("ECDHE-ECDSA-AES128-GCM-SHA256"));
    }
}

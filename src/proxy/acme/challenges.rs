//! What authorities ask to see whose a name is, while they do; shared by all workers.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::sign::CertifiedKey;

/// The protocol by which an authority says in a handshake what it comes for (RFC 8737, section 6.2).
pub(in crate::proxy) const PROTOCOL: &[u8] = b"acme-tls/1";
/// Where the path begins by which it asks without TLS (RFC 8555, section 8.3).
const FOLDER: &str = "/.well-known/acme-challenge/";

/// Those under way.
#[derive(Default)]
pub(in crate::proxy) struct Challenges(RwLock<UnderWay>);

#[derive(Default)]
struct UnderWay {
    /// By token, what proves that we know our account's key.
    tokens: HashMap<String, String>,
    /// By name, in lower case, the certificate that does.
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenges")
    }
}

impl Challenges {
    /// What is answered at this path; none: no challenge that is under way.
    pub(in crate::proxy) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(FOLDER)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).tokens.get(token).cloned()
    }

    /// What an authority that comes for this name is shown.
    pub(in crate::proxy) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.0.read().unwrap_or_else(PoisonError::into_inner).names.get(&name).cloned()
    }
}

#[cfg(feature = "acme")]
mod meeting {
    use super::{Arc, CertifiedKey, Challenges, PoisonError, UnderWay};

    /// Challenges that are met until this is dropped.
    #[derive(Debug)]
    pub(in crate::proxy::acme) struct Met<'a>(pub(super) &'a Challenges);

    impl Met<'_> {
        /// Meets one by HTTP-01.
        pub(in crate::proxy::acme) fn by_http(&self, token: &str, proof: &str) {
            self.change(|all| _ = all.tokens.insert(token.to_owned(), proof.to_owned()));
        }

        /// Meets one by TLS-ALPN-01.
        pub(in crate::proxy::acme) fn by_tls(&self, name: &str, shown: CertifiedKey) {
            self.change(|all| _ = all.names.insert(name.to_ascii_lowercase(), Arc::new(shown)));
        }

        fn change(&self, act: impl FnOnce(&mut UnderWay)) {
            act(&mut self.0.0.write().unwrap_or_else(PoisonError::into_inner));
        }
    }

    impl Drop for Met<'_> {
        fn drop(&mut self) {
            self.change(|all| *all = UnderWay::default());
        }
    }

    impl Challenges {
        /// For one order; there is one at a time.
        pub(in crate::proxy::acme) fn meet(&self) -> Met<'_> {
            Met(self)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_what_is_under_way_is_answered() {
            let challenges = Challenges::default();
            let met = challenges.meet();
            met.by_http("abc", "abc.xyz");
            let table = [
                ("/.well-known/acme-challenge/abc", Some("abc.xyz")),
                ("/.well-known/acme-challenge/", None),
                ("/.well-known/acme-challenge/abcd", None),
                ("/.well-known/acme-challenge/abc/", None),
                ("/.well-known/acme-challenge/../acme-challenge/abc", None),
                ("/abc", None),
            ];
            for (path, expected) in table {
                assert_eq!(challenges.answer(path).as_deref(), expected, "{path}");
            }
            drop(met);
            assert_eq!(challenges.answer(table[0].0), None);
        }
    }
}
#[cfg(feature = "acme")]
pub(super) use meeting::Met;

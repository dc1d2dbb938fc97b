use std::path::PathBuf;

use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};

/// Where the directory of Let's Encrypt is.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Certificates that jovis gets and renews by itself (ACME, RFC 8555).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// Names that people call the hub by: `["hub.example.org"]`. One certificate for all of them is got from an authority
    /// (Let's Encrypt) and renewed in time, while jovis runs. It is shown to who asks for one of them, and to who asks for
    /// none that another certificate bears, where there is no `hub.ssl_cert`. Empty: no certificate is got.
    pub names: Vec<String>,
    /// Have you read the authority's terms of service, and do you agree to them? Without that there is no account and no
    /// certificate. (Those of Let's Encrypt: <https://letsencrypt.org/repository/>.)
    pub terms_agreed: bool,
    /// Where the authority may write to you. Empty: nowhere.
    pub email: String,
    /// Where the authority's directory is. To try things out there is
    /// `https://acme-staging-v02.api.letsencrypt.org/directory`, whose certificates no browser believes.
    pub directory: String,
    /// Who vouches for the authority's own server, PEM: for an authority inside the house. Empty: whom this machine trusts.
    pub directory_ca: PathBuf,
    /// How the authority sees that the names are ours. `Http01`: it asks at port 80 of each name, which `redirect_port` must
    /// answer. `TlsAlpn01`: it asks at port 443, which `hub.port` must. `Auto`: the first where there is a `redirect_port`,
    /// the second otherwise.
    pub challenge: AcmeChallenge,
    /// Days before a certificate's end at which it is renewed. 0: a third of its life.
    pub renew_before_days: u32,
    /// Seconds until the next try, where one has failed; then ten times as long each time, at most a day.
    pub retry: Seconds,
}

/// How an authority sees whose a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcmeChallenge {
    /// By what `redirect_port` is set to.
    Auto,
    /// RFC 8555, section 8.3.
    Http01,
    /// RFC 8737.
    TlsAlpn01,
}

impl Acme {
    /// Is a certificate to be got?
    pub fn is_on(&self) -> bool {
        !self.names.is_empty()
    }

    /// The challenge that is met: never `Auto`. `redirects`: is there a port for visitors without TLS?
    pub fn chosen(&self, redirects: bool) -> AcmeChallenge {
        match self.challenge {
            AcmeChallenge::Auto if redirects => AcmeChallenge::Http01,
            AcmeChallenge::Auto => AcmeChallenge::TlsAlpn01,
            chosen => chosen,
        }
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            terms_agreed: false,
            email: String::new(),
            directory: LETS_ENCRYPT.to_owned(),
            directory_ca: PathBuf::new(),
            challenge: AcmeChallenge::Auto,
            renew_before_days: 0,
            retry: Seconds::new(60),
        }
    }
}

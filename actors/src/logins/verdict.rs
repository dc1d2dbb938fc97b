//! What an authenticator's word means for the visitor, and a line in the log.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tracing::{error, warn};

use super::messages::SignInRefused;
use crate::ports::{Identity, LoginError};

/// Who was asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Whoever knows the passwords.
    Password,
    /// A provider of this name.
    Provider(&'a str),
}

impl Asked<'_> {
    fn unable(self, why: &str) -> SignInRefused {
        SignInRefused::Unable(match self {
            Self::Password => format!("passwords cannot be checked{why}"),
            Self::Provider(service) => format!("{service} cannot be asked{why}"),
        })
    }

    /// The identity, or what the visitor hears.
    pub(super) fn verdict(
        self,
        word: Result<Result<Identity, LoginError>, Elapsed>,
        user: &str,
        from: &str,
        limit: Duration,
    ) -> Result<Identity, SignInRefused> {
        let seconds = match word {
            Ok(Ok(identity)) => return Ok(identity),
            Ok(Err(LoginError::Timeout(seconds))) => seconds,
            Err(_) => limit.as_secs(),
            Ok(Err(LoginError::Refused(why))) => {
                match self {
                    Self::Password => warn!(user, %from, error = %why, "password refused"),
                    Self::Provider(_) => warn!(way = user, %from, error = %why, "provider refused"),
                }
                return Err(SignInRefused::Refused);
            }
            Ok(Err(LoginError::Busy)) => {
                warn!(user, %from, "authenticator busy");
                return Err(SignInRefused::Unable("too many people are signing in".to_owned()));
            }
            Ok(Err(LoginError::Failed(why))) => {
                error!(user, %from, error = %why, "authenticator failed");
                return Err(self.unable(""));
            }
        };
        error!(user, %from, limit_s = seconds, "authenticator timed out");
        Err(self.unable(" in time"))
    }
}

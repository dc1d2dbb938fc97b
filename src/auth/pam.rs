//! Unix accounts by PAM. The check itself happens in a fresh helper process under root; here is only the question, with
//! a bound on how many are asked at once.

use std::sync::Arc;

use jovis_actors::domain::Secret;
use jovis_actors::ports::{
    Authenticator, Boxed, Credentials, Flow, Identity, LoginError, Password, Refresh,
};
use tokio::sync::Semaphore;

use crate::{
    config::sections,
    ipc::helper::Verdict,
    link::root::{Root, RootError},
};

/// Longest name that is passed on, in bytes: no account's is longer, and root's messages have a limit.
const LONGEST_NAME: usize = 255;

/// Asks root for a PAM check.
#[derive(Debug)]
pub struct Pam {
    root: Arc<Root>,
    settings: sections::Pam,
    places: Semaphore,
}

impl Pam {
    /// With these settings (the service's name is root's business).
    pub fn new(root: Arc<Root>, settings: sections::Pam) -> Self {
        let places = Semaphore::new(usize::from(settings.concurrency.max(1)));
        Self { root, settings, places }
    }
}

impl Authenticator for Pam {
    fn flow(&self) -> Flow<'_> {
        Flow::Password(self)
    }

    /// PAM has no question for "still who they were?".
    fn refresh<'a>(&'a self, _who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(async { Ok(Refresh::Same) })
    }
}

impl Password for Pam {
    fn otp(&self) -> Option<&str> {
        self.settings.request_otp.then_some(self.settings.otp_prompt.as_str())
    }

    fn check<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(async {
            let name = &credentials.username;
            // NUL would cut the name short on its way through C; an empty one would make PAM ask for it.
            if name.is_empty()
                || name.len() > LONGEST_NAME
                || name.contains('\0')
                || credentials.password.reveal().contains('\0')
                || credentials.otp.as_ref().is_some_and(|code| code.reveal().contains('\0'))
            {
                return Err(LoginError::Refused("not a name or password for PAM".to_owned()));
            }
            let limit = self.settings.timeout.duration();
            let place = tokio::time::timeout(limit, self.places.acquire()).await;
            let _place =
                place.map_err(|_| LoginError::Busy)?.expect("the semaphore is never closed");
            let rhost = credentials.from.map(|address| address.to_string());
            let none = Secret::new(String::new());
            let code = self.otp().map(|_| credentials.otp.as_ref().unwrap_or(&none));
            match self.root.pam(name, rhost, (&credentials.password, code), limit).await {
                Ok(verdict) => judge(verdict),
                Err(RootError::Timeout) => Err(LoginError::Timeout(limit.as_secs())),
                Err(error) => Err(LoginError::Failed(error.to_string())),
            }
        })
    }
}

fn judge(verdict: Verdict) -> Result<Identity, LoginError> {
    match verdict {
        Verdict::Accepted { user, groups } => {
            Ok(Identity { unix_groups: Some(groups), ..Identity::named(user) })
        }
        Verdict::Refused { step, code, text } => {
            Err(LoginError::Refused(format!("{step}: {text} (code {code})")))
        }
        Verdict::Failed { text } => Err(LoginError::Failed(text)),
        Verdict::Timeout { seconds } => Err(LoginError::Timeout(seconds)),
    }
}

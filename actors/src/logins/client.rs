//! The door for attempts to sign in.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::timeout;
use tracing::error;

use super::{
    Actor, Settings,
    messages::{Arrival, Attempt, KeepRefused, Renew, SignInRefused},
    renew::Standings,
    ways::{self, Offer, Ways},
};
use crate::{
    domain::{Moment, Secret, User, UserId},
    ports::{Credentials, Departure, Flow, Need, Return},
    store::Image,
    supervise::Name,
};

/// So long somebody waits to be asked after.
const RENEWAL: Duration = Duration::from_secs(5);
/// On top of what an attempt may take.
const MARGIN: Duration = Duration::from_secs(5);

/// What an account may take, that has its own limit.
const ACCOUNT: Duration = Duration::from_secs(160);

/// What the web holds.
#[derive(Clone)]
pub struct Client {
    pub(crate) name: Name<Actor>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) ways: Ways,
    standings: Standings,
}

impl Client {
    /// The actor of this name, how it goes by (that tells how long to wait for it), and the ways to sign in.
    pub fn new(
        name: Name<Actor>,
        settings: Arc<ArcSwap<Settings>>,
        ways: Ways,
        standings: Standings,
    ) -> Self {
        Self { name, settings, ways, standings }
    }

    /// What a sign-in page offers now.
    pub fn offers(&self) -> Vec<Offer> {
        ways::offers(&self.ways.load())
    }

    /// Where a browser goes to sign in by this way.
    ///
    /// # Errors
    ///
    /// There is no such way, it is none that sends people elsewhere, or its provider cannot be asked.
    pub async fn depart(&self, way: &str, mut leave: Departure) -> Result<String, SignInRefused> {
        let way = ways::find(&self.ways.load(), way).ok_or(SignInRefused::Refused)?;
        let Flow::Redirect(redirect) = way.authenticator.flow() else {
            return Err(SignInRefused::Refused);
        };
        if !redirect.callback().is_empty() {
            redirect.callback().clone_into(&mut leave.callback);
        }
        let unable = || SignInRefused::Unable("the provider cannot be asked".to_owned());
        match timeout(self.settings.load().limit, redirect.depart(&leave)).await {
            Ok(Ok(target)) => Ok(target),
            Ok(Err(error)) => {
                error!(way = way.name, error = %error, "authenticator failed");
                Err(unable())
            }
            Err(_) => Err(unable()),
        }
    }

    /// Signs in somebody who comes back from the provider of this way.
    pub async fn arrive(&self, way: String, back: Return) -> Result<Arc<User>, SignInRefused> {
        self.name.ask(Arrival { way, back }, self.patience()).await?
    }

    /// Has this user to be asked after now?
    pub fn is_due(&self, image: &Image, user: UserId, now: Moment) -> bool {
        let age = self.settings.load().refresh_age;
        image.external(user).is_some_and(|external| self.standings.is_due(external, age, now))
    }

    /// Has this user to be asked after before a server of theirs starts?
    pub fn is_due_before_start(&self, image: &Image, user: UserId, now: Moment) -> bool {
        let forced = self.settings.load().refresh_pre_spawn;
        let at_once = |user| image.external(user).is_some_and(|it| self.standings.is_open(it, now));
        if forced { at_once(user) } else { self.is_due(image, user, now) }
    }

    /// Asks after this user. False: they have to sign in again. Where there is no answer soon they go on, and what comes of
    /// it counts from then on.
    pub async fn renew(&self, user: Arc<User>) -> bool {
        self.name.ask(Renew(user), RENEWAL).await.unwrap_or(true)
    }

    /// Where this user goes after signing out; none: to our own page.
    pub fn farewell(&self, image: &Image, user: UserId) -> Option<String> {
        let way = ways::find(&self.ways.load(), &image.external(user)?.way)?;
        let Flow::Redirect(redirect) = way.authenticator.flow() else { return None };
        Some(redirect.farewell().to_owned()).filter(|target| !target.is_empty())
    }

    /// What is kept about a user (`auth_state`), a JSON object; none where nothing is, or no key opens it.
    pub fn auth_state(&self, image: &Image, user: UserId) -> Option<serde_json::Value> {
        let settings = self.settings.load();
        let sealed = image.external(user)?.kept.as_deref()?;
        let open = settings.vault.as_ref()?.open(sealed)?;
        serde_json::from_str(open.reveal()).ok()
    }

    /// Seals what is to be kept about a user, as [`Self::auth_state`] opens it.
    ///
    /// # Errors
    ///
    /// Nothing is kept here, or it cannot be sealed.
    pub fn seal(&self, state: &serde_json::Value) -> Result<String, KeepRefused> {
        let settings = self.settings.load();
        let vault = settings.vault.as_ref().ok_or(KeepRefused::Off)?;
        vault.seal(&Secret::new(state.to_string())).ok_or(KeepRefused::Unsealed)
    }

    /// A place, then the check itself, then the account.
    fn patience(&self) -> Duration {
        let settings = self.settings.load();
        let account = if settings.accounts == Need::Nobody { Duration::ZERO } else { ACCOUNT };
        settings.limit * 2 + MARGIN + account
    }

    /// Signs a person in by name and password: the user as recorded. Takes as long as the authenticator does, within
    /// its limit.
    pub async fn password(&self, credentials: Credentials) -> Result<Arc<User>, SignInRefused> {
        self.name.ask(Attempt(credentials), self.patience()).await?
    }
}

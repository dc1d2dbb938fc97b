//! Attempts to sign in, from the form to the record.
//!
//! ```text
//!   Attempt ─▶ throttle ─▶ authenticator ─▶ normalise ─▶ blocked? ─▶ allowed? ─▶ account ─▶ accounts::sign_in ─▶ User
//!                (pure)     (its own task)                  (pure)              (machine)       (store)
//! ```
//!
//! Checks run beside each other, a bounded number at once: a slow one holds up nobody but those who wait for a place.
//! The visitor hears one sentence for every refusal; the log has an event for each.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext as _, Context, ResponseActFuture, WrapFuture, fut};
use arc_swap::ArcSwap;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tracing::{error, warn};

use super::{
    allow::Rules,
    enter,
    messages::{Arrival, Attempt, Renew, SignInRefused},
    renew::{self, Standings},
    throttle::Throttle,
    verdict,
    ways::{self, Way, Ways},
};
use crate::{
    domain::{User, UserId, Username},
    ports::{Accounts, Clock, Credentials, Entropy, Flow, Identity, Need, Vault},
    store::{self, Image},
    supervise::{On, Quarantine, Unavailable, caught, faults, handles},
};

/// Most who may wait for their accounts to be made.
const MOST_MADE: usize = 1_000;

/// How attempts are treated; can be reloaded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may enter.
    pub rules: Rules,
    /// A check may take so long, and an attempt waits so long for a place. A little more than the authenticator's own
    /// limit, which should speak first.
    pub limit: Duration,
    /// Most checks at once; four times as many may wait.
    pub concurrency: usize,
    /// Where what authenticators keep about people is sealed; none: nothing is kept.
    pub vault: Option<Arc<dyn Vault>>,
    /// People are asked after so long after the last time; zero: never.
    pub refresh_age: Duration,
    /// Before each start of a server they are asked after, however long ago the last time was.
    pub refresh_pre_spawn: bool,
    /// Who cannot be asked after stays signed in for so long after the last time that it could be.
    pub refresh_grace: Duration,
    /// Who needs an account of the machine.
    pub accounts: Need,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            limit: Duration::from_secs(35),
            concurrency: 16,
            vault: None,
            refresh_age: Duration::from_secs(300),
            refresh_pre_spawn: false,
            refresh_grace: Duration::from_secs(24 * 3600),
            accounts: Need::Nobody,
        }
    }
}

/// What the actor needs.
#[derive(Clone)]
pub struct Kit {
    /// All records.
    pub store: store::Client,
    /// Who is it?
    pub ways: Ways,
    /// Accounts of the machine.
    pub accounts: Arc<dyn Accounts>,
    /// What time is it?
    pub clock: Arc<dyn Clock>,
    /// For new cookie ids.
    pub entropy: Arc<dyn Entropy>,
    /// What can be reloaded.
    pub settings: Arc<ArcSwap<Settings>>,
    /// How it stands with those who were vouched for.
    pub standings: Standings,
}

/// The actor.
pub struct Actor {
    kit: Kit,
    throttle: Throttle,
    places: Arc<Semaphore>,
    concurrency: usize,
    /// Names over which attempts panicked.
    bad: Quarantine<String>,
    waiting: usize,
    /// Who is being asked after, and who waits for what comes of it.
    renewing: HashMap<UserId, Vec<oneshot::Sender<bool>>>,
}

impl Actor {
    /// With nobody at the door. `bad` outlives it.
    pub fn new(kit: Kit, bad: Quarantine<String>) -> Self {
        let concurrency = kit.settings.load().concurrency.max(1);
        Self {
            kit,
            throttle: Throttle::default(),
            places: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            bad,
            waiting: 0,
            renewing: HashMap::new(),
        }
    }

    /// As many places as the settings have now. Who has one or waits for one keeps it: for as long as those take there
    /// may be more checks than that.
    fn arrange(&mut self) {
        let concurrency = self.kit.settings.load().concurrency.max(1);
        if concurrency != self.concurrency {
            self.concurrency = concurrency;
            self.places = Arc::new(Semaphore::new(concurrency));
        }
    }
}

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        faults::point("logins", "started");
    }
}

handles!(Actor as "logins": Attempt, Arrival, Renew);

impl On<Attempt> for Actor {
    type Result = ResponseActFuture<Self, Result<Arc<User>, SignInRefused>>;

    fn on(&mut self, Attempt(credentials): Attempt, _: &mut Self::Context) -> Self::Result {
        let name = credentials.username.trim().to_lowercase();
        let from = credentials.from;
        if let Err(refused) = self.room(from) {
            return Box::pin(fut::ready(Err(refused)));
        }
        let admitted = match self.throttle.begin(&name, from, self.kit.clock.instant()) {
            Ok(admitted) => admitted,
            Err(retry_after) => {
                let user = typed(&self.kit.store.image(), &name);
                warn!(user, from = %address(from), "attempt throttled");
                return Box::pin(fut::ready(Err(SignInRefused::Throttled { retry_after })));
            }
        };
        self.waiting += 1;
        let attempt = attempt(self.kit.clone(), self.places.clone(), credentials);
        let user = typed(&self.kit.store.image(), &name);
        let attempt = contained(self.bad.clone(), user, attempt);
        Box::pin(attempt.into_actor(self).map(move |outcome, act, _| {
            act.waiting -= 1;
            match &outcome {
                Ok(_) => act.throttle.succeeded(admitted, act.kit.clock.instant()),
                // The password may well have been guessed: it counts.
                Err(
                    SignInRefused::Refused
                    | SignInRefused::Throttled { .. }
                    | SignInRefused::NotAllowed { .. },
                ) => {}
                Err(
                    SignInRefused::Aside(_)
                    | SignInRefused::Unable(_)
                    | SignInRefused::Account(_)
                    | SignInRefused::NotRecorded(_)
                    | SignInRefused::Unavailable(_),
                ) => act.throttle.undecided(admitted),
            }
            outcome
        }))
    }
}

impl On<Arrival> for Actor {
    type Result = ResponseActFuture<Self, Result<Arc<User>, SignInRefused>>;

    fn on(&mut self, Arrival { way, mut back }: Arrival, _: &mut Self::Context) -> Self::Result {
        if let Err(refused) = self.room(back.from) {
            return Box::pin(fut::ready(Err(refused)));
        }
        self.waiting += 1;
        let what = format!("arrival by {}", shown(&way));
        let (kit, places) = (self.kit.clone(), self.places.clone());
        let arrival = contained(self.bad.clone(), what, async move {
            let limit = kit.settings.load().limit;
            let place = place(&places, limit, back.from).await?;
            let way = ways::find(&kit.ways.load(), &way).ok_or(SignInRefused::Refused)?;
            let Flow::Redirect(redirect) = way.authenticator.flow() else {
                return Err(SignInRefused::Refused);
            };
            if !redirect.callback().is_empty() {
                redirect.callback().clone_into(&mut back.callback);
            }
            let word = timeout(limit, redirect.arrive(&back)).await;
            let asked = verdict::Asked::Provider(redirect.service());
            let identity = asked.verdict(word, &way.name, &address(back.from), limit)?;
            drop(place);
            enter::enter(&kit, identity, &way, back.from).await
        });
        Box::pin(arrival.into_actor(self).map(|outcome, act, _| {
            act.waiting -= 1;
            outcome
        }))
    }
}

impl On<Renew> for Actor {
    type Result = ResponseActFuture<Self, bool>;

    fn on(&mut self, Renew(user): Renew, context: &mut Self::Context) -> Self::Result {
        if self.kit.standings.is_over(user.id) {
            return Box::pin(fut::ready(false));
        }
        let (tell, told) = oneshot::channel();
        let waiting = self.renewing.entry(user.id).or_default();
        waiting.push(tell);
        if waiting.len() == 1 {
            let (id, name) = (user.id, user.name.to_string());
            let renewal = renew::renew(self.kit.clone(), user);
            let renewal = contained(self.bad.clone(), name, async { Ok(renewal.await) });
            context.spawn(renewal.into_actor(self).map(move |goes_on, act, _| {
                // What fails for a reason of ours keeps nobody out.
                let goes_on = goes_on.unwrap_or(true);
                for waits in act.renewing.remove(&id).unwrap_or_default() {
                    let _ = waits.send(goes_on);
                }
            }));
        }
        Box::pin(async move { told.await.unwrap_or(true) }.into_actor(self))
    }
}

impl Actor {
    /// May one more wait?
    fn room(&mut self, from: Option<std::net::IpAddr>) -> Result<(), SignInRefused> {
        self.arrange();
        // Who waits for an account to be made, one after the other, keeps no place from anybody.
        let made = if self.kit.settings.load().accounts == Need::Made { MOST_MADE } else { 0 };
        if self.waiting >= self.concurrency.saturating_mul(5).saturating_add(made) {
            warn!(from = %address(from), waiting = self.waiting, "too many attempts");
            return Err(SignInRefused::Unable("too many people are signing in".to_owned()));
        }
        Ok(())
    }
}

/// A place for one check.
async fn place(
    places: &Semaphore,
    limit: Duration,
    from: Option<std::net::IpAddr>,
) -> Result<tokio::sync::SemaphorePermit<'_>, SignInRefused> {
    if let Ok(Ok(place)) = timeout(limit, places.acquire()).await {
        return Ok(place);
    }
    warn!(from = %address(from), "no place for attempt");
    Err(SignInRefused::Unable("too many people are signing in".to_owned()))
}

/// A panic over one attempt costs that attempt and no other; after three over one name it is put aside for a while.
/// (What an attempt holds while it waits is its own, so nothing of this actor is left half done.)
async fn contained<T>(
    bad: Quarantine<String>,
    user: String,
    attempt: impl Future<Output = Result<T, SignInRefused>>,
) -> Result<T, SignInRefused> {
    let attempt = AssertUnwindSafe(bad.work(user.clone(), attempt));
    match caught(attempt).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(aside)) => {
            warn!(user, error = %aside, "attempt put aside");
            Err(SignInRefused::Aside(aside))
        }
        Err(text) => {
            error!(user, error = text, "attempt panicked");
            Err(SignInRefused::Unavailable(Unavailable::Died("logins")))
        }
    }
}

/// One attempt, once it may be made.
async fn attempt(
    kit: Kit,
    places: Arc<Semaphore>,
    credentials: Credentials,
) -> Result<Arc<User>, SignInRefused> {
    let limit = kit.settings.load().limit;
    let place = place(&places, limit, credentials.from).await?;
    faults::point("logins:attempt", &credentials.username);
    let way = ways::find(&kit.ways.load(), &credentials.way).ok_or(SignInRefused::Refused)?;
    let identity = check(&kit, &way, &credentials, limit).await?;
    drop(place);
    enter::enter(&kit, identity, &way, credentials.from).await
}

/// Who is it?
async fn check(
    kit: &Kit,
    way: &Way,
    credentials: &Credentials,
    limit: Duration,
) -> Result<Identity, SignInRefused> {
    let user = typed(&kit.store.image(), &credentials.username);
    let from = address(credentials.from);
    if credentials.username.trim().is_empty() || credentials.username.contains('\0') {
        warn!(user, %from, "name invalid");
        return Err(SignInRefused::Refused);
    }
    let Flow::Password(password) = way.authenticator.flow() else {
        warn!(user, %from, error = "this way takes no password", "password refused");
        return Err(SignInRefused::Refused);
    };
    let word = timeout(limit, password.check(credentials)).await;
    verdict::Asked::Password.verdict(word, &user, &from, limit)
}

/// A name somebody typed, for the log. Of a name that is no user's little is said: it happens that people type their
/// password where the name belongs.
fn typed(image: &Image, name: &str) -> String {
    let known =
        Username::normalise(name).is_ok_and(|name| image.user_named(name.as_str()).is_some());
    if known {
        return shown(name.trim());
    }
    let count = name.trim().chars().count();
    let begin: String = name.trim().chars().take(if count > 4 { 2 } else { 0 }).collect();
    format!("{}… ({count} characters)", begin.escape_debug())
}

/// A name for the log: cut and escaped.
pub(super) fn shown(name: &str) -> String {
    let count = name.chars().count();
    let cut: String = name.chars().take(if count > 32 { 16 } else { 32 }).collect();
    let escaped = cut.escape_debug();
    if count > 32 { format!("{escaped}… ({count} characters)") } else { escaped.to_string() }
}

pub(super) fn address(from: Option<std::net::IpAddr>) -> String {
    from.map_or_else(|| "unknown".to_owned(), |from| from.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_log_are_short_and_harmless() {
        assert_eq!(typed(&Image::default(), " hunter2-hunter2 "), "hu… (15 characters)");
        assert_eq!(typed(&Image::default(), "bob"), "… (3 characters)");
        assert_eq!(shown("bob"), "bob");
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(32)).len(), 32);
        assert_eq!(shown(&"ü".repeat(33)), format!("{}… (33 characters)", "ü".repeat(16)));
    }
}

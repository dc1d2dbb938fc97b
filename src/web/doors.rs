//! What the web asks of the hub's actors: one trait, so that handlers can be tried without them.

use std::{sync::Arc, time::Duration};

use jovis_actors::{
    accounts::{self, NewCode, Redeemed, Redemption},
    activity,
    domain::{Moment, OrderId, Route, ServerKey, TokenId, User, UserId, Username},
    logins::{self, KeepRefused, Offer, SignInRefused},
    ports::{AccountError, Accounts, Boxed, Clock, Credentials, Departure, Meter, Return},
    routes::{self, RouteError},
    spawners::{self, Ask, Begun, Place, Report, StartRefused, StopAsk, StopRefused, Trouble},
    store::{self, Image, Write},
    usage::Usage,
};
use tokio::sync::watch;

use super::error::Error;

/// A pure decision on the newest records. Its answer goes its own way: see [`Call::change`].
///
/// [`Call::change`]: super::call::Call::change
pub(crate) type Decision = Box<dyn FnOnce(&Image) -> Result<Vec<Write>, Error> + Send>;

/// How the whole of jovis is ended.
pub trait Halt: Send + Sync {
    /// With user servers, without, or (none) as the configuration says. Answered when it has begun, or why it has not.
    fn halt(&self, servers: Option<bool>) -> Boxed<'_, Result<(), String>>;
}

/// Everything the web asks for. Each answer is durable when it comes.
pub(crate) trait Doors: Send + Sync {
    /// All records, now.
    fn image(&self) -> Arc<Image>;
    /// Changes whenever [`Self::image`] does.
    fn published(&self) -> watch::Receiver<u64>;
    /// Makes what is decided durable, all of it or nothing.
    fn change(&self, decide: Decision) -> Boxed<'_, Result<(), Error>>;
    /// See [`logins::Client::password`].
    fn sign_in(&self, who: Credentials) -> Boxed<'_, Result<Arc<User>, SignInRefused>>;
    /// See [`logins::Client::offers`].
    fn offers(&self) -> Vec<Offer>;
    /// See [`logins::Client::depart`].
    fn depart(&self, way: String, leave: Departure) -> Boxed<'_, Result<String, SignInRefused>>;
    /// See [`logins::Client::arrive`].
    fn arrive(&self, way: String, back: Return) -> Boxed<'_, Result<Arc<User>, SignInRefused>>;
    /// See [`logins::Client::is_due`].
    fn is_due(&self, image: &Image, user: UserId, now: Moment) -> bool;
    /// See [`logins::Client::is_due_before_start`].
    fn is_due_before_start(&self, image: &Image, user: UserId, now: Moment) -> bool;
    /// See [`logins::Client::renew`].
    fn renew(&self, user: Arc<User>) -> Boxed<'_, bool>;
    /// See [`logins::Client::farewell`].
    fn farewell(&self, image: &Image, user: UserId) -> Option<String>;
    /// See [`logins::Client::auth_state`].
    fn auth_state(&self, image: &Image, user: UserId) -> Option<serde_json::Value>;
    /// See [`logins::Client::seal`].
    fn seal(&self, state: &serde_json::Value) -> Result<String, KeepRefused>;
    /// Ends the tokens given in this browser session.
    fn sign_out(&self, user: UserId, session: String) -> Boxed<'_, Result<(), Error>>;
    /// Gives out an authorization code.
    fn give_code(&self, new: NewCode) -> Boxed<'_, Result<(), Error>>;
    /// Exchanges it.
    fn redeem(&self, what: Redemption) -> Boxed<'_, Result<Redeemed, Error>>;
    /// See [`spawners::Client::start`].
    fn start(&self, key: ServerKey, ask: Ask) -> Boxed<'_, Result<Begun, StartRefused>>;
    /// See [`spawners::Client::stop`].
    fn stop(&self, key: ServerKey, ask: StopAsk) -> Boxed<'_, Result<(), StopRefused>>;
    /// See [`spawners::Client::settled`].
    fn settled<'a>(&'a self, key: &'a ServerKey, patience: Duration) -> Boxed<'a, bool>;
    /// See [`spawners::Client::report`].
    fn report(&self, key: &ServerKey) -> Option<watch::Receiver<Arc<Report>>>;
    /// See [`spawners::Client::trouble`].
    fn trouble(&self, key: &ServerKey) -> Option<Trouble>;
    /// What this server took when it was last measured; none while it does not run, or where nobody measures.
    fn usage(&self, key: &ServerKey) -> Option<Usage>;
    /// See [`spawners::Client::place`].
    fn place(&self, key: &ServerKey) -> Option<Place>;
    /// See [`spawners::Client::log_tail`].
    fn log_tail<'a>(&'a self, order: &'a OrderId, bytes: usize) -> Boxed<'a, String>;
    /// See [`routes::Client::list`].
    fn routes(&self) -> Boxed<'_, Result<Vec<Route>, RouteError>>;
    /// See [`routes::Client::check`].
    fn check_routes(&self) -> Boxed<'_, Result<(), RouteError>>;
    /// See [`Accounts::ensure`].
    fn account<'a>(&'a self, name: &'a Username) -> Boxed<'a, Result<(), AccountError>>;
    /// See [`Halt::halt`].
    fn halt(&self, servers: Option<bool>) -> Boxed<'_, Result<(), Error>>;
    /// Uses that are noted and not recorded yet.
    fn notes(&self) -> &activity::Notes;
    /// A user did something.
    fn user_used(&self, user: UserId, at: Moment);
    /// A server was used.
    fn server_used(&self, server: &ServerKey, at: Moment);
    /// A token was used.
    fn token_used(&self, token: TokenId, at: Moment);
}

/// The real ones.
pub(crate) struct Actors {
    pub(crate) store: store::Client,
    pub(crate) spawners: spawners::Client,
    pub(crate) logins: logins::Client,
    pub(crate) activity: activity::Client,
    pub(crate) routes: routes::Client,
    pub(crate) halt: Arc<dyn Halt>,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Doors for Actors {
    fn image(&self) -> Arc<Image> {
        self.store.image()
    }

    fn published(&self) -> watch::Receiver<u64> {
        self.store.published()
    }

    fn change(&self, decide: Decision) -> Boxed<'_, Result<(), Error>> {
        Box::pin(async move {
            Ok(self.store.change(move |image| Ok::<_, Error>((decide(image)?, ()))).await?)
        })
    }

    fn sign_in(&self, who: Credentials) -> Boxed<'_, Result<Arc<User>, SignInRefused>> {
        Box::pin(self.logins.password(who))
    }

    fn offers(&self) -> Vec<Offer> {
        self.logins.offers()
    }

    fn is_due(&self, image: &Image, user: UserId, now: Moment) -> bool {
        self.logins.is_due(image, user, now)
    }

    fn is_due_before_start(&self, image: &Image, user: UserId, now: Moment) -> bool {
        self.logins.is_due_before_start(image, user, now)
    }

    fn renew(&self, user: Arc<User>) -> Boxed<'_, bool> {
        Box::pin(self.logins.renew(user))
    }

    fn farewell(&self, image: &Image, user: UserId) -> Option<String> {
        self.logins.farewell(image, user)
    }

    fn auth_state(&self, image: &Image, user: UserId) -> Option<serde_json::Value> {
        self.logins.auth_state(image, user)
    }

    fn seal(&self, state: &serde_json::Value) -> Result<String, KeepRefused> {
        self.logins.seal(state)
    }

    fn depart(&self, way: String, leave: Departure) -> Boxed<'_, Result<String, SignInRefused>> {
        Box::pin(async move { self.logins.depart(&way, leave).await })
    }

    fn arrive(&self, way: String, back: Return) -> Boxed<'_, Result<Arc<User>, SignInRefused>> {
        Box::pin(self.logins.arrive(way, back))
    }

    fn sign_out(&self, user: UserId, session: String) -> Boxed<'_, Result<(), Error>> {
        let now = self.clock.moment();
        Box::pin(async move {
            let end = move |image: &Image| accounts::sign_out(image, user, &session, now);
            Ok(self.store.change(end).await?)
        })
    }

    fn give_code(&self, new: NewCode) -> Boxed<'_, Result<(), Error>> {
        let now = self.clock.moment();
        Box::pin(async move {
            Ok(self.store.change(move |image| accounts::give_code(image, new, now)).await?)
        })
    }

    fn redeem(&self, what: Redemption) -> Boxed<'_, Result<Redeemed, Error>> {
        let now = self.clock.moment();
        Box::pin(async move {
            Ok(self.store.change(move |image| accounts::redeem_code(image, what, now)).await?)
        })
    }

    fn start(&self, key: ServerKey, ask: Ask) -> Boxed<'_, Result<Begun, StartRefused>> {
        Box::pin(self.spawners.start(key, ask))
    }

    fn stop(&self, key: ServerKey, ask: StopAsk) -> Boxed<'_, Result<(), StopRefused>> {
        Box::pin(self.spawners.stop(key, ask))
    }

    fn settled<'a>(&'a self, key: &'a ServerKey, patience: Duration) -> Boxed<'a, bool> {
        Box::pin(self.spawners.settled(key, patience))
    }

    fn report(&self, key: &ServerKey) -> Option<watch::Receiver<Arc<Report>>> {
        self.spawners.report(key)
    }

    fn trouble(&self, key: &ServerKey) -> Option<Trouble> {
        self.spawners.trouble(key)
    }

    fn usage(&self, key: &ServerKey) -> Option<Usage> {
        let image = self.store.image();
        self.meter.usage(image.server(key)?.state.order()?)
    }

    fn place(&self, key: &ServerKey) -> Option<Place> {
        self.spawners.place(key)
    }

    fn log_tail<'a>(&'a self, order: &'a OrderId, bytes: usize) -> Boxed<'a, String> {
        Box::pin(self.spawners.log_tail(order, bytes))
    }

    fn routes(&self) -> Boxed<'_, Result<Vec<Route>, RouteError>> {
        Box::pin(self.routes.list())
    }

    fn check_routes(&self) -> Boxed<'_, Result<(), RouteError>> {
        Box::pin(self.routes.check())
    }

    fn account<'a>(&'a self, name: &'a Username) -> Boxed<'a, Result<(), AccountError>> {
        self.accounts.ensure(name)
    }

    fn halt(&self, servers: Option<bool>) -> Boxed<'_, Result<(), Error>> {
        Box::pin(async move { self.halt.halt(servers).await.map_err(Error::unable) })
    }

    fn notes(&self) -> &activity::Notes {
        self.activity.notes()
    }

    fn user_used(&self, user: UserId, at: Moment) {
        self.activity.user(user, at);
    }

    fn server_used(&self, server: &ServerKey, at: Moment) {
        self.activity.server(server, at);
    }

    fn token_used(&self, token: TokenId, at: Moment) {
        self.activity.token(token, at);
    }
}

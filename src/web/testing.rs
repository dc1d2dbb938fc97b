//! Doubles for trying handlers: the hub's doors from memory, and a browser that keeps cookies.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use axum::body::Body;
use http::{Request, Response};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jovis_actors::{
    accounts::{NewCode, RedeemRefused, Redeemed, Redemption},
    activity,
    domain::{
        Cause, ClientId, Moment, OAuthClient, OAuthCode, OrderId, Owner, Route, Scope, Secret,
        Server, ServerKey, ServerName, ServerState, Token, TokenHash, TokenId, User, UserId,
        Username, oauth::ClientOf, server::Handle,
    },
    logins::{self, KeepRefused, Offer, SignInRefused, Way},
    ports::{AccountError, Accounts, Boxed, Credentials, Departure, Flow, Return},
    routes::RouteError,
    spawners::{
        self, Ask, Begun, Event, Place, Report, StartRefused, StopAsk, StopRefused, Trouble,
    },
    store::{Image, Write},
    testing::{ScriptedAccounts, ScriptedAuthenticator},
    usage::Usage,
};
use tokio::sync::watch;

use super::{
    App,
    call::Via,
    doors::{Decision, Doors},
    error::Error,
    router,
};
use crate::config::{Config, sections, slice::HubSlice};

mod browser;
mod steady;

pub(crate) use browser::{Browser, Reply, request};
use steady::Counting;
pub(crate) use steady::Still;

/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse";
/// The server's own token, once it has been started.
pub(crate) const SERVER_TOKEN: &str = "5e12ve12000000000000000000000000";

/// What is sealed begins with it.
pub(crate) const SEALED: &str = "sealed: ";

/// What the next start does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Runs at once.
    Runs,
    /// Goes on starting until [`Hub::finish`].
    Hangs,
    /// Runs at once, but goes on stopping until [`Hub::finish_stop`].
    Clings,
    /// Fails at once.
    Fails,
}

/// All doubles in one.
pub(crate) struct Doubles {
    pub(crate) image: ArcSwap<Image>,
    pub(crate) fate: Mutex<Fate>,
    pub(crate) refuse: Mutex<Option<SignInRefused>>,
    pub(crate) refuse_start: Mutex<Option<StartRefused>>,
    pub(crate) used: Mutex<Vec<String>>,
    pub(crate) seen: Mutex<Vec<Credentials>>,
    published: watch::Sender<u64>,
    /// A form, and what a test adds.
    pub(crate) ways: Mutex<Vec<Way>>,
    notes: activity::Notes,
    reports: Mutex<BTreeMap<ServerKey, watch::Sender<Arc<Report>>>>,
    /// What servers take.
    pub(crate) usages: Mutex<BTreeMap<ServerKey, Usage>>,
    /// Who waits for room, and where.
    pub(crate) places: Mutex<BTreeMap<ServerKey, Place>>,
    /// What every server has written.
    pub(crate) tail: Mutex<String>,
    pub(crate) routes: Mutex<Vec<Route>>,
    /// What was asked of the machinery, in its order.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Whether people's provider still vouches for them; none: nobody asks before a start.
    pub(crate) vouched: Mutex<Option<bool>>,
    /// Is anything kept about people?
    pub(crate) keeps: AtomicBool,
    /// Accounts of the machine.
    pub(crate) accounts: ScriptedAccounts,
}

impl Doubles {
    pub(crate) fn write(&self, write: Write) {
        let mut image = Image::clone(&self.image.load());
        image.apply(&write);
        self.image.store(Arc::new(image));
        self.published.send_modify(|count| *count += 1);
    }

    fn next_id(&self) -> u64 {
        self.image.load().next_id()
    }

    pub(crate) fn add(&self, name: &str, admin: bool) -> Arc<User> {
        let id = UserId(self.next_id());
        let user = Arc::new(User {
            id,
            name: Username::new(name).unwrap(),
            admin,
            created: Moment(0),
            last_activity: None,
            cookie_id: format!("{:032x}", 0xc0ffee + id.0),
            user_info: None,
        });
        self.write(Write::User(user.clone()));
        user
    }

    fn set(&self, key: &ServerKey, state: ServerState) {
        let image = self.image.load_full();
        let old = image.server(key).map(|it| Server::clone(it));
        let mut server = old.unwrap_or_else(|| Server::new(key.clone()));
        server.state = state;
        server.started = Some(Moment(0));
        self.write(Write::Server(Arc::new(server)));
    }

    fn choose(&self, key: &ServerKey, ask: Ask) {
        let image = self.image.load_full();
        let old = image.server(key).map(|it| Server::clone(it));
        let mut server = old.unwrap_or_else(|| Server::new(key.clone()));
        server.display_name = ask.display_name.unwrap_or(server.display_name);
        server.user_options = ask.options.or(server.user_options);
        self.write(Write::Server(Arc::new(server)));
    }

    fn run(&self, key: &ServerKey) {
        let image = self.image.load_full();
        let user = image.user(key.user).unwrap();
        let id = ClientId::of_server(&user.name, &key.name);
        let hash = digest(SERVER_TOKEN);
        let client = OAuthClient {
            id,
            secret: hash,
            redirect_uri: format!("/user/{}/oauth_callback", user.name),
            description: format!("Server at /user/{}/", user.name),
            allowed_scopes: Vec::new(),
            of: ClientOf::Server(user.id, key.name.clone()),
        };
        self.write(Write::Client(Arc::new(client)));
        let token = Token {
            id: TokenId(self.next_id()),
            owner: Owner::User(user.id),
            hash,
            scopes: [Scope::new("users:activity!user")].into(),
            created: Moment(0),
            expires_at: None,
            last_activity: None,
            note: format!("Server at /user/{}/", user.name).into(),
            client: None,
            session: None,
        };
        self.write(Write::Token(Arc::new(token)));
        self.set(
            key,
            ServerState::Running {
                order: OrderId::from_bytes([1; 16]),
                handle: Handle("1".into()),
                url: "http://127.0.0.1:1".into(),
            },
        );
        self.end(key, Ok(()));
    }

    fn end(&self, key: &ServerKey, outcome: Result<(), Trouble>) {
        let reports = self.reports.lock().unwrap();
        if let Some(report) = reports.get(key) {
            report.send_modify(|report| Arc::make_mut(report).outcome = Some(outcome));
        }
    }

    /// Ends a start that goes on; one that is over stays as it was.
    fn cut_off(&self, key: &ServerKey, trouble: Trouble) {
        let open = |report: &watch::Sender<Arc<Report>>| report.borrow().outcome.is_none();
        let cut = self.reports.lock().unwrap().get(key).is_some_and(open);
        if cut {
            self.end(key, Err(trouble));
        }
    }

    fn fail(&self, key: &ServerKey) {
        let cause = Cause::Exited(3);
        self.set(key, ServerState::Stopped(Some(cause.clone())));
        let tail = "first line\n<b>last</b> line\n".into();
        self.end(key, Err(Trouble { cause, at: Moment(0), tail }));
    }
}

fn digest(secret: &str) -> TokenHash {
    let hash = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    TokenHash(hash.as_ref().try_into().unwrap())
}

/// The doors lead to the shared doubles.
struct Fake(Arc<Doubles>);

impl Doors for Fake {
    fn is_due(&self, _: &Image, _: UserId, _: Moment) -> bool {
        false
    }

    fn is_due_before_start(&self, _: &Image, _: UserId, _: Moment) -> bool {
        self.0.vouched.lock().unwrap().is_some()
    }

    fn renew(&self, user: Arc<User>) -> Boxed<'_, bool> {
        self.0.asked.lock().unwrap().push(format!("renew {}", user.name));
        Box::pin(std::future::ready(self.0.vouched.lock().unwrap().unwrap_or(true)))
    }

    fn farewell(&self, image: &Image, user: UserId) -> Option<String> {
        let way = logins::ways::find(&self.0.ways.lock().unwrap(), &image.external(user)?.way)?;
        let Flow::Redirect(redirect) = way.authenticator.flow() else { return None };
        Some(redirect.farewell().to_owned())
    }

    fn auth_state(&self, image: &Image, user: UserId) -> Option<serde_json::Value> {
        serde_json::from_str(image.external(user)?.kept.as_deref()?.strip_prefix(SEALED)?).ok()
    }

    fn seal(&self, state: &serde_json::Value) -> Result<String, KeepRefused> {
        let keeps = self.0.keeps.load(Ordering::SeqCst);
        keeps.then(|| format!("{SEALED}{state}")).ok_or(KeepRefused::Off)
    }

    fn image(&self) -> Arc<Image> {
        self.0.image.load_full()
    }

    fn published(&self) -> watch::Receiver<u64> {
        self.0.published.subscribe()
    }

    fn change(&self, decide: Decision) -> Boxed<'_, Result<(), Error>> {
        let decided = decide(&self.image());
        let done = decided.map(|writes| writes.into_iter().for_each(|write| self.0.write(write)));
        Box::pin(async move { done })
    }

    fn sign_in(&self, who: Credentials) -> Boxed<'_, Result<Arc<User>, SignInRefused>> {
        let refused = self.0.refuse.lock().unwrap().clone();
        self.0.seen.lock().unwrap().push(who.clone());
        let outcome = match refused {
            Some(refused) => Err(refused),
            None if who.password.reveal() == PASSWORD => {
                let known = self.image().user_named(&who.username).cloned();
                Ok(known.unwrap_or_else(|| self.0.add(&who.username, false)))
            }
            None => Err(SignInRefused::Refused),
        };
        Box::pin(async move { outcome })
    }

    fn offers(&self) -> Vec<Offer> {
        logins::ways::offers(&self.0.ways.lock().unwrap())
    }

    fn depart(&self, way: String, leave: Departure) -> Boxed<'_, Result<String, SignInRefused>> {
        let way = logins::ways::find(&self.0.ways.lock().unwrap(), &way);
        Box::pin(async move {
            let way = way.ok_or(SignInRefused::Refused)?;
            let Flow::Redirect(redirect) = way.authenticator.flow() else {
                return Err(SignInRefused::Refused);
            };
            let target = redirect.depart(&leave).await;
            target.map_err(|error| SignInRefused::Unable(error.to_string()))
        })
    }

    fn arrive(&self, way: String, back: Return) -> Boxed<'_, Result<Arc<User>, SignInRefused>> {
        let way = logins::ways::find(&self.0.ways.lock().unwrap(), &way);
        Box::pin(async move {
            let way = way.ok_or(SignInRefused::Refused)?;
            let Flow::Redirect(redirect) = way.authenticator.flow() else {
                return Err(SignInRefused::Refused);
            };
            if let Some(refused) = self.0.refuse.lock().unwrap().clone() {
                return Err(refused);
            }
            let who = redirect.arrive(&back).await.map_err(|_| SignInRefused::Refused)?;
            let known = self.image().user_named(&who.name).cloned();
            Ok(known.unwrap_or_else(|| self.0.add(&who.name, false)))
        })
    }

    fn sign_out(&self, user: UserId, session: String) -> Boxed<'_, Result<(), Error>> {
        let image = self.image();
        for token in image.tokens_of(&Owner::User(user)) {
            if token.session.as_deref() == Some(&*session) {
                self.0.write(Write::TokenGone(token.id));
            }
        }
        Box::pin(async { Ok(()) })
    }

    fn give_code(&self, new: NewCode) -> Boxed<'_, Result<(), Error>> {
        let NewCode { hash, client, user, scopes, session, challenge } = new;
        let expires_at = Moment(i64::MAX);
        let code =
            OAuthCode { hash, client, user, scopes, session, challenge, expires_at, used: None };
        self.0.write(Write::Code(Arc::new(code)));
        Box::pin(async { Ok(()) })
    }

    fn redeem(&self, what: Redemption) -> Boxed<'_, Result<Redeemed, Error>> {
        let image = self.image();
        let client = image.client(&what.client).filter(|client| client.secret == what.secret);
        let code = image.code(&what.code).filter(|code| code.client == what.client);
        let outcome = match (client, code) {
            (None, _) => Err(RedeemRefused::Client),
            (Some(_), Some(code)) if code.challenge == what.challenge => {
                let token = Arc::new(Token {
                    id: TokenId(self.0.next_id()),
                    owner: Owner::User(code.user),
                    hash: what.token,
                    scopes: code.scopes.as_slice().into(),
                    created: Moment(0),
                    expires_at: None,
                    last_activity: None,
                    note: "".into(),
                    client: Some(what.client),
                    session: code.session.as_deref().map(Into::into),
                });
                self.0.write(Write::CodeGone(what.code));
                self.0.write(Write::Token(token.clone()));
                Ok(token)
            }
            (Some(_), _) => Err(RedeemRefused::Grant),
        };
        Box::pin(async move { Ok(outcome) })
    }

    fn start(&self, key: ServerKey, ask: Ask) -> Boxed<'_, Result<Begun, StartRefused>> {
        let state = self.image().server(&key).map(|server| server.state.clone());
        let refused = self.0.refuse_start.lock().unwrap().clone();
        let refused = refused.or(spawners::admit_in(&self.image(), &ask, Moment(0)).err());
        let outcome = match state {
            _ if refused.is_some() => Err(refused.unwrap()),
            Some(state) if state.is_ready() => Err(StartRefused::Running),
            Some(state) if state.is_active() => Ok(Begun::Already),
            _ => {
                let events = vec![Event { progress: 30, message: "Process started".into() }];
                let report = Arc::new(Report { events, outcome: None });
                let (sender, _) = watch::channel(report);
                self.0.reports.lock().unwrap().insert(key.clone(), sender);
                self.0.choose(&key, ask);
                self.0.set(&key, ServerState::Starting { order: OrderId::from_bytes([1; 16]) });
                match *self.0.fate.lock().unwrap() {
                    Fate::Runs | Fate::Clings => self.0.run(&key),
                    Fate::Hangs => {}
                    Fate::Fails => self.0.fail(&key),
                }
                Ok(Begun::Started)
            }
        };
        Box::pin(async move { outcome })
    }

    fn stop(&self, key: ServerKey, ask: StopAsk) -> Boxed<'_, Result<(), StopRefused>> {
        let StopAsk { by, remove } = ask;
        let cause = Cause::asked(by);
        let active = self.image().server(&key).is_some_and(|server| server.state.is_active());
        if active && *self.0.fate.lock().unwrap() == Fate::Clings {
            self.0.set(
                &key,
                ServerState::Stopping {
                    order: OrderId::from_bytes([1; 16]),
                    handle: None,
                    cause,
                    remove,
                },
            );
        } else if active {
            self.0.set(&key, ServerState::Stopped(Some(cause.clone())));
            self.0.cut_off(&key, Trouble { cause, at: Moment(0), tail: "".into() });
        }
        Box::pin(async move { if active { Ok(()) } else { Err(StopRefused::NotRunning) } })
    }

    fn settled<'a>(&'a self, key: &'a ServerKey, patience: Duration) -> Boxed<'a, bool> {
        let idle = || self.image().server(key).is_none_or(|it| it.state.pending().is_none());
        Box::pin(async move {
            tokio::task::yield_now().await;
            // Who waits for an answer is told at once what there is; only work behind the scenes waits.
            let end = Instant::now() + patience;
            while patience > Duration::from_secs(60) && !idle() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            idle()
        })
    }

    fn report(&self, key: &ServerKey) -> Option<watch::Receiver<Arc<Report>>> {
        self.0.reports.lock().unwrap().get(key).map(watch::Sender::subscribe)
    }

    fn place(&self, key: &ServerKey) -> Option<Place> {
        self.0.places.lock().unwrap().get(key).copied()
    }

    fn log_tail<'a>(&'a self, _: &'a OrderId, _: usize) -> Boxed<'a, String> {
        Box::pin(async { self.0.tail.lock().unwrap().clone() })
    }

    fn trouble(&self, _key: &ServerKey) -> Option<Trouble> {
        None
    }

    fn usage(&self, key: &ServerKey) -> Option<Usage> {
        self.0.usages.lock().unwrap().get(key).copied()
    }

    fn account<'a>(&'a self, name: &'a Username) -> Boxed<'a, Result<(), AccountError>> {
        self.0.accounts.ensure(name)
    }

    fn routes(&self) -> Boxed<'_, Result<Vec<Route>, RouteError>> {
        let routes = self.0.routes.lock().unwrap().clone();
        Box::pin(async { Ok(routes) })
    }

    fn check_routes(&self) -> Boxed<'_, Result<(), RouteError>> {
        self.0.asked.lock().unwrap().push("check".into());
        Box::pin(async { Ok(()) })
    }

    fn halt(&self, servers: Option<bool>) -> Boxed<'_, Result<(), Error>> {
        self.0.asked.lock().unwrap().push(format!("halt {servers:?}"));
        Box::pin(async { Ok(()) })
    }

    fn notes(&self) -> &activity::Notes {
        &self.0.notes
    }

    fn user_used(&self, user: UserId, at: Moment) {
        self.0.used.lock().unwrap().push(format!("user {} {}", user.0, at.0));
    }

    fn server_used(&self, server: &ServerKey, at: Moment) {
        self.0
            .used
            .lock()
            .unwrap()
            .push(format!("server {}/{} {}", server.user.0, server.name, at.0));
    }

    fn token_used(&self, token: TokenId, _at: Moment) {
        self.0.used.lock().unwrap().push(format!("token {}", token.0));
    }
}

/// A hub of doubles.
pub(crate) struct Hub {
    pub(crate) app: Arc<App>,
    routes: TowerToHyperService<axum::Router>,
    pub(crate) doubles: Arc<Doubles>,
    pub(crate) clock: Arc<Still>,
}

impl Hub {
    /// With `bob`, `eve`, and the administrator `root`.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings.
    pub(crate) fn with(change: impl FnOnce(&mut sections::Hub)) -> Self {
        let mut hub = sections::Hub::default();
        change(&mut hub);
        let config = Config { hub, ..Config::default() };
        let (secret, api) = (Secret::new(vec![7; 32]), "http://127.0.0.1:8081/hub/api".into());
        let settings = HubSlice::new(&config, secret, api, false);
        let doubles = Arc::new(Doubles {
            image: ArcSwap::default(),
            fate: Mutex::new(Fate::Runs),
            refuse: Mutex::default(),
            refuse_start: Mutex::default(),
            used: Mutex::default(),
            seen: Mutex::default(),
            published: watch::Sender::new(0),
            ways: Mutex::new(vec![Way::first(Arc::new(ScriptedAuthenticator::default()))]),
            notes: activity::Notes::default(),
            reports: Mutex::default(),
            usages: Mutex::default(),
            places: Mutex::default(),
            tail: Mutex::default(),
            routes: Mutex::default(),
            asked: Mutex::default(),
            vouched: Mutex::default(),
            keeps: AtomicBool::new(false),
            accounts: ScriptedAccounts::default(),
        });
        for (name, admin) in [("bob", false), ("eve", false), ("root", true)] {
            doubles.add(name, admin);
        }
        let clock = Arc::new(Still(AtomicI64::new(1_795_300_000_000_000)));
        let app = App::with_doors(
            Box::new(Fake(doubles.clone())),
            clock.clone(),
            Arc::new(Counting(AtomicU64::new(0))),
            Arc::new(ArcSwap::from_pointee(settings)),
            Arc::default(),
        );
        let app = app.unwrap();
        let routes = TowerToHyperService::new(router::routes(app.clone()));
        Self { app, routes, doubles, clock }
    }

    pub(crate) fn key(&self, user: &str) -> ServerKey {
        let user = self.doubles.image.load().user_named(user).unwrap().id;
        ServerKey { user, name: ServerName::default_server() }
    }

    /// Lets a hanging start succeed.
    pub(crate) fn finish(&self, user: &str) {
        self.doubles.run(&self.key(user));
    }

    /// Lets a hanging stop succeed.
    pub(crate) fn finish_stop(&self, key: &ServerKey) {
        let image = self.doubles.image.load_full();
        let state = image.server(key).map(|server| &server.state);
        if let Some(ServerState::Stopping { remove: true, .. }) = state {
            return self.doubles.write(Write::ServerGone(key.clone()));
        }
        self.doubles.set(key, ServerState::Stopped(Some(Cause::Stopped)));
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        Reply::read(self.open(request).await).await
    }

    /// The same; the body is not read.
    pub(crate) async fn open(&self, request: Request<Body>) -> Response<Body> {
        let mut request = request;
        request.extensions_mut().insert(Via::Proxy);
        let Ok(answer) = self.routes.call(request).await;
        answer
    }

    /// A request without any cookie.
    pub(crate) async fn plain(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        self.send(request(method, uri, headers, body)).await
    }

    /// A browser of somebody who has signed in.
    pub(crate) async fn browser(&self, user: &str) -> Browser<'_> {
        let mut browser = Browser { hub: self, cookies: BTreeMap::new() };
        let login = format!("{}hub/login", self.app.facts.base_url);
        let page = browser.get(&login).await;
        let xsrf = page.field("_xsrf");
        let form = format!("username={user}&password=correct+horse&_xsrf={xsrf}");
        assert_eq!(browser.post(&login, &form).await.status, 302);
        browser
    }

    pub(crate) fn visitor(&self) -> Browser<'_> {
        Browser { hub: self, cookies: BTreeMap::new() }
    }
}

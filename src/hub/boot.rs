//! The order of the hub's birth and death.
//!
//! ```text
//! link to root ─ logs ─ store ─ actors ─ web ─ Ready          … events of root …
//!                                                        web stops ─ actors in reverse ─ end
//! ```

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use jovis_actors::{
    domain::Policy,
    ports::{Accounts, Boxed, Clock, Entropy, Need},
    tree::{self, GrowError, Ports, Tree},
};
use thiserror::Error;
use tokio::{
    net::UnixListener,
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{error, info, warn};

use super::{
    control, registry, reload, services, settings, sync,
    threads::ActorThreads,
    world::{self, SystemClock, SystemEntropy},
};
use crate::{
    broken,
    config::sections,
    ipc::{control::Filter, frame::FrameError, reload::ReloadOutcome},
    link::{
        accounts::Machine,
        proxy::ProxyLink,
        root::{Dowry, Event, Root, RootError},
    },
    os::{fd, process},
    spawn::{
        listeners::Expected, local::Maker, output::Outputs, probe::HttpProbe, usage::LocalMeter,
    },
    store::{self, DiskJournal},
    telemetry::logs::{self, LogHandle, LogsError, Output},
    web::{self, App},
};

/// The descriptor of the link to root, by agreement.
const LINK: i32 = 3;

/// Threads for the web and the links.
const WORKERS: usize = 2;

/// How often the actor of routes is told of a proxy before the hub gives up.
const MEETINGS: u32 = 10;

/// How long servers get to end where they are to end with us, on top of their own limits.
const GRACE: Duration = Duration::from_secs(5);

/// How long requests in hand may take when another hub takes over: everybody else waits for that one.
const SUCCESSION: Duration = Duration::from_secs(1);

/// Why the hub does not come up. Root reads the exit code, people the log.
#[derive(Debug, Error)]
pub(super) enum BootError {
    #[error("the link to root")]
    Root(#[from] RootError),
    #[error("the logs")]
    Logs(#[from] LogsError),
    #[error("the actors")]
    Grow(#[from] GrowError),
    #[error("the look of pages")]
    Pages(#[from] web::PagesError),
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
}

/// Runs the hub until root says otherwise or is gone. Called before any thread exists.
pub fn main() -> ExitCode {
    process::settle("jovis-hub");
    broken::act("hub", false);
    let Ok(link) = fd::inherited(LINK) else {
        eprintln!("this role is started by jovis itself");
        return ExitCode::from(64);
    };
    let runtime = match Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("jovis hub: no runtime: {error}");
            return ExitCode::from(71);
        }
    };
    let code = runtime.block_on(async {
        match Hub::boot(link).await {
            Ok(hub) => hub.live().await,
            Err(error) => {
                error!(error = %logs::chain(&error), "hub cannot start");
                // Without logs yet, standard error is all there is.
                eprintln!("jovis hub cannot start: {}", logs::chain(&error));
                ExitCode::from(70)
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Can this program read the store of the hub that runs? For an upgrade, in the state directory and as the hub's account;
/// changes nothing.
pub fn trial() -> ExitCode {
    broken::act("trial", false);
    match store::readable(std::path::Path::new(".")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the store cannot be read: {error}");
            ExitCode::from(70)
        }
    }
}

/// All that lives.
struct Hub {
    root: Arc<Root>,
    events: mpsc::Receiver<Event>,
    /// Heard before there was anything to do about it.
    early: VecDeque<Event>,
    tree: Tree,
    threads: ActorThreads,
    web: JoinHandle<()>,
    stop_web: oneshot::Sender<()>,
    /// For the web: what the API listens on.
    apis: mpsc::Sender<Vec<std::net::TcpListener>>,
    clock: Arc<dyn Clock>,
    live: reload::Live,
    panel: control::Panel,
    /// Proxies that have come so far. (Several may be there: one, and those it took over from.)
    proxies: u64,
    /// Keeps `/proc/self/fd/N` what it is.
    _state: Arc<OwnedFd>,
}

impl Hub {
    async fn boot(link: OwnedFd) -> Result<Self, BootError> {
        let (root, Dowry { slice, state, apis, inner }, mut events) = Root::connect(link).await?;
        let logs = logs::init("hub", &slice.log, Output::Stderr)?;
        let early = tell_followers(&logs, &mut events);
        info!(build = env!("CARGO_PKG_VERSION"), "hub boots");
        let state = Arc::new(state);
        let folder = PathBuf::from(format!("/proc/self/fd/{}", state.as_raw_fd()));
        #[cfg(feature = "faults")]
        super::faults::listen(folder.clone());
        let threads =
            ActorThreads::start().map_err(|error| BootError::Io("the actors' threads", error))?;
        let outputs =
            Outputs::open(&folder).map_err(|error| BootError::Io("the servers' logs", error))?;
        let machine = SystemClock::default();
        tokio::spawn(world::watch(machine));
        let clock: Arc<dyn Clock> = Arc::new(machine);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let expected = Arc::new(Expected::default());
        let spawner = Arc::new(ArcSwap::from_pointee(slice.spawner.clone()));
        let ways = Arc::new(ArcSwap::from_pointee(registry::ways(&slice.auth, &root)));
        let accounts: Arc<dyn Accounts> = Arc::new(Machine(root.clone()));
        let makes = Arc::new(AtomicBool::new(slice.accounts() == Need::Made));
        let journal = DiskJournal::new(folder.clone());
        let backups = journal.backups();
        let kit = registry::Kit {
            root: root.clone(),
            settings: spawner.clone(),
            base_url: slice.hub.base_url.clone(),
            outputs: outputs.clone(),
            expected: expected.clone(),
            entropy: entropy.clone(),
            maker: Maker { accounts: accounts.clone(), wanted: makes.clone() },
        };
        let servers = registry::spawner(kit, &folder)
            .map_err(|error| BootError::Io("the hub's id for containers", error))?;
        let ports = Ports {
            journal: Box::new(journal),
            ways: ways.clone(),
            accounts: accounts.clone(),
            spawner: servers,
            probe: Arc::new(HttpProbe::new(expected)),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        tokio::spawn(tidy(outputs.clone(), root.clone(), spawner.clone()));
        let meter = Arc::new(LocalMeter::default());
        tokio::spawn(meter.clone().keep(root.clone(), spawner.clone()));
        let actors = settings::first(&slice);
        let tree = tree::grow(ports, actors.clone(), &threads.arbiter()).await?;
        info!(records = tree.store.image().len(), "store opened");
        let policy: Arc<ArcSwap<Policy>> = Arc::default();
        let keeper = sync::Keeper {
            store: tree.store.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            policy: policy.clone(),
        };
        // A full disk keeps nobody from signing in: what could not be recorded is told, and tried at the next reload.
        let _told = keeper.apply(&slice).await;
        let slice = Arc::new(ArcSwap::from_pointee(slice));
        let app_entropy = entropy.clone();
        let app = App::new(web::Parts {
            store: tree.store.clone(),
            spawners: tree.spawners.clone(),
            logins: tree.logins.clone(),
            activity: tree.activity.clone(),
            meter,
            clock: clock.clone(),
            entropy,
            settings: slice.clone(),
            routes: tree.routes.clone(),
            accounts,
            halt: Arc::new(RootsEnd(root.clone())),
            policy,
        })?;
        let kit = services::Kit {
            root: root.clone(),
            outputs,
            store: tree.store.clone(),
            clock: clock.clone(),
            entropy: app_entropy,
            facts: actors.facts.clone(),
            pids: app.pids(),
        };
        let services = services::Services::begin(kit, &slice.load());
        let (apis, listeners) =
            listeners(apis, inner).map_err(|error| BootError::Io("the listeners", error))?;
        let (stop_web, stopped) = oneshot::channel::<()>();
        let web = tokio::spawn(web::serve(process::open_files(), listeners, app.clone(), async {
            _ = stopped.await
        }));
        root.ready().await?;
        info!("hub is ready");
        let live = reload::Live {
            slice,
            actors,
            spawner,
            makes,
            ways,
            root: root.clone(),
            keeper,
            services,
            routes: tree.routes.clone(),
            app,
            logs,
        };
        let panel = control::Panel::new(&tree, folder.clone(), backups);
        Ok(Self {
            root,
            events,
            early,
            tree,
            threads,
            web,
            stop_web,
            apis,
            clock,
            live,
            panel,
            proxies: 0,
            _state: state,
        })
    }

    async fn live(mut self) -> ExitCode {
        // How long the web may take to answer what it has in hand.
        let mut ends = false;
        let (code, servers, patience) = loop {
            tokio::select! {
                event = next(&mut self.early, &mut self.events) => match event {
                    Some(Event::Proxy(link)) => {
                        if !self.meet(link).await {
                            // It would wait for our routes for ever; the next hub begins with it anew.
                            break (70, false, Duration::ZERO);
                        }
                    }
                    // An error would mean that the web has ended, and so do we.
                    Some(Event::Listen(apis)) => drop(self.apis.send(apis).await),
                    Some(Event::Reload { serial, slice, log }) => {
                        if let Some(log) = log {
                            self.live.logs.set_output(log.into());
                        }
                        let outcome = ReloadOutcome { serial, kept: self.live.apply(*slice).await };
                        if let Err(error) = self.root.reloaded(outcome).await {
                            warn!(%error, "cannot report the reload");
                        }
                    }
                    Some(Event::Tap(filter, to)) => tap(&self.live.logs, filter, to),
                    Some(Event::Control(request, asker, fds)) => {
                        self.panel.ask(request, asker, fds, control::actors(&self.tree));
                    }
                    Some(Event::Retire) => break (0, false, SUCCESSION),
                    Some(Event::Stop { hard, servers }) => {
                        ends = true;
                        break (0, servers, if hard { Duration::ZERO } else { 2 * GRACE });
                    }
                    Some(Event::Closed) | None => {
                        info!("root left");
                        break (0, false, Duration::ZERO);
                    }
                },
                outcome = self.tree.ended() => {
                    let error = outcome.err().map(|error| logs::chain(&error).to_string());
                    error!(error, "actors gave up");
                    break (70, false, Duration::ZERO);
                }
            }
        };
        info!(servers, "hub ends");
        if servers {
            self.stop_servers().await;
        }
        if ends {
            self.live.services.stop(patience.is_zero()).await;
        }
        _ = self.stop_web.send(());
        if !patience.is_zero() && tokio::time::timeout(patience, self.web).await.is_err() {
            warn!("requests cut off");
        }
        if code == 0
            && let Err(error) = self.tree.shutdown().await
        {
            warn!(%error, "actors not stopped");
        }
        self.threads.stop();
        self.live.logs.flush(Duration::from_secs(1));
        ExitCode::from(code)
    }

    /// One more proxy, which is kept in step until its link ends. False: it came, and those who keep routes cannot be
    /// told of it.
    async fn meet(&mut self, link: OwnedFd) -> bool {
        self.proxies += 1;
        let proxy = match self.link(link).await.inspect(|sink| self.panel.proxy(sink)) {
            Ok(proxy) => proxy,
            // Then it is about to end, and root brings the next one.
            Err(error) => {
                warn!(%error, "proxy link failed");
                return true;
            }
        };
        // A proxy that is linked lets nobody in before it has its routes. So an actor that fails over it is asked again
        // in its next life; asking twice is no harm, a sink replaces one of its name.
        let (mut pause, routes) = (Duration::from_millis(50), self.tree.routes.clone());
        for _ in 0..MEETINGS {
            match routes.add_sink(proxy.clone()).await {
                Ok(id) => {
                    tokio::spawn(async move {
                        proxy.ended().await;
                        if let Err(error) = routes.remove_sink(id).await {
                            warn!(%error, "proxy not let go");
                        }
                    });
                    return true;
                }
                Err(error) => error!(%error, "proxy not taken on"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        false
    }

    async fn link(&self, link: OwnedFd) -> Result<Arc<ProxyLink>, FrameError> {
        let (activity, clock, store) =
            (self.tree.activity.clone(), self.clock.clone(), self.tree.store.clone());
        let seen = move |server: &jovis_actors::domain::ServerKey, ago: Duration| {
            let now = clock.moment();
            let at = jovis_actors::domain::Moment(
                now.0 - i64::try_from(ago.as_micros()).unwrap_or(i64::MAX),
            );
            if store.image().server(server).is_some_and(|server| server.state.is_ready()) {
                activity.server(server, at);
                activity.user(server.user, at);
            }
        };
        ProxyLink::connect(format!("proxy {}", self.proxies), link, Box::new(seen)).await
    }

    /// Ends all servers, and waits for them as long as they may take.
    async fn stop_servers(&self) {
        let patience = self.live.actors.spawner.load().stop_timeout + GRACE;
        self.tree.spawners.stop_all(patience).await;
    }
}

/// How the web has everything ended.
struct RootsEnd(Arc<Root>);

impl web::Halt for RootsEnd {
    fn halt(&self, servers: Option<bool>) -> Boxed<'_, Result<(), String>> {
        Box::pin(async move { self.0.stop(servers).await.map_err(|error| error.to_string()) })
    }
}

/// What root says next; what it said early comes first.
async fn next(early: &mut VecDeque<Event>, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    match early.pop_front() {
        Some(event) => Some(event),
        None => events.recv().await,
    }
}

/// Whoever follows hears of the boot too: root named them before it answered our first question.
fn tell_followers(logs: &LogHandle, events: &mut mpsc::Receiver<Event>) -> VecDeque<Event> {
    let mut others = VecDeque::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Tap(filter, to) => tap(logs, filter, to),
            other => others.push_back(other),
        }
    }
    others
}

fn tap(logs: &LogHandle, filter: Filter, to: OwnedFd) {
    if let Err(error) = logs.tap(to, filter.into()) {
        warn!(%error, "listener refused");
    }
}

/// What the web listens on, and how to tell it what the API's listeners are from then on.
fn listeners(
    apis: Vec<std::net::TcpListener>,
    inner: std::os::unix::net::UnixListener,
) -> io::Result<(mpsc::Sender<Vec<std::net::TcpListener>>, web::Listeners)> {
    inner.set_nonblocking(true)?;
    let (sender, api) = mpsc::channel(8);
    sender.try_send(apis).expect("it is empty");
    Ok((sender, web::Listeners { api, proxy: UnixListener::from_std(inner)? }))
}

/// Keeps the servers' log files short, once a second.
async fn tidy(outputs: Outputs, root: Arc<Root>, settings: Arc<ArcSwap<sections::Spawner>>) {
    let mut turns = tokio::time::interval(Duration::from_secs(1));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        turns.tick().await;
        let (outputs, limit) = (outputs.clone(), settings.load().log_size);
        let alive = root.children().borrow().clone();
        let work =
            move || outputs.tidy(limit, |order| alive.keys().any(|known| known.as_str() == order));
        let outcome = tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &outcome
            && !failing
        {
            warn!(%error, "server logs not tidied");
        }
        failing = outcome.is_err();
    }
}

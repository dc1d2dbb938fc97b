//! The role's beginning and end: what root gives, what root asks.

use std::{
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{error, info, warn};

use super::{
    acme::Keeper,
    control::{self, LinkError, hello},
    drain::Phase,
    listen,
    rest::Rest,
    settings::Settings,
    shared::{Hub, Shared},
    tls,
    workers::Workers,
};
use crate::{
    broken,
    channel::Channel,
    config::{certificate, sections::Log, slice::ProxySlice},
    ipc::{
        Envelope, VERSION,
        control::Filter,
        frame::{self, FrameError},
        reload::ReloadOutcome,
        root::{Given, ProxyToRoot, RootToProxy},
    },
    os::{fd, process},
    telemetry::logs::{self, LogHandle, Output, chain},
};

/// Where root's link is.
const LINK: i32 = 3;
/// Longest time until root has greeted.
const HELLO: Duration = Duration::from_secs(30);
/// Longest time a message to root may take.
const SENDING: Duration = Duration::from_secs(5);
/// Without a hub we open after this time.
const ALONE: Duration = Duration::from_secs(5);
/// Longest time the last lines of the log may take.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the workers are looked after.
const ROUNDS: Duration = Duration::from_millis(250);
/// How often the certificate's age is looked at.
const DAILY: Duration = Duration::from_secs(24 * 3600);
/// Days before a certificate's end from which on it is told.
const SOON: i64 = 14;

/// Why the role ends with a failure.
#[derive(Debug, Error)]
pub(super) enum RunError {
    /// The link to root.
    #[error("root's link")]
    Link(#[from] LinkError),
    /// Nothing to listen on, or no configuration.
    #[error("root gave no {0}")]
    Missing(&'static str),
    /// Its configuration cannot be used.
    #[error("the certificate cannot be used")]
    Tls(#[from] tls::TlsError),
    /// The operating system's word.
    #[error("the proxy cannot start")]
    Start(#[source] std::io::Error),
    /// A worker ended by itself.
    #[error("a worker has ended")]
    Worker,
}

impl From<FrameError> for RunError {
    fn from(error: FrameError) -> Self {
        Self::Link(LinkError::Frame(error))
    }
}

/// The role, from fork to exit. Call it before any thread exists: it takes over descriptor 3.
pub fn main() -> ExitCode {
    process::settle("jovis-proxy");
    broken::act("proxy", false);
    let outcome = fd::inherited(LINK).map_err(RunError::Start).and_then(|link| {
        fd::set_nonblocking(std::os::fd::AsFd::as_fd(&link), true).map_err(RunError::Start)?;
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Start)?;
        runtime.block_on(run(link, |log| logs::init("proxy", log, Output::Stderr).ok()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = %chain(&error), "proxy failed");
            ExitCode::FAILURE
        }
    }
}

/// What root's greeting brings.
struct Start {
    slice: ProxySlice,
    listeners: Vec<TcpListener>,
    /// For certificates that we get ourselves.
    folder: Option<OwnedFd>,
}

/// Everything, until root says stop or is gone.
/// `log` sets the logs up once root has said how (not in tests, where many roles share a process).
pub(super) async fn run(
    link: OwnedFd,
    log: impl FnOnce(&Log) -> Option<LogHandle>,
) -> Result<(), RunError> {
    // Signals are for root; these two also reach us from a terminal and must not end us.
    let _hangup = signal(SignalKind::hangup());
    let _interrupt = signal(SignalKind::interrupt());
    let channel = Channel::new(link)?;
    let (start, greeted) = begin(&channel).await?;
    let logs = log(&start.slice.log);
    say(&channel, None, ProxyToRoot::Hello(hello())).await?;
    let settings = Settings::of(&start.slice);
    let shared = Shared::new(PathBuf::from(&start.slice.hub_socket), settings, None);
    let mut keeper = Keeper::of(&start.slice, start.folder, None);
    let tls = tls::of(&start.slice, keeper.identity(), &shared.challenges)?;
    shared.tls.store(tls.map(Arc::new));
    keeper.begin(&shared, None);
    let sockets = start.slice.proxy.sockets;
    let mut workers = Workers::new(&shared, listen::most_connections());
    let mut rest = Rest::new(shared.clone());
    let listeners = rest.take(start.listeners);
    arrange(&mut workers, &listeners, sockets).map_err(RunError::Start)?;
    info!(build = %greeted, workers = workers.count(), "proxy started");
    let mut opening = JoinSet::new();
    opening.spawn(open(shared.clone()));
    let role = Role {
        shared,
        channel,
        hub: None,
        workers,
        listeners,
        rest,
        certificates: certificates(&start.slice),
        slice: start.slice,
        keeper,
        look_again: Instant::now(),
        sockets,
        opening,
        logs: logs.clone(),
    };
    let ended = role.live().await;
    if let Some(logs) = logs {
        logs.flush(FLUSH);
    }
    ended
}

/// Reads root's greeting.
async fn begin(channel: &Channel) -> Result<(Start, String), RunError> {
    let received = timeout(HELLO, channel.recv::<Envelope<RootToProxy>>());
    let (envelope, fds) = received.await.map_err(|_| LinkError::Silent)??;
    let RootToProxy::Hello { hello, given } = envelope.message else {
        return Err(LinkError::NoHello.into());
    };
    if hello.version != VERSION {
        return Err(LinkError::Version(hello.version).into());
    }
    let (mut slice, mut listeners, mut folder) = (None, Vec::new(), None);
    for (given, fd) in given.into_iter().zip(fds) {
        match given {
            Given::Config => slice = Some(frame::unseal::<ProxySlice>(fd)?),
            Given::Public => listeners.push(TcpListener::from(fd)),
            Given::Acme => folder = Some(fd),
            other => warn!(what = ?other, "descriptor not used"),
        }
    }
    let slice = slice.ok_or(RunError::Missing("configuration"))?;
    if listeners.is_empty() {
        return Err(RunError::Missing("public listener"));
    }
    Ok((Start { slice, listeners, folder }, hello.build))
}

/// Waits until visitors may come: the routes are complete, or there has been no hub for a while.
async fn open(shared: Arc<Shared>) {
    let mut state = shared.hub_state.subscribe();
    let mut alone_at = Instant::now() + ALONE;
    loop {
        let now = *state.borrow_and_update();
        match now {
            Hub::Synced => break,
            Hub::Linked => {
                if state.changed().await.is_err() {
                    return;
                }
                alone_at = Instant::now() + ALONE;
            }
            Hub::Away => tokio::select! {
                () = sleep_until(alone_at) => break,
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            },
        }
    }
    // Never back from draining.
    shared.phase.send_if_modified(|phase| {
        let waiting = *phase == Phase::Waiting;
        if waiting {
            *phase = Phase::Open;
        }
        waiting
    });
}

/// The role while it lives.
struct Role {
    shared: Arc<Shared>,
    channel: Channel,
    hub: Option<JoinHandle<()>>,
    workers: Workers,
    /// All public listeners.
    listeners: Vec<TcpListener>,
    /// The one for operators.
    rest: Rest,
    /// As last told.
    slice: ProxySlice,
    /// The certificate that we get ourselves.
    keeper: Keeper,
    /// The chains from files that are shown, PEM; and when to look at the ages of all.
    certificates: Vec<Vec<u8>>,
    look_again: Instant,
    /// As many sockets each address has by the settings.
    sockets: u16,
    /// Ends when visitors are let in.
    opening: JoinSet<()>,
    logs: Option<LogHandle>,
}

impl Role {
    async fn live(mut self) -> Result<(), RunError> {
        let mut leaving: Option<Instant> = None;
        let crowd = self.shared.crowd.clone();
        let ended = loop {
            let left = async {
                match leaving {
                    Some(deadline) => crowd.left(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let received = tokio::select! {
                received = self.channel.recv::<Envelope<RootToProxy>>() => received,
                remaining = left => {
                    info!(remaining, "proxy drained");
                    break Ok(());
                }
                Some(_) = self.opening.join_next() => {
                    info!("proxy open");
                    say(&self.channel, None, ProxyToRoot::Ready).await?;
                    continue;
                }
                () = self.keeper.renewed() => {
                    self.show_renewed();
                    continue;
                }
                () = sleep_until(self.look_again) => {
                    self.look_at_certificates();
                    continue;
                }
                () = sleep(ROUNDS) => {
                    if self.workers.any_ended() {
                        break Err(RunError::Worker);
                    }
                    continue;
                }
            };
            let (Envelope { id, message }, fds) = match received {
                Err(FrameError::Closed) => {
                    info!("root left");
                    break Ok(());
                }
                received => received?,
            };
            match message {
                RootToProxy::Hello { .. } => {}
                RootToProxy::Ping => say(&self.channel, id, ProxyToRoot::Pong).await?,
                RootToProxy::Peer => self.meet(fds),
                RootToProxy::Listen => {
                    let all = fds.into_iter().map(TcpListener::from).collect();
                    self.listeners = self.rest.take(all);
                    self.arrange();
                }
                RootToProxy::Reload { serial, acme } => {
                    let kept = self.reload(fds, acme).err().into_iter().collect();
                    let outcome = ReloadOutcome { serial, kept };
                    say(&self.channel, id, ProxyToRoot::Reloaded(outcome)).await?;
                }
                RootToProxy::Tap(filter) => self.tap(filter, fds),
                RootToProxy::Stop { hard: true } => break Ok(()),
                // Meanwhile it goes on hearing of hubs and settings, and telling of traffic.
                RootToProxy::Stop { hard: false } => {
                    let limit = self.shared.settings.load().drain;
                    leaving = Some(self.leave(Phase::Draining, limit, leaving));
                }
                RootToProxy::Retire => {
                    let limit = self.shared.settings.load().upgrade_drain;
                    leaving = Some(self.leave(Phase::Retiring, limit, leaving));
                }
            }
        };
        self.shared.phase.send_replace(Phase::Gone);
        self.workers.join();
        info!("proxy ended");
        ended
    }

    /// A new hub: its link replaces the old one.
    fn meet(&mut self, fds: Vec<OwnedFd>) {
        let Some(fd) = fds.into_iter().next() else {
            return warn!("peer without descriptor");
        };
        let (shared, old) = (self.shared.clone(), self.hub.take());
        self.hub = Some(tokio::spawn(async move {
            if let Some(old) = old {
                old.abort();
                // Over before the new one speaks, so that it cannot say "away" afterwards.
                let _ = old.await;
            }
            control::serve(shared, fd).await;
        }));
    }

    /// Shows the certificate that was got. Handshakes from now on; nobody is dropped.
    fn show_renewed(&mut self) {
        match tls::of(&self.slice, self.keeper.identity(), &self.shared.challenges) {
            Ok(tls) => self.shared.tls.store(tls.map(Arc::new)),
            Err(error) => error!(error = %chain(&error), "certificate not shown"),
        }
        self.look_again = Instant::now();
    }

    /// Says when one has ended, or soon will.
    fn look_at_certificates(&mut self) {
        self.look_again = Instant::now() + DAILY;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ours = self.certificates.iter().map(|pem| (pem.as_slice(), SOON));
        // One that we renew ourselves may have a short life; near its end it should have been renewed long ago.
        let got = self.keeper.chain().map(|pem| {
            let life = certificate::validity(pem).map_or(0, |(begin, end)| end - begin);
            (pem, SOON.min(life / 6 / (24 * 3600)))
        });
        for (pem, soon) in ours.chain(got) {
            let Some(end) = certificate::expiry(pem) else { continue };
            let left = end - i64::try_from(now).unwrap_or(i64::MAX);
            let days = left.div_euclid(24 * 3600);
            let name = certificate::names(pem).into_iter().next().unwrap_or_default();
            if left < 0 {
                error!(%name, days = -days, "certificate expired");
            } else if days < soon {
                warn!(%name, days, "certificate expires soon");
            }
        }
    }

    /// Other listeners, or another number of workers.
    fn arrange(&mut self) {
        if let Err(error) = arrange(&mut self.workers, &self.listeners, self.sockets) {
            error!(%error, "listeners not arranged");
        }
    }

    /// Takes a new slice on, all of it or nothing; or why not.
    /// `acme`: the last descriptor is the folder for certificates that we get ourselves.
    fn reload(&mut self, mut fds: Vec<OwnedFd>, acme: bool) -> Result<(), String> {
        let folder = if acme { fds.pop() } else { None };
        let mut fds = fds.into_iter();
        let slice = fds.next().ok_or("no configuration came")?;
        let slice = frame::unseal::<ProxySlice>(slice)
            .map_err(|error| format!("configuration not readable: {error}"))?;
        let mut keeper = Keeper::of(&slice, folder, Some(&self.keeper));
        let tls = tls::of(&slice, keeper.identity(), &self.shared.challenges);
        let tls = tls.map_err(|error| format!("certificate: {}", chain(&error)))?;
        if let Some(logs) = &self.logs {
            logs.follow(&slice.log).map_err(|error| format!("log.level: {error}"))?;
            if let Some(file) = fds.next() {
                logs.set_output(file.into());
            }
        }
        self.shared.tls.store(tls.map(Arc::new));
        self.shared.settings.store(Arc::new(Settings::of(&slice)));
        keeper.begin(&self.shared, Some(std::mem::take(&mut self.keeper)));
        self.keeper = keeper;
        self.listeners = self.rest.follow(std::mem::take(&mut self.listeners));
        let certificates = certificates(&slice);
        if certificates != self.certificates {
            self.certificates = certificates;
            self.look_again = Instant::now();
        }
        if slice.proxy.sockets != self.sockets {
            self.sockets = slice.proxy.sockets;
            self.arrange();
        }
        self.slice = slice;
        info!("proxy reloaded");
        Ok(())
    }

    /// Somebody wants to hear what happens.
    fn tap(&self, filter: Filter, fds: Vec<OwnedFd>) {
        if let (Some(logs), Some(to)) = (&self.logs, fds.into_iter().next())
            && let Err(error) = logs.tap(to, filter.into())
        {
            warn!(%error, "listener refused");
        }
    }

    /// Lets nobody in from now on. Until when may those who are there stay?
    fn leave(&mut self, phase: Phase, limit: Duration, before: Option<Instant>) -> Instant {
        self.rest.stop();
        let connections = self.shared.crowd.count();
        info!(connections, limit_s = limit.as_secs(), "proxy draining");
        self.shared.phase.send_if_modified(|now| {
            let further = *now < phase;
            *now = (*now).max(phase);
            further
        });
        let until = Instant::now() + limit;
        before.map_or(until, |before| before.min(until))
    }
}

/// All that may be shown; none: no TLS.
fn certificates(slice: &ProxySlice) -> Vec<Vec<u8>> {
    let others = slice.certificates.iter().map(|(chain, _)| chain.clone());
    let all = std::iter::once(slice.certificate.clone()).chain(others);
    all.filter(|chain| !chain.is_empty()).collect()
}

/// A worker for each socket that an address has, and at most one for each core.
fn arrange(workers: &mut Workers, listeners: &[TcpListener], sockets: u16) -> io::Result<()> {
    let cores = available_parallelism().map_or(1, usize::from);
    let count = if sockets == 0 { cores } else { cores.min(sockets.into()) };
    let copies = listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
    workers.arrange(copies, count)
}

async fn say(channel: &Channel, id: Option<u64>, message: ProxyToRoot) -> Result<(), RunError> {
    let envelope = Envelope { id, message };
    let sending = timeout(SENDING, channel.send(&envelope, &[]));
    Ok(sending.await.map_err(|_| LinkError::Silent)??)
}

//! The hub's end of its link to root: requests with deadlines, and root's table of children as the hub knows it.
//!
//! `Exited` is a bell: the copy of the table here is brought up by bells and, in case one was missed, read anew every
//! [`RESYNC`]. Everything root says about children is put into the copy where it is heard, in the order root said it;
//! who asked is woken afterwards. So an older list never overwrites newer news.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jovis_actors::{
    domain::{OrderId, Secret, ServerName, Username, options::Chosen},
    ports::Exit,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, warn};

use crate::{
    broken,
    channel::Channel,
    config::slice::HubSlice,
    ipc::{
        Envelope, Hello, VERSION,
        account::Finding,
        control::{Filter, Request},
        frame::{self, FrameError},
        helper::Verdict,
        reload::ReloadOutcome,
        root::{Child, Given, HubSays, RootSays, SignalKind},
    },
    os::fd,
};

/// How often the table of children is read anew.
const RESYNC: Duration = Duration::from_secs(30);

/// How long root may take over anything but starting a server and asking PAM.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long root may take over starting a server (it waits 10 s for the child's word).
const BIRTH: Duration = Duration::from_secs(15);

/// Longest password that is passed on, in bytes (`SECURITY.md` 6.2.8).
pub const LONGEST_PASSWORD: usize = 1024;

/// Why root did not do it.
#[derive(Debug, Error)]
pub enum RootError {
    /// It may not be done.
    #[error("{0}")]
    Denied(String),
    /// A step on the way to the server's program failed.
    #[error("{step}: {}", io::Error::from_raw_os_error(*errno))]
    Birth {
        /// Which step.
        step: String,
        /// The operating system's number.
        errno: i32,
    },
    /// No answer in time.
    #[error("root did not answer in time")]
    Timeout,
    /// The link is gone, or root said something out of turn.
    #[error("the link to root failed: {0}")]
    Link(String),
}

impl From<FrameError> for RootError {
    fn from(error: FrameError) -> Self {
        Self::Link(error.to_string())
    }
}

/// What root gave along at the start.
#[derive(Debug)]
pub struct Dowry {
    /// The hub's slice of the configuration.
    pub slice: HubSlice,
    /// The state directory.
    pub state: OwnedFd,
    /// Listeners of the API; several, where servers call older addresses.
    pub apis: Vec<std::net::TcpListener>,
    /// Listener for the proxy.
    pub inner: std::os::unix::net::UnixListener,
}

/// What root says by itself.
#[derive(Debug)]
pub enum Event {
    /// A fresh link to a proxy.
    Proxy(OwnedFd),
    /// The listeners of the API from now on, all of them.
    Listen(Vec<std::net::TcpListener>),
    /// Somebody wants to hear what happens.
    Tap(Filter, OwnedFd),
    /// New settings.
    Reload {
        /// Which reload; goes back with the outcome.
        serial: u64,
        /// All of them.
        slice: Box<HubSlice>,
        /// The log's file, if there is one, opened anew.
        log: Option<OwnedFd>,
    },
    /// An operator asks: the socket to answer into, and what came along with the request.
    Control(Request, OwnedFd, Vec<OwnedFd>),
    /// Go soon: the next hub waits.
    Retire,
    /// Go.
    Stop {
        /// At once?
        hard: bool,
        /// Do user servers go too?
        servers: bool,
    },
    /// Root is gone: so must the hub.
    Closed,
}

/// Root's table as the hub knows it. An order that is missing is unknown to root; one without exit lives.
pub type Table = BTreeMap<OrderId, Known>;

/// One child in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its process.
    pub pid: i32,
    /// How it ended; none: it lives.
    pub exit: Option<Exit>,
    /// The service it is; none: a user's server.
    pub service: Option<Arc<str>>,
}

type Answer = (RootSays, Vec<OwnedFd>);

/// The link. Shared by everybody who needs root.
#[derive(Debug)]
pub struct Root {
    channel: Channel,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    children: watch::Sender<Table>,
    /// Services that are being started: what root says of them comes without their names.
    serving: Mutex<BTreeMap<OrderId, Arc<str>>>,
}

impl Root {
    /// Shakes hands: our `Hello` out, root's in, with all that the hub is given. Then the link is served by a task of
    /// its own; events come by the receiver.
    pub async fn connect(
        link: OwnedFd,
    ) -> Result<(Arc<Self>, Dowry, mpsc::Receiver<Event>), RootError> {
        let channel = Channel::new(link)?;
        let version = VERSION + broken::shift("hub");
        let hello = Hello { version, role: "hub".into(), build: env!("CARGO_PKG_VERSION").into() };
        channel.send(&Envelope { id: None, message: HubSays::Hello(hello) }, &[]).await?;
        let first = tokio::time::timeout(PATIENCE, channel.recv::<Envelope<RootSays>>());
        let (envelope, fds) = first.await.map_err(|_| RootError::Timeout)??;
        let RootSays::Hello { hello, given } = envelope.message else {
            return Err(RootError::Link("root did not say hello first".into()));
        };
        if hello.version != VERSION {
            return Err(RootError::Link(format!(
                "root speaks version {}, the hub {VERSION}",
                hello.version
            )));
        }
        let dowry = unpack(given, fds)?;
        let (events, heard) = mpsc::channel(64);
        let root = Arc::new(Self {
            channel,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            children: watch::channel(BTreeMap::new()).0,
            serving: Mutex::default(),
        });
        tokio::spawn(root.clone().listen(events));
        root.resync().await?;
        tokio::spawn(root.clone().keep_in_step());
        Ok((root, dowry, heard))
    }

    /// Tells root that the hub serves.
    pub async fn ready(&self) -> Result<(), RootError> {
        self.tell(HubSays::Ready).await
    }

    /// Tells root what became of a reload.
    pub async fn reloaded(&self, outcome: ReloadOutcome) -> Result<(), RootError> {
        self.tell(HubSays::Reloaded(outcome)).await
    }

    /// Has root end all of jovis, with user servers, without, or as the configuration says. Answered when it has begun.
    pub async fn stop(&self, servers: Option<bool>) -> Result<(), RootError> {
        match self.ask(HubSays::Stop { servers }, &[], PATIENCE).await?.0 {
            RootSays::Done => Ok(()),
            other => Err(refusal(other)),
        }
    }

    /// Starts a user server: its pid. Root knows an order it has heard before and does not start it again.
    pub async fn spawn(&self, birth: Birth<'_>) -> Result<i32, RootError> {
        let order = birth.order.clone();
        let message = HubSays::Spawn {
            order: order.clone(),
            user: birth.user.clone(),
            server: birth.server.clone(),
            env: birth.env,
            holes: birth.holes,
            chosen: birth.chosen,
        };
        match self.ask(message, &[birth.log], BIRTH).await?.0 {
            RootSays::Spawned { pid, .. } => Ok(pid),
            other => {
                // A table that root gave while the birth was under way may have it; it will not tell of an end.
                self.children.send_modify(|table| _ = table.remove(&order));
                Err(refusal(other))
            }
        }
    }

    /// Starts a service of the configuration: its pid. Its output goes to `log`.
    pub async fn serve(
        &self,
        order: &OrderId,
        service: &str,
        env: BTreeMap<String, String>,
        log: BorrowedFd<'_>,
    ) -> Result<i32, RootError> {
        let message = HubSays::Serve { order: order.clone(), service: service.to_owned(), env };
        self.serving().insert(order.clone(), service.into());
        let answer = self.ask(message, &[log], BIRTH).await;
        // Where no answer came it may live: the next table tells.
        self.serving().remove(order);
        match answer?.0 {
            RootSays::Spawned { pid, .. } => Ok(pid),
            other => Err(refusal(other)),
        }
    }

    fn serving(&self) -> std::sync::MutexGuard<'_, BTreeMap<OrderId, Arc<str>>> {
        self.serving.lock().expect("nothing panics while it is held")
    }

    /// Sends a signal to a server's process.
    pub async fn signal(&self, order: &OrderId, how: SignalKind) -> Result<(), RootError> {
        match self.ask(HubSays::Signal { order: order.clone(), how }, &[], PATIENCE).await?.0 {
            RootSays::Done => Ok(()),
            other => Err(refusal(other)),
        }
    }

    /// Its end is recorded: root may drop it from its table.
    pub async fn forget(&self, order: &OrderId) -> Result<(), RootError> {
        match self.ask(HubSays::Forget { order: order.clone() }, &[], PATIENCE).await?.0 {
            RootSays::Done => {
                self.children.send_modify(|table| _ = table.remove(order));
                Ok(())
            }
            other => Err(refusal(other)),
        }
    }

    /// Has root's table read anew; it is in [`Root::children`] then.
    pub async fn resync(&self) -> Result<(), RootError> {
        match self.ask(HubSays::Children, &[], PATIENCE).await?.0 {
            RootSays::Children => Ok(()),
            other => Err(refusal(other)),
        }
    }

    /// The table as it is known now, and a way to wait until it changes.
    pub fn children(&self) -> watch::Receiver<Table> {
        self.children.subscribe()
    }

    /// Has root look for an account of this name, and make it where its configuration says so.
    pub async fn account(&self, user: &Username, limit: Duration) -> Result<Finding, RootError> {
        let question = HubSays::Account { user: user.clone() };
        match self.ask(question, &[], limit).await?.0 {
            RootSays::Account(finding) => Ok(finding),
            other => Err(refusal(other)),
        }
    }

    /// Asks PAM in a fresh helper process. `limit` is how long root lets it run.
    pub async fn pam(
        &self,
        user: &str,
        rhost: Option<String>,
        (password, code): (&Secret, Option<&Secret>),
        limit: Duration,
    ) -> Result<Verdict, RootError> {
        let secret = password.reveal().as_bytes();
        let code = code.map(|code| code.reveal().as_bytes());
        if secret.len() > LONGEST_PASSWORD || code.is_some_and(|it| it.len() > LONGEST_PASSWORD) {
            let text = "the password is longer than 1024 bytes".to_owned();
            return Ok(Verdict::Refused { step: "authenticate".into(), code: 0, text });
        }
        let (reading, writing) = fd::pipe().map_err(|error| RootError::Link(error.to_string()))?;
        // A pipe holds 64 KiB, so this does not block.
        for part in [Some(secret), code.map(|_| &b"\0"[..]), code].into_iter().flatten() {
            nix::unistd::write(&writing, part)
                .map_err(|error| RootError::Link(error.to_string()))?;
        }
        drop(writing);
        let question = HubSays::Pam { user: user.to_owned(), rhost };
        match self.ask(question, &[reading.as_fd()], limit + PATIENCE).await?.0 {
            RootSays::PamVerdict(verdict) => Ok(verdict),
            other => Err(refusal(other)),
        }
    }

    async fn tell(&self, message: HubSays) -> Result<(), RootError> {
        let envelope = Envelope { id: None, message };
        let sent = self.channel.send(&envelope, &[]);
        tokio::time::timeout(PATIENCE, sent)
            .await
            .map_err(|_| RootError::Timeout)?
            .map_err(Into::into)
    }

    async fn ask(
        &self,
        message: HubSays,
        fds: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<Answer, RootError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(id, sender);
        let asked = async {
            self.channel.send(&Envelope { id: Some(id), message }, fds).await?;
            answer.await.map_err(|_| RootError::Link("root is gone".into()))
        };
        let outcome =
            tokio::time::timeout(patience, asked).await.unwrap_or(Err(RootError::Timeout));
        self.waiting().remove(&id);
        outcome
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().expect("nothing panics while it is held")
    }

    async fn listen(self: Arc<Self>, events: mpsc::Sender<Event>) {
        loop {
            match self.channel.recv::<Envelope<RootSays>>().await {
                Ok((Envelope { id: Some(id), message }, fds)) => {
                    let fds = self.note(&message, fds);
                    match self.waiting().remove(&id) {
                        Some(asker) => _ = asker.send((message, fds)),
                        None => debug!(id, "late answer from root"),
                    }
                }
                Ok((Envelope { id: None, message }, fds)) => {
                    if let Some(event) = self.heard(message, fds).await
                        && events.send(event).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    if !matches!(error, FrameError::Closed) {
                        error!(%error, "link to root failed");
                    }
                    self.waiting().clear();
                    _ = events.send(Event::Closed).await;
                    return;
                }
            }
        }
    }

    /// Puts what an answer says about children into the table; hands on the descriptors it does not need.
    fn note(&self, message: &RootSays, fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        match message {
            RootSays::Spawned { order, pid } => {
                let service = self.serving().get(order).cloned();
                let born = Known { pid: *pid, exit: None, service };
                self.children.send_modify(|table| _ = table.entry(order.clone()).or_insert(born));
                fds
            }
            RootSays::Children => {
                let file = fds.into_iter().next().ok_or(FrameError::Closed);
                match file.and_then(frame::unseal::<Vec<Child>>) {
                    Ok(children) => {
                        let known = |child: Child| {
                            let service = child.service.map(Into::into);
                            (child.order, Known { pid: child.pid, exit: child.exit, service })
                        };
                        let table: Table = children.into_iter().map(known).collect();
                        self.children.send_if_modified(|old| {
                            let changed = *old != table;
                            *old = table;
                            changed
                        });
                    }
                    Err(error) => error!(%error, "table of children not understood"),
                }
                Vec::new()
            }
            _ => fds,
        }
    }

    async fn heard(&self, message: RootSays, fds: Vec<OwnedFd>) -> Option<Event> {
        if message == RootSays::Listen {
            return Some(Event::Listen(fds.into_iter().map(Into::into).collect()));
        }
        let mut fds = fds.into_iter();
        match (message, fds.next()) {
            (RootSays::Ping, _) => {
                if let Err(error) = self.tell(HubSays::Pong).await {
                    warn!(%error, "cannot answer root");
                }
                None
            }
            (RootSays::Exited { order, exit }, _) => {
                let unknown = Known { pid: 0, exit: None, service: None };
                self.children
                    .send_modify(|table| table.entry(order).or_insert(unknown).exit = Some(exit));
                None
            }
            (RootSays::Proxy, Some(link)) => Some(Event::Proxy(link)),
            (RootSays::Reload { serial }, Some(file)) => match frame::unseal(file) {
                Ok(slice) => {
                    Some(Event::Reload { serial, slice: Box::new(slice), log: fds.next() })
                }
                Err(error) => {
                    error!(%error, "new settings not understood");
                    let kept = vec![format!("new settings not understood: {error}")];
                    if let Err(error) = self.reloaded(ReloadOutcome { serial, kept }).await {
                        warn!(%error, "cannot answer root");
                    }
                    None
                }
            },
            (RootSays::Tap(filter), Some(to)) => Some(Event::Tap(filter, to)),
            (RootSays::Control(request), Some(asker)) => {
                Some(Event::Control(request, asker, fds.collect()))
            }
            (RootSays::Retire, _) => Some(Event::Retire),
            (RootSays::Stop { hard, servers }, _) => Some(Event::Stop { hard, servers }),
            (other, _) => {
                warn!(said = ?other, "root spoke out of turn");
                None
            }
        }
    }

    async fn keep_in_step(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RESYNC).await;
            match self.resync().await {
                Ok(_) => {}
                Err(RootError::Link(_)) => return,
                Err(error) => warn!(%error, "table of children not read"),
            }
        }
    }
}

/// What [`Root::spawn`] needs.
#[derive(Debug)]
pub struct Birth<'a> {
    /// The act's id.
    pub order: &'a OrderId,
    /// Account to run as.
    pub user: &'a Username,
    /// For the log.
    pub server: &'a ServerName,
    /// Values for names on root's list.
    pub env: BTreeMap<String, String>,
    /// Values for the holes of root's templates.
    pub holes: BTreeMap<String, String>,
    /// What was chosen of root's profiles.
    pub chosen: Option<Chosen>,
    /// The server's output goes there.
    pub log: BorrowedFd<'a>,
}

fn refusal(answer: RootSays) -> RootError {
    match answer {
        RootSays::Denied { why } => RootError::Denied(why),
        RootSays::Failed { step, errno } => RootError::Birth { step, errno },
        other => RootError::Link(format!("root answered out of turn: {other:?}")),
    }
}

fn unpack(given: Vec<Given>, fds: Vec<OwnedFd>) -> Result<Dowry, RootError> {
    let (mut slice, mut state, mut apis, mut inner) = (None, None, Vec::new(), None);
    for (what, fd) in given.into_iter().zip(fds) {
        match what {
            Given::Config => slice = Some(frame::unseal(fd)?),
            Given::State => state = Some(fd),
            Given::HubApi => apis.push(fd.into()),
            Given::HubInner => inner = Some(fd.into()),
            Given::Public | Given::Acme => {}
        }
    }
    let missing = |what: &str| RootError::Link(format!("root did not give {what}"));
    if apis.is_empty() {
        return Err(missing("the API's listener"));
    }
    Ok(Dowry {
        slice: slice.ok_or_else(|| missing("the configuration"))?,
        state: state.ok_or_else(|| missing("the state directory"))?,
        apis,
        inner: inner.ok_or_else(|| missing("the proxy's listener"))?,
    })
}

//! Servers as processes of this machine, started by root as their user (or, `Simple`, all as one account: root knows
//! which by its own configuration).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, TcpListener},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jovis_actors::{
    domain::OrderId,
    ports::{
        AccountError, Accounts, Boxed, Entropy, Exit, Handle, Order, Progress, Recovered,
        SpawnError, Spawner, Started, Stop,
    },
};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::{
    listeners::{Expected, uid_of},
    output::Outputs,
};
use crate::{
    config::sections,
    ipc::root::SignalKind,
    link::root::{Birth, Known, Root, RootError, Table},
};

/// How many ports are tried before giving up.
const DRAWS: u32 = 100;

/// What we need to find a server again; version 1.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    v: u8,
    url: String,
}

/// Local processes.
pub struct Local {
    root: Arc<Root>,
    settings: Arc<ArcSwap<sections::Spawner>>,
    maker: Option<Maker>,
    base_url: String,
    outputs: Outputs,
    expected: Arc<Expected>,
    entropy: Arc<dyn Entropy>,
}

/// What makes accounts where they are missing.
#[derive(Clone)]
pub struct Maker {
    /// By root.
    pub accounts: Arc<dyn Accounts>,
    /// Now? May change while we run.
    pub wanted: Arc<AtomicBool>,
}

impl Local {
    /// Over the link to root. `settings` may change while we run.
    pub fn new(
        root: Arc<Root>,
        settings: Arc<ArcSwap<sections::Spawner>>,
        base_url: String,
        outputs: Outputs,
        expected: Arc<Expected>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { root, settings, maker: None, base_url, outputs, expected, entropy }
    }

    /// Has accounts made for whom there is none.
    pub fn with(mut self, maker: Maker) -> Self {
        self.maker = Some(maker);
        self
    }

    /// A port nobody listens on now and no other server of ours was given, and the URL it makes. Between this and the
    /// server's bind somebody else may take it; the probe sees that.
    fn draw(&self, settings: &sections::Spawner) -> Result<(u16, String), SpawnError> {
        let host = match settings.ip.as_str() {
            "" | "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            ip if ip.contains(':') && !ip.starts_with('[') => format!("[{ip}]"),
            ip => ip.to_owned(),
        };
        let url = |port: u16| format!("http://{host}:{port}");
        if settings.port != 0 {
            return Ok((settings.port, url(settings.port)));
        }
        let (first, last) = settings.ports;
        let span = u64::from(last.saturating_sub(first)) + 1;
        let address: IpAddr = settings
            .ip
            .trim_matches(['[', ']'])
            .parse()
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        for _ in 0..DRAWS {
            let port = first + self.entropy.below(span) as u16;
            let url = url(port);
            if !self.expected.reserve(&url, port) {
                continue;
            }
            if TcpListener::bind((address, port)).is_ok() {
                return Ok((port, url));
            }
            self.expected.drop_url(&url);
        }
        Err(SpawnError::Failed(format!("no free port found between {first} and {last}")))
    }

    async fn start(&self, order: &Order, tell: &Progress) -> Result<Started, SpawnError> {
        // Root cannot know an order that was never begun here: the note is written before root is asked. So a first start
        // does not have the whole table sent.
        if self.outputs.url(&order.id).is_some()
            && let Recovered::Alive(started) = self.recover(&order.id).await?
        {
            return Ok(started);
        }
        // Who has not signed in yet (an administrator starts the server, or the configuration made the user) gets one here.
        if let Some(Maker { accounts, wanted }) = &self.maker
            && wanted.load(Ordering::Relaxed)
            && let Err(error) = accounts.ensure(&order.user).await
        {
            return Err(match error {
                AccountError::Failed(why) => SpawnError::Failed(why),
                refused => SpawnError::Refused(refused.to_string()),
            });
        }
        let settings = self.settings.load_full();
        let (port, url) = self.draw(&settings)?;
        let born = self.bear(order, tell, &settings, port, url.clone()).await;
        if born.is_err() {
            // If it lives all the same, recovery by order expects it again.
            self.expected.drop_url(&url);
        }
        born
    }

    /// Has root make the process that is to listen there.
    async fn bear(
        &self,
        order: &Order,
        tell: &Progress,
        settings: &sections::Spawner,
        port: u16,
        url: String,
    ) -> Result<Started, SpawnError> {
        let listen = match settings.ip.as_str() {
            "" => format!("http://:{port}"),
            _ => url.clone(),
        };
        let log = self
            .outputs
            .begin(&order.id, &url)
            .map_err(|error| disk("make the server's log file", &error))?;
        let mut env = order.env.reveal().0.clone();
        env.insert("JUPYTERHUB_SERVICE_URL".to_owned(), format!("{listen}{}", order.prefix));
        let holes = BTreeMap::from([
            ("username".to_owned(), order.user.to_string()),
            ("base_url".to_owned(), self.base_url.clone()),
            ("port".to_owned(), port.to_string()),
        ]);
        let birth = Birth {
            order: &order.id,
            user: &order.user,
            server: &order.server,
            env,
            holes,
            chosen: order.chosen.clone(),
            log: log.as_fd(),
        };
        let cmd = match order.overrides.cmd.as_slice() {
            [] => &settings.cmd,
            own => own,
        };
        let pid = self.root.spawn(birth).await.map_err(|error| explain(error, cmd))?;
        if let Some(uid) = uid_of(pid) {
            self.expected.expect(&url, port, uid);
        }
        debug!(user = %order.user, server = %order.server, order = %order.id, pid, port, "server process known");
        tell.tell(format!("Its process runs as {} (pid {pid})", order.user));
        Ok(Started { handle: handle(&url), url })
    }

    /// What root's table says of an order, as it is known here; read anew where it says nothing.
    async fn look_up(&self, order: &OrderId) -> Result<Option<Known>, SpawnError> {
        let known = || self.root.children().borrow().get(order).cloned();
        if let Some(child) = known() {
            return Ok(Some(child));
        }
        self.root.resync().await.map_err(|error| SpawnError::Failed(error.to_string()))?;
        Ok(known())
    }

    async fn recover(&self, order: &OrderId) -> Result<Recovered, SpawnError> {
        let Some(child) = self.look_up(order).await? else {
            return Ok(Recovered::Unknown);
        };
        if let Some(exit) = child.exit {
            return Ok(Recovered::Ended(exit));
        }
        // A server whose address was lost cannot be used, but it can be ended: that takes no address.
        let url = self.outputs.url(order).unwrap_or_default();
        let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        if let (Some(port), Some(uid)) = (port, uid_of(child.pid)) {
            self.expected.expect(&url, port, uid);
        }
        Ok(Recovered::Alive(Started { handle: handle(&url), url }))
    }

    /// Resolves with the exit once the order's process has ended.
    async fn ended(&self, order: &OrderId) -> Exit {
        let mut children = self.root.children();
        let over = |table: &Table| table.get(order).is_none_or(|child| child.exit.is_some());
        let seen = children.wait_for(over).await;
        seen.ok().and_then(|table| table.get(order)?.exit).unwrap_or(Exit::Unknown)
    }

    async fn stop(&self, order: &OrderId, how: Stop) -> Result<(), SpawnError> {
        let settings = self.settings.load_full();
        let steps: &[(SignalKind, Duration)] = &[
            (SignalKind::Interrupt, settings.interrupt_timeout.duration()),
            (SignalKind::Terminate, settings.term_timeout.duration()),
            (SignalKind::Kill, settings.kill_timeout.duration()),
        ];
        let from = if how == Stop::Hard { 2 } else { 0 };
        for (signal, patience) in &steps[from..] {
            if self.is_over(order) {
                return Ok(());
            }
            match self.root.signal(order, *signal).await {
                Ok(()) => {}
                // Root does not know it (any more): then it is over.
                Err(RootError::Denied(why)) => warn!(%order, why, "signal denied"),
                Err(error) => return Err(SpawnError::Failed(error.to_string())),
            }
            if tokio::time::timeout(*patience, self.ended(order)).await.is_ok() {
                return Ok(());
            }
        }
        Err(SpawnError::Failed("the server process does not die".to_owned()))
    }

    fn is_over(&self, order: &OrderId) -> bool {
        self.root.children().borrow().get(order).is_none_or(|child| child.exit.is_some())
    }
}

impl Spawner for Local {
    fn start<'a>(
        &'a self,
        order: &'a Order,
        tell: Progress,
    ) -> Boxed<'a, Result<Started, SpawnError>> {
        Box::pin(async move { self.start(order, &tell).await })
    }

    fn recover<'a>(
        &'a self,
        order: &'a OrderId,
        _handle: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>> {
        Box::pin(self.recover(order))
    }

    fn wait<'a>(
        &'a self,
        order: &'a OrderId,
        _handle: &'a Handle,
    ) -> Boxed<'a, Result<Exit, SpawnError>> {
        Box::pin(async { Ok(self.ended(order).await) })
    }

    fn stop<'a>(
        &'a self,
        order: &'a OrderId,
        _handle: &'a Handle,
        how: Stop,
    ) -> Boxed<'a, Result<(), SpawnError>> {
        Box::pin(self.stop(order, how))
    }

    fn forget<'a>(&'a self, order: &'a OrderId) -> Boxed<'a, ()> {
        Box::pin(async move {
            if let Err(error) = self.root.forget(order).await {
                // It may live: what is needed to find it stays.
                return warn!(%order, %error, "order not forgotten");
            }
            if let Some(url) = self.outputs.url(order) {
                self.expected.drop_url(&url);
            }
            self.outputs.forget(order);
        })
    }

    fn log_tail<'a>(&'a self, order: &'a OrderId, bytes: usize) -> Boxed<'a, String> {
        let (outputs, order) = (self.outputs.clone(), order.clone());
        let read = tokio::task::spawn_blocking(move || outputs.tail(&order, bytes));
        Box::pin(async { read.await.unwrap_or_default() })
    }

    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>> {
        Box::pin(async {
            self.root.resync().await.map_err(|error| SpawnError::Failed(error.to_string()))?;
            let table = self.root.children().borrow().clone();
            let ours = |child: &Known| child.exit.is_none() && child.service.is_none();
            let alive = table.into_iter().filter(|(_, child)| ours(child));
            Ok(alive.map(|(order, _)| order).collect())
        })
    }
}

fn handle(url: &str) -> Handle {
    Handle(serde_json::to_string(&Kept { v: 1, url: url.to_owned() }).expect("plain data"))
}

fn disk(doing: &str, error: &io::Error) -> SpawnError {
    SpawnError::Failed(format!("cannot {doing}: {error}"))
}

/// What root said, for the person who waits.
fn explain(error: RootError, cmd: &[String]) -> SpawnError {
    let program = cmd.first().map_or("", String::as_str);
    match error {
        RootError::Denied(why) => SpawnError::Refused(why),
        RootError::Birth { ref step, errno } if step.starts_with("exec") => {
            SpawnError::Refused(match errno {
                libc::ENOENT => format!("the server's program {program} was not found in PATH"),
                // A folder in PATH that the user may not look into gives this as well.
                libc::EACCES if !program.contains('/') => format!(
                    "the server's program {program} was not found in this user's PATH, or may not be executed"
                ),
                libc::EACCES => {
                    format!("the server's program {program} may not be executed by this user")
                }
                _ => format!("the server's program {program} cannot be executed: {error}"),
            })
        }
        RootError::Birth { .. } => {
            SpawnError::Failed(format!("the server process could not be made: {error}"))
        }
        RootError::Timeout | RootError::Link(_) => SpawnError::Failed(error.to_string()),
    }
}

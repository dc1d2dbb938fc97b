//! Our proxy as a [`RouteSink`]: the hub's end of the link that root made between the two.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jovis_actors::{
    domain::{Route, RouteSpec, ServerKey},
    ports::{Boxed, RouteSink, SinkError},
};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::{
    channel::Channel,
    ipc::{
        Envelope, Hello, VERSION,
        frame::{self, FrameError},
        proxy::{HubToProxy, ProxyToHub, Seen},
    },
    telemetry::metrics,
};

/// How long the proxy may take over anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most routes in one datagram.
const BATCH: usize = 50;

/// Most bytes of routes in one datagram; the rest is for what is around them.
const BATCH_BYTES: usize = frame::LIMIT - 1024;

type Answer = (ProxyToHub, Vec<OwnedFd>);

/// Told of traffic: whose, and how long ago.
pub type OnActivity = Box<dyn Fn(&ServerKey, Duration) + Send + Sync>;

/// The link to one proxy process. When that goes, every request fails as closed and a new link comes from root.
pub struct ProxyLink {
    channel: Channel,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    servers: Mutex<HashMap<RouteSpec, ServerKey>>,
    on_activity: OnActivity,
    name: String,
    /// Becomes true when the link has ended.
    over: watch::Sender<bool>,
}

impl ProxyLink {
    /// Shakes hands and serves the link with a task of its own. Among several proxies this one is `name`.
    pub async fn connect(
        name: String,
        link: OwnedFd,
        on_activity: OnActivity,
    ) -> Result<Arc<Self>, FrameError> {
        let channel = Channel::new(link)?;
        let hello =
            Hello { version: VERSION, role: "hub".into(), build: env!("CARGO_PKG_VERSION").into() };
        channel.send(&Envelope { id: None, message: HubToProxy::Hello(hello) }, &[]).await?;
        let proxy = Arc::new(Self {
            channel,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            servers: Mutex::default(),
            on_activity,
            name,
            over: watch::Sender::new(false),
        });
        tokio::spawn(proxy.clone().listen());
        Ok(proxy)
    }

    async fn listen(self: Arc<Self>) {
        loop {
            match self.channel.recv::<Envelope<ProxyToHub>>().await {
                Ok((Envelope { id: Some(id), message }, fds)) => {
                    match lock(&self.waiting).remove(&id) {
                        Some(asker) => _ = asker.send((message, fds)),
                        None => debug!(id, "late answer from proxy"),
                    }
                }
                Ok((Envelope { id: None, message: ProxyToHub::Activity(seen) }, _)) => {
                    self.activity(seen)
                }
                Ok((Envelope { id: None, message: ProxyToHub::Figures }, fds)) => {
                    self.figures(fds);
                }
                Ok((Envelope { id: None, message: ProxyToHub::Hello(hello) }, _)) => {
                    let (version, build) = (hello.version, hello.build);
                    if version != VERSION {
                        // It keeps the routes it has, and carries on without us until it is replaced.
                        error!(version, %build, "proxy speaks another version");
                        return self.end();
                    }
                    info!(version, %build, "proxy linked");
                }
                Ok((other, _)) => warn!(said = ?other.message, "proxy spoke out of turn"),
                Err(error) => {
                    info!(%error, "proxy link ended");
                    return self.end();
                }
            }
        }
    }

    fn figures(&self, fds: Vec<OwnedFd>) {
        let Some(file) = fds.into_iter().next() else { return };
        match frame::unseal::<String>(file) {
            Ok(text) => metrics::set_proxy(&self.name, text),
            Err(error) => warn!(%error, "figures not readable"),
        }
    }

    fn end(&self) {
        metrics::clear_proxy(&self.name);
        lock(&self.waiting).clear();
        self.over.send_replace(true);
    }

    /// Resolves when the link has ended: that proxy is gone.
    pub async fn ended(&self) {
        // Its sender is ours.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    fn activity(&self, seen: Vec<Seen>) {
        let servers = lock(&self.servers);
        for Seen { spec, ago_ms } in seen {
            if let Some(server) = servers.get(&spec) {
                (self.on_activity)(server, Duration::from_millis(ago_ms));
            }
        }
    }

    async fn ask(&self, doing: &'static str, message: HubToProxy) -> Result<Answer, SinkError> {
        let failed = |error: String| SinkError { doing, error };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let asked = async {
            self.channel
                .send(&Envelope { id: Some(id), message }, &[])
                .await
                .map_err(|error| failed(error.to_string()))?;
            answer.await.map_err(|_| failed("the proxy is gone".to_owned()))
        };
        let outcome = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(failed("no answer in time".to_owned())));
        lock(&self.waiting).remove(&id);
        outcome
    }

    async fn done(&self, doing: &'static str, message: HubToProxy) -> Result<(), SinkError> {
        match self.ask(doing, message).await?.0 {
            ProxyToHub::Done => Ok(()),
            other => Err(SinkError { doing, error: format!("it answered {other:?}") }),
        }
    }

    fn learn(&self, routes: &[Route]) {
        let mut servers = lock(&self.servers);
        for route in routes {
            match &route.server {
                Some(server) => servers.insert(route.spec.clone(), server.clone()),
                None => servers.remove(&route.spec),
            };
        }
    }
}

impl RouteSink for ProxyLink {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self) -> Boxed<'_, Result<Vec<Route>, SinkError>> {
        Box::pin(async {
            let doing = "list its routes";
            let (answer, fds) = self.ask(doing, HubToProxy::List).await?;
            let (ProxyToHub::Routes, Some(file)) = (answer, fds.into_iter().next()) else {
                return Err(SinkError { doing, error: "it sent no list".to_owned() });
            };
            let routes: Vec<Route> = frame::unseal(file)
                .map_err(|error| SinkError { doing, error: error.to_string() })?;
            self.learn(&routes);
            Ok(routes)
        })
    }

    fn set(&self, routes: Vec<Route>) -> Boxed<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.learn(&routes);
            for batch in batches(&routes) {
                self.done("set routes", HubToProxy::Set(batch.to_vec())).await?;
            }
            Ok(())
        })
    }

    fn remove(&self, specs: Vec<RouteSpec>) -> Boxed<'_, Result<(), SinkError>> {
        Box::pin(async move {
            for batch in batches(&specs) {
                self.done("remove routes", HubToProxy::Remove(batch.to_vec())).await?;
            }
            let mut servers = lock(&self.servers);
            specs.iter().for_each(|spec| _ = servers.remove(spec));
            Ok(())
        })
    }

    fn synced(&self) -> Boxed<'_, Result<(), SinkError>> {
        Box::pin(self.done("begin to accept", HubToProxy::Synced))
    }
}

/// In pieces that fit into a datagram: names may be long, and longer as JSON.
fn batches<T: Serialize>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(BATCH).take_while(|item| {
            bytes += serde_json::to_vec(item).map_or(0, |json| json.len() + 1);
            bytes <= BATCH_BYTES
        });
        // One that is too long by itself goes alone, and is refused by name.
        let count = fitting.count().max(1).min(rest.len());
        let (batch, later) = rest.split_at(count);
        rest = later;
        (!batch.is_empty()).then_some(batch)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}

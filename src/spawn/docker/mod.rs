//! Servers as containers of a Docker or podman engine.
//!
//! | What | By what it is known |
//! |---|---|
//! | a container is ours | its label [`plan::HUB`]: the hub's id, `docker.id` in the state directory |
//! | which start made it | its label [`plan::ORDER`] |
//! | it is in the way of another start | its name, which is one for each server |
//!
//! The engine alone is asked what lives; what it does not answer is not known, and nothing ends by that. A container is
//! made, then started: one that was made and never started (its hub ended in between) is removed when it is asked after.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jovis_actors::{
    domain::OrderId,
    ports::{
        Boxed, Entropy, Exit, Handle, Order, Progress, Recovered, SpawnError, Spawner, Started,
        Stop,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, Semaphore};
use tracing::warn;

use super::{listeners::Expected, output::Outputs};
use crate::config::sections::{self, SpawnerClass};

pub mod client;
pub mod extra;
pub mod fate;
mod launch;
mod listen;
pub mod names;
pub mod place;
pub mod plan;
pub mod pull;
mod transport;
pub mod watch;

use client::{Engine, EngineError};
use fate::Fate;
use place::Place;
use watch::Bells;

/// Starts that are in the engine's hands at once; the others wait for their turn.
const STARTS: usize = 16;
/// Most orders of the past that are remembered. Who is forgotten is only looked at once more, or removed later.
const PAST: usize = 10_000;
/// So many containers that could not be removed are tried again with each inventory.
const AGAIN: usize = 50;
/// How long the engine may take to notice that what it has announced as ended has ended.
const NOTICE: Duration = Duration::from_millis(50);
/// So many times it is asked whether it has, each after twice as long.
const LOOKS: u32 = 4;

/// What we need to find a container again; version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    v: u8,
    /// The container's id.
    container: String,
    /// The engine's socket.
    socket: String,
    url: String,
}

impl Kept {
    fn read(handle: &Handle) -> Option<Self> {
        serde_json::from_str(&handle.0).ok()
    }

    fn started(&self) -> Started {
        let handle = Handle(serde_json::to_string(self).expect("plain data"));
        Started { handle, url: self.url.clone() }
    }
}

/// Is this the handle of a container?
pub fn is_ours(handle: &Handle) -> bool {
    Kept::read(handle).is_some()
}

/// Containers.
pub struct Docker(Arc<Inner>);

struct Inner {
    settings: Arc<ArcSwap<sections::Spawner>>,
    /// The hub's id.
    hub: String,
    engines: Mutex<HashMap<String, Arc<Engine>>>,
    /// The orders that were heard of, and the engine of each.
    known: Mutex<BTreeMap<OrderId, String>>,
    /// Orders that are over and whose containers the engine could not be told to remove.
    leftover: Mutex<HashSet<OrderId>>,
    /// Orders that are over whose containers stay.
    over: Mutex<HashSet<OrderId>>,
    turns: Mutex<HashMap<OrderId, Arc<Turn<()>>>>,
    pulls: Mutex<HashMap<String, Arc<Turn<()>>>>,
    starts: Semaphore,
    bells: Arc<Bells>,
    outputs: Outputs,
    expected: Arc<Expected>,
    entropy: Arc<dyn Entropy>,
}

fn held<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic elsewhere leaves whole entries behind.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(past: &Mutex<HashSet<OrderId>>, order: &OrderId) {
    let mut past = held(past);
    if past.len() >= PAST {
        past.clear();
    }
    past.insert(order.clone());
}

fn failed(error: EngineError) -> SpawnError {
    match error {
        EngineError::Refused(_) => SpawnError::Refused(error.to_string()),
        _ => SpawnError::Failed(error.to_string()),
    }
}

/// The hub's id among those that share an engine: made once, kept in its state directory.
///
/// # Errors
///
/// It can be neither read nor written.
pub fn hub_id(state: &Path, entropy: &dyn Entropy) -> io::Result<String> {
    let path = state.join("docker.id");
    match fs::read_to_string(&path) {
        Ok(id) if id.trim().len() >= 16 => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = entropy.hex(16);
    let beside = state.join("docker.id.new");
    _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    io::Write::write_all(&mut file, id.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(state)?.sync_all()?;
    Ok(id)
}

impl Docker {
    /// Begins to listen for ends. `hub`: [`hub_id`]. `settings` may change while we run. Needs a runtime.
    pub fn begin(
        settings: Arc<ArcSwap<sections::Spawner>>,
        hub: String,
        outputs: Outputs,
        expected: Arc<Expected>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let inner = Arc::new(Inner {
            settings,
            hub,
            engines: Mutex::default(),
            known: Mutex::default(),
            leftover: Mutex::default(),
            over: Mutex::default(),
            turns: Mutex::default(),
            pulls: Mutex::default(),
            starts: Semaphore::new(STARTS),
            bells: Arc::default(),
            outputs,
            expected,
            entropy,
        });
        Self(inner)
    }

    /// Has this order been heard of, and not been forgotten?
    pub fn knows(&self, order: &OrderId) -> bool {
        held(&self.0.known).contains_key(order)
    }
}

impl Inner {
    fn docker(&self) -> Result<sections::Docker, SpawnError> {
        match &self.settings.load().class {
            SpawnerClass::Docker(docker) => {
                let mut docker = docker.clone();
                if docker.socket.is_empty() {
                    sections::Docker::USUAL_SOCKET.clone_into(&mut docker.socket);
                }
                Ok(docker)
            }
            _ => Err(SpawnError::Refused("servers do not run in containers here".to_owned())),
        }
    }

    /// The engine behind a socket. The first time it is asked for, its ends are listened for.
    fn engine(self: &Arc<Self>, socket: &str) -> Result<Arc<Engine>, SpawnError> {
        let mut engines = held(&self.engines);
        if let Some(engine) = engines.get(socket) {
            return Ok(engine.clone());
        }
        let place = Place::of(socket, &self.docker().unwrap_or_default());
        let place = place.map_err(SpawnError::Refused)?;
        if place.is_open_to_all() {
            warn!(socket, "engine socket open to all");
        }
        let engine = Arc::new(Engine::new(place).map_err(failed)?);
        engines.insert(socket.to_owned(), engine.clone());
        tokio::spawn(listen::listen(Arc::downgrade(self), engine.clone(), socket.to_owned()));
        Ok(engine)
    }

    /// The engine of an order: where it was started, else the configured one.
    fn engine_of(
        self: &Arc<Self>,
        order: &OrderId,
        handle: Option<&Handle>,
    ) -> Result<(String, Arc<Engine>), SpawnError> {
        let kept = handle.and_then(Kept::read).map(|it| it.socket);
        let socket = kept.or_else(|| held(&self.known).get(order).cloned());
        let socket = socket.map_or_else(|| self.docker().map(|it| it.socket), Ok)?;
        let engine = self.engine(&socket)?;
        Ok((socket, engine))
    }

    fn turn(&self, order: &OrderId) -> Arc<Turn<()>> {
        let mut turns = held(&self.turns);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(order.clone()).or_default().clone()
    }

    fn labels(&self, order: Option<&OrderId>) -> Vec<String> {
        let ours = format!("{}={}", plan::HUB, self.hub);
        std::iter::once(ours).chain(order.map(|it| format!("{}={it}", plan::ORDER))).collect()
    }

    /// The order's container, if there is one.
    async fn find(
        &self,
        engine: &Engine,
        order: &OrderId,
    ) -> Result<Option<(String, Found)>, EngineError> {
        let all = engine.list(&self.labels(Some(order)), true).await?;
        for id in all.into_iter().filter_map(|it| it.id) {
            if let Some(found) = look(engine, &id).await? {
                return Ok(Some((id, found)));
            }
        }
        Ok(None)
    }

    /// What is known of a container that runs.
    fn alive(
        &self,
        docker: &sections::Docker,
        order: &OrderId,
        socket: &str,
        engine: &Engine,
        container: String,
        it: &bollard::models::ContainerInspectResponse,
    ) -> Result<Started, SpawnError> {
        // By what it was made with, not by settings that may have changed since.
        let host = it.host_config.as_ref();
        let internal = !fate::is_published(it);
        let network = host.and_then(|it| it.network_mode.as_deref()).unwrap_or_default();
        let exposed = it.config.as_ref().and_then(|it| it.env.as_ref());
        let port = exposed.and_then(|env| own_port(env)).unwrap_or(docker.port);
        let url = fate::url(it, internal, network, port).ok_or_else(|| {
            SpawnError::Failed("the container engine tells no address of the container".to_owned())
        })?;
        if !internal
            && let Some(uid) = engine.uid()
            && let Some(port) = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
        {
            // A published port is the engine's own listener.
            self.expected.expect(&url, port, uid);
        }
        held(&self.known).insert(order.clone(), socket.to_owned());
        Ok(Kept { v: 1, container, socket: socket.to_owned(), url }.started())
    }

    async fn recover(
        self: &Arc<Self>,
        order: &OrderId,
        handle: Option<&Handle>,
    ) -> Result<Recovered, SpawnError> {
        if held(&self.over).contains(order) {
            return Ok(Recovered::Unknown);
        }
        let docker = self.docker().unwrap_or_default();
        let (socket, engine) = self.engine_of(order, handle)?;
        let Some((id, Found { fate, it })) = self.find(&engine, order).await.map_err(failed)?
        else {
            return Ok(Recovered::Unknown);
        };
        held(&self.known).insert(order.clone(), socket.clone());
        match fate {
            Fate::Ended(exit) => Ok(Recovered::Ended(exit)),
            Fate::Alive => {
                // A server whose address is not known cannot be used, but it can be ended.
                let nowhere = Kept {
                    v: 1,
                    container: id.clone(),
                    socket: socket.clone(),
                    url: String::new(),
                };
                let alive = self.alive(&docker, order, &socket, &engine, id, &it);
                Ok(Recovered::Alive(alive.unwrap_or_else(|_| nowhere.started())))
            }
            Fate::Made => {
                // Whoever makes it now will say how it went.
                let turn = self.turn(order);
                if let Ok(_turn) = turn.try_lock() {
                    engine.remove(&id, true).await.map_err(failed)?;
                }
                Ok(Recovered::Unknown)
            }
        }
    }

    /// Resolves with the end of the order's container.
    async fn ended(self: &Arc<Self>, order: &OrderId, handle: &Handle) -> Result<Exit, SpawnError> {
        if held(&self.over).contains(order) {
            return Ok(Exit::Unknown);
        }
        let (_, engine) = self.engine_of(order, Some(handle))?;
        let mut bell = self.bells.listen(order);
        // An engine announces an end a moment before it says so itself: after each ringing it is looked at some times.
        let mut looked = 0;
        loop {
            match self.find(&engine, order).await.map_err(failed)? {
                None | Some((_, Found { fate: Fate::Made, .. })) => return Ok(Exit::Unknown),
                Some((_, Found { fate: Fate::Ended(exit), .. })) => return Ok(exit),
                Some((_, Found { fate: Fate::Alive, .. })) => {}
            }
            let rung = match looked {
                LOOKS => {
                    bell.rung().await;
                    true
                }
                n => tokio::time::timeout(NOTICE * (1 << n), bell.rung()).await.is_ok(),
            };
            looked = if rung { 0 } else { looked + 1 };
        }
    }

    async fn stop(
        self: &Arc<Self>,
        order: &OrderId,
        handle: &Handle,
        how: Stop,
    ) -> Result<(), SpawnError> {
        if held(&self.over).contains(order) {
            return Ok(());
        }
        let (_, engine) = self.engine_of(order, Some(handle))?;
        let Some((id, Found { fate: Fate::Alive, .. })) =
            self.find(&engine, order).await.map_err(failed)?
        else {
            return Ok(());
        };
        let settings = self.settings.load_full();
        let outcome = match how {
            Stop::Soft => {
                let grace = settings.term_timeout.duration().as_secs_f64().ceil();
                engine.stop(&id, grace as i32).await
            }
            Stop::Hard => engine.kill(&id).await,
        };
        match outcome {
            // It ended in between.
            Ok(()) | Err(EngineError::Conflict(_) | EngineError::Missing(_)) => {}
            Err(error) => {
                // Podman fails to end what has just ended.
                let now = self.find(&engine, order).await.map_err(failed)?;
                if now.is_some_and(|(_, it)| it.fate == Fate::Alive) {
                    return Err(failed(error));
                }
            }
        }
        let patience = settings.kill_timeout.duration().max(Duration::from_secs(5));
        match tokio::time::timeout(patience, self.ended(order, handle)).await {
            Ok(outcome) => outcome.map(drop),
            Err(_) => Err(SpawnError::Failed("the server's container does not end".to_owned())),
        }
    }

    /// Keeps the end of its log and removes the container.
    async fn forget(self: &Arc<Self>, order: &OrderId) -> Result<(), SpawnError> {
        let (_, engine) = self.engine_of(order, None)?;
        let found = self.find(&engine, order).await.map_err(failed)?;
        if let Some((id, found)) = found {
            if found.fate == Fate::Alive {
                return Err(SpawnError::Failed("its container still runs".to_owned()));
            }
            let limit = usize::try_from(self.settings.load().log_size).unwrap_or(1 << 20);
            let log = engine.log(&id, limit.min(1 << 20)).await.unwrap_or_default();
            if !log.is_empty() && self.outputs.url(order).is_none() {
                let (outputs, order) = (self.outputs.clone(), order.clone());
                let keep = move || keep_log(&outputs, &order, fate::tail(&log, limit));
                _ = tokio::task::spawn_blocking(keep).await;
            }
            if let Some(url) = held(&self.known).get(order).and_then(|_| published(&found.it)) {
                self.expected.drop_url(&url);
            }
            match self.docker().is_ok_and(|it| !it.remove) {
                true => remember(&self.over, order),
                false => engine.remove(&id, false).await.map_err(failed)?,
            }
        }
        held(&self.known).remove(order);
        held(&self.leftover).remove(order);
        Ok(())
    }

    async fn inventory(self: &Arc<Self>) -> Result<Vec<OrderId>, SpawnError> {
        // What could not be removed when it was over.
        let leftover: Vec<_> = held(&self.leftover).iter().take(AGAIN).cloned().collect();
        for order in leftover {
            if self.forget(&order).await.is_err() {
                break;
            }
        }
        let mut sockets: HashSet<String> = held(&self.known).values().cloned().collect();
        let configured = self.docker().ok().map(|it| it.socket);
        sockets.extend(configured.clone());
        let mut all = Vec::new();
        for socket in sockets {
            let engine = self.engine(&socket)?;
            match engine.list(&self.labels(None), false).await {
                Ok(list) => all.extend(list.iter().filter_map(order_of)),
                // One that is configured no more may be gone for good; each of its orders is asked about by itself.
                Err(_) if Some(&socket) != configured.as_ref() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(all)
    }
}

/// A container, looked at.
struct Found {
    fate: Fate,
    it: bollard::models::ContainerInspectResponse,
}

/// None: it is gone.
async fn look(engine: &Engine, id: &str) -> Result<Option<Found>, EngineError> {
    let it = match engine.inspect(id).await {
        Err(EngineError::Missing(_)) => return Ok(None),
        other => other?,
    };
    let fate = it.state.as_ref().and_then(fate::fate);
    let fate = fate
        .ok_or_else(|| EngineError::Away("it says nothing of the container's state".to_owned()))?;
    Ok(Some(Found { fate, it }))
}

fn order_of(it: &client::Listed) -> Option<OrderId> {
    it.labels.as_ref()?.get(plan::ORDER)?.clone().try_into().ok()
}

/// The port a container was told to listen on.
fn own_port(env: &[String]) -> Option<u16> {
    let url = env.iter().find_map(|it| it.strip_prefix("JUPYTERHUB_SERVICE_URL=http://"))?;
    url.split('/').next()?.rsplit_once(':')?.1.parse().ok()
}

fn published(it: &bollard::models::ContainerInspectResponse) -> Option<String> {
    let env = it.config.as_ref()?.env.as_ref()?;
    fate::url(it, false, "", own_port(env)?)
}

fn keep_log(outputs: &Outputs, order: &OrderId, text: &str) {
    if let Ok(mut file) = outputs.begin(order, "") {
        _ = io::Write::write_all(&mut file, text.as_bytes());
        outputs.forget(order);
    }
}

impl Spawner for Docker {
    fn start<'a>(
        &'a self,
        order: &'a Order,
        tell: Progress,
    ) -> Boxed<'a, Result<Started, SpawnError>> {
        Box::pin(async move { self.0.start(order, &tell).await })
    }

    fn recover<'a>(
        &'a self,
        order: &'a OrderId,
        handle: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>> {
        Box::pin(self.0.recover(order, handle))
    }

    fn wait<'a>(
        &'a self,
        order: &'a OrderId,
        handle: &'a Handle,
    ) -> Boxed<'a, Result<Exit, SpawnError>> {
        Box::pin(self.0.ended(order, handle))
    }

    fn stop<'a>(
        &'a self,
        order: &'a OrderId,
        handle: &'a Handle,
        how: Stop,
    ) -> Boxed<'a, Result<(), SpawnError>> {
        Box::pin(self.0.stop(order, handle, how))
    }

    fn forget<'a>(&'a self, order: &'a OrderId) -> Boxed<'a, ()> {
        Box::pin(async move {
            if let Err(error) = self.0.forget(order).await {
                warn!(%order, %error, "container not removed");
                remember(&self.0.leftover, order);
            }
        })
    }

    fn log_tail<'a>(&'a self, order: &'a OrderId, bytes: usize) -> Boxed<'a, String> {
        Box::pin(async move {
            let asked = async {
                let (_, engine) = self.0.engine_of(order, None).ok()?;
                let (id, _) = self.0.find(&engine, order).await.ok()??;
                engine.log(&id, bytes).await.ok()
            };
            match asked.await {
                Some(log) => fate::tail(&log, bytes).to_owned(),
                None => {
                    let (outputs, order) = (self.0.outputs.clone(), order.clone());
                    let read = tokio::task::spawn_blocking(move || outputs.tail(&order, bytes));
                    read.await.unwrap_or_default()
                }
            }
        })
    }

    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>> {
        Box::pin(self.0.inventory())
    }
}

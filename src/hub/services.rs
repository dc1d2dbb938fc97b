//! Managed services: carries out what [`keep`] decides, over the link to root; and looks whether services answer.
//!
//! ```text
//!   settings ─▶ want ─┐
//!   root's table ─────┼─▶ keep::step ─▶ store: token ─ log file ─ root: Serve, Signal, Forget
//!   the clock ────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use jovis_actors::{
    accounts::begin_service,
    domain::{ClientId, OrderId, Scope, ServiceName},
    ports::{Clock, Entropy},
    services::{
        env::{About, variables},
        keep::{self, Act, Child, Memory},
    },
    spawner::Facts,
    store,
};
use serde_json::Value;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tracing::{debug, error, info, warn};

use crate::{
    config::{sections, slice::HubSlice},
    ipc::root::SignalKind,
    link::root::{Root, Table},
    spawn::output::Outputs,
    telemetry::logs::chain,
    web::Pids,
};

/// A service has so long to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Least time between two looks where nothing was heard in between.
const PAUSE: Duration = Duration::from_millis(50);

/// At the end of jovis they have so long to leave, before they are killed.
const LEAVE: Duration = Duration::from_secs(3);

/// What it takes.
#[derive(Clone)]
pub(super) struct Kit {
    pub(super) root: Arc<Root>,
    pub(super) outputs: Outputs,
    pub(super) store: store::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) facts: Arc<Facts>,
    /// Where their processes are noted, for who asks.
    pub(super) pids: Pids,
}

/// What is wanted now.
#[derive(Clone, Default)]
struct Want {
    /// Managed services, each with a digest of its entry.
    programs: BTreeMap<ServiceName, (String, sections::Service)>,
    api_url: String,
    cookie_host_prefix: bool,
    cookie_options: Option<Value>,
    check: Duration,
}

/// The way to say what is wanted.
pub(super) struct Services {
    kit: Kit,
    want: watch::Sender<Want>,
}

impl Services {
    /// Begins to keep what the slice wants.
    pub(super) fn begin(kit: Kit, slice: &HubSlice) -> Self {
        let (want, heard) = watch::channel(wanted(slice, &*kit.entropy));
        tokio::spawn(watched(kit.clone(), heard.clone()));
        tokio::spawn(check(kit.store.clone(), heard));
        Self { kit, want }
    }

    /// Takes new settings on.
    pub(super) fn want(&self, slice: &HubSlice) {
        self.want.send_replace(wanted(slice, &*self.kit.entropy));
    }

    /// Ends all of them: asks them to leave, unless it hurries, and kills who stays.
    pub(super) async fn stop(&self, hard: bool) {
        self.want.send_modify(|want| want.programs.clear());
        let mut children = self.kit.root.children();
        let left = |table: &Table| living(table).next().is_none();
        let soft = if hard { Duration::ZERO } else { LEAVE };
        if timeout(soft, children.wait_for(left)).await.is_ok() {
            return;
        }
        let stay: Vec<_> = living(&children.borrow()).cloned().collect();
        for order in &stay {
            self.kit.signal(order, SignalKind::Kill).await;
        }
        if timeout(Duration::from_secs(1), children.wait_for(left)).await.is_err() {
            warn!(count = living(&children.borrow()).count(), "services stay");
        }
    }
}

/// Services in root's table whose processes live.
fn living(table: &Table) -> impl Iterator<Item = &OrderId> {
    table.iter().filter(|(_, it)| it.service.is_some() && it.exit.is_none()).map(|(order, _)| order)
}

fn wanted(slice: &HubSlice, entropy: &dyn Entropy) -> Want {
    let managed = slice.services.iter().filter(|one| one.is_managed());
    let program = |one: &sections::Service| {
        let entry = serde_json::to_string(&(one, &slice.root.service_user)).unwrap_or_default();
        let digest = entropy.digest(&entry).0;
        let spec = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some((ServiceName::new(&one.name).ok()?, (spec, one.clone())))
    };
    Want {
        programs: managed.filter_map(program).collect(),
        api_url: slice.api_url.clone(),
        cookie_host_prefix: slice.cookies().host_prefix,
        cookie_options: slice.cookie_options(),
        check: slice.hub.service_check_interval.duration(),
    }
}

/// Keeps on keeping.
async fn watched(kit: Kit, want: watch::Receiver<Want>) {
    loop {
        let Err(died) = tokio::spawn(run(kit.clone(), want.clone())).await else { return };
        error!(error = %died, "service keeper died");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn run(kit: Kit, mut want: watch::Receiver<Want>) {
    let mut children = kit.root.children();
    let mut memory = Memory::default();
    let mut first = true;
    loop {
        let table = children.borrow_and_update().clone();
        let now_wanted = want.borrow_and_update().clone();
        let running = kit.running(&table);
        kit.note_pids(&table);
        if std::mem::take(&mut first) {
            for (order, child) in table.iter().filter(|(_, child)| child.exit.is_none()) {
                if let Some(service) = &child.service {
                    info!(%service, %order, pid = child.pid, "service found again");
                }
            }
        }
        let specs =
            now_wanted.programs.iter().map(|(name, (spec, _))| (name.clone(), spec.clone()));
        let (acts, again) =
            keep::step(&specs.collect(), &running, &mut memory, kit.clock.instant(), || {
                kit.entropy.below(1_000)
            });
        let idle = acts.is_empty();
        for act in acts {
            kit.act(act, &now_wanted, &mut memory).await;
        }
        let rest = match again {
            // What was done shows in the table, or in the memory.
            _ if !idle => Duration::ZERO,
            Some(at) => at.saturating_duration_since(kit.clock.instant()),
            None => Duration::from_secs(60),
        };
        tokio::select! {
            changed = children.changed() => if changed.is_err() { return },
            changed = want.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(rest.max(PAUSE)) => {}
        }
    }
}

impl Kit {
    fn running(&self, table: &Table) -> BTreeMap<ServiceName, Vec<Child>> {
        let mut running: BTreeMap<ServiceName, Vec<Child>> = BTreeMap::new();
        for (order, known) in table {
            let name = known.service.as_deref().and_then(|name| ServiceName::new(name).ok());
            if let Some(name) = name {
                let spec = self.outputs.url(order);
                let child = Child { order: order.clone(), spec, exit: known.exit };
                running.entry(name).or_default().push(child);
            }
        }
        running
    }

    fn note_pids(&self, table: &Table) {
        let living = table.values().filter(|child| child.exit.is_none());
        let pids: BTreeMap<String, i32> = living
            .filter_map(|child| Some((child.service.as_deref()?.to_owned(), child.pid)))
            .collect();
        if **self.pids.load() != pids {
            self.pids.store(Arc::new(pids));
        }
    }

    async fn act(&self, act: Act, want: &Want, memory: &mut Memory) {
        match act {
            Act::Start(name) => {
                let Some((spec, entry)) = want.programs.get(&name) else { return };
                let mut bytes = [0; 16];
                self.entropy.fill(&mut bytes);
                let order = OrderId::from_bytes(bytes);
                match self.start(&name, spec, entry, &order, want).await {
                    Ok(pid) => info!(service = %name, %order, pid, "service started"),
                    Err(error) => {
                        warn!(service = %name, %order, error, "service not started");
                        self.outputs.forget(&order);
                        let jitter = self.entropy.below(1_000);
                        memory.failed(&name, self.clock.instant(), jitter);
                    }
                }
            }
            Act::Terminate(order) => self.signal(&order, SignalKind::Terminate).await,
            Act::Kill(order) => self.signal(&order, SignalKind::Kill).await,
            Act::Forget { service, order, exit, asked } => {
                let exit = format!("{exit:?}");
                if asked {
                    info!(%service, %order, exit, "service ended");
                } else {
                    warn!(%service, %order, exit, "service ended");
                }
                match self.root.forget(&order).await {
                    Ok(()) => self.outputs.forget(&order),
                    Err(error) => warn!(%order, %error, "order not forgotten"),
                }
            }
        }
    }

    async fn signal(&self, order: &OrderId, how: SignalKind) {
        if let Err(error) = self.root.signal(order, how).await {
            warn!(%order, %error, "service not stopped");
        }
    }

    /// Its token first, then the file for its output, then the act.
    async fn start(
        &self,
        name: &ServiceName,
        spec: &str,
        entry: &sections::Service,
        order: &OrderId,
        want: &Want,
    ) -> Result<i32, String> {
        let words = |error: &dyn fmt::Display| error.to_string();
        debug!(service = %name, %order, "service starting");
        let token = match entry.api_token.as_str() {
            "" => self.entropy.hex(16),
            token => token.to_owned(),
        };
        let (whose, hash, now) = (name.clone(), self.entropy.digest(&token), self.clock.moment());
        let begin = move |image: &store::Image| begin_service(image, &whose, hash, now);
        self.store.change(begin).await.map_err(|error| chain(&error).to_string())?;
        let client = match entry.oauth_client_id.as_str() {
            "" => ClientId::of_service(name),
            id => ClientId::claimed(id),
        };
        let scopes: Vec<_> =
            entry.oauth_client_allowed_scopes.iter().map(|it| Scope::new(it)).collect();
        let about = About {
            name,
            url: &entry.url,
            client: &client,
            redirect_uri: &entry.oauth_redirect_uri,
            allowed_scopes: &scopes,
            cookie_host_prefix: want.cookie_host_prefix,
            cookie_options: want.cookie_options.as_ref(),
        };
        let env = variables(&self.facts, &want.api_url, &about, &token);
        let log = self.outputs.begin(order, spec).map_err(|error| words(&error))?;
        let started = self.root.serve(order, name.as_str(), env, log.as_fd()).await;
        started.map_err(|error| words(&error))
    }
}

/// Looks from time to time whether services take connections at their addresses, and says where that changes.
async fn check(store: store::Client, mut want: watch::Receiver<Want>) {
    let mut silent: BTreeSet<ServiceName> = BTreeSet::new();
    loop {
        let every = want.borrow_and_update().check;
        let rest = if every.is_zero() { Duration::from_secs(3600) } else { every };
        tokio::select! {
            changed = want.changed() => if changed.is_err() { return } else { continue },
            () = tokio::time::sleep(rest) => {}
        }
        if every.is_zero() {
            continue;
        }
        let services: Vec<_> = store.image().services().cloned().collect();
        silent.retain(|name| services.iter().any(|it| it.name == *name));
        for service in services {
            let (Some(url), service) = (&service.url, &service.name) else { continue };
            match connect(url).await {
                Ok(()) if silent.remove(service) => info!(%service, url, "service answers again"),
                Ok(()) => {}
                Err(error) if silent.insert(service.clone()) => {
                    warn!(%service, url, error, "service not answering");
                }
                Err(_) => {}
            }
        }
    }
}

async fn connect(url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|_| "this is no address".to_owned())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    match timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

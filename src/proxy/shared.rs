//! What all workers and the control side share.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{
    acme::Challenges,
    activity::Activity,
    alone::Alone,
    drain::{Crowd, Phase},
    figures::Figures,
    operators::Operators,
    peers::Shares,
    settings::Settings,
    stopped::Told,
    table::{Entry, Routes},
};

/// What the proxy knows of the hub, from its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hub {
    /// No link.
    Away,
    /// It speaks; routes may still be missing.
    Linked,
    /// All its routes are here.
    Synced,
}

/// One per process.
pub(super) struct Shared {
    /// The route table.
    pub(super) routes: Routes,
    /// Whose routes are no hub's.
    pub(super) operators: Operators,
    /// What makes it stand alone, without a hub of ours; set before the first visitor comes, if at all.
    pub(super) alone: OnceLock<Alone>,
    /// The default route.
    pub(super) hub: Arc<Entry>,
    /// How the hub does.
    pub(super) hub_state: watch::Sender<Hub>,
    /// Have all routes ever been told? Then what is not among them does not run.
    pub(super) knows_routes: AtomicBool,
    /// Programs that ask for servers that do not run.
    pub(super) stopped: Told,
    /// How far our life has come.
    pub(super) phase: watch::Sender<Phase>,
    /// Durations and trust.
    pub(super) settings: ArcSwap<Settings>,
    /// Certificates, if the public side is TLS.
    pub(super) tls: ArcSwapOption<TlsAcceptor>,
    /// What authorities ask to see while they give us a certificate.
    pub(super) challenges: Arc<Challenges>,
    /// How `https` targets are believed; none: as the system does.
    pub(super) upstream_tls: ArcSwapOption<ClientConfig>,
    /// Traffic that the hub hasn't been told.
    pub(super) activity: Activity,
    /// Connections and tunnels.
    pub(super) crowd: Crowd,
    /// What is counted.
    pub(super) figures: Figures,
    /// Connections, by the peer's address.
    pub(super) connections: Shares,
    /// TLS handshakes under way, by the peer's address.
    pub(super) handshakes: Shares,
    /// Requests at the hub, by the visitor's address.
    pub(super) at_hub: Shares,
    /// Requests since the beginning, where some get a line in the log.
    pub(super) lines: AtomicU64,
    /// When forwarded headers of a stranger were last logged.
    pub(super) warned: AtomicU64,
}

impl Shared {
    /// At the start: no routes, nobody let in.
    pub(super) fn new(
        hub_socket: PathBuf,
        settings: Settings,
        tls: Option<TlsAcceptor>,
    ) -> Arc<Self> {
        Arc::new(Self {
            routes: Routes::new(),
            operators: Operators::default(),
            alone: OnceLock::new(),
            hub: Arc::new(Entry::hub(hub_socket)),
            hub_state: watch::Sender::new(Hub::Away),
            knows_routes: AtomicBool::new(false),
            stopped: Told::default(),
            phase: watch::Sender::new(Phase::Waiting),
            settings: ArcSwap::from_pointee(settings),
            tls: ArcSwapOption::from_pointee(tls),
            challenges: Arc::default(),
            upstream_tls: ArcSwapOption::empty(),
            activity: Activity::default(),
            crowd: Crowd::default(),
            figures: Figures::default(),
            connections: Shares::default(),
            handshakes: Shares::default(),
            at_hub: Shares::default(),
            lines: AtomicU64::new(0),
            warned: AtomicU64::new(0),
        })
    }
}

//! New settings while the hub lives: what can take effect does, what cannot is named.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use jovis_actors::{logins::Ways, ports::Need, routes, tree::Settings};
use tracing::info;

use super::{registry, services::Services, settings, sync::Keeper};
use crate::{
    config::{sections, slice::HubSlice},
    link::root::Root,
    telemetry::logs::{LogHandle, chain},
    web::App,
};

/// Everything that can be changed.
pub(super) struct Live {
    /// What the web reads.
    pub(super) slice: Arc<ArcSwap<HubSlice>>,
    /// What the actors read.
    pub(super) actors: Settings,
    /// What the local spawner reads.
    pub(super) spawner: Arc<ArcSwap<sections::Spawner>>,
    /// Does it have accounts made?
    pub(super) makes: Arc<AtomicBool>,
    /// How people sign in.
    pub(super) ways: Ways,
    /// For authenticators.
    pub(super) root: Arc<Root>,
    /// Roles, and the records the configuration names.
    pub(super) keeper: Keeper,
    /// The programs it keeps running.
    pub(super) services: Services,
    /// What the proxies lead to.
    pub(super) routes: routes::Client,
    /// For its pages.
    pub(super) app: Arc<App>,
    /// For their level and form.
    pub(super) logs: LogHandle,
}

impl Live {
    /// Takes the new slice on; root has compared it with the old one and put back what waits for a restart. What could
    /// not be taken on, and stays as it was.
    pub(super) async fn apply(&self, new: HubSlice) -> Vec<String> {
        let mut kept = Vec::new();
        kept.extend(self.keeper.apply(&new).await.err());
        settings::apply(&new, &self.actors);
        let old = &self.slice.load().auth;
        if new.auth.class != old.class || new.auth.others != old.others {
            self.ways.store(Arc::new(registry::ways(&new.auth, &self.root)));
        }
        self.spawner.store(Arc::new(new.spawner.clone()));
        self.makes.store(new.accounts() == Need::Made, Ordering::Relaxed);
        if let Err(error) = self.logs.follow(&new.log) {
            kept.push(format!("log.level: {error}"));
        }
        self.services.want(&new);
        if new.extra_routes != self.slice.load().extra_routes
            && let Err(error) = self.routes.check().await
        {
            kept.push(format!("proxy.extra_routes: {}", chain(&error)));
        }
        self.slice.store(Arc::new(new));
        if let Err(error) = self.app.reload_pages() {
            kept.push(format!("the look of pages: {}", chain(&error)));
        }
        info!(kept = kept.len(), "new settings taken on");
        kept
    }
}

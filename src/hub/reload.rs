//! New settings while the hub lives: what can take effect does, what cannot is named.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jovis_actors::tree::Settings;
use tracing::{info, warn};

use super::settings;
use crate::{
    config::{sections, slice::HubSlice},
    ipc::root::ReloadOutcome,
    telemetry::logs::LogHandle,
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
    /// For its templates.
    pub(super) app: Arc<App>,
    /// For the level.
    pub(super) logs: LogHandle,
}

impl Live {
    /// Takes the new slice on. What is fixed for the life of the process (addresses, the authenticator's class) root
    /// has compared and named already; here it is simply not read again.
    pub(super) fn apply(&self, new: HubSlice) -> ReloadOutcome {
        let mut outcome = ReloadOutcome::default();
        if new.auth.class != self.slice.load().auth.class {
            outcome.needs_restart.push("auth.class".to_owned());
        }
        settings::apply(&new, &self.actors);
        self.spawner.store(Arc::new(new.spawner.clone()));
        if let Err(error) = self.logs.set_level(&new.log.level) {
            warn!(%error, "log level kept");
        }
        self.slice.store(Arc::new(new));
        if let Err(error) = self.app.reload_templates() {
            warn!(%error, "templates kept");
        }
        outcome.applied = ["hub", "auth", "spawner", "log.level"].map(str::to_owned).to_vec();
        info!(needs_restart = ?outcome.needs_restart, "new settings taken on");
        outcome
    }
}

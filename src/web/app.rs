//! What all requests share.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use jovis_actors::{
    activity,
    domain::{Facts, Moment, Policy},
    logins,
    ports::{Accounts, Clock, Entropy, Meter},
    routes, spawners, store,
};
use thiserror::Error;
use tracing::warn;

use super::{
    api::progress::Watchers,
    doors::{Actors, Doors, Halt},
    look::Look,
    spent::Spent,
    templates::Templates,
};
use crate::{
    config::{look::LookError, slice::HubSlice, templates::TemplateError},
    telemetry::logs::chain,
};

/// What [`App::new`] takes.
pub struct Parts {
    /// Records.
    pub store: store::Client,
    /// Servers.
    pub spawners: spawners::Client,
    /// Sign-ins.
    pub logins: logins::Client,
    /// Last use.
    pub activity: activity::Client,
    /// What servers take.
    pub meter: Arc<dyn Meter>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Settings; may be replaced while we run.
    pub settings: Arc<ArcSwap<HubSlice>>,
    /// Roles; as the settings.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The proxies' tables.
    pub routes: routes::Client,
    /// Accounts of the machine.
    pub accounts: Arc<dyn Accounts>,
    /// How all of it is ended.
    pub halt: Arc<dyn Halt>,
}

/// The operator's own pages cannot be used.
#[derive(Debug, Error)]
pub enum PagesError {
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The logo.
    #[error(transparent)]
    Look(#[from] LookError),
}

/// Services that run here, with the id of each one's process.
pub type Pids = Arc<ArcSwap<BTreeMap<String, i32>>>;

/// The web's state; cheap to share.
pub struct App {
    pub(crate) doors: Box<dyn Doors>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Arc<ArcSwap<HubSlice>>,
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    /// Under which addresses the site is known. What of it changes waits for a restart.
    pub(crate) facts: Facts,
    pub(crate) templates: ArcSwap<Templates>,
    pub(crate) look: ArcSwap<Look>,
    /// When this hub began.
    pub(crate) started: Moment,
    /// Processes of managed services.
    pub(crate) pids: Pids,
    /// Open streams per user.
    /// Visits at providers that have ended.
    pub(crate) visits: Spent,
    pub(crate) watchers: Arc<Watchers>,
}

impl App {
    /// Puts it together. Fails if a template of the operator does not parse.
    pub fn new(parts: Parts) -> Result<Arc<Self>, PagesError> {
        let Parts { store, spawners, logins, activity, meter, clock, .. } = parts;
        let Parts { entropy, settings, policy, routes, halt, accounts, .. } = parts;
        let clock_too = clock.clone();
        let doors = Actors {
            store,
            spawners,
            logins,
            activity,
            routes,
            halt,
            accounts,
            meter,
            clock: clock_too,
        };
        Self::with_doors(Box::new(doors), clock, entropy, settings, policy)
    }

    /// With any doors.
    pub(crate) fn with_doors(
        doors: Box<dyn Doors>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Arc<ArcSwap<HubSlice>>,
        policy: Arc<ArcSwap<Policy>>,
    ) -> Result<Arc<Self>, PagesError> {
        let slice = settings.load_full();
        let hub = &slice.hub;
        // Root can read more than the hub: what `check` could not see must not keep everybody out.
        let look = Look::load(hub).unwrap_or_else(|error| {
            warn!(error = %chain(&error), "logo not used");
            Look::without_logo(hub)
        });
        Ok(Arc::new(Self {
            templates: ArcSwap::from_pointee(Templates::load(&hub.template_paths)?),
            look: ArcSwap::from_pointee(look),
            facts: slice.facts(),
            started: clock.moment(),
            pids: Pids::default(),
            watchers: Arc::default(),
            visits: Spent::default(),
            doors,
            clock,
            entropy,
            settings,
            policy,
        }))
    }

    /// Where whoever runs services notes their processes.
    pub fn pids(&self) -> Pids {
        self.pids.clone()
    }

    /// Reads templates and logo again, after settings were replaced. On an error the old ones stay.
    ///
    /// # Errors
    ///
    /// What cannot be used of them.
    pub fn reload_pages(&self) -> Result<(), PagesError> {
        let hub = &self.settings.load_full().hub;
        let (templates, look) = (Templates::load(&hub.template_paths)?, Look::load(hub)?);
        self.templates.store(Arc::new(templates));
        self.look.store(Arc::new(look));
        Ok(())
    }

    /// `n` random letters and digits.
    pub(crate) fn alphanumerics(&self, n: usize) -> String {
        const LETTERS: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut out = String::with_capacity(n);
        let mut bytes = [0; 64];
        while out.len() < n {
            self.entropy.fill(&mut bytes);
            // 248 is the largest multiple of 62 in a byte: each letter is equally likely.
            let fair = bytes.iter().filter(|byte| **byte < 248);
            out.extend(fair.take(n - out.len()).map(|byte| LETTERS[*byte as usize % 62] as char));
        }
        out
    }
}

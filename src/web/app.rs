//! What all requests share.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use jovis_actors::{
    activity,
    domain::Policy,
    logins,
    ports::{Clock, Entropy},
    routes, spawners, store,
};

use super::{
    api::progress::Watchers,
    doors::{Actors, Doors, Halt},
    templates::{TemplateError, Templates},
};
use crate::config::slice::HubSlice;

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
    /// How all of it is ended.
    pub halt: Arc<dyn Halt>,
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
    pub(crate) templates: ArcSwap<Templates>,
    /// Processes of managed services.
    pub(crate) pids: Pids,
    /// Open streams per user.
    pub(crate) watchers: Arc<Watchers>,
}

impl App {
    /// Puts it together. Fails if a template of the operator does not parse.
    pub fn new(parts: Parts) -> Result<Arc<Self>, TemplateError> {
        let Parts { store, spawners, logins, activity, clock, .. } = parts;
        let Parts { entropy, settings, policy, routes, halt, .. } = parts;
        let clock_too = clock.clone();
        let doors = Actors { store, spawners, logins, activity, routes, halt, clock: clock_too };
        Self::with_doors(Box::new(doors), clock, entropy, settings, policy)
    }

    /// With any doors.
    pub(crate) fn with_doors(
        doors: Box<dyn Doors>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Arc<ArcSwap<HubSlice>>,
        policy: Arc<ArcSwap<Policy>>,
    ) -> Result<Arc<Self>, TemplateError> {
        let templates = ArcSwap::from_pointee(Templates::load(&folders(&settings))?);
        let watchers = Arc::default();
        let pids = Pids::default();
        Ok(Arc::new(Self { doors, clock, entropy, settings, policy, templates, pids, watchers }))
    }

    /// Where whoever runs services notes their processes.
    pub fn pids(&self) -> Pids {
        self.pids.clone()
    }

    /// Reads the templates again, after settings were replaced. On an error the old ones stay.
    pub fn reload_templates(&self) -> Result<(), TemplateError> {
        self.templates.store(Arc::new(Templates::load(&folders(&self.settings))?));
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

fn folders(settings: &ArcSwap<HubSlice>) -> Vec<PathBuf> {
    settings.load().hub.template_paths.clone()
}

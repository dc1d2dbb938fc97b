//! The certificate that is shown, and the task that renews it.

use std::{os::fd::OwnedFd, sync::Arc};

use jovis_actors::domain::Secret;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tracing::warn;

use super::{
    issue,
    renewal::{self, Held, Wanted},
    store::Store,
};
use crate::{config::slice::ProxySlice, proxy::shared::Shared, telemetry::logs::chain};

/// One per process; without names it keeps nothing.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Keeper {
    wanted: Option<Arc<Wanted>>,
    held: Option<watch::Receiver<Held>>,
    /// What is shown: as held, or of our own making.
    shown: Option<Arc<Secret<Vec<u8>>>>,
    vouched: bool,
    task: JoinSet<()>,
}

impl Keeper {
    /// What the settings ask for; with the folder that root has given, or that the one before has. What is kept there, or
    /// what the one before shows, is shown from the beginning.
    pub(in crate::proxy) fn of(
        slice: &ProxySlice,
        folder: Option<OwnedFd>,
        before: Option<&Self>,
    ) -> Self {
        let acme = &slice.proxy.acme;
        if !acme.is_on() {
            return Self::default();
        }
        let was = before.and_then(|before| before.wanted.as_ref());
        let store = match (folder, was) {
            (Some(folder), _) => Some(Store::new(folder, &acme.directory)),
            (None, Some(was)) => was.store.of(&acme.directory).ok(),
            (None, None) => None,
        };
        let before = before.filter(|_| was.is_some_and(|was| was.acme.directory == acme.directory));
        let held = before.filter(|before| before.vouched).and_then(|before| before.shown.clone());
        let held = held.or_else(|| store.as_ref().and_then(renewal::load).map(Arc::new));
        let vouched = held.is_some();
        let shown = held.or_else(|| {
            let same = before.filter(|_| was.is_some_and(|was| was.acme.names == acme.names));
            same.and_then(|before| before.shown.clone()).or_else(|| unvouched(&acme.names))
        });
        let wanted = store.map(|store| Wanted {
            acme: acme.clone(),
            authorities: slice.acme_ca.clone(),
            challenge: acme.chosen(slice.proxy.redirect_port != 0),
            store: Arc::new(store),
            hurry: Notify::new(),
        });
        let wanted = wanted.map(Arc::new);
        Self { wanted, held: None, shown, vouched, task: JoinSet::new() }
    }

    /// The certificate that is shown and its key, PEM.
    pub(in crate::proxy) fn identity(&self) -> Option<(&[u8], &[u8])> {
        let both = self.shown.as_ref()?.reveal();
        Some((both, both))
    }

    /// The same, where an authority vouches for it.
    pub(in crate::proxy) fn chain(&self) -> Option<&[u8]> {
        self.identity().filter(|_| self.vouched).map(|(chain, _)| chain)
    }

    /// Begins to renew, in place of the one before. An order that is under way goes on if it is still what is wanted.
    pub(in crate::proxy) fn begin(&mut self, shared: &Arc<Shared>, before: Option<Self>) {
        let Some(wanted) = &self.wanted else { return };
        // An operator has been there, and may have mended what was in the way.
        if before.is_some() {
            wanted.hurry.notify_one();
        }
        if let Some(before) = before
            && let Some(was) = &before.wanted
            && was.is_like(wanted)
        {
            was.hurry.notify_one();
            *self = before;
            return;
        }
        let (held, news) = watch::channel(self.shown.clone().filter(|_| self.vouched));
        self.held = Some(news);
        self.task.spawn(renewal::keep(shared.clone(), wanted.clone(), held));
    }

    /// Comes back when another one is shown from now on.
    pub(in crate::proxy) async fn renewed(&mut self) {
        let changed = match &mut self.held {
            Some(held) => held.changed().await.is_ok(),
            None => false,
        };
        match self.held.as_ref().and_then(|held| held.borrow().clone()) {
            Some(both) if changed => (self.shown, self.vouched) = (Some(both), true),
            _ => std::future::pending().await,
        }
    }
}

/// One of our own making, that nobody vouches for: better than no answer.
fn unvouched(names: &[String]) -> Option<Arc<Secret<Vec<u8>>>> {
    warn!(names = %names.join(" "), "acme certificate missing");
    let made = issue::unvouched(names);
    let made = made.inspect_err(|error| warn!(error = %chain(error), "acme certificate not made"));
    made.ok().map(|made| Arc::new(Secret::new(made.to_vec())))
}

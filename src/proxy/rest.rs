//! The listener of the REST API beside the hub: configurable-http-proxy's, for operators and their scripts
//! ([`super::operators`]). Root opens the socket and hands it over among the public ones; it is known by its port.

use std::{collections::BTreeSet, net::TcpListener, sync::Arc};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{
    alone::{Api, serve_rest},
    shared::Shared,
};

/// The listener, if there is one, and who serves it.
pub(super) struct Rest {
    shared: Arc<Shared>,
    /// Ports that are its, or were until root has said what to listen on.
    ports: BTreeSet<u16>,
    held: Vec<TcpListener>,
    serving: Vec<(u16, JoinHandle<()>)>,
}

impl Rest {
    /// None yet.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ports: BTreeSet::new(), held: Vec::new(), serving: Vec::new() }
    }

    fn port(&self) -> Option<u16> {
        self.shared.settings.load().rest.as_ref().map(|rest| rest.port)
    }

    /// Takes its own out of all that root has given; the others are for visitors.
    pub(super) fn take(&mut self, all: Vec<TcpListener>) -> Vec<TcpListener> {
        self.ports = self.port().into_iter().collect();
        let (held, others) = self.sift(all);
        self.held = held;
        self.serve();
        others
    }

    /// Follows the settings with what there is. A socket that is no longer its does not become a visitors' one: root
    /// takes it back.
    pub(super) fn follow(&mut self, visitors: Vec<TcpListener>) -> Vec<TcpListener> {
        self.ports.extend(self.port());
        let (held, others) = self.sift(visitors);
        self.held.extend(held);
        self.serve();
        others
    }

    fn sift(&self, all: Vec<TcpListener>) -> (Vec<TcpListener>, Vec<TcpListener>) {
        let is_ours = |one: &TcpListener| {
            one.local_addr().is_ok_and(|address| self.ports.contains(&address.port()))
        };
        all.into_iter().partition(is_ours)
    }

    /// Sees that what is held and wanted is served, and nothing else.
    fn serve(&mut self) {
        let wanted = self.port();
        let held = &self.held;
        let stays = |port: u16| {
            let at = |one: &TcpListener| one.local_addr().is_ok_and(|it| it.port() == port);
            wanted == Some(port) && held.iter().any(at)
        };
        self.serving.retain(|(port, task)| {
            let stays = stays(*port);
            if !stays {
                task.abort();
            }
            stays
        });
        let Some(port) = wanted.filter(|port| stays(*port) && self.serving.is_empty()) else {
            return;
        };
        for listener in &self.held {
            let hosts =
                self.shared.settings.load().rest.as_ref().is_some_and(|it| it.site.is_some());
            let api = Arc::new(Api::new(self.shared.clone(), None, hosts));
            match listener
                .local_addr()
                .and_then(|at| Ok((at, serve_rest(listener.try_clone()?, api)?)))
            {
                Ok((address, task)) if address.port() == port => {
                    info!(%address, "rest api open");
                    self.serving.push((port, tokio::spawn(task)));
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "rest api not open"),
            }
        }
    }

    /// Lets nobody in any more: another proxy does, or none.
    pub(super) fn stop(&mut self) {
        for (_, task) in self.serving.drain(..) {
            task.abort();
        }
        self.held.clear();
    }
}

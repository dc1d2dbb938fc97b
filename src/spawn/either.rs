//! Processes of this machine and containers side by side: new servers are started as the configuration says now, those
//! that run stay with the spawner that started them. So `spawner.class` can change while they do.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jovis_actors::{
    domain::OrderId,
    ports::{Boxed, Exit, Handle, Order, Progress, Recovered, SpawnError, Spawner, Started, Stop},
};

use super::docker::{Docker, is_ours};
use crate::config::sections::{self, SpawnerClass};

/// Both.
pub struct Either {
    settings: Arc<ArcSwap<sections::Spawner>>,
    local: Arc<dyn Spawner>,
    docker: Docker,
}

impl Either {
    /// Of these two.
    pub fn new(
        settings: Arc<ArcSwap<sections::Spawner>>,
        local: Arc<dyn Spawner>,
        docker: Docker,
    ) -> Self {
        Self { settings, local, docker }
    }

    fn containers(&self) -> bool {
        matches!(self.settings.load().class, SpawnerClass::Docker(_))
    }

    /// Whose is what has this handle?
    fn of(&self, handle: &Handle) -> &dyn Spawner {
        if is_ours(handle) { &self.docker } else { &*self.local }
    }
}

impl Spawner for Either {
    fn start<'a>(
        &'a self,
        order: &'a Order,
        tell: Progress,
    ) -> Boxed<'a, Result<Started, SpawnError>> {
        match self.containers() {
            true => self.docker.start(order, tell),
            false => self.local.start(order, tell),
        }
    }

    fn recover<'a>(
        &'a self,
        order: &'a OrderId,
        handle: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>> {
        Box::pin(async move {
            if let Some(handle) = handle {
                return self.of(handle).recover(order, Some(handle)).await;
            }
            if self.containers() || self.docker.knows(order) {
                let found = self.docker.recover(order, None).await?;
                if found != Recovered::Unknown {
                    return Ok(found);
                }
            }
            self.local.recover(order, None).await
        })
    }

    fn wait<'a>(
        &'a self,
        order: &'a OrderId,
        handle: &'a Handle,
    ) -> Boxed<'a, Result<Exit, SpawnError>> {
        self.of(handle).wait(order, handle)
    }

    fn stop<'a>(
        &'a self,
        order: &'a OrderId,
        handle: &'a Handle,
        how: Stop,
    ) -> Boxed<'a, Result<(), SpawnError>> {
        self.of(handle).stop(order, handle, how)
    }

    fn forget<'a>(&'a self, order: &'a OrderId) -> Boxed<'a, ()> {
        match self.docker.knows(order) {
            true => self.docker.forget(order),
            false => self.local.forget(order),
        }
    }

    fn log_tail<'a>(&'a self, order: &'a OrderId, bytes: usize) -> Boxed<'a, String> {
        match self.docker.knows(order) {
            true => self.docker.log_tail(order, bytes),
            // Also where the log of a container that is gone lies.
            false => self.local.log_tail(order, bytes),
        }
    }

    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>> {
        Box::pin(async {
            let mut all = self.local.inventory().await?;
            all.extend(self.docker.inventory().await?);
            Ok(all)
        })
    }
}

//! Records against what the spawner runs, in both directions: at the end of recovery and on a period.
//!
//! | the records say | the spawner's inventory says | then |
//! |---|---|---|
//! | an order is in hand | it lives | nothing |
//! | it runs, or is about to answer | it isn't there | the user's actor asks about that order, and believes what it hears |
//! | it is being started or stopped | it isn't there | nothing: whoever does that will say how it went |
//! | nothing of an order | it lives | an orphan: it is stopped, and logged |
//! | anything | no answer | nothing: what is not known changes nothing |
//!
//! An order that is recorded is adopted, whatever has become of the hub that gave it; one that is not recorded has no
//! owner, no token and no route, and could never be stopped by anybody: that is why it is ended.

use std::{collections::HashSet, time::Duration};

use tokio::time::timeout;
use tracing::{error, warn};

use crate::{
    domain::{OrderId, ServerKey, ServerState},
    ports::{Recovered, SpawnError, Stop as How},
    spawner::Kit,
    store::Image,
    supervise::faults,
};

/// How long the spawner may take for its inventory, or to say what became of one orphan.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a comparison shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Recorded as alive, and not in the inventory: to be asked about.
    pub ghosts: Vec<(ServerKey, OrderId)>,
    /// In the inventory, and in no record.
    pub orphans: Vec<OrderId>,
}

/// Compares: pure. `before` was taken before the spawner was asked, `after` once it had answered: an order is recorded
/// before the spawner hears of it, so none that it named can be unknown to `after` unless it is an orphan or has just
/// ended; and what is in hand in both was in hand all the time.
pub fn compare(before: &Image, inventory: &[OrderId], after: &Image) -> Findings {
    let living: HashSet<&OrderId> = inventory.iter().collect();
    let known: HashSet<_> = after.servers().filter_map(|server| server.state.order()).collect();
    let ghosts = after.servers().filter_map(|server| {
        let order = match &server.state {
            ServerState::Running { order, .. } | ServerState::Probing { order, .. } => order,
            ServerState::Starting { .. }
            | ServerState::Stopping { .. }
            | ServerState::Stopped(_)
            | ServerState::Queued { .. }
            | ServerState::Waiting { .. }
            | ServerState::Failed(_) => return None,
        };
        let then = before.server(&server.key)?;
        let same = then.state.order() == Some(order)
            && !matches!(then.state, ServerState::Starting { .. });
        (same && !living.contains(order)).then(|| (server.key.clone(), order.clone()))
    });
    let orphans = inventory.iter().filter(|order| !known.contains(order)).cloned();
    Findings { ghosts: ghosts.collect(), orphans: orphans.collect() }
}

/// One comparison; orphans are ended at once, those to be asked about are the answer. An error: nothing is known.
pub(super) async fn round(kit: &Kit) -> Result<Vec<(ServerKey, OrderId)>, SpawnError> {
    faults::point("spawners", "reconcile");
    let before = kit.store.image();
    let inventory = timeout(PATIENCE, kit.spawner.inventory()).await.unwrap_or_else(|_| {
        Err(SpawnError::Failed(format!("no inventory within {} s", PATIENCE.as_secs())))
    })?;
    let Findings { ghosts, orphans } = compare(&before, &inventory, &kit.store.image());
    for order in &orphans {
        end(kit, order).await;
    }
    Ok(ghosts)
}

/// Ends an orphan.
async fn end(kit: &Kit, order: &OrderId) {
    let handle = match timeout(PATIENCE, kit.spawner.recover(order, None)).await {
        Ok(Ok(Recovered::Alive(it))) => it.handle,
        Ok(Ok(Recovered::Unknown | Recovered::Ended(_))) => return,
        Ok(Err(error)) => return warn!(%order, %error, "orphan not found"),
        Err(_) => return warn!(%order, error = "not in time", "orphan not found"),
    };
    warn!(%order, "orphan is stopped");
    let limit = kit.settings.load().stop_timeout;
    for how in [How::Soft, How::Hard] {
        match timeout(limit, kit.spawner.stop(order, &handle, how)).await {
            Ok(Ok(())) => return kit.spawner.forget(order).await,
            Ok(Err(error)) => error!(%order, %error, "orphan not stopped"),
            Err(_) => error!(%order, error = "not in time", "orphan not stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{Cause, Server, ServerName, UserId, server::Handle},
        store::Write,
    };

    fn order(n: u8) -> OrderId {
        OrderId::from_bytes([n; 16])
    }

    fn image(states: &[(u64, ServerState)]) -> Image {
        let mut image = Image::default();
        for (user, state) in states {
            let key = ServerKey { user: UserId(*user), name: ServerName::default_server() };
            let server = Server { state: state.clone(), ..Server::new(key) };
            image.apply(&Write::Server(Arc::new(server)));
        }
        image
    }

    fn running(n: u8) -> ServerState {
        ServerState::Running { order: order(n), handle: Handle(String::new()), url: String::new() }
    }

    fn starting(n: u8) -> ServerState {
        ServerState::Starting { order: order(n) }
    }

    fn stopping(n: u8) -> ServerState {
        ServerState::Stopping {
            order: order(n),
            handle: None,
            cause: Cause::Stopped,
            remove: false,
        }
    }

    #[test]
    fn what_runs_and_is_recorded_agrees() {
        let image = image(&[(1, running(1)), (2, starting(2)), (3, stopping(3))]);
        let all = [order(1), order(2), order(3)];
        assert_eq!(compare(&image, &all, &image), Findings::default());
        let first = [order(1)];
        assert_eq!(compare(&image, &first, &image), Findings::default(), "others are in hand");
    }

    #[test]
    fn what_is_gone_is_asked_about_and_what_is_unknown_is_an_orphan() {
        let image = image(&[(1, running(1)), (2, running(2))]);
        let findings = compare(&image, &[order(2), order(9)], &image);
        assert_eq!(findings.ghosts.len(), 1);
        assert_eq!(findings.ghosts[0].1, order(1));
        assert_eq!(findings.orphans, [order(9)]);
    }

    #[test]
    fn what_began_while_the_spawner_was_asked_is_neither() {
        let (before, after) = (image(&[(1, starting(1))]), image(&[(1, running(1))]));
        assert_eq!(compare(&before, &[], &after), Findings::default());
        assert_eq!(compare(&image(&[]), &[], &after), Findings::default());
        assert_eq!(compare(&image(&[]), &[order(1)], &after), Findings::default());
        // another order since: the old one may be an orphan, the new one is nobody's business yet
        let findings = compare(&image(&[(1, running(2))]), &[order(2)], &after);
        assert_eq!((findings.ghosts.len(), findings.orphans), (0, vec![order(2)]));
    }
}

//! The engine's stream of events, resumed for ever.

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use tracing::{info, warn};

use super::{Inner, client::Engine, order_of, plan};

/// After so long without an event the stream is asked for anew, and what lives is looked at.
const QUIET: Duration = Duration::from_secs(120);
/// So far back events are asked for: what happened while nobody listened. Hearing one twice is no harm.
const BACK: i64 = 10;
/// Pauses between attempts to reach an engine.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Listens for ends, for ever.
pub(super) async fn listen(inner: Weak<Inner>, engine: Arc<Engine>, socket: String) {
    let (mut pause, mut away) = (PAUSE.0, false);
    loop {
        let Some(this) = inner.upgrade() else { return };
        let (label, bells, entropy) = (this.labels(None), this.bells.clone(), this.entropy.clone());
        drop(this);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = i64::try_from(now.as_secs()).unwrap_or(0) - BACK;
        let outcome = match engine.list(&label, false).await {
            Err(error) => Err(error),
            Ok(list) => {
                bells.ring_all_but(&list.iter().filter_map(order_of).collect());
                if std::mem::take(&mut away) {
                    info!(socket, "engine answers again");
                }
                pause = PAUSE.0;
                let alive = || inner.strong_count() > 0;
                let heard = |event: bollard::models::EventMessage| {
                    let actor = event.actor.and_then(|it| it.attributes).unwrap_or_default();
                    let order = actor.get(plan::ORDER).cloned().and_then(|it| it.try_into().ok());
                    if let Some(order) = order.filter(|_| alive()) {
                        bells.ring(&order);
                    }
                };
                engine.ends(&label[0], since, QUIET, heard).await
            }
        };
        let Err(error) = outcome else { continue };
        if !std::mem::replace(&mut away, true) {
            warn!(socket, %error, "engine not answering");
        }
        let most = pause.as_millis() as u64;
        tokio::time::sleep(Duration::from_millis(most / 2 + entropy.below(most / 2 + 1))).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

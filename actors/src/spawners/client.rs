//! The door to everybody's servers.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::messages::{Ask, Begun, Report, StartRefused, StopRefused, Trouble};
use crate::domain::ServerKey;

/// What the web holds.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// Starts this server, or says why not. Answered as soon as the intention is recorded; follow [`Client::report`]
    /// or wait with [`Client::settled`].
    pub async fn start(&self, _key: ServerKey, _ask: Ask) -> Result<Begun, StartRefused> {
        unimplemented!()
    }

    /// Stops this server (also one that is being started). Answered as soon as the intention is recorded.
    pub async fn stop(&self, _key: ServerKey) -> Result<(), StopRefused> {
        unimplemented!()
    }

    /// Waits until the server is neither starting nor stopping, at most so long. True if it is settled.
    pub async fn settled(&self, _key: &ServerKey, _patience: Duration) -> bool {
        unimplemented!()
    }

    /// The steps of the start in hand, or of the last one since the hub is up.
    pub fn report(&self, _key: &ServerKey) -> Option<watch::Receiver<Arc<Report>>> {
        unimplemented!()
    }

    /// Why the last start failed or the last life ended, if not on request.
    pub fn trouble(&self, _key: &ServerKey) -> Option<Trouble> {
        unimplemented!()
    }
}

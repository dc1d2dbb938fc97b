//! The hub's link: routes in, activity out. A new link replaces the old one; the table stays when the hub goes.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::{
    activity::told,
    drain::Phase,
    shared::{Hub, Shared},
};
use crate::{
    broken,
    channel::Channel,
    ipc::{
        Envelope, Hello, VERSION,
        frame::{self, FrameError},
        proxy::{HubToProxy, ProxyToHub},
    },
};

/// How often activity is told.
const NEWS: Duration = Duration::from_secs(3);
/// Figures are told with so many of them.
const FIGURES: u32 = 3;
/// Longest time a message may take to leave.
const SENDING: Duration = Duration::from_secs(5);
/// Longest time until the hub has introduced itself.
const HELLO: Duration = Duration::from_secs(30);

/// Why a link has ended.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The link itself.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side does not read or does not speak.
    #[error("the other side is silent")]
    Silent,
    /// It speaks another version.
    #[error("the other side speaks version {0}")]
    Version(u32),
    /// Something else than a greeting came first.
    #[error("the other side did not greet")]
    NoHello,
}

/// Our greeting.
pub(super) fn hello() -> Hello {
    Hello {
        version: VERSION + broken::shift("proxy"),
        role: "proxy".to_owned(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Serves the link until it ends. Marks the hub as linked in between.
pub(super) async fn serve(shared: Arc<Shared>, fd: OwnedFd) {
    /// The hub is away again, also when this task is stopped for another link.
    struct Linked<'a>(&'a Shared);
    impl Drop for Linked<'_> {
        fn drop(&mut self) {
            self.0.hub_state.send_replace(Hub::Away);
        }
    }
    let linked = Linked(&shared);
    match converse(&shared, fd).await {
        Ok(()) | Err(LinkError::Frame(FrameError::Closed)) => info!("hub left"),
        Err(error) => warn!(%error, "hub link ended"),
    }
    drop(linked);
}

async fn converse(shared: &Shared, fd: OwnedFd) -> Result<(), LinkError> {
    let channel = Channel::new(fd)?;
    send(&channel, None, ProxyToHub::Hello(hello()), &[]).await?;
    let greeting = timeout(HELLO, channel.recv::<Envelope<HubToProxy>>());
    match greeting.await.map_err(|_| LinkError::Silent)??.0.message {
        HubToProxy::Hello(hello) if hello.version == VERSION => {
            info!(build = %hello.build, "hub linked");
        }
        HubToProxy::Hello(hello) => return Err(LinkError::Version(hello.version)),
        _ => return Err(LinkError::NoHello),
    }
    shared.hub_state.send_replace(Hub::Linked);
    let mut news = interval(NEWS);
    news.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            received = channel.recv::<Envelope<HubToProxy>>() => {
                let (Envelope { id, message }, _) = received?;
                obey(shared, &channel, id, message).await?;
            }
            _ = news.tick() => {
                tell(shared, &channel).await?;
                // Who leaves has a successor, who tells his own.
                let stays = *shared.phase.borrow() <= Phase::Open;
                if ticks.is_multiple_of(FIGURES) && stays {
                    figures(shared, &channel).await?;
                }
                ticks = ticks.wrapping_add(1);
            }
        }
    }
}

/// Does what the hub asks, and answers.
async fn obey(
    shared: &Shared,
    channel: &Channel,
    id: Option<u64>,
    message: HubToProxy,
) -> Result<(), LinkError> {
    match message {
        HubToProxy::Hello(_) => return Ok(()),
        HubToProxy::Set(routes) => shared.operators.set_hubs(&shared.routes, routes),
        HubToProxy::Remove(specs) => shared.operators.remove_hubs(&shared.routes, specs),
        HubToProxy::List => {
            let list = frame::seal(&shared.operators.hubs(&shared.routes))?;
            return send(channel, id, ProxyToHub::Routes, &[list.as_fd()]).await;
        }
        HubToProxy::Synced => {
            shared.knows_routes.store(true, Relaxed);
            shared.hub_state.send_replace(Hub::Synced);
            info!(routes = shared.operators.hubs(&shared.routes).len(), "routes complete");
        }
    }
    send(channel, id, ProxyToHub::Done, &[]).await
}

/// Tells the traffic since the last time; what cannot be told is kept.
async fn tell(shared: &Shared, channel: &Channel) -> Result<(), LinkError> {
    loop {
        let entries = shared.activity.take();
        if entries.is_empty() {
            return Ok(());
        }
        let message = ProxyToHub::Activity(told(&entries));
        match send(channel, None, message, &[]).await {
            Err(LinkError::Frame(error @ FrameError::TooLong(_))) => {
                warn!(%error, "activity not told");
            }
            Err(error) => {
                shared.activity.put_back(entries);
                return Err(error);
            }
            Ok(()) => {}
        }
    }
}

/// Tells what was counted.
async fn figures(shared: &Shared, channel: &Channel) -> Result<(), LinkError> {
    let text = shared.figures.text(shared.crowd.count(), shared.routes.len());
    let text = frame::seal(&text)?;
    send(channel, None, ProxyToHub::Figures, &[text.as_fd()]).await
}

async fn send(
    channel: &Channel,
    id: Option<u64>,
    message: ProxyToHub,
    fds: &[BorrowedFd<'_>],
) -> Result<(), LinkError> {
    let envelope = Envelope { id, message };
    let sending = timeout(SENDING, channel.send(&envelope, fds));
    Ok(sending.await.map_err(|_| LinkError::Silent)??)
}

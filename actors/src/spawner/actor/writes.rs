//! What a spawner actor has recorded: intentions, which are waited for, and notes of what has happened, which are
//! repeated until they are written.

use std::convert::Infallible;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tracing::{debug, info, warn};

use super::Actor;
use crate::{
    accounts::{Beginning, Moved, Queueing, StepRefused, begin_server, move_server, queue_server},
    domain::{Cause, Secret, ServerKey, ServerName, ServerState},
    spawner::{
        acts::{Backoff, CALL, TAIL},
        messages::NotBegun,
    },
    spawners::{Ask, Trouble},
    store::{self, ChangeError, Image},
    supervise::faults::around,
};

impl Actor {
    /// Writes an intention.
    pub(super) fn record(
        &mut self,
        name: &ServerName,
        state: ServerState,
    ) -> impl Future<Output = Result<(), NotBegun>> + use<> {
        let (key, kit) = (self.key(name), self.kit.clone());
        let secret = kit.entropy.hex(16);
        let hash = kit.entropy.digest(&secret);
        let slot = self.slot(name);
        let fresh = slot.step.as_ref().is_some_and(|step| step.fresh);
        let deaths = if fresh { Vec::new() } else { slot.deaths.clone() };
        let order = slot.life.clone();
        let ask = slot.step.as_mut().and_then(|step| step.ask.take()).unwrap_or_default();
        let starting = match &state {
            ServerState::Starting { order } => Some(order.clone()),
            ServerState::Stopped(_)
            | ServerState::Queued { .. }
            | ServerState::Probing { .. }
            | ServerState::Running { .. }
            | ServerState::Stopping { .. }
            | ServerState::Waiting { .. }
            | ServerState::Failed(_) => None,
        };
        if starting.is_some() {
            slot.token = Some(Secret::new(secret));
        }
        let version = slot.version.clone();
        let (who, backoff) = (self.who(), self.slow_backoff());
        let (about, intended) = (key.clone(), state.clone());
        async move {
            let outcome = match starting {
                Some(new) => {
                    let settings = kit.settings.load();
                    let token_scopes = settings.server_token_scopes.clone();
                    let client_scopes = settings.oauth_client_allowed_scopes.clone();
                    let Ask { options, display_name, .. } = ask;
                    let (facts, now) = (kit.facts.clone(), kit.clock.moment());
                    let change = kit.store.change(move |image| {
                        let user = image.user(key.user).ok_or(StepRefused::NoUser)?;
                        let prefix = facts.prefix(&user.name, &key.name);
                        let url = facts.url(&user.name, &key.name);
                        let begin = Beginning {
                            key,
                            order: new,
                            over: order,
                            options,
                            display_name,
                            prefix,
                            url,
                            hash,
                            token_scopes,
                            client_scopes,
                            deaths,
                        };
                        begin_server(image, begin, now)
                    });
                    around("Record", change).await.map(drop)
                }
                None if state.is_queued() => {
                    let since = match state {
                        ServerState::Queued { since } => since,
                        _ => kit.clock.moment(),
                    };
                    let Ask { options, display_name, .. } = ask;
                    let what = Queueing { key, since, over: order, options, display_name };
                    around("Record", kit.store.change(move |image| queue_server(image, what))).await
                }
                None => {
                    let what = Moved { key, order, state, version, deaths };
                    around("Record", kit.store.change(move |image| move_server(image, what))).await
                }
            };
            match outcome {
                Ok(()) => Ok(()),
                Err(ChangeError::Refused(StepRefused::NoUser)) => Err(NotBegun::NoUser),
                Err(ChangeError::Unavailable) => {
                    warn!(user = who, server = %about.name, "record in doubt");
                    if settled(&kit.store, &about, &intended, backoff).await {
                        Ok(())
                    } else {
                        let error = ChangeError::<Infallible>::Unavailable;
                        Err(NotBegun::NotRecorded(error.to_string()))
                    }
                }
                Err(
                    error @ (ChangeError::Refused(StepRefused::MovedOn)
                    | ChangeError::Busy
                    | ChangeError::Store(_)),
                ) => Err(NotBegun::NotRecorded(error.to_string())),
            }
        }
    }

    /// Writes what has happened, until that succeeds.
    pub(super) fn note(&mut self, name: &ServerName, state: ServerState, ctx: &mut Context<Self>) {
        let (key, kit, name) = (self.key(name), self.kit.clone(), name.clone());
        let (who, mut backoff) = (self.who(), self.slow_backoff());
        let slot = self.slot(&name);
        let (order, version, deaths) =
            (slot.life.clone(), slot.version.clone(), slot.deaths.clone());
        if let Some(replaced) = slot.note.take() {
            ctx.cancel_future(replaced);
        }
        let write = async move {
            if let (
                Some(order),
                ServerState::Waiting { cause: cause @ Cause::PortTaken(port), .. },
            ) = (&order, &state)
            {
                warn!(user = who, server = %key.name, %order, port, "port taken");
                kit.board.say(&key, 20, format!("{cause}; trying another one"));
            } else if let (Some(order), Some(cause)) = (&order, ended(&state)) {
                let tail = kit.spawner.log_tail(order, TAIL);
                let tail = tokio::time::timeout(CALL, tail).await.unwrap_or_default();
                let on_request = cause.is_asked_for();
                let kind = cause.kind();
                info!(user = who, server = %key.name, %order, kind, %cause, "server ended");
                let trouble =
                    Trouble { cause: cause.clone(), at: kit.clock.moment(), tail: tail.into() };
                kit.board.ended(&key, trouble, on_request);
            }
            loop {
                let (key, order) = (key.clone(), order.clone());
                let what = Moved {
                    key: key.clone(),
                    order,
                    state: state.clone(),
                    version: version.clone(),
                    deaths: deaths.clone(),
                };
                let change = kit.store.change(move |image| move_server(image, what));
                match around("Note", change).await {
                    Ok(()) => return,
                    Err(ChangeError::Refused(why)) => {
                        debug!(user = who, server = %key.name, error = %why, "note is stale");
                        return;
                    }
                    Err(error) => {
                        warn!(user = who, server = %key.name, %error, "note not written");
                    }
                }
                backoff.pause().await;
            }
        };
        let task = ctx.spawn(write.into_actor(self).map({
            let name = name.clone();
            move |(), act: &mut Self, ctx| {
                act.slot(&name).note = None;
                act.forget(&name, ctx);
            }
        }));
        self.slot(&name).note = Some(task);
    }

    /// The spawner may forget what is recorded as ended.
    pub(super) fn forget(&mut self, name: &ServerName, ctx: &mut Context<Self>) {
        let slot = self.slot(name);
        if slot.note.is_some() {
            return;
        }
        for order in std::mem::take(&mut slot.forget) {
            let spawner = self.kit.spawner.clone();
            let forget = async move {
                let _ = around("Forget", tokio::time::timeout(CALL, spawner.forget(&order))).await;
            };
            ctx.spawn(forget.into_actor(self));
        }
    }
}

/// Was it recorded after all? A change the store has not answered still waits there and may be made at any time; to
/// guess would part this actor from the record for good. So a question is put behind it. Changes are made in the order
/// they came, and an answer comes once all before it is durable: that one is believed. A store in trouble is asked again
/// until it has made up its mind, since what broke off may be on its disk.
async fn settled(
    store: &store::Client,
    key: &ServerKey,
    intended: &ServerState,
    mut backoff: Backoff,
) -> bool {
    loop {
        let (key, intended) = (key.clone(), intended.clone());
        let look = move |image: &Image| {
            let recorded = image.server(&key).is_some_and(|server| server.state == intended);
            Ok::<_, Infallible>((Vec::new(), recorded))
        };
        match store.change(look).await {
            Ok(recorded) => return recorded,
            Err(error) => debug!(%error, "record still in doubt"),
        }
        backoff.pause().await;
    }
}

/// Does this state end a life with something to say?
fn ended(state: &ServerState) -> Option<&Cause> {
    match state {
        ServerState::Stopped(cause) => cause.as_ref(),
        ServerState::Waiting { cause, .. } | ServerState::Failed(cause) => Some(cause),
        ServerState::Queued { .. }
        | ServerState::Starting { .. }
        | ServerState::Probing { .. }
        | ServerState::Running { .. }
        | ServerState::Stopping { .. } => None,
    }
}

#[cfg(test)]
mod tests;

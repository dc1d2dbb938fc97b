//! One start: the image, the container, and what is in their way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jovis_actors::{
    domain::OrderId,
    ports::{Order, Progress, SpawnError, Started},
};
use tracing::{debug, info, warn};

use super::{
    Found, Inner,
    client::{Engine, EngineError},
    failed,
    fate::{self, Fate},
    held, names, plan, pull, remember,
};
use crate::{
    config::sections::{self, PullPolicy},
    os::users::{self, Account},
};

/// How often progress of a fetch is told at most.
const TELL: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) async fn start(
        self: &Arc<Self>,
        order: &Order,
        tell: &Progress,
    ) -> Result<Started, SpawnError> {
        let turn = self.turn(&order.id);
        let _turn = turn.lock().await;
        let settings = self.settings.load_full();
        let docker = self.docker()?;
        let (socket, engine) = self.engine_of(&order.id, None)?;
        held(&self.known).insert(order.id.clone(), socket.clone());
        let found = self.find(&engine, &order.id).await.map_err(failed)?;
        let id = match found {
            Some((id, Found { fate: Fate::Alive, it })) => {
                return self.alive(&docker, &order.id, &socket, &engine, id, &it);
            }
            Some((_, Found { fate: Fate::Ended(_), it })) => {
                let state = it.state.unwrap_or_default();
                return Err(SpawnError::Failed(fate::words(&state)));
            }
            Some((id, Found { fate: Fate::Made, .. })) => id,
            None => {
                let _slot = self.starts.acquire().await;
                self.make(&settings, &docker, &engine, order, tell).await?
            }
        };
        let _slot = self.starts.acquire().await;
        if let Err(error) = engine.start(&id).await {
            if error.is_answer() {
                // What could not be started is of no use to anybody.
                self.remove_quietly(&engine, &order.id, &id).await;
            }
            return Err(cannot_start(error));
        }
        let it = engine.inspect(&id).await.map_err(failed)?;
        let state = it.state.clone().unwrap_or_default();
        if let Some(Fate::Ended(_)) = fate::fate(&state) {
            let log = engine.log(&id, 2048).await.unwrap_or_default();
            let last = fate::short(fate::tail(&log, 300), 300);
            let words = fate::words(&state);
            let said =
                if last.is_empty() { words } else { format!("{words}; its last words: {last}") };
            return Err(SpawnError::Failed(said));
        }
        let started = self.alive(&docker, &order.id, &socket, &engine, id.clone(), &it)?;
        let container = it.name.unwrap_or_default();
        let container = container.trim_start_matches('/');
        debug!(user = %order.user, server = %order.server, order = %order.id, container, "server container started");
        tell.tell(format!("Its container {container} runs"));
        Ok(started)
    }

    /// Makes the container; its id. What stands in its place and is ours is over, and goes.
    async fn make(
        &self,
        settings: &sections::Spawner,
        docker: &sections::Docker,
        engine: &Engine,
        order: &Order,
        tell: &Progress,
    ) -> Result<String, SpawnError> {
        let image = plan::image(docker, order).map_err(SpawnError::Refused)?;
        self.provide(docker, engine, &image, tell).await?;
        let own = match plan::needs_own_cmd(settings, docker, order) {
            true => engine.image_command(&image).await.map_err(|it| no_image(it, &image))?,
            false => Vec::new(),
        };
        let person = match docker.system_users {
            true => Some(account(order).await?),
            false => None,
        };
        let plan = plan::plan(settings, docker, order, &self.hub, &own, person.as_ref())
            .map_err(SpawnError::Refused)?;
        tell.tell(format!("Making the container {}", plan.name));
        let named = |error| no_image(error, &plan.image);
        match engine.create(&plan.name, plan.body.clone()).await {
            // Docker says so when the name is taken; podman says only that it has failed.
            Err(error @ (EngineError::Conflict(_) | EngineError::Broken(_))) => {
                let was_in_the_way = self.clear(engine, &plan.name).await?;
                if !was_in_the_way && matches!(error, EngineError::Broken(_)) {
                    return Err(named(error));
                }
            }
            other => return other.map_err(named),
        }
        engine.create(&plan.name, plan.body.clone()).await.map_err(named)
    }

    /// Removes what has this name, if it is ours. Was there anything?
    async fn clear(&self, engine: &Engine, name: &str) -> Result<bool, SpawnError> {
        let it = match engine.inspect(name).await {
            Err(EngineError::Missing(_)) => return Ok(false),
            other => other.map_err(failed)?,
        };
        let labels = it.config.and_then(|it| it.labels).unwrap_or_default();
        if labels.get(plan::HUB) != Some(&self.hub) {
            return Err(SpawnError::Refused(format!(
                "a container named {name} is there and is not this hub's; an administrator must remove or rename it"
            )));
        }
        // The hub starts a server only when none of its starts before is in hand: whatever this is, it is over.
        let id = it.id.unwrap_or_else(|| name.to_owned());
        engine.remove(&id, true).await.map_err(failed)?;
        Ok(true)
    }

    /// Sees to it that the image is there, as far as the settings want that.
    async fn provide(
        &self,
        docker: &sections::Docker,
        engine: &Engine,
        image: &str,
        tell: &Progress,
    ) -> Result<(), SpawnError> {
        if docker.pull_policy == PullPolicy::Skip {
            return Ok(());
        }
        // One fetches; who comes meanwhile waits, and finds it there.
        let turn = {
            let mut pulls = held(&self.pulls);
            pulls.retain(|_, turn| Arc::strong_count(turn) > 1);
            pulls.entry(image.to_owned()).or_default().clone()
        };
        if docker.pull_policy != PullPolicy::Always {
            match engine.image_command(image).await {
                Ok(_) => return Ok(()),
                Err(EngineError::Missing(_)) if docker.pull_policy == PullPolicy::IfNotPresent => {}
                Err(error) => return Err(no_image(error, image)),
            }
        }
        tell.tell(format!("Fetching the image {image}"));
        let _turn = turn.lock().await;
        if docker.pull_policy != PullPolicy::Always && engine.image_command(image).await.is_ok() {
            return Ok(());
        }
        let (repository, tag) = names::to_fetch(image);
        let (mut progress, mut told) = (pull::Pull::new(image), Instant::now());
        info!(image, "image fetch begins");
        let heard = |line: &_| {
            progress.heard(line);
            if told.elapsed() >= TELL {
                told = Instant::now();
                tell.tell(progress.sentence());
            }
        };
        let outcome =
            engine.pull(&repository, tag.as_deref(), docker.pull_timeout.duration(), heard).await;
        outcome.map_err(|error| {
            warn!(image, %error, "image not fetched");
            let words = format!("the image {image} cannot be fetched: {error}");
            match error {
                EngineError::Away(_) | EngineError::Broken(_) => SpawnError::Failed(words),
                _ => SpawnError::Refused(words),
            }
        })
    }

    async fn remove_quietly(&self, engine: &Engine, order: &OrderId, id: &str) {
        if let Err(error) = engine.remove(id, true).await {
            warn!(%order, %error, "container not removed");
            remember(&self.leftover, order);
        }
    }
}

/// The account of this machine that the order's user is.
async fn account(order: &Order) -> Result<Account, SpawnError> {
    let name = order.user.to_string();
    let asked = tokio::task::spawn_blocking(move || users::by_name(&name)).await;
    let found = asked.map_err(|error| SpawnError::Failed(error.to_string()))?;
    let found = found.map_err(|error| SpawnError::Failed(format!("accounts: {error}")))?;
    found.ok_or_else(|| {
        let words = format!("there is no account {:?} on this machine", order.user.as_str());
        SpawnError::Refused(words)
    })
}

fn no_image(error: EngineError, image: &str) -> SpawnError {
    match error {
        EngineError::Missing(_) => SpawnError::Refused(format!(
            "the image {image} is not there (pull_policy says not to fetch it)"
        )),
        other => failed(other),
    }
}

/// What an engine says to a start is mostly about the image's program, a folder, a port.
fn cannot_start(error: EngineError) -> SpawnError {
    match error {
        EngineError::Away(_) => failed(error),
        EngineError::Missing(why)
        | EngineError::Conflict(why)
        | EngineError::Refused(why)
        | EngineError::Broken(why) => {
            SpawnError::Refused(format!("the container cannot be started: {why}"))
        }
    }
}

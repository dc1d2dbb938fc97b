//! The engine's API: bollard's words over connections of our own, so that every answer is bounded in size and every call
//! in time, and nothing an engine does can hold the hub up or fill its memory.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bollard::{
    container::LogOutput,
    errors::Error,
    models::{ContainerInspectResponse, CreateImageInfo, EventMessage},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
        KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        StopContainerOptionsBuilder,
    },
};
use futures_core::Stream;
use serde::Deserialize;
use thiserror::Error as ThisError;
use tokio::time::timeout;

use super::{
    fate::{self, short},
    place::Place,
    transport::{self, MOST, exchange},
};

/// How long a question may take. Below what actors give a look (10 s).
const LOOK: Duration = Duration::from_secs(8);
/// How long making, starting or removing a container may take.
const ACT: Duration = Duration::from_secs(60);
/// Most bytes of its own words that an engine's error has here.
const WORDS: usize = 500;

/// Why the engine has not done it.
#[derive(Debug, ThisError)]
pub enum EngineError {
    /// It does not know such a container or image.
    #[error("{0}")]
    Missing(String),
    /// It stands in the way of something else: a name, a state.
    #[error("{0}")]
    Conflict(String),
    /// It will not, for a reason that somebody can mend.
    #[error("the container engine refuses: {0}")]
    Refused(String),
    /// It tried and failed.
    #[error("the container engine failed: {0}")]
    Broken(String),
    /// Nobody knows: it did not answer, or not what can be understood.
    #[error("the container engine does not answer: {0}")]
    Away(String),
}

impl EngineError {
    /// Did it answer, so that it is known what has not happened?
    pub fn is_answer(&self) -> bool {
        !matches!(self, Self::Away(_))
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                let message = short(&message, WORDS);
                match status_code {
                    404 => Self::Missing(message),
                    409 => Self::Conflict(message),
                    500.. => Self::Broken(message),
                    _ => Self::Refused(message),
                }
            }
            Error::DockerStreamError { error } => Self::Refused(short(&error, WORDS)),
            other => Self::Away(short(&chain(&other), WORDS)),
        }
    }
}

/// An error with what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// What we want to know of a container in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// Its id.
    pub id: Option<String>,
    /// Its labels.
    pub labels: Option<HashMap<String, String>>,
}

/// An engine.
#[derive(Debug)]
pub struct Engine {
    api: bollard::Docker,
    place: Arc<Place>,
    /// Whose process listens there; unknown until it has been reached.
    uid: Arc<AtomicU32>,
}

/// No such user.
const NOBODY_YET: u32 = u32::MAX;

impl Engine {
    /// There. Connects when it is asked something.
    ///
    /// # Errors
    ///
    /// None in practice: the library's.
    pub fn new(place: Place) -> Result<Self, EngineError> {
        let place = Arc::new(place);
        let uid = Arc::new(AtomicU32::new(NOBODY_YET));
        let owner = uid.clone();
        let there = place.clone();
        let transport = move |request| exchange(there.clone(), owner.clone(), request);
        // Each call has its own deadline; the library's own covers only the head of an answer.
        let api = bollard::Docker::connect_with_custom_transport(
            transport,
            Some("http://engine"),
            ACT.as_secs() * 2,
            bollard::API_DEFAULT_VERSION,
        )?;
        Ok(Self { api, place, uid })
    }

    /// Whose process the engine is, and so who publishes its ports.
    pub fn uid(&self) -> Option<u32> {
        Some(self.uid.load(Ordering::Relaxed)).filter(|uid| *uid != NOBODY_YET)
    }

    /// All containers with these labels; only those that run, or all.
    ///
    /// # Errors
    ///
    /// Nothing is known then.
    pub async fn list(&self, labels: &[String], all: bool) -> Result<Vec<Listed>, EngineError> {
        let filters = serde_json::json!({ "label": labels }).to_string();
        let filters: String = filters.bytes().map(|it| format!("%{it:02X}")).collect();
        within(LOOK, self.ask(&format!("/containers/json?all={all}&filters={filters}"))).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        transport::ask(self.place.clone(), self.uid.clone(), path).await
    }

    /// One container, by its id or name.
    ///
    /// # Errors
    ///
    /// [`EngineError::Missing`], or nothing is known.
    pub async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        let mut it: serde_json::Value =
            within(LOOK, self.ask(&format!("/containers/{id}/json"))).await?;
        fate::in_dockers_words(&mut it);
        let strange =
            |error: serde_json::Error| EngineError::Away(short(&error.to_string(), WORDS));
        serde_json::from_value(it).map_err(strange)
    }

    /// The command an image runs by itself; an error if there is no such image.
    ///
    /// # Errors
    ///
    /// [`EngineError::Missing`], or nothing is known.
    pub async fn image_command(&self, image: &str) -> Result<Vec<String>, EngineError> {
        let image = within(LOOK, self.api.inspect_image(image)).await?;
        Ok(image.config.and_then(|it| it.cmd).unwrap_or_default())
    }

    /// Makes a container; its id.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn create(
        &self,
        name: &str,
        body: bollard::models::ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        Ok(within(ACT, self.api.create_container(Some(options), body)).await?.id)
    }

    /// Starts a container. Starting what runs is no error.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        settled(ACT, self.api.start_container(id, None)).await
    }

    /// Asks its process to end and, after `grace` seconds, kills it; returns when it has ended.
    ///
    /// # Errors
    ///
    /// What the engine said; also [`EngineError::Missing`].
    pub async fn stop(&self, id: &str, grace: i32) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::new().t(grace).build();
        let limit = ACT + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        settled(limit, self.api.stop_container(id, Some(options))).await
    }

    /// Kills its process.
    ///
    /// # Errors
    ///
    /// What the engine said: [`EngineError::Conflict`] if it does not run, [`EngineError::Missing`].
    pub async fn kill(&self, id: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        within(LOOK, self.api.kill_container(id, Some(options))).await
    }

    /// Removes a container with its nameless volumes. Removing what is gone is no error. `force`: also if it runs.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn remove(&self, id: &str, force: bool) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().v(true).force(force).build();
        match within(ACT, self.api.remove_container(id, Some(options))).await {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// The end of what a container has said, at least its last `bytes` as far as they are in its last thousand lines.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn log(&self, id: &str, bytes: usize) -> Result<String, EngineError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("1000").build();
        let most = bytes.saturating_mul(2).clamp(4096, MOST);
        let read = async {
            let mut lines = pin!(self.api.logs(id, Some(options)));
            let mut all = Vec::new();
            while let Some(output) = next(&mut lines).await {
                let output: LogOutput = output?;
                all.extend_from_slice(output.as_ref());
                if all.len() > most {
                    all.drain(..all.len() - most / 2);
                }
            }
            Ok(String::from_utf8_lossy(&all).into_owned())
        };
        within(LOOK, read).await
    }

    /// Fetches an image; each line of its progress goes to `heard`. `patience`: the longest silence.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn pull(
        &self,
        repository: &str,
        tag: Option<&str>,
        patience: Duration,
        mut heard: impl FnMut(&CreateImageInfo),
    ) -> Result<(), EngineError> {
        let mut options = CreateImageOptionsBuilder::new().from_image(repository);
        if let Some(tag) = tag {
            options = options.tag(tag);
        }
        let mut lines = pin!(self.api.create_image(Some(options.build()), None, None));
        while let Some(line) = timeout(patience, next(&mut lines)).await.map_err(late)? {
            heard(&line?);
        }
        Ok(())
    }

    /// What happens to containers with this label, from this second of Unix time on; each end of one goes to `heard`. Ends
    /// with an error, or after `patience` without a word, which says nothing: then it is worth connecting again.
    ///
    /// # Errors
    ///
    /// The stream was cut.
    pub async fn ends(
        &self,
        label: &str,
        since: i64,
        patience: Duration,
        mut heard: impl FnMut(EventMessage),
    ) -> Result<(), EngineError> {
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("label", vec![label]),
            // Docker's words and podman's own: each knows only its own.
            ("event", vec!["die", "destroy", "died", "remove"]),
        ]);
        let options =
            EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
        let mut events = pin!(self.api.events(Some(options)));
        loop {
            match timeout(patience, next(&mut events)).await {
                Ok(Some(event)) => heard(event?),
                Ok(None) => return Err(EngineError::Away("the stream of events ended".to_owned())),
                Err(_) => return Ok(()),
            }
        }
    }
}

fn late(_: tokio::time::error::Elapsed) -> EngineError {
    EngineError::Away("no answer in time".to_owned())
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    Ok(timeout(limit, call).await.map_err(late)??)
}

/// As [`within`]; "not modified" is what the engine says to what is so already.
async fn settled(
    limit: Duration,
    call: impl Future<Output = Result<(), Error>>,
) -> Result<(), EngineError> {
    match timeout(limit, call).await.map_err(late)? {
        Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
        other => Ok(other?),
    }
}

async fn next<S: Stream>(stream: &mut Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

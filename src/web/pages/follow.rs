//! `{hub}spawn-follow/…`: a start as it goes, for its page: how far it is, its place in the queue, what the server writes.
//! Server-sent events of our own; JupyterHub's stream of progress is the API's ([`progress`]).
//!
//! [`progress`]: crate::web::api::progress

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{StatusCode, header};
use jovis_actors::{
    domain::{ServerKey, ServerState, scope::Resource},
    spawners::Place,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

use super::spawn::SERVERS;
use crate::web::{
    answer::{self, Answer},
    api::{
        self,
        progress::{Feed, KEEPALIVE},
    },
    app::App,
    call::Call,
    error::Error,
    terminal,
    words::{Words, mark},
};

/// So often it is looked what is new.
const LOOK: Duration = Duration::from_secs(1);
/// Longest stream; a browser opens the next one by itself.
const LONGEST: Duration = Duration::from_secs(3600);
/// Most bytes of a server's output that are shown.
const LOG: usize = 16 * 1024;
/// Events that may wait for a slow browser.
const QUEUE: usize = 8;

/// The stages of a start, in their order.
const STAGES: [(&str, &str); 4] = [
    ("queued", mark("Waiting for a free place")),
    ("starting", mark("Starting the server")),
    ("probing", mark("Waiting for its first answer")),
    ("routing", mark("Opening the way to it")),
];

/// What the actors say of a start, where it is always the same: so that it can be translated.
const STEPS: [&str; 3] = [
    mark("The server is being started"),
    mark("The server has started; waiting for its answer"),
    mark("The server answers; making the way to it"),
];

/// How far a start is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Now {
    /// Of [`STAGES`]; nothing: it is no start any more.
    stage: Option<&'static str>,
    /// 0 to 100.
    pub(super) progress: u8,
    /// Its place in the queue, in words.
    pub(super) place: Option<String>,
    /// What was said of it.
    pub(super) steps: Vec<String>,
    /// What the server has written lately.
    pub(super) log: String,
}

impl Now {
    /// For the page: each stage, and whether it is over, now, or to come.
    pub(super) fn stages(&self, words: &Words) -> Vec<Value> {
        let at = STAGES.iter().position(|(name, _)| Some(*name) == self.stage).unwrap_or(0);
        let state = |nth: usize| match nth.cmp(&at) {
            std::cmp::Ordering::Less => "done",
            std::cmp::Ordering::Equal => "now",
            std::cmp::Ordering::Greater => "later",
        };
        let all = STAGES.iter().enumerate().map(|(nth, (name, label))| {
            json!({ "name": name, "label": words.say(label), "state": state(nth) })
        });
        // Most starts never wait.
        all.skip(usize::from(at > 0)).collect()
    }

    fn told(&self, log: bool) -> Value {
        let mut out = json!({
            "stage": self.stage, "progress": self.progress, "place": self.place, "steps": self.steps,
        });
        if log {
            out["log"] = json!(self.log);
        }
        out
    }
}

/// Looks how far it is.
pub(super) async fn look(app: &App, words: &Words, key: &ServerKey) -> Now {
    let image = app.doors.image();
    let state = image.server(key).map(|server| &server.state);
    let report = app.doors.report(key).map(|report| report.borrow().clone());
    let events = report.as_ref().map(|report| report.events.as_slice()).unwrap_or_default();
    let progress = events.last().map_or(0, |event| event.progress.min(99));
    let stage = state.and_then(|state| stage(state, progress));
    let place = app.doors.place(key).filter(|_| stage == Some("queued"));
    let log = match state.and_then(ServerState::order).filter(|_| stage.is_some()) {
        Some(order) => terminal::plain(&app.doors.log_tail(order, LOG).await),
        None => String::new(),
    };
    debug_assert!(STEPS.len() < STAGES.len());
    Now {
        stage,
        progress,
        place: place.map(|place| in_words(words, place)),
        steps: events.iter().map(|event| words.say(&event.message).to_owned()).collect(),
        log,
    }
}

fn stage(state: &ServerState, progress: u8) -> Option<&'static str> {
    match state {
        _ if state.pending() != Some("spawn") => None,
        ServerState::Queued { .. } => Some("queued"),
        ServerState::Probing { .. } if progress >= 90 => Some("routing"),
        ServerState::Probing { .. } => Some("probing"),
        _ => Some("starting"),
    }
}

/// "You are number 2 of 5; it will take about 3 minutes."
fn in_words(words: &Words, place: Place) -> String {
    let (position, of) = (place.position.to_string(), place.of.to_string());
    let stands = words
        .fill("Place {position} of {of} in the queue.", &[("position", &position), ("of", &of)]);
    let Some(estimate) = place.estimate else { return stands };
    let minutes = estimate.as_secs().div_ceil(60);
    let takes = match minutes {
        0 | 1 => words.say("Its turn will probably come within a minute.").to_owned(),
        2..=90 => words.fill(
            "Its turn will probably come in about {minutes} minutes.",
            &[("minutes", &minutes.to_string())],
        ),
        _ => words.fill(
            "Its turn will probably come in about {hours} hours.",
            &[("hours", &minutes.div_ceil(60).to_string())],
        ),
    };
    format!("{stands} {takes}")
}

/// Streams it.
pub(crate) async fn stream(call: &Call, name: &str, server_name: &str) -> Answer {
    call.may(SERVERS, Resource::Server(name, server_name))?;
    let user = api::user(call, name)?;
    let server = api::server(call, &user, server_name)?;
    let watch = call.app.watchers.begin(call.known()?);
    let watch = watch.ok_or_else(|| Error::crowded("too many open streams"))?;
    let (feed, events) = mpsc::channel(QUEUE);
    let (app, words, key) = (call.app.clone(), call.words(), server.key.clone());
    tokio::spawn(async move {
        let _ = time::timeout(LONGEST, follow(app, words, key, &feed)).await;
    });
    let feed = Feed::new(events, watch);
    let mut out = answer::typed(StatusCode::OK, "text/event-stream", Body::new(feed));
    answer::put(&mut out, header::CACHE_CONTROL, "no-cache");
    Ok(out)
}

/// Tells all that is new until there is no start any more, or the browser has gone.
async fn follow(app: Arc<App>, words: &'static Words, key: ServerKey, feed: &mpsc::Sender<Bytes>) {
    let mut last: Option<Now> = None;
    let mut said = time::Instant::now();
    loop {
        let now = look(&app, words, &key).await;
        if last.as_ref() != Some(&now) {
            let log = last.as_ref().is_none_or(|last| last.log != now.log);
            let event = format!("data: {}\n\n", now.told(log));
            if feed.send(event.into()).await.is_err() || now.stage.is_none() {
                return;
            }
            said = time::Instant::now();
            last = Some(now);
        } else if said.elapsed() >= KEEPALIVE {
            if feed.send(Bytes::from_static(b"\n\n")).await.is_err() {
                return;
            }
            said = time::Instant::now();
        }
        let report = app.doors.report(&key);
        let news = async {
            match report {
                Some(mut report) => {
                    report.mark_unchanged();
                    let _ = report.changed().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = news => time::sleep(Duration::from_millis(20)).await,
            () = time::sleep(LOOK) => {}
            () = feed.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::{Cause, Moment, OrderId, server::Handle};

    use super::*;
    use crate::web::words;

    #[test]
    fn each_state_of_a_start_is_a_stage() {
        let order = OrderId::from_bytes([1; 16]);
        let handle = Handle(String::new());
        let probing = ServerState::Probing { order: order.clone(), handle, url: String::new() };
        for (state, progress, wanted) in [
            (ServerState::Queued { since: Moment(1) }, 0, Some("queued")),
            (ServerState::Starting { order }, 20, Some("starting")),
            (
                ServerState::Waiting { until: Moment(1), cause: Cause::PortTaken(1) },
                20,
                Some("starting"),
            ),
            (probing.clone(), 50, Some("probing")),
            (probing, 90, Some("routing")),
            (ServerState::Stopped(None), 0, None),
            (ServerState::Failed(Cause::Exited(1)), 0, None),
        ] {
            assert_eq!(stage(&state, progress), wanted, "{state:?}");
        }
    }

    #[test]
    fn the_place_is_told_with_the_time_it_takes() {
        let say = |language, seconds: Option<u64>| {
            let estimate = seconds.map(Duration::from_secs);
            in_words(words::of(language), Place { position: 2, of: 5, estimate })
        };
        assert_eq!(say("en", None), "Place 2 of 5 in the queue.");
        assert!(say("en", Some(20)).ends_with("within a minute."));
        assert!(say("en", Some(150)).ends_with("in about 3 minutes."));
        assert!(say("en", Some(7200)).ends_with("in about 2 hours."));
        assert!(say("de", Some(150)).contains("Platz 2 von 5"));
    }
}

//! The steps of a start as server-sent events (`spec/rest-api.md` 4.7).

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Frame;
use jovis_actors::{
    domain::{Cause, Server, User},
    spawners::{Report, Trouble},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

use super::{failure, server, user};
use crate::web::{
    answer::{self, Answer},
    app::App,
    call::Call,
    error::Error,
    guard::Who,
    model,
};

/// A blank line so often keeps proxies from closing the stream.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(8);
/// Events that may wait for a slow browser.
const QUEUE: usize = 64;

/// Streams one user may have open; a page needs one.
const STREAMS: usize = 20;

/// Who watches how much: users and services, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<(bool, String), usize>>);

impl Watchers {
    /// One more of theirs; nothing if there are too many.
    pub(crate) fn begin(self: &Arc<Self>, who: &Who) -> Option<Watch> {
        let who = (who.user().is_some(), who.name().to_owned());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(who.clone()).or_default();
        if *count >= STREAMS {
            return None;
        }
        *count += 1;
        Some(Watch { all: self.clone(), who })
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Watch {
    all: Arc<Watchers>,
    who: (bool, String),
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = all.entry(self.who.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Streams the start in hand, or tells how the last one ended.
pub(crate) async fn stream(call: &Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let server = server(call, &user, server_name)?;
    let url = model::server::url(call.facts(), &user, server_name);
    let watch = call.app.watchers.begin(call.known()?);
    let watch = watch.ok_or_else(|| Error::crowded("too many open streams"))?;
    let (feed, events) = mpsc::channel(QUEUE);
    let once = |event: Value| {
        // The queue is empty: there is room for two.
        let _ = feed.try_send(Bytes::from_static(b"\n\n"));
        let _ = feed.try_send(line(&event));
    };
    if server.state.is_ready() {
        once(ready(&url));
    } else if server.state.pending() == Some("spawn") {
        let spawner = &call.settings.spawner;
        // Restarts and waits for a free port are in here; a start that takes longer is asked for anew.
        let limit = 3 * (spawner.start_timeout.duration() + spawner.http_timeout.duration());
        let (app, patience) = (call.app.clone(), limit + Duration::from_secs(60));
        tokio::spawn(async move {
            let _ = time::timeout(patience, follow(app, server, url, &feed)).await;
        });
    } else if let Some(trouble) = failure(call, &server).or_else(|| cancelled(call, &server)) {
        once(failed(&trouble));
    } else if server.state.is_active() || is_fresh(call, &server) {
        return Err(Error::bad(format!("{} is not starting", full_name(&user, &server))));
    } else {
        return Err(Error::missing(format!("{} is not running", full_name(&user, &server))));
    }
    let mut out =
        answer::typed(StatusCode::OK, "text/event-stream", Body::new(Feed::new(events, watch)));
    answer::put(&mut out, header::CACHE_CONTROL, "no-cache");
    Ok(out)
}

/// The end of a start that somebody broke off, as long as it is remembered.
fn cancelled(call: &Call, server: &Server) -> Option<Trouble> {
    let cause = server.state.cause()?;
    let report = call.app.doors.report(&server.key)?;
    let report = report.borrow();
    // Without a step there was no start: a server that an earlier hub began was stopped.
    let begun = !report.events.is_empty();
    report.outcome.clone()?.err().filter(|trouble| begun && trouble.cause == *cause)
}

/// Was it made and never started?
fn is_fresh(call: &Call, server: &Server) -> bool {
    server.state.cause().is_none() && call.image.server(&server.key).is_some()
}

fn full_name(user: &User, server: &Server) -> String {
    format!("{}/{}", user.name, server.key.name)
}

/// Tells every step until the start has ended, or the browser has gone.
async fn follow(app: Arc<App>, server: Arc<Server>, url: String, feed: &mpsc::Sender<Bytes>) {
    let key = &server.key;
    let blank = || Bytes::from_static(b"\n\n");
    let (mut told, mut last) = (0, Arc::new(Report::default()));
    if feed.send(blank()).await.is_err() {
        return;
    }
    loop {
        let report = app.doors.report(key);
        if let Some(report) = &report {
            last = report.borrow().clone();
        }
        for event in steps(&last, &mut told) {
            if feed.send(line(&event)).await.is_err() {
                return;
            }
        }
        // The record is the truth; the report may be of a start before.
        let image = app.doors.image();
        let state = image.server(key).map(|server| &server.state);
        let end = match state {
            Some(state) if state.is_ready() => Some(ready(&url)),
            Some(state) if state.pending() == Some("spawn") => None,
            _ => Some(failed(&trouble(&app, &server, &last))),
        };
        if let Some(end) = end {
            let _ = feed.send(line(&end)).await;
            return;
        }
        let changed = async {
            match report {
                Some(mut report) if last.outcome.is_none() => {
                    // Compare, do not only wait: a step may have come since we looked.
                    let _ = report.wait_for(|now| **now != *last).await;
                }
                _ => drop(app.doors.settled(key, KEEPALIVE).await),
            }
        };
        tokio::select! {
            () = changed => {
                // The report may end a moment before the record shows it.
                time::sleep(Duration::from_millis(20)).await;
            }
            () = time::sleep(KEEPALIVE) => {
                if feed.send(blank()).await.is_err() {
                    return;
                }
            }
            () = feed.closed() => return,
        }
    }
}

fn trouble(app: &App, server: &Server, last: &Report) -> Trouble {
    match &last.outcome {
        Some(Err(trouble)) => trouble.clone(),
        _ => app.doors.trouble(&server.key).unwrap_or_else(|| Trouble {
            cause: Cause::Stopped,
            at: app.clock.moment(),
            tail: "".into(),
        }),
    }
}

/// The steps not told yet; before the first one always one with progress 0.
fn steps(report: &Report, told: &mut usize) -> Vec<Value> {
    let mut all = vec![json!({"progress": 0, "message": "Server requested"})];
    all.extend(
        report
            .events
            .iter()
            .map(|event| json!({"progress": event.progress.min(99), "message": event.message})),
    );
    // Fewer than told: another start has begun in its place. Its steps are all new.
    if all.len() < *told {
        *told = 1;
    }
    let new = all.get(*told..).map(<[_]>::to_vec).unwrap_or_default();
    *told = (*told).max(all.len());
    new
}

fn ready(url: &str) -> Value {
    json!({
        "progress": 100,
        "ready": true,
        "message": format!("Server ready at {url}"),
        // The path is made of escaped segments: nothing in it can end the attribute.
        "html_message": format!("Server ready at <a href=\"{url}\">{url}</a>"),
        "url": url,
    })
}

fn failed(trouble: &Trouble) -> Value {
    let message = match &trouble.cause {
        Cause::Stopped => "The start was cancelled".to_owned(),
        Cause::StoppedBy(who) => format!("The start was cancelled: {who}"),
        cause => format!("The start failed: {cause}"),
    };
    json!({"progress": 100, "failed": true, "message": message})
}

fn line(event: &Value) -> Bytes {
    format!("data: {event}\n\n").into()
}

/// A body fed by a queue; counted as long as it is there.
pub(crate) struct Feed(
    mpsc::Receiver<Bytes>,
    #[expect(dead_code, reason = "held until dropped")] Watch,
);

impl Feed {
    /// What comes out of this queue, to whoever is counted here.
    pub(crate) fn new(queue: mpsc::Receiver<Bytes>, watch: Watch) -> Self {
        Self(queue, watch)
    }
}

impl http_body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use jovis_actors::{domain::Moment, spawners::Event};

    use super::*;

    #[test]
    fn each_step_is_told_once_and_none_claims_the_end() {
        let mut report = Report::default();
        let mut told = 0;
        assert_eq!(
            steps(&report, &mut told),
            [json!({"progress": 0, "message": "Server requested"})]
        );
        report.events.push(Event { progress: 100, message: "Starting".into() });
        assert_eq!(steps(&report, &mut told), [json!({"progress": 99, "message": "Starting"})]);
        assert_eq!(steps(&report, &mut told), [] as [Value; 0]);
        assert_eq!(steps(&Report::default(), &mut told), [] as [Value; 0]);
        // A start that takes the place of another is told from its first step.
        assert_eq!(steps(&report, &mut told), [json!({"progress": 99, "message": "Starting"})]);
    }

    #[test]
    fn the_last_event_has_the_references_fields() {
        let event = ready("/user/bob/");
        assert_eq!(
            (&event["ready"], &event["url"], &event["progress"]),
            (&json!(true), &json!("/user/bob/"), &json!(100))
        );
        let trouble = Trouble { cause: Cause::Exited(1), at: Moment(0), tail: "".into() };
        let event = failed(&trouble);
        assert_eq!(event["failed"], true);
        assert!(event["message"].as_str().unwrap().contains("status 1"));
        assert_eq!(line(&json!({"a": 1})), "data: {\"a\":1}\n\n");
    }
}

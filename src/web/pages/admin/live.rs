//! What has changed, as server-sent events: only which kinds of things, since what it is to look like now the page asks
//! anew. At most one message a second, however much happens.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{StatusCode, header};
use jovis_actors::store::Changes;
use serde_json::json;
use tokio::{sync::mpsc, time};

use super::enter;
use crate::web::{
    answer::{self, Answer},
    api::progress::Feed,
    app::App,
    call::Call,
    error::Error,
};

/// A blank line so often keeps proxies from closing the stream.
const KEEPALIVE: Duration = Duration::from_secs(8);
/// Messages lie apart at least so far.
const PACE: Duration = Duration::from_secs(1);
/// Messages that may wait for a slow browser. One more is not lost: the next one says it, too.
const QUEUE: usize = 4;
/// Then the browser asks anew, and it is looked again who that is.
const LIFE: Duration = Duration::from_secs(600);

/// The stream.
pub(crate) async fn stream(call: &mut Call) -> Answer {
    enter(call)?;
    let watch = call.app.watchers.begin(call.known()?);
    let watch = watch.ok_or_else(|| Error::crowded("too many open streams"))?;
    let (feed, events) = mpsc::channel(QUEUE);
    let app = call.app.clone();
    tokio::spawn(async move {
        let _ = time::timeout(LIFE, follow(app, &feed)).await;
    });
    let mut out =
        answer::typed(StatusCode::OK, "text/event-stream", Body::new(Feed::new(events, watch)));
    answer::put(&mut out, header::CACHE_CONTROL, "no-cache");
    Ok(out)
}

/// Tells of changes until the browser has gone.
async fn follow(app: Arc<App>, feed: &mpsc::Sender<Bytes>) {
    let mut published = app.doors.published();
    let mut last = app.doors.image();
    let blank = || Bytes::from_static(b"\n\n");
    if feed.send(blank()).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            changed = published.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = app.doors.image();
                let told = line(&now.changes(&last));
                if told.is_none_or(|line| feed.try_send(line).is_ok()) {
                    last = now;
                }
                tokio::select! {
                    () = time::sleep(PACE) => {}
                    () = feed.closed() => return,
                }
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

fn line(changes: &Changes) -> Option<Bytes> {
    let Changes { users, servers, groups, services, notices } = *changes;
    let all = [
        ("users", users),
        ("servers", servers),
        ("groups", groups),
        ("services", services),
        ("notices", notices),
    ];
    let names: Vec<_> = all.iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
    (!names.is_empty()).then(|| format!("data: {}\n\n", json!({"changed": names})).into())
}

//! A visitor's connection, from its first byte to its last: one message after the other.
//!
//! ```text
//! inbox (scan) ─┬─ exchange: request, answer, carry, pool   a plain request to a user server, without hyper
//!               └─ single: hyper ─ front                    everything else, one message at a time
//! ```
//!
//! Where a message ends is decided in one place, by the scanner; neither way sees a byte behind it.

mod answer;
mod carry;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
pub(super) mod inbox;
mod pool;
mod request;
mod single;

use std::{future::poll_fn, sync::Arc, time::Duration};

use http::{
    HeaderMap, Response,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt as _, Collected, Limited};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tracing::debug;

use self::inbox::{Inbox, NoHead};
use super::{
    body::Answer,
    figures::Event,
    front::{self, Visit},
    guard::Notes,
    pages::Page,
    served,
    shared::Shared,
    stream::Visitor,
};

pub(super) use self::pool::sweep;

/// What a visitor still sends after our last word is thrown away for so long, and so much of it: a reset would take that
/// word from him.
const LINGER: (Duration, usize) = (Duration::from_millis(500), 256 * 1024);
/// Longest time our last word may take, and most bytes of it.
const LAST_WORD: Duration = Duration::from_secs(10);
const MOST_WORDS: usize = 1024 * 1024;

/// Serves a visitor until one of us has enough.
pub(super) async fn serve(shared: Arc<Shared>, visitor: Visitor, visit: Visit, notes: Arc<Notes>) {
    let patience = shared.settings.load().body_timeout;
    let mut inbox = Inbox::new(visitor, notes.clone(), patience);
    loop {
        let head = match poll_fn(|cx| inbox.poll_head(cx)).await {
            Ok(head) => head,
            Err(NoHead::Gone) => return,
            Err(NoHead::Fault) => return refuse(&shared, &mut inbox, visit).await,
            Err(too_much @ (NoHead::TooLarge | NoHead::TargetTooLong)) => {
                let page = match too_much {
                    NoHead::TargetTooLong => Page::TargetTooLong,
                    _ => Page::HeadTooLarge,
                };
                let page = page.answer(&HeaderMap::new(), None);
                return say(&shared, &mut inbox, visit, page, false).await;
            }
        };
        let mut outcome = exchange::run(&shared, visit, &notes, &mut inbox, head, false).await;
        if matches!(outcome, exchange::Outcome::Again) {
            outcome = exchange::run(&shared, visit, &notes, &mut inbox, head, true).await;
        }
        match outcome {
            exchange::Outcome::Kept => continue,
            exchange::Outcome::Last => return end(&mut inbox).await,
            exchange::Outcome::Left => return,
            exchange::Outcome::Cut => return inbox.io().reset(),
            exchange::Outcome::Failed(failure) => {
                let page = match shared.alone.get() {
                    Some(alone) => alone.failed(&shared, &failure.target).await,
                    None => {
                        let page = failure.error.page(&failure.entry);
                        page.answer(&failure.asked, failure.id.as_deref())
                    }
                };
                let status = page.status().as_u16();
                served::tell(&shared, &failure.entry, None, None, status, failure.began);
                let Some(request) = failure.keeps else {
                    return say(&shared, &mut inbox, visit, page, failure.to_head).await;
                };
                inbox.done(request);
                let bytes = words(&shared, visit, page, false, failure.to_head).await;
                match timeout(LAST_WORD, inbox.io().write_all(&bytes)).await {
                    Ok(Ok(())) => continue,
                    _ => return,
                }
            }
            exchange::Outcome::NotHere | exchange::Outcome::Again => {}
        }
        if inbox.look_at_body().is_err() {
            return refuse(&shared, &mut inbox, visit).await;
        }
        // It is seldom and large: who waits for a head should not carry its room along.
        inbox = match Box::pin(single::serve(&shared, visit, &notes, inbox)).await {
            single::Outcome::Kept(inbox) => inbox,
            single::Outcome::Last(mut inbox) => return end(&mut inbox).await,
            single::Outcome::Cut(mut inbox) => return inbox.io().reset(),
            single::Outcome::Ended => return,
        };
    }
}

/// It is not one unambiguous message: nothing behind it has a meaning.
async fn refuse(shared: &Shared, inbox: &mut Inbox, visit: Visit) {
    shared.figures.count(Event::Refused);
    debug!(peer = %visit.peer, why = "not one unambiguous message", "request refused");
    say(shared, inbox, visit, Page::BadRequest.answer(&HeaderMap::new(), None), false).await;
}

/// Our own last word on a connection.
async fn say(
    shared: &Shared,
    inbox: &mut Inbox,
    visit: Visit,
    response: Response<Answer>,
    to_head: bool,
) {
    let bytes = words(shared, visit, response, true, to_head).await;
    // Who does not take it has gone.
    if let Ok(Ok(())) = timeout(LAST_WORD, inbox.io().write_all(&bytes)).await {
        end(inbox).await;
    }
}

/// An answer that is no backend's, as it goes out.
async fn words(
    shared: &Shared,
    visit: Visit,
    response: Response<Answer>,
    last: bool,
    to_head: bool,
) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    // Somebody else's page that is too long or breaks off is none.
    let body = timeout(LAST_WORD, Limited::new(body, MOST_WORDS).collect()).await;
    let body = body.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
    let mut out = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    let mut fields = parts.headers;
    fields.remove(CONTENT_LENGTH);
    fields.remove(TRANSFER_ENCODING);
    front::finish(shared, &mut fields, visit, last);
    for (name, value) in &fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    if !to_head {
        out.extend_from_slice(&body);
    }
    out
}

/// Ends the connection so that everything said before arrives.
async fn end(inbox: &mut Inbox) {
    let ending = async {
        inbox.io().shutdown().await?;
        let (mut left, mut piece) = (LINGER.1, [0; 2048]);
        while left > 0 {
            match inbox.io().read(&mut piece).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // However it goes, the connection is over.
    let _ = timeout(LINGER.0, ending).await;
}

//! A plain request's short way: its head is rewritten, its body and the answer's are carried, and nothing else is done.

use std::{
    future::poll_fn,
    io::IoSlice,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{
    HeaderMap, Method, Uri,
    header::{ACCEPT, HOST},
};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{
    answer::{Body, Head, Ours, Reader},
    carry::{Broken, Carry, Rechunked, SCRATCH},
    inbox::Inbox,
    pool,
    request::{self, Plain},
};
use crate::proxy::{
    dial::dial,
    drain::Phase,
    figures::Event,
    forward::{ForwardError, complain, hub_away},
    front::{self, Visit},
    guard::Notes,
    path,
    pool::farewell,
    served::{self, Line},
    shared::Shared,
    stopped,
    stream::{Backend, Visitor},
    table::Entry,
    target::{Place, Tls},
    trailers,
};

/// What became of it.
pub(super) enum Outcome {
    /// Answered; the connection is good for more.
    Kept,
    /// Answered; the connection has to end.
    Last,
    /// Something broke in the middle: the visitor must see that.
    Cut,
    /// The visitor has left.
    Left,
    /// It is none for the short way. Nothing was taken out of the inbox.
    NotHere,
    /// The backend may have closed its connection just as we took it. Nothing was taken out of the inbox, and what may
    /// be done twice may be tried over a fresh one.
    Again,
    /// There is no answer. The page for it is still to be said.
    Failed(Box<Failure>),
}

/// Why there is no answer, and what the page for it needs.
pub(super) struct Failure {
    /// Why.
    pub(super) error: ForwardError,
    /// Whose.
    pub(super) entry: Arc<Entry>,
    /// What kind of page.
    pub(super) asked: HeaderMap,
    /// The request's id.
    pub(super) id: Option<String>,
    /// What was asked for.
    pub(super) target: Uri,
    /// Does the answer go without a body?
    pub(super) to_head: bool,
    /// When the request came.
    pub(super) began: Instant,
    /// So many bytes of the inbox are the request, if the connection is good for more; none: it has to end.
    pub(super) keeps: Option<usize>,
}

/// Takes the request whose head is in the inbox the short way, if it is one for it. `fresh`: over a connection of its own.
pub(super) async fn run(
    shared: &Arc<Shared>,
    visit: Visit,
    notes: &Arc<Notes>,
    inbox: &mut Inbox,
    head: usize,
    fresh: bool,
) -> Outcome {
    if visit.redirects {
        return Outcome::NotHere;
    }
    let began = Instant::now();
    let scanner = inbox.scanner();
    let length = scanner.length_left();
    if length.is_none() && !scanner.at_border() {
        return Outcome::NotHere;
    }
    let mut out = Vec::with_capacity(head + 512);
    let Some(mut plain) = request::read(&inbox.bytes()[..head], &mut out) else {
        return Outcome::NotHere;
    };
    let alone = shared.alone.get();
    let looks = alone.map(|_| Instant::now());
    let Some(entry) = destination(shared, &plain, length.is_some()) else {
        return Outcome::NotHere;
    };
    let finding = looks.map_or(Duration::ZERO, |since| since.elapsed());
    let in_hand = notes.begin();
    let takes_trailers = trailers::said(&plain.fields).taken;
    let client = match alone {
        None => front::introduce(shared, visit, &entry, &mut plain.fields),
        Some(alone) => {
            alone.introduce(&shared.settings.load(), visit, &entry, &mut plain.fields);
            visit.peer
        }
    };
    let Some(_place) = place(shared, &entry, client) else {
        return Outcome::NotHere;
    };
    let line = Line::due(shared, client, || (plain.method.clone(), plain.path().to_owned()));
    if takes_trailers {
        trailers::ask(&mut plain.fields);
    }
    plain.finish(&mut out);
    // The body as far as it is here goes along with the head.
    let body = inbox.bytes().len() - head;
    let body = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX).min(body);
    out.extend_from_slice(&inbox.bytes()[head..head + body]);
    let here = head + body;
    let upload = Carry::new(out, length.unwrap_or(0) - body as u64);
    let whole = upload.is_read();
    let closes = plain.last || *shared.phase.borrow() >= Phase::Retiring;
    let keeps = (whole && !closes).then_some(here);
    let failed = |error| failed(shared, &plain, &entry, error, began, keeps);

    let (backend, reused) = match pool::take(&entry).filter(|_| !fresh) {
        Some(backend) => (backend, true),
        None => match dial(shared, &entry, shared.settings.load().connect_timeout).await {
            Ok(backend) => (backend, false),
            // Who waits for the hub does that elsewhere.
            Err(_) if entry.is_hub() => return Outcome::NotHere,
            Err(error) => return failed(ForwardError::Connect(error)),
        },
    };
    let ours = Ours {
        close: closes,
        only_tls: shared.settings.load().hsts.clone().filter(|_| visit.tls && alone.is_none()),
        to_head: plain.method == Method::HEAD,
        trailers: takes_trailers,
    };
    let mut exchange = Exchange {
        shared,
        entry: &entry,
        notes,
        inbox,
        here,
        backend,
        upload,
        upload_broken: false,
        reader: Reader::default(),
        came: Vec::new(),
    };
    if length.is_some() {
        shared.activity.note(&entry);
    }
    let answering = poll_fn(|cx| exchange.poll_answer(cx, &ours));
    let answer = if entry.is_hub() {
        let patience = shared.settings.load().hub_patience;
        tokio::select! {
            biased;
            answer = answering => answer,
            () = hub_away(shared, patience) => {
                return failed(ForwardError::HubAway);
            }
        }
    } else {
        tokio::select! {
            biased;
            answer = answering => answer,
            () = farewell(&entry) => Err(NoAnswer::Broken),
        }
    };
    let begun = match answer {
        Ok(begun) => begun,
        Err(NoAnswer::Left) => return Outcome::Left,
        Err(NoAnswer::Broken) if reused && whole && plain.method.is_idempotent() => {
            return Outcome::Again;
        }
        Err(NoAnswer::Broken) if entry.is_hub() => return Outcome::NotHere,
        Err(NoAnswer::Broken) => return failed(ForwardError::Broken(None)),
        Err(NoAnswer::Irregular) => {
            return failed(ForwardError::Irregular(None));
        }
    };
    let (status, keep) = (begun.head.status, begun.head.keep);
    served::tell(shared, &entry, plain.fields.get("x-request-id"), line, status, began);
    if let Some(alone) = alone {
        alone.answered(status, finding);
    }
    let finished = tokio::select! {
        biased;
        finished = exchange.finish(begun) => finished,
        () = farewell(&entry) => Err(Broken::From),
    };
    let clean = match finished {
        Ok(clean) => clean,
        Err(Broken::From) => {
            shared.figures.count(Event::Cut);
            return Outcome::Cut;
        }
        Err(Broken::To) => return Outcome::Left,
    };
    let Exchange { backend, upload, upload_broken, .. } = exchange;
    let uploaded = upload.is_done() && !upload_broken;
    if (200..300).contains(&status) {
        // Only what went well counts as use, as it does for configurable-http-proxy.
        shared.activity.note(&entry);
    }
    if keep && uploaded && clean && !entry.life.is_over() {
        pool::put(&entry, backend);
    }
    let last = closes || !uploaded || inbox.is_last(here);
    inbox.done(here);
    drop(in_hand);
    if last { Outcome::Last } else { Outcome::Kept }
}

/// Its route, if the way there is short: nothing has to be done to the path, and all that may have to be waited for is
/// the answer. (Whatever else a route or a setting wants done to requests, beyond [`crate::proxy::headers::prepare`], has
/// to be refused here.)
fn destination(shared: &Shared, plain: &Plain, has_body: bool) -> Option<Arc<Entry>> {
    let path = path::matchable(plain.path()).ok()?;
    let host = plain.fields.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let table = shared.routes.now();
    let entry = match shared.alone.get() {
        None => table.find(host, &path).unwrap_or(&shared.hub),
        Some(alone) if alone.has_short_way(&shared.settings.load(), &plain.fields) => {
            table.find(host, &path)?
        }
        Some(_) => return None,
    };
    if plain.path() == "/_chp_healthz" {
        return None;
    }
    let short = match entry.target.place {
        Place::V4(_, Tls::Without) | Place::Tcp(_, Tls::Without) | Place::Unix(_) => {
            entry.target.before.is_none()
        }
        Place::V4(_, Tls::With) | Place::Tcp(_, Tls::With) | Place::Unusable => false,
    };
    let ours = entry.is_hub() && {
        let settings = shared.settings.load();
        let asks_only = matches!(plain.method, Method::GET | Method::HEAD) && !has_body;
        !asks_only || stopped::owner(&path, &settings.base_url, false).is_some()
    };
    (short && !ours).then(|| entry.clone())
}

/// A place at the hub, if that needs no waiting. (Nobody needs one elsewhere.)
fn place(shared: &Shared, entry: &Entry, client: IpAddr) -> Option<Option<OwnedSemaphorePermit>> {
    let settings = shared.settings.load();
    if !entry.is_hub() || settings.trusts(client) {
        return Some(None);
    }
    shared.at_hub.of(client, settings.most_at_hub).try_acquire_owned().ok().map(Some)
}

fn failed(
    shared: &Shared,
    plain: &Plain,
    entry: &Arc<Entry>,
    error: ForwardError,
    began: Instant,
    keeps: Option<usize>,
) -> Outcome {
    complain(shared, entry, &error);
    let asked = plain.accept.clone().map(|accept| (ACCEPT, accept)).into_iter().collect();
    let id = plain.fields.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let target = plain.target.parse().unwrap_or_default();
    let (entry, to_head) = (entry.clone(), plain.method == Method::HEAD);
    Outcome::Failed(Box::new(Failure { error, entry, asked, id, target, to_head, began, keeps }))
}

/// One request and its answer.
struct Exchange<'a> {
    shared: &'a Arc<Shared>,
    entry: &'a Arc<Entry>,
    notes: &'a Arc<Notes>,
    inbox: &'a mut Inbox,
    /// So many bytes of the inbox are the request.
    here: usize,
    backend: Backend,
    upload: Carry,
    /// The backend takes no more of it. An answer may have come all the same.
    upload_broken: bool,
    reader: Reader,
    /// Of the answer's head, if it did not come in one piece.
    came: Vec<u8>,
}

/// Why no answer begins.
enum NoAnswer {
    Left,
    Broken,
    Irregular,
}

/// An answer has begun.
struct Begun {
    head: Head,
    download: Download,
    /// The backend has said more than its answer.
    more: bool,
}

enum Download {
    Length(Carry),
    Chunks(Rechunked),
}

impl Exchange<'_> {
    /// Sends the request on while it waits for the answer's head, which is passed on with what came behind it.
    fn poll_answer(&mut self, cx: &mut Context<'_>, ours: &Ours) -> Poll<Result<Begun, NoAnswer>> {
        self.poll_upload(cx).map_err(|Gone| NoAnswer::Left)?;
        let closing;
        let ours = if self.inbox.is_last(self.here) && !ours.close {
            closing = Ours { close: true, ..ours.clone() };
            &closing
        } else {
            ours
        };
        loop {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buf = ReadBuf::new(scratch);
                match ready!(Pin::new(&mut self.backend).poll_read(cx, &mut buf)) {
                    Err(_) => return Poll::Ready(Err(NoAnswer::Broken)),
                    Ok(()) if buf.filled().is_empty() => {
                        return Poll::Ready(Err(NoAnswer::Broken));
                    }
                    Ok(()) => {}
                }
                let bytes = if self.came.is_empty() {
                    buf.filled()
                } else {
                    self.came.extend_from_slice(buf.filled());
                    &self.came
                };
                let mut out = Vec::with_capacity(1024);
                match self.reader.read(bytes, ours, &mut out) {
                    Err(_) => Poll::Ready(Err(NoAnswer::Irregular)),
                    Ok(Some(head)) => {
                        let body = &bytes[head.length..];
                        self.inbox.answers();
                        let visitor = self.inbox.io();
                        Poll::Ready(begin(cx, head, out, body, visitor, ours.trailers).map(Some))
                    }
                    Ok(None) => {
                        if self.came.is_empty() {
                            self.came = buf.filled().to_vec();
                        }
                        Poll::Ready(Ok(None))
                    }
                }
            });
            if let Some(begun) = ready!(read)? {
                self.came = Vec::new();
                return Poll::Ready(Ok(begun));
            }
        }
    }

    /// Carries on with the request's body, and sees whether the visitor leaves.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        if !self.upload.is_done() && !self.upload_broken {
            let (shared, entry) = (self.shared, self.entry);
            let note = || shared.activity.note(entry);
            match self.upload.poll(cx, self.inbox.io(), &mut self.backend, note) {
                Poll::Ready(Err(Broken::From)) => return Err(Gone),
                Poll::Ready(Err(Broken::To)) => self.upload_broken = true,
                Poll::Ready(Ok(())) => self.notes.owes_body(false),
                Poll::Pending => {
                    self.notes.owes_body(self.upload.waits_for_more());
                    return Ok(());
                }
            }
        }
        if self.upload_broken || self.upload.is_done() && self.inbox.poll_gone(cx).is_ready() {
            return if self.upload_broken { Ok(()) } else { Err(Gone) };
        }
        Ok(())
    }

    /// Passes the rest of the answer on. Was it clean, so that the backend may be asked again?
    async fn finish(&mut self, mut begun: Begun) -> Result<bool, Broken> {
        poll_fn(|cx| {
            if self.poll_upload(cx).is_err() {
                return Poll::Ready(Err(Broken::To));
            }
            let (backend, visitor) = (&mut self.backend, self.inbox.io());
            let mut moves = false;
            let carried = match &mut begun.download {
                Download::Length(carry) => carry.poll(cx, backend, visitor, || moves = true),
                Download::Chunks(chunks) => chunks.poll(cx, backend, visitor, || moves = true),
            };
            if moves {
                self.inbox.answers();
            }
            carried
        })
        .await?;
        Ok(match begun.download {
            Download::Length(_) => !begun.more,
            Download::Chunks(chunks) => !chunks.more,
        })
    }
}

struct Gone;

/// Says the head, with as much of the body as came along.
fn begin(
    cx: &mut Context<'_>,
    head: Head,
    mut out: Vec<u8>,
    body: &[u8],
    visitor: &mut Visitor,
    trailers: bool,
) -> Result<Begun, NoAnswer> {
    let length = match head.body {
        Body::Empty => 0,
        Body::Length(length) => length,
        Body::Chunked | Body::UntilClose => {
            let mut chunks = Rechunked::new(head.body == Body::Chunked, trailers);
            // A chunk that is broken from the start is an answer that never was.
            chunks.begin(body, &mut out).map_err(|_| NoAnswer::Irregular)?;
            chunks.keep(write(cx, visitor, &out, &[])?);
            return Ok(Begun { head, download: Download::Chunks(chunks), more: false });
        }
    };
    let here = usize::try_from(length).unwrap_or(usize::MAX).min(body.len());
    let rest = write(cx, visitor, &out, &body[..here])?;
    let download = Download::Length(Carry::new(rest, length - here as u64));
    Ok(Begun { head, download, more: here < body.len() })
}

/// Writes what it can of these two; gives back the rest.
fn write(
    cx: &mut Context<'_>,
    visitor: &mut Visitor,
    head: &[u8],
    body: &[u8],
) -> Result<Vec<u8>, NoAnswer> {
    let both = [IoSlice::new(head), IoSlice::new(body)];
    let written = match Pin::new(visitor).poll_write_vectored(cx, &both) {
        Poll::Ready(written) => written.map_err(|_| NoAnswer::Left)?,
        Poll::Pending => 0,
    };
    Ok(if written >= head.len() {
        body[written - head.len()..].to_vec()
    } else {
        [&head[written..], body].concat()
    })
}

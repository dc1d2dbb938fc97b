//! Bodies on their way through: never gathered, cut when cut; trailers only where somebody has seen to it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Sleep, sleep_until},
};

use super::{guard::InHand, pool, pool::Sender, shared::Shared, table::Entry, trailers};

/// Why a visitor's body does not come to its end.
#[derive(Debug, Error)]
pub(super) enum UploadError {
    /// It broke off.
    #[error("the visitor's body broke off")]
    Broken(#[source] hyper::Error),
    /// The server has answered without it.
    #[error("the body is not wanted")]
    Unwanted,
    /// Its next piece did not come in time.
    #[error("the visitor's body came too slowly")]
    Slow,
}

/// A visitor's body. One by HTTP/1.1 is watched with its connection; one by HTTP/2 is one of many, and watched here.
pub(super) struct Inbound {
    incoming: Incoming,
    /// Longest wait for its next piece, while somebody asks for it.
    patience: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
    /// Do trailers go along?
    trailers: bool,
    /// Ends when the server has given its leave, or will not.
    leave: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

/// A server's leave to send a body that waits for it. Gone without it: the body is not wanted.
pub(super) type Leave = Arc<watch::Sender<bool>>;

impl Inbound {
    /// As it comes from hyper.
    pub(super) fn new(incoming: Incoming, patience: Option<Duration>) -> Self {
        Self { incoming, patience, waiting: None, trailers: false, leave: None }
    }

    /// Is nothing to come?
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// It waits for leave from now on, and so does the visitor (RFC 9110, section 10.1.1).
    pub(super) fn wait_for_leave(&mut self) -> Leave {
        let (leave, mut given) = watch::channel(false);
        self.leave = Some(Box::pin(async move { given.wait_for(|it| *it).await.is_ok() }));
        Arc::new(leave)
    }

    /// The next piece of data, in time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(leave) = &mut self.leave {
            if !ready!(leave.as_mut().poll(cx)) {
                return Poll::Ready(Some(Err(UploadError::Unwanted)));
            }
            self.leave = None;
        }
        if let Poll::Ready(frame) = data(&mut self.incoming, cx, self.trailers) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Broken)));
        }
        let Some(patience) = self.patience else { return Poll::Pending };
        let until = || Box::pin(sleep_until(Instant::now() + patience));
        ready!(self.waiting.get_or_insert_with(until).as_mut().poll(cx));
        Poll::Ready(Some(Err(UploadError::Slow)))
    }
}

/// What a backend is sent.
pub(super) enum Upload {
    /// Nothing.
    Empty,
    /// What the visitor sends; each piece is activity.
    Streamed(Inbound, Arc<Shared>, Arc<Entry>),
}

impl Upload {
    /// Its trailers go along from now on, as far as they may.
    pub(super) fn with_trailers(&mut self) {
        if let Self::Streamed(inbound, ..) = self {
            inbound.trailers = true;
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(inbound, shared, entry) => {
                let frame = ready!(inbound.poll(cx));
                if frame.is_some() {
                    shared.activity.note(entry);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(inbound, ..) => inbound.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(inbound, ..) => inbound.incoming.size_hint(),
        }
    }
}

/// What a visitor is sent.
pub(super) struct Answer {
    content: Content,
    _in_hand: Option<InHand>,
    _place: Option<OwnedSemaphorePermit>,
    _leave: Option<Leave>,
}

enum Content {
    Own(Option<Bytes>),
    Relayed(Relayed),
}

/// A backend's answer. When it has come to its end, the connection is good for another request.
pub(super) struct Relayed {
    incoming: Incoming,
    /// Do trailers go along?
    trailers: bool,
    /// Was the end seen?
    ended: bool,
    /// To be pooled at the end; none: for this answer only.
    lane: Option<Sender>,
    entry: Arc<Entry>,
    /// Counts as use of the route, if it comes to its end.
    counts: Option<Arc<Shared>>,
}

impl Relayed {
    /// Takes over an answer's body.
    pub(super) fn new(
        incoming: Incoming,
        lane: Option<Sender>,
        entry: Arc<Entry>,
        counts: Option<Arc<Shared>>,
    ) -> Self {
        Self { incoming, trailers: false, ended: false, lane, entry, counts }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if !self.ended && !self.incoming.is_end_stream() {
            return;
        }
        if let Some(shared) = self.counts.take() {
            shared.activity.note(&self.entry);
        }
        if let Some(lane) = self.lane.take()
            && !self.entry.life.is_over()
        {
            pool::put(&self.entry, lane);
        }
    }
}

impl Answer {
    /// Our own words.
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self {
            content: Content::Own((!text.is_empty()).then_some(text)),
            _in_hand: None,
            _place: None,
            _leave: None,
        }
    }

    /// A backend's.
    pub(super) fn relayed(relayed: Relayed) -> Self {
        Self { content: Content::Relayed(relayed), _in_hand: None, _place: None, _leave: None }
    }

    /// Our own words unsaid; a backend says none where only the head was asked for.
    pub(super) fn without_content(mut self) -> Self {
        if let Content::Own(text) = &mut self.content {
            *text = None;
        }
        self
    }

    /// A backend's trailers go along from now on, as far as they may.
    pub(super) fn with_trailers(&mut self) {
        if let Content::Relayed(relayed) = &mut self.content {
            relayed.trailers = true;
        }
    }

    /// The request is in hand until this is dropped.
    pub(super) fn holding(mut self, in_hand: Option<InHand>) -> Self {
        self._in_hand = in_hand;
        self
    }

    /// A body that still waits for leave at the end of this is not wanted.
    pub(super) fn leaving(mut self, leave: Option<Leave>) -> Self {
        self._leave = leave;
        self
    }

    /// Keeps a place at the hub until this is dropped.
    pub(super) fn placed(mut self, place: Option<OwnedSemaphorePermit>) -> Self {
        self._place = place;
        self
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().content {
            Content::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Relayed(relayed) => {
                let frame = ready!(data(&mut relayed.incoming, cx, relayed.trailers));
                // Nothing comes behind trailers, and hyper does not ask again.
                let last =
                    |frame: &Result<Frame<Bytes>, _>| frame.as_ref().is_ok_and(Frame::is_trailers);
                relayed.ended |= frame.as_ref().is_none_or(last);
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(text) => text.is_none(),
            Content::Relayed(relayed) => relayed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Relayed(relayed) => relayed.incoming.size_hint(),
        }
    }
}

/// The next piece of data. Trailers are dropped, or those that may not pass.
fn data(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
    with_trailers: bool,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    loop {
        let frame = match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) if !frame.is_data() => frame,
            other => return Poll::Ready(other),
        };
        if with_trailers
            && let Ok(mut trailers) = frame.into_trailers()
            && trailers::keep(&mut trailers)
        {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
    }
}

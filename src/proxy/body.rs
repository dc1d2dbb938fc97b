//! Bodies on their way through: never gathered, cut when cut, trailers dropped.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{guard::InHand, pool, pool::Sender, shared::Shared, table::Entry};

/// What a backend is sent.
pub(super) enum Upload {
    /// Nothing.
    Empty,
    /// What the visitor sends; each piece is activity.
    Streamed(Incoming, Arc<Shared>, Arc<Entry>),
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(incoming, shared, entry) => {
                let frame = ready!(data(incoming, cx));
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
            Self::Streamed(incoming, ..) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(incoming, ..) => incoming.size_hint(),
        }
    }
}

/// What a visitor is sent.
pub(super) struct Answer {
    content: Content,
    _in_hand: Option<InHand>,
    _place: Option<OwnedSemaphorePermit>,
}

enum Content {
    Own(Option<Bytes>),
    Relayed(Relayed),
}

/// A backend's answer. When it has come to its end, the connection is good for another request.
pub(super) struct Relayed {
    incoming: Incoming,
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
        Self { incoming, ended: false, lane, entry, counts }
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
            && self.entry.live.load(Relaxed)
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
        }
    }

    /// A backend's.
    pub(super) fn relayed(relayed: Relayed) -> Self {
        Self { content: Content::Relayed(relayed), _in_hand: None, _place: None }
    }

    /// The request is in hand until this is dropped.
    pub(super) fn holding(mut self, in_hand: Option<InHand>) -> Self {
        self._in_hand = in_hand;
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
                let frame = ready!(data(&mut relayed.incoming, cx));
                relayed.ended |= frame.is_none();
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

/// The next piece of data; trailers are dropped.
fn data(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    loop {
        match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) if !frame.is_data() => {}
            other => return Poll::Ready(other),
        }
    }
}

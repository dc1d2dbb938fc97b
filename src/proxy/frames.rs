//! Counts what a visitor does with HTTP/2 frames, and says when it is a flood. It reads the nine bytes in front of each
//! frame (RFC 9113, section 4.1) and nothing of what is in it. This file is pure; [`super::counted`] puts it in front of
//! a connection, below hyper, so that hyper's work for a connection is bounded too.
//!
//! | Frames | Attack | At once | Then, each second | Earned by |
//! | --- | --- | --- | --- | --- |
//! | `RST_STREAM` | rapid reset, CVE-2023-44487 | 200 | 20 | |
//! | `SETTINGS`, `PING`, `PRIORITY`, `GOAWAY`, unknown ones, empty `DATA` | CVE-2019-9512, -9513, -9515, -9518 | 500 | 50 | a request: 2 |
//! | `WINDOW_UPDATE` | the same | 1,000 | 100 | a request: 2; 1 KiB we have sent: 1 |
//! | `CONTINUATION` | CVE-2024-27316 | 8 in a head, 128 KiB together | | |
//!
//! Browsers stay far below: they tell priorities once per request (RFC 9218), open windows once per some 10 KiB, and
//! cannot cancel more than the 100 requests that are under way.

/// What came too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    /// Requests taken back.
    Resets,
    /// Frames that carry nothing.
    Control,
    /// Windows opened in small pieces.
    Updates,
    /// One head in too many pieces.
    Continuations,
}

/// What every client says first (RFC 9113, section 3.4); hyper compares it.
const PREFACE: usize = 24;
/// Bytes in front of each frame.
const FRONT: usize = 9;
/// Most frames that continue one head, and most bytes of it, packed.
const BLOCK: (u32, u32) = (8, 128 * 1024);

/// Fills with each frame, leaks with time.
#[derive(Debug)]
struct Bucket {
    /// Thousandths of a frame.
    level: u64,
    /// What it holds, and what leaks out of it each second; frames.
    size: u64,
    leak: u64,
}

impl Bucket {
    const fn new(size: u64) -> Self {
        Self { level: 0, size, leak: size / 10 }
    }

    fn leak(&mut self, elapsed_ms: u64) {
        self.level = self.level.saturating_sub(elapsed_ms.saturating_mul(self.leak));
    }

    fn earn(&mut self, frames: u64) {
        self.level = self.level.saturating_sub(frames.saturating_mul(1000));
    }

    /// One more; does it overflow?
    fn fill(&mut self) -> bool {
        self.level += 1000;
        self.level > self.size * 1000
    }
}

/// Reads along.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface still to come.
    preface: usize,
    /// The nine bytes in front of a frame, as far as they came.
    front: [u8; FRONT],
    filled: usize,
    /// Bytes of the frame still to come.
    left: u32,
    /// Is the frame a piece of a head?
    head_frame: bool,
    /// Frames so far; all pieces of a head count as one.
    count: u32,
    /// A head without its end: frames that continue it, and bytes.
    block: Option<(u32, u32)>,
    resets: Bucket,
    control: Bucket,
    updates: Bucket,
    /// Bytes sent that have earned nothing yet.
    sent: u64,
    /// When the buckets were last looked at (ms).
    looked: u64,
}

impl Frames {
    /// At the beginning of a connection.
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            preface: PREFACE,
            front: [0; FRONT],
            filled: 0,
            left: 0,
            head_frame: false,
            count: 0,
            block: None,
            resets: Bucket::new(200),
            control: Bucket::new(500),
            updates: Bucket::new(1000),
            sent: 0,
            looked: now_ms,
        }
    }

    /// Is the visitor in the middle of a head, or of what stands in front of a frame? Then in which one (a number)?
    pub(super) fn in_head(&self) -> Option<u32> {
        if self.block.is_some() || self.head_frame && self.left > 0 {
            return Some(self.count);
        }
        let begun = self.filled > 0 || (1..PREFACE).contains(&self.preface);
        begun.then_some(self.count.wrapping_add(1))
    }

    /// So many bytes went to the visitor.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Reads these bytes too.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<(), Flood> {
        let elapsed = now_ms.saturating_sub(self.looked);
        self.looked = now_ms;
        for bucket in [&mut self.resets, &mut self.control, &mut self.updates] {
            bucket.leak(elapsed);
        }
        self.updates.earn(self.sent / 1024);
        self.sent %= 1024;
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= u32::try_from(taken).unwrap_or(self.left);
                bytes = &bytes[taken..];
                continue;
            }
            let taken = bytes.len().min(FRONT - self.filled);
            self.front[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == FRONT {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// A frame begins.
    fn frame(&mut self) -> Result<(), Flood> {
        let [a, b, c, kind, flags, ..] = self.front;
        self.left = u32::from_be_bytes([0, a, b, c]);
        self.head_frame = matches!(kind, 1 | 9);
        if self.block.is_none() {
            self.count = self.count.wrapping_add(1);
        }
        let ends_head = flags & 4 != 0;
        let overflows = |bucket: &mut Bucket, flood| {
            if bucket.fill() { Err(flood) } else { Ok(()) }
        };
        match kind {
            // DATA with something in it, or that ends its stream.
            0 if self.left > 0 || flags & 1 != 0 => Ok(()),
            1 => {
                self.control.earn(2);
                self.updates.earn(2);
                self.block = (!ends_head).then_some((0, self.left));
                Ok(())
            }
            3 => overflows(&mut self.resets, Flood::Resets),
            8 => overflows(&mut self.updates, Flood::Updates),
            9 => {
                let (frames, bytes) = self.block.take().unwrap_or_default();
                let (frames, bytes) = (frames + 1, bytes.saturating_add(self.left));
                if frames > BLOCK.0 || bytes > BLOCK.1 {
                    return Err(Flood::Continuations);
                }
                self.block = (!ends_head).then_some((frames, bytes));
                Ok(())
            }
            _ => overflows(&mut self.control, Flood::Control),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;
    const CONTINUATION: u8 = 9;
    /// Sent by browsers; hyper does not know it.
    const PRIORITY_UPDATE: u8 = 16;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let length_bytes = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = length_bytes[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(FRONT + length, 0xAA);
        frame
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(0);
        frames.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0).unwrap();
        frames
    }

    /// How many of these frames pass, at most `most`, with so many milliseconds between them?
    fn passes(
        kind: u8,
        flags: u8,
        length: usize,
        every_ms: u64,
        most: u64,
    ) -> (u64, Option<Flood>) {
        let (mut frames, one) = (begun(), frame(kind, flags, length));
        for passed in 0..most {
            if let Err(flood) = frames.feed(&one, passed * every_ms) {
                return (passed, Some(flood));
            }
        }
        (most, None)
    }

    #[test]
    fn each_kind_of_flood_has_its_end() {
        let table = [
            (RST_STREAM, 0, 4, 200, Flood::Resets),
            (PING, 0, 8, 500, Flood::Control),
            (PING, 1, 8, 500, Flood::Control),
            (4, 0, 6, 500, Flood::Control),
            (2, 0, 5, 500, Flood::Control),
            (7, 0, 8, 500, Flood::Control),
            (PRIORITY_UPDATE, 0, 8, 500, Flood::Control),
            (255, 0, 0, 500, Flood::Control),
            (DATA, 0, 0, 500, Flood::Control),
            (WINDOW_UPDATE, 0, 4, 1000, Flood::Updates),
        ];
        for (kind, flags, length, expected, flood) in table {
            assert_eq!(passes(kind, flags, length, 0, 5000), (expected, Some(flood)), "{kind}");
            let slowly = 10_000 / expected;
            assert_eq!(passes(kind, flags, length, slowly, 5000), (5000, None), "{kind} slowly");
            let faster = slowly * 3 / 4;
            assert_eq!(passes(kind, flags, length, faster, 5000).1, Some(flood), "{kind} faster");
        }
    }

    #[test]
    fn what_carries_something_is_no_flood() {
        assert_eq!(passes(DATA, 0, 1, 0, 10_000), (10_000, None));
        assert_eq!(passes(DATA, 1, 0, 0, 10_000), (10_000, None));
        assert_eq!(passes(HEADERS, 4, 30, 0, 10_000), (10_000, None));
        let mut frames = begun();
        for _ in 0..10_000 {
            frames.feed(&frame(PRIORITY_UPDATE, 0, 8), 0).unwrap();
            frames.feed(&frame(HEADERS, 5, 30), 0).unwrap();
            frames.sent(16 * 1024);
            frames.feed(&frame(WINDOW_UPDATE, 0, 4).repeat(10), 0).unwrap();
        }
    }

    #[test]
    fn a_head_may_come_in_some_pieces() {
        let begin = frame(HEADERS, 0, 16_384);
        let (go_on, end) = (frame(CONTINUATION, 0, 0), frame(CONTINUATION, 4, 9));
        let mut frames = begun();
        for _ in 0..100 {
            frames.feed(&begin, 0).unwrap();
            let head = frames.in_head();
            assert!(head.is_some());
            frames.feed(&go_on.repeat(7), 0).unwrap();
            frames.feed(&end[..5], 0).unwrap();
            assert_eq!(frames.in_head(), head);
            frames.feed(&end[5..], 0).unwrap();
            assert_eq!(frames.in_head(), None);
            // The front of another frame is another head, maybe.
            frames.feed(&begin[..5], 0).unwrap();
            assert!(frames.in_head().is_some() && frames.in_head() != head);
            frames.feed(&begin[5..], 0).unwrap();
            frames.feed(&end, 0).unwrap();
        }
        frames.feed(&begin, 0).unwrap();
        frames.feed(&go_on.repeat(8), 0).unwrap();
        assert_eq!(frames.feed(&go_on, 0), Err(Flood::Continuations));
        let mut frames = begun();
        let whole = [begin, frame(CONTINUATION, 0, 16_384).repeat(7)].concat();
        frames.feed(&whole, 0).unwrap();
        assert_eq!(frames.feed(&frame(CONTINUATION, 4, 1), 0), Err(Flood::Continuations));
    }

    #[test]
    fn pieces_of_bytes_are_read_as_the_whole() {
        let stream = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 18),
            frame(HEADERS, 0, 300),
            frame(CONTINUATION, 4, 20),
            frame(DATA, 0, 1000),
            frame(RST_STREAM, 0, 4).repeat(201),
        ]
        .concat();
        for size in [1, 2, 3, 8, 9, 10, 100, 5000] {
            let mut frames = Frames::new(0);
            let outcome = stream.chunks(size).try_for_each(|piece| frames.feed(piece, 0));
            assert_eq!(outcome, Err(Flood::Resets), "{size}");
            assert_eq!((frames.control.level, frames.resets.level), (0, 201_000), "{size}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_end_alike(bytes in vec(any::<u8>(), 0..3000), size in 1..60_usize) {
            let (mut whole, mut pieces) = (begun(), begun());
            let at_once = whole.feed(&bytes, 0);
            let one_by_one = bytes.chunks(size).try_for_each(|piece| pieces.feed(piece, 0));
            prop_assert_eq!(at_once, one_by_one);
            if at_once.is_ok() {
                prop_assert_eq!((whole.in_head(), whole.left), (pieces.in_head(), pieces.left));
            }
        }
    }
}

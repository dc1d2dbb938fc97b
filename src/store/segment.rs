//! The bytes of one journal file: a header, then frames. Pure.
//!
//! ```text
//! header  "JOVISJNL" | version u32 | number u64 | continues from: sequence u64, chain 16 | sum 16
//! frame   magic 4 | length u32 | first u64 | count u32 | chain before 16 | sum 16 | records
//! record  length u32 | bytes
//! ```
//!
//! Numbers are big-endian. A frame's sum covers everything else in it, the sum of the frame before included: that is
//! the chain. The sum before stands in the frame as well, so that a frame can be checked by itself: what follows a
//! damaged place is found again, which tells a torn tail (nothing follows) from damage (something does).

use std::ops::Range;

use super::records::{Sum, sum};

/// Longest frame with its head, in bytes.
pub(super) const FRAME_LIMIT: usize = 4 * 1024 * 1024;
/// Bytes of a header.
pub(super) const HEADER: usize = 60;

const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"JOVISJNL";
const FRAME_MAGIC: &[u8; 4] = b"\xf7jvf";
/// Bytes of a frame before its records.
pub(super) const FRAME_HEAD: usize = 52;
const SUM_AT: usize = 36;

/// A place in the one history of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Point {
    /// Number of the last write before this place; 0 at the very beginning.
    pub(super) sequence: u64,
    /// Sum of the frame that ends here; zeros at the very beginning.
    pub(super) chain: Sum,
}

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The segment's number; also its file's name.
    pub(super) number: u64,
    /// What stands behind this place in older segments is void.
    pub(super) from: Point,
}

/// Why a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Made by a newer release.
    Newer(u32),
    /// Cut short or damaged.
    Broken,
}

impl Header {
    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.from.sequence.to_be_bytes());
        bytes.extend(self.from.chain);
        bytes.extend(sum(&[&bytes]));
        bytes
    }

    /// The header at the beginning of these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let head = bytes.get(..HEADER).ok_or(BadHeader::Broken)?;
        if &head[..8] != MAGIC || sum(&[&head[..44]]) != head[44..] {
            return Err(BadHeader::Broken);
        }
        match u32_at(head, 8) {
            VERSION => Ok(Self {
                number: u64_at(head, 12),
                from: Point { sequence: u64_at(head, 20), chain: sum_at(head, 28) },
            }),
            other => Err(BadHeader::Newer(other)),
        }
    }
}

/// A whole and undamaged frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Number of its first write.
    pub(super) first: u64,
    /// Sum of the frame before.
    pub(super) before: Sum,
    /// The place where it ends.
    pub(super) end: Point,
    /// Where its records stand in the segment's bytes.
    pub(super) records: Range<usize>,
}

/// A group of records as one frame behind `at`; `None` if it would be longer than [`FRAME_LIMIT`].
pub(super) fn frame(at: Point, records: &[Vec<u8>]) -> Option<(Vec<u8>, Point)> {
    let length: usize = records.iter().map(|record| record.len() + 4).sum();
    if length + FRAME_HEAD > FRAME_LIMIT {
        return None;
    }
    let count = u32::try_from(records.len()).ok()?;
    let mut bytes = Vec::with_capacity(FRAME_HEAD + length);
    bytes.extend(FRAME_MAGIC);
    bytes.extend(u32::try_from(length).ok()?.to_be_bytes());
    bytes.extend((at.sequence + 1).to_be_bytes());
    bytes.extend(count.to_be_bytes());
    bytes.extend(at.chain);
    bytes.extend([0; 16]);
    for record in records {
        bytes.extend(u32::try_from(record.len()).ok()?.to_be_bytes());
        bytes.extend(record);
    }
    let chain = sum(&[&bytes[..SUM_AT], &bytes[FRAME_HEAD..]]);
    bytes[SUM_AT..FRAME_HEAD].copy_from_slice(&chain);
    Some((bytes, Point { sequence: at.sequence + u64::from(count), chain }))
}

/// The frame that begins here, if it is whole and undamaged.
fn frame_at(bytes: &[u8], offset: usize) -> Option<Frame> {
    let head = bytes.get(offset..offset + FRAME_HEAD)?;
    let length = u32_at(head, 4) as usize;
    if &head[..4] != FRAME_MAGIC || length + FRAME_HEAD > FRAME_LIMIT {
        return None;
    }
    let records = offset + FRAME_HEAD..offset + FRAME_HEAD + length;
    let chain = sum_at(head, SUM_AT);
    if sum(&[&head[..SUM_AT], bytes.get(records.clone())?]) != chain {
        return None;
    }
    let (first, count) = (u64_at(head, 8), u64::from(u32_at(head, 16)));
    let sequence = first.checked_add(count)?.checked_sub(1)?;
    Some(Frame { first, before: sum_at(head, 20), end: Point { sequence, chain }, records })
}

/// The sum of the frame that these bytes are; none if they are not just that.
pub(super) fn chain(bytes: &[u8]) -> Option<Sum> {
    frame_at(bytes, 0).filter(|frame| frame.records.end == bytes.len()).map(|it| it.end.chain)
}

/// What a segment's bytes hold.
#[derive(Debug)]
pub(super) struct Scan {
    /// How it begins.
    pub(super) header: Result<Header, BadHeader>,
    /// All good frames, also those behind a damaged place.
    pub(super) frames: Vec<Frame>,
    /// Where the first bytes stand that are no frame, and whether a good frame stands behind them.
    pub(super) bad: Option<(usize, bool)>,
}

/// Reads a segment. Never fails: damage is part of the answer.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut found = Scan { header: Header::decode(bytes), frames: Vec::new(), bad: None };
    let mut offset = HEADER;
    while offset < bytes.len() {
        if let Some(frame) = frame_at(bytes, offset) {
            offset = frame.records.end;
            if let Some((_, behind)) = &mut found.bad {
                *behind = true;
            }
            found.frames.push(frame);
            continue;
        }
        found.bad = found.bad.or(Some((offset, false)));
        let next = (offset + 1..bytes.len())
            .find(|&at| bytes[at..].starts_with(FRAME_MAGIC) && frame_at(bytes, at).is_some());
        match next {
            Some(next) => offset = next,
            None => break,
        }
    }
    found
}

/// Takes `length u32 | bytes` apart, one after the other; `None` inside if a length is wrong.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = bytes.split_at_checked(4).and_then(|(length, rest)| {
            let length = u32::from_be_bytes(length.try_into().ok()?);
            rest.split_at_checked(length as usize)
        });
        let Some((record, rest)) = record else {
            bytes = &[];
            return Some(None);
        };
        bytes = rest;
        Some(Some(record))
    })
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(super) fn sum_at(bytes: &[u8], at: usize) -> Sum {
    bytes[at..at + 16].try_into().expect("sixteen bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Header { number: 7, from: Point::default() }.encode();
        let (mut at, mut begins) = (Point::default(), Vec::new());
        for text in ["one", "two", "three"] {
            begins.push(bytes.len());
            let (frame, end) = frame(at, &[text.as_bytes().to_vec(), b"x".to_vec()]).unwrap();
            bytes.extend(frame);
            at = end;
        }
        (bytes, begins)
    }

    #[test]
    fn what_is_written_is_read() {
        let (bytes, _) = three();
        let found = scan(&bytes);
        assert_eq!(found.header, Ok(Header { number: 7, from: Point::default() }));
        assert_eq!(found.bad, None);
        assert_eq!(found.frames.iter().map(|it| it.first).collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(found.frames[1].before, found.frames[0].end.chain);
        let texts: Vec<_> = records(&bytes[found.frames[2].records.clone()]).flatten().collect();
        assert_eq!(texts, [&b"three"[..], b"x"]);
    }

    #[test]
    fn every_cut_leaves_whole_frames_and_a_tail() {
        let (bytes, begins) = three();
        for length in 0..bytes.len() {
            let found = scan(&bytes[..length]);
            let whole = begins.iter().skip(1).filter(|&&begin| begin <= length).count();
            assert_eq!(found.frames.len(), whole, "{length}");
            assert!(!found.bad.is_some_and(|(_, behind)| behind), "{length}");
            assert_eq!(found.header.is_ok(), length >= HEADER);
        }
    }

    #[test]
    fn every_flipped_bit_is_seen_and_what_follows_is_found() {
        let (bytes, begins) = three();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = scan(&bad);
            if bit / 8 < HEADER {
                assert_eq!(found.header, Err(BadHeader::Broken));
                assert_eq!(found.frames.len(), 3);
            } else {
                assert_eq!(found.frames.len(), 2, "bit {bit}");
                assert_eq!(found.bad.unwrap().1, bit / 8 < begins[2], "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_has_a_limit() {
        assert!(frame(Point::default(), &[vec![0; FRAME_LIMIT]]).is_none());
    }
}

//! Properties of the short way's own readers: they agree with the readers of the long way.

use super::{
    answer::{Body, Ours, Reader},
    request,
};
use crate::proxy::{
    replies::{Asked, Replies},
    scan::Scanner,
};

/// Plain requests: what leaves is the one message that came.
pub fn plain(bytes: &[u8]) {
    let mut scanner = Scanner::new();
    let Ok((size, true)) = scanner.read_head(bytes) else { return };
    let length = scanner.length_left();
    if length.is_none() && !scanner.at_border() {
        return;
    }
    let mut out = Vec::new();
    let Some(plain) = request::read(&bytes[..size], &mut out) else { return };
    plain.finish(&mut out);
    let shown = out.escape_ascii();
    let mut again = Scanner::new();
    assert_eq!(again.read_head(&out), Ok((out.len(), true)), "{shown}");
    assert_eq!((again.length_left(), again.at_border()), (length, length.is_none()), "{shown}");
    let same = request::read(&out, &mut Vec::new()).expect("it is plain still");
    assert_eq!((&same.method, &same.target), (&plain.method, &plain.target), "{shown}");
    assert!(!same.last, "{shown}");
}

/// Heads of answers: where the reads are cut makes no difference; both our readers read them alike; and what leaves is
/// read as what came.
pub fn answers(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let (to_head, close) = (first & 1 == 1, first & 2 == 2);
    let (ours, mut out) = (Ours { to_head, close, ..Ours::default() }, Vec::new());
    let whole = Reader::default().read(bytes, &ours, &mut out);
    let (mut reader, mut pieces, mut kept) = (Reader::default(), Ok(None), Vec::new());
    for end in 1..=bytes.len() {
        pieces = reader.read(&bytes[..end], &ours, &mut kept);
        if !matches!(pieces, Ok(None)) {
            break;
        }
    }
    let shown = bytes.escape_ascii();
    assert_eq!(pieces, whole, "{shown}");
    let Ok(Some(head)) = whole else { return };
    assert_eq!(kept, out);
    let asked = if to_head { Asked::Head } else { Asked::Answer };
    let theirs = Replies::new().feed(asked, &bytes[..head.length]);
    assert!(!theirs.fault, "the long way refuses {shown}");
    assert_eq!(theirs.complete, head.body == Body::Empty, "{shown}");
    let leaves = Replies::new().feed(asked, &out);
    assert!(!leaves.fault && leaves.good == out.len(), "{}", out.escape_ascii());
    assert_eq!(leaves.complete, head.body == Body::Empty, "{}", out.escape_ascii());
    let length = match head.body {
        Body::Length(length) => length,
        Body::Chunked | Body::UntilClose => 0,
        Body::Empty => return,
    };
    // A body of that length ends it, and not a byte sooner.
    if (1..4096).contains(&length) {
        let body = vec![b'x'; usize::try_from(length).expect("small")];
        out.extend_from_slice(&body[1..]);
        assert!(!Replies::new().feed(asked, &out).complete, "{}", out.escape_ascii());
        out.push(b'x');
        assert!(Replies::new().feed(asked, &out).complete, "{}", out.escape_ascii());
    }
}

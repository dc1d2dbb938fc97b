//! The path of a request, read once: split at `/`, each segment percent-decoded once. Pure.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadPath {
    /// Does not begin with a slash.
    NotAPath,
    /// A segment is `.` or `..`, plain or encoded: others may read the path differently.
    Dots,
    /// A percent sign without two digits, a NUL, or not UTF-8.
    Encoding,
}

/// The part of a path that can match a route: decoded, without a slash at the end, up to the first segment that
/// contains an encoded slash (no route has such a segment, and `%2F` never separates).
pub(super) fn matchable(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    let Some(inner) = raw.strip_prefix('/') else {
        return Err(BadPath::NotAPath);
    };
    if !raw.contains('%') {
        if raw.contains('\0') {
            return Err(BadPath::Encoding);
        }
        if inner.split('/').any(is_dots) {
            return Err(BadPath::Dots);
        }
        return Ok(Cow::Borrowed(raw));
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut open = true;
    for segment in inner.split('/') {
        let segment = decode(segment)?;
        if is_dots(&segment) {
            return Err(BadPath::Dots);
        }
        open &= !segment.contains('/');
        if open {
            decoded.push('/');
            decoded.push_str(&segment);
        }
    }
    Ok(Cow::Owned(decoded))
}

/// Is there a way to read this decoded segment as `.` or `..`, or as several segments with one of them? Some take a
/// backslash for a slash, and what follows a semicolon for a parameter.
fn is_dots(segment: &str) -> bool {
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    segment.contains('.') && segment.split(['/', '\\']).any(dots)
}

/// Decodes a segment once.
pub(super) fn decode(segment: &str) -> Result<Cow<'_, str>, BadPath> {
    if !segment.contains('%') {
        return if segment.contains('\0') { Err(BadPath::Encoding) } else { Ok(segment.into()) };
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) =
                (digit().ok_or(BadPath::Encoding)?, digit().ok_or(BadPath::Encoding)?);
            u8::try_from(high * 16 + low).map_err(|_| BadPath::Encoding)?
        } else {
            byte
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| BadPath::Encoding)?;
    if text.contains('\0') { Err(BadPath::Encoding) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_segment_is_decoded_once() {
        let table = [
            ("/", "/"),
            ("/user/alice/lab", "/user/alice/lab"),
            ("/user/al%20ice/", "/user/al ice/"),
            ("/user/%61lice", "/user/alice"),
            ("/user/a%252fb/x", "/user/a%2fb/x"),
            ("/user%2Falice/x", ""),
            ("/user/alice%2Fx/y%20", "/user"),
            ("//user/x", "//user/x"),
            ("/user/alic%C3%A9", "/user/alicé"),
            ("/a/...", "/a/..."),
        ];
        for (raw, expected) in table {
            assert_eq!(matchable(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn what_others_may_read_differently_is_refused() {
        let table = [
            ("", BadPath::NotAPath),
            ("*", BadPath::NotAPath),
            ("x/y", BadPath::NotAPath),
            ("/a/../b", BadPath::Dots),
            ("/a/.", BadPath::Dots),
            ("/a/%2e%2E/b", BadPath::Dots),
            ("/a/.%2e", BadPath::Dots),
            ("/a/%2e/b%2fc", BadPath::Dots),
            ("/a%2fb/..", BadPath::Dots),
            ("/a/..;/b", BadPath::Dots),
            ("/a/.;x=y", BadPath::Dots),
            ("/a/..\\b", BadPath::Dots),
            ("/a/b\\..", BadPath::Dots),
            ("/a/b%2f..%2fc", BadPath::Dots),
            ("/a/%2e%2e%5cc", BadPath::Dots),
            ("/a%00", BadPath::Encoding),
            ("/a%", BadPath::Encoding),
            ("/a%4", BadPath::Encoding),
            ("/a%zz", BadPath::Encoding),
            ("/a%+1", BadPath::Encoding),
            ("/a%ff", BadPath::Encoding),
        ];
        for (raw, expected) in table {
            assert_eq!(matchable(raw), Err(expected), "{raw}");
        }
    }
}

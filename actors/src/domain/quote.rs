//! Percent-encoding as JupyterHub's Python does it, so that URLs and client ids agree byte for byte.

use std::fmt::Write;

/// Every byte but letters, digits and `keep` as `%XX`.
fn quote(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || (byte.is_ascii() && keep.contains(byte as char)) {
            out.push(byte as char);
        } else {
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
    out
}

/// A path segment of a URL: leaves `_.-~@`.
pub fn segment(text: &str) -> String {
    quote(text, "_.-~@")
}

/// A value in a query string: leaves `_.-~` (and `/`, which is legal there).
pub fn query(text: &str) -> String {
    quote(text, "_.-~/")
}

/// Part of an OAuth client id: leaves `_.-~`. (`@` becomes `%40`.)
pub fn client(text: &str) -> String {
    quote(text, "_.-~")
}

/// `%XX` decoded once; what is not a complete escape stays as it is. Nothing if the result is not UTF-8.
pub fn unquote(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex =
            (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(|pair| {
                Some(16 * (pair[0] as char).to_digit(16)? + (pair[1] as char).to_digit(16)?)
            });
        match hex {
            Some(value) => {
                out.push(value as u8);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_the_references() {
        assert_eq!(segment("a b@c/~ü"), "a%20b@c%2F~%C3%BC");
        assert_eq!(client("a@b"), "a%40b");
        assert_eq!(query("/hub/home?a=b"), "/hub/home%3Fa%3Db");
        assert_eq!(unquote("a%20b%zz%").as_deref(), Some("a b%zz%"));
        assert_eq!(unquote("%ff"), None);
    }
}

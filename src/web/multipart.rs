//! Forms with uploads: `multipart/form-data` (RFC 7578), as browsers send it. The body is there already, and bounded.

use super::error::Error;

/// Most parts of a form.
const PARTS: usize = 500;
/// Longest head of a part.
const HEAD: usize = 8 * 1024;

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Of an upload: the file's name. It may be empty: nothing was chosen.
    pub(crate) file: Option<String>,
    /// Of an upload: what the browser takes it for.
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

/// The boundary in a `Content-Type` of this kind.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let text = parameter(rest, "boundary")?;
    (1..=70).contains(&text.len()).then_some(text)
}

/// All parts, in their order.
pub(crate) fn parse(body: &[u8], boundary: &str) -> Result<Vec<Part>, Error> {
    let bad = || Error::bad("the form cannot be read");
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let begin = find(body, first.as_bytes()).ok_or_else(bad)?;
    let mut rest = &body[begin + first.len()..];
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let inside = rest.strip_prefix(b"\r\n").ok_or_else(bad)?;
        let head = find(inside, b"\r\n\r\n").filter(|head| *head <= HEAD).ok_or_else(bad)?;
        let content = &inside[head + 4..];
        let end = find(content, next.as_bytes()).ok_or_else(bad)?;
        if parts.len() == PARTS {
            return Err(Error::bad("the form has too many fields"));
        }
        parts.push(part(&inside[..head], &content[..end]).ok_or_else(bad)?);
        rest = &content[end + next.len()..];
    }
}

fn part(head: &[u8], body: &[u8]) -> Option<Part> {
    let head = std::str::from_utf8(head).ok()?;
    let (mut name, mut file, mut kind) = (None, None, String::new());
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':')?;
        if field.eq_ignore_ascii_case("content-disposition") {
            let (what, rest) = value.split_once(';')?;
            if !what.trim().eq_ignore_ascii_case("form-data") {
                return None;
            }
            (name, file) = (parameter(rest, "name"), parameter(rest, "filename"));
        } else if field.eq_ignore_ascii_case("content-type") {
            value.trim().clone_into(&mut kind);
        }
    }
    Some(Part { name: name?, file, kind, body: body.to_vec() })
}

/// `name="a"; filename="b"`: browsers write a quote in a name as `%22`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').map_or((after, ""), |(value, left)| (value, left)),
        };
        if name.trim_matches([' ', ';', '\t']).eq_ignore_ascii_case(wanted) {
            return Some(value.trim().replace("%22", "\"").replace("%0D%0A", " "));
        }
        rest = left;
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_and_files_are_told_apart() {
        let text = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--y\r\n\
                    --x\r\ncontent-disposition: form-data; name=\"b c%22\"; filename=\"f.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\n\r\n--x--\r\n";
        let parts = parse(text.as_bytes(), "x").unwrap();
        let [one, two] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!(
            (one.name.as_str(), &one.file, one.body.as_slice()),
            ("a", &None, &b"1\r\n--y"[..])
        );
        assert_eq!(
            (two.name.as_str(), two.file.as_deref(), two.kind.as_str()),
            ("b c\"", Some("f.txt"), "text/plain")
        );
        assert_eq!(parse(b"--x--", "x").unwrap(), []);
    }

    #[test]
    fn the_boundary_is_found() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc".into()));
        assert_eq!(
            boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""),
            Some("a b".into())
        );
        for bad in
            ["multipart/form-data", "text/plain; boundary=a", "multipart/form-data; boundary="]
        {
            assert_eq!(boundary(bad), None, "{bad}");
        }
    }

    #[test]
    fn broken_and_overlong_forms_are_refused() {
        for bad in [
            "",
            "x",
            "--x",
            "--x\r\n",
            "--x\r\na\r\n\r\n",
            "--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
            "--x\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--x--",
        ] {
            assert!(parse(bad.as_bytes(), "x").is_err(), "{bad}");
        }
        let one = "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x";
        let many = format!("--x{}--", one.repeat(PARTS + 1));
        assert!(parse(many.as_bytes(), "x").is_err());
        let long = format!("--x\r\nA: {}\r\n\r\n1\r\n--x--", "a".repeat(HEAD));
        assert!(parse(long.as_bytes(), "x").is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(body in "(--x|\r\n|Content-Disposition: form-data; name=\"a\"|[a\"=;:-]){0,30}") {
            drop(parse(body.as_bytes(), "x"));
        }
    }
}

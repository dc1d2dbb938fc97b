//! Where to go next, if the request may decide that: the one place that judges targets (`spec/oauth-and-cookies.md` 7.1).

use jovis_actors::domain::Hosts;

/// Longest target we take.
const MAX: usize = 8_192;

/// A path of ours out of what a request gave as `next`, or nothing. `origin` is `scheme://host[:port]` as the browser sees it;
/// `hosts` are those that belong to us besides, whatever the scheme.
pub(crate) fn validate(next: &str, origin: &str, hosts: Option<&Hosts>) -> Option<String> {
    // Browsers drop tabs and newlines inside URLs and blanks around them; nobody needs them in a target.
    if next.len() > MAX || next.chars().any(|c| c.is_control() || c == ' ') {
        return None;
    }
    let next = next.replace('\\', "%5C");
    let slashes = next.len() - next.trim_start_matches('/').len();
    let next = if slashes >= 3 { &next[slashes - 2..] } else { next.as_str() };
    let (scheme, host) = origin.split_once("://")?;
    let own = |rest: &str, with_host: bool| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let ours = with_host && rest[..end].eq_ignore_ascii_case(host)
            || hosts.is_some_and(|hosts| hosts.covers(&rest[..end]));
        ours.then_some(end)
    };
    let path = if let Some(rest) = next.strip_prefix("//") {
        &rest[own(rest, true)?..]
    } else if next.starts_with('/') {
        next
    } else {
        let (given, rest) = next.split_once("://")?;
        if !matches!(given, "http" | "https") {
            return None;
        }
        &rest[own(rest, given == scheme)?..]
    };
    // With exactly one slash in front it is a path for every browser.
    let path = format!("/{}", path.trim_start_matches('/'));
    Some(ascii(&path))
}

/// As it can stand in a `Location` header: everything beyond ASCII escaped.
pub(crate) fn ascii(target: &str) -> String {
    let mut out = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "http://hub:8000";

    #[test]
    fn targets_of_our_own_become_paths() {
        for (next, wanted) in [
            ("/hub/home?a=b#f", "/hub/home?a=b#f"),
            ("http://hub:8000/hub/home", "/hub/home"),
            ("http://HUB:8000/hub/home", "/hub/home"),
            ("//hub:8000/x", "/x"),
            ("//hub:8000", "/"),
            ("//hub:8000//evil/x", "/evil/x"),
            ("http://hub:8000//evil/", "/evil/"),
            ("///hub:8000/x", "/x"),
            ("/\\evil", "/%5Cevil"),
            ("/%5Cevil", "/%5Cevil"),
            ("/%2fevil", "/%2fevil"),
            ("/%09/evil", "/%09/evil"),
            ("/./\\evil", "/./%5Cevil"),
            ("/user/ünal/", "/user/%C3%BCnal/"),
            ("/", "/"),
        ] {
            assert_eq!(validate(next, OWN, None).as_deref(), Some(wanted), "{next}");
        }
    }

    #[test]
    fn foreign_targets_are_as_if_not_given() {
        let long = format!("/{}", "a".repeat(100_000));
        for next in [
            "",
            "//e",
            "///e",
            "////e",
            "\\\\e",
            "\\/e",
            "/\t/e",
            "\t//e",
            "\n//e",
            "http:e",
            "http:/e",
            "https:\\\\e",
            "javascript:x",
            "data:",
            "//e@hub:8000",
            "//hub:8000@e",
            "//hub:8000.e",
            "//hub:x@e",
            "//e%00.hub",
            "//[::1]",
            "//e。hub",
            "?//e",
            "#//e",
            "//hub",
            "//hub:80",
            "https://hub:8000/x",
            "http://hub:8000@evil/",
            "http:/evil",
            "hub/home",
            "%2f%2fevil",
            "ht\ttp://hub:8000/",
            " /x",
            "http://hub:8000\\@e/",
            "http:hub:8000/",
            "http:///e",
            &long,
        ] {
            assert_eq!(validate(next, OWN, None), None, "{next:?}");
        }
    }

    proptest! {
        // What every browser takes as a path of the same origin: one slash, then neither slash nor backslash.
        #[test]
        fn a_result_never_leaves_the_origin(next in "[/\\\\.:@?#a-z%\t\n 0-9]{0,24}|http://hub:8000.{0,20}|.{0,30}") {
            if let Some(path) = validate(&next, OWN, None) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path[1..].starts_with(['/', '\\']));
                prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'));
            }
        }
    }
}

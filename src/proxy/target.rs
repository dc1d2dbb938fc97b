//! Where a route leads, from its URL: whom to connect to, and what stands before a request's path. Pure.

use std::{
    net::{IpAddr, SocketAddrV4},
    path::PathBuf,
};

use http::{Uri, uri::PathAndQuery};

/// A target, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Whom to connect to.
    pub(super) place: Place,
    /// Put before the path and query of each request; none: nothing.
    pub(super) before: Option<Box<Before>>,
}

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// An address and a port, perhaps by TLS: what most are, so it is small.
    V4(SocketAddrV4, Tls),
    /// Any other host and a port, the same.
    Tcp(Box<(Host, u16)>, Tls),
    /// A Unix socket.
    Unix(Box<PathBuf>),
    /// Nothing we can reach; requests get 502.
    Unusable,
}

/// With TLS or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// `http`.
    Without,
    /// `https`.
    With,
}

/// A host, as connections need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// An address: nothing has to be asked.
    Address(IpAddr),
    /// A name, in small letters.
    Name(Box<str>),
}

/// Path and query of a target's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Before {
    /// Without a slash at its end; empty: none.
    path: Box<str>,
    /// Without the question mark; empty: none.
    query: Box<str>,
}

impl Target {
    /// A Unix socket, and nothing before paths.
    pub(super) fn socket(path: PathBuf) -> Self {
        Self { place: Place::Unix(Box::new(path)), before: None }
    }

    /// From `http://host:port/path?query`, the same with `https`, or `http+unix://%2Fpath%2Fof%2Fsocket/path?query`
    /// (`unix+http` is the same: `spec/proxy.md` 3).
    pub(super) fn parse(url: &str) -> Self {
        Self::read(url).unwrap_or(Self { place: Place::Unusable, before: None })
    }

    fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match scheme.to_ascii_lowercase().as_str() {
            "http" => tcp(authority, 80, Tls::Without)?,
            "https" => tcp(authority, 443, Tls::With)?,
            "http+unix" | "unix+http" => Place::Unix(Box::new(socket(authority)?)),
            _ => return None,
        };
        let (path, query) = (visible(path.trim_end_matches('/'))?, visible(query)?);
        let before = Before { path: path.into(), query: query.into() };
        let nothing = before.path.is_empty() && before.query.is_empty();
        Some(Self { place, before: (!nothing).then(|| Box::new(before)) })
    }

    /// What `Host` has for this target: its port only where it isn't the scheme's. None for sockets: they have no name.
    pub(super) fn authority(&self) -> Option<String> {
        let (host, port, tls) = match &self.place {
            Place::V4(address, tls) => (address.ip().to_string(), address.port(), tls),
            Place::Tcp(named, tls) => match &named.0 {
                Host::Address(IpAddr::V6(address)) => (format!("[{address}]"), named.1, tls),
                Host::Address(address) => (address.to_string(), named.1, tls),
                Host::Name(name) => (name.to_string(), named.1, tls),
            },
            Place::Unix(_) | Place::Unusable => return None,
        };
        let usual = port == if *tls == Tls::With { 443 } else { 80 };
        Some(if usual { host } else { format!("{host}:{port}") })
    }
}

impl Before {
    /// The target of a request as it leaves us; none where that would be no URI.
    pub(super) fn join(&self, request: &Uri) -> Option<Uri> {
        let mut joined = format!("{}{}", self.path, request.path());
        let queries = [&*self.query, request.query().unwrap_or_default()];
        for (sign, query) in
            ['?', '&'].iter().zip(queries.into_iter().filter(|query| !query.is_empty()))
        {
            joined.push(*sign);
            joined.push_str(query);
        }
        PathAndQuery::try_from(joined).ok().map(Uri::from)
    }
}

/// The request's target without its first segments, so many; none where that would be no URI.
pub(super) fn without_prefix(request: &Uri, segments: usize) -> Option<Uri> {
    let path = request.path();
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    let rest = slashes.nth(segments).map_or("/", |(at, _)| &path[at..]);
    let shorter = match request.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    PathAndQuery::try_from(shorter).ok().map(Uri::from)
}

/// `host`, `host:port`, `[::1]:port`.
fn tcp(authority: &str, usual: u16, tls: Tls) -> Option<Place> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (
                Host::Address(IpAddr::V6(address.parse().ok()?)),
                port.strip_prefix(':').or(port.is_empty().then_some(""))?,
            )
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(plain) {
                return None;
            }
            let name = || Host::Name(host.to_ascii_lowercase().into());
            (host.parse().map_or_else(|_| name(), Host::Address), port)
        }
    };
    let port = if port.is_empty() { usual } else { port.parse().ok().filter(|port| *port > 0)? };
    Some(place(host, port, tls))
}

fn place(host: Host, port: u16, tls: Tls) -> Place {
    match host {
        Host::Address(IpAddr::V4(address)) => Place::V4(SocketAddrV4::new(address, port), tls),
        host => Place::Tcp(Box::new((host, port)), tls),
    }
}

/// The path in the place of a host, percent-encoded.
fn socket(authority: &str) -> Option<PathBuf> {
    let path = super::path::decode(authority).ok()?;
    (path.starts_with('/')).then(|| PathBuf::from(&*path))
}

/// As it may stand in a request's target: what is not is encoded, where encoding helps.
fn visible(text: &str) -> Option<String> {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b' ' | 0x80.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            0x21..=0x7e => out.push(char::from(byte)),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_urls() {
        let tcp = |host: &str, port, tls| {
            let name = || Host::Name(host.into());
            super::place(host.parse().map_or_else(|_| name(), Host::Address), port, tls)
        };
        let unix = |path: &str| Place::Unix(Box::new(path.into()));
        for (url, place, path, query) in [
            ("http://127.0.0.1:20001", tcp("127.0.0.1", 20001, Tls::Without), "", ""),
            ("http://[::1]:8888/x", tcp("::1", 8888, Tls::Without), "/x", ""),
            ("http://Node7", tcp("node7", 80, Tls::Without), "", ""),
            ("http://node7:/", tcp("node7", 80, Tls::Without), "", ""),
            ("HTTPS://a.b:1/c/d/?e=f#g", tcp("a.b", 1, Tls::With), "/c/d", "e=f"),
            ("https://a?e", tcp("a", 443, Tls::With), "", "e"),
            ("http://a/é x", tcp("a", 80, Tls::Without), "/%C3%A9%20x", ""),
            ("http+unix://%2Ftmp%2Fa%20b", unix("/tmp/a b"), "", ""),
            ("unix+http://%2ftmp%2fa/pre?k=v", unix("/tmp/a"), "/pre", "k=v"),
        ] {
            let before = Before { path: path.into(), query: query.into() };
            let before = (!path.is_empty() || !query.is_empty()).then(|| Box::new(before));
            assert_eq!(Target::parse(url), Target { place, before }, "{url}");
        }
        for url in [
            "ftp://a",
            "127.0.0.1:80",
            "",
            "http://",
            "http://a:0",
            "http://a:70000",
            "http://a:b",
            "http://u@a",
            "http://a b",
            "http://[::1",
            "http://[::1]x",
            "http://[a]",
            "http://::1",
            "http+unix://tmp",
            "http+unix://",
            "http+unix://%zz",
            "http+unix://%2Fa%00",
            "http://a/\n",
        ] {
            assert_eq!(Target::parse(url).place, Place::Unusable, "{url}");
        }
    }

    #[test]
    fn a_target_has_a_name_of_its_own() {
        for (url, name) in [
            ("http://a", Some("a")),
            ("http://a:443", Some("a:443")),
            ("https://a:443", Some("a")),
            ("http://[::1]:80/", Some("[::1]")),
            ("https://10.0.0.1:8/", Some("10.0.0.1:8")),
            ("http+unix://%2Fa", None),
            ("x", None),
        ] {
            assert_eq!(Target::parse(url).authority().as_deref(), name, "{url}");
        }
    }

    #[test]
    fn a_targets_path_and_query_come_first() {
        for (target, request, sent) in [
            ("http://a/pre?k=v", "/a?b=1", "/pre/a?k=v&b=1"),
            ("http://a/pre/", "/a", "/pre/a"),
            ("http://a/pre", "/", "/pre/"),
            ("http://a/pre", "//x", "/pre//x"),
            ("http://a/pre//x/", "/a%2Fb?", "/pre//x/a%2Fb"),
            ("http://a/?k=v", "/a", "/a?k=v"),
            ("http://a/p q", "/a?x?y&z", "/p%20q/a?x?y&z"),
        ] {
            let target = Target::parse(target);
            let joined = target.before.unwrap().join(&request.parse().unwrap());
            assert_eq!(joined.unwrap(), sent, "{request}");
        }
    }

    #[test]
    fn a_prefix_is_cut_by_segments() {
        for (request, segments, left) in [
            ("/a/b/c?d", 1, "/b/c?d"),
            ("/sp%20c/abc", 1, "/abc"),
            ("/a/b", 2, "/"),
            ("/a/b/", 2, "/"),
            ("/a/b?x", 2, "/?x"),
            ("/a//b", 1, "//b"),
            ("/a", 0, "/a"),
        ] {
            assert_eq!(without_prefix(&request.parse().unwrap(), segments).unwrap(), left);
        }
    }
}

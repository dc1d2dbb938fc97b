//! What is done to requests and answers on their way, by the flags. Pure.
//!
//! Forwarded fields are configurable-http-proxy's: `X-Forwarded-For`, `-Port` and `-Proto` get our word behind a trusted
//! peer's (a comma between, no blank), `-Host` keeps his. A stranger's are dropped first: see `--trusted-proxy`.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    header::{HOST, LOCATION},
};

use crate::proxy::{
    headers::{drop_claims, port, strip_hop_by_hop},
    table::Entry,
    target::without_prefix,
};

/// The flags that change what is sent.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Say for whom we speak?
    pub(super) x_forward: bool,
    /// Put a target's path before a request's?
    pub(super) prepend_path: bool,
    /// Leave the route's prefix on requests?
    pub(super) include_prefix: bool,
    /// Put our host into redirections of a target to itself?
    pub(super) auto_rewrite: bool,
    /// Tell targets their own name?
    pub(super) change_origin: bool,
    /// The scheme to put into redirections of a target to itself.
    pub(super) protocol_rewrite: Option<String>,
    /// Fields to set.
    pub(super) custom: Vec<(HeaderName, HeaderValue)>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct From<'a> {
    /// The address of the other end.
    pub(super) peer: std::net::IpAddr,
    /// Are its forwarded fields believed?
    pub(super) trusted: bool,
    /// Did it come by TLS?
    pub(super) tls: bool,
    /// Is it about a WebSocket?
    pub(super) websocket: bool,
    /// Its `Host`.
    pub(super) host: &'a HeaderValue,
}

impl Rules {
    /// Prepares a request's fields. The framing of the body is the caller's.
    pub(super) fn prepare(&self, headers: &mut HeaderMap, from: From<'_>, entry: &Entry) {
        strip_hop_by_hop(headers);
        headers.remove("proxy");
        if !from.trusted {
            drop_claims(headers);
        }
        if self.x_forward {
            forward(headers, from);
        }
        if self.change_origin
            && let Some(name) = entry.target.authority()
            && let Ok(name) = HeaderValue::try_from(name)
        {
            headers.insert(HOST, name);
        }
        for (name, value) in &self.custom {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// The request's target as it leaves us; none: it would be no URI.
    pub(super) fn target(&self, entry: &Entry, uri: &Uri) -> Option<Uri> {
        let mut uri = uri.clone();
        if !self.include_prefix {
            let path = entry.spec().trim_start_matches(|c| c != '/');
            uri = without_prefix(&uri, path.matches('/').count().saturating_sub(1))?;
        }
        match entry.target.before.as_ref().filter(|_| self.prepend_path) {
            Some(before) => before.join(&uri),
            None => Some(uri),
        }
    }

    /// Another `Location`, where a target sends visitors to itself and that is to be rewritten.
    pub(super) fn location(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        entry: &Entry,
        host: &HeaderValue,
    ) -> Option<HeaderValue> {
        let rewrites = self.auto_rewrite || self.protocol_rewrite.is_some();
        if !rewrites || !matches!(status.as_u16(), 201 | 301 | 302 | 307 | 308) {
            return None;
        }
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let (scheme, rest) = location.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let bare = authority.strip_suffix(usual).unwrap_or(authority);
        if !bare.eq_ignore_ascii_case(&entry.target.authority()?) {
            return None;
        }
        let scheme = self.protocol_rewrite.as_deref().unwrap_or(scheme);
        let authority = if self.auto_rewrite { host.to_str().ok()? } else { authority };
        HeaderValue::try_from(format!("{scheme}://{authority}{path}")).ok()
    }
}

fn forward(headers: &mut HeaderMap, from: From<'_>) {
    let port = port(from.host).unwrap_or(if from.tls { "443" } else { "80" });
    let proto = match (from.websocket, from.tls) {
        (false, false) => "http",
        (false, true) => "https",
        (true, false) => "ws",
        (true, true) => "wss",
    };
    let peer = from.peer.to_canonical().to_string();
    for (name, ours) in [("for", &*peer), ("port", port), ("proto", proto)] {
        let name = HeaderName::try_from(format!("x-forwarded-{name}"))
            .expect("small letters and hyphens are a name");
        let mut all = Vec::new();
        for said in headers.get_all(&name) {
            all.extend_from_slice(said.as_bytes());
            all.push(b',');
        }
        all.extend_from_slice(ours.as_bytes());
        if let Ok(all) = HeaderValue::from_bytes(&all) {
            headers.insert(name, all);
        }
    }
    headers.entry("x-forwarded-host").or_insert_with(|| from.host.clone());
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::{Route, RouteSpec};

    use super::*;
    use crate::proxy::target::Target;

    fn entry(spec: &str, target: &str) -> Entry {
        let route = Route { spec: RouteSpec::new(spec), target: target.to_owned(), server: None };
        Entry::new(route, Target::parse(target), 1)
    }

    fn rules() -> Rules {
        Rules { x_forward: true, prepend_path: true, include_prefix: true, ..Rules::default() }
    }

    #[test]
    fn forwarded_fields_are_extended_for_the_trusted() {
        let said = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-port", "9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer"),
            ("x-real-ip", "3.3.3.3"),
            ("proxy", "x"),
        ];
        for (trusted, tls, websocket, expected) in [
            (true, false, false, ["1.1.1.1,2.2.2.2,9.9.9.9", "9,81", "https,http", "outer"]),
            (true, true, true, ["1.1.1.1,2.2.2.2,9.9.9.9", "9,81", "https,wss", "outer"]),
            (false, true, false, ["9.9.9.9", "81", "https", "a:81"]),
            (false, false, true, ["9.9.9.9", "81", "ws", "a:81"]),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in said {
                headers.append(name, HeaderValue::from_static(value));
            }
            let host = HeaderValue::from_static("a:81");
            let peer = "::ffff:9.9.9.9".parse().unwrap();
            let from = From { peer, trusted, tls, websocket, host: &host };
            rules().prepare(&mut headers, from, &entry("/", "http://b:1"));
            let names = ["for", "port", "proto", "host"];
            let got = names.map(|name| headers[&format!("x-forwarded-{name}")].to_str().unwrap());
            assert_eq!(got, expected, "{trusted} {tls} {websocket}");
            assert_eq!(headers.contains_key("x-real-ip"), trusted);
            assert!(!headers.contains_key("proxy"));
        }
    }

    #[test]
    fn origin_and_fields_are_ours_if_the_flags_say_so() {
        let host = HeaderValue::from_static("a");
        let peer = "9.9.9.9".parse().unwrap();
        let from = From { peer, trusted: true, tls: false, websocket: false, host: &host };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.clone());
        headers.insert("x-a", HeaderValue::from_static("theirs"));
        let custom = vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("ours"))];
        let rules = Rules { change_origin: true, custom, ..Rules::default() };
        rules.prepare(&mut headers, from, &entry("/", "https://b:1/x"));
        assert_eq!(
            (&headers[HOST], &headers["x-a"]),
            (&"b:1".parse().unwrap(), &"ours".parse().unwrap())
        );
        assert!(!headers.contains_key("x-forwarded-for"));
        rules.prepare(&mut headers, from, &entry("/", "http+unix://%2Fx"));
        assert_eq!(headers[HOST], "b:1");
    }

    #[test]
    fn prefixes_are_cut_and_put_before() {
        for (spec, target, prepend, include, request, sent) in [
            ("/a b", "http://t/pre?k=v", true, true, "/a%20b/x?y", "/pre/a%20b/x?k=v&y"),
            ("/a b", "http://t/pre?k=v", true, false, "/a%20b/x?y", "/pre/x?k=v&y"),
            ("/a b", "http://t/pre?k=v", false, false, "/%61%20b/x?y", "/x?y"),
            ("/a b", "http://t/pre?k=v", false, true, "/a%20b/x?y", "/a%20b/x?y"),
            ("/", "http://t", true, false, "/x", "/x"),
            ("/a/b", "http://t", true, false, "/a/b", "/"),
        ] {
            let rules =
                Rules { prepend_path: prepend, include_prefix: include, ..Rules::default() };
            let uri = rules.target(&entry(spec, target), &request.parse().unwrap());
            assert_eq!(uri.unwrap(), sent, "{spec} {target} {request}");
        }
        let route = Route {
            spec: RouteSpec::on_host("a.b", "/c"),
            target: "http://t".to_owned(),
            server: None,
        };
        let hosted = Entry::new(route, Target::parse("http://t"), 1);
        assert_eq!(Rules::default().target(&hosted, &"/c/d".parse().unwrap()).unwrap(), "/d");
    }

    #[test]
    fn redirections_of_a_target_to_itself_are_rewritten() {
        let host = HeaderValue::from_static("hub:8000");
        for (auto, protocol, status, location, expected) in [
            (true, None, 302, "http://t:1/x?y", Some("http://hub:8000/x?y")),
            (true, Some("https"), 301, "http://T:1/x", Some("https://hub:8000/x")),
            (false, Some("https"), 307, "http://t:1/x", Some("https://t:1/x")),
            (false, None, 302, "http://t:1/x", None),
            (true, None, 303, "http://t:1/x", None),
            (true, None, 302, "http://other/x", None),
            (true, None, 302, "http://t:2/x", None),
            (true, None, 302, "/x", None),
            (true, None, 201, "http://t:1", Some("http://hub:8000")),
        ] {
            let protocol_rewrite = protocol.map(str::to_owned);
            let rules = Rules { auto_rewrite: auto, protocol_rewrite, ..Rules::default() };
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_static(location));
            let status = StatusCode::from_u16(status).unwrap();
            let found = rules.location(status, &headers, &entry("/", "http://t:1/p"), &host);
            assert_eq!(found, expected.map(HeaderValue::from_static), "{status} {location}");
        }
    }
}

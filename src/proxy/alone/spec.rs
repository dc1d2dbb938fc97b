//! Routes as the REST API names them, and what is stored with them. Pure.

use std::fmt::Write as _;

use jovis_actors::domain::{Route, RouteSpec};
use serde_json::{Map, Value};

use super::stamps;
use crate::proxy::{path, table::Entry};

/// The spec in an address behind `/api/routes`: percent-decoded once, a slash at its end has no meaning. With routes of
/// hosts the first segment is the host. None: not decodable.
pub(super) fn read(raw: &str, host_routing: bool) -> Option<RouteSpec> {
    let decoded = path::decode(raw).ok()?;
    let inner = decoded.trim_matches('/');
    Some(if host_routing && !inner.is_empty() {
        let (host, path) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
        RouteSpec::on_host(host, path)
    } else {
        RouteSpec::new(inner)
    })
}

/// The same as the API lists it: a slash before it, none at its end.
pub(super) fn listed(spec: &str) -> String {
    let inner = spec.trim_matches('/');
    format!("/{inner}")
}

/// Why a body is no route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadRoute {
    /// Not JSON; in words.
    NotJson(String),
    /// No `target`, or none that is text.
    NoTarget,
}

/// Reads the body of a POST: the route, and the inside of a JSON object with the rest of it.
pub(super) fn route(spec: RouteSpec, body: &[u8]) -> Result<(Route, String), BadRoute> {
    let mut body = match serde_json::from_slice(body) {
        Ok(Value::Object(body)) => body,
        Ok(_) => return Err(BadRoute::NoTarget),
        Err(error) => return Err(BadRoute::NotJson(error.to_string())),
    };
    let Some(Value::String(target)) = body.remove("target") else {
        return Err(BadRoute::NoTarget);
    };
    // Ours to say, whatever was sent.
    body.remove("last_activity");
    if let Some(host) = spec.host() {
        body.insert("host".to_owned(), host.into());
    }
    let data = inside(&body);
    Ok((Route { spec, target, server: None }, data))
}

fn inside(data: &Map<String, Value>) -> String {
    let text = Value::Object(data.clone()).to_string();
    text[1..text.len() - 1].to_owned()
}

/// What is told of a route; `used`: milliseconds since 1970, if it is known.
pub(super) fn told(entry: &Entry, data: &str, used: Option<i64>, out: &mut String) {
    let _ = write!(out, "{{\"target\":{}", Value::from(entry.target_url()));
    if !data.is_empty() {
        out.push(',');
        out.push_str(data);
    }
    if let Some(used) = used {
        let _ = write!(out, ",\"last_activity\":\"{}\"", stamps::text(used));
    }
    out.push('}');
}

/// What JupyterHub stores with a route of this kind (`spec/proxy.md` 11.3).
pub(super) fn hubs_data(entry: &Entry, base_url: &str) -> String {
    let mut data = Map::new();
    data.insert("jupyterhub".to_owned(), true.into());
    let (_, path) = entry.spec().split_at(entry.spec().find('/').unwrap_or(0));
    let rest = path.strip_prefix(base_url).unwrap_or_default();
    if entry.is_hub() {
        data.insert("hub".to_owned(), true.into());
    } else if let Some(name) = rest.strip_prefix("services/") {
        data.insert("service".to_owned(), name.trim_end_matches('/').into());
    } else if let Some(rest) = rest.strip_prefix("user/") {
        let (user, server) =
            rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        data.insert("user".to_owned(), user.into());
        data.insert("server_name".to_owned(), server.into());
    } else {
        data.insert("extra".to_owned(), true.into());
    }
    inside(&data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_decoded_once_and_listed_without_a_slash_at_the_end() {
        for (raw, hosts, spec, listed) in [
            ("", false, "/", "/"),
            ("/", false, "/", "/"),
            ("/", true, "/", "/"),
            ("/user/al%20ice/", false, "/user/al ice/", "/user/al ice"),
            ("/user/a%2520b", false, "/user/a%20b/", "/user/a%20b"),
            ("/user/%C3%A9", false, "/user/é/", "/user/é"),
            ("/Al.example.com/user/al", true, "al.example.com/user/al/", "/al.example.com/user/al"),
            ("/al.example.com/", true, "al.example.com/", "/al.example.com"),
            ("/a.b//c/d/", true, "a.b//c/d/", "/a.b//c/d"),
        ] {
            let read = read(raw, hosts).unwrap();
            assert_eq!((read.as_str(), &*super::listed(read.as_str())), (spec, listed), "{raw}");
        }
        assert_eq!(read("/a%zz", false), None);
        assert_eq!(read("/a%ff", false), None);
    }

    #[test]
    fn the_hubs_routes_are_told_as_the_hub_would_store_them() {
        let key = |spec: &str| {
            let route = Route {
                spec: RouteSpec::from_text(spec),
                target: "http://a".to_owned(),
                server: None,
            };
            let data = hubs_data(
                &Entry::new(route, crate::proxy::target::Target::parse("http://a"), 1),
                "/lab/",
            );
            serde_json::from_str::<Value>(&format!("{{{data}}}")).unwrap()
        };
        let server = |user: &str, server_name: &str| serde_json::json!({"jupyterhub": true, "user": user, "server_name": server_name});
        assert_eq!(key("/lab/user/al ice/"), server("al ice", ""));
        assert_eq!(key("/lab/user/a/b/"), server("a", "b"));
        assert_eq!(key("a.example.com/lab/user/a/"), server("a", ""));
        assert_eq!(
            key("/lab/services/x/"),
            serde_json::json!({"jupyterhub": true, "service": "x"})
        );
        assert_eq!(key("/other/"), serde_json::json!({"jupyterhub": true, "extra": true}));
    }

    #[test]
    fn a_route_keeps_what_was_stored_with_it() {
        let spec = || RouteSpec::new("/a");
        let (read, data) = route(
            spec(),
            br#"{"user":"x","target":"http://a:1","n":{"a":[1,null]},"last_activity":"never"}"#,
        )
        .unwrap();
        assert_eq!(read.target, "http://a:1");
        assert_eq!(serde_json::from_str::<Value>(&format!("{{{data}}}")).unwrap()["n"]["a"][0], 1);
        assert!(!data.contains("never") && !data.contains("target"), "{data}");
        let (_, data) = route(RouteSpec::on_host("h", "a"), br#"{"target":"x"}"#).unwrap();
        assert_eq!(data, r#""host":"h""#);
        assert_eq!(route(spec(), br#"{"target":""}"#).unwrap().1, "");
        for body in ["null", "{}", "[]", r#"{"target":1}"#, r#"{"target":null}"#, "\"target\""] {
            assert_eq!(route(spec(), body.as_bytes()), Err(BadRoute::NoTarget), "{body}");
        }
        for body in ["", "{", "{\"target\":\"a\"} x"] {
            let read = route(spec(), body.as_bytes());
            assert!(matches!(read, Err(BadRoute::NotJson(_))), "{body}");
        }
    }
}

//! The REST API: who may, which route, what becomes of it (`spec/proxy.md` 2). Of a proxy that stands alone, all routes
//! are its users'; beside a hub of ours they have their own ([`crate::proxy::operators`]) and see the hub's.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use jovis_actors::domain::{Route, RouteSpec};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;
use tracing::{debug, info};

use super::{
    spec::{self, BadRoute},
    stamps,
};
use crate::proxy::{
    activity::now_ms,
    operators::{Hub, Refused},
    shared::Shared,
    table::Entry,
};

/// Largest body of a route, in bytes.
const LARGEST: usize = 1024 * 1024;
/// Longest time a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// So far (ms) may the time of day run away from a steady clock before it is taken for set anew.
const SET: u64 = 1000;

/// The API of one proxy.
pub(in crate::proxy) struct Api {
    shared: Arc<Shared>,
    /// Where we stand alone; none: everybody may. Beside a hub the settings tell, and without one nobody may.
    token: Option<String>,
    /// Do specs begin with a host?
    host_routing: bool,
    offset: Offset,
}

type Reply = Response<Full<Bytes>>;

impl Api {
    /// For this proxy's routes.
    pub(in crate::proxy) fn new(
        shared: Arc<Shared>,
        token: Option<String>,
        host_routing: bool,
    ) -> Self {
        Self { shared, token, host_routing, offset: Offset::default() }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        self.offset.look();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let reply = self.decide(request).await;
        let status = reply.status();
        if let Some(alone) = self.shared.alone.get() {
            alone.counts.api.count(status);
        }
        debug!(%method, path, status = status.as_u16(), "routes request answered");
        reply
    }

    async fn decide(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        let Some(raw) = path
            .strip_prefix("/api/routes")
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            return words(StatusCode::NOT_FOUND, "Not Found");
        };
        let method = request.method().clone();
        if ![Method::GET, Method::POST, Method::DELETE].contains(&method) {
            let mut reply = words(StatusCode::METHOD_NOT_ALLOWED, "Method not supported");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            return reply;
        }
        if !self.may(request.headers()) {
            return empty(StatusCode::FORBIDDEN);
        }
        let Some(spec) = spec::read(raw, self.host_routing) else {
            return words(StatusCode::BAD_REQUEST, "The route cannot be percent-decoded.");
        };
        let all = matches!(raw, "" | "/");
        let alone = self.shared.alone.get();
        let count = |of: fn(&super::Counts) -> &AtomicU64| {
            if let Some(alone) = alone {
                of(&alone.counts).fetch_add(1, Relaxed);
            }
        };
        if method == Method::GET && all {
            count(|counts| &counts.gets);
            return self.list(request.uri().query());
        }
        if method == Method::GET {
            return self.one(&spec);
        }
        if method == Method::DELETE {
            count(|counts| &counts.deletes);
            return self.delete(spec);
        }
        let reply = self.add(spec, request.into_body()).await;
        if reply.status() == StatusCode::CREATED {
            count(|counts| &counts.adds);
        }
        reply
    }

    fn stands_alone(&self) -> bool {
        self.shared.alone.get().is_some()
    }

    /// Is the token right? How long the comparison takes says nothing of it.
    fn may(&self, headers: &HeaderMap) -> bool {
        let settings = self.shared.settings.load();
        let token = match (self.stands_alone(), &self.token, &settings.rest) {
            (true, None, _) => return true,
            (true, Some(token), _) => token,
            (false, _, Some(rest)) => rest.token.reveal(),
            (false, _, None) => return false,
        };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(said), None) = (given.next(), given.next()) else { return false };
        let said = said.as_bytes().strip_prefix(b"token ").unwrap_or_default();
        // Hashes, so that not even its length is told.
        let hash = |text: &[u8]| digest(&SHA256, text);
        hash(said.trim_ascii()).as_ref().ct_eq(hash(token.as_bytes()).as_ref()).into()
    }

    /// The table; with `inactive_since` only what was not used since then.
    fn list(&self, query: Option<&str>) -> Reply {
        let since = match since(query.unwrap_or_default()) {
            Ok(since) => since.unwrap_or(i64::MAX),
            Err(said) => {
                let text = format!("Invalid datestamp '{said}' must be ISO8601.");
                return words(StatusCode::BAD_REQUEST, text);
            }
        };
        let table = self.shared.routes.now();
        let mut out = String::with_capacity(2 + table.len() * 160);
        out.push('{');
        let base = self.shared.settings.load().base_url.clone();
        // The hub is where everything goes that has no route.
        let hub = (!self.stands_alone()).then_some((&*base, &self.shared.hub));
        for (spec, entry) in table.entries().map(|entry| (entry.spec(), entry)).chain(hub) {
            // When one of the hub's was last used before this proxy began is not known.
            let used = self.offset.used(entry).filter(|used| *used < since);
            if used.is_none() && since < i64::MAX {
                continue;
            }
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&serde_json::Value::from(spec::listed(spec)).to_string());
            out.push(':');
            spec::told(entry, &self.data(entry, &base), used, &mut out);
        }
        out.push('}');
        json(out)
    }

    /// What is told with a route: what was stored with it, or what the hub would have stored.
    fn data<'a>(&self, entry: &'a Entry, base_url: &str) -> Cow<'a, str> {
        let spec = RouteSpec::from_text(entry.spec());
        if self.stands_alone() || !entry.is_hub() && self.shared.operators.have(&spec) {
            return entry.data().into();
        }
        spec::hubs_data(entry, base_url).into()
    }

    fn one(&self, spec: &RouteSpec) -> Reply {
        let base = self.shared.settings.load().base_url.clone();
        let hub = !self.stands_alone() && spec.as_str() == base;
        let entry = if hub { Some(self.shared.hub.clone()) } else { None };
        let Some(entry) = self.shared.routes.exactly(spec).or(entry) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let mut out = String::new();
        spec::told(&entry, &self.data(&entry, &base), self.offset.used(&entry), &mut out);
        json(out)
    }

    async fn add(&self, spec: RouteSpec, body: Incoming) -> Reply {
        let body = match timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return words(StatusCode::PAYLOAD_TOO_LARGE, "The route is too large.");
            }
            Ok(Err(_)) => return words(StatusCode::BAD_REQUEST, "The body has broken off."),
            Err(_) => return words(StatusCode::REQUEST_TIMEOUT, "The body takes too long."),
        };
        match spec::route(spec, &body) {
            Ok((route, data)) => self.store(route, &data),
            Err(BadRoute::NotJson(why)) => {
                words(StatusCode::BAD_REQUEST, format!("Body not valid JSON: {why}"))
            }
            Err(BadRoute::NoTarget) => {
                words(StatusCode::BAD_REQUEST, "Must specify 'target' as string")
            }
        }
    }

    fn store(&self, route: Route, data: &str) -> Reply {
        let (routes, spec) = (&self.shared.routes, route.spec.clone());
        if self.stands_alone() {
            routes.store(route, data, now_ms());
        } else {
            let settings = self.shared.settings.load();
            let site = settings.rest.as_ref().and_then(|rest| rest.site.as_deref());
            let (entry, base_url) = (&*self.shared.hub, &*settings.base_url);
            let hub = Hub { entry, base_url, site };
            let stored = self.shared.operators.store(routes, (route, data), now_ms(), &hub);
            if let Err(refused) = stored {
                return self::refused(refused);
            }
        }
        info!(route = %spec, "route added");
        empty(StatusCode::CREATED)
    }

    fn delete(&self, spec: RouteSpec) -> Reply {
        let routes = &self.shared.routes;
        let removed = if self.stands_alone() {
            routes.remove(std::slice::from_ref(&spec)) > 0
        } else if spec.as_str() == self.shared.settings.load().base_url {
            return refused(Refused::InTheWay);
        } else {
            match self.shared.operators.remove(routes, &spec) {
                Ok(removed) => removed,
                Err(refused) => return self::refused(refused),
            }
        };
        if !removed {
            return empty(StatusCode::NOT_FOUND);
        }
        info!(route = %spec, "route removed");
        empty(StatusCode::NO_CONTENT)
    }
}

/// The moment in `inactive_since` or `inactiveSince`; what was said, if it is none.
fn since(query: &str) -> Result<Option<i64>, String> {
    let value = |name: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)
    };
    let found = value("inactiveSince").or_else(|| value("inactive_since"));
    let Some((_, said)) = found.filter(|(_, said)| !said.is_empty()) else { return Ok(None) };
    let decoded = crate::proxy::path::decode(said).map_err(|_| said.to_owned())?;
    stamps::parse(&decoded).map(Some).ok_or_else(|| decoded.into_owned())
}

/// From the steady clock of [`now_ms`] to the time of day. It stays as it is, so that a moment is always told alike; only
/// when somebody has set the clock it follows.
#[derive(Debug, Default)]
struct Offset(AtomicI64);

impl Offset {
    fn look(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let steady = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let now = i64::try_from(wall).unwrap_or(i64::MAX).saturating_sub(steady);
        if self.0.load(Relaxed).abs_diff(now) > SET {
            self.0.store(now, Relaxed);
        }
    }

    /// When it was last used, in milliseconds since 1970; none: not yet.
    fn used(&self, entry: &Entry) -> Option<i64> {
        let steady = entry.used.load(Relaxed);
        let ms = i64::try_from(steady).unwrap_or(i64::MAX);
        (steady > 0).then(|| self.0.load(Relaxed).saturating_add(ms))
    }
}

/// A route that is not for operators to change.
fn refused(refused: Refused) -> Reply {
    let status = match refused {
        Refused::Hubs | Refused::InTheWay => StatusCode::CONFLICT,
        Refused::Inside => StatusCode::BAD_REQUEST,
        Refused::TooMany => StatusCode::INSUFFICIENT_STORAGE,
    };
    words(status, refused.words())
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

fn words(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, plain);
    reply
}

fn json(text: String) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

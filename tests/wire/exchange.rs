//! What is sent, as data: who asks, what, with which body. The same to both hubs, in the same order.
//!
//! | caller | is |
//! |---|---|
//! | `nobody` | without credentials |
//! | `ann` | this user by a token that inherits everything of hers |
//! | `boss[read:users list:groups]` | by a token of this user's with these scopes |
//! | `service:NAME` | this service by its token from the configuration |
//! | `cookie:ann` | her browser, signed in, which sends its cookies and nothing else |
//! | `page:ann` | the same with the form token in a header, as the hub's own pages send it |
//! | `browser:x` | a browser called x that nobody has signed in with |
//!
//! Whom an exchange needs is made before it on both sides alike: users sign in, tokens are made (`side.rs`).
//! `{name}` in a path, a header or a text body stands for what an earlier answer brought ([`Asked::keep`]),
//! `{xsrf:x}` for the form token that the browser x has as a cookie, `{host}` for the hub's address.

use serde_json::Value;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Area, request, caller and number: no two are alike.
    pub(crate) id: String,
    pub(crate) caller: String,
    pub(crate) method: String,
    /// With its query, as it goes over the wire.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What to keep of the answer, under which name.
    pub(crate) keep: Vec<(String, Place)>,
    /// Ask again until this place of the answer's JSON has this value.
    pub(crate) until: Option<(String, Value)>,
}

/// Where in an answer something stands.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A JSON pointer.
    Json(String),
    /// A header.
    Header(String),
    /// A parameter of the address a redirect leads to.
    Query(String),
}

/// Exchanges about one thing, with people of their own.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) name: &'static str,
    pub(crate) exchanges: Vec<Exchange>,
    owner: &'static str,
    stranger: &'static str,
}

/// Whom each endpoint hears, by their part. In a path `{who}` is the part.
const PARTS: [&str; 7] = ["nobody", "wrong", "stranger", "right", "filtered", "owner", "admin"];

impl Area {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, exchanges: Vec::new(), owner: "ann", stranger: "bob" }
    }

    /// Whose things [`Area::matrix`] is about, and a user who has no part in them.
    pub(crate) fn between(mut self, owner: &'static str, stranger: &'static str) -> Self {
        (self.owner, self.stranger) = (owner, stranger);
        self
    }

    /// One request to the API: `METHOD /path`, below `/hub/api`.
    pub(crate) fn ask(&mut self, caller: &str, line: &str) -> Asked<'_> {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        self.add(caller, method, &format!("/hub/api{path}"), line)
    }

    /// One request to any path.
    pub(crate) fn page(&mut self, caller: &str, line: &str) -> Asked<'_> {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        self.add(caller, method, path, line)
    }

    fn add(&mut self, caller: &str, method: &str, path: &str, line: &str) -> Asked<'_> {
        let short: String = line.chars().take(120).collect();
        let plain = format!("{}: {short} as {caller}", self.name);
        let before = self.exchanges.iter().filter(|it| {
            it.id == plain || it.id.strip_prefix(&plain).is_some_and(|rest| rest.starts_with(" #"))
        });
        let id = match before.count() {
            0 => plain,
            n => format!("{plain} #{}", n + 1),
        };
        self.exchanges.push(Exchange {
            id,
            caller: caller.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            keep: Vec::new(),
            until: None,
        });
        let last = self.exchanges.len() - 1;
        Asked(&mut self.exchanges[last..])
    }

    /// One endpoint, asked by everybody: nobody, a token with another scope, a stranger, a token with the right scope,
    /// one with it for the owner's things alone, the owner, an admin.
    pub(crate) fn matrix(&mut self, line: &str, right: &str) -> Asked<'_> {
        let first = self.exchanges.len();
        let (owner, stranger) = (self.owner, self.stranger);
        let callers = [
            "nobody".to_owned(),
            "boss[read:metrics]".to_owned(),
            stranger.to_owned(),
            format!("boss[{right}]"),
            format!("boss[{right}!user={owner}]"),
            owner.to_owned(),
            "boss".to_owned(),
        ];
        for (caller, part) in callers.iter().zip(PARTS) {
            self.ask(caller, &line.replace("{who}", part));
        }
        Asked(&mut self.exchanges[first..])
    }
}

/// Some of an area's exchanges, to be said more of.
#[derive(Debug)]
pub(crate) struct Asked<'a>(&'a mut [Exchange]);

impl Asked<'_> {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        for it in self.0.iter_mut() {
            it.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// A JSON body, said to be one.
    pub(crate) fn json(self, value: Value) -> Self {
        self.bytes(value.to_string().as_bytes()).header("Content-Type", "application/json")
    }

    /// A body of which nothing is said.
    pub(crate) fn bytes(self, body: &[u8]) -> Self {
        for it in self.0.iter_mut() {
            it.body = body.to_owned();
        }
        self
    }

    /// A form, as browsers send it; the values escaped already.
    pub(crate) fn form(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).header("Content-Type", "application/x-www-form-urlencoded")
    }

    /// Keeps what stands there in the answer: `/a/b` in its JSON, `?name` in its redirect, else a header.
    pub(crate) fn keep(self, name: &str, place: &str) -> Self {
        let place = match (place.strip_prefix('?'), place.starts_with('/')) {
            (Some(name), _) => Place::Query(name.to_owned()),
            (None, true) => Place::Json(place.to_owned()),
            (None, false) => Place::Header(place.to_owned()),
        };
        for it in self.0.iter_mut() {
            it.keep.push((name.to_owned(), place.clone()));
        }
        self
    }

    /// Asks again until this place in the answer's JSON has this value.
    pub(crate) fn until(self, pointer: &str, value: impl Into<Value>) {
        let value = value.into();
        for it in self.0.iter_mut() {
            it.until = Some((pointer.to_owned(), value.clone()));
        }
    }
}

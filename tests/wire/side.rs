//! One of the two hubs, and what is known of it: browsers, tokens, values kept of its answers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    exchange::{Exchange, Place},
    seen::{Seen, Words},
    support::{Answer, PATIENCE, Visitor},
    world,
};

/// A hub to be asked.
pub(crate) struct Side {
    address: SocketAddr,
    /// By the user's name, or the browser's own.
    browsers: BTreeMap<String, Visitor>,
    /// By caller; or why there is none.
    tokens: BTreeMap<String, Result<String, String>>,
    /// What was kept of answers.
    kept: BTreeMap<String, String>,
}

impl Side {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let kept = BTreeMap::from([("host".to_owned(), address.to_string())]);
        Self { address, browsers: BTreeMap::new(), tokens: BTreeMap::new(), kept }
    }

    /// Sends all of them, one after the other; what came back, and how long it took.
    pub(crate) fn run(&mut self, exchanges: &[Exchange]) -> Vec<(Seen, Duration)> {
        let timed = |it| {
            let began = Instant::now();
            (self.ask(it), began.elapsed())
        };
        exchanges.iter().map(timed).collect()
    }

    fn ask(&mut self, exchange: &Exchange) -> Seen {
        let caller = exchange.caller.clone();
        let began = Instant::now();
        loop {
            let (mut visitor, mut headers) = match self.credentials(&caller) {
                Ok(who) => who,
                Err(why) => return Seen::nothing(&format!("{caller}: {why}")),
            };
            headers.extend(
                exchange.headers.iter().map(|(name, value)| (name.clone(), self.fill(value))),
            );
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let body = match std::str::from_utf8(&exchange.body) {
                // long ones are only long
                Ok(text) if text.len() < 10_000 => self.fill(text).into_bytes(),
                _ => exchange.body.clone(),
            };
            let path = self.fill(&exchange.path);
            let answer = visitor.send(&exchange.method, &path, &headers, &body);
            if let Some((_, name)) = caller.split_once(':') {
                self.browsers.insert(name.to_owned(), visitor);
            }
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Seen::nothing(&format!("no answer: {:?}", error.kind())),
            };
            if let Some((pointer, wanted)) = &exchange.until {
                let now = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                let there = now.pointer(pointer).unwrap_or(&Value::Null) == wanted;
                // what is refused now will be refused in a while
                let refused = (400..500).contains(&answer.status);
                if !there && !refused && began.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
            }
            self.keep(exchange, &answer);
            return Seen::new(&answer, &self.words());
        }
    }

    /// With whose browser and which headers this caller comes.
    fn credentials(&mut self, caller: &str) -> Result<(Visitor, Vec<(String, String)>), String> {
        let (kind, name) = caller.split_once(':').unwrap_or(("token", caller));
        Ok(match kind {
            _ if caller == "nobody" => (Visitor::new(self.address), Vec::new()),
            "service" => (Visitor::new(self.address), bearer(&world::service_token(name))),
            "browser" => {
                let fresh = || Visitor::new(self.address);
                (self.browsers.get(name).cloned().unwrap_or_else(fresh), Vec::new())
            }
            "cookie" => (self.browser(name)?, Vec::new()),
            "page" => {
                let browser = self.browser(name)?;
                let token = browser.cookie("_xsrf", "/hub/").unwrap_or_default();
                (browser, vec![("X-XSRFToken".to_owned(), token)])
            }
            _ => (Visitor::new(self.address), bearer(&self.token(caller)?)),
        })
    }

    /// This user's browser; signs in first where that has not happened.
    fn browser(&mut self, name: &str) -> Result<Visitor, String> {
        if let Some(browser) = self.browsers.get(name) {
            return Ok(browser.clone());
        }
        let mut browser = Visitor::new(self.address);
        if let Err(error) = browser.send("GET", "/hub/login", &[], b"") {
            return Err(format!("signing in: {error}"));
        }
        let answer = browser.sign_in_as(name, world::PASSWORD);
        if answer.status != 302 {
            return Err(format!("signing in: {}", answer.status));
        }
        // a page that needs the form token brings it
        browser.get("/hub/token");
        self.browsers.insert(name.to_owned(), browser.clone());
        Ok(browser)
    }

    /// This caller's token; made where there is none. Those with fewer scopes are made by the user's whole one.
    fn token(&mut self, caller: &str) -> Result<String, String> {
        if let Some(token) = self.tokens.get(caller) {
            return token.clone();
        }
        let token = match caller.split_once('[') {
            None => {
                let mut browser = self.browser(caller)?;
                let path = format!("/hub/api/users/{caller}/tokens");
                secret(&browser.api("POST", &path, r#"{"note": "whole"}"#))
            }
            Some((user, scopes)) => {
                let headers = bearer(&self.token(user)?);
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let scopes: Vec<&str> = scopes.trim_end_matches(']').split_whitespace().collect();
                let body = json!({ "scopes": scopes, "note": caller }).to_string();
                let path = format!("/hub/api/users/{user}/tokens");
                let made =
                    Visitor::new(self.address).send("POST", &path, &headers, body.as_bytes());
                secret(&made.map_err(|error| error.to_string())?)
            }
        };
        self.tokens.insert(caller.to_owned(), token.clone());
        token
    }

    fn fill(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, value) in &self.kept {
            out = out.replace(&format!("{{{name}}}"), value);
        }
        for (name, browser) in self.browsers.iter().filter(|_| text.contains("{xsrf:")) {
            let token = browser.cookie("_xsrf", "/hub/").unwrap_or_default();
            out = out.replace(&format!("{{xsrf:{name}}}"), &token);
        }
        out
    }

    fn keep(&mut self, exchange: &Exchange, answer: &Answer) {
        for (name, place) in &exchange.keep {
            let found = match place {
                Place::Header(name) => answer.header(name).map(ToOwned::to_owned),
                Place::Query(name) => answer.location().and_then(|it| parameter(&it, name)),
                Place::Json(pointer) => {
                    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                    body.pointer(pointer).map(|it| match it {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    })
                }
            };
            self.kept.insert(name.clone(), found.unwrap_or_else(|| format!("no-{name}")));
        }
    }

    fn words(&self) -> Words {
        Words::new(self.kept.iter())
    }
}

fn bearer(token: &str) -> Vec<(String, String)> {
    vec![("Authorization".to_owned(), format!("token {token}"))]
}

fn secret(made: &Answer) -> Result<String, String> {
    let body = serde_json::from_slice::<Value>(&made.body).unwrap_or_default();
    let token = body["token"].as_str().filter(|_| made.status == 201);
    token.map(ToOwned::to_owned).ok_or_else(|| format!("no token made: {}", made.status))
}

fn parameter(address: &str, name: &str) -> Option<String> {
    let query = address.split_once('?')?.1.split('#').next()?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(this, _)| *this == name).map(|(_, value)| value.to_owned())
}

//! Signing in at a provider elsewhere: out with a state, back with a code (RFC 6749 4.1, PKCE by RFC 7636).
//!
//! What has to be known when the browser comes back is in a signed cookie that lives for ten minutes: the hub keeps nothing
//! for people who only clicked. Each visit has a cookie of its own, so that several tabs do not get in each other's way.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header;
use jovis_actors::{
    domain::{Secret, quote},
    logins::SignInRefused,
    ports::{Departure, Return},
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::login;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form::{self, Form},
    signed,
};

/// Seconds somebody may take at the provider.
const PATIENCE: i64 = 600;
/// How names of the cookies begin; the beginning of the state comes behind.
const COOKIE: &str = "jovis-departure-";
/// Letters of the state in a cookie's name.
const MARK: usize = 8;
/// Most visits under way in one browser; then those before are forgotten.
const VISITS: usize = 8;
/// Longest address to go on to that is kept.
const NEXT: usize = 1_500;

/// What the browser keeps for us.
#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    way: String,
    state: String,
    verifier: String,
    next: String,
}

/// Where a button for this way leads, for somebody who wants to go on to `next`.
pub(crate) fn address(call: &Call, way: &str, next: &str) -> String {
    let pairs = [("authenticator", way), ("next", next)];
    let query = form::encode(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
    form::with_query(&format!("{}oauth_login", call.hub()), &query)
}

/// The cookie of the visit with this state; none if it is no state of ours.
fn cookie(state: &str) -> Option<String> {
    let ours = state.len() == 32 && state.bytes().all(|byte| byte.is_ascii_hexdigit());
    ours.then(|| format!("{COOKIE}{}", &state[..MARK]))
}

fn callback(call: &Call) -> String {
    format!("{}{}oauth_callback", call.public_origin(), call.hub())
}

/// `{hub}oauth_login`: to the provider.
pub(crate) async fn depart(call: &mut Call) -> Answer {
    let way = call.query.get("authenticator").unwrap_or_default().to_owned();
    let (state, verifier) = (call.app.entropy.hex(16), call.app.entropy.hex(32));
    let challenge = URL_SAFE_NO_PAD.encode(call.app.entropy.digest(&verifier).0);
    let leave = Departure { callback: callback(call), state: state.clone(), challenge };
    let target = match call.app.doors.depart(way.clone(), leave).await {
        Ok(target) => target,
        Err(SignInRefused::Refused) => return Err(Error::no_page()),
        Err(refused) => return login::refused(call, refused),
    };
    let next = call.query.get("next").filter(|next| next.len() <= NEXT).unwrap_or_default();
    let ticket = Ticket { way, state: state.clone(), verifier, next: next.to_owned() };
    let ticket = serde_json::to_string(&ticket).unwrap_or_default();
    let secret = call.settings.cookie_secret.reveal();
    let name = cookie(&state).unwrap_or_default();
    let value = signed::sign(secret, &name, &ticket, call.now.unix_seconds());
    let before: Vec<_> = call.cookies.names(COOKIE).map(ToOwned::to_owned).collect();
    if before.len() >= VISITS {
        let gone =
            call.with_jar(|jar| before.iter().map(|it| jar.short(it, "", 0)).collect::<Vec<_>>());
        call.set.extend(gone);
    }
    let line = call.with_jar(|jar| jar.short(&name, &value, PATIENCE));
    call.set.push(line);
    Ok(answer::found(&target))
}

/// `{hub}oauth_callback`: back from it.
pub(crate) async fn arrive(call: &mut Call) -> Answer {
    let secret = call.settings.cookie_secret.reveal();
    let now = call.now.unix_seconds();
    // Twice the same word would be two answers: which of them counts?
    let states: Vec<_> = call.query.pairs().filter(|(name, _)| *name == "state").collect();
    let given = if let [(_, one)] = states.as_slice() { (*one).to_owned() } else { String::new() };
    let name = cookie(&given).unwrap_or_default();
    let ticket = call
        .cookies
        .all(&name)
        .filter_map(|text| signed::verify(secret, &name, text, PATIENCE, now))
        .find_map(|text| serde_json::from_str::<Ticket>(&text).ok());
    if ticket.is_some() {
        let gone = call.with_jar(|jar| jar.short(&name, "", 0));
        call.set.push(gone);
    }
    let ticket = ticket.filter(|it| bool::from(it.state.as_bytes().ct_eq(given.as_bytes())));
    let spend = |it: &Ticket| call.app.visits.spend(&it.state, now, now + PATIENCE);
    let Some(ticket) = ticket.filter(spend) else {
        return Err(Error::bad(
            "this sign-in was not begun in this browser, or took too long: please begin again",
        ));
    };
    // From here on only where the visitor wanted to go counts: neither code nor state get into an address.
    let next = Form::parse(&format!("next={}", quote::query(&ticket.next)))?;
    let query = std::mem::replace(&mut call.query, next);
    let back = Return {
        callback: callback(call),
        verifier: Secret::new(ticket.verifier),
        query: query.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        from: call.from,
    };
    let before = call.who.clone();
    match call.app.doors.arrive(ticket.way, back).await {
        Ok(user) => {
            let mut out = login::signed_in(call, before, user).await?;
            call.set.push(call.with_jar(|jar| jar.short(&name, "", 0)));
            answer::put(&mut out, header::REFERRER_POLICY, "no-referrer");
            Ok(out)
        }
        Err(refused) => login::refused(call, refused),
    }
}

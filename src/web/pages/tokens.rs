//! The token page: one's API tokens and the applications that hold some. Works without scripts: each button is a form
//! that comes back here; a new token is shown in the answer, once.

use std::collections::{BTreeMap, BTreeSet};

use http::{StatusCode, header};
use jovis_actors::domain::{
    Token, User,
    scope::{Mask, Resource},
};
use serde_json::{Map, Value, json};

use super::page;
use crate::web::{
    answer::{self, Answer},
    api,
    call::Call,
    error::Error,
    form::Form,
    model,
    words::mark,
};

/// What it takes to make and revoke one.
const TOKENS: Mask = Mask::of(&["tokens"]);

/// Lives that can be chosen, of tokens and of links that share a server: seconds, and how they are called.
pub(super) const LIVES: &[(u64, &str)] = &[
    (3_600, mark("1 Hour")),
    (86_400, mark("1 Day")),
    (604_800, mark("1 Week")),
    (2_592_000, mark("1 Month")),
    (31_536_000, mark("1 Year")),
];

/// What a form of the page led to.
#[derive(Default)]
struct Outcome {
    /// The new token.
    token: Option<String>,
    /// Why there is none.
    problem: Option<String>,
    /// The form as it was sent.
    form: Form,
}

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    shown(call, StatusCode::OK, &Outcome::default())
}

/// Makes a token, or revokes one.
pub(crate) async fn act(call: &mut Call) -> Answer {
    let form = call.form(64 * 1024).await?;
    call.require_xsrf(Some(&form))?;
    let user = call.person()?.clone();
    call.may(TOKENS, Resource::User(user.name.as_str()))?;
    if let Some(id) = form.get("revoke") {
        // What is gone already is as it should be.
        api::tokens::end(call, &user, id).await?;
        return Ok(answer::found(&format!("{}token", call.hub())));
    }
    match api::tokens::issue(call, &user, &body(&form)).await {
        Ok((_, secret)) => {
            let outcome = Outcome { token: Some(secret), ..Outcome::default() };
            let mut out = shown(call, StatusCode::OK, &outcome)?;
            answer::put(&mut out, header::CACHE_CONTROL, "no-store");
            Ok(out)
        }
        Err(Error { status, message: Some(why), .. }) if status.is_client_error() => {
            shown(call, status, &Outcome { token: None, problem: Some(why), form })
        }
        Err(error) => Err(error),
    }
}

/// The form as a request to the API.
fn body(form: &Form) -> Map<String, Value> {
    let text = |name: &str| form.get(name).map(str::trim).filter(|text| !text.is_empty());
    let mut body = Map::new();
    body.insert("note".into(), text("note").unwrap_or("Requested via token page").into());
    if let Some(life) = text("expires_in") {
        // One that is no number is refused there.
        let life = life.parse::<u64>().map_or_else(|_| json!(life), |seconds| json!(seconds));
        body.insert("expires_in".into(), life);
    }
    let written = form.get("scopes").unwrap_or_default();
    let written = written.split([' ', ',', '\t', '\r', '\n']).filter(|it| !it.is_empty());
    let scopes: BTreeSet<&str> = form.all("scope").chain(written).collect();
    if !scopes.is_empty() {
        body.insert("scopes".into(), json!(scopes));
    }
    body
}

fn shown(call: &mut Call, status: StatusCode, outcome: &Outcome) -> Answer {
    let user = call.person()?.clone();
    let (mut tokens, mut applications) = (Vec::new(), BTreeMap::<String, Value>::new());
    for token in api::tokens::valid(call, user.id).iter().rev() {
        let about = about(call, token);
        match &token.client {
            None => tokens.push(about),
            // One line per application: ending one of its tokens ends them all.
            Some(client) => match applications.get_mut(&client.to_string()) {
                None => drop(applications.insert(client.to_string(), about)),
                Some(other) => merge(other, &about),
            },
        }
    }
    let form = &outcome.form;
    let most = call.settings.hub.token_expires_in_max_seconds.duration().as_secs();
    let values = json!({
        "api": format!("/users/{}/tokens", user.name.escaped()),
        "api_tokens": tokens,
        "oauth_clients": applications.into_values().collect::<Vec<_>>(),
        "lives": lives(call, most, form.get("expires_in")),
        "scope_choices": choices(call, &user, form),
        "may_make": call.covers(TOKENS, Resource::User(user.name.as_str())),
        "token_result": outcome.token,
        "problem": outcome.problem,
        "typed_note": form.get("note"),
        "typed_scopes": form.get("scopes"),
    });
    page(call, "token.html", status, values)
}

fn about(call: &Call, token: &Token) -> Value {
    let mut about = model::token::model(call, token);
    about["servers_own"] = token.is_servers_own().into();
    for (name, at) in [
        ("used_plain", call.app.doors.notes().of_token(token)),
        ("created_plain", Some(token.created)),
        ("expires_plain", token.expires_at),
    ] {
        about[name] = at.map(model::time::plain).into();
    }
    about
}

/// Two tokens of one application: all they may do, the last use, the first day.
fn merge(all: &mut Value, one: &Value) {
    let scopes = |about: &Value| about["scopes"].as_array().cloned().unwrap_or_default();
    let both: BTreeSet<String> = scopes(all)
        .into_iter()
        .chain(scopes(one))
        .filter_map(|scope| Some(scope.as_str()?.to_owned()))
        .collect();
    all["scopes"] = json!(both);
    let mut take = |key: &str, plain: &str, newer: bool| {
        let (old, new) =
            (all[key].as_str().unwrap_or_default(), one[key].as_str().unwrap_or_default());
        if !new.is_empty() && (old.is_empty() || (new > old) == newer) {
            all[key] = one[key].clone();
            all[plain] = one[plain].clone();
        }
    };
    take("last_activity", "used_plain", true);
    take("created", "created_plain", false);
}

/// The lives to choose from. `most`: no token lives longer; 0: for ever.
fn lives(call: &Call, most: u64, chosen: Option<&str>) -> Vec<Value> {
    let words = call.words();
    let mut lives: Vec<(String, String)> = LIVES
        .iter()
        .filter(|(seconds, _)| most == 0 || *seconds < most)
        .map(|(seconds, text)| (seconds.to_string(), words.say(text).to_owned()))
        .collect();
    if most == 0 {
        lives.push((String::new(), words.say("Never").to_owned()));
    } else if let Some((_, text)) = LIVES.iter().find(|(seconds, _)| *seconds == most) {
        lives.push((most.to_string(), words.say(text).to_owned()));
    } else {
        let hours = most.div_ceil(3_600).to_string();
        let days = (most / 86_400).to_string();
        let text = if most.is_multiple_of(86_400) {
            words.fill("Max ({days} days)", &[("days", &days)])
        } else {
            words.fill("Max ({hours} hours)", &[("hours", &hours)])
        };
        lives.push((most.to_string(), text));
    }
    let usual = lives.last().map(|(value, _)| value.clone()).unwrap_or_default();
    let chosen = chosen.filter(|it| lives.iter().any(|(value, _)| value == it)).unwrap_or(&usual);
    let option = |(value, text): &(String, String)| json!({ "value": value, "text": text, "selected": value == chosen });
    lives.iter().map(option).collect()
}

/// The permissions one may give away: all one has.
fn choices(call: &Call, user: &User, form: &Form) -> Vec<Value> {
    let Some(who) = &call.who else { return Vec::new() };
    let vocabulary = call.policy.vocabulary();
    let own = format!("!user={}", user.name);
    let chosen: BTreeSet<&str> = form.all("scope").collect();
    let choice = |scope: String| {
        let base = scope.split('!').next().unwrap_or_default();
        let about = vocabulary.description(base).map(ToOwned::to_owned);
        json!({
            "about": about,
            "own": scope.ends_with(&own),
            "chosen": chosen.contains(scope.as_str()),
            "scope": scope,
        })
    };
    who.granted.names(vocabulary).into_iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_request_to_the_api() {
        let read = |text: &str| Value::Object(body(&Form::parse(text).unwrap()));
        assert_eq!(read("note=+&expires_in=&scopes="), json!({"note": "Requested via token page"}));
        let all = "note=n&expires_in=60&scope=b&scope=a&scopes=c%2C+a%0Ad&_xsrf=x";
        let wanted = json!({"note": "n", "expires_in": 60, "scopes": ["a", "b", "c", "d"]});
        assert_eq!(read(all), wanted);
        assert_eq!(read("expires_in=soon")["expires_in"], "soon");
    }

    #[test]
    fn tokens_of_one_application_are_one_line() {
        let mut all = json!({"scopes": ["b"], "last_activity": null, "created": "2026-02", "used_plain": null});
        merge(
            &mut all,
            &json!({"scopes": ["a", "b"], "last_activity": "2026-03", "used_plain": "u", "created": "2026-01"}),
        );
        merge(&mut all, &json!({"scopes": [], "last_activity": "2026-02", "created": "2026-04"}));
        assert_eq!(all["scopes"], json!(["a", "b"]));
        assert_eq!(
            (&all["last_activity"], &all["created"], &all["used_plain"]),
            (&json!("2026-03"), &json!("2026-01"), &json!("u"))
        );
    }
}

//! Sharing: with whom one's servers are shared, by name or by a link; and what others share with oneself. Works without
//! scripts: each button is a form that comes back here; a new link is shown in the answer, once.

use std::{collections::BTreeSet, time::Duration};

use http::{StatusCode, header};
use jovis_actors::{
    accounts::{self, WhichCodes},
    domain::{
        Server, ServerKey, ServerName, Share, ShareCode, ShareKey, SharedWith, User,
        scope::{Mask, Resource},
    },
};
use serde_json::{Value, json};

use super::{page, tokens::LIVES};
use crate::web::{
    answer::{self, Answer},
    api::{self, shares::Named},
    call::Call,
    error::Error,
    form::{self, Form},
    model,
    words::mark,
};

/// What it takes to share a server.
pub(crate) const SHARES: Mask = Mask::of(&["shares"]);
/// What it takes to see with whom.
const READS: Mask = Mask::of(&["read:shares"]);
/// What it takes to see what others share with oneself.
pub(crate) const RECEIVED: Mask = Mask::of(&["read:users:shares"]);
/// What it takes to leave that.
const LEAVES: Mask = Mask::of(&["users:shares"]);
/// What lets one name others.
const NAMES: Mask = Mask::of(&["read:users:name"]);
/// What lets one name groups.
const NAMES_GROUPS: Mask = Mask::of(&["read:groups:name"]);

/// What can be given, in words.
const GIVES: &[(&str, &str)] = &[
    (
        "access:servers",
        mark("Use it: open it, run code in it, read and change your files through it"),
    ),
    ("read:servers", mark("See whether it runs")),
    ("start:servers", mark("Start it")),
    ("delete:servers", mark("Stop it")),
];

/// What a form of the page led to.
#[derive(Default)]
struct Outcome {
    /// The new link.
    link: Option<String>,
    /// What is wrong.
    problem: Option<String>,
    /// The form as it was sent.
    form: Form,
}

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    shown(call, StatusCode::OK, Outcome::default())
}

/// Does what a form of the page asks for.
pub(crate) async fn act(call: &mut Call) -> Answer {
    let form = call.form(64 * 1024).await?;
    call.require_xsrf(Some(&form))?;
    let user = call.person()?.clone();
    match done(call, &user, &form).await {
        Ok(None) => {
            let server = form.get("server").filter(|name| !name.is_empty());
            let query = server.map(|name| form::encode([("server", name)])).unwrap_or_default();
            Ok(answer::found(&form::with_query(&format!("{}shares", call.hub()), &query)))
        }
        Ok(Some(link)) => {
            let outcome = Outcome { link: Some(link), problem: None, form };
            let mut out = shown(call, StatusCode::OK, outcome)?;
            answer::put(&mut out, header::CACHE_CONTROL, "no-store");
            Ok(out)
        }
        Err(Error {
            status: status @ (StatusCode::BAD_REQUEST | StatusCode::CONFLICT),
            message: Some(why),
            ..
        }) => shown(call, status, Outcome { link: None, problem: Some(why), form }),
        Err(error) => Err(error),
    }
}

/// The new link, where that was asked for.
async fn done(call: &mut Call, user: &User, form: &Form) -> Result<Option<String>, Error> {
    let name = form.get("server").unwrap_or_default();
    let action = form.get("action").unwrap_or_default();
    if action == "leave" {
        call.may(LEAVES, Resource::User(user.name.as_str()))?;
        let owner = form.get("owner").unwrap_or_default();
        let key = received(call, user, owner, name)?;
        call.change(move |image, _, _| accounts::end_share(image, &key)).await?;
        return Ok(None);
    }
    call.may(SHARES, Resource::Server(user.name.as_str(), name))?;
    let server = api::server(call, user, name)?.key.clone();
    let scopes: Vec<String> = form.all("scope").map(ToOwned::to_owned).collect();
    let target = |text: &str| match form.get("kind") {
        Some("group") => Named::Group(text.to_owned()),
        _ => Named::User(text.to_owned()),
    };
    let nobody = || Error::bad(call.words().say("There is no such user or group."));
    match action {
        "grant" => {
            let typed = form.get("with").unwrap_or_default().trim();
            if scopes.is_empty() {
                return Err(nothing(call));
            }
            let with = api::shares::named(call, &target(typed))?.ok_or_else(nobody)?;
            if with == SharedWith::User(user.id) {
                return Err(Error::bad(call.words().say("This server is yours already.")));
            }
            api::shares::share(call, server, with, scopes).await?;
            Ok(None)
        }
        "link" => {
            if scopes.is_empty() {
                return Err(nothing(call));
            }
            let life = form.get("expires_in").and_then(|text| text.parse().ok()).unwrap_or(86_400);
            let (_, secret) =
                api::share_codes::issue(call, server, scopes, Duration::from_secs(life)).await?;
            let path = api::share_codes::accept_url(call, &secret);
            Ok(Some(format!("{}{path}", call.public_origin())))
        }
        "revoke" => {
            let with = api::shares::target(call, &target(form.get("with").unwrap_or_default()));
            let key = ShareKey { server, with: with.ok_or_else(nobody)? };
            call.change(move |image, _, _| accounts::end_share(image, &key)).await?;
            Ok(None)
        }
        "delete-link" => {
            let id = form.get("id").and_then(model::share::parse_code_id);
            let which = WhichCodes::Numbered(id.ok_or_else(Error::hidden)?);
            let drop =
                move |image: &_, _: &_, now| accounts::drop_share_codes(image, &server, which, now);
            call.change(drop).await?;
            Ok(None)
        }
        _ => Err(Error::bad("the form names nothing that can be done")),
    }
}

fn nothing(call: &Call) -> Error {
    Error::bad(call.words().say("Choose at least one thing they may do."))
}

/// A share somebody has given this user.
fn received(call: &Call, user: &User, owner: &str, its: &str) -> Result<ShareKey, Error> {
    let owner = api::user(call, owner)?;
    let name = ServerName::new(its).map_err(|_| Error::hidden())?;
    let server = ServerKey { user: owner.id, name };
    Ok(ShareKey { server, with: SharedWith::User(user.id) })
}

fn shown(call: &mut Call, status: StatusCode, outcome: Outcome) -> Answer {
    let user = call.person()?.clone();
    let own = user.name.as_str();
    let wanted = outcome.form.get("server").or(call.query.get("server")).unwrap_or_default();
    let mut servers = vec![server(call, &user, &*api::server(call, &user, "")?)];
    let named = call.image.servers_of(user.id).filter(|it| !it.key.name.is_default());
    servers.extend(named.map(|it| server(call, &user, it)));
    servers.retain(|it| it["may_share"] == json!(true));
    let reads = call.covers(READS, Resource::User(own));
    let given: Vec<Value> = call
        .image
        .shares_by(user.id)
        .filter(|_| reads)
        .filter_map(|share| about_share(call, &user, share))
        .collect();
    let links: Vec<Value> = accounts::valid_share_codes_by(&call.image, user.id, call.now)
        .filter(|_| reads)
        .map(|code| about_code(call, &user, code))
        .collect();
    let received: Vec<Value> = if call.covers(RECEIVED, Resource::User(own)) {
        let direct = call.image.shared_with(SharedWith::User(user.id));
        let through = call
            .image
            .groups_of(user.id)
            .flat_map(|group| call.image.shared_with(SharedWith::Group(group.id)));
        direct.chain(through).filter_map(|share| about_received(call, share)).collect()
    } else {
        Vec::new()
    };
    let any = |needed: Mask| call.who.as_ref().is_some_and(|who| who.granted.any().meets(needed));
    let words = call.words();
    let chosen: BTreeSet<&str> = outcome.form.all("scope").collect();
    let gives = GIVES.iter().map(|(scope, text)| {
        let usual = chosen.is_empty() && *scope == "access:servers";
        json!({ "scope": scope, "text": words.say(text), "chosen": usual || chosen.contains(scope) })
    });
    let lives = LIVES.iter().map(|(seconds, text)| {
        json!({ "value": seconds, "text": words.say(text), "selected": *seconds == 86_400 })
    });
    let values = json!({
        "servers": servers,
        "server": wanted,
        "gives": gives.collect::<Vec<_>>(),
        "lives": lives.collect::<Vec<_>>(),
        "may_name": any(NAMES) || any(NAMES_GROUPS),
        "may_name_groups": any(NAMES_GROUPS),
        "may_leave": call.covers(LEAVES, Resource::User(own)),
        "given": given,
        "links": links,
        "received": received,
        "link": outcome.link,
        "problem": outcome.problem,
        "typed_with": outcome.form.get("with"),
        "typed_kind": outcome.form.get("kind"),
    });
    page(call, "shares.html", status, values)
}

fn server(call: &Call, user: &User, server: &Server) -> Value {
    let name = server.key.name.as_str();
    json!({
        "name": name,
        "display_name": called(call, &server.key),
        "may_share": call.covers(SHARES, Resource::Server(user.name.as_str(), name)),
    })
}

/// How a server is called.
fn called(call: &Call, key: &ServerKey) -> String {
    let shown = call.image.server(key).map(|server| server.display_name.clone());
    match shown.filter(|shown| !shown.is_empty()) {
        Some(shown) => shown,
        None if key.name.is_default() => call.words().say("Default server").to_owned(),
        None => key.name.as_str().to_owned(),
    }
}

/// What these scopes allow, in words where there are some.
fn allows(call: &Call, scopes: &[String]) -> Vec<String> {
    let word = |scope: &String| {
        let known = GIVES.iter().find(|(name, _)| name == scope);
        known.map_or_else(|| scope.clone(), |(_, text)| call.words().say(text).to_owned())
    };
    scopes.iter().map(word).collect()
}

fn about_share(call: &Call, owner: &User, share: &Share) -> Option<Value> {
    let (kind, with) = match share.key.with {
        SharedWith::User(id) => ("user", call.image.user(id)?.name.as_str().to_owned()),
        SharedWith::Group(id) => ("group", call.image.group(id)?.name.as_str().to_owned()),
    };
    let name = share.key.server.name.as_str();
    Some(json!({
        "server": name,
        "server_name": called(call, &share.key.server),
        "kind": kind,
        "with": with,
        "allows": allows(call, &share.scopes),
        "since": model::time::wire(share.created),
        "since_plain": model::time::plain(share.created),
        "may_revoke": call.covers(SHARES, Resource::Server(owner.name.as_str(), name)),
    }))
}

fn about_code(call: &Call, owner: &User, code: &ShareCode) -> Value {
    let name = code.server.name.as_str();
    json!({
        "id": format!("sc_{}", code.id.0),
        "server": name,
        "server_name": called(call, &code.server),
        "allows": allows(call, &code.scopes),
        "expires": model::time::wire(code.expires_at),
        "expires_plain": model::time::plain(code.expires_at),
        "used": code.exchange_count,
        "may_revoke": call.covers(SHARES, Resource::Server(owner.name.as_str(), name)),
    })
}

fn about_received(call: &Call, share: &Share) -> Option<Value> {
    let key = &share.key.server;
    let owner = call.image.user(key.user)?;
    let group = match share.key.with {
        SharedWith::User(_) => None,
        SharedWith::Group(id) => Some(call.image.group(id)?.name.as_str().to_owned()),
    };
    Some(json!({
        "owner": owner.name.as_str(),
        "server": key.name.as_str(),
        "server_name": called(call, key),
        "url": model::server::url(call.facts(), owner, key.name.as_str()),
        "ready": call.image.server(key).is_some_and(|server| server.state.is_ready()),
        "group": group,
        "allows": allows(call, &share.scopes),
    }))
}

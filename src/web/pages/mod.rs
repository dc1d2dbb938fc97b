//! Pages for browsers (`spec/pages.md`). One file per page or group; templates make the HTML, scripts are small modules
//! of ours, and nothing is inline: values for scripts stand in attributes.

use http::{StatusCode, header};
use jovis_actors::domain::scope::{Mask, Resource};
use serde_json::{Value, json};

use super::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form,
    guard::Who,
    model,
};

/// What opens the page for administrators.
pub(crate) const ADMIN: Mask = Mask::of(&["admin-ui"]);
/// What lets one use a service.
const ACCESS: Mask = Mask::of(&["access:services"]);

pub(crate) mod accept;
pub(crate) mod admin;
pub(crate) mod api_docs;
pub(crate) mod elsewhere;
pub(crate) mod error;
pub(crate) mod follow;
pub(crate) mod home;
pub(crate) mod login;
mod notices;
pub(crate) mod options;
pub(crate) mod outside;
pub(crate) mod pending;
pub(crate) mod shares;
pub(crate) mod spawn;
pub(crate) mod tokens;
pub(crate) mod trouble;
pub(crate) mod user;

/// A page from a template, with a form token that fits.
pub(crate) fn page(call: &mut Call, template: &str, status: StatusCode, own: Value) -> Answer {
    let xsrf = call.xsrf(template == "login.html");
    render(call, template, status, &xsrf, own)
}

/// A page from a template. The values every template has (`spec/pages.md` 14) are added to its own.
pub(crate) fn render(
    call: &Call,
    template: &str,
    status: StatusCode,
    xsrf: &str,
    own: Value,
) -> Answer {
    let hub = call.hub();
    let who = call.who.as_ref().and_then(Who::user).map(|user| {
        json!({
            "name": user.name.as_str(),
            "escaped": user.name.escaped(),
            "admin": user.admin,
        })
    });
    let settings = &call.settings.hub;
    let look = call.app.look.load();
    let mut values = json!({
        "base_url": hub,
        "prefix": call.base(),
        "user": who,
        "login_url": format!("{hub}login"),
        "logout_url": format!("{hub}logout"),
        "xsrf": xsrf,
        "xsrf_token": xsrf,
        "nonce": call.nonce(),
        "request_id": call.id,
        "version_hash": super::statics::version(),
        "services": services(call),
        "admin_access": call.who.is_some() && call.covers(ADMIN, Resource::Hub),
        "here": template.strip_suffix(".html"),
        "language": call.words().language(),
        "site_name": settings.site_name,
        "theme": look.theme_version,
        "logo": look.logo_version,
        "logo_url": settings.logo_url,
        "version": env!("CARGO_PKG_VERSION"),
        "wire_version": answer::VERSION,
        "started": model::time::wire(call.app.started),
    });
    let fields = values.as_object_mut().expect("made as an object above");
    for (name, value) in &settings.template_vars {
        fields.insert(name.clone(), json!(value));
    }
    // A page's own announcement goes before the general one.
    let special = match template {
        "spawn_pending.html" => Some("announcement_spawn".to_owned()),
        name => name.strip_suffix(".html").map(|name| format!("announcement_{name}")),
    };
    if let Some(text) = special.and_then(|name| fields.get(&name).cloned()) {
        fields.insert("announcement".to_owned(), text);
    }
    fields.insert("notices".to_owned(), json!(notices::shown(call)));
    if let Value::Object(own) = own {
        fields.extend(own);
    }
    let templates = call.app.templates.load();
    let text = templates.render(template, values).map_err(|error| {
        tracing::error!(template, error = %error, "template failed");
        Error::failed("this page cannot be shown: its template failed")
    })?;
    let mut out = answer::html(status, text);
    let policy = call.page_policy(None);
    answer::put(&mut out, header::CONTENT_SECURITY_POLICY, &policy);
    Ok(out)
}

/// The services of the bar's menu: those with a page, to whoever may use them.
fn services(call: &Call) -> Vec<Value> {
    if call.who.is_none() {
        return Vec::new();
    }
    let all = call.image.services().filter(|it| {
        it.display && it.url.is_some() && call.covers(ACCESS, Resource::Service(it.name.as_str()))
    });
    all.map(|it| json!({ "name": it.name.as_str(), "prefix": call.facts().service_url(&it.name) }))
        .collect()
}

/// `next`, if it leads to us.
pub(crate) fn given_next(call: &Call) -> Option<String> {
    let next = call.query.get("next").filter(|next| !next.is_empty())?;
    let target = call.inside(next);
    if target.is_none() {
        tracing::warn!("next url refused");
    }
    target
}

/// Where somebody who is signed in goes when the request does not say (`spec/oauth-and-cookies.md` 7.1).
pub(crate) fn next_or_default(call: &Call, user: &jovis_actors::domain::User) -> String {
    if let Some(next) = given_next(call) {
        return next;
    }
    let hub = &call.settings.hub;
    let target = if !hub.default_url.is_empty() {
        hub.default_url.clone()
    } else if !hub.redirect_to_server {
        format!("{}home", call.hub())
    } else {
        let active = call
            .fresh()
            .servers_of(user.id)
            .any(|it| it.key.name.is_default() && it.state.is_active());
        if active {
            model::server::url(call.facts(), user, "")
        } else {
            format!("{}spawn", call.hub())
        }
    };
    form::with_query(&target, &call.query.without(&["next", "_xsrf"]))
}

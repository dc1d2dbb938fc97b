//! The hub itself: version and make.

use http::StatusCode;
use serde_json::json;

use crate::{
    config::sections::{AuthClass, SpawnerClass},
    web::{
        answer::{self, Answer, VERSION},
        call::Call,
    },
};

/// The root: how servers see at their start that the hub is there. For everybody.
pub(crate) async fn root(_call: &Call) -> Answer {
    Ok(answer::json(StatusCode::OK, &json!({ "version": VERSION })))
}

/// What it is made of. There is no Python here; the fields stay, as clients expect texts in them.
pub(crate) async fn info(call: &Call) -> Answer {
    let spawner = match call.settings.spawner.class {
        SpawnerClass::Local(_) => "Local",
        SpawnerClass::Simple(_) => "Simple",
        SpawnerClass::Docker(_) => "Docker",
    };
    let authenticator = match call.settings.auth.class {
        AuthClass::Pam(_) => "Pam",
        AuthClass::Dummy(_) => "Dummy",
        AuthClass::GitHub(_) => "GitHub",
        AuthClass::Oidc(_) => "Oidc",
    };
    let class = |name: &str| json!({"class": name, "version": env!("CARGO_PKG_VERSION")});
    let body = json!({
        "version": VERSION,
        "python": "",
        "sys_executable": "",
        "spawner": class(spawner),
        "authenticator": class(authenticator),
    });
    Ok(answer::json(StatusCode::OK, &body))
}

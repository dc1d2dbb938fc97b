//! What concerns everybody: the announcement, maintenance, the end of the hub.

use http::{Method, StatusCode};
use jovis_actors::domain::{
    notice::{Drained, Level},
    scope::Resource,
};
use serde_json::{Map, Value, json};

use super::{act, enter, told};
use crate::web::{
    answer::{self, Answer},
    api::notices,
    call::Call,
    error::Error,
    form::Form,
    model::time::wire,
};

const ANNOUNCEMENT: &str = "/api/announcement";
const MAINTENANCE: &str = "/api/maintenance";

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    enter(call)?;
    page(call, StatusCode::OK, json!({}))
}

fn page(call: &mut Call, status: StatusCode, more: Value) -> Answer {
    call.may(notices::MAINTAIN.or(super::ADMIN_USERS), Resource::Hub)?;
    let count = |fits: &dyn Fn(&jovis_actors::domain::Server) -> bool| {
        call.image.servers().filter(|server| fits(server)).count()
    };
    let announced = call.image.announcement().filter(|it| it.is_shown(call.now)).map(|it| {
        json!({
            "text": it.text, "level": if it.level == Level::Warning { "warning" } else { "info" },
            "until": it.until.map(wire), "by": it.by, "since": wire(it.since),
        })
    });
    let maintenance = call.image.maintenance().map(|it| {
        let idle = it.drain.map(|drain| match drain.whom {
            Drained::Idle(seconds) => seconds / 60,
            Drained::All => 0,
        });
        json!({
            "message": it.message, "until": it.until.map(wire), "by": it.by, "since": wire(it.since),
            "drain": it.drain.map(|drain| match drain.whom {
                Drained::Idle(_) => "idle",
                Drained::All => "all",
            }),
            "idle": idle, "from": it.drain.map(|drain| wire(drain.from)),
        })
    });
    let mut own = json!({
        "announced": announced,
        "in_maintenance": maintenance,
        "running": count(&|server| server.state.is_ready()),
        "pending": count(&|server| server.state.pending().is_some()),
        "can_announce": call.covers(super::ADMIN_USERS, Resource::Hub),
        "longest": jovis_actors::accounts::LONGEST_TEXT,
    });
    super::merge(&mut own, more);
    super::show(call, "admin_hub.html", "hub", status, own)
}

/// Its forms.
pub(crate) async fn act(call: &mut Call) -> Answer {
    let form = act::form(call).await?;
    enter(call)?;
    match done(call, &form).await {
        Ok(true) => super::back(call, "admin/hub", ""),
        // Who ends the hub is told before it is gone.
        Ok(false) => page(call, StatusCode::ACCEPTED, json!({"ending": true})),
        Err(error) => {
            let (status, problem) = told(&error);
            let more = json!({"problem": problem, "typed": typed(&form)});
            Ok(answer::with_retry(page(call, status, more)?, &error))
        }
    }
}

/// What was written in the form, for it to be mended.
fn typed(form: &Form) -> Value {
    let field = |name: &str| (name.to_owned(), json!(form.get(name).unwrap_or_default()));
    let fields = ["act", "text", "level", "message", "drain", "idle"].map(field);
    Value::Object(fields.into_iter().collect::<Map<_, _>>())
}

/// Does it; false if the hub is ending.
async fn done(call: &mut Call, form: &Form) -> Result<bool, Error> {
    let text = |name: &str| form.get(name).unwrap_or_default().trim();
    match text("act") {
        "announce" => {
            let until = until(call, form, "hours", "ends")?;
            let level = if text("level") == "warning" { "warning" } else { "info" };
            let body = json!({"text": text("text"), "level": level, "until": until});
            act::api(call, Method::PUT, ANNOUNCEMENT, &[], Some(body)).await?;
        }
        "withdraw" => {
            act::api(call, Method::DELETE, ANNOUNCEMENT, &[], None).await?;
        }
        "begin" => {
            let until = until(call, form, "hours", "ends")?;
            let from = until_minutes(call, form)?;
            let drain = match text("drain") {
                "all" => json!({"servers": "all", "from": from}),
                "idle" => {
                    let minutes: u32 = match text("idle") {
                        "" => 10,
                        text => text
                            .parse()
                            .ok()
                            .filter(|minutes| *minutes <= 100_000)
                            .ok_or_else(|| Error::bad("the minutes must be a whole number"))?,
                    };
                    json!({"servers": "idle", "idle_seconds": minutes * 60, "from": from})
                }
                _ => Value::Null,
            };
            let body = json!({"message": text("message"), "until": until, "drain": drain});
            act::api(call, Method::PUT, MAINTENANCE, &[], Some(body)).await?;
        }
        "end" => {
            act::api(call, Method::DELETE, MAINTENANCE, &[], None).await?;
        }
        "shutdown" => {
            if form.get("sure").is_none() {
                return Err(Error::bad("nothing was ended: tick the box to say that you mean it"));
            }
            let body = match text("servers") {
                "stop" => json!({"servers": true}),
                "keep" => json!({"servers": false}),
                _ => json!({}),
            };
            act::api(call, Method::POST, "/api/shutdown", &[], Some(body)).await?;
            return Ok(false);
        }
        _ => return Err(Error::bad("the form says nothing to be done")),
    }
    Ok(true)
}

/// So many hours from now on, as people plan; or what the present one says where they did not touch it.
fn until(call: &Call, form: &Form, hours: &str, kept: &str) -> Result<Option<String>, Error> {
    match form.get(hours).unwrap_or_default().trim() {
        "" => Ok(form.get(kept).filter(|text| !text.is_empty()).map(ToOwned::to_owned)),
        text => {
            let hours: f64 = text.replace(',', ".").parse().unwrap_or(f64::NAN);
            if !(0.0..=87_600.0).contains(&hours) || hours == 0.0 {
                return Err(Error::bad("the hours must be a number greater than 0"));
            }
            let span = std::time::Duration::from_secs_f64(hours * 3_600.0);
            Ok(Some(wire(call.now.plus(span))))
        }
    }
}

/// From when on servers are stopped: so many minutes from now.
fn until_minutes(call: &Call, form: &Form) -> Result<String, Error> {
    let minutes = match form.get("wait").unwrap_or_default().trim() {
        "" => 0,
        text => text
            .parse::<u32>()
            .ok()
            .filter(|minutes| *minutes <= 100_000)
            .ok_or_else(|| Error::bad("the minutes must be a whole number"))?,
    };
    Ok(wire(call.now.plus(std::time::Duration::from_secs(u64::from(minutes) * 60))))
}

//! Announcement and maintenance: ours, JupyterHub has neither. Everybody who is known may read them. Announcing takes
//! `admin:users` for all users, since it speaks to all of them; maintenance takes `shutdown`, since whoever may end the hub
//! may keep it quiet. Those may start servers meanwhile, to try whether the work is done.

use http::StatusCode;
use jovis_actors::{
    accounts::{self, NewAnnouncement, NewMaintenance},
    domain::{
        Maintenance, Moment,
        notice::{Drain, Drained, Level},
        scope::Mask,
    },
};
use serde_json::{Map, Value, json};
use tracing::info;

use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    model::time::{self, wire, wire_or_null},
};

/// Who may begin and end maintenance.
pub(crate) const MAINTAIN: Mask = Mask::of(&["shutdown"]);

/// Idle servers are those not used for so long, unless told otherwise.
const IDLE: u32 = 600;

/// What is announced.
pub(crate) async fn announced(call: &Call) -> Answer {
    call.known()?;
    Ok(answer::json(StatusCode::OK, &announcement(call)))
}

fn announcement(call: &Call) -> Value {
    match call.image.announcement().filter(|it| it.is_shown(call.now)) {
        None => json!({"text": "", "level": "info", "until": null, "by": null, "since": null}),
        Some(it) => json!({
            "text": it.text, "level": it.level, "until": wire_or_null(it.until), "by": it.by,
            "since": wire(it.since),
        }),
    }
}

/// Announces something, in the place of what was before.
pub(crate) async fn announce(call: &mut Call) -> Answer {
    let fields = object(call.json().await?, &["text", "level", "until"])?;
    let text = text(&fields, "text")?;
    let level = match text_or_null(&fields, "level")? {
        None | Some("info") => Level::Info,
        Some("warning") => Level::Warning,
        Some(_) => return Err(Error::bad("level must be info or warning")),
    };
    let by = call.known()?.name().to_owned();
    let new = NewAnnouncement { text, level, until: moment(&fields, "until")?, by };
    call.change(move |image, _, now| accounts::announce(image, new, now)).await?;
    info!("announcement made");
    Ok(answer::json(StatusCode::OK, &announcement(call)))
}

/// Takes it back.
pub(crate) async fn withdraw(call: &mut Call) -> Answer {
    call.change(|image, _, _| accounts::withdraw(image)).await?;
    info!("announcement withdrawn");
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Is there maintenance?
pub(crate) async fn maintenance(call: &Call) -> Answer {
    call.known()?;
    Ok(answer::json(StatusCode::OK, &about(call.image.maintenance().map(|it| &**it))))
}

fn about(maintenance: Option<&Maintenance>) -> Value {
    let Some(it) = maintenance else {
        return json!({
            "active": false, "message": "", "until": null, "drain": null, "by": null, "since": null
        });
    };
    let drain = it.drain.map(|drain| {
        let (servers, idle) = match drain.whom {
            Drained::All => ("all", None),
            Drained::Idle(seconds) => ("idle", Some(seconds)),
        };
        json!({"servers": servers, "idle_seconds": idle, "from": wire(drain.from)})
    });
    json!({
        "active": true, "message": it.message, "until": wire_or_null(it.until), "drain": drain, "by": it.by,
        "since": wire(it.since),
    })
}

/// Begins it, or changes it.
pub(crate) async fn begin(call: &mut Call) -> Answer {
    let body = call.json().await?.unwrap_or_else(|| json!({}));
    let fields = object(Some(body), &["message", "until", "drain"])?;
    let message = text_or_null(&fields, "message")?.unwrap_or_default().to_owned();
    let drain = match fields.get("drain") {
        None | Some(Value::Null) => None,
        Some(drain) => Some(drained(drain, call.now)?),
    };
    let by = call.known()?.name().to_owned();
    let new = NewMaintenance { message, until: moment(&fields, "until")?, drain, by };
    let servers = match new.drain.map(|drain| drain.whom) {
        None => "none",
        Some(Drained::Idle(_)) => "idle",
        Some(Drained::All) => "all",
    };
    call.change(move |image, _, now| accounts::begin_maintenance(image, new, now)).await?;
    info!(servers, "maintenance begun");
    Ok(answer::json(StatusCode::OK, &about(call.image.maintenance().map(|it| &**it))))
}

/// Ends it.
pub(crate) async fn end(call: &mut Call) -> Answer {
    call.change(|image, _, _| accounts::end_maintenance(image)).await?;
    info!("maintenance ended");
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Which servers are to be stopped.
fn drained(value: &Value, now: Moment) -> Result<Drain, Error> {
    let fields = object(Some(value.clone()), &["servers", "idle_seconds", "from"])?;
    let idle = match fields.get("idle_seconds") {
        None | Some(Value::Null) => None,
        Some(number) => {
            let whole = number.as_u64().and_then(|number| u32::try_from(number).ok());
            Some(whole.ok_or_else(|| Error::bad("idle_seconds must be a whole number"))?)
        }
    };
    let whom = match (text_or_null(&fields, "servers")?, idle) {
        (Some("all"), None) => Drained::All,
        (Some("idle"), idle) => Drained::Idle(idle.unwrap_or(IDLE)),
        (Some("all"), Some(_)) => {
            return Err(Error::bad("idle_seconds goes with servers: \"idle\" only"));
        }
        _ => return Err(Error::bad("drain.servers must be idle or all")),
    };
    Ok(Drain { whom, from: moment(&fields, "from")?.unwrap_or(now) })
}

fn object(body: Option<Value>, known: &[&str]) -> Result<Map<String, Value>, Error> {
    let Some(Value::Object(fields)) = body else { return Err(Error::bad("expected an object")) };
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Error::bad(format!("unknown field: {key}"))),
        None => Ok(fields),
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, Error> {
    let text = text_or_null(fields, name)?;
    text.map(ToOwned::to_owned).ok_or_else(|| Error::bad(format!("{name} must be a string")))
}

fn text_or_null<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Error> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::bad(format!("{name} must be a string"))),
    }
}

/// A moment, if one is named.
fn moment(fields: &Map<String, Value>, name: &str) -> Result<Option<Moment>, Error> {
    let text = text_or_null(fields, name)?.filter(|text| !text.is_empty());
    let read = |text| time::parse(text).ok_or_else(|| Error::bad(format!("{name} is no date")));
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_drained_is_said_in_one_way() {
        let now = Moment(5);
        let read = |value: Value| drained(&value, now).map_err(|it| it.status.as_u16());
        let from = |whom| Ok(Drain { whom, from: now });
        assert_eq!(read(json!({"servers": "all"})), from(Drained::All));
        assert_eq!(read(json!({"servers": "idle"})), from(Drained::Idle(IDLE)));
        let at = json!({"servers": "idle", "idle_seconds": 60, "from": "1970-01-02T00:00:00Z"});
        let wanted = Drain { whom: Drained::Idle(60), from: Moment(86_400_000_000) };
        assert_eq!(read(at), Ok(wanted));
        for bad in [
            json!([]),
            json!({}),
            json!({"servers": "some"}),
            json!({"servers": true}),
            json!({"servers": "all", "idle_seconds": 1}),
            json!({"servers": "idle", "idle_seconds": -1}),
            json!({"servers": "idle", "idle_seconds": 1.5}),
            json!({"servers": "all", "from": "tomorrow"}),
            json!({"servers": "all", "to": null}),
        ] {
            assert_eq!(read(bad.clone()), Err(400), "{bad}");
        }
    }
}

//! `POST {hub}api/shutdown`: ends the whole of jovis (`spec/rest-api.md` 4.1).

use http::StatusCode;
use serde_json::{Value, json};
use tracing::info;

use super::said;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

/// Has root end everything; answered as soon as that has begun. `servers`: do user servers go too? If it is not said, it
/// is as `shutdown.servers` says. The proxy goes in any case, after what it has in hand: nobody could keep it in step.
pub(crate) async fn begin(call: &mut Call) -> Answer {
    let asked = read(call.json().await?)?;
    let servers = match asked.servers {
        None => "default",
        Some(false) => "keep",
        Some(true) => "stop",
    };
    info!(servers, "shutdown asked for");
    call.app.doors.halt(asked.servers).await?;
    Ok(answer::json(StatusCode::ACCEPTED, &json!({"message": "jovis is ending"})))
}

#[derive(Debug, PartialEq)]
struct Asked {
    servers: Option<bool>,
}

fn read(body: Option<Value>) -> Result<Asked, Error> {
    let fields = match said(body) {
        None => return Ok(Asked { servers: None }),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad("expected an object")),
    };
    let flag = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(Error::bad(format!("{key} must be true or false, not {other}"))),
    };
    flag("proxy")?;
    Ok(Asked { servers: flag("servers")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_booleans_say_what_ends() {
        let servers =
            |body: Value| read(Some(body)).map(|it| it.servers).map_err(|it| it.status.as_u16());
        assert_eq!(read(None).unwrap(), Asked { servers: None });
        assert_eq!(servers(json!({})), Ok(None));
        assert_eq!(servers(json!({"proxy": false})), Ok(None));
        assert_eq!(servers(json!({"proxy": true, "servers": true})), Ok(Some(true)));
        assert_eq!(servers(json!({"servers": false, "other": 1})), Ok(Some(false)));
        for bad in [
            json!({"servers": 1}),
            json!({"servers": null}),
            json!({"servers": "true"}),
            json!({"proxy": "no"}),
            json!([true]),
            json!("stop"),
        ] {
            assert_eq!(servers(bad.clone()), Err(400), "{bad}");
        }
    }
}

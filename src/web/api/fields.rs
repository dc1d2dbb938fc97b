//! Fields of JSON bodies: each has one type, and one that nobody knows is refused.

use serde_json::{Map, Value};

use crate::web::error::Error;

/// What a field must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// An object.
    Object,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Flag => "true or false",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// The body's fields, each known and of its type; none where there is no body. 400 for anything else. `null` is no type.
pub(crate) fn read(
    body: Option<Value>,
    known: &[(&str, Kind)],
) -> Result<Option<Map<String, Value>>, Error> {
    let fields = match body {
        None => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad("expected an object")),
    };
    for (name, value) in &fields {
        match known.iter().find(|(known, _)| known == name) {
            None => return Err(Error::bad(format!("unknown field: {name}"))),
            Some((_, kind)) if !kind.fits(value) => {
                return Err(Error::bad(format!("{name} must be {}", kind.words())));
            }
            Some(_) => {}
        }
    }
    Ok(Some(fields))
}

/// A list of strings; 400 if one is something else. Nothing where there is none.
pub(crate) fn texts<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<Vec<&'a str>>, Error> {
    let Some(Value::Array(items)) = fields.get(name) else { return Ok(None) };
    let text = |item: &'a Value| {
        item.as_str().ok_or_else(|| Error::bad(format!("{name} must be a list of strings")))
    };
    items.iter().map(text).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: &[(&str, Kind)] = &[
        ("text", Kind::Text),
        ("flag", Kind::Flag),
        ("list", Kind::List),
        ("object", Kind::Object),
    ];

    #[test]
    fn each_field_has_its_type() {
        let status = |body| {
            read(Some(body), KNOWN).map(|it| it.unwrap().len()).map_err(|it| it.status.as_u16())
        };
        let right = json!({"text": "", "flag": false, "list": [], "object": {}});
        assert_eq!(status(right), Ok(4));
        assert_eq!(status(json!({})), Ok(0));
        assert_eq!(read(None, KNOWN).unwrap(), None);
        for bad in [
            json!([]),
            json!("text"),
            json!(1),
            json!({"other": 1}),
            json!({"text": 1}),
            json!({"text": null}),
            json!({"flag": 0}),
            json!({"flag": "true"}),
            json!({"list": {}}),
            json!({"object": []}),
        ] {
            assert_eq!(status(bad.clone()), Err(400), "{bad}");
        }
    }

    #[test]
    fn a_list_of_strings_has_nothing_else() {
        let fields = json!({"a": ["x", "y"], "b": ["x", 1], "c": []});
        let fields = fields.as_object().unwrap();
        assert_eq!(texts(fields, "a").unwrap(), Some(vec!["x", "y"]));
        assert_eq!(texts(fields, "b").unwrap_err().status.as_u16(), 400);
        assert_eq!(texts(fields, "c").unwrap(), Some(vec![]));
        assert_eq!(texts(fields, "d").unwrap(), None);
    }
}

//! What a provider's word says about a person: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::config::sections::claims_in;

/// Claims, by name.
pub(super) type Claims = Map<String, Value>;

/// Most characters of a name.
const LONGEST: usize = 255;

/// The claim of this name; where there is none, the one at this path: `realm_access.roles`.
pub(super) fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    let found = claims.get(path).or_else(|| {
        let mut steps = path.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    });
    found.filter(|value| !value.is_null())
}

/// The name of a user: the template with claims in it, without this end.
///
/// # Errors
///
/// A claim is missing, empty, or no text; or the name is too long.
pub(super) fn username(template: &str, suffix: &str, claims: &Claims) -> Result<String, String> {
    let mut name = template.to_owned();
    for claim in claims_in(template)? {
        let text = match find(claims, claim) {
            Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
            Some(Value::Number(number)) if number.is_u64() => number.to_string(),
            Some(_) => return Err(format!("the claim `{claim}` is no name")),
            None => return Err(format!("there is no claim `{claim}`")),
        };
        if text.contains(['{', '}']) {
            return Err(format!("the claim `{claim}` is no name"));
        }
        name = name.replace(&format!("{{{claim}}}"), &text);
    }
    if name.chars().count() > LONGEST {
        return Err("the name is too long".to_owned());
    }
    let cut = name.strip_suffix(suffix).filter(|cut| !cut.is_empty()).map(ToOwned::to_owned);
    Ok(cut.unwrap_or(name))
}

/// The groups a person is in; a claim that is not there: none.
///
/// # Errors
///
/// It is no list of texts, or stands elsewhere.
pub(super) fn groups(path: &str, claims: &Claims) -> Result<Vec<String>, String> {
    let unfit = || format!("the claim `{path}` is no list of texts");
    match find(claims, path) {
        // Entra ID names where they could be had when there are too many; to take that for none would end memberships.
        None if claims.get("_claim_names").is_some_and(|names| names.get(path).is_some()) => {
            Err(format!("the claim `{path}` is too long for the provider to tell"))
        }
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(all)) => {
            all.iter().map(|one| one.as_str().map(ToOwned::to_owned).ok_or_else(unfit)).collect()
        }
        Some(_) => Err(unfit()),
    }
}

/// Are these claims among those values?
///
/// # Errors
///
/// The claim that is not.
pub(super) fn meets(
    required: &BTreeMap<String, BTreeSet<String>>,
    claims: &Claims,
) -> Result<(), String> {
    for (path, values) in required {
        let has = |value: &Value| value.as_str().is_some_and(|text| values.contains(text));
        let met = match find(claims, path) {
            Some(Value::Array(all)) => all.iter().any(has),
            Some(one) => has(one),
            None => false,
        };
        if !met {
            return Err(format!("the claim `{path}` is not what is required"));
        }
    }
    Ok(())
}

/// Has the provider verified the address? (Some write it as a text.)
pub(super) fn is_email_verified(claims: &Claims) -> bool {
    if claims.get("email").and_then(Value::as_str).is_none_or(str::is_empty) {
        return false;
    }
    match claims.get("email_verified") {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(claims) = value else { unreachable!() };
        claims
    }

    #[test]
    fn a_name_is_made_of_claims() {
        let all = claims(json!({
            "email": "Bob@example.org", "sub": "1", "id": 7, "a": {"b": "x"}, "a.c": "y",
            "none": null, "list": [], "empty": " ", "brace": "{email}", "float": 1.5,
        }));
        let name = |template: &str| username(template, "@example.org", &all);
        assert_eq!(name("{email}"), Ok("Bob".to_owned()));
        assert_eq!(name("u-{sub}-{id}"), Ok("u-1-7".to_owned()));
        assert_eq!(name("{a.b}{a.c}"), Ok("xy".to_owned()));
        for bad in ["{gone}", "{none}", "{list}", "{empty}", "{brace}", "{float}", "{a}", "{", "x"]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert_eq!(username("{email}", "Bob@example.org", &all), Ok("Bob@example.org".to_owned()));
        let long = claims(json!({"email": "x".repeat(300)}));
        assert!(username("{email}", "", &long).is_err());
    }

    #[test]
    fn groups_are_a_list_of_texts_or_nobody_is_told_anything() {
        let of = |value: Value| groups("g", &claims(json!({"g": value})));
        assert_eq!(of(json!(["a", "b"])), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of(json!("a")), Ok(vec!["a".to_owned()]));
        assert_eq!(of(json!(null)), Ok(Vec::new()));
        for bad in [json!(1), json!({"a": 1}), json!(["a", 1]), json!([["a"]])] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
        let nested = claims(json!({"realm_access": {"roles": ["r"]}}));
        assert_eq!(groups("realm_access.roles", &nested), Ok(vec!["r".to_owned()]));
        let elsewhere = claims(json!({"_claim_names": {"g": "src1"}}));
        assert!(groups("g", &elsewhere).is_err());
    }

    #[test]
    fn required_claims_are_met_by_one_of_their_values() {
        let required = [("hd".to_owned(), ["a.org".to_owned(), "b.org".to_owned()].into())].into();
        for (value, good) in [
            (json!({"hd": "a.org"}), true),
            (json!({"hd": ["x", "b.org"]}), true),
            (json!({"hd": "c.org"}), false),
            (json!({"hd": "A.org"}), false),
            (json!({"hd": {"a.org": 1}}), false),
            (json!({}), false),
        ] {
            assert_eq!(meets(&required, &claims(value.clone())).is_ok(), good, "{value}");
        }
    }

    #[test]
    fn an_address_is_verified_when_the_provider_says_so() {
        for (value, good) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!(1), false),
            (json!("True "), false),
        ] {
            let all = claims(json!({"email": "a@b", "email_verified": value}));
            assert_eq!(is_email_verified(&all), good, "{all:?}");
        }
        assert!(!is_email_verified(&claims(json!({"email": "a@b"}))));
        assert!(!is_email_verified(&claims(json!({"email_verified": true}))));
    }
}

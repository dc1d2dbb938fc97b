//! The form on which somebody chooses what a server is started with: its fields from the profiles that are offered, with
//! what was chosen last, or what was typed and why that cannot be.

use http::StatusCode;
use jovis_actors::{
    domain::{
        ServerName, User,
        options::{Chosen, Fault, PROFILE, UNLISTED, Wrong, preset},
        profile::{Offer, OptionKind, Profile, ProfileOption},
    },
    spawners::Trouble,
};
use serde_json::{Map, Value, json};

use super::{page, trouble};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    choice,
    error::Error,
    form::{self, Form},
    model, terminal,
    words::{Words, mark},
};

/// Before the name of an option in the form: all profiles' fields stand there at once. (As KubeSpawner names them.)
const FIELD: &str = "profile-option-";
/// Lines of a server's own output that the form shows after a start that failed at once.
const LINES: usize = 20;

/// What was tried before, and what came of it.
#[derive(Default)]
pub(super) struct Tried {
    /// The form as it was sent.
    pub(super) fields: Option<Form>,
    /// What was chosen by it, or by the link.
    pub(super) given: Option<Map<String, Value>>,
    /// What is wrong with that.
    pub(super) faults: Vec<Fault>,
    /// Why the start was refused.
    pub(super) error: Option<Error>,
    /// Why it ended at once.
    pub(super) trouble: Option<Trouble>,
}

/// Is there anything this user can choose, so that a form is worth while? Also where all of it is for others: then the
/// form says so.
pub(super) fn asks(call: &Call, user: &User) -> bool {
    let is_in = choice::is_in(call, user);
    let offered = choice::offered(call, user);
    let open = |one: &&Profile| one.profile_options.iter().any(|option| option.is_open(&is_in));
    choice::is_asked(call) && (offered.len() != 1 || offered.iter().any(open))
}

fn field(profile: &Profile, option: &ProfileOption) -> String {
    format!("{FIELD}{}--{}", profile.slug, option.name)
}

/// A form as if only the chosen profile's fields had been in it, under the options' own names. Who sends those gets what
/// he says, too.
pub(super) fn plain(call: &Call, sent: &Form) -> Form {
    if !choice::is_asked(call) {
        return sent.clone();
    }
    let slug = sent.get(PROFILE).unwrap_or_default();
    let own = format!("{FIELD}{slug}--");
    let kept = sent.pairs().filter_map(|(name, value)| match name.strip_prefix(FIELD) {
        None => Some((name, value)),
        Some(_) => name.strip_prefix(&own).map(|name| (name, value)),
    });
    kept.collect()
}

/// The page with the form.
pub(super) fn form(call: &mut Call, user: &User, server: &ServerName, tried: Tried) -> Answer {
    let words = call.words();
    let last = choice::remembered(call, user, server.as_str());
    let status = status(&tried, last.is_err());
    let profiles: Vec<Value> = match &last {
        Ok(last) => fields(call, user, last, &tried),
        Err(_) => Vec::new(),
    };
    let error = match (&tried.error, &tried.trouble, &last) {
        (Some(error), ..) => Some(refusal(words, error)),
        (_, Some(it), _) => {
            let cause = trouble::cause(words, &it.cause);
            Some(words.fill("The server could not be started: {cause}.", &[("cause", &cause)]))
        }
        (_, _, Err(fault)) => Some(wrong(words, &fault.wrong)),
        _ if tried.faults.is_empty() => None,
        _ => {
            let mut all = words.say("Not everything is right yet.").to_owned();
            // What belongs to no field is told here.
            for fault in tried.faults.iter().filter(|fault| fault.wrong == Wrong::NoSuchOption) {
                all.push_str(&format!(" {}: {}", fault.field, wrong(words, &fault.wrong)));
            }
            Some(all)
        }
    };
    let other = call.person().is_ok_and(|person| person.id != user.id);
    let page_path = model::server::page_path(user, server.as_str());
    let target = format!("{}spawn/{page_path}", call.hub());
    let query = call.query.pairs().filter(|(name, _)| ["next", "display_name"].contains(name));
    let query = form::encode(query);
    let values = json!({
        "url": form::with_query(&target, &query),
        "for_user": other.then(|| user.name.as_str()),
        "server_name": server.as_str(),
        "error_message": error,
        "advice": tried.trouble.as_ref().map(|it| words.say(trouble::advice(&it.cause, &it.tail, true))),
        "tail": tried.trouble.as_ref().map(|it| terminal::last_lines(&it.tail, LINES)),
        "profiles": profiles,
        "spawner_options_form": true,
    });
    let retry_after = tried.error.as_ref().and_then(|error| error.retry_after);
    let out = page(call, "spawn.html", status, values)?;
    let error = Error { status, message: None, retry_after };
    Ok(answer::with_retry(out, &error))
}

fn status(tried: &Tried, nothing: bool) -> StatusCode {
    match &tried.error {
        Some(error) => error.status,
        None if tried.trouble.is_some() => StatusCode::INTERNAL_SERVER_ERROR,
        None if nothing => StatusCode::FORBIDDEN,
        None if tried.faults.is_empty() => StatusCode::OK,
        None => StatusCode::BAD_REQUEST,
    }
}

/// Why a start was refused, for who can wait.
fn refusal(words: &Words, error: &Error) -> String {
    let seconds = error.retry_after.map(|seconds| seconds.to_string());
    match (error.status, &seconds) {
        (StatusCode::TOO_MANY_REQUESTS, Some(seconds)) => words.fill(
            "Too many servers are waiting to be started. Try again in {seconds} seconds.",
            &[("seconds", seconds)],
        ),
        (StatusCode::TOO_MANY_REQUESTS, None) => {
            words.say("Too many servers are running. Try again in a few minutes.").to_owned()
        }
        _ => {
            let text = error.message.as_deref().unwrap_or_default();
            words.fill("The server could not be started: {cause}.", &[("cause", text)])
        }
    }
}

/// What is wrong with a field.
fn wrong(words: &Words, wrong: &Wrong) -> String {
    let number = |value: &f64| value.to_string();
    match wrong {
        Wrong::NoProfile => {
            words.say("There is no profile that you may use. Ask an administrator.").to_owned()
        }
        Wrong::NoSuchChoice => words.say("This is not offered (any more).").to_owned(),
        Wrong::NotAllowed => words.say("This is not for you to choose.").to_owned(),
        Wrong::NoSuchOption => words.say("There is no such option.").to_owned(),
        Wrong::NotText => words.say("One text is expected here.").to_owned(),
        Wrong::NotNumber => words.say("A number is expected here.").to_owned(),
        Wrong::Missing => words.say("Please fill this in.").to_owned(),
        Wrong::TooSmall(least) => {
            words.fill("At least {least} is needed.", &[("least", &number(least))])
        }
        Wrong::TooLarge(most) => {
            words.fill("At most {most} is possible.", &[("most", &number(most))])
        }
        Wrong::BetweenSteps { min, step } => words.fill(
            "Only steps of {step} are possible, from {min} on.",
            &[("step", &number(step)), ("min", &number(min))],
        ),
        Wrong::TooLong(most) => {
            words.fill("At most {most} characters are possible.", &[("most", &most.to_string())])
        }
        Wrong::Unshowable => words.say("It holds characters that cannot be shown.").to_owned(),
        Wrong::Pattern(own) if !own.is_empty() => own.clone(),
        Wrong::Pattern(_) => words.say("It does not have the form that is needed.").to_owned(),
        Wrong::TooMuch => words.say("All of it together is too long.").to_owned(),
        Wrong::NoAmount(name) => words.fill(
            mark("The profile sets {name} to no amount. Tell an administrator."),
            &[("name", name)],
        ),
    }
}

/// The profiles with their fields.
fn fields(call: &Call, user: &User, last: &Chosen, tried: &Tried) -> Vec<Value> {
    let (words, is_in) = (call.words(), choice::is_in(call, user));
    let offered = choice::offered(call, user);
    let tried_slug = tried.given.as_ref().and_then(|given| given.get(PROFILE)).and_then(one);
    let known = tried_slug.filter(|slug| offered.iter().any(|profile| profile.slug == *slug));
    let first = preset(&offered).map(|profile| profile.slug.clone()).unwrap_or_default();
    let chosen = match (known, &tried.given) {
        (Some(slug), _) => slug,
        // A link without a profile means the one nobody has chosen.
        (None, Some(_)) => first,
        (None, None) => last.profile.clone(),
    };
    let at_profile = |name: &str| {
        let fault = tried.faults.iter().find(|fault| fault.field == name);
        fault.map(|fault| wrong(words, &fault.wrong))
    };
    let profile = |profile: &&Profile| {
        let is_chosen = profile.slug == chosen;
        let open = profile.profile_options.iter().filter(|option| option.is_open(&is_in));
        let options = open.map(|option| {
            let name = field(profile, option);
            let typed = |name: &str, own: &str| {
                let sent = tried.fields.as_ref().and_then(|sent| sent.get(name));
                let given = tried.given.as_ref().filter(|_| is_chosen);
                let given = given.and_then(|given| given.get(own)).and_then(one);
                sent.map(ToOwned::to_owned).or(given)
            };
            let remembered = (profile.slug == last.profile).then(|| last.values.get(&option.name));
            let value = remembered.flatten().cloned().unwrap_or_else(|| option.preset());
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let value = typed(&name, &option.name).unwrap_or(value);
            let other = typed(&format!("{name}{UNLISTED}"), &format!("{}{UNLISTED}", option.name));
            let fault = is_chosen.then(|| at_profile(&option.name)).flatten();
            an_option(option, &name, &value, other, fault)
        });
        json!({
            "slug": profile.slug,
            "label": profile.label(),
            "description": profile.description,
            "checked": is_chosen,
            "options": options.collect::<Vec<_>>(),
        })
    };
    let mut all: Vec<Value> = offered.iter().map(profile).collect();
    if let (Some(error), Some(first)) = (at_profile(PROFILE), all.first_mut()) {
        first["error"] = json!(error);
    }
    all
}

/// The text in a value, or in a list of one.
fn one(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) if items.len() == 1 => one(&items[0]),
        _ => None,
    }
}

fn an_option(
    option: &ProfileOption,
    name: &str,
    value: &str,
    other: Option<String>,
    error: Option<String>,
) -> Value {
    let offers = |all: &[Offer]| {
        let offer = |offer: &Offer| json!({ "value": offer.value, "label": offer.label(), "selected": offer.value == value });
        Value::from(all.iter().map(offer).collect::<Vec<_>>())
    };
    let mut out = json!({
        "name": name,
        "id": name.replace('.', "_"),
        "label": option.label(),
        "help": option.help,
        "value": value,
        "error": error,
    });
    let set = match &option.kind {
        OptionKind::Choice(it) => json!({ "kind": "choice", "choices": offers(&it.choices) }),
        OptionKind::Number(it) => json!({
            "kind": "number", "min": it.min.to_string(), "max": it.max.to_string(), "unit": it.unit,
            "step": if it.step > 0.0 { it.step.to_string() } else { "any".to_owned() },
        }),
        OptionKind::Text(it) => json!({ "kind": "text", "max_length": it.max_length }),
        OptionKind::Image(it) => {
            let listed = it.choices.iter().any(|offer| offer.value == value);
            // What was named last stands in the field for it.
            let typed =
                other.unwrap_or_else(|| if listed { String::new() } else { value.to_owned() });
            let unlisted = it.unlisted_choice.enabled.then(|| {
                json!({
                    "name": format!("{name}{UNLISTED}"),
                    "label": it.unlisted_choice.display_name,
                    "value": typed,
                })
            });
            json!({ "kind": "image", "choices": offers(&it.choices), "unlisted": unlisted })
        }
    };
    if let (Value::Object(out), Value::Object(set)) = (&mut out, set) {
        out.extend(set);
    }
    out
}

//! Profiles: names, choices, limits, patterns, and what they set.

use std::collections::BTreeSet;

use jovis_actors::domain::{
    GroupName,
    options::{LONGEST, RESERVED, pattern},
};

use super::Say;
use crate::config::{
    Config,
    sections::{Number, Offer, OptionKind, Overrides, Profile, ProfileOption, Text},
};

/// Where a finding belongs: the profile by its number, and what of it is meant, in words.
struct At<'a> {
    nth: &'a str,
    of: String,
}

const OPTIONS: &str = "spawner.profiles.profile_options";

pub(super) fn profiles(say: &mut Say<'_>, config: &Config) {
    let (mut slugs, mut default) = (BTreeSet::new(), None);
    for (nth, one) in config.spawner.profiles.iter().enumerate() {
        let nth = nth.to_string();
        if !is_slug(&one.slug) {
            let words =
                format!("{:?} is no slug: 1 to 63 lower-case letters, digits and - . _", one.slug);
            say.error_in("spawner.profiles.slug", &nth, words);
        } else if !slugs.insert(one.slug.as_str()) {
            let words = format!("profile {} stands there twice", one.slug);
            say.error_in("spawner.profiles.slug", &nth, words);
        }
        if one.default
            && let Some(first) = default.replace(&one.slug)
        {
            let words = format!("{first} is the default already; the first of them is taken");
            say.warn_in("spawner.profiles.default", &nth, words);
        }
        groups(say, "spawner.profiles.groups", &nth, &one.groups);
        options(say, &nth, one);
    }
    let profiles = &config.spawner.profiles;
    if !profiles.is_empty() && profiles.iter().all(|one| !one.groups.is_empty()) {
        say.warn(
            "spawner.profiles",
            "each is for some groups only: whoever is in none of them cannot start a server",
        );
    }
}

fn groups(say: &mut Say<'_>, path: &str, nth: &str, groups: &[String]) {
    for group in groups {
        if GroupName::new(group).is_err() {
            say.error_in(path, nth, format!("{group:?} is no name of a group"));
        }
    }
}

fn options(say: &mut Say<'_>, nth: &str, profile: &Profile) {
    let mut names = BTreeSet::new();
    for option in &profile.profile_options {
        let at = At { nth, of: format!("{}, {}: ", profile.slug, option.name) };
        let name = option.name.as_str();
        if !is_name(name) {
            let words = "it is no name of an option: 1 to 30 lower-case letters, digits, - and _, a letter first";
            at.error(say, &format!("{OPTIONS}.name"), words);
        } else if RESERVED.contains(&name) {
            at.error(say, &format!("{OPTIONS}.name"), "this name means something else already");
        } else if !names.insert(name) {
            at.error(say, &format!("{OPTIONS}.name"), "this option stands there twice");
        }
        groups(say, &format!("{OPTIONS}.groups"), nth, &option.groups);
        kind(say, &at, option);
    }
    let holes: Vec<&str> = names.into_iter().collect();
    let at = At { nth, of: format!("{}: ", profile.slug) };
    overrides(say, &at, "spawner.profiles.overrides", &profile.overrides, &holes);
    for option in &profile.profile_options {
        let (variant, offers) = match &option.kind {
            OptionKind::Choice(it) => ("Choice", &it.choices),
            OptionKind::Image(it) => ("Image", &it.choices),
            OptionKind::Number(_) | OptionKind::Text(_) => continue,
        };
        let path = format!("{OPTIONS}.kind.{variant}.choices.overrides");
        for offer in offers {
            let of = format!("{}, {}, {}: ", profile.slug, option.name, offer.value);
            overrides(say, &At { nth, of }, &path, &offer.overrides, &holes);
        }
    }
}

fn kind(say: &mut Say<'_>, at: &At<'_>, option: &ProfileOption) {
    match &option.kind {
        OptionKind::Choice(it) => {
            offers(say, at, "Choice", &it.choices, &it.default, false);
            if it.choices.is_empty() {
                at.error(
                    say,
                    &format!("{OPTIONS}.kind.Choice.choices"),
                    "there is nothing to choose from",
                );
            }
        }
        OptionKind::Image(it) => {
            let other = &it.unlisted_choice;
            offers(say, at, "Image", &it.choices, &it.default, other.enabled);
            let path = format!("{OPTIONS}.kind.Image.unlisted_choice.validation_regex");
            regex(say, at, &path, &other.validation_regex);
            if it.choices.is_empty() && it.default.is_empty() {
                at.error(
                    say,
                    &format!("{OPTIONS}.kind.Image.default"),
                    "without choices a default is needed",
                );
            }
        }
        OptionKind::Number(it) => number(say, at, it),
        OptionKind::Text(it) => text(say, at, option, it),
    }
}

fn offers(
    say: &mut Say<'_>,
    at: &At<'_>,
    variant: &str,
    all: &[Offer],
    default: &str,
    other: bool,
) {
    let path = |field: &str| format!("{OPTIONS}.kind.{variant}.{field}");
    let mut values = BTreeSet::new();
    for offer in all {
        let plain = offer.value.chars().all(|c| !c.is_control());
        if offer.value.is_empty() || offer.value.len() > 255 || !plain {
            at.error(say, &path("choices.value"), "a value has 1 to 255 visible characters");
        } else if !values.insert(offer.value.as_str()) {
            at.error(say, &path("choices.value"), &format!("{} stands there twice", offer.value));
        }
    }
    if !default.is_empty() && !values.contains(default) && !other {
        at.error(say, &path("default"), &format!("{default:?} is none of the choices"));
    }
}

fn number(say: &mut Say<'_>, at: &At<'_>, it: &Number) {
    let path = |field: &str| format!("{OPTIONS}.kind.Number.{field}");
    let finite = [it.min, it.max, it.step, it.default].iter().all(|one| one.is_finite());
    if !finite || it.max <= it.min {
        return at.error(say, &path("max"), "it has to be more than `min`");
    }
    if it.step < 0.0 || it.step > it.max - it.min {
        return at.error(
            say,
            &path("step"),
            "it has to lie between 0 and the distance of `min` and `max`",
        );
    }
    let option = ProfileOption { kind: OptionKind::Number(it.clone()), ..ProfileOption::default() };
    let steps = (it.default - it.min) / it.step;
    let between = it.step > 0.0 && (steps - steps.round()).abs() > 1e-6;
    if !(it.min..=it.max).contains(&it.default) || between {
        let words = format!("{} is not among what can be chosen", option.preset());
        at.error(say, &path("default"), &words);
    }
}

fn text(say: &mut Say<'_>, at: &At<'_>, option: &ProfileOption, it: &Text) {
    let path = |field: &str| format!("{OPTIONS}.kind.Text.{field}");
    if !(1..=LONGEST).contains(&it.max_length) {
        at.error(say, &path("max_length"), "1 to 1000 characters are possible");
    }
    regex(say, at, &path("pattern"), &it.pattern);
    let other = Text { default: format!("{}x", it.default), ..it.clone() };
    let other = ProfileOption { kind: OptionKind::Text(other), ..option.clone() };
    if !it.default.is_empty()
        && let Err(wrong) = other.value(&option.preset())
    {
        at.error(say, &path("default"), &wrong.to_string());
    }
}

fn regex(say: &mut Say<'_>, at: &At<'_>, path: &str, text: &str) {
    if let Err(error) = pattern(text) {
        // The last line says it; those above draw the pattern with what is put around it.
        let error = error.to_string();
        let words = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        at.error(say, path, &format!("no regular expression: {words}"));
    }
}

fn overrides(say: &mut Say<'_>, at: &At<'_>, path: &str, set: &Overrides, holes: &[&str]) {
    for (name, value) in &set.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let words = format!("{name:?} is no name of a variable, or its value no text");
            at.error(say, &format!("{path}.environment"), &words);
        }
    }
    if set.cmd.first().is_some_and(String::is_empty) {
        at.error(say, &format!("{path}.cmd"), "the first is a program");
    }
    let mut nul = false;
    set.clone().each(|text| nul |= text.contains('\0'));
    if nul {
        at.error(say, path, "there is a NUL byte in it");
    }
    let filled = |text: &str| holes.iter().any(|hole| text.contains(&format!("{{{hole}}}")));
    if !filled(&set.mem_limit) && set.memory().is_err() {
        at.error(say, &format!("{path}.mem_limit"), "it is no amount; write bytes or `2G`");
    }
    if !filled(&set.cpu_limit) && set.processors().is_err() {
        at.error(say, &format!("{path}.cpu_limit"), "it is no number of processors, such as `0.5`");
    }
    let known = ["username", "base_url", "port"];
    set.clone().each(|text| {
        let mut rest = text.as_str();
        while let Some((_, from)) = rest.split_once('{') {
            rest = from;
            let Some((hole, after)) = from.split_once('}') else { break };
            if is_name(hole) && !holes.contains(&hole) && !known.contains(&hole) {
                let words =
                    format!("{{{hole}}} is no option of this profile, so it stays as it is");
                at.warn(say, path, &words);
                rest = after;
            }
        }
    });
}

impl At<'_> {
    fn error(&self, say: &mut Say<'_>, path: &str, words: &str) {
        say.error_in(path, self.nth, format!("{}{words}", self.of));
    }
    fn warn(&self, say: &mut Say<'_>, path: &str, words: &str) {
        say.warn_in(path, self.nth, format!("{}{words}", self.of));
    }
}

fn is_slug(slug: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    (1..=63).contains(&slug.len())
        && slug.bytes().all(plain)
        && slug.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    (1..=30).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.contains("--")
}

//! The rules of choosing: what may be chosen by whom, what of it is wrong, and what it sets. Pure, and the only place for
//! it: the form, the REST API, the `opt-` query and root itself all ask here. What is offered stands in
//! [`super::profile`].

use std::{collections::BTreeMap, fmt};

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::profile::{
    Choice, Image, Number, Offer, OptionKind, Overrides, Profile, ProfileOption, Text,
};

/// The name under which the profile is chosen.
pub const PROFILE: &str = "profile";
/// Behind the name of an option: an image that is not on its list.
pub const UNLISTED: &str = "--unlisted-choice";
/// Names that no option may have: they mean something else where options are named.
pub const RESERVED: [&str; 8] =
    [PROFILE, "username", "base_url", "port", "next", "display_name", "_xsrf", "user_options"];
/// Most bytes of all values together: they travel to where the server is started.
pub const MOST_BYTES: usize = 8 * 1024;
/// Most characters of any text.
pub const LONGEST: u32 = 1000;
/// Most bytes a compiled pattern may take.
const PATTERN_SIZE: usize = 1 << 20;

/// What is wrong with one field of a choice.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field}: {wrong}")]
pub struct Fault {
    /// [`PROFILE`], or the name of the option.
    pub field: String,
    /// What is wrong.
    pub wrong: Wrong,
}

impl Fault {
    fn new(field: &str, wrong: Wrong) -> Self {
        Self { field: field.to_owned(), wrong }
    }
}

/// What can be wrong, in words for the person who chose.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Wrong {
    /// There is no profile for this user.
    #[error("there is no profile that you may use")]
    NoProfile,
    /// There is no such profile or choice.
    #[error("there is no such choice")]
    NoSuchChoice,
    /// There is, but not for this user.
    #[error("this is not for you to choose")]
    NotAllowed,
    /// The profile has no such option.
    #[error("there is no such option")]
    NoSuchOption,
    /// A list, an object or the like.
    #[error("a text is expected")]
    NotText,
    /// Not a finite number.
    #[error("a number is expected")]
    NotNumber,
    /// Nothing was given.
    #[error("please fill this in")]
    Missing,
    /// Below the least.
    #[error("at least {0} is needed")]
    TooSmall(f64),
    /// Above the most.
    #[error("at most {0} is possible")]
    TooLarge(f64),
    /// Between two steps.
    #[error("only steps of {step} are possible, from {min} on")]
    BetweenSteps {
        /// The first.
        min: f64,
        /// From one to the next.
        step: f64,
    },
    /// Too many characters.
    #[error("at most {0} characters are possible")]
    TooLong(u32),
    /// Line breaks, escape codes and the like.
    #[error("it holds characters that cannot be shown")]
    Unshowable,
    /// The pattern does not match; the configuration's own words, if there are any.
    #[error("{}", if .0.is_empty() { "it does not have the form that is needed" } else { .0 })]
    Pattern(String),
    /// All values together are too long.
    #[error("all of it together is too long")]
    TooMuch,
    /// What is set by it is no amount (the configuration's fault).
    #[error("the profile sets {0} to no amount; tell your administrator")]
    NoAmount(&'static str),
}

/// What was chosen, checked: names and values that are offered, a value for each option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Which profile.
    pub profile: String,
    /// The options' values: texts and numbers.
    pub values: BTreeMap<String, Value>,
}

impl Chosen {
    /// As it is kept with the server and told by the API.
    pub fn options(&self) -> Map<String, Value> {
        let profile = (PROFILE.to_owned(), Value::from(self.profile.as_str()));
        [profile].into_iter().chain(self.values.clone()).collect()
    }
}

/// Whether the user is in this group.
pub type InGroup<'a> = &'a dyn Fn(&str) -> bool;

/// May somebody of such groups use what these groups may use?
fn open(groups: &[String], is_in: InGroup<'_>) -> bool {
    groups.is_empty() || groups.iter().any(|group| is_in(group))
}

impl Profile {
    /// For people.
    pub fn label(&self) -> &str {
        if self.display_name.is_empty() { &self.slug } else { &self.display_name }
    }
}

impl ProfileOption {
    /// For people.
    pub fn label(&self) -> &str {
        if self.display_name.is_empty() { &self.name } else { &self.display_name }
    }

    /// May somebody of such groups choose here?
    pub fn is_open(&self, is_in: InGroup<'_>) -> bool {
        open(&self.groups, is_in)
    }

    /// Its value where nobody has chosen.
    pub fn preset(&self) -> Value {
        let first = |default: &str, offers: &[Offer]| {
            let first = offers.first().map_or("", |offer| offer.value.as_str());
            Value::from(if default.is_empty() { first } else { default })
        };
        match &self.kind {
            OptionKind::Choice(it) => first(&it.default, &it.choices),
            OptionKind::Image(it) => first(&it.default, &it.choices),
            OptionKind::Number(it) => number(it.default),
            OptionKind::Text(it) => Value::from(it.default.as_str()),
        }
    }

    /// This value, if it may be chosen: of the right type, offered, within its limits.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn value(&self, given: &Value) -> Result<Value, Wrong> {
        let given = single(given)?;
        // What stands there by itself is right, also where it is empty.
        if *given == self.preset() {
            return Ok(given.clone());
        }
        match &self.kind {
            OptionKind::Choice(it) => it.value(text(given)?),
            OptionKind::Image(it) => it.value(text(given)?),
            OptionKind::Number(it) => it.value(given),
            OptionKind::Text(it) => it.value(text(given)?),
        }
    }

    /// What the choice of this value sets.
    fn overrides(&self, value: &Value) -> Option<&Overrides> {
        let (OptionKind::Choice(Choice { choices, .. }) | OptionKind::Image(Image { choices, .. })) =
            &self.kind
        else {
            return None;
        };
        let offer = choices.iter().find(|offer| Some(offer.value.as_str()) == value.as_str());
        offer.map(|offer| &offer.overrides)
    }
}

impl Offer {
    /// For people.
    pub fn label(&self) -> &str {
        if self.display_name.is_empty() { &self.value } else { &self.display_name }
    }
}

impl Choice {
    fn value(&self, text: &str) -> Result<Value, Wrong> {
        listed(&self.choices, text).ok_or(Wrong::NoSuchChoice)
    }
}

impl Image {
    fn value(&self, text: &str) -> Result<Value, Wrong> {
        if let Some(listed) = listed(&self.choices, text) {
            return Ok(listed);
        }
        let other = &self.unlisted_choice;
        if !other.enabled {
            return Err(Wrong::NoSuchChoice);
        }
        if text.is_empty() {
            return Err(Wrong::Missing);
        }
        showable(text, 255)?;
        match matches(&other.validation_regex, text) {
            true => Ok(Value::from(text)),
            false => Err(Wrong::Pattern(other.validation_message.clone())),
        }
    }
}

impl Text {
    fn value(&self, text: &str) -> Result<Value, Wrong> {
        showable(text, self.max_length.min(LONGEST))?;
        match matches(&self.pattern, text) {
            true => Ok(Value::from(text)),
            false => Err(Wrong::Pattern(self.pattern_help.clone())),
        }
    }
}

impl Number {
    fn value(&self, given: &Value) -> Result<Value, Wrong> {
        let value = match given {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.trim().is_empty() => return Err(Wrong::Missing),
            Value::String(text) => decimal(text.trim()),
            _ => None,
        };
        let value = value.filter(|value| value.is_finite()).ok_or(Wrong::NotNumber)?;
        if value < self.min {
            return Err(Wrong::TooSmall(self.min));
        }
        if value > self.max {
            return Err(Wrong::TooLarge(self.max));
        }
        let steps = (value - self.min) / self.step;
        if self.step > 0.0 && (steps - steps.round()).abs() > 1e-6 {
            return Err(Wrong::BetweenSteps { min: self.min, step: self.step });
        }
        Ok(number(value))
    }
}

/// Plain digits, not what else a machine calls a number.
fn decimal(text: &str) -> Option<f64> {
    let plain =
        text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    plain.then(|| text.parse().ok()).flatten()
}

/// A number without a fraction it does not have.
fn number(value: f64) -> Value {
    // Larger ones are not told apart by their last digit anyhow.
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    if whole { Value::from(value as i64) } else { Value::from(value) }
}

/// Forms send lists: one of one is meant as what is in it.
fn single(given: &Value) -> Result<&Value, Wrong> {
    match given {
        Value::Array(items) => match items.as_slice() {
            [one @ (Value::String(_) | Value::Number(_))] => Ok(one),
            _ => Err(Wrong::NotText),
        },
        other => Ok(other),
    }
}

fn text(given: &Value) -> Result<&str, Wrong> {
    given.as_str().ok_or(Wrong::NotText)
}

fn listed(offers: &[Offer], text: &str) -> Option<Value> {
    offers.iter().any(|offer| offer.value == text).then(|| Value::from(text))
}

/// One line of a bounded length, with nothing in it that acts on whoever reads it.
fn showable(text: &str, most: u32) -> Result<(), Wrong> {
    if text.chars().count() > most as usize {
        return Err(Wrong::TooLong(most));
    }
    if text.chars().any(|c| c.is_control() || is_turning(c)) {
        return Err(Wrong::Unshowable);
    }
    Ok(())
}

/// What turns the direction of a text, or breaks its line.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A pattern as it is used: it must match the whole text, in time linear to it.
///
/// # Errors
///
/// It is no pattern, or one that is too large.
pub fn pattern(pattern: &str) -> Result<regex::Regex, regex::Error> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(PATTERN_SIZE).build()
}

/// What is no pattern matches nothing: the check of the configuration says so.
fn matches(wanted: &str, text: &str) -> bool {
    wanted.is_empty() || pattern(wanted).is_ok_and(|wanted| wanted.is_match(text))
}

/// The profiles somebody of such groups may use, in their order.
pub fn offered<'a>(profiles: &'a [Profile], is_in: InGroup<'_>) -> Vec<&'a Profile> {
    profiles.iter().filter(|profile| open(&profile.groups, is_in)).collect()
}

/// Whichever is used where nobody has chosen.
pub fn preset<'a>(offered: &[&'a Profile]) -> Option<&'a Profile> {
    offered.iter().find(|profile| profile.default).or(offered.first()).copied()
}

/// What was asked for, checked: all that is wrong with it, or a value for each option of a profile.
///
/// # Errors
///
/// A fault for each field that is wrong.
pub fn check(
    profiles: &[Profile],
    is_in: InGroup<'_>,
    given: &Map<String, Value>,
) -> Result<Chosen, Vec<Fault>> {
    let profile = profile(profiles, is_in, given.get(PROFILE)).map_err(|fault| vec![fault])?;
    let (mut values, mut faults) = (BTreeMap::new(), Vec::new());
    for option in &profile.profile_options {
        let other = given.get(&format!("{}{UNLISTED}", option.name)).filter(|it| !is_blank(it));
        let image = matches!(option.kind, OptionKind::Image(_));
        let asked = other.filter(|_| image).or_else(|| given.get(&option.name));
        let outcome = match asked {
            None => Ok(option.preset()),
            Some(asked) if option.is_open(is_in) => option.value(asked),
            // Saying what holds anyhow does no harm.
            Some(asked) if single(asked) == Ok(&option.preset()) => Ok(option.preset()),
            Some(_) => Err(Wrong::NotAllowed),
        };
        match outcome {
            Ok(value) => drop(values.insert(option.name.clone(), value)),
            Err(wrong) => faults.push(Fault::new(&option.name, wrong)),
        }
    }
    let known = |name: &str| {
        name == PROFILE
            || profile.profile_options.iter().any(|option| match name.strip_suffix(UNLISTED) {
                Some(of) => option.name == of && matches!(option.kind, OptionKind::Image(_)),
                None => option.name == name,
            })
    };
    let unknown = given.keys().filter(|name| !known(name));
    faults.extend(unknown.map(|name| Fault::new(&shortened(name), Wrong::NoSuchOption)));
    let chosen = Chosen { profile: profile.slug.clone(), values };
    let size = |value: &Value| value.as_str().map_or(32, str::len);
    if chosen.values.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
        > MOST_BYTES
    {
        faults.push(Fault::new(PROFILE, Wrong::TooMuch));
    }
    if faults.is_empty() { Ok(chosen) } else { Err(faults) }
}

fn is_blank(given: &Value) -> bool {
    single(given).is_ok_and(|one| one.as_str().is_some_and(|text| text.trim().is_empty()))
}

/// Somebody else's name for something, short enough to be repeated.
fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

fn profile<'a>(
    profiles: &'a [Profile],
    is_in: InGroup<'_>,
    given: Option<&Value>,
) -> Result<&'a Profile, Fault> {
    let fault = |wrong| Fault::new(PROFILE, wrong);
    let Some(given) = given else {
        return preset(&offered(profiles, is_in)).ok_or_else(|| fault(Wrong::NoProfile));
    };
    let slug = single(given).and_then(text).map_err(fault)?;
    let found = profiles.iter().find(|profile| profile.slug == slug);
    let found = found.ok_or_else(|| fault(Wrong::NoSuchChoice))?;
    if open(&found.groups, is_in) { Ok(found) } else { Err(fault(Wrong::NotAllowed)) }
}

/// What was chosen last time, as far as it still may be; else what is chosen where nobody has.
///
/// # Errors
///
/// There is no profile for this user.
pub fn remembered(
    profiles: &[Profile],
    is_in: InGroup<'_>,
    last: Option<&Value>,
) -> Result<Chosen, Fault> {
    let last = |name: &str| last.and_then(|last| last.get(name));
    let chosen = profile(profiles, is_in, last(PROFILE));
    let profile = chosen.or_else(|_| profile(profiles, is_in, None))?;
    let value = |option: &ProfileOption| {
        let kept = last(&option.name).filter(|_| option.is_open(is_in));
        kept.and_then(|kept| option.value(kept).ok()).unwrap_or_else(|| option.preset())
    };
    let options = profile.profile_options.iter();
    let values = options.map(|option| (option.name.clone(), value(option))).collect();
    Ok(Chosen { profile: profile.slug.clone(), values })
}

/// The choice that is recorded with a server which is to be started: it must still be right. Where no profile is named
/// (before there were any), what holds where nobody has chosen.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn settle(
    profiles: &[Profile],
    is_in: InGroup<'_>,
    recorded: Option<&Value>,
) -> Result<Chosen, Fault> {
    match recorded.and_then(Value::as_object).filter(|all| all.contains_key(PROFILE)) {
        None => remembered(profiles, is_in, None),
        Some(all) => check(profiles, is_in, all).map_err(|mut faults| faults.swap_remove(0)),
    }
}

/// What a choice sets: the profile's part, then each option's, with the options' values and these `holes` filled in.
///
/// # Errors
///
/// The profile or an option is not there (any more), or what it sets makes no sense.
pub fn apply(
    profiles: &[Profile],
    chosen: &Chosen,
    holes: &BTreeMap<String, String>,
) -> Result<Overrides, Fault> {
    let found = profiles.iter().find(|profile| profile.slug == chosen.profile);
    let profile = found.ok_or_else(|| Fault::new(PROFILE, Wrong::NoSuchChoice))?;
    let mut set = profile.overrides.clone();
    let mut filled = holes.clone();
    for option in &profile.profile_options {
        let default = option.preset();
        let value = chosen.values.get(&option.name).unwrap_or(&default);
        filled.insert(option.name.clone(), plain(value));
        let own = option.overrides(value);
        if matches!(option.kind, OptionKind::Image(_)) && own.is_none_or(|own| own.image.is_empty())
        {
            set.image = plain(value);
        }
        if let Some(own) = own {
            set.take_on(own);
        }
    }
    set.each(|text| *text = fill(text, &filled));
    set.memory().map_err(|wrong| Fault::new(PROFILE, wrong))?;
    set.processors().map_err(|wrong| Fault::new(PROFILE, wrong))?;
    Ok(set)
}

/// As it stands in a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

impl Overrides {
    /// What another one sets goes before.
    fn take_on(&mut self, other: &Self) {
        let texts = |list: &mut Vec<String>, more: &[String]| list.extend_from_slice(more);
        self.environment.extend(other.environment.clone());
        texts(&mut self.args, &other.args);
        if !other.cmd.is_empty() {
            self.cmd.clone_from(&other.cmd);
        }
        for (own, new) in [
            (&mut self.notebook_dir, &other.notebook_dir),
            (&mut self.default_url, &other.default_url),
            (&mut self.image, &other.image),
            (&mut self.mem_limit, &other.mem_limit),
            (&mut self.cpu_limit, &other.cpu_limit),
        ] {
            if !new.is_empty() {
                own.clone_from(new);
            }
        }
    }

    /// Every text in it.
    pub fn each(&mut self, mut change: impl FnMut(&mut String)) {
        self.environment.values_mut().for_each(&mut change);
        self.cmd.iter_mut().chain(&mut self.args).for_each(&mut change);
        let rest = [
            &mut self.notebook_dir,
            &mut self.default_url,
            &mut self.image,
            &mut self.mem_limit,
            &mut self.cpu_limit,
        ];
        rest.into_iter().for_each(change);
    }

    /// Most bytes of memory, if that is said.
    ///
    /// # Errors
    ///
    /// What is said is no amount.
    pub fn memory(&self) -> Result<Option<u64>, Wrong> {
        amount(&self.mem_limit).map_err(|()| Wrong::NoAmount("mem_limit"))
    }

    /// Most processors, if that is said.
    ///
    /// # Errors
    ///
    /// What is said is no amount.
    pub fn processors(&self) -> Result<Option<f64>, Wrong> {
        if self.cpu_limit.is_empty() {
            return Ok(None);
        }
        let count = decimal(&self.cpu_limit).filter(|count| count.is_finite() && *count > 0.0);
        count.map(Some).ok_or(Wrong::NoAmount("cpu_limit"))
    }
}

/// `1073741824`, `1G`, `0.5 G`: bytes, as JupyterHub reads them.
fn amount(text: &str) -> Result<Option<u64>, ()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (count, unit) = match text.char_indices().next_back() {
        Some((at, 'K')) => (&text[..at], 1_u64 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        Some((at, 'T')) => (&text[..at], 1 << 40),
        _ => (text, 1),
    };
    let count = decimal(count.trim()).filter(|count| (0.0..1e15).contains(count)).ok_or(())?;
    Ok(Some((count * unit as f64) as u64))
}

/// Fills `{name}` for the holes there are, in one pass: what was filled in is not looked at again.
pub fn fill(template: &str, holes: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        let hole = from.split_once('}').and_then(|(name, after)| Some((holes.get(name)?, after)));
        rest = match hole {
            Some((value, after)) => {
                filled.push_str(value);
                after
            }
            None => {
                filled.push('{');
                from
            }
        };
    }
    filled + rest
}

/// All faults in one sentence, for clients that show one.
pub fn in_one(faults: &[Fault]) -> String {
    struct List<'a>(&'a [Fault]);
    impl fmt::Display for List<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (nth, fault) in self.0.iter().take(20).enumerate() {
                write!(f, "{}{fault}", if nth == 0 { "" } else { "; " })?;
            }
            Ok(())
        }
    }
    List(faults).to_string()
}

#[cfg(test)]
mod tests;

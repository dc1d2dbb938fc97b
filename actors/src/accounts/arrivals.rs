//! Somebody an authenticator vouches for becomes a user, or is found to be one.
//!
//! Who is vouched for as a subject of an issuer is that subject's user from then on, whatever name the issuer gives later;
//! and a name that is some subject's is no other subject's of the same issuer. (OpenID Connect Core 1.0, section 5.7.)

use std::{collections::BTreeSet, sync::Arc};

use thiserror::Error;

use super::{
    Decided,
    users::{NewUser, made},
};
use crate::{
    domain::{External, Group, GroupId, GroupName, Moment, Subject, User, UserId, Username},
    store::{Image, Write},
};

/// Most groups of one user that an authenticator may tell of.
pub const MOST_GROUPS: usize = 1_000;

/// Why somebody who was vouched for is no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ArrivalRefused {
    /// The name is somebody else's of the same provider.
    #[error("the name belongs to somebody else of this provider")]
    Taken,
}

/// Somebody an authenticator vouches for, and who may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The name of a new user. Who is found by `outside` keeps the one there is.
    pub name: Username,
    /// [`User::cookie_id`] of a new user: signing in does not end sessions elsewhere.
    pub cookie_id: String,
    /// Sets or revokes; none: as it is.
    pub admin: Option<bool>,
    /// See [`User::user_info`]; none: as it is.
    pub info: Option<serde_json::Value>,
    /// Who it is elsewhere, if it is a provider's word.
    pub outside: Option<Outside>,
    /// The groups the user is in, made where they are new; none: as they are.
    pub groups: Option<BTreeSet<GroupName>>,
}

/// A provider's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Who it is there; none where the provider has no lasting word for people.
    pub subject: Option<Subject>,
    /// By which way.
    pub way: String,
    /// What is kept about the user, sealed.
    pub kept: Option<String>,
}

impl Arrived {
    /// Is this user, who arrives, to be told apart by something new, or to get or lose a right?
    pub fn changes_rights(&self, image: &Image, user: &User) -> bool {
        let subject = self.outside.as_ref().and_then(|outside| outside.subject.as_ref());
        let new_subject = subject.is_some_and(|it| image.user_of(it).is_none());
        let groups = self.groups.as_ref().is_some_and(|wanted| {
            let now: BTreeSet<_> = image.groups_of(user.id).map(|group| &group.name).collect();
            !now.into_iter().eq(wanted.iter())
        });
        self.admin.is_some_and(|admin| admin != user.admin) || new_subject || groups
    }

    /// By name alone.
    pub fn named(name: Username, cookie_id: String) -> Self {
        Self { name, cookie_id, admin: None, info: None, outside: None, groups: None }
    }
}

/// The user who is meant, if the hub knows one.
///
/// # Errors
///
/// The name is another's.
pub fn known<'a>(
    image: &'a Image,
    name: &Username,
    subject: Option<&Subject>,
) -> Result<Option<&'a Arc<User>>, ArrivalRefused> {
    let by_name = image.user_named(name.as_str());
    let Some(subject) = subject else { return Ok(by_name) };
    if let Some(user) = image.user_of(subject) {
        return Ok(Some(user));
    }
    let taken = by_name
        .and_then(|user| image.external(user.id))
        .is_some_and(|external| external.of(&subject.issuer).is_some());
    if taken { Err(ArrivalRefused::Taken) } else { Ok(by_name) }
}

/// The user after signing in: made if new.
pub fn sign_in(image: &Image, who: &Arrived, now: Moment) -> Decided<Arc<User>, ArrivalRefused> {
    let subject = who.outside.as_ref().and_then(|outside| outside.subject.as_ref());
    let found = known(image, &who.name, subject)?;
    let mut last = image.next_id() - 1;
    let mut writes = Vec::new();
    let user = if let Some(found) = found {
        let mut user = User::clone(found);
        user.admin = who.admin.unwrap_or(user.admin);
        user.user_info = who.info.clone().or(user.user_info);
        if user == **found {
            found.clone()
        } else {
            let user = Arc::new(user);
            writes.push(Write::User(user.clone()));
            user
        }
    } else {
        last += 1;
        let new = NewUser { name: who.name.clone(), cookie_id: who.cookie_id.clone() };
        let new = made(last, new, who.admin.unwrap_or(false), now);
        let user = Arc::new(User { user_info: who.info.clone(), ..new });
        writes.push(Write::User(user.clone()));
        user
    };
    if let Some(groups) = &who.groups {
        writes.extend(membership(image, user.id, groups, &mut last));
    }
    if let Some(outside) = &who.outside {
        writes.extend(external(image, user.id, outside, now));
    }
    if last >= image.next_id() {
        writes.insert(0, Write::IdsUsed(last));
    }
    Ok((writes, user))
}

/// The user is in these groups and no others.
fn membership(
    image: &Image,
    user: UserId,
    wanted: &BTreeSet<GroupName>,
    last: &mut u64,
) -> Vec<Write> {
    let mut writes = Vec::new();
    for name in wanted {
        let group = image.group_named(name.as_str()).map(|group| group.id).unwrap_or_else(|| {
            *last += 1;
            let group = GroupId(*last);
            let new = Group { id: group, name: name.clone(), properties: Arc::default() };
            writes.push(Write::Group(Arc::new(new)));
            group
        });
        if !image.is_member(group, user) {
            writes.push(Write::Member(group, user));
        }
    }
    let others = image.groups_of(user).filter(|group| !wanted.contains(&group.name));
    writes.extend(others.map(|group| Write::MemberGone(group.id, user)));
    writes
}

/// How old the record of a check may get before a check that found nothing new is recorded, in microseconds: an hour.
const OLD: i64 = 3_600_000_000;

fn external(image: &Image, user: UserId, outside: &Outside, now: Moment) -> Option<Write> {
    let before = image.external(user);
    let mut subjects = before.map(|it| it.subjects.clone()).unwrap_or_default();
    if let Some(subject) = &outside.subject
        && !subjects.contains(subject)
    {
        subjects.push(subject.clone());
    }
    let new = External {
        user,
        subjects,
        way: outside.way.clone(),
        kept: outside.kept.clone(),
        checked: now,
    };
    let same = before.is_some_and(|old| {
        External { checked: old.checked, ..new.clone() } == **old && now.0 - old.checked.0 < OLD
    });
    (!same).then(|| Write::External(Arc::new(new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000);

    fn name(text: &str) -> Username {
        Username::new(text).unwrap()
    }

    fn from(id: &str, text: &str) -> Arrived {
        let subject = Subject { issuer: "https://idp".to_owned(), id: id.to_owned() };
        let outside = Outside { subject: Some(subject), way: String::new(), kept: None };
        Arrived { outside: Some(outside), ..Arrived::named(name(text), format!("{id}'s")) }
    }

    fn arrive(image: &mut Image, who: &Arrived) -> Result<Arc<User>, ArrivalRefused> {
        let (writes, user) = sign_in(image, who, NOW)?;
        writes.iter().for_each(|write| image.apply(write));
        Ok(user)
    }

    #[test]
    fn a_subject_stays_the_same_user_under_any_name() {
        let mut image = Image::default();
        let bob = arrive(&mut image, &from("1", "bob")).unwrap();
        let renamed = arrive(&mut image, &from("1", "robert")).unwrap();
        assert_eq!((renamed.id, renamed.name.as_str()), (bob.id, "bob"));
        assert_eq!(image.user_count(), 1);
        assert_eq!(sign_in(&image, &from("1", "bob"), NOW).unwrap().0, Vec::new(), "nothing new");
    }

    #[test]
    fn a_name_is_not_given_on_to_another_subject() {
        let mut image = Image::default();
        arrive(&mut image, &from("1", "bob")).unwrap();
        assert_eq!(arrive(&mut image, &from("2", "bob")), Err(ArrivalRefused::Taken));
        // Somebody of another provider is whoever has that name: prefixes keep them apart.
        let mut other = from("2", "bob");
        other.outside.as_mut().unwrap().subject.as_mut().unwrap().issuer = "https://else".into();
        let bob = arrive(&mut image, &other).unwrap();
        assert_eq!(image.external(bob.id).unwrap().subjects.len(), 2);
        assert_eq!(arrive(&mut image, &from("2", "bob")), Err(ArrivalRefused::Taken));
        image.apply(&Write::ExternalGone(bob.id));
        assert_eq!(arrive(&mut image, &from("2", "bob")).unwrap().id, bob.id);
    }

    #[test]
    fn who_was_there_by_name_is_found_at_the_first_visit() {
        let mut image = Image::default();
        let bob = arrive(&mut image, &Arrived::named(name("bob"), "b".into())).unwrap();
        assert_eq!(arrive(&mut image, &from("1", "bob")).unwrap().id, bob.id);
    }

    #[test]
    fn groups_are_as_they_were_told() {
        let mut image = Image::default();
        let told = |names: &[&str]| Arrived {
            groups: Some(names.iter().map(|it| GroupName::new(it).unwrap()).collect()),
            ..from("1", "bob")
        };
        let bob = arrive(&mut image, &told(&["a", "b"])).unwrap();
        let groups = |image: &Image| -> Vec<String> {
            image.groups_of(bob.id).map(|group| group.name.to_string()).collect()
        };
        assert_eq!(groups(&image), ["a", "b"]);
        arrive(&mut image, &told(&["b", "c"])).unwrap();
        assert_eq!(groups(&image), ["b", "c"]);
        assert_eq!(sign_in(&image, &told(&["c", "b"]), NOW).unwrap().0, Vec::new());
        arrive(&mut image, &from("1", "bob")).unwrap();
        assert_eq!(groups(&image), ["b", "c"], "nothing said, nothing changed");
        arrive(&mut image, &told(&[])).unwrap();
        assert!(groups(&image).is_empty());
        assert_eq!(image.groups().count(), 3);
        assert_eq!(image.next_id(), 5, "a user and three groups");
    }

    #[test]
    fn what_is_kept_is_the_latest_and_the_check_is_noted_once_an_hour() {
        let mut image = Image::default();
        let mut who = from("1", "bob");
        let bob = arrive(&mut image, &who).unwrap();
        let later = Moment(NOW.0 + OLD);
        assert_eq!(sign_in(&image, &who, later).unwrap().0.len(), 1);
        who.outside.as_mut().unwrap().kept = Some("sealed".to_owned());
        arrive(&mut image, &who).unwrap();
        assert_eq!(image.external(bob.id).unwrap().kept.as_deref(), Some("sealed"));
        let back: Image = Image::gather(image.writes());
        assert_eq!(back, image);
    }
}

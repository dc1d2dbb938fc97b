//! Who may enter: pure. (`spec/auth-and-spawn.md` 1 and 2; DESIGN "Default access".)

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{
    domain::{Naming, User, Username},
    ports::Identity,
};

/// The rules, as configured. Lists are compared with normalised names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Without any allow rule everybody who can be authenticated may enter. (PAM and dummy; no other.)
    pub open: bool,
    /// Everybody may.
    pub allow_all: bool,
    /// These may.
    pub allowed_users: BTreeSet<Username>,
    /// Users the hub knows may. Unset: exactly when `allowed_users` is set.
    pub allow_existing_users: Option<bool>,
    /// These may not, whatever else says so.
    pub blocked_users: BTreeSet<Username>,
    /// These are administrators, and may.
    pub admin_users: BTreeSet<Username>,
    /// Are users in the groups of the hub that their authenticator says?
    pub manage_groups: bool,
    /// Who is in one of these may: groups of a provider where groups are managed, groups of the machine always.
    pub allowed_groups: BTreeSet<String>,
    /// Who is in one of these is an administrator; who is in none, and of whom that is known, is not, unless named in
    /// `admin_users`.
    pub admin_groups: BTreeSet<String>,
    /// Whose name each is.
    pub naming: Naming,
}

/// Why somebody who was authenticated may not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Denied {
    /// Is blocked.
    #[error("user blocked")]
    Blocked,
    /// No rule lets them in.
    #[error("user not allowed")]
    NotAllowed,
}

impl Rules {
    /// Is there any rule that lets somebody in? `admin_users` is none: it makes admins.
    pub fn any(&self) -> bool {
        self.allow_all
            || !self.allowed_users.is_empty()
            || self.allow_existing_users == Some(true)
            || !self.allowed_groups.is_empty()
    }

    /// May they enter, and what becomes of their admin flag (none: it stays as it is)? `known` is the user as
    /// recorded, `who` what the authenticator said.
    pub fn decide(
        &self,
        name: &Username,
        known: Option<&User>,
        who: &Identity,
    ) -> Result<Option<bool>, Denied> {
        if self.blocked_users.contains(name) {
            return Err(Denied::Blocked);
        }
        let managed = who.groups.as_deref().filter(|_| self.manage_groups);
        let known_groups = || [managed, who.unix_groups.as_deref()].into_iter().flatten();
        let of = |groups: &BTreeSet<String>| {
            known_groups().flatten().any(|group| groups.contains(group))
        };
        let by_group = !self.admin_groups.is_empty() && known_groups().next().is_some();
        let admin = who
            .admin
            .or_else(|| self.admin_users.contains(name).then_some(true))
            .or_else(|| by_group.then(|| of(&self.admin_groups)));
        let is_admin = admin.unwrap_or_else(|| known.is_some_and(|user| user.admin));
        let existing = self.allow_existing_users.unwrap_or(!self.allowed_users.is_empty());
        let allowed = is_admin
            || self.allow_all
            || (self.open && !self.any())
            || self.allowed_users.contains(name)
            || (existing && known.is_some())
            || who.allowed
            || of(&self.allowed_groups);
        if allowed { Ok(admin) } else { Err(Denied::NotAllowed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Moment, UserId};

    fn name(text: &str) -> Username {
        Username::new(text).unwrap()
    }

    fn names(list: &[&str]) -> BTreeSet<Username> {
        list.iter().map(|text| name(text)).collect()
    }

    fn said(admin: Option<bool>) -> Identity {
        Identity { admin, ..Identity::named(String::new()) }
    }

    fn known(text: &str, admin: bool) -> User {
        User {
            id: UserId(1),
            name: name(text),
            admin,
            created: Moment(0),
            last_activity: None,
            cookie_id: String::new(),
            user_info: None,
        }
    }

    #[test]
    fn default_access() {
        let open = Rules { open: true, ..Rules::default() };
        let bob = name("bob");
        assert_eq!(open.decide(&bob, None, &said(None)), Ok(None));
        assert_eq!(Rules::default().decide(&bob, None, &said(None)), Err(Denied::NotAllowed));
        let admins = Rules { admin_users: names(&["root"]), ..open.clone() };
        assert_eq!(
            admins.decide(&bob, None, &said(None)),
            Ok(None),
            "admin_users is no allow rule"
        );
        assert_eq!(admins.decide(&name("root"), None, &said(None)), Ok(Some(true)));
        let ruled = Rules { allowed_users: names(&["alice"]), ..admins };
        assert_eq!(ruled.decide(&bob, None, &said(None)), Err(Denied::NotAllowed));
        assert_eq!(
            ruled.decide(&name("root"), None, &said(None)),
            Ok(Some(true)),
            "may always enter"
        );
        assert_eq!(ruled.decide(&name("alice"), None, &said(None)), Ok(None));
    }

    #[test]
    fn blocked_wins() {
        let rules = Rules {
            allow_all: true,
            blocked_users: names(&["bob"]),
            admin_users: names(&["bob"]),
            ..Rules::default()
        };
        let bob = known("bob", true);
        assert_eq!(rules.decide(&bob.name, Some(&bob), &said(Some(true))), Err(Denied::Blocked));
    }

    #[test]
    fn existing_users_are_allowed_by_default_exactly_with_an_allow_list() {
        let bob = known("bob", false);
        for (list, setting, allowed) in [
            (&[][..], None, false),
            (&[], Some(true), true),
            (&["alice"], None, true),
            (&["alice"], Some(false), false),
        ] {
            let rules = Rules {
                allowed_users: names(list),
                allow_existing_users: setting,
                ..Rules::default()
            };
            assert_eq!(
                rules.decide(&bob.name, Some(&bob), &said(None)).is_ok(),
                allowed,
                "{rules:?}"
            );
            assert!(rules.decide(&name("new"), None, &said(None)).is_err());
        }
    }

    #[test]
    fn the_authenticators_word_on_admin_goes_first() {
        let rules = Rules {
            allowed_users: names(&["bob"]),
            admin_users: names(&["bob"]),
            ..Rules::default()
        };
        assert_eq!(rules.decide(&name("bob"), None, &said(Some(false))), Ok(Some(false)));
        let eve = known("eve", true);
        let rules = Rules { allow_existing_users: Some(false), ..rules };
        assert_eq!(rules.decide(&eve.name, Some(&eve), &said(None)), Ok(None), "a recorded admin");
        assert_eq!(
            rules.decide(&eve.name, Some(&eve), &said(Some(false))),
            Err(Denied::NotAllowed)
        );
    }

    #[test]
    fn an_authenticators_own_rule_and_groups_let_in() {
        let bob = name("bob");
        let in_groups = |groups: &[&str]| Identity {
            groups: Some(groups.iter().map(|it| (*it).to_owned()).collect()),
            ..said(None)
        };
        let allowed = Identity { allowed: true, ..said(None) };
        assert_eq!(Rules::default().decide(&bob, None, &allowed), Ok(None));
        let blocked = Rules { blocked_users: names(&["bob"]), ..Rules::default() };
        assert_eq!(blocked.decide(&bob, None, &allowed), Err(Denied::Blocked));
        let rules = Rules {
            open: true,
            manage_groups: true,
            allowed_groups: ["staff".to_owned()].into(),
            admin_groups: ["chiefs".to_owned()].into(),
            admin_users: names(&["root"]),
            ..Rules::default()
        };
        assert_eq!(rules.decide(&bob, None, &in_groups(&["staff"])), Ok(Some(false)));
        assert_eq!(rules.decide(&bob, None, &in_groups(&["chiefs"])), Ok(Some(true)));
        assert_eq!(rules.decide(&bob, None, &in_groups(&["x"])), Err(Denied::NotAllowed));
        let chief = known("bob", true);
        assert_eq!(rules.decide(&bob, Some(&chief), &in_groups(&["staff"])), Ok(Some(false)));
        assert_eq!(rules.decide(&name("root"), None, &in_groups(&[])), Ok(Some(true)));
        assert_eq!(rules.decide(&bob, None, &said(None)), Err(Denied::NotAllowed), "not told");
        let unmanaged = Rules { manage_groups: false, ..rules };
        assert_eq!(
            unmanaged.decide(&bob, None, &in_groups(&["staff"])),
            Err(Denied::NotAllowed),
            "where groups are not managed they mean nothing"
        );
    }
    #[test]
    fn groups_of_the_machine_let_in_and_make_administrators() {
        let bob = name("bob");
        let in_groups = |groups: &[&str]| Identity {
            unix_groups: Some(groups.iter().map(|it| (*it).to_owned()).collect()),
            ..said(None)
        };
        let rules =
            Rules { open: true, allowed_groups: ["staff".to_owned()].into(), ..Rules::default() };
        assert_eq!(rules.decide(&bob, None, &in_groups(&["staff"])), Ok(None));
        assert_eq!(rules.decide(&bob, None, &in_groups(&[])), Err(Denied::NotAllowed));
        assert_eq!(rules.decide(&bob, None, &said(None)), Err(Denied::NotAllowed));
        let rules = Rules {
            admin_groups: ["wheel".to_owned()].into(),
            admin_users: names(&["root2"]),
            ..rules
        };
        assert_eq!(rules.decide(&bob, None, &in_groups(&["staff"])), Ok(Some(false)));
        assert_eq!(rules.decide(&bob, None, &in_groups(&["wheel"])), Ok(Some(true)), "may enter");
        let chief = known("bob", true);
        let out = rules.decide(&bob, Some(&chief), &in_groups(&[]));
        assert_eq!(out, Err(Denied::NotAllowed), "who has left is none any more");
        assert_eq!(
            rules.decide(&bob, Some(&chief), &said(None)),
            Ok(None),
            "of others nothing is known"
        );
        assert_eq!(rules.decide(&name("root2"), None, &in_groups(&[])), Ok(Some(true)));
        let blocked = Rules { blocked_users: names(&["bob"]), ..rules };
        assert_eq!(blocked.decide(&bob, None, &in_groups(&["wheel"])), Err(Denied::Blocked));
    }
}

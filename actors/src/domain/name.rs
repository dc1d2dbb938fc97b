//! Names people type: users, servers, services, groups. A name that exists is valid and normalised.
//!
//! Rules: `spec/rest-api.md` 1.12 and 4.6, and stricter where only an attacker would notice
//! (`SECURITY.md`: control characters, over-long names).

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::quote;

/// Longest user, group or service name, in bytes. Linux account names are at most 32; identity providers use e-mail
/// addresses (254).
pub const MAX_NAME: usize = 255;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Nothing there, or blanks only.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes (30 characters for a server).
    #[error("the name is too long")]
    TooLong,
    /// A character that cannot stand in a name, or a blank at an end.
    #[error("the name has a character that names cannot have")]
    Character,
    /// `.`, `..` and their percent-encoded forms would be path segments.
    #[error("a name cannot consist of dots")]
    Dots,
    /// It does not fit what this site asks of names ([`super::Naming`]).
    #[error("the name is not of the form that auth.username_pattern asks for")]
    Pattern,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it is, if it is one. Does not change case: see [`Username::normalise`].
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The plain text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// The name of a user of the hub; with local spawners also the Unix account.
    Username,
    check_url_name
);
name!(
    /// The name of a server of one user: empty for the default one, else a slug of at most 30 characters.
    ServerName,
    check_slug
);
name!(
    /// The name of a service, as it stands in `/services/NAME`.
    ServiceName,
    check_service_name
);
name!(
    /// The name of a group. JupyterHub does not restrict it; we keep out what cannot be shown.
    GroupName,
    check_visible
);

impl Username {
    /// What a person typed, made a name: blanks at the ends dropped, lower-cased.
    /// (`spec/auth-and-spawn.md` 1, step 3; the map of names is the caller's.)
    pub fn normalise(typed: &str) -> Result<Self, InvalidName> {
        Self::new(&typed.trim().to_lowercase())
    }

    /// As one segment of a URL path (`@` and `~` stay).
    pub fn escaped(&self) -> String {
        quote::segment(&self.0)
    }
}

impl ServerName {
    /// The default server's: the empty name.
    pub fn default_server() -> Self {
        Self("".into())
    }

    /// Is it the default server's?
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_visible(text: &str) -> Result<(), InvalidName> {
    match text {
        "" => Err(InvalidName::Empty),
        _ if text.len() > MAX_NAME => Err(InvalidName::TooLong),
        _ if text.chars().any(char::is_control) => Err(InvalidName::Character),
        _ => Ok(()),
    }
}

/// No percent signs, as JupyterHub has it: they would be taken for escapes sooner or later.
fn check_service_name(text: &str) -> Result<(), InvalidName> {
    check_url_name(text)?;
    if text.contains('%') { Err(InvalidName::Character) } else { Ok(()) }
}

fn check_url_name(text: &str) -> Result<(), InvalidName> {
    check_visible(text)?;
    let plain = quote::unquote(text).ok_or(InvalidName::Character)?;
    if text.trim() != text || text.contains(['/', '\\', '?', '#', ';']) || plain.contains('/') {
        return Err(InvalidName::Character);
    }
    if plain.chars().any(char::is_control) {
        return Err(InvalidName::Character);
    }
    if plain.chars().all(|c| c == '.') {
        return Err(InvalidName::Dots);
    }
    Ok(())
}

fn check_slug(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > 30 {
        return Err(InvalidName::TooLong);
    }
    let legal = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let ends = text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-');
    if legal && ends && !text.contains("--") { Ok(()) } else { Err(InvalidName::Character) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_paths_are_refused() {
        for bad in [
            "", " ", ".", "..", "%2e", "%2E%2e", "a/b", "a%2fb", "a?b", "a#b", "a;b", " a", "a ",
            "a\n", "a%0ab", "%ff",
        ] {
            assert!(Username::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "alice@example.org", "a.b", "..a", "ünal", "a b", "a%b", "100%"] {
            assert!(Username::new(good).is_ok(), "{good:?}");
        }
        assert!(ServiceName::new("a%b").is_err() && ServiceName::new("a b").is_ok());
        assert_eq!(Username::normalise("  Alice ").unwrap().as_str(), "alice");
        assert!(Username::new(&"x".repeat(256)).is_err());
    }

    #[test]
    fn server_names_are_slugs() {
        for good in ["", "a", "a1", "a-b", "lab2"] {
            assert!(ServerName::new(good).is_ok(), "{good:?}");
        }
        for bad in ["-", "1a", "a-", "a--b", "A", "a_b", "a.b", "a/b", &"a".repeat(31)] {
            assert!(ServerName::new(bad).is_err(), "{bad:?}");
        }
    }
}

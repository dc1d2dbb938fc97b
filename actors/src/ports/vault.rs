//! Sealing what is kept about people, so that a copy of the store tells nobody.

use std::fmt;

use crate::domain::Secret;

/// Keys, and what is done with them.
pub trait Vault: Send + Sync + fmt::Debug {
    /// Sealed under the first key; none if it cannot be.
    fn seal(&self, open: &Secret) -> Option<String>;

    /// Opened by whichever key fits; none: by none of them.
    fn open(&self, sealed: &str) -> Option<Secret>;
}

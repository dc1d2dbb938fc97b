//! Sealing what is kept about people, so that a copy of the store tells nobody.

use std::{fmt, sync::Arc};

use crate::domain::Secret;

/// Keys, and what is done with them.
pub trait Vault: Send + Sync + fmt::Debug {
    /// Sealed under the first key; none if it cannot be.
    fn seal(&self, open: &Secret) -> Option<String>;

    /// Opened by whichever key fits; none: by none of them.
    fn open(&self, sealed: &str) -> Option<Secret>;
}

/// A vault, if there is one: a value among settings.
#[derive(Debug, Clone, Default)]
pub struct Keys(pub Option<Arc<dyn Vault>>);

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

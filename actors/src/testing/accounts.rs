//! Accounts from memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::{
    domain::Username,
    ports::{AccountError, Accounts, Boxed},
};

/// Everybody has an account, except of whom a test says otherwise; and who was asked about.
#[derive(Clone, Default)]
pub struct ScriptedAccounts {
    errors: Arc<Mutex<BTreeMap<String, AccountError>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ScriptedAccounts {
    /// This one has none from now on, for this reason; none: has one.
    pub fn set(&self, name: &str, error: Option<AccountError>) {
        let mut errors = self.errors.lock().expect("no holder panics");
        match error {
            Some(error) => errors.insert(name.to_owned(), error),
            None => errors.remove(name),
        };
    }

    /// Who was asked about, in their order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

impl Accounts for ScriptedAccounts {
    fn ensure<'a>(&'a self, name: &'a Username) -> Boxed<'a, Result<(), AccountError>> {
        self.asked.lock().expect("no holder panics").push(name.to_string());
        let error = self.errors.lock().expect("no holder panics").get(name.as_str()).cloned();
        Box::pin(async move { error.map_or(Ok(()), Err) })
    }
}

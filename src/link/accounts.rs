//! Accounts of the machine: root's work, behind the port of the actors.

use std::{sync::Arc, time::Duration};

use jovis_actors::{
    domain::Username,
    ports::{AccountError, Accounts, Boxed},
};

use super::root::{Root, RootError};
use crate::ipc::account::Finding;

/// How long root may take, waiting for others among it; a little more than it gives itself.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// Asks root.
#[derive(Debug)]
pub struct Machine(pub Arc<Root>);

impl Accounts for Machine {
    fn ensure<'a>(&'a self, name: &'a Username) -> Boxed<'a, Result<(), AccountError>> {
        Box::pin(async move {
            match self.0.account(name, PATIENCE).await {
                Ok(Finding::Exists { .. } | Finding::Made { .. }) => Ok(()),
                Ok(Finding::Missing) => Err(AccountError::Missing(name.clone())),
                Ok(Finding::Refused { text }) | Err(RootError::Denied(text)) => {
                    Err(AccountError::Refused(text))
                }
                Ok(Finding::Failed { text }) => Err(AccountError::Failed(text)),
                Err(error) => Err(AccountError::Failed(error.to_string())),
            }
        })
    }
}

//! The door for "this was used just now".

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Actor, actor::Flush, pending::Pending};
use crate::{
    domain::{Moment, Server, ServerKey, Token, TokenId, User, UserId},
    supervise::{Name, Unavailable},
};

/// What is noted and not written; shared by the clients and the actor, and alive while that restarts.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Pending>>);

impl Notes {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Pending) -> T) -> T {
        // A panic elsewhere leaves whole entries behind.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When this user was last active: the later of what is recorded and what is noted. (While notes are being written
    /// they are in neither, for the time that takes.)
    pub fn of_user(&self, user: &User) -> Option<Moment> {
        self.with(|pending| pending.of_user(user))
    }

    /// The same for many at once: what is noted now.
    pub fn of_users(&self) -> impl Fn(&User) -> Option<Moment> + use<> {
        let noted = self.with(|pending| pending.users().clone());
        move |user| user.last_activity.max(noted.get(&user.id).copied())
    }

    /// When this server was last used, as above.
    pub fn of_server(&self, server: &Server) -> Option<Moment> {
        self.with(|pending| pending.of_server(server))
    }

    /// When this token was last used, as above.
    pub fn of_token(&self, token: &Token) -> Option<Moment> {
        self.with(|pending| pending.of_token(token))
    }
}

/// What the web and the proxy's link hold. Telling never waits.
#[derive(Clone)]
pub struct Client {
    notes: Notes,
    pub(crate) name: Name<Actor>,
}

impl Client {
    /// Notes here; the actor of this name writes.
    pub fn new(notes: Notes, name: Name<Actor>) -> Self {
        Self { notes, name }
    }

    /// What is noted and not written.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// This user did something.
    pub fn user(&self, user: UserId, at: Moment) {
        self.notes.with(|pending| pending.user(user, at));
    }

    /// This server was used. (Does not count for the user: say that too where it does.)
    pub fn server(&self, server: &ServerKey, at: Moment) {
        self.notes.with(|pending| pending.server(server.clone(), at));
    }

    /// This token was used.
    pub fn token(&self, token: TokenId, at: Moment) {
        self.notes.with(|pending| pending.token(token, at));
    }

    /// Writes what is noted, now: for an orderly end.
    pub async fn flush(&self, patience: Duration) -> Result<(), Unavailable> {
        self.name.ask(Flush, patience).await
    }
}

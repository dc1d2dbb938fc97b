//! The door for "this was used just now".

use crate::domain::{Moment, ServerKey, TokenId, UserId};

/// What the web and the proxy's link hold. Telling never waits.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// This user did something.
    pub fn user(&self, _user: UserId, _at: Moment) {
        unimplemented!()
    }

    /// This server was used. (Does not count for the user: say that too where it does.)
    pub fn server(&self, _server: &ServerKey, _at: Moment) {
        unimplemented!()
    }

    /// This token was used.
    pub fn token(&self, _token: TokenId, _at: Moment) {
        unimplemented!()
    }
}

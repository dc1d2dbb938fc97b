//! Uses that aren't written yet, and what they write: pure. Values only move forward.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use crate::{
    domain::{Moment, Server, ServerKey, Token, TokenId, User, UserId},
    store::{Image, Write},
};

/// So many users, servers and tokens each are noted between two writes; more wait for their next use.
pub const MOST: usize = 100_000;

/// Uses that aren't written yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pending {
    users: HashMap<UserId, Moment>,
    servers: HashMap<ServerKey, Moment>,
    tokens: HashMap<TokenId, Moment>,
}

fn note<K: Eq + Hash>(map: &mut HashMap<K, Moment>, key: K, at: Moment) {
    if map.len() < MOST || map.contains_key(&key) {
        let last = map.entry(key).or_insert(at);
        *last = at.max(*last);
    }
}

/// The new value, if it is one.
fn later(recorded: Option<Moment>, at: Moment) -> Option<Moment> {
    recorded.is_none_or(|recorded| recorded < at).then_some(at)
}

impl Pending {
    /// This user did something.
    pub fn user(&mut self, user: UserId, at: Moment) {
        note(&mut self.users, user, at);
    }

    /// This server was used.
    pub fn server(&mut self, server: ServerKey, at: Moment) {
        note(&mut self.servers, server, at);
    }

    /// This token was used.
    pub fn token(&mut self, token: TokenId, at: Moment) {
        note(&mut self.tokens, token, at);
    }

    /// The users of whom something is noted.
    pub fn users(&self) -> &HashMap<UserId, Moment> {
        &self.users
    }

    /// When this user was last active, as far as it is recorded or noted.
    pub fn of_user(&self, user: &User) -> Option<Moment> {
        user.last_activity.max(self.users.get(&user.id).copied())
    }

    /// When this server was last used, as above.
    pub fn of_server(&self, server: &Server) -> Option<Moment> {
        server.last_activity.max(self.servers.get(&server.key).copied())
    }

    /// When this token was last used, as above.
    pub fn of_token(&self, token: &Token) -> Option<Moment> {
        token.last_activity.max(self.tokens.get(&token.id).copied())
    }

    /// Nothing noted?
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.servers.is_empty() && self.tokens.is_empty()
    }

    /// How many uses.
    pub fn len(&self) -> usize {
        self.users.len() + self.servers.len() + self.tokens.len()
    }

    /// Which use this is, for the log, if it is one.
    pub fn what(&self) -> String {
        let mut first = None;
        self.each(|what| first = first.take().or(Some(what)));
        first.unwrap_or_default()
    }

    /// Names each use.
    pub fn each(&self, see: impl FnMut(String)) {
        let users = self.users.keys().map(|id| format!("user {}", id.0));
        let servers = self.servers.keys().map(|key| format!("server {}/{}", key.user.0, key.name));
        let tokens = self.tokens.keys().map(|id| format!("token {}", id.0));
        users.chain(servers).chain(tokens).for_each(see);
    }

    /// Takes what another one noted.
    pub fn merge(&mut self, other: Self) {
        other.users.into_iter().for_each(|(user, at)| self.user(user, at));
        other.servers.into_iter().for_each(|(server, at)| self.server(server, at));
        other.tokens.into_iter().for_each(|(token, at)| self.token(token, at));
    }

    /// Takes at most `most` of it out.
    pub fn take(&mut self, most: usize) -> Self {
        fn some<K: Eq + Hash + Clone>(
            map: &mut HashMap<K, Moment>,
            most: usize,
        ) -> HashMap<K, Moment> {
            let keys: Vec<_> = map.keys().take(most).cloned().collect();
            keys.into_iter().filter_map(|key| map.remove_entry(&key)).collect()
        }
        let users = some(&mut self.users, most);
        let servers = some(&mut self.servers, most - users.len());
        let tokens = some(&mut self.tokens, most - users.len() - servers.len());
        Self { users, servers, tokens }
    }

    /// What this changes. What is gone by now, or was used later, is passed over.
    pub fn writes(&self, image: &Image) -> Vec<Write> {
        let users = self.users.iter().filter_map(|(id, at)| {
            let mut user = (**image.user(*id)?).clone();
            user.last_activity = Some(later(user.last_activity, *at)?);
            Some(Write::User(Arc::new(user)))
        });
        let servers = self.servers.iter().filter_map(|(key, at)| {
            let mut server = (**image.server(key)?).clone();
            server.last_activity = Some(later(server.last_activity, *at)?);
            Some(Write::Server(Arc::new(server)))
        });
        let tokens = self.tokens.iter().filter_map(|(id, at)| {
            let mut token = (**image.token(*id)?).clone();
            token.last_activity = Some(later(token.last_activity, *at)?);
            Some(Write::Token(Arc::new(token)))
        });
        users.chain(servers).chain(tokens).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ServerName;

    fn key() -> ServerKey {
        ServerKey { user: UserId(1), name: ServerName::default_server() }
    }

    #[test]
    fn values_only_move_forward_and_the_unknown_is_passed_over() {
        let mut image = Image::default();
        image.apply(&Write::Server(Arc::new(Server::new(key()))));
        let mut pending = Pending::default();
        for at in [5, 9, 7] {
            pending.server(key(), Moment(at));
        }
        pending.user(UserId(77), Moment(1));
        let writes = pending.writes(&image);
        assert_eq!(writes.len(), 1);
        writes.iter().for_each(|write| image.apply(write));
        assert_eq!(image.server(&key()).unwrap().last_activity, Some(Moment(9)));
        let mut old = Pending::default();
        old.server(key(), Moment(8));
        assert_eq!(old.writes(&image), []);
        let server = image.server(&key()).unwrap();
        assert_eq!(old.of_server(server), Some(Moment(9)));
        old.server(key(), Moment(10));
        assert_eq!(old.of_server(server), Some(Moment(10)));
    }

    #[test]
    fn it_is_taken_out_in_groups_and_put_back() {
        let mut pending = Pending::default();
        (0..10).for_each(|n| pending.user(UserId(n), Moment(1)));
        pending.token(TokenId(1), Moment(1));
        let all = pending.clone();
        let group = pending.take(8);
        assert_eq!((group.users.len(), pending.users.len(), pending.tokens.len()), (8, 2, 1));
        pending.merge(group);
        assert_eq!(pending, all);
        pending.take(100);
        assert!(pending.is_empty());
    }
}

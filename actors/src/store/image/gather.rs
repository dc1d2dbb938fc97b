//! An image out of many records at once, as when a store is opened: the same as [applying](Image::apply) one after the
//! other, in a fraction of time and memory.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::{Image, Write, beginning, digest};
use crate::domain::{Owner, Token, User};

impl Image {
    /// The image that these writes make out of an empty one, whatever they are. It is quick where users and tokens come
    /// in the order of their ids, each once, as they do out of [`Image::writes`].
    pub fn gather(writes: impl IntoIterator<Item = Write>) -> Self {
        let mut image = Self::default();
        let (mut users, mut tokens) = (Vec::new(), Vec::new());
        for write in writes {
            match write {
                Write::User(user)
                    if image.users.is_empty()
                        && users.last().is_none_or(|last: &Arc<User>| last.id < user.id) =>
                {
                    users.push(user);
                }
                Write::Token(token)
                    if image.tokens.is_empty()
                        && tokens.last().is_none_or(|last: &Arc<Token>| last.id < token.id) =>
                {
                    tokens.push(token);
                }
                // Users and tokens are not looked at for these.
                other @ (Write::Server(_)
                | Write::ServerGone(_)
                | Write::Client(_)
                | Write::ClientGone(_)
                | Write::Code(_)
                | Write::CodeGone(_)
                | Write::IdsUsed(_)) => image.apply(&other),
                // It may concern those before it.
                other => {
                    image.take_users(std::mem::take(&mut users));
                    image.take_tokens(std::mem::take(&mut tokens));
                    image.apply(&other);
                }
            }
        }
        image.take_users(users);
        image.take_tokens(tokens);
        image
    }

    /// In the order of their ids, into an image that has none.
    fn take_users(&mut self, users: Vec<Arc<User>>) {
        let Some(last) = users.last() else { return };
        self.ids = self.ids.max(last.id.0);
        let mut by_name: Vec<_> = users.iter().collect();
        // Of two with one name the later has it, as when they are applied.
        by_name.sort_by(|one, other| one.name.cmp(&other.name).then(other.id.cmp(&one.id)));
        by_name.dedup_by(|one, other| one.name == other.name);
        self.names = dense(&by_name, |user| (user.name.clone(), user.id));
        self.users = dense(&users, |user| (user.id, user.clone()));
    }

    /// In the order of their ids, into an image that has none.
    fn take_tokens(&mut self, tokens: Vec<Arc<Token>>) {
        let Some(last) = tokens.last() else { return };
        self.ids = self.ids.max(last.id.0);
        self.hashes = set(tokens.iter().map(|token| (beginning(&token.hash), token.id)));
        self.owned = set(tokens.iter().filter_map(|token| match &token.owner {
            Owner::User(user) => Some((*user, token.id)),
            Owner::Service(_) => None,
        }));
        self.serving = set(tokens.iter().filter_map(|token| match &token.owner {
            Owner::User(_) => None,
            Owner::Service(name) => Some((name.clone(), token.id)),
        }));
        self.given =
            set(tokens.iter().filter_map(|token| Some((digest(token.client.as_ref()?), token.id))));
        self.tokens = dense(&tokens, |token| (token.id, token.clone()));
    }
}

/// What is in order, as a map whose leaves are full. A leaf that overflows is cut in the middle, so whoever only adds
/// behind the last one leaves halves behind: every second record makes the halves, the others fill them.
fn dense<T, K: Ord + Clone, V: Clone>(sorted: &[T], entry: impl Fn(&T) -> (K, V)) -> OrdMap<K, V> {
    let mut map = OrdMap::new();
    for begin in [0, 1] {
        for it in sorted.iter().skip(begin).step_by(2) {
            let (key, value) = entry(it);
            map.insert(key, value);
        }
    }
    map
}

/// The same for an index.
fn set<K: Ord + Clone>(keys: impl Iterator<Item = K>) -> OrdSet<K> {
    let mut keys: Vec<K> = keys.collect();
    keys.sort_unstable();
    let mut set = OrdSet::new();
    for begin in [0, 1] {
        for key in keys.iter().skip(begin).step_by(2) {
            set.insert(key.clone());
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_any_length_holds_what_it_was_made_of() {
        for length in [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 66, 1_000, 10_001] {
            let all: Vec<u32> = (0..length).collect();
            let map = dense(&all, |it| (*it, it + 1));
            assert!(
                map.iter().map(|(key, value)| (*key, *value)).eq((0..length).map(|n| (n, n + 1)))
            );
            assert!(set((0..length).rev()).iter().copied().eq(0..length));
        }
    }

    #[test]
    fn of_several_users_with_one_name_the_last_has_it() {
        for users in 1..6 {
            let user = |id| Write::User(Arc::new(crate::testing::user(id, "ada")));
            let writes: Vec<Write> = (1..=users).map(user).collect();
            let gathered = Image::gather(writes.clone());
            assert_eq!(gathered.user_named("ada").unwrap().id.0, users);
            let mut applied = Image::default();
            writes.iter().for_each(|write| applied.apply(write));
            assert_eq!(gathered, applied);
        }
    }
}

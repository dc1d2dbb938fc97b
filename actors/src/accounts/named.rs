//! Servers at rest: made without being started, renamed, given another name for people or other options.
//! (`spec/rest-api.md` 4.6.)
//!
//! What a server has while it lives (its API token, its OAuth client, its route) hangs on its name, so nothing here
//! touches one that lives. What outlives it and is about it, the shares of it and the codes for them, goes along.

use std::{convert::Infallible, sync::Arc};

use thiserror::Error;

use super::{Decided, shares};
use crate::{
    domain::{Server, ServerKey, ServerName, UserId},
    store::{Image, Write},
};

/// A server to be made.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Which. Not the default one: every user has that.
    pub key: ServerKey,
    /// For people; none: its name.
    pub display_name: Option<String>,
    /// To start it with; none: nothing yet.
    pub options: Option<serde_json::Value>,
    /// So many named servers its user may have; 0: any number.
    pub limit: u32,
}

/// What is to become of a server at rest.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub key: ServerKey,
    /// Its name from now on.
    pub name: Option<ServerName>,
    /// For people.
    pub display_name: Option<String>,
    /// To start it with.
    pub options: Option<serde_json::Value>,
    /// As in [`NewServer`]; counts where the default server is renamed, which leaves a fresh one.
    pub limit: u32,
}

/// Why nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServerRefused {
    /// No such user.
    #[error("no such user")]
    NoUser,
    /// No such server.
    #[error("no such server")]
    NoServer,
    /// There is one of that name.
    #[error("there is a server of that name already")]
    Taken,
    /// It is not at rest.
    #[error("the server is running or on its way: stop it first")]
    Active,
    /// No further one.
    #[error("{limit} named servers are the most one user may have: remove one first")]
    Limit {
        /// So many.
        limit: u32,
    },
}

/// Makes a server that is not started.
pub fn create_server(image: &Image, new: NewServer) -> Decided<Arc<Server>, ServerRefused> {
    image.user(new.key.user).ok_or(ServerRefused::NoUser)?;
    if new.key.name.is_default() || image.server(&new.key).is_some() {
        return Err(ServerRefused::Taken);
    }
    room(image, new.key.user, new.limit)?;
    let mut server = fresh(new.key);
    server.display_name = new.display_name.unwrap_or(server.display_name);
    server.user_options = new.options;
    let server = Arc::new(server);
    Ok((vec![Write::Server(server.clone())], server))
}

/// A server that has never been started. Until it is given another name for people, they see its own.
pub(super) fn fresh(key: ServerKey) -> Server {
    Server { display_name: key.name.as_str().to_owned(), ..Server::new(key) }
}

/// Makes it unless it is there.
pub fn need_server(image: &Image, new: NewServer) -> Decided<(), ServerRefused> {
    if new.key.name.is_default() || image.server(&new.key).is_some() {
        return Ok((Vec::new(), ()));
    }
    create_server(image, new).map(|(writes, _)| (writes, ()))
}

/// Renames a server at rest, or changes what it is called and what it is started with. The answer is its new record.
pub fn change_server(image: &Image, what: Change) -> Decided<Arc<Server>, ServerRefused> {
    image.user(what.key.user).ok_or(ServerRefused::NoUser)?;
    let old = match image.server(&what.key) {
        Some(server) => (**server).clone(),
        None if what.key.name.is_default() => fresh(what.key.clone()),
        None => return Err(ServerRefused::NoServer),
    };
    if old.state.is_active() {
        return Err(ServerRefused::Active);
    }
    let mut server = old.clone();
    let mut writes = Vec::new();
    if let Some(name) = what.name {
        let key = ServerKey { user: what.key.user, name };
        if key.name.is_default() || image.server(&key).is_some() {
            return Err(ServerRefused::Taken);
        }
        if what.key.name.is_default() {
            room(image, key.user, what.limit)?;
        }
        writes.extend(image.server(&what.key).map(|_| Write::ServerGone(what.key.clone())));
        // Those with whom it is shared keep it under its new name.
        writes.extend(shares::move_server_shares(image, &what.key, &key));
        server.key = key;
    }
    server.display_name = what.display_name.unwrap_or(server.display_name);
    server.user_options = what.options.or(server.user_options);
    let server = Arc::new(server);
    if *server != old {
        writes.push(Write::Server(server.clone()));
    }
    Ok((writes, server))
}

/// Takes a server at rest out, with the shares of it. One that lives stays, and so does the default one.
pub fn drop_server(image: &Image, key: &ServerKey) -> Decided<(), Infallible> {
    match image.server(key) {
        Some(server) if !server.state.is_active() && !key.name.is_default() => {
            super::remove_server(image, key)
        }
        _ => Ok((Vec::new(), ())),
    }
}

/// Is there room for one more named server of this user?
fn room(image: &Image, user: UserId, limit: u32) -> Result<(), ServerRefused> {
    let named = image.servers_of(user).filter(|server| !server.key.name.is_default());
    if limit != 0 && named.count() >= limit as usize {
        return Err(ServerRefused::Limit { limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{
            Cause, Moment, OrderId, ServerState, Share, ShareCode, ShareCodeId, ShareKey,
            SharedWith, TokenHash, server::Handle,
        },
        testing,
    };

    fn key(name: &str) -> ServerKey {
        ServerKey { user: UserId(1), name: ServerName::new(name).unwrap() }
    }

    /// Bob with these servers, at rest.
    fn bob(servers: &[&str]) -> Image {
        let mut image = Image::default();
        image.apply(&Write::User(Arc::new(testing::user(1, "bob"))));
        for name in servers {
            image.apply(&Write::Server(Arc::new(Server::new(key(name)))));
        }
        image
    }

    fn new(name: &str, limit: u32) -> NewServer {
        NewServer { key: key(name), display_name: None, options: None, limit }
    }

    fn change(name: &str) -> Change {
        let (name, display_name, options) = (key(name), None, None);
        Change { key: name, name: None, display_name, options, limit: 1 }
    }

    fn to(name: &str) -> Option<ServerName> {
        Some(ServerName::new(name).unwrap())
    }

    fn after<T, E: std::fmt::Debug>(image: &Image, decided: Decided<T, E>) -> (Image, T) {
        let (writes, answer) = decided.unwrap();
        let mut image = image.clone();
        writes.iter().for_each(|write| image.apply(write));
        (image, answer)
    }

    #[test]
    fn a_server_is_made_once_and_not_beyond_the_limit() {
        let image = bob(&["", "a"]);
        let named = NewServer { options: Some(json!({"x": 1})), ..new("b", 2) };
        let (more, server) = after(&image, create_server(&image, named));
        assert_eq!((server.display_name.as_str(), more.servers_of(UserId(1)).count()), ("b", 3));
        assert_eq!(server.user_options, Some(json!({"x": 1})));
        assert_eq!(server.state, ServerState::Stopped(None));
        let shown = NewServer { display_name: Some("Big".into()), ..new("b", 0) };
        assert_eq!(create_server(&image, shown).unwrap().1.display_name, "Big");
        for (new, why) in [
            (new("a", 0), ServerRefused::Taken),
            (new("", 0), ServerRefused::Taken),
            (new("b", 1), ServerRefused::Limit { limit: 1 }),
        ] {
            assert_eq!(create_server(&image, new).unwrap_err(), why);
        }
        let nobodys = ServerKey { user: UserId(9), ..key("b") };
        let refused = create_server(&image, NewServer { key: nobodys, ..new("b", 0) });
        assert_eq!(refused.unwrap_err(), ServerRefused::NoUser);
        assert_eq!(need_server(&image, new("a", 1)).unwrap().0, []);
        assert_eq!(need_server(&image, new("", 1)).unwrap().0, []);
        assert!(need_server(&image, new("b", 1)).is_err());
    }

    #[test]
    fn only_what_is_at_rest_is_changed() {
        let mut image = bob(&[""]);
        let order = OrderId::from_bytes([1; 16]);
        let handle = Handle("1".into());
        let url = "http://127.0.0.1:1".to_owned();
        for (state, rests) in [
            (ServerState::Stopped(Some(Cause::Exited(1))), true),
            (ServerState::Failed(Cause::Vanished), true),
            (ServerState::Starting { order: order.clone() }, false),
            (ServerState::Running { order, handle, url }, false),
            (ServerState::Waiting { until: Moment(1), cause: Cause::Vanished }, false),
        ] {
            let mut server = Server::new(key("a"));
            server.state = state.clone();
            image.apply(&Write::Server(Arc::new(server)));
            let renamed = change_server(&image, Change { name: to("b"), ..change("a") });
            assert_eq!(renamed.is_ok(), rests, "{state:?}");
            assert!(rests || renamed == Err(ServerRefused::Active));
            let dropped = drop_server(&image, &key("a")).unwrap().0;
            assert_eq!(!dropped.is_empty(), rests, "{state:?}");
        }
        assert_eq!(drop_server(&image, &key("")).unwrap().0, [], "the default one stays");
    }

    #[test]
    fn a_renamed_server_keeps_what_is_about_it() {
        let mut image = bob(&["a", "c"]);
        let with = SharedWith::User(UserId(2));
        let share = Share {
            key: ShareKey { server: key("a"), with },
            scopes: vec!["access:servers".into()],
            created: Moment(1),
        };
        image.apply(&Write::Share(Arc::new(share)));
        let code = ShareCode {
            id: ShareCodeId(9),
            hash: TokenHash([1; 32]),
            server: key("a"),
            scopes: vec![],
            created: Moment(1),
            expires_at: Moment(2),
            exchange_count: 3,
            last_exchanged: None,
        };
        image.apply(&Write::ShareCode(Arc::new(code)));
        let what = Change { name: to("b"), options: Some(json!({})), ..change("a") };
        let (moved, server) = after(&image, change_server(&image, what));
        assert_eq!((server.key.clone(), server.display_name.as_str()), (key("b"), ""));
        assert!(moved.server(&key("a")).is_none() && moved.server(&key("b")).is_some());
        assert_eq!(moved.shares_of(&key("a")).count(), 0);
        assert_eq!(moved.shares_of(&key("b")).next().unwrap().created, Moment(1));
        assert_eq!(moved.shared_with(with).count(), 1);
        let code = moved.share_code(ShareCodeId(9)).unwrap();
        assert_eq!((code.server.clone(), code.exchange_count), (key("b"), 3));
        let taken = change_server(&image, Change { name: to("c"), ..change("a") });
        assert_eq!(taken.unwrap_err(), ServerRefused::Taken);
        let default = change_server(&image, Change { name: to(""), ..change("a") });
        assert_eq!(default.unwrap_err(), ServerRefused::Taken);
        let none = change_server(&image, Change { name: to("x"), ..change("z") });
        assert_eq!(none.unwrap_err(), ServerRefused::NoServer);
        let (gone, ()) = after(&moved, drop_server(&moved, &key("b")));
        assert_eq!((gone.shares_of(&key("b")).count(), gone.share_codes().count()), (0, 0));
        assert_eq!(gone.server(&key("b")), None);
    }

    #[test]
    fn the_default_server_leaves_a_fresh_one_and_counts() {
        let image = bob(&[]);
        let what = Change { name: to("b"), display_name: Some("B".into()), ..change("") };
        let (moved, server) = after(&image, change_server(&image, what.clone()));
        assert_eq!((server.display_name.as_str(), moved.server(&key(""))), ("B", None));
        let full = bob(&["", "a"]);
        let refused = change_server(&full, what.clone()).unwrap_err();
        assert_eq!(refused, ServerRefused::Limit { limit: 1 });
        let (moved, _) = after(&full, change_server(&full, Change { limit: 2, ..what }));
        assert_eq!(moved.servers_of(UserId(1)).count(), 2);
        // A named one only changes its name.
        assert!(change_server(&full, Change { name: to("b"), ..change("a") }).is_ok());
        assert_eq!(change_server(&full, change("a")).unwrap().0, [], "nothing asked, nothing done");
    }
}

//! What a server's steps write: pure decisions for the store.
//!
//! A server's API token and OAuth client live with its record: made by the change that records the order, gone with
//! the one that records the end. Every decision compares the recorded order with the one it is about, so that a
//! leftover of an earlier life (or of an actor that died) changes nothing.

use std::sync::Arc;

use thiserror::Error;

use super::env::Facts;
use crate::{
    accounts::Decided,
    domain::{
        ClientId, Moment, OAuthClient, OrderId, Owner, Scope, Server, ServerKey, ServerState,
        Token, TokenHash, TokenId, User, oauth::ClientOf,
    },
    store::{Image, Write},
};

/// Why a step is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RecordRefused {
    /// The user is gone.
    #[error("no such user")]
    NoUser,
    /// The record is about another order by now, or gone.
    #[error("the server's record has moved on")]
    MovedOn,
}

/// A start to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    /// Which server.
    pub(crate) key: ServerKey,
    /// The act's id.
    pub(crate) order: OrderId,
    /// The order of its last life, which is known to have ended.
    pub(crate) over: Option<OrderId>,
    /// What the user chose; none: as last time.
    pub(crate) options: Option<serde_json::Value>,
    /// A new display name.
    pub(crate) display_name: Option<String>,
    /// Of the new API token.
    pub(crate) hash: TokenHash,
    /// What visitors' tokens may carry besides identity and access.
    pub(crate) allowed_scopes: Vec<Scope>,
    /// Deaths that still count.
    pub(crate) deaths: Vec<Moment>,
}

/// Records an order: the server, its API token, its OAuth client. Visitors' tokens of an earlier life stay, if there
/// are any: there are after an automatic restart only.
pub(crate) fn begin(
    image: &Image,
    facts: &Facts,
    what: Begin,
    now: Moment,
) -> Decided<Arc<Server>, RecordRefused> {
    let user = image.user(what.key.user).ok_or(RecordRefused::NoUser)?;
    let old = image.server(&what.key);
    let recorded = old.and_then(|server| server.state.order());
    if recorded.is_some() && recorded != what.over.as_ref() {
        return Err(RecordRefused::MovedOn);
    }
    let mut server = old.map_or_else(|| Server::new(what.key.clone()), |server| (**server).clone());
    let mut writes: Vec<_> = server.token.map(Write::TokenGone).into_iter().collect();
    let prefix = facts.prefix(&user.name, &what.key.name);
    let description = format!("Server at {prefix}");
    let id = TokenId(image.next_id());
    let token = Token {
        id,
        owner: Owner::User(user.id),
        hash: what.hash,
        // The role `server` (`spec/rbac.md` 2).
        scopes: vec![
            Scope::new("users:activity!user"),
            Scope::access_server(&user.name, &what.key.name),
        ],
        created: now,
        expires_at: None,
        last_activity: None,
        note: description.clone(),
        client: None,
        session: None,
    };
    let client = OAuthClient {
        id: ClientId::of_server(&user.name, &what.key.name),
        secret: what.hash,
        redirect_uri: format!("{prefix}oauth_callback"),
        description,
        allowed_scopes: what.allowed_scopes,
        of: ClientOf::Server(user.id, what.key.name.clone()),
    };
    server.state = ServerState::Starting { order: what.order };
    server.started = Some(now);
    server.last_activity = Some(now);
    server.token = Some(id);
    server.version = None;
    server.deaths = what.deaths;
    server.user_options = what.options.or(server.user_options);
    server.display_name = what.display_name.unwrap_or(server.display_name);
    let server = Arc::new(server);
    writes.extend([
        Write::IdsUsed(id.0),
        Write::Token(Arc::new(token)),
        Write::Client(Arc::new(client)),
        Write::Server(server.clone()),
    ]);
    Ok((writes, server))
}

/// A step to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    /// Which server.
    pub(crate) key: ServerKey,
    /// The order in hand until now; none: it was waiting.
    pub(crate) order: Option<OrderId>,
    /// How far it is now.
    pub(crate) state: ServerState,
    /// What it answered its probe with, once it did.
    pub(crate) version: Option<String>,
    /// Deaths that still count.
    pub(crate) deaths: Vec<Moment>,
}

/// Records how far a server is. With a life its API token ends; at rest also its OAuth client and the tokens and codes
/// given to that.
pub(crate) fn moved(image: &Image, what: Moved) -> Decided<(), RecordRefused> {
    let old = image.server(&what.key).ok_or(RecordRefused::MovedOn)?;
    let recorded = old.state.order();
    if recorded.is_some() && recorded != what.order.as_ref() {
        return Err(RecordRefused::MovedOn);
    }
    let mut server = (**old).clone();
    let mut writes = Vec::new();
    match what.state {
        ServerState::Starting { .. }
        | ServerState::Probing { .. }
        | ServerState::Running { .. }
        | ServerState::Stopping { .. } => {
            if recorded.is_none() {
                return Err(RecordRefused::MovedOn);
            }
            server.version = what.version.or(server.version);
        }
        ServerState::Waiting { .. } => {
            writes.extend(server.token.take().map(Write::TokenGone));
        }
        ServerState::Stopped(_) | ServerState::Failed(_) => {
            writes.extend(server.token.take().map(Write::TokenGone));
            server.started = None;
            server.version = None;
            if let Some(user) = image.user(what.key.user) {
                writes.extend(without_client(image, user, &what.key));
            }
        }
    }
    server.state = what.state;
    server.deaths = what.deaths;
    if server != **old {
        writes.push(Write::Server(Arc::new(server)));
    }
    Ok((writes, ()))
}

/// The end of a server's OAuth client and of all that was given to it.
fn without_client(image: &Image, user: &User, key: &ServerKey) -> Vec<Write> {
    let id = ClientId::of_server(&user.name, &key.name);
    let tokens = image.tokens_for(&id).map(|token| Write::TokenGone(token.id));
    let codes = image.codes().filter(|code| code.client == id);
    let codes = codes.map(|code| Write::CodeGone(code.hash));
    let client = image.client(&id).map(|_| Write::ClientGone(id.clone()));
    tokens.chain(codes).chain(client).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, ServerName, UserId, Username, server::Handle};

    fn key() -> ServerKey {
        ServerKey { user: UserId(1), name: ServerName::default_server() }
    }

    fn image() -> Image {
        let mut image = Image::default();
        image.apply(&Write::User(Arc::new(User {
            id: UserId(1),
            name: Username::new("bob").unwrap(),
            admin: false,
            created: Moment(0),
            last_activity: None,
            cookie_id: String::new(),
            user_info: None,
        })));
        image
    }

    fn order(n: u8) -> OrderId {
        OrderId::from_bytes([n; 16])
    }

    fn start(image: &mut Image, n: u8, over: Option<u8>) -> Result<Arc<Server>, RecordRefused> {
        let facts =
            Facts { base_url: "/".to_owned(), api_url: String::new(), public_host: String::new() };
        let what = Begin {
            key: key(),
            order: order(n),
            over: over.map(order),
            options: None,
            display_name: None,
            hash: TokenHash([n; 32]),
            allowed_scopes: vec![],
            deaths: vec![],
        };
        let (writes, server) = begin(image, &facts, what, Moment(1))?;
        writes.iter().for_each(|write| image.apply(write));
        Ok(server)
    }

    fn go(image: &mut Image, n: u8, state: ServerState) -> Result<(), RecordRefused> {
        let what =
            Moved { key: key(), order: Some(order(n)), state, version: None, deaths: vec![] };
        let (writes, ()) = moved(image, what)?;
        writes.iter().for_each(|write| image.apply(write));
        Ok(())
    }

    /// A visitor's token for the server.
    fn visit(image: &mut Image) -> TokenId {
        let id = TokenId(image.next_id());
        image.apply(&Write::Token(Arc::new(Token {
            id,
            owner: Owner::User(UserId(1)),
            hash: TokenHash([99; 32]),
            scopes: vec![],
            created: Moment(1),
            expires_at: None,
            last_activity: None,
            note: String::new(),
            client: Some(ClientId::claimed("jupyterhub-user-bob")),
            session: None,
        })));
        id
    }

    #[test]
    fn a_start_and_an_end_leave_nothing_behind() {
        let mut image = image();
        let server = start(&mut image, 1, None).unwrap();
        let token = image.token(server.token.unwrap()).unwrap();
        assert!(token.is_servers_own() && token.hash == TokenHash([1; 32]));
        let client = image.client(&ClientId::claimed("jupyterhub-user-bob")).unwrap();
        assert_eq!(client.redirect_uri, "/user/bob/oauth_callback");
        visit(&mut image);
        let next = image.next_id();
        go(&mut image, 1, ServerState::Stopped(Some(Cause::Stopped))).unwrap();
        assert_eq!((image.tokens().count(), image.clients().count()), (0, 0));
        assert_eq!(image.server(&key()).unwrap().token, None);
        assert_eq!(image.next_id(), next, "ids are never given again");
    }

    #[test]
    fn an_automatic_restart_keeps_the_visitors_and_changes_the_secret() {
        let mut image = image();
        let first = start(&mut image, 1, None).unwrap().token.unwrap();
        let visitor = visit(&mut image);
        let waiting = ServerState::Waiting { until: Moment(9), cause: Cause::Exited(1) };
        go(&mut image, 1, waiting).unwrap();
        assert!(image.token(visitor).is_some() && image.token(first).is_none());
        start(&mut image, 2, None).unwrap();
        assert!(image.token(visitor).is_some());
        let client = image.client(&ClientId::claimed("jupyterhub-user-bob")).unwrap();
        assert_eq!(client.secret, TokenHash([2; 32]));
    }

    #[test]
    fn a_leftover_of_an_earlier_life_changes_nothing() {
        let mut image = image();
        start(&mut image, 1, None).unwrap();
        assert_eq!(start(&mut image, 2, None), Err(RecordRefused::MovedOn));
        start(&mut image, 2, Some(1)).unwrap();
        assert_eq!(go(&mut image, 1, ServerState::Stopped(None)), Err(RecordRefused::MovedOn));
        go(&mut image, 2, ServerState::Stopped(None)).unwrap();
        let late = ServerState::Running {
            order: order(2),
            handle: Handle(String::new()),
            url: String::new(),
        };
        assert_eq!(go(&mut image, 2, late), Err(RecordRefused::MovedOn));
    }
}

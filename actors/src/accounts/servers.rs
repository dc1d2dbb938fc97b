//! What a server's start and end mean for its API token and its OAuth client. (`spec/auth-and-spawn.md` 10.2 and 10.4,
//! `spec/oauth-and-cookies.md` 1 and 4.)

use std::{convert::Infallible, sync::Arc};

use thiserror::Error;

use super::{Decided, tokens};
use crate::{
    domain::{
        ClientId, Moment, OAuthClient, Owner, Scope, Server, ServerKey, ServerName, Token,
        TokenHash, TokenId, Username, oauth::ClientOf,
    },
    store::{Image, Write},
};

/// What becomes of the tokens that visitors of the server's last life hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitors {
    /// A new life: they sign in anew.
    Forget,
    /// An automatic restart: they go on. Client id and their tokens stay; API token and client secret are new, since
    /// only hashes of the old ones are known.
    Keep,
}

/// A server that is about to be started.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The record in its new state; its `token` is filled in here.
    pub server: Server,
    /// Path prefix with slashes at both ends, escaped: `/user/alice/`.
    pub prefix: String,
    /// Of its new API token, which is its client secret too.
    pub token: TokenHash,
    /// Raw scopes of that token: [`server_scopes`] unless configured. What the owner lacks is cut off at each use.
    pub scopes: Vec<Scope>,
    /// What visitors' tokens may carry besides identity and access; nothing unless configured.
    pub client_scopes: Vec<Scope>,
    /// Those of the last life.
    pub visitors: Visitors,
}

/// Why a server cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BeginRefused {
    /// Its user has gone.
    #[error("no such user")]
    NoUser,
}

/// The scopes of role `server` for this server.
pub fn server_scopes(user: &Username, server: &ServerName) -> Vec<Scope> {
    vec![Scope::new("users:activity!user"), Scope::access_server(user, server)]
}

/// The start of a server: its record, its API token and its OAuth client, in place of those of its last life. The
/// answer is the record as written.
pub fn begin_server(
    image: &Image,
    what: Beginning,
    now: Moment,
) -> Decided<Arc<Server>, BeginRefused> {
    let key = what.server.key.clone();
    let user = image.user(key.user).ok_or(BeginRefused::NoUser)?;
    let id = ClientId::of_server(&user.name, &key.name);
    let mut writes = match what.visitors {
        Visitors::Forget => leave(image, &key, &what.server),
        Visitors::Keep => own_tokens(image, &key, &what.server),
    };
    writes.retain(|write| !matches!(write, Write::ClientGone(_))); // replaced below
    let (token, token_id) = {
        let id = TokenId(image.next_id());
        let token = Token {
            id,
            owner: Owner::User(key.user),
            hash: what.token,
            scopes: what.scopes,
            created: now,
            expires_at: None,
            last_activity: None,
            note: format!("Server at {}", what.prefix),
            client: None,
            session: None,
        };
        (tokens::record(token).0, id)
    };
    writes.extend(token);
    writes.push(Write::Client(Arc::new(OAuthClient {
        id,
        secret: what.token,
        redirect_uri: format!("{}oauth_callback", what.prefix),
        description: match key.name.is_default() {
            true => format!("The server of {}", user.name),
            false => format!("The server {} of {}", key.name, user.name),
        },
        allowed_scopes: what.client_scopes,
        of: ClientOf::Server(key.user, key.name),
    })));
    let server = Arc::new(Server { token: Some(token_id), ..what.server });
    writes.push(Write::Server(server.clone()));
    Ok((writes, server))
}

/// The end of a server's life: its record (in its new state) without token; its token, its OAuth client, all tokens
/// given to that client and all codes for it are gone. The answer is the record as written.
pub fn end_server(image: &Image, server: Server) -> Decided<Arc<Server>, Infallible> {
    let mut writes = leave(image, &server.key, &server);
    let server = Arc::new(Server { token: None, ..server });
    writes.push(Write::Server(server.clone()));
    Ok((writes, server))
}

/// As [`end_server`], and the record goes too. Nothing happens if there is none.
pub fn remove_server(image: &Image, key: &ServerKey) -> Decided<(), Infallible> {
    let Some(server) = image.server(key) else {
        return Ok((Vec::new(), ()));
    };
    let mut writes = leave(image, key, server);
    writes.push(Write::ServerGone(key.clone()));
    Ok((writes, ()))
}

/// Everything that ends with a life.
fn leave(image: &Image, key: &ServerKey, server: &Server) -> Vec<Write> {
    let mut writes = own_tokens(image, key, server);
    let Some(user) = image.user(key.user) else {
        return writes;
    };
    let id = ClientId::of_server(&user.name, &key.name);
    let codes = image.codes().filter(|code| code.client == id);
    writes.extend(image.tokens_for(&id).map(|token| Write::TokenGone(token.id)));
    writes.extend(codes.map(|code| Write::CodeGone(code.hash)));
    writes.extend(image.client(&id).map(|client| Write::ClientGone(client.id.clone())));
    writes
}

/// The server's own API token: the one recorded, and the one the caller's copy of the record names.
fn own_tokens(image: &Image, key: &ServerKey, server: &Server) -> Vec<Write> {
    let recorded = image.server(key).and_then(|server| server.token);
    let mut ids = vec![recorded, server.token];
    ids.dedup();
    ids.into_iter()
        .flatten()
        .filter_map(|id| image.token(id))
        .map(|it| Write::TokenGone(it.id))
        .collect()
}

//! What the steps of a server's life write: pure decisions for the store. (`spec/auth-and-spawn.md` 10.2 and 10.4,
//! `spec/oauth-and-cookies.md` 1 and 4.)
//!
//! A server's API token and OAuth client live with its record: made by the change that records the order, gone with
//! the one that records the end. Every step compares the recorded order with the one it is about, so that a leftover
//! of an earlier life (or of an actor that died) changes nothing.
//!
//! Client ids and path prefixes hold the user's name as it is *now*. So a user gets another name only while all servers
//! are at rest ([`super::users::change_user`]): otherwise the end of a life that began under the old name would leave that
//! name's client behind, with the tokens given to it.

use std::{convert::Infallible, sync::Arc};

use thiserror::Error;

use super::{Decided, named, shares, tokens};
use crate::{
    domain::{
        ClientId, Moment, OAuthClient, OrderId, Owner, Scope, Server, ServerKey, ServerName,
        ServerState, Token, TokenHash, TokenId, User, Username, oauth::ClientOf,
    },
    store::{Image, Write},
};

/// Why a step is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StepRefused {
    /// The user is gone.
    #[error("no such user")]
    NoUser,
    /// The record is about another order by now, or gone.
    #[error("the server's record has moved on")]
    MovedOn,
}

/// A start to be recorded.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Which server.
    pub key: ServerKey,
    /// The act's id.
    pub order: OrderId,
    /// The order of its last life, which is known to have ended.
    pub over: Option<OrderId>,
    /// What the user chose; none: as last time.
    pub options: Option<serde_json::Value>,
    /// A new display name; none: as before.
    pub display_name: Option<String>,
    /// Path prefix with slashes at both ends, escaped: `/user/alice/`.
    pub prefix: String,
    /// How browsers get to it: the prefix, or with the user's own host before it.
    pub url: String,
    /// Of its new API token, which is its client secret too.
    pub hash: TokenHash,
    /// Scopes of that token; `!server` is filled in.
    pub token_scopes: Vec<Scope>,
    /// What visitors' tokens may carry besides identity and access; nothing unless configured.
    pub client_scopes: Vec<Scope>,
    /// Deaths that still count.
    pub deaths: Vec<Moment>,
}

/// What a server's token may do unless something else is configured: the default role `server`.
pub const SERVER_SCOPES: [&str; 2] = [ACTIVITY, "access:servers!server"];

/// Without this nobody would know that a server is used.
const ACTIVITY: &str = "users:activity!user";

/// These scopes for this server's token: `!server` filled in, telling of activity always among them (`spec/rbac.md` 7).
/// What its owner lacks is cut off at each use.
pub fn server_scopes(user: &Username, server: &ServerName, wanted: &[Scope]) -> Vec<Scope> {
    let filled = |scope: &Scope| match scope.filter() {
        Some("server") => Scope::new(&format!("{}!server={user}/{server}", scope.base())),
        _ => scope.clone(),
    };
    let mut all: Vec<_> = wanted.iter().map(filled).collect();
    if !all.iter().any(|it| [ACTIVITY, "users:activity", "inherit"].contains(&it.as_str())) {
        all.push(Scope::new(ACTIVITY));
    }
    all
}

/// Records an order: the server, its API token, its OAuth client. The answer is the record as written. Visitors'
/// tokens of an earlier life stay where there are any: only a server that died and waits for its next start has some.
/// API token and client secret are new in any case, since only hashes of the old ones are known.
pub fn begin_server(
    image: &Image,
    what: Beginning,
    now: Moment,
) -> Decided<Arc<Server>, StepRefused> {
    let user = image.user(what.key.user).ok_or(StepRefused::NoUser)?;
    let old = image.server(&what.key);
    not_moved_on(old.and_then(|server| server.state.order()), what.over.as_ref())?;
    let mut server =
        old.map_or_else(|| named::fresh(what.key.clone()), |server| (**server).clone());
    let mut writes: Vec<_> = server.token.map(Write::TokenGone).into_iter().collect();
    let description = format!("Server at {}", what.prefix);
    let id = TokenId(image.next_id());
    let token = Token {
        id,
        owner: Owner::User(user.id),
        hash: what.hash,
        scopes: server_scopes(&user.name, &what.key.name, &what.token_scopes).into(),
        created: now,
        expires_at: None,
        last_activity: None,
        note: description.as_str().into(),
        client: None,
        session: None,
    };
    let client = OAuthClient {
        id: ClientId::of_server(&user.name, &what.key.name),
        secret: what.hash,
        redirect_uri: format!("{}oauth_callback", what.url),
        description,
        allowed_scopes: what.client_scopes,
        of: ClientOf::Server(user.id, what.key.name),
    };
    server.state = ServerState::Starting { order: what.order };
    server.started = Some(now);
    server.last_activity = Some(now);
    server.token = Some(id);
    server.version = None;
    server.deaths = what.deaths;
    // Whoever chose nothing has chosen nothing: that is told apart from never having been started.
    server.user_options =
        what.options.or(server.user_options).or_else(|| Some(serde_json::json!({})));
    server.display_name = what.display_name.unwrap_or(server.display_name);
    let server = Arc::new(server);
    writes.extend(tokens::record(token).0);
    writes.extend([Write::Client(Arc::new(client)), Write::Server(server.clone())]);
    Ok((writes, server))
}

/// A start that is to wait for room.
#[derive(Debug, Clone)]
pub struct Queueing {
    /// Which server.
    pub key: ServerKey,
    /// Since when.
    pub since: Moment,
    /// The order of its last life, which is known to have ended.
    pub over: Option<OrderId>,
    /// What the user chose; none: as last time.
    pub options: Option<serde_json::Value>,
    /// A new display name; none: as before.
    pub display_name: Option<String>,
}

/// Records that a start waits, with what was chosen for it: that is what it is started with when its turn comes, whatever
/// happens to the hub meanwhile.
pub fn queue_server(image: &Image, what: Queueing) -> Decided<(), StepRefused> {
    image.user(what.key.user).ok_or(StepRefused::NoUser)?;
    let old = image.server(&what.key);
    not_moved_on(old.and_then(|server| server.state.order()), what.over.as_ref())?;
    let mut server =
        old.map_or_else(|| named::fresh(what.key.clone()), |server| (**server).clone());
    server.state = ServerState::Queued { since: what.since };
    server.user_options = what.options.or(server.user_options);
    server.display_name = what.display_name.unwrap_or(server.display_name);
    server.deaths = Vec::new();
    Ok((vec![Write::Server(Arc::new(server))], ()))
}

/// A step to be recorded.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Which server.
    pub key: ServerKey,
    /// The order in hand until now; none: it was waiting.
    pub order: Option<OrderId>,
    /// How far it is now.
    pub state: ServerState,
    /// What it answered its probe with, once it did.
    pub version: Option<String>,
    /// Deaths that still count.
    pub deaths: Vec<Moment>,
}

/// Records how far a server is. With a life its API token ends; at rest also its OAuth client and the tokens and codes
/// given to that, and the record itself if it was to go.
pub fn move_server(image: &Image, what: Moved) -> Decided<(), StepRefused> {
    let old = image.server(&what.key).ok_or(StepRefused::MovedOn)?;
    let recorded = old.state.order();
    not_moved_on(recorded, what.order.as_ref())?;
    let mut server = (**old).clone();
    let mut writes = Vec::new();
    match what.state {
        ServerState::Starting { .. }
        | ServerState::Probing { .. }
        | ServerState::Running { .. }
        | ServerState::Stopping { .. } => {
            if recorded.is_none() {
                return Err(StepRefused::MovedOn);
            }
            server.version = what.version.or(server.version);
        }
        // Only by `queue_server`, which knows what was chosen.
        ServerState::Queued { .. } => return Err(StepRefused::MovedOn),
        ServerState::Waiting { .. } => {
            writes.extend(server.token.take().map(Write::TokenGone));
        }
        ServerState::Stopped(_) | ServerState::Failed(_)
            if matches!(old.state, ServerState::Stopping { remove: true, .. }) =>
        {
            let Ok(gone) = remove_server(image, &what.key);
            return Ok(gone);
        }
        ServerState::Stopped(_) | ServerState::Failed(_) => {
            writes = leave(image, old);
            server.token = None;
            server.started = None;
            server.version = None;
        }
    }
    server.state = what.state;
    server.deaths = what.deaths;
    if server != **old {
        writes.push(Write::Server(Arc::new(server)));
    }
    Ok((writes, ()))
}

/// The end of a server, of its record, and of the shares of it. Nothing happens if there is none.
pub fn remove_server(image: &Image, key: &ServerKey) -> Decided<(), Infallible> {
    let Some(server) = image.server(key) else {
        return Ok((Vec::new(), ()));
    };
    let mut writes = leave(image, server);
    // The default server is there without a record, too.
    if !key.name.is_default() {
        writes.extend(shares::end_of_server(image, key));
    }
    writes.push(Write::ServerGone(key.clone()));
    Ok((writes, ()))
}

/// Is the recorded order, if there is one, the one this is about?
fn not_moved_on(recorded: Option<&OrderId>, about: Option<&OrderId>) -> Result<(), StepRefused> {
    match recorded {
        Some(_) if recorded != about => Err(StepRefused::MovedOn),
        Some(_) | None => Ok(()),
    }
}

/// Everything that ends with a life.
pub(super) fn leave(image: &Image, server: &Server) -> Vec<Write> {
    let own = server.token.map(Write::TokenGone);
    let user = image.user(server.key.user);
    let visitors = user.map(|user| without_client(image, user, &server.key.name));
    own.into_iter().chain(visitors.into_iter().flatten()).collect()
}

/// The end of a server's OAuth client and of all that was given to it.
fn without_client(image: &Image, user: &User, server: &ServerName) -> Vec<Write> {
    let id = ClientId::of_server(&user.name, server);
    let tokens = image.tokens_for(&id).map(|token| Write::TokenGone(token.id));
    let codes = image.codes().filter(|code| code.client == id);
    let codes = codes.map(|code| Write::CodeGone(code.hash));
    let client = image.client(&id).map(|_| Write::ClientGone(id.clone()));
    tokens.chain(codes).chain(client).collect()
}

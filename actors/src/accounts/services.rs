//! Services that are made and removed by request, and what goes with one. (`spec/rest-api.md` 4.9.)

use std::sync::Arc;

use thiserror::Error;

use super::{Decided, access, tokens};
use crate::{
    domain::{
        ClientId, Moment, OAuthClient, Owner, Policy, Scope, Service, ServiceName, Token,
        TokenHash, TokenId,
        oauth::ClientOf,
        role,
        scope::{Granted, Holder},
    },
    store::{Image, Write},
};

/// The note of a token that comes with a service's entry or request.
pub const CONFIGURED: &str = "from config";

/// A service's OAuth client, as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedClient {
    /// Its public name.
    pub id: ClientId,
    /// Where browsers come back to.
    pub redirect_uri: String,
    /// What visitors' tokens may carry besides identity and access.
    pub allowed_scopes: Vec<Scope>,
    /// Its secret where it has neither a token nor a secret yet: a hash of nothing anybody knows.
    pub fresh: TokenHash,
}

/// A service to be made by request.
#[derive(Debug, Clone)]
pub struct NewService {
    /// The record.
    pub service: Service,
    /// Of its token, if it brings one.
    pub token: Option<TokenHash>,
    /// Its OAuth client, if it is one.
    pub client: Option<WantedClient>,
    /// Who asks, and what the request may do: no more is given away.
    pub asker: (Holder, Granted),
}

/// Why a service is not made or removed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServiceRefused {
    /// There is one of that name.
    #[error("service {0} exists already")]
    Exists(ServiceName),
    /// There is none of that name.
    #[error("no such service")]
    Missing,
    /// It stands in the configuration.
    #[error("service {0} stands in the configuration; take it out there")]
    Configured(ServiceName),
    /// It would be given what the asker does not hold.
    #[error("not allowed to give scopes: {0}")]
    Excess(String),
    /// Its OAuth client's name is another's.
    #[error("another service has the client id {0}")]
    Client(ClientId),
    /// Its token is somebody's already.
    #[error("this token is in use")]
    Token,
}

/// Makes a service, with its token and its OAuth client.
pub fn create_service(
    image: &Image,
    policy: &Policy,
    new: NewService,
    now: Moment,
) -> Decided<Arc<Service>, ServiceRefused> {
    let name = new.service.name.clone();
    if image.service(name.as_str()).is_some() {
        return Err(ServiceRefused::Exists(name));
    }
    let (holder, held) = &new.asker;
    let mut given = new.service.oauth_client_allowed_scopes.clone();
    if new.service.admin {
        given.extend(policy.role(role::ADMIN).into_iter().flat_map(|role| role.scopes.clone()));
    }
    let excess = access::excess(image, policy, &given, holder, held);
    if !excess.is_empty() {
        return Err(ServiceRefused::Excess(excess.join(", ")));
    }
    if let Some(client) = new.client.as_ref().filter(|client| image.client(&client.id).is_some()) {
        return Err(ServiceRefused::Client(client.id.clone()));
    }
    if new.token.is_some_and(|hash| image.token_hashed(&hash).is_some()) {
        return Err(ServiceRefused::Token);
    }
    let service = Arc::new(new.service);
    let mut writes = vec![Write::Service(service.clone())];
    if let Some(hash) = new.token {
        writes.extend(token(TokenId(image.next_id()), &name, hash, CONFIGURED, now));
    }
    if let Some(client) = new.client {
        let secret = new.token.unwrap_or(client.fresh);
        writes.push(Write::Client(Arc::new(oauth_client(&name, client, secret))));
    }
    Ok((writes, service))
}

/// The note of a token that the hub makes for a service it starts.
const MANAGED: &str = "of a managed service";

/// Before a managed service starts: this is its token, and its client's secret, from now on. The one of its life before
/// is void.
pub fn begin_service(
    image: &Image,
    name: &ServiceName,
    hash: TokenHash,
    now: Moment,
) -> Decided<(), ServiceRefused> {
    image.service(name.as_str()).ok_or(ServiceRefused::Missing)?;
    let owner = Owner::Service(name.clone());
    let old = image.tokens_of(&owner).filter(|it| *it.note == *MANAGED && it.hash != hash);
    let mut writes: Vec<_> = old.map(|token| Write::TokenGone(token.id)).collect();
    match image.token_hashed(&hash) {
        Some(token) if token.owner == owner => {}
        Some(_) => return Err(ServiceRefused::Token),
        None => writes.extend(token(TokenId(image.next_id()), name, hash, MANAGED, now)),
    }
    let clients = clients_of(image, name).filter(|client| client.secret != hash);
    let renewed = |it: &Arc<OAuthClient>| OAuthClient { secret: hash, ..OAuthClient::clone(it) };
    writes.extend(clients.map(|client| Write::Client(Arc::new(renewed(client)))));
    Ok((writes, ()))
}

/// Removes a service that was made by request, with all that is its own.
pub fn delete_service(image: &Image, name: &str) -> Decided<(), ServiceRefused> {
    let service = image.service(name).ok_or(ServiceRefused::Missing)?;
    if service.configured {
        return Err(ServiceRefused::Configured(service.name.clone()));
    }
    Ok((without_service(image, &service.name), ()))
}

/// The end of a service: record, tokens, clients, what was given to these.
pub(super) fn without_service(image: &Image, name: &ServiceName) -> Vec<Write> {
    let own = image.tokens_of(&Owner::Service(name.clone()));
    let mut writes: Vec<_> = own.map(|token| Write::TokenGone(token.id)).collect();
    for client in clients_of(image, name) {
        writes.extend(without_client(image, &client.id));
    }
    writes.extend(image.service(name.as_str()).map(|it| Write::ServiceGone(it.name.clone())));
    writes
}

/// The OAuth clients that a service is: one, but while its name as client changes.
pub(super) fn clients_of<'a>(
    image: &'a Image,
    name: &'a ServiceName,
) -> impl Iterator<Item = &'a Arc<OAuthClient>> {
    image.clients().filter(move |it| matches!(&it.of, ClientOf::Service(whose) if whose == name))
}

/// The end of an OAuth client, and of the tokens and codes given to it.
pub(super) fn without_client(image: &Image, id: &ClientId) -> Vec<Write> {
    let tokens = image.tokens_for(id).map(|token| Write::TokenGone(token.id));
    let codes = image.codes().filter(|code| code.client == *id);
    let codes = codes.map(|code| Write::CodeGone(code.hash));
    tokens.chain(codes).chain([Write::ClientGone(id.clone())]).collect()
}

/// A service's own token for the API. It may what the service may, at any time.
pub(super) fn token(
    id: TokenId,
    name: &ServiceName,
    hash: TokenHash,
    note: &str,
    now: Moment,
) -> Vec<Write> {
    let token = Token {
        id,
        owner: Owner::Service(name.clone()),
        hash,
        scopes: [Scope::new("inherit")].into(),
        created: now,
        expires_at: None,
        last_activity: None,
        note: note.into(),
        client: None,
        session: None,
    };
    tokens::record(token).0
}

/// The record of a service's OAuth client.
pub(super) fn oauth_client(
    name: &ServiceName,
    wanted: WantedClient,
    secret: TokenHash,
) -> OAuthClient {
    OAuthClient {
        id: wanted.id,
        secret,
        redirect_uri: wanted.redirect_uri,
        description: format!("service {name}"),
        allowed_scopes: wanted.allowed_scopes,
        of: ClientOf::Service(name.clone()),
    }
}

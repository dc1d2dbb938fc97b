//! What somebody holds now: by roles, by roles of groups, by shares; and what a token of theirs does. (`spec/rbac.md` 5.)
//!
//! Worked out anew for each request, from the records and the [`Policy`] as they are then: what is taken from an owner is
//! taken from all tokens with the next request.

use crate::{
    domain::{
        OAuthClient, Owner, Policy, Scope, Service, Share, SharedWith, Token, User, Username,
        oauth::ClientOf,
        scope::{self, Filter, Granted, Grants, Holder, Mask, Vocabulary},
    },
    store::Image,
};

/// Everything a user holds.
pub fn of_user(image: &Image, policy: &Policy, user: &User) -> Granted {
    let holder = Holder::user(&user.name);
    let mut out = Granted::default();
    if policy.is_blocked(&user.name) {
        return out;
    }
    for role in policy.of_user(&user.name, user.admin) {
        role.grants.give(&holder, &mut out);
    }
    add_shares(image, policy.vocabulary(), SharedWith::User(user.id), &mut out);
    for group in image.groups_of(user.id) {
        for role in policy.of_group(group.name.as_str()) {
            role.grants.give(&holder, &mut out);
        }
        // The reference leaves these out of tokens, so that members of a group are let in and then refused.
        add_shares(image, policy.vocabulary(), SharedWith::Group(group.id), &mut out);
    }
    out
}

/// Everything a service holds.
pub fn of_service(policy: &Policy, service: &Service) -> Granted {
    let holder = Holder::service(&service.name);
    let mut out = Granted::default();
    for role in policy.of_service(&service.name, service.admin) {
        role.grants.give(&holder, &mut out);
    }
    out
}

/// Who an owner is, and everything it holds. Nothing: there is none.
pub fn of_owner(image: &Image, policy: &Policy, owner: &Owner) -> Option<(Holder, Granted)> {
    match owner {
        Owner::User(id) => {
            let user = image.user(*id)?;
            Some((Holder::user(&user.name), of_user(image, policy, user)))
        }
        Owner::Service(name) => {
            let service = image.service(name.as_str())?;
            Some((Holder::service(name), of_service(policy, service)))
        }
    }
}

/// What a token may do: what it was given, what identifies its owner, what opens its client; cut to what the owner
/// holds. Nothing: its owner is gone.
pub fn of_token(image: &Image, policy: &Policy, token: &Token) -> Option<Granted> {
    let client = token.client.as_ref().and_then(|id| image.client(id)).map(|it| &**it);
    of_scopes(image, policy, &token.owner, &token.scopes, client)
}

/// As [`of_token`], for a token that is to be.
pub fn of_scopes(
    image: &Image,
    policy: &Policy,
    owner: &Owner,
    scopes: &[Scope],
    client: Option<&OAuthClient>,
) -> Option<Granted> {
    let (holder, held) = of_owner(image, policy, owner)?;
    let grants = Grants::of(policy.vocabulary(), scopes);
    if grants.inherits() {
        return Some(held);
    }
    let mut asked = Granted::default();
    scope::identify(&holder, matches!(owner, Owner::Service(_)), &mut asked);
    match client {
        Some(client) => {
            let name = name_of_owner(image, client);
            scope::access(client, name, &mut asked);
            grants.give(&holder.by_client(client, name), &mut asked);
        }
        None => grants.give(&holder, &mut asked),
    }
    Some(asked.meet(&held, image))
}

/// Whose server this client is, if it is one.
pub fn name_of_owner<'a>(image: &'a Image, client: &OAuthClient) -> Option<&'a Username> {
    match &client.of {
        ClientOf::Server(owner, _) => image.user(*owner).map(|user| &user.name),
        ClientOf::Service(_) => None,
    }
}

/// Of these scopes, those that the holder does not hold in full, expanded, and those that are none. `inherit` says no more
/// than its owner.
pub fn excess(
    image: &Image,
    policy: &Policy,
    scopes: &[Scope],
    holder: &Holder,
    held: &Granted,
) -> Vec<String> {
    let vocabulary = policy.vocabulary();
    let asked = Grants::of(vocabulary, scopes).to(holder);
    let unknown = scopes.iter().filter(|scope| !scope.is_known(vocabulary));
    let mut out = asked.beyond(held, image).names(vocabulary);
    out.extend(unknown.map(ToString::to_string));
    out
}

/// What shares give: scopes of one server each.
fn add_shares(image: &Image, vocabulary: &Vocabulary, with: SharedWith, to: &mut Granted) {
    for share in image.shared_with(with) {
        if let Some((filter, mask)) = shared(image, vocabulary, share) {
            to.add(filter, mask);
        }
    }
}

/// What one share gives. Nothing: its owner is gone.
fn shared(image: &Image, vocabulary: &Vocabulary, share: &Share) -> Option<(Filter, Mask)> {
    let owner = &image.user(share.key.server.user)?.name;
    let texts = share
        .scopes
        .iter()
        .map(|base| Scope::new(&format!("{base}!server={owner}/{}", share.key.server.name)));
    let texts: Vec<_> = texts.collect();
    let given = Grants::of(vocabulary, &texts).to(&Holder::default());
    given.parts().next().map(|(filter, mask)| (filter.clone(), mask))
}

#[cfg(test)]
mod tests;

//! An authorization request, checked against its client: pure.

use jovis_actors::{
    accounts::access,
    domain::{
        ClientId, Moment, OAuthClient, Policy, Scope, User,
        oauth::ClientOf,
        scope::{self, Granted, Grants, Holder},
    },
    store::Image,
};

use crate::web::form::{self, Form};

/// What may go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Client or redirect URI cannot be trusted: a page here, never a redirect.
    Fatal(&'static str),
    /// Told to the client by redirect.
    Told {
        /// Where.
        target: String,
    },
}

/// A request that is in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// Who asks.
    pub(crate) client: OAuthClient,
    /// Given back unchanged.
    pub(crate) state: Option<String>,
    /// Raw scopes, the required ones among them.
    pub(crate) scopes: Vec<Scope>,
    /// S256 challenge.
    pub(crate) challenge: Option<String>,
}

/// The host a client's answers go to, where that is not ours: `scheme://host[:port]`.
pub(crate) fn other_host(client: &OAuthClient) -> Option<String> {
    let (scheme, rest) = client.redirect_uri.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    // It goes into a header among other words.
    (matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(plain))
        .then(|| format!("{scheme}://{host}"))
}

/// The same for whoever is signed in and then goes to `next`, an address of ours.
pub(crate) fn led_to_host(image: &Image, hub: &str, next: &str) -> Option<String> {
    let query = next.strip_prefix(hub)?.strip_prefix("api/oauth2/authorize?")?;
    let query = Form::parse(query).ok()?;
    other_host(image.client(&ClientId::claimed(query.get("client_id")?))?)
}

/// Scopes of identity every OAuth token has.
const IDENTITY: [&str; 2] = ["read:users:name!user", "read:users:groups!user"];

/// Checks `query`, sent by the browser of `user`. `pkce`: must there be a challenge?
pub(crate) fn check(
    image: &Image,
    policy: &Policy,
    user: &User,
    query: &Form,
    pkce: bool,
) -> Result<Asked, Wrong> {
    for name in [
        "client_id",
        "response_type",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
    ] {
        if query.repeats(name) {
            return Err(Wrong::Fatal("a parameter stands twice in the address"));
        }
    }
    let id = query.get("client_id").ok_or(Wrong::Fatal("client_id is missing"))?;
    let client =
        image.client(&ClientId::claimed(id)).ok_or(Wrong::Fatal("client_id is not known"))?;
    let client = OAuthClient::clone(client);
    if query.get("redirect_uri").is_some_and(|uri| uri != client.redirect_uri) {
        return Err(Wrong::Fatal("redirect_uri is not the registered one"));
    }
    let state = query.get("state").map(ToOwned::to_owned);
    let told = |error: &str, why: &str| {
        let mut pairs = vec![("error", error), ("error_description", why)];
        pairs.extend(state.as_deref().map(|state| ("state", state)));
        Wrong::Told { target: form::with_query(&client.redirect_uri, &form::encode(pairs)) }
    };
    match query.get("response_type") {
        None => return Err(told("invalid_request", "response_type is missing")),
        Some("code") => {}
        Some(_) => return Err(told("unsupported_response_type", "only code is supported")),
    }
    let challenge = match (query.get("code_challenge"), query.get("code_challenge_method")) {
        (None, None) if !pkce => None,
        (None, _) => return Err(told("invalid_request", "code_challenge is missing")),
        (Some(text), Some("S256")) if is_challenge(text) => Some(text.to_owned()),
        (Some(_), Some("S256")) => {
            return Err(told("invalid_request", "code_challenge is not a SHA-256 in base64url"));
        }
        (Some(_), _) => return Err(told("invalid_request", "code_challenge_method must be S256")),
    };
    let scopes = match query.get("scope").filter(|text| !text.trim().is_empty()) {
        None => default_scopes(image, &client),
        Some(text) => {
            let names = text.split_ascii_whitespace().filter(|name| *name != "identify");
            let asked = meant(policy, &names.collect::<Vec<_>>());
            if !allowed(image, policy, &client, user, &asked) {
                return Err(told("invalid_scope", "the client may not ask for this"));
            }
            with_required(image, &client, asked)
        }
    };
    Ok(Asked { client, state, scopes, challenge })
}

/// 32 bytes in base64url without padding.
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The scope that opens what the client stands for.
pub(crate) fn access_scope(image: &Image, client: &OAuthClient) -> Option<Scope> {
    match &client.of {
        ClientOf::Server(owner, server) => {
            image.user(*owner).map(|owner| Scope::access_server(&owner.name, server))
        }
        ClientOf::Service(name) => Some(Scope::access_service(name)),
    }
}

fn required(image: &Image, client: &OAuthClient) -> Vec<Scope> {
    IDENTITY.iter().map(|text| Scope::new(text)).chain(access_scope(image, client)).collect()
}

fn default_scopes(image: &Image, client: &OAuthClient) -> Vec<Scope> {
    let inherit = Scope::new("inherit");
    if client.allowed_scopes.contains(&inherit) {
        vec![inherit]
    } else {
        with_required(image, client, client.allowed_scopes.clone())
    }
}

/// With the scopes of identity and access, each once.
pub(crate) fn with_required(
    image: &Image,
    client: &OAuthClient,
    mut scopes: Vec<Scope>,
) -> Vec<Scope> {
    for scope in required(image, client) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

/// What these words mean: scopes, or, where one of them is none, the scopes of the roles of these names. What is neither
/// stays as it is, and is allowed to nobody.
fn meant(policy: &Policy, names: &[&str]) -> Vec<Scope> {
    let scopes: Vec<Scope> = names.iter().map(|name| Scope::new(name)).collect();
    if scopes.iter().all(|scope| scope.is_known(policy.vocabulary())) {
        return scopes;
    }
    let roles: Option<Vec<_>> = names.iter().map(|name| policy.role(name)).collect();
    roles.map_or(scopes, |roles| roles.iter().flat_map(|role| role.scopes.clone()).collect())
}

/// May the client ask `user` for these at all? For what stands in its list, and for what lies within that.
pub(crate) fn allowed(
    image: &Image,
    policy: &Policy,
    client: &OAuthClient,
    user: &User,
    asked: &[Scope],
) -> bool {
    let listed: Vec<Scope> =
        client.allowed_scopes.iter().cloned().chain(required(image, client)).collect();
    let holder = Holder::user(&user.name).by_client(client, access::name_of_owner(image, client));
    let most = Grants::of(policy.vocabulary(), &listed).to(&holder);
    asked.iter().all(|it| {
        let within = || {
            let grants = Grants::of(policy.vocabulary(), [it]);
            let known = it.is_known(policy.vocabulary()) && !grants.inherits();
            known && grants.to(&holder).is_within(&most, image)
        };
        listed.contains(it) || within()
    })
}

/// May whoever holds this enter what the client stands for?
pub(crate) fn has_access(image: &Image, client: &OAuthClient, held: &Granted) -> bool {
    let mut needed = Granted::default();
    scope::access(client, access::name_of_owner(image, client), &mut needed);
    needed != Granted::default() && needed.is_within(held, image)
}

/// What of these a user holds, at least in part. The rest is dropped without a word.
pub(crate) fn granted(
    image: &Image,
    policy: &Policy,
    client: &OAuthClient,
    user: &User,
    asked: Vec<Scope>,
) -> Vec<Scope> {
    let required = required(image, client);
    let held = access::of_user(image, policy, user);
    let holder = Holder::user(&user.name).by_client(client, access::name_of_owner(image, client));
    let keeps = |it: &Scope| {
        let in_part = || {
            let common = Grants::of(policy.vocabulary(), [it]).to(&holder).meet(&held, image);
            policy.vocabulary().only(it.base()).is_some_and(|name| common.any().meets(name))
        };
        matches!(it.as_str(), "inherit" | "self") || required.contains(it) || in_part()
    };
    asked.into_iter().filter(keeps).collect()
}

/// Must the user be asked? Not for one's own server, nor for a service that the operator trusts, nor for what that client
/// has still got.
pub(crate) fn needs_consent(image: &Image, asked: &Asked, user: &User, now: Moment) -> bool {
    let client = &asked.client;
    match &client.of {
        ClientOf::Server(owner, _) if *owner == user.id => return false,
        ClientOf::Service(name)
            if image.service(name.as_str()).is_some_and(|service| service.oauth_no_confirm) =>
        {
            return false;
        }
        ClientOf::Server(..) | ClientOf::Service(_) => {}
    }
    let owner = jovis_actors::domain::Owner::User(user.id);
    let had: Vec<&Scope> = image
        .tokens_of(&owner)
        .filter(|token| token.client.as_ref() == Some(&client.id) && token.is_valid(now))
        .flat_map(|token| token.scopes.iter())
        .collect();
    had.is_empty() || asked.scopes.iter().any(|it| !had.contains(&it))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use jovis_actors::{
        domain::{Owner, ServerName, Token, TokenHash, TokenId, UserId, Username, role::RoleEntry},
        store::Write,
    };

    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn user(id: u64, name: &str, admin: bool) -> User {
        User {
            id: UserId(id),
            name: Username::new(name).unwrap(),
            admin,
            created: Moment(0),
            last_activity: None,
            cookie_id: String::new(),
            user_info: None,
        }
    }

    fn image() -> Image {
        let mut image = Image::default();
        let bob = user(1, "bob", false);
        let server = ServerName::default_server();
        let client = OAuthClient {
            id: ClientId::of_server(&bob.name, &server),
            secret: TokenHash([1; 32]),
            redirect_uri: "/user/bob/oauth_callback".into(),
            description: "Server at /user/bob/".into(),
            allowed_scopes: vec![Scope::new("read:users!user")],
            of: ClientOf::Server(bob.id, server),
        };
        for write in [
            Write::User(Arc::new(bob)),
            Write::User(Arc::new(user(2, "eve", false))),
            Write::User(Arc::new(user(3, "root", true))),
            Write::Client(Arc::new(client)),
        ] {
            image.apply(&write);
        }
        image
    }

    fn ask(query: &str) -> Result<Asked, Wrong> {
        asks(&image(), &Policy::default(), 1, query, false)
    }

    fn asks(
        image: &Image,
        policy: &Policy,
        user: u64,
        query: &str,
        pkce: bool,
    ) -> Result<Asked, Wrong> {
        let user = image.user(UserId(user)).unwrap();
        check(image, policy, user, &Form::parse(query).unwrap(), pkce)
    }

    fn told(query: &str) -> String {
        match ask(query) {
            Err(Wrong::Told { target }) => target,
            other => panic!("{query}: {other:?}"),
        }
    }

    const GOOD: &str = "client_id=jupyterhub-user-bob&response_type=code";

    #[test]
    fn a_request_in_order_passes_with_identity_and_access() {
        let asked = ask(&format!(
            "{GOOD}&redirect_uri=/user/bob/oauth_callback&state=s%26t&code_challenge={CHALLENGE}&code_challenge_method=S256"
        ))
        .unwrap();
        assert_eq!(asked.state.as_deref(), Some("s&t"));
        assert_eq!(asked.challenge.as_deref(), Some(CHALLENGE));
        let texts: Vec<_> = asked.scopes.iter().map(Scope::as_str).collect();
        assert_eq!(
            texts,
            [
                "read:users!user",
                "read:users:name!user",
                "read:users:groups!user",
                "access:servers!server=bob/"
            ]
        );
        assert_eq!(ask(&format!("{GOOD}&scope=identify")).unwrap().scopes.len(), 3);
    }

    #[test]
    fn an_untrusted_target_is_never_redirected_to() {
        for bad in [
            "",
            "response_type=code",
            "client_id=nobody&response_type=code",
            "client_id=jupyterhub&response_type=code",
            "client_id=jupyterhub-user-bob&client_id=jupyterhub-user-bob&response_type=code",
        ] {
            assert!(matches!(ask(bad), Err(Wrong::Fatal(_))), "{bad}");
        }
        for uri in [
            "/user/bob/oauth_callback/",
            "/user/bob/oauth_callback?x",
            "/user/bob/oauth_callback%23",
            "/user/bob/OAUTH_callback",
            "//user/bob/oauth_callback",
            "/user/bob/../eve/oauth_callback",
            "http://hub/user/bob/oauth_callback",
            "/user/bob/oauth_callback%00",
            "",
            "//e",
            "/%5Ce",
            "javascript:x",
            "/user/bob/oauth_callback&redirect_uri=/user/bob/oauth_callback",
        ] {
            let query = format!("{GOOD}&redirect_uri={uri}");
            assert!(matches!(ask(&query), Err(Wrong::Fatal(_))), "{uri}");
        }
        for twice in ["state=1&state=1", "scope=a&scope=b", "code_challenge=a&code_challenge=b"] {
            assert!(matches!(ask(&format!("{GOOD}&{twice}")), Err(Wrong::Fatal(_))), "{twice}");
        }
    }

    #[test]
    fn other_errors_go_to_the_client_with_its_state() {
        let target = told("client_id=jupyterhub-user-bob&state=x");
        assert!(target.starts_with("/user/bob/oauth_callback?error=invalid_request&"), "{target}");
        assert!(target.ends_with("&state=x"), "{target}");
        let id = "client_id=jupyterhub-user-bob&response_type=";
        assert!(told(&format!("{id}token")).contains("error=unsupported_response_type"));
        for bad in [
            "code_challenge=abc",
            "code_challenge=abc&code_challenge_method=S256",
            "code_challenge_method=S256",
            &format!("code_challenge={CHALLENGE}"),
            &format!("code_challenge={CHALLENGE}&code_challenge_method=plain"),
        ] {
            assert!(told(&format!("{GOOD}&{bad}")).contains("error=invalid_request"), "{bad}");
        }
        for bad in ["admin:users", "inherit", "read:users", "access:servers!server=eve/"] {
            assert!(told(&format!("{GOOD}&scope={bad}")).contains("error=invalid_scope"), "{bad}");
        }
        let strict = asks(&image(), &Policy::default(), 1, GOOD, true);
        assert!(matches!(strict, Err(Wrong::Told { .. })));
    }

    #[test]
    fn only_who_may_enter_gets_in_and_only_owners_unasked() {
        let mut image = image();
        let asked = ask(GOOD).unwrap();
        let person = |id: u64| image.user(UserId(id)).unwrap().clone();
        let (bob, eve, root) = (person(1), person(2), person(3));
        let enters = |user: &User| {
            let held = access::of_user(&image, &Policy::default(), user);
            has_access(&image, &asked.client, &held)
        };
        assert!(enters(&bob) && enters(&root) && !enters(&eve));
        assert!(!needs_consent(&image, &asked, &bob, Moment(0)));
        assert!(needs_consent(&image, &asked, &root, Moment(0)));
        let token = Token {
            id: TokenId(9),
            owner: Owner::User(root.id),
            hash: TokenHash([2; 32]),
            scopes: asked.scopes.as_slice().into(),
            created: Moment(0),
            expires_at: None,
            last_activity: None,
            note: "".into(),
            client: Some(asked.client.id.clone()),
            session: None,
        };
        image.apply(&Write::Token(Arc::new(token)));
        assert!(!needs_consent(&image, &asked, &root, Moment(0)));
    }

    #[test]
    fn what_the_user_does_not_hold_is_dropped() {
        let image = image();
        let client = ask(GOOD).unwrap().client;
        let bob = image.user(UserId(1)).unwrap();
        let scopes = vec![
            Scope::new("admin:users"),
            Scope::new("read:users!user"),
            Scope::new("read:users:name!user"),
        ];
        assert_eq!(granted(&image, &Policy::default(), &client, bob, scopes.clone()), scopes[1..]);
    }

    /// Bob's server's client, which may ask for these.
    fn image_allowing(scopes: &[&str]) -> Image {
        let mut image = image();
        let mut client = ask(GOOD).unwrap().client;
        client.allowed_scopes = scopes.iter().map(|text| Scope::new(text)).collect();
        image.apply(&Write::Client(Arc::new(client)));
        image
    }

    fn reader(scopes: &[&str]) -> Policy {
        let entry = RoleEntry {
            name: "reader".to_owned(),
            scopes: Some(scopes.iter().map(|it| (*it).to_owned()).collect()),
            ..RoleEntry::default()
        };
        Policy::new(&[entry], &[], &BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_role_may_be_asked_for_by_its_name() {
        let image = image_allowing(&["read:users!user", "servers!user"]);
        let policy = reader(&["read:users!user", "read:servers!user"]);
        let asked = |scope: &str| asks(&image, &policy, 1, &format!("{GOOD}&scope={scope}"), false);
        let texts: Vec<_> =
            asked("reader").unwrap().scopes.iter().map(ToString::to_string).collect();
        assert_eq!(texts[..2], ["read:users!user", "read:servers!user"]);
        assert_eq!(texts.len(), 5, "and the required ones: {texts:?}");
        assert_eq!(asked("identify+reader").unwrap().scopes.len(), 5);
        for bad in ["reader+read:users!user", "reader+nobody", "admin", "nobody", "user", "token"] {
            let told = matches!(asked(bad), Err(Wrong::Told { target }) if target.contains("invalid_scope"));
            assert!(told, "{bad}");
        }
    }

    #[test]
    fn what_lies_within_the_list_may_be_asked_for() {
        let image = image_allowing(&["servers!user", "inherit"]);
        let policy = Policy::default();
        let asked = |scope: &str| asks(&image, &policy, 1, &format!("{GOOD}&scope={scope}"), false);
        for good in [
            "read:servers!user",
            "read:servers!server=bob/lab",
            "start:servers!user=bob",
            "inherit",
        ] {
            assert!(asked(good).is_ok(), "{good}");
        }
        for bad in ["servers", "servers!user=eve", "tokens!user", "read:servers!group=lab", "self"]
        {
            assert!(asked(bad).is_err(), "{bad}");
        }
        let plain = asks(&image, &policy, 1, GOOD, false).unwrap();
        assert_eq!(plain.scopes, [Scope::new("inherit")], "unasked, it is all that is listed");
    }

    const SCOPES: &[&str] = &[
        "read:users!user",
        "read:users",
        "servers!user",
        "servers",
        "read:servers!server=bob/",
        "users:activity!user",
        "access:servers!server",
        "access:servers",
        "tokens!user",
        "list:users",
        "admin:users",
        "self",
        "(no_scope)",
        "read:users:name!user=eve",
        "access:servers!user=eve",
    ];

    fn some() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(SCOPES), 0..5)
    }

    proptest! {
        /// Never beyond the user, nor beyond the client's list, whatever is asked for.
        #[test]
        fn a_token_lies_within_user_client_and_request(
            listed in some(), words in some(), user in 1..4_u64,
        ) {
            let image = image_allowing(&listed);
            let policy = Policy::default();
            let query = format!("{GOOD}&scope={}", words.join("+"));
            let Ok(asked) = asks(&image, &policy, user, &query, false) else { return Ok(()) };
            let user = image.user(UserId(user)).unwrap().clone();
            let client = &asked.client;
            let scopes = granted(&image, &policy, client, &user, asked.scopes.clone());
            let owner = Owner::User(user.id);
            let does = access::of_scopes(&image, &policy, &owner, &scopes, Some(client)).unwrap();
            prop_assert!(does.is_within(&access::of_user(&image, &policy, &user), &image));
            let most: Vec<_> =
                client.allowed_scopes.iter().cloned().chain(required(&image, client)).collect();
            let holder = Holder::user(&user.name).by_client(client, access::name_of_owner(&image, client));
            let most = Grants::of(policy.vocabulary(), &most).to(&holder);
            prop_assert!(does.is_within(&most, &image), "{:?} beyond {:?}", scopes, listed);
            if !words.is_empty() {
                let named: Vec<_> = words.iter().map(|it| Scope::new(it)).chain(required(&image, client)).collect();
                let named = Grants::of(policy.vocabulary(), &named).to(&holder);
                prop_assert!(does.is_within(&named, &image), "{:?} beyond {:?}", scopes, words);
            }
        }
    }
}

//! Tables for the rules, and properties over random histories.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        Cause, ClientId, Moment, OAuthClient, OrderId, Owner, Policy, Scope, Server, ServerKey,
        ServerName, ServerState, TokenHash, TokenId, User, UserId, Username, oauth::ClientOf,
        server::Handle,
    },
    store::Image,
};

mod holdings;
mod people;

const NOW: Moment = Moment(1_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn hash(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| Scope::new(text)).collect()
}

/// Carries a decision out.
fn apply<T, E: std::fmt::Debug>(image: &mut Image, decided: Decided<T, E>) -> T {
    let (writes, answer) = decided.unwrap();
    writes.iter().for_each(|write| image.apply(write));
    answer
}

fn join(image: &mut Image, text: &str, admin: bool) -> Arc<User> {
    let who = Arrived { admin: Some(admin), ..Arrived::named(name(text), format!("{text}'s")) };
    let decided = sign_in(image, &who, NOW);
    apply(image, decided)
}

fn key(user: &User, server: &str) -> ServerKey {
    ServerKey { user: user.id, name: ServerName::new(server).unwrap() }
}

fn order(n: u8) -> OrderId {
    OrderId::from_bytes([n; 16])
}

fn beginning(user: &User, server: &str, token: u8) -> Beginning {
    let slash = if server.is_empty() { "" } else { "/" };
    Beginning {
        key: key(user, server),
        order: order(token),
        over: None,
        options: None,
        display_name: None,
        prefix: format!("/user/{}/{server}{slash}", user.name),
        url: format!("/user/{}/{server}{slash}", user.name),
        hash: hash(token),
        token_scopes: SERVER_SCOPES.map(Scope::new).into(),
        client_scopes: Vec::new(),
        deaths: Vec::new(),
    }
}

/// A start, once the life in hand (if any) is known to be over.
fn begin(image: &mut Image, what: Beginning) -> Arc<Server> {
    let over = image.server(&what.key).and_then(|server| server.state.order().cloned());
    let decided = begin_server(image, Beginning { over, ..what }, NOW);
    apply(image, decided)
}

/// A step of the life under this order.
fn moved(user: &User, server: &str, n: u8, state: ServerState) -> Moved {
    let key = key(user, server);
    Moved { key, order: Some(order(n)), state, version: None, deaths: Vec::new() }
}

fn stopped() -> ServerState {
    ServerState::Stopped(Some(Cause::Stopped))
}

/// A code for the default server of this user, whose API token is `hash(1)`.
fn code(user: &User, n: u8) -> NewCode {
    NewCode {
        hash: hash(n),
        client: ClientId::of_server(&user.name, &ServerName::default_server()),
        user: user.id,
        scopes: scopes(&["access:servers!server=bob/"]),
        session: Some("tab".to_owned()),
        challenge: Some("challenge".to_owned()),
    }
}

fn redemption(user: &User, n: u8, token: u8) -> Redemption {
    Redemption {
        code: hash(n),
        client: ClientId::of_server(&user.name, &ServerName::default_server()),
        secret: hash(1),
        redirect_uri: Some("/user/bob/oauth_callback".to_owned()),
        challenge: Some("challenge".to_owned()),
        token: hash(token),
        expires_in: HOUR,
    }
}

/// Bob with a running default server and a code that was given out for it.
fn bob_with_code() -> (Image, Arc<User>) {
    let mut image = Image::default();
    let bob = join(&mut image, "bob", false);
    begin(&mut image, beginning(&bob, "", 1));
    let given = give_code(&image, code(&bob, 50), NOW);
    apply(&mut image, given);
    (image, bob)
}

#[test]
fn signing_in_changes_what_the_authenticator_said_and_nothing_else() {
    let mut image = Image::default();
    let info = Some(serde_json::json!({"mail": "b@x"}));
    let by = |cookie: &str| Arrived::named(name("bob"), cookie.to_owned());
    let first = sign_in(&image, &Arrived { info: info.clone(), ..by("one") }, NOW);
    let bob = apply(&mut image, first);
    assert_eq!((bob.admin, bob.last_activity, bob.created), (false, None, NOW));

    let (writes, same) = sign_in(&image, &by("two"), NOW).unwrap();
    assert!(writes.is_empty(), "nothing new is nothing to write");
    assert_eq!((&same.cookie_id[..], &same.user_info), ("one", &info));

    let promoted = sign_in(&image, &Arrived { admin: Some(true), ..by("three") }, NOW);
    let promoted = apply(&mut image, promoted);
    assert!(promoted.admin);
    assert_eq!(promoted.id, bob.id);
    let (writes, kept) = sign_in(&image, &by(""), NOW).unwrap();
    assert!(writes.is_empty() && kept.admin);
}

#[test]
fn signing_out_ends_this_browsers_tokens_and_codes_only() {
    let (mut image, bob) = bob_with_code();
    let mut elsewhere = code(&bob, 51);
    elsewhere.session = Some("phone".to_owned());
    for decided in [give_code(&image, code(&bob, 52), NOW), give_code(&image, elsewhere, NOW)] {
        apply(&mut image, decided);
    }
    for (n, token) in [(50, 60), (51, 61)] {
        let redeemed = redeem_code(&image, redemption(&bob, n, token), NOW);
        apply(&mut image, redeemed).unwrap();
    }
    let out = sign_out(&image, bob.id, "tab", NOW);
    apply(&mut image, out);
    assert!(image.token_hashed(&hash(60)).is_none());
    assert!(image.token_hashed(&hash(61)).is_some(), "the phone stays signed in");
    assert!(image.token_hashed(&hash(1)).is_some(), "the server keeps its own token");
    let late = redeem_code(&image, redemption(&bob, 52, 62), NOW);
    assert_eq!(apply(&mut image, late), Err(RedeemRefused::Grant));
}

#[test]
fn a_request_let_in_before_the_sign_out_gets_no_code_after_it() {
    let (mut image, bob) = bob_with_code();
    let eve = join(&mut image, "eve", false);
    let out = sign_out(&image, bob.id, "tab", NOW);
    apply(&mut image, out);
    let give = |image: &Image, new, when| give_code(image, new, when);
    let just = Moment(NOW.plus(CODE_LIFE).0 - 1);
    for when in [NOW, just] {
        let late = give(&image, code(&bob, 51), when);
        assert_eq!(late.unwrap_err(), CodeRefused::SignedOut);
    }
    let phone = NewCode { session: Some("phone".to_owned()), ..code(&bob, 51) };
    assert!(give(&image, phone, NOW).is_ok());
    assert!(give(&image, NewCode { user: eve.id, ..code(&bob, 51) }, NOW).is_ok());
    assert!(give(&image, code(&bob, 51), NOW.plus(CODE_LIFE)).is_ok());

    // The mark is no code: nobody can redeem it, and it goes like one.
    let mark = image.codes().next().unwrap().clone();
    let what =
        Redemption { code: mark.hash, client: mark.client.clone(), ..redemption(&bob, 0, 60) };
    assert_eq!(redeem_code(&image, what, NOW).unwrap().1, Err(RedeemRefused::Client));
    let what = Redemption { code: mark.hash, ..redemption(&bob, 0, 60) };
    assert_eq!(redeem_code(&image, what, NOW).unwrap().1, Err(RedeemRefused::Grant));
    for n in 0..100 {
        let out = sign_out(&image, bob.id, &format!("tab {n}"), Moment(NOW.0 + n));
        apply(&mut image, out);
    }
    assert_eq!(image.codes().count(), 16, "no more than that of one user");
    assert!(
        give(&image, NewCode { session: Some("tab 99".to_owned()), ..code(&bob, 51) }, NOW)
            .is_err()
    );
    delete_expired(&image, just.plus(HOUR)).iter().for_each(|write| image.apply(write));
    assert_eq!(image.codes().count(), 0);
}

#[test]
fn a_token_holds_no_more_than_its_owner() {
    let mut image = Image::default();
    let (bob, root) = (join(&mut image, "bob", false), join(&mut image, "root", true));
    let cases: &[(&User, &[&str], &str)] = &[
        (&bob, &[], ""),
        (&bob, &["inherit"], ""),
        (&bob, &["self", "read:users:name!user", "tokens!user=bob"], ""),
        (&bob, &["access:servers!server=bob/lab"], ""),
        (&bob, &["list:users"], "list:users, read:users:name"),
        (&bob, &["tokens!user=eve", "inherit"], "read:tokens!user=eve, tokens!user=eve"),
        (&bob, &["no-such-scope"], "no-such-scope"),
        (&root, &["admin:users", "read:users", "tokens!user=bob"], ""),
    ];
    for (owner, asked, excess) in cases {
        let new = NewToken {
            owner: Owner::User(owner.id),
            hash: hash(9),
            scopes: scopes(asked),
            note: String::new(),
            expires_in: Some(HOUR),
        };
        let outcome = issue_token(&image, &Policy::default(), new, NOW);
        match *excess {
            "" => assert_eq!(outcome.unwrap().1.expires_at, Some(NOW.plus(HOUR)), "{asked:?}"),
            _ => assert_eq!(outcome.unwrap_err(), TokenRefused::Excess((*excess).to_owned())),
        }
    }
    let orphan = NewToken {
        owner: Owner::User(UserId(99)),
        hash: hash(9),
        scopes: Vec::new(),
        note: String::new(),
        expires_in: None,
    };
    assert_eq!(
        issue_token(&image, &Policy::default(), orphan, NOW).unwrap_err(),
        TokenRefused::NoOwner
    );
}

#[test]
fn tokens_are_bounded_in_size_and_number() {
    let (mut image, bob) = bob_with_code();
    let new = |life| NewToken {
        owner: Owner::User(bob.id),
        hash: hash(9),
        scopes: scopes(&["self"]),
        note: "n".repeat(LONGEST_NOTE),
        expires_in: life,
    };
    let long = NewToken { note: "n".repeat(LONGEST_NOTE + 1), ..new(None) };
    assert_eq!(
        issue_token(&image, &Policy::default(), long, NOW).unwrap_err(),
        TokenRefused::LongNote
    );
    let with = |n| NewToken { scopes: scopes(&vec!["self"; n]), ..new(None) };
    assert_eq!(
        issue_token(&image, &Policy::default(), with(201), NOW).unwrap_err(),
        TokenRefused::ManyScopes
    );
    assert!(issue_token(&image, &Policy::default(), with(200), NOW).is_ok());

    let redeemed = redeem_code(&image, redemption(&bob, 50, 60), NOW);
    apply(&mut image, redeemed).unwrap();
    for n in 0..MOST_TOKENS - 1 {
        let decided =
            issue_token(&image, &Policy::default(), new(Some(HOUR).filter(|_| n % 2 == 0)), NOW);
        apply(&mut image, decided);
    }
    assert_eq!(
        issue_token(&image, &Policy::default(), new(None), NOW).unwrap_err(),
        TokenRefused::ManyTokens
    );
    let eve = join(&mut image, "eve", false);
    let hers = NewToken { owner: Owner::User(eve.id), ..new(None) };
    assert!(
        issue_token(&image, &Policy::default(), hers, NOW).is_ok(),
        "everybody has room of one's own"
    );
    let later = NOW.plus(HOUR);
    let decided = issue_token(&image, &Policy::default(), new(None), later);
    apply(&mut image, decided);
    let left: Vec<_> = image.tokens_of(&Owner::User(bob.id)).cloned().collect();
    // The server's own, the visitor's, those that stay for ever, and the new one.
    assert_eq!(left.len(), 2 + (MOST_TOKENS - 1) / 2 + 1);
    assert!(left.iter().all(|it| it.is_valid(later) || it.client.is_some()));
}

#[test]
fn revoking_one_token_of_a_client_revokes_all_of_that_user() {
    let (mut image, bob) = bob_with_code();
    let eve = join(&mut image, "eve", false);
    let second = give_code(&image, code(&bob, 51), NOW);
    apply(&mut image, second);
    let foreign = give_code(&image, NewCode { user: eve.id, ..code(&bob, 52) }, NOW);
    apply(&mut image, foreign);
    for (n, token) in [(50, 60), (51, 61), (52, 62)] {
        let redeemed = redeem_code(&image, redemption(&bob, n, token), NOW);
        apply(&mut image, redeemed).unwrap();
    }
    let id = image.token_hashed(&hash(60)).unwrap().id;
    let by_eve = revoke_token(&image, &Owner::User(eve.id), id);
    assert!(!apply(&mut image, by_eve), "not hers");
    assert!(image.token(id).is_some());
    let by_bob = revoke_token(&image, &Owner::User(bob.id), id);
    assert!(apply(&mut image, by_bob));
    let left = |n| image.token_hashed(&hash(n)).is_some();
    assert_eq!((left(60), left(61), left(62), left(1)), (false, false, true, true));
}

#[test]
fn a_code_works_once_and_a_second_use_ends_its_token() {
    let (mut image, bob) = bob_with_code();
    let first = redeem_code(&image, redemption(&bob, 50, 60), NOW);
    let token = apply(&mut image, first).unwrap();
    assert_eq!(token.owner, Owner::User(bob.id));
    assert_eq!(token.session.as_deref(), Some("tab"));
    assert_eq!((&token.note[..], token.expires_at), ("", Some(NOW.plus(HOUR))));

    // Somebody else cannot end it by presenting the code.
    let thief = Redemption { secret: hash(9), ..redemption(&bob, 50, 61) };
    let refused = redeem_code(&image, thief, NOW);
    assert_eq!(apply(&mut image, refused), Err(RedeemRefused::Client));
    assert!(image.token(token.id).is_some());

    let again = redeem_code(&image, redemption(&bob, 50, 61), NOW);
    assert_eq!(apply(&mut image, again), Err(RedeemRefused::Grant));
    assert!(image.token(token.id).is_none(), "the token made from it is dead");
    let third = redeem_code(&image, redemption(&bob, 50, 62), NOW);
    assert_eq!(third.unwrap(), (Vec::new(), Err(RedeemRefused::Grant)));
}

#[test]
fn a_code_is_refused_unless_everything_fits() {
    let (mut image, bob) = bob_with_code();
    let eve = join(&mut image, "eve", false);
    begin(&mut image, beginning(&eve, "", 2));
    let naked = give_code(&image, NewCode { challenge: None, ..code(&bob, 51) }, NOW);
    apply(&mut image, naked);
    let good = || redemption(&bob, 50, 60);
    let late = NOW.plus(CODE_LIFE);
    let eves = ClientId::of_server(&eve.name, &ServerName::default_server());
    let uri = |text: &str| Some(text.to_owned());
    use RedeemRefused::{Client, Grant, Request};
    let cases = [
        ("wrong secret", Redemption { secret: hash(7), ..good() }, NOW, Client),
        ("unknown client", Redemption { client: ClientId::claimed("x"), ..good() }, NOW, Client),
        ("unknown code", Redemption { code: hash(7), ..good() }, NOW, Grant),
        ("expired", good(), late, Grant),
        (
            "another client's",
            Redemption { client: eves, secret: hash(2), redirect_uri: None, ..good() },
            NOW,
            Grant,
        ),
        (
            "other URI",
            Redemption { redirect_uri: uri("/user/bob/oauth_callback/"), ..good() },
            NOW,
            Request,
        ),
        ("no verifier", Redemption { challenge: None, ..good() }, NOW, Request),
        ("wrong verifier", Redemption { challenge: uri("other"), ..good() }, NOW, Grant),
        ("verifier without challenge", Redemption { code: hash(51), ..good() }, NOW, Grant),
    ];
    for (case, what, when, refusal) in cases {
        assert_eq!(redeem_code(&image, what, when).unwrap(), (Vec::new(), Err(refusal)), "{case}");
    }
    let without = Redemption { code: hash(51), challenge: None, redirect_uri: None, ..good() };
    assert!(redeem_code(&image, without, NOW).unwrap().1.is_ok());
    let just = Moment(late.0 - 1);
    assert!(redeem_code(&image, good(), just).unwrap().1.is_ok());
}

#[test]
fn a_server_begins_with_a_token_and_a_client() {
    let mut image = Image::default();
    let bob = join(&mut image, "bob", false);
    let server = begin(&mut image, beginning(&bob, "lab", 1));
    let token = image.token(server.token.unwrap()).unwrap();
    assert_eq!(&*token.note, "Server at /user/bob/lab/");
    assert!(token.is_servers_own() && token.is_valid(NOW) && token.client.is_none());
    let may = scopes(&["users:activity!user", "access:servers!server=bob/lab"]);
    assert_eq!(token.scopes.to_vec(), may);
    let client: &OAuthClient = image.client(&ClientId::claimed("jupyterhub-user-bob+lab")).unwrap();
    assert_eq!(client.redirect_uri, "/user/bob/lab/oauth_callback");
    assert_eq!(client.secret, token.hash);
    assert_eq!(client.of, ClientOf::Server(bob.id, server.key.name.clone()));
    assert_eq!(image.server(&server.key), Some(&server));
    let nobody = ServerKey { user: UserId(99), name: ServerName::default_server() };
    let nobody = Beginning { key: nobody, ..beginning(&bob, "", 1) };
    assert_eq!(begin_server(&image, nobody, NOW).unwrap_err(), StepRefused::NoUser);
}

#[test]
fn an_automatic_restart_keeps_visitors_and_a_start_does_not() {
    let (mut image, bob) = bob_with_code();
    let redeemed = redeem_code(&image, redemption(&bob, 50, 60), NOW);
    apply(&mut image, redeemed).unwrap();
    let waiting = ServerState::Waiting { until: Moment(9), cause: Cause::Exited(1) };
    let died = move_server(&image, moved(&bob, "", 1, waiting));
    apply(&mut image, died);
    assert!(image.token_hashed(&hash(1)).is_none(), "the old API token is dead");
    let server = begin(&mut image, beginning(&bob, "", 3));
    assert!(image.token_hashed(&hash(60)).is_some(), "visitors stay");
    assert_eq!(image.token_hashed(&hash(3)).unwrap().id, server.token.unwrap());
    assert_eq!(image.clients().count(), 1);
    assert_eq!(image.clients().next().unwrap().secret, hash(3));

    let ended = move_server(&image, moved(&bob, "", 3, stopped()));
    apply(&mut image, ended);
    begin(&mut image, beginning(&bob, "", 4));
    assert!(image.token_hashed(&hash(60)).is_none(), "visitors sign in anew");
    let left: Vec<_> = image.tokens().map(|token| token.hash).collect();
    assert_eq!(left, [hash(4)]);
    assert_eq!(image.clients().next().unwrap().secret, hash(4));
}

#[test]
fn the_end_of_a_server_leaves_its_record_only() {
    let (mut image, bob) = bob_with_code();
    begin(&mut image, beginning(&bob, "lab", 2));
    let redeemed = redeem_code(&image, redemption(&bob, 50, 60), NOW);
    apply(&mut image, redeemed).unwrap();
    let pending = give_code(&image, code(&bob, 51), NOW);
    apply(&mut image, pending);
    let next = image.next_id();
    let ended = move_server(&image, moved(&bob, "", 1, stopped()));
    apply(&mut image, ended);
    let ended = image.server(&key(&bob, "")).unwrap();
    assert_eq!((ended.token, ended.started, &ended.state), (None, None, &stopped()));
    assert_eq!(image.tokens().map(|token| token.hash).collect::<Vec<_>>(), [hash(2)]);
    assert_eq!((image.clients().count(), image.codes().count()), (1, 0));
    assert_eq!(image.next_id(), next, "ids are never given again");

    // one that is to be removed takes its record along
    let (order, cause) = (order(2), Cause::Stopped);
    let stopping = ServerState::Stopping { order, handle: None, cause, remove: true };
    let step = move_server(&image, moved(&bob, "lab", 2, stopping));
    apply(&mut image, step);
    let removed = move_server(&image, moved(&bob, "lab", 2, stopped()));
    apply(&mut image, removed);
    assert_eq!(
        (image.servers().count(), image.tokens().count(), image.clients().count()),
        (1, 0, 0)
    );
    assert_eq!(remove_server(&image, &key(&bob, "lab")).unwrap().0, []);
}

#[test]
fn a_leftover_of_an_earlier_life_changes_nothing() {
    let (mut image, bob) = bob_with_code();
    let second = || beginning(&bob, "", 2);
    assert_eq!(begin_server(&image, second(), NOW).unwrap_err(), StepRefused::MovedOn);
    let over = Some(order(1));
    let taken_over = begin_server(&image, Beginning { over, ..second() }, NOW);
    apply(&mut image, taken_over);
    let late = |image: &Image, n, state| move_server(image, moved(&bob, "", n, state)).unwrap_err();
    assert_eq!(late(&image, 1, stopped()), StepRefused::MovedOn);
    let ended = move_server(&image, moved(&bob, "", 2, stopped()));
    apply(&mut image, ended);
    let (handle, url) = (Handle(String::new()), String::new());
    let running = ServerState::Running { order: order(2), handle, url };
    assert_eq!(late(&image, 2, running), StepRefused::MovedOn);
    let elsewhere = move_server(&image, moved(&bob, "never", 1, stopped()));
    assert_eq!(elsewhere.unwrap_err(), StepRefused::MovedOn, "there is no record");
}

#[test]
fn what_has_expired_is_deleted_and_nothing_else() {
    let (mut image, bob) = bob_with_code();
    let redeemed = redeem_code(&image, redemption(&bob, 50, 60), NOW);
    let token = apply(&mut image, redeemed).unwrap();
    let cases = [
        (NOW, 0),
        (Moment(NOW.plus(CODE_LIFE).0 - 1), 0),
        (NOW.plus(CODE_LIFE), 1),
        (Moment(NOW.plus(HOUR).0 - 1), 1),
        (NOW.plus(HOUR), 2),
        (Moment(i64::MAX), 2),
    ];
    for (when, expected) in cases {
        assert_eq!(delete_expired(&image, when).len(), expected, "{when:?}");
    }
    delete_expired(&image, NOW.plus(HOUR)).iter().for_each(|write| image.apply(write));
    assert!(image.token(token.id).is_none());
    assert_eq!(image.tokens().count(), 1, "the server's own token does not expire");
}

proptest! {
    /// Whatever happens in whatever order: every token's owner exists, every client's server has a token that is its
    /// secret, ids grow, and the indexes agree with the records.
    #[test]
    fn histories_leave_no_loose_ends(steps in proptest::collection::vec((0u8..7, 0u8..3, 0u8..4), 1..60)) {
        let mut image = Image::default();
        let users: Vec<_> = ["bob", "eve", "root"].iter().map(|text| join(&mut image, text, *text == "root")).collect();
        let mut highest = image.next_id();
        for (n, (step, who, which)) in (10u8..).zip(steps) {
            let user = &users[usize::from(who)];
            let server = ["", "lab", "x", "y"][usize::from(which)];
            match step {
                0 => {
                    begin(&mut image, beginning(user, server, n));
                }
                1 => {
                    let record = image.server(&key(user, server)).cloned();
                    if let Some(order) = record.and_then(|server| server.state.order().cloned()) {
                        let order = Some(order);
                        let ended = move_server(&image, Moved { order, ..moved(user, server, n, stopped()) });
                        apply(&mut image, ended);
                    }
                }
                2 => {
                    let removed = remove_server(&image, &key(user, server));
                    apply(&mut image, removed);
                }
                3 => {
                    let client = ClientId::of_server(&user.name, &ServerName::new(server).unwrap());
                    // A session of its own: those signed out get no more.
                    let session = Some(format!("tab {n}"));
                    let given = give_code(&image, NewCode { client, session, ..code(user, n) }, NOW);
                    apply(&mut image, given);
                }
                4 => {
                    let found = image.codes().find(|code| !code.client.as_str().is_empty()).cloned();
                    if let Some((code, client)) = found.and_then(|code| Some((code.clone(), image.client(&code.client)?.clone()))) {
                        let what = Redemption {
                            code: code.hash,
                            client: client.id.clone(),
                            secret: client.secret,
                            redirect_uri: None,
                            ..redemption(user, 0, n)
                        };
                        let redeemed = redeem_code(&image, what, NOW);
                        prop_assert_eq!(apply(&mut image, redeemed).is_ok(), code.used.is_none());
                    }
                }
                5 => {
                    let id = image.tokens().nth(usize::from(which)).map(|token| token.id);
                    let revoked = revoke_token(&image, &Owner::User(user.id), id.unwrap_or(TokenId(0)));
                    apply(&mut image, revoked);
                }
                _ => {
                    let session = image.codes().find_map(|code| code.session.clone());
                    let out = sign_out(&image, user.id, session.as_deref().unwrap_or("tab"), NOW);
                    apply(&mut image, out);
                }
            }
            prop_assert!(image.next_id() >= highest);
            highest = image.next_id();
            for client in image.clients() {
                let ClientOf::Server(user, name) = &client.of else { panic!("no services here") };
                let server = image.server(&ServerKey { user: *user, name: name.clone() });
                prop_assert!(server.is_some_and(|server| server.token.is_some()));
            }
            for token in image.tokens() {
                prop_assert_eq!(image.token_hashed(&token.hash), Some(token));
                if let Some(client) = &token.client {
                    prop_assert!(image.client(client).is_some(), "a token of a client that has gone");
                }
            }
        }
    }
}

#[test]
fn a_servers_token_has_the_configured_scopes_and_tells_of_activity() {
    let (user, lab) = (Username::new("bob").unwrap(), ServerName::new("lab").unwrap());
    let scopes = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(|text| Scope::new(text)).collect();
        let scopes = server_scopes(&user, &lab, &wanted);
        scopes.iter().map(|scope| scope.as_str().to_owned()).collect::<Vec<_>>()
    };
    let usual = ["users:activity!user", "access:servers!server=bob/lab"];
    assert_eq!(scopes(&SERVER_SCOPES), usual);
    assert_eq!(scopes(&["read:users!user"]), ["read:users!user", "users:activity!user"]);
    for enough in ["inherit", "users:activity", "users:activity!user"] {
        assert_eq!(scopes(&[enough]), [enough]);
    }
    assert_eq!(scopes(&[]), ["users:activity!user"]);
}

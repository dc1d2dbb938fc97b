//! Tables for shares and their codes, and properties over random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::{super::*, *};
use crate::{
    accounts::{access, share_codes},
    domain::{
        Group, GroupName, Server, ServerName, ShareCode, ShareCodeId, TokenHash, User, Username,
        scope::{Filter, Mask},
    },
};

const NOW: Moment = Moment(1_000_000_000);
const DAY: Duration = SHARE_CODE_LIFE;

fn apply<T, E: std::fmt::Debug>(image: &mut Image, decided: Decided<T, E>) -> T {
    let (writes, answer) = decided.unwrap();
    writes.iter().for_each(|write| image.apply(write));
    answer
}

fn write(image: &mut Image, writes: Vec<Write>) {
    writes.iter().for_each(|write| image.apply(write));
}

fn join(image: &mut Image, name: &str) -> Arc<User> {
    let name = Username::new(name).unwrap();
    let joined = sign_in(image, &Arrived::named(name, String::new()), NOW);
    apply(image, joined)
}

fn group(image: &mut Image, name: &str, members: &[&Arc<User>]) -> GroupId {
    let id = GroupId(image.next_id());
    let name = GroupName::new(name).unwrap();
    image.apply(&Write::Group(Arc::new(Group { id, name, properties: Arc::default() })));
    for member in members {
        image.apply(&Write::Member(id, member.id));
    }
    id
}

fn server(image: &mut Image, owner: &User, name: &str) -> ServerKey {
    let key = ServerKey { user: owner.id, name: ServerName::new(name).unwrap() };
    image.apply(&Write::Server(Arc::new(Server::new(key.clone()))));
    key
}

/// What somebody with these scopes holds.
fn holding(scopes: &[&str]) -> Granted {
    let scopes: Vec<_> = scopes.iter().map(|text| Scope::new(text)).collect();
    Grants::of(Policy::default().vocabulary(), &scopes).to(&Holder::default())
}

fn ask(server: &ServerKey, with: &User, scopes: &[&str], by: &[&str]) -> Grant {
    let scopes = scopes.iter().map(|text| (*text).to_owned()).collect();
    let with = SharedWith::User(with.id);
    Grant { server: server.clone(), with, scopes, by: holding(by) }
}

fn grant(image: &Image, what: Grant) -> Decided<Arc<Share>, ShareRefused> {
    grant_share(image, &Policy::default(), what, NOW)
}

fn new_code(server: &ServerKey, n: u64, life: Duration) -> NewShareCode {
    let (server, by) = (server.clone(), holding(&["shares"]));
    NewShareCode { server, hash: hash(n), scopes: Vec::new(), life, by }
}

fn hash(n: u64) -> TokenHash {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    TokenHash(bytes)
}

/// Bob with a server `lab`, Eve, and Ann in the group `team`.
struct Town {
    image: Image,
    bob: Arc<User>,
    eve: Arc<User>,
    ann: Arc<User>,
    team: GroupId,
    lab: ServerKey,
}

fn town() -> Town {
    let mut image = Image::default();
    let (bob, eve, ann) =
        (join(&mut image, "bob"), join(&mut image, "eve"), join(&mut image, "ann"));
    let team = group(&mut image, "team", &[&ann]);
    let lab = server(&mut image, &bob, "lab");
    Town { image, bob, eve, ann, team, lab }
}

#[test]
fn scopes_are_about_the_server_and_held_by_who_shares_it() {
    let Town { image, eve, lab, .. } = town();
    type Wanted = Result<&'static [&'static str], &'static str>;
    let cases: &[(&[&str], &[&str], Wanted)] = &[
        (&[], &["shares!user=bob"], Ok(&["access:servers"])),
        (&[], &["access:servers!server=bob/lab"], Ok(&["access:servers"])),
        (
            &["servers", "access:servers!server=bob/lab", "servers"],
            &["shares", "servers!user=bob"],
            Ok(&["access:servers", "servers"]),
        ),
        (&["read:users"], &["read:users!user=bob"], Ok(&["read:users"])),
        (&[], &["access:servers!server=bob/"], Err("not held")),
        (&[], &["shares!user=eve"], Err("not held")),
        (&["servers"], &["shares", "start:servers"], Err("not held")),
        (&["admin:servers"], &["servers", "shares"], Err("not held")),
        (&["read:users"], &["servers!server=bob/lab"], Err("not held")),
        (&["access:servers!server=bob/"], &["shares"], Err("foreign")),
        (&["access:servers!user=bob"], &["shares"], Err("foreign")),
        (&["access:servers!server"], &["shares"], Err("foreign")),
        (&["access:servers!server=bob/lab!x"], &["shares"], Err("foreign")),
        (&["self"], &["shares"], Err("not held")),
        (&["inherit"], &["shares"], Err("not held")),
        (&["(no_scope)"], &["shares"], Err("not held")),
        (&["all"], &["shares"], Err("unknown")),
        (&[""], &["shares"], Err("unknown")),
        (&["servers", "custom:x"], &["shares", "servers"], Err("unknown")),
    ];
    for (asked, held, wanted) in cases {
        let outcome = match grant(&image, ask(&lab, &eve, asked, held)) {
            Ok((_, share)) => Ok(share.scopes.clone()),
            Err(ShareRefused::Excess(_)) => Err("not held"),
            Err(ShareRefused::Foreign(_)) => Err("foreign"),
            Err(ShareRefused::Unknown(_)) => Err("unknown"),
            Err(other) => panic!("{asked:?}: {other}"),
        };
        let wanted =
            wanted.map(|names| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(outcome, wanted, "{asked:?} by {held:?}");
    }
    let Err(refused) = grant(&image, ask(&lab, &eve, &["servers"], &["shares"])) else { panic!() };
    assert!(refused.to_string().contains("servers!server=bob/lab"), "{refused}");
}

#[test]
fn what_is_not_there_cannot_be_shared_nor_shared_with() {
    let Town { image, bob, eve, lab, .. } = town();
    let by = &["shares"];
    let other = |server: &str| ServerKey { user: bob.id, name: ServerName::new(server).unwrap() };
    let refused = |what| grant(&image, what).unwrap_err();
    assert_eq!(refused(ask(&other("new"), &eve, &[], by)), ShareRefused::NoServer);
    assert!(grant(&image, ask(&other(""), &eve, &[], by)).is_ok(), "always there");
    let nobody = ServerKey { user: UserId(99), name: ServerName::default_server() };
    assert_eq!(refused(ask(&nobody, &eve, &[], by)), ShareRefused::NoServer);
    for with in [SharedWith::User(UserId(99)), SharedWith::Group(GroupId(99))] {
        let what = Grant { with, ..ask(&lab, &eve, &[], by) };
        assert_eq!(refused(what), ShareRefused::NoTarget);
    }
    let many = vec!["servers"; MOST_SHARED_SCOPES + 1];
    assert_eq!(refused(ask(&lab, &eve, &many, by)), ShareRefused::ManyScopes);
}

#[test]
fn grants_add_up_and_revoking_takes_what_is_named() {
    let Town { mut image, eve, lab, .. } = town();
    let by = &["shares", "servers"];
    let first = grant(&image, ask(&lab, &eve, &[], by));
    apply(&mut image, first);
    let later = Moment(NOW.0 + 5);
    let more = grant_share(&image, &Policy::default(), ask(&lab, &eve, &["servers"], by), later);
    let share = apply(&mut image, more);
    assert_eq!(
        (&share.scopes[..], share.created),
        (&["access:servers".into(), "servers".into()][..], NOW)
    );
    let (writes, _) = grant(&image, ask(&lab, &eve, &["servers"], by)).unwrap();
    assert!(writes.is_empty(), "nothing new is nothing to write");

    let revoke = |image: &Image, scopes: &[&str]| {
        let scopes: Vec<_> = scopes.iter().map(|it| (*it).to_owned()).collect();
        let (writes, left) = revoke_share(image, &share.key, &scopes).unwrap();
        (writes, left.map(|share| share.scopes.clone()))
    };
    for odd in
        ["servers", "servers!server=bob/", "read:servers!server=bob/lab", "", "!server=bob/lab"]
    {
        let (writes, left) = revoke(&image, &[odd]);
        assert!(writes.is_empty(), "{odd}");
        assert_eq!(left.unwrap().len(), 2, "{odd}");
    }
    let both = ["servers!server=bob/lab", "access:servers!server=bob/lab"];
    assert_eq!(revoke(&image, &both).1, None);
    assert_eq!(revoke(&image, &[]).1, None, "without any it is the whole share");
    let (writes, left) = revoke(&image, &both[..1]);
    assert_eq!(left.unwrap(), ["access:servers"]);
    write(&mut image, writes);
    let ended = end_share(&image, &share.key);
    assert!(apply(&mut image, ended));
    assert_eq!(end_share(&image, &share.key).unwrap(), (vec![], false));
    assert_eq!(revoke(&image, &[]), (vec![], None));
}

#[test]
fn a_share_counts_for_members_of_a_group_and_ends_at_once() {
    let Town { mut image, bob, eve, ann, team, lab } = town();
    const ACCESS: Mask = Mask::of(&["access:servers"]);
    let enters = |image: &Image, who: &User| {
        let held = access::of_user(image, &Policy::default(), who);
        held.covers(ACCESS, Resource::Server("bob", "lab"), image)
    };
    assert!(enters(&image, &bob) && !enters(&image, &ann));
    let what = Grant { with: SharedWith::Group(team), ..ask(&lab, &eve, &[], &["shares"]) };
    let shared = grant(&image, what);
    apply(&mut image, shared);
    assert!(enters(&image, &ann) && !enters(&image, &eve));
    let all = revoke_shares(&image, &lab);
    apply(&mut image, all);
    assert!(!enters(&image, &ann));
}

#[test]
fn a_share_follows_its_owner_and_its_server_through_renaming() {
    let Town { mut image, bob, eve, lab, .. } = town();
    let (shared, code) = (
        grant(&image, ask(&lab, &eve, &[], &["shares"])),
        issue_share_code(&image, &Policy::default(), new_code(&lab, 1, DAY), NOW),
    );
    apply(&mut image, shared);
    apply(&mut image, code);
    let name = Username::new("robert").unwrap();
    image.apply(&Write::User(Arc::new(User { name, ..User::clone(&bob) })));
    let two = ServerKey { user: bob.id, name: ServerName::new("two").unwrap() };
    let moved = move_server_shares(&image, &lab, &two);
    write(&mut image, moved);
    image.apply(&Write::ServerGone(lab.clone()));
    image.apply(&Write::Server(Arc::new(Server::new(two.clone()))));
    assert_eq!((image.shares_of(&lab).count(), image.share_codes_of(&lab).count()), (0, 0));
    assert_eq!((image.shares_of(&two).count(), image.share_codes_of(&two).count()), (1, 1));
    let held = access::of_user(&image, &Policy::default(), &eve);
    let parts: Vec<_> = held.parts().map(|(filter, _)| filter.clone()).collect();
    assert!(parts.contains(&Filter::Server("robert/two".into())), "{parts:?}");
    let used = use_share_code(&image, &hash(1), eve.id, NOW);
    assert_eq!(apply(&mut image, used).key.server, two);
}

#[test]
fn a_code_gives_its_share_to_anybody_until_it_expires() {
    let Town { mut image, bob, eve, ann, lab, .. } = town();
    let made = issue_share_code(&image, &Policy::default(), new_code(&lab, 1, DAY), NOW);
    let code = apply(&mut image, made);
    assert_eq!((code.expires_at, code.exchange_count), (NOW.plus(DAY), 0));
    let exchange =
        |image: &Image, n, user: UserId, when| use_share_code(image, &hash(n), user, when);
    assert_eq!(exchange(&image, 1, bob.id, NOW).unwrap_err(), ShareRefused::Own);
    assert_eq!(exchange(&image, 2, eve.id, NOW).unwrap_err(), ShareRefused::NoCode);
    assert_eq!(exchange(&image, 1, UserId(99), NOW).unwrap_err(), ShareRefused::NoTarget);
    let last = Moment(NOW.plus(DAY).0 - 1);
    for (times, (user, when)) in [(&eve, NOW), (&eve, NOW), (&ann, last)].into_iter().enumerate() {
        let used = exchange(&image, 1, user.id, when);
        assert_eq!(apply(&mut image, used).scopes, ["access:servers"]);
        let code = image.share_code(code.id).unwrap();
        assert_eq!((code.exchange_count, code.last_exchanged), (times as u64 + 1, Some(when)));
    }
    assert_eq!(image.shares_of(&lab).count(), 2);
    assert_eq!(exchange(&image, 1, eve.id, NOW.plus(DAY)).unwrap_err(), ShareRefused::NoCode);
    assert_eq!(delete_expired(&image, last), []);
    assert_eq!(delete_expired(&image, NOW.plus(DAY)), [Write::ShareCodeGone(code.id)]);
    assert_eq!(image.shares_of(&lab).count(), 2, "shares stay");
}

#[test]
fn a_code_lives_for_a_minute_to_a_year_and_holds_no_more_than_its_maker() {
    let Town { image, lab, .. } = town();
    let issue = |new| issue_share_code(&image, &Policy::default(), new, NOW).map(|_| ());
    for (seconds, wanted) in [
        (0, Err(ShareRefused::Life)),
        (59, Err(ShareRefused::Life)),
        (60, Ok(())),
        (31_536_000, Ok(())),
        (31_536_001, Err(ShareRefused::Life)),
    ] {
        let life = Duration::from_secs(seconds);
        assert_eq!(issue(new_code(&lab, 1, life)), wanted, "{seconds}");
    }
    let scopes = vec!["servers".to_owned()];
    let excess = issue(NewShareCode { scopes, ..new_code(&lab, 1, DAY) });
    assert!(matches!(excess, Err(ShareRefused::Excess(_))));
}

#[test]
fn codes_are_deleted_one_by_one_or_all_of_a_server() {
    let Town { mut image, bob, lab, .. } = town();
    let other = server(&mut image, &bob, "other");
    let codes: Vec<_> = [(&lab, 1), (&lab, 2), (&lab, 3), (&other, 4)]
        .into_iter()
        .map(|(server, n)| {
            let made = issue_share_code(&image, &Policy::default(), new_code(server, n, DAY), NOW);
            apply(&mut image, made).id
        })
        .collect();
    let drop = |image: &Image, which, when| drop_share_codes(image, &lab, which, when).unwrap();
    for (which, when) in [
        (WhichCodes::Numbered(ShareCodeId(99)), NOW),
        (WhichCodes::Numbered(codes[3]), NOW),
        (WhichCodes::Hashed(hash(4)), NOW),
        (WhichCodes::Hashed(hash(9)), NOW),
        (WhichCodes::Numbered(codes[0]), NOW.plus(DAY)),
    ] {
        assert_eq!(drop(&image, which, when), (vec![], false), "{which:?}");
    }
    for which in [WhichCodes::Numbered(codes[0]), WhichCodes::Hashed(hash(2))] {
        let (writes, found) = drop(&image, which, NOW);
        assert!(found);
        write(&mut image, writes);
    }
    assert_eq!(image.share_codes().count(), 2);
    for _ in 0..2 {
        let (writes, done) = drop(&image, WhichCodes::All, NOW);
        assert!(done, "no codes is no failure");
        write(&mut image, writes);
    }
    assert_eq!(image.share_codes().map(|code| code.id).collect::<Vec<_>>(), codes[3..]);
}

#[test]
fn shares_and_codes_are_bounded_in_number() {
    let Town { mut image, bob, eve, lab, .. } = town();
    let give = |image: &mut Image, server: &ServerKey, with| {
        let key = ShareKey { server: server.clone(), with };
        image.apply(&Write::Share(Arc::new(Share { key, scopes: vec![], created: NOW })));
    };
    let names: Vec<_> = (1..=11).map(|n| server(&mut image, &bob, &format!("lab{n}"))).collect();
    // One server with many.
    for n in 0..MOST_SHARES as u64 {
        give(&mut image, &lab, SharedWith::User(UserId(1_000 + n)));
    }
    let by = &["shares"];
    let full = grant(&image, ask(&lab, &eve, &[], by));
    assert_eq!(full.unwrap_err(), ShareRefused::ManyShares);
    let made = issue_share_code(&image, &Policy::default(), new_code(&lab, 1, DAY), NOW);
    apply(&mut image, made);
    let used = use_share_code(&image, &hash(1), eve.id, NOW);
    assert_eq!(used.unwrap_err(), ShareRefused::ManyShares);
    assert!(grant(&image, ask(&names[0], &eve, &[], by)).is_ok(), "others have room of their own");
    give(&mut image, &lab, SharedWith::User(eve.id));
    assert!(grant(&image, ask(&lab, &eve, &[], by)).is_ok(), "who has a share can get more of it");
    // One owner.
    for server in &names[1..10] {
        for n in 0..MOST_SHARES as u64 {
            give(&mut image, server, SharedWith::User(UserId(1_000 + n)));
        }
    }
    let full = grant(&image, ask(&names[10], &eve, &[], by));
    assert_eq!(full.unwrap_err(), ShareRefused::ManyGiven);
    // One who is shared with.
    let mut image = town().image;
    for n in 0..MOST_SHARED_WITH as u64 {
        let user = UserId(1_000 + n);
        let server = ServerKey { user, name: ServerName::default_server() };
        give(&mut image, &server, SharedWith::User(eve.id));
    }
    let full = grant(&image, ask(&lab, &eve, &[], by));
    assert_eq!(full.unwrap_err(), ShareRefused::ManyReceived);

    // Codes of one server, then of one owner.
    let mut image = town().image;
    let short = Duration::from_secs(60);
    for n in 0..share_codes::MOST_SHARE_CODES as u64 {
        let life = if n % 2 == 0 { DAY } else { short };
        let made = issue_share_code(&image, &Policy::default(), new_code(&lab, n, life), NOW);
        apply(&mut image, made);
    }
    let another = |image: &Image, when| {
        issue_share_code(image, &Policy::default(), new_code(&lab, 1_000, DAY), when)
    };
    assert_eq!(another(&image, NOW).unwrap_err(), ShareRefused::ManyCodes(100));
    let made = another(&image, NOW.plus(short));
    apply(&mut image, made);
    assert_eq!(image.share_codes_of(&lab).count(), 51, "the expired ones made room");
    let mut id = image.next_id();
    for n in 0..10_u64 {
        let server = server(&mut image, &bob, &format!("lab{n}"));
        for _ in 0..100 {
            let code = ShareCode {
                id: ShareCodeId(id),
                hash: hash(10_000 + id),
                server: server.clone(),
                scopes: vec![],
                created: NOW,
                expires_at: NOW.plus(DAY),
                exchange_count: 0,
                last_exchanged: None,
            };
            image.apply(&Write::ShareCode(Arc::new(code)));
            id += 1;
        }
    }
    assert_eq!(another(&image, NOW).unwrap_err(), ShareRefused::ManyCodes(1_000));
}

#[test]
fn the_end_of_a_user_a_group_or_a_server_takes_its_shares_along() {
    let Town { mut image, bob, eve, ann, team, lab } = town();
    let hers = server(&mut image, &eve, "hers");
    let by = &["shares"];
    for what in [
        ask(&lab, &eve, &[], by),
        ask(&lab, &bob, &[], by),
        Grant { with: SharedWith::Group(team), ..ask(&lab, &eve, &[], by) },
        ask(&hers, &bob, &[], by),
        ask(&hers, &ann, &[], by),
    ] {
        let shared = grant(&image, what);
        apply(&mut image, shared);
    }
    for (server, n) in [(&lab, 1), (&hers, 2)] {
        let made = issue_share_code(&image, &Policy::default(), new_code(server, n, DAY), NOW);
        apply(&mut image, made);
    }
    let counts = |writes: Vec<Write>| {
        let mut after = image.clone();
        write(&mut after, writes.clone());
        let distinct: BTreeSet<_> = writes.iter().map(|it| format!("{it:?}")).collect();
        assert_eq!(distinct.len(), writes.len(), "each is said once");
        (
            after.shares_by(bob.id).count(),
            after.shares_by(eve.id).count(),
            after.share_codes().count(),
        )
    };
    assert_eq!(counts(vec![]), (3, 2, 2));
    assert_eq!(counts(end_of_user(&image, bob.id)), (0, 1, 1));
    assert_eq!(counts(end_of_user(&image, eve.id)), (2, 0, 1));
    assert_eq!(counts(end_of_user(&image, ann.id)), (3, 1, 2));
    assert_eq!(counts(end_of_group(&image, team)), (2, 2, 2));
    assert_eq!(counts(end_of_server(&image, &lab)), (0, 2, 1));
    let Ok((writes, ())) = remove_server(&image, &hers);
    assert_eq!(counts(writes), (3, 0, 1));
    // The default server stays when its record goes.
    let home = server(&mut image, &bob, "");
    let shared = grant(&image, ask(&home, &eve, &[], by));
    apply(&mut image, shared);
    let Ok(removed) = remove_server(&image, &home);
    apply::<_, ShareRefused>(&mut image, Ok(removed));
    assert_eq!(image.shares_of(&home).count(), 1);
}

/// Scopes that people may hold or ask for, in all forms.
const SOME: &[&str] = &[
    "access:servers",
    "servers",
    "read:servers",
    "start:servers",
    "admin:servers",
    "shares",
    "read:users",
    "read:users:name",
    "users",
    "tokens",
    "read:shares",
    "groups",
];

const FORMS: &[&str] = &[
    "",
    "!user=bob",
    "!user=eve",
    "!server=bob/lab",
    "!server=bob/",
    "!group=team",
    "!group=boss",
];

fn some_scopes(forms: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    let one =
        (0..SOME.len(), forms).prop_map(|(name, form)| format!("{}{}", SOME[name], FORMS[form]));
    proptest::collection::vec(one, 0..4)
}

proptest! {
    /// Whoever shares, by whatever path: what the other one has got afterwards and had not before, the first one holds.
    #[test]
    fn a_grant_never_gives_more_than_the_granter_holds(
        held in some_scopes(0..FORMS.len()),
        asked in some_scopes(0..4),
        to_group in any::<bool>(),
        by_code in any::<bool>(),
        boss in any::<bool>(),
    ) {
        let Town { mut image, bob, eve, ann, team, lab } = town();
        if boss {
            group(&mut image, "boss", &[&bob]);
        }
        let held: Vec<&str> = held.iter().map(String::as_str).collect();
        let by = holding(&held);
        let policy = Policy::default();
        let whom = if to_group && !by_code { &ann } else { &eve };
        let before = access::of_user(&image, &policy, whom);
        let done = if by_code {
            let new = NewShareCode { scopes: asked, by: by.clone(), ..new_code(&lab, 1, DAY) };
            issue_share_code(&image, &policy, new, NOW).map(|made| {
                apply::<_, ShareRefused>(&mut image, Ok(made));
                let used = use_share_code(&image, &hash(1), whom.id, NOW);
                apply(&mut image, used);
            })
        } else {
            let with = if to_group { SharedWith::Group(team) } else { SharedWith::User(eve.id) };
            let what = Grant { server: lab.clone(), with, scopes: asked, by: by.clone() };
            grant(&image, what).map(|made| drop(apply::<_, ShareRefused>(&mut image, Ok(made))))
        };
        let after = access::of_user(&image, &policy, whom);
        if done.is_err() {
            prop_assert_eq!(&after, &before);
        }
        let mut most = before;
        most.add_all(&by);
        prop_assert!(after.is_within(&most, &image), "{:?} beyond {:?}", after, most);
    }

    /// Whatever happens in whatever order: no share or code without its owner, its server and whom it is with, and the
    /// indexes agree with the records.
    #[test]
    fn histories_of_sharing_leave_no_loose_ends(steps in proptest::collection::vec((0u8..8, 0u8..3, 0u8..3, 0u8..4), 1..60)) {
        let mut image = Image::default();
        let users: Vec<_> = ["bob", "eve", "ann"].iter().map(|name| join(&mut image, name)).collect();
        let team = group(&mut image, "team", &[&users[2]]);
        for (n, (step, owner, with, which)) in (0u64..).zip(steps) {
            let owner = &users[usize::from(owner)];
            let name = |at: u8| ServerName::new(["", "lab", "two", "x"][usize::from(at)]).unwrap();
            let key = |at: u8| ServerKey { user: owner.id, name: name(at) };
            let target = match with {
                2 => SharedWith::Group(team),
                with => SharedWith::User(users[usize::from(with)].id),
            };
            let by = holding(&["shares", "servers"]);
            match step {
                0 if image.user(owner.id).is_some() => {
                    server(&mut image, owner, name(which).as_str());
                }
                1 | 2 => {
                    let what = Grant { server: key(which), with: target, scopes: vec![], by };
                    if let Ok((writes, _)) = grant(&image, what) {
                        write(&mut image, writes);
                    }
                }
                3 => {
                    let new = new_code(&key(which), n, DAY);
                    if let Ok((writes, _)) = issue_share_code(&image, &Policy::default(), new, NOW) {
                        write(&mut image, writes);
                    }
                }
                4 => {
                    let some = image.share_codes().next().map(|code| code.hash);
                    if let Some(Ok((writes, _))) = some.map(|some| use_share_code(&image, &some, owner.id, NOW)) {
                        write(&mut image, writes);
                    }
                }
                5 => {
                    let Ok((writes, ())) = remove_server(&image, &key(which));
                    write(&mut image, writes);
                }
                6 if which == 0 && with == 0 => {
                    let ended = end_of_user(&image, owner.id);
                    write(&mut image, ended);
                    let servers: Vec<_> = image.servers_of(owner.id).map(|it| it.key.clone()).collect();
                    servers.into_iter().for_each(|key| image.apply(&Write::ServerGone(key)));
                    image.apply(&Write::UserGone(owner.id));
                }
                6 if which == 1 && with == 0 => {
                    let ended = end_of_group(&image, team);
                    write(&mut image, ended);
                    image.apply(&Write::GroupGone(team));
                }
                7 => {
                    let (from, to) = (key(which), key((which + 1) % 4));
                    if image.server(&from).is_some() && image.server(&to).is_none() && !to.name.is_default() {
                        let moved = move_server_shares(&image, &from, &to);
                        write(&mut image, moved);
                        image.apply(&Write::ServerGone(from));
                        image.apply(&Write::Server(Arc::new(Server::new(to))));
                    }
                }
                _ => {}
            }
            let there = |server: &ServerKey| {
                image.user(server.user).is_some() && (server.name.is_default() || image.server(server).is_some())
            };
            for user in &users {
                for share in image.shares_by(user.id) {
                    prop_assert!(there(&share.key.server));
                    let with = match share.key.with {
                        SharedWith::User(id) => image.user(id).is_some(),
                        SharedWith::Group(id) => image.group(id).is_some(),
                    };
                    prop_assert!(with);
                }
            }
            for code in image.share_codes() {
                prop_assert!(there(&code.server));
            }
            let mut again = Image::default();
            image.writes().for_each(|write| again.apply(&write));
            prop_assert_eq!(&again, &image);
        }
    }
}

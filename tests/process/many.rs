//! Many users, tokens and stored servers: nothing becomes slow, and memory stays in bounds.

use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jovis::store::DiskJournal;
use jovis_actors::{
    domain::{
        ClientId, Moment, OAuthClient, Owner, Scope, Server, ServerKey, ServerName, Token,
        TokenHash, TokenId, User, UserId, Username, oauth::ClientOf,
    },
    ports::Journal as _,
    store::Write,
};

use crate::{
    as_root,
    support::{
        Account, Plan, Site,
        scale::{full, promise, scaled},
    },
};

/// From start to serving.
const START: Duration = Duration::from_secs(5);
/// The slowest of a hundred sign-ins.
const SIGN_IN: Duration = Duration::from_millis(100);
/// Each user's tokens; one user in ten has a server.
const TOKENS: u64 = 10;
/// Memory that one more token may cost with its share of everything else, in bytes. While there are few, what grows up
/// to a bound with any store (caches, threads) is a part of that.
fn bytes(users: u64) -> u64 {
    if users < 50_000 { 2_000 } else { 500 }
}

/// Memory with 100,000 users, in MB: row 21.
const MEMORY: u64 = 400;

fn hash(secret: &str) -> TokenHash {
    let sum = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    TokenHash(sum.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
}

/// What one user of this number has.
fn records(number: u64, name: &str) -> Vec<Write> {
    let (now, id) = (Moment(1_790_000_000_000_000), UserId(number * 16));
    let name = Username::new(name).expect("a plain name");
    let server = ServerName::default_server();
    let client = ClientId::of_server(&name, &server);
    let user = User {
        id,
        name: name.clone(),
        admin: false,
        created: now,
        last_activity: Some(now),
        cookie_id: format!("{number:032x}"),
        user_info: None,
    };
    let mut all = vec![Write::User(Arc::new(user))];
    all.extend((1..=TOKENS).map(|nth| {
        // Two of the user's own making, the others from signing in to a server.
        let given = nth > 2;
        Write::Token(Arc::new(Token {
            id: TokenId(id.0 + nth),
            owner: Owner::User(id),
            hash: hash(&format!("secret-{number}-{nth}")),
            scopes: [Scope::new("inherit")].into(),
            created: now,
            expires_at: None,
            last_activity: Some(now),
            note: if given { "" } else { "Requested via token page" }.into(),
            client: given.then(|| client.clone()),
            session: given.then(|| format!("{number:032x}").into()),
        }))
    }));
    if number.is_multiple_of(10) {
        all.push(Write::Server(Arc::new(Server::new(ServerKey {
            user: id,
            name: server.clone(),
        }))));
        all.push(Write::Client(Arc::new(OAuthClient {
            id: client,
            secret: hash("client"),
            redirect_uri: format!("/user/{name}/oauth_callback"),
            description: format!("Server at /user/{name}/"),
            allowed_scopes: vec![Scope::access_server(&name, &server)],
            of: ClientOf::Server(id, server),
        })));
    }
    all
}

/// A store with so many users; the last of them is this account. It grew as a hub's would: with snapshots on the way, and
/// changes behind the last one.
fn fill(state: &Path, users: u64, account: &Account) {
    let mut journal = DiskJournal::new(state.to_owned());
    let loaded = journal.load().expect("a new store");
    let (mut image, mut sequence) = (loaded.image, loaded.sequence);
    let mut group = Vec::new();
    for number in 1..=users {
        let name = if number == users { account.name.clone() } else { format!("student{number}") };
        group.extend(records(number, &name));
        if group.len() > 2_000 || number == users {
            journal.append(sequence + 1, &group).expect("there is room");
            sequence += group.len() as u64;
            group.drain(..).for_each(|write| image.apply(&write));
            journal.idle(&Arc::new(image.clone()), sequence).expect("there is room");
        }
    }
}

/// Memory of the hub, in KiB.
fn rss(site: &Site) -> u64 {
    let rss = site.hub().status("VmRSS");
    rss.split_whitespace().next().and_then(|kb| kb.parse().ok()).expect("a size")
}

fn give(folder: &Path, to: &Account) {
    chown(folder, Some(to.uid), Some(to.gid)).expect("the tests run as root");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        give(&entry.path(), to);
    }
}

/// The median and the slowest of so many.
fn timed(times: u64, mut act: impl FnMut(u64)) -> (Duration, Duration) {
    let mut all: Vec<_> = (0..times)
        .map(|nth| {
            let begun = Instant::now();
            act(nth);
            begun.elapsed()
        })
        .collect();
    all.sort();
    (all[all.len() / 2], all[all.len() - 1])
}

#[derive(Debug)]
struct Seen {
    users: u64,
    rss: u64,
    read: Duration,
    change: Duration,
}

fn look(users: u64) -> Seen {
    let (account, hub) = (Account::make(), Account::make());
    let mut site = Plan::quick()
        .set("root.hub_user", &format!("{:?}", hub.name))
        .set("log.level", "\"info\"")
        .prepare();
    let state = site.file.parent().expect("hub.ron stands in a folder").join("state");
    fs::create_dir(&state).expect("it is new");
    let begun = Instant::now();
    fill(&state, users, &account);
    give(&state, &hub);
    let made = begun.elapsed();

    let begun = Instant::now();
    site.start();
    let start = begun.elapsed();
    let at_first = rss(&site);

    let mut visitor = site.visitor();
    let (_, sign_in) = timed(scaled(20, 100), |_| {
        visitor = site.visitor();
        visitor.sign_in(&account);
    });
    let mut anybody = site.visitor();
    let (read, _) = timed(200, |nth| {
        let secret = format!("token secret-{}-1", 1 + (nth * 7919) % (users - 1));
        let headers = [("Authorization", secret.as_str())];
        let answer = anybody.send("GET", "/hub/api/user", &headers, b"").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    let path = format!("/hub/api/users/{}/tokens", account.name);
    let (change, _) = timed(50, |_| {
        let answer = visitor.api("POST", &path, r#"{"note": "one more"}"#);
        assert_eq!(answer.status, 201, "{}", answer.text());
    });
    // sled was looked through meanwhile.
    let rss = at_first.max(rss(&site));
    println!(
        "row 21: {users} users, {} tokens, {} servers (made in {made:?}): start {start:?}, RSS {} MB, slowest sign-in \
         {sign_in:?}, medians: read {read:?}, change {change:?}",
        users * TOKENS,
        users / 10,
        rss / 1024
    );
    assert!(start < promise(START), "{start:?}");
    assert!(sign_in < promise(SIGN_IN), "{sign_in:?}");
    Seen { users, rss, read, change }
}

#[test]
fn row_21_many_users_make_nothing_slow() {
    as_root!();
    let sizes: &[u64] = if full() { &[1_000, 10_000, 100_000] } else { &[1_000, 4_000] };
    let seen: Vec<_> = sizes.iter().map(|users| look(*users)).collect();
    for pair in seen.windows(2) {
        let [few, many] = pair else { unreachable!("windows of two") };
        // Ten times as many may cost a few more steps down a tree; never ten times as much.
        let flat = |few: Duration, many: Duration| many < 3 * few + Duration::from_millis(10);
        assert!(flat(few.read, many.read) && flat(few.change, many.change), "{few:?} {many:?}");
        let each = (many.rss.saturating_sub(few.rss)) * 1024 / ((many.users - few.users) * TOKENS);
        println!("row 21: {} to {} users: {each} bytes for each token", few.users, many.users);
        assert!(each < bytes(many.users), "{each} bytes for each token");
        assert!(many.rss / 1024 < MEMORY, "{} MB", many.rss / 1024);
    }
}

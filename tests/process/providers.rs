//! Signing in at providers elsewhere: OpenID Connect in honest and hostile ways, and GitHub.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{PATIENCE, Plan, Provider, Site, wait_until, walk};

/// An administrator's token, as the walking browsers ask for the list of users.
const TOKEN: &str = "a-token-of-the-tests-0123456789ab";
/// Keys for what is kept about people.
const KEYS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// GitHub's fake knows this client.
const GITHUB: &str = "client_id: \"Iv1.hub\", client_secret: \"github-secret-0123456789abcdef\"";

/// A hub with this section `auth`, which somebody may ask for its users.
fn hub(auth: &str) -> Site {
    let mut site = Plan::quick()
        .without_accounts()
        .set("auth", auth)
        .set("services", &format!("[(name: \"probe\", api_token: {TOKEN:?}, admin: true)]"))
        .prepare();
    site.variables.push(("JUPYTERHUB_CRYPT_KEY", KEYS.to_owned()));
    site.start();
    site
}

/// All cases of a set, each at the issuer of its own name. Says what went wrong, all of it.
fn settle(set: &str, more: &str, limit: u64) {
    let provider = Provider::start("openid.py", &[]);
    // Longer than the provider, one for all of them, needs for its largest answers.
    let auth = provider.get(&format!("/_ron?set={set}&timeout=5{more}"));
    // Whom a provider vouches for may enter: what is refused here is refused for another reason.
    let auth = auth.trim_end().strip_suffix(')').expect("a section in brackets");
    let open = if set == "groups" { "" } else { "allow_all: true" };
    let site = hub(&format!("{}, {open})", auth.trim_end().trim_end_matches(',')));
    let arguments = ["--cases", "all", "--set", set, "--at-once", "16"];
    let all = walk(&site, &provider, TOKEN, &arguments, Duration::from_secs(limit));
    let known: Vec<Value> = serde_json::from_str(&provider.get("/_cases")).expect("a list");
    let of_set = known.iter().filter(|case| case["set"] == set).count();
    let bad: Vec<_> = all.iter().filter(|it| it["ok"] != true).map(brief).collect();
    assert!(bad.is_empty(), "{} of {of_set} not as they should:\n{}", bad.len(), bad.join("\n"));
    assert_eq!(all.len(), of_set, "each was tried");
    let refused = all.iter().filter(|it| it["got"] == "refused").count();
    println!("{set}: {of_set} cases, {refused} refused");
    // What a provider says is no text of ours, and secrets are nobody's.
    let log = site.log.tail(usize::MAX);
    for secret in ["hub-secret-0123456789", KEYS, TOKEN] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let led = provider
        .seen()
        .into_iter()
        .filter(|it| it["url"].as_str().is_some_and(|url| url.starts_with("/evil/")));
    assert_eq!(led.count(), 0, "nobody follows where attacks lead");
}

fn brief(it: &Value) -> String {
    let hops = it["hops"].as_array().map(|all| all.len());
    format!("{} {} {} {} {hops:?}", it["case"], it["expected"], it["got"], it["problems"])
}

/// `security: an identity provider's word counts only when every check of it holds`
#[test]
fn hostile_providers_let_nobody_in() {
    settle("plain", "", 240);
}

#[test]
fn groups_are_followed_or_nobody_enters() {
    settle("groups", "", 120);
}

/// `security: who is no longer welcome at the provider is signed out`
#[test]
fn people_are_asked_after_and_signed_out_when_their_provider_lets_them_go() {
    settle("later", "", 240);
}

/// What a provider gives is sealed in the store, told to whom it may be told, and given to the server as configured.
#[test]
fn what_a_provider_gives_is_kept_sealed_and_goes_where_it_should() {
    let provider = Provider::start("github.py", &[]);
    let url = provider.url();
    let auth = format!(
        "(class: GitHub(github_url: {url:?}, {GITHUB}), allow_all: true, enable_auth_state: true)"
    );
    let site = hub(&auth);
    let came = github(&site, &provider, "octocat", "signs in");
    assert_eq!(came["ok"], true, "{came:#}");
    let headers = [("Authorization", format!("token {TOKEN}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let told = site.visitor().send("GET", "/hub/api/users/octocat", &headers, b"").unwrap().json();
    let state = &told["auth_state"];
    assert_eq!(state["github_user"]["login"], "octocat", "{told:#}");
    let token = state["access_token"].as_str().expect("a token");
    let all = site.visitor().send("GET", "/hub/api/users", &headers, b"").unwrap().json();
    assert_eq!(all[0]["auth_state"], Value::Null, "in lists it is not told");
    // Whoever has a copy of the store has no token.
    let mut grep = std::process::Command::new("grep");
    let found = grep.arg("-rqF").arg(token).arg(site.state_dir()).status().expect("it is there");
    assert_eq!(found.code(), Some(1), "the token stands in the store, or it cannot be searched");
    assert!(!site.log.tail(usize::MAX).contains(token), "the token is in the log");
}

/// Also where nobody is asked after by age; and it takes signing in again to have a server again.
#[test]
fn before_a_server_starts_its_users_provider_is_asked() {
    let provider = Provider::start("github.py", &[]);
    let url = provider.url();
    let auth = format!(
        "(class: GitHub(github_url: {url:?}, {GITHUB}), allow_all: true, enable_auth_state: true, auth_refresh_age: 0)"
    );
    let site = hub(&auth);
    let come = || {
        let came = github(&site, &provider, "octocat", "signs in");
        assert_eq!(came["ok"], true, "{came:#}");
    };
    let ask = |method: &str| {
        let headers = [("Authorization", format!("token {TOKEN}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let path = "/hub/api/users/octocat/server";
        site.visitor().send(method, path, &headers, b"").expect("an answer")
    };
    let stop = || wait_until("it has stopped", PATIENCE, || ask("DELETE").status == 204);
    come();
    let first = ask("POST");
    assert!(matches!(first.status, 201 | 202), "{}", first.text());
    stop();
    provider.control(&json!({"revoke": "octocat"}));
    let refused = ask("POST");
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("the sign-in of octocat is over"), "{}", refused.text());
    site.log.event(0, "sign-in is over", PATIENCE);
    come();
    let again = ask("POST");
    assert!(matches!(again.status, 201 | 202), "{}", again.text());
    stop();
}

#[test]
fn a_hundred_people_sign_in_at_once_at_a_provider() {
    let provider = Provider::start("openid.py", &[]);
    let issuer = provider.url();
    let site = hub(&format!(
        "(class: Oidc(issuer: {issuer:?}, client_id: \"hub\", client_secret: \"hub-secret-0123456789\"), allow_all: true)"
    ));
    let began = std::time::Instant::now();
    let all = walk(&site, &provider, TOKEN, &["--many", "100"], Duration::from_secs(90));
    let good = all.iter().filter(|it| it["ok"] == true).count();
    let bad: Vec<_> = all.iter().filter(|it| it["ok"] != true).take(5).collect();
    assert_eq!((good, all.len()), (100, 100), "{bad:#?}");
    println!("100 sign-ins at once: {:.1?}", began.elapsed());
    let asked = provider.seen();
    let metadata = asked
        .iter()
        .filter(|it| it["url"].as_str().is_some_and(|url| url.contains("openid-configuration")));
    assert_eq!(metadata.count(), 1, "one asks for all who wait");
}

/// Signs one in at GitHub: what came of it.
fn github(site: &Site, provider: &Provider, user: &str, expect: &str) -> Value {
    let arguments = ["--user", user, "--expect", expect];
    let mut all = walk(site, provider, TOKEN, &arguments, Duration::from_secs(60));
    all.pop().unwrap_or_default()
}

#[test]
fn people_sign_in_at_github_where_their_organisation_may() {
    let provider = Provider::start("github.py", &[]);
    let url = provider.url();
    let site = hub(&format!(
        "(class: GitHub(github_url: {url:?}, {GITHUB}, allowed_organizations: [\"school\"]), allowed_users: [\"octocat\"])"
    ));
    for (user, expect) in [
        ("carol", "signs in"),
        ("dave", "signs in"),
        ("erin", "refused"),
        ("many", "refused"),
        ("octocat", "signs in"),
    ] {
        let came = github(&site, &provider, user, expect);
        assert_eq!(came["ok"], true, "{came:#}");
    }
    // Nothing that is a secret stands in an address.
    for asked in provider.seen() {
        let url = asked["url"].as_str().unwrap_or_default();
        assert!(!url.contains("github-secret") && !url.contains("access_token="), "{url}");
    }
    // A name that GitHub gives to somebody else does not give the account to them.
    provider.control(&json!({"rename": ["carol", "carol-old"]}));
    provider.control(&json!({"user": {"login": "carol"}}));
    provider.control(&json!({"org": {"login": "school", "members": {"carol": {}}}}));
    let came = github(&site, &provider, "carol", "refused");
    assert_eq!(came["ok"], true, "{came:#}");
    site.log.event(0, "name taken", Duration::from_secs(5));
    let came = github(&site, &provider, "carol-old", "signs in");
    assert_eq!((&came["got"], &came["user"]), (&json!("signs in"), &json!("carol")), "{came:#}");
}

#[test]
fn a_team_lets_in_and_becomes_a_group() {
    let provider = Provider::start("github.py", &[]);
    let url = provider.url();
    let site = hub(&format!(
        "(class: GitHub(github_url: {url:?}, {GITHUB}, allowed_organizations: [\"school:staff\"]), manage_groups: true, admin_groups: [\"school:staff\"])"
    ));
    for (user, expect) in [("carol", "signs in"), ("octocat", "refused")] {
        let came = github(&site, &provider, user, expect);
        assert_eq!(came["ok"], true, "{came:#}");
    }
    let headers = [("Authorization", format!("token {TOKEN}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let carol = site.visitor().send("GET", "/hub/api/users/carol", &headers, b"").unwrap().json();
    assert_eq!(
        (&carol["groups"], &carol["admin"]),
        (&json!(["school", "school:staff"]), &json!(true))
    );
}

#[test]
fn github_in_trouble_lets_nobody_in() {
    let provider = Provider::start("github.py", &[]);
    let url = provider.url();
    let site = hub(&format!(
        "(others: [(name: \"github\", class: GitHub(github_url: {url:?}, {GITHUB}, timeout: 2))], allow_all: true)"
    ));
    let cases: Vec<Value> = serde_json::from_str(&provider.get("/_cases")).expect("a list");
    assert!(cases.len() > 10, "{cases:?}");
    let all = walk(
        &site,
        &provider,
        TOKEN,
        &["--cases", "all", "--way", "github"],
        Duration::from_secs(180),
    );
    let bad: Vec<_> = all.iter().filter(|it| it["ok"] != true).map(brief).collect();
    assert!(bad.is_empty() && !all.is_empty(), "{}", bad.join("\n"));
    println!("{} cases of GitHub", all.len());
}

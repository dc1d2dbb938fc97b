//! Started by an ordinary user: everything as that user, for that user alone.

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, wait_until},
    with_server,
};

/// The whole round: signing in, starting, stopping, ending.
fn round(mut site: Site, account: &Account) {
    let begun = site.start();
    assert_eq!(begun.text("role").as_deref(), Some("root"));
    let told = site.log.event(0, "not started by root", PATIENCE);
    assert_eq!(told.text("only").as_ref(), Some(&account.name));
    let mut visitor = with_server(&site, account);
    let ours = [site.root(), site.hub(), site.proxy(), site.server()];
    for process in ours {
        assert_eq!(process.ids("Uid"), [account.uid; 4], "{process:?}");
    }
    // The form token of who is signed in comes with a page.
    visitor.get("/hub/home");
    let path = format!("/hub/api/users/{}/server", account.name);
    let answer = visitor.api("DELETE", &path, "");
    assert!(matches!(answer.status, 202 | 204), "{}", answer.status);
    wait_until("the server has ended", PATIENCE, || !ours[3].lives());
    site.signal(Signal::SIGTERM);
    assert!(site.ended(PATIENCE).success());
    assert!(site.left_over().is_empty(), "{:?}", site.left_over());
}

#[test]
fn an_ordinary_user_is_served() {
    as_root!();
    let account = Account::make();
    round(Plan::quick().started_by(&account).prepare(), &account);
}

#[test]
fn a_runtime_directory_is_used_where_there_is_one() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().started_by(&account).prepare();
    site.variables.push(("XDG_RUNTIME_DIR", account.home.display().to_string()));
    let place = account.home.join("jovis").join(&site.name);
    round(site, &account);
    assert!(place.join("hub.sock").exists());
}

#[test]
fn others_are_refused_even_with_their_password() {
    as_root!();
    let (account, other) = (Account::make(), Account::make());
    let site = Plan::quick().started_by(&account).start();
    let answer = site.visitor().sign_in_as(&other.name, &other.password);
    assert_eq!(answer.status, 403, "{}", answer.words());
    assert!(other.processes().is_empty());
    let told = site.log.event(0, "password refused", PATIENCE).text("error").unwrap_or_default();
    let why =
        format!("jovis is not run by root and can check no password but that of {}", account.name);
    assert!(told.contains(&why), "{told}");
}

//! The root process: small, careful with privilege, orderly at the start and at the end.

use std::{net::TcpListener, path::Path, time::Duration};

use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, process::Process, wait_until},
    with_server,
};

fn runs_as(process: Process, account: &str) {
    let user = User::from_name(account).expect("readable").expect("the account is there");
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    assert_eq!(process.ids("Uid"), [uid; 4], "{account}");
    assert_eq!(process.ids("Gid"), [gid; 4], "{account}");
    assert!(!process.ids("Groups").contains(&0), "{account} is in root's group");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(process.status(set), "0000000000000000", "{account} {set}");
    }
}

/// Tells root to end and waits for it: a good end, with the port free again.
fn end(site: &mut Site, signal: Signal) {
    let (root, hub, proxy) = (site.root(), site.hub(), site.proxy());
    site.signal(signal);
    let status = site.ended(PATIENCE);
    assert!(status.success(), "{status}");
    assert!(![root, hub, proxy].iter().any(|process| process.lives()));
    TcpListener::bind(site.public).expect("the port is free");
}

#[test]
fn root_is_one_thread_and_the_others_have_no_privilege() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    with_server(&site, &account);
    let root = site.root();
    assert_eq!(root.status("Threads"), "1");
    assert!(!root.maps().contains("/security/pam_"), "a PAM module is in root's memory");
    assert_eq!(root.ids("Uid"), [Uid::current().as_raw(); 4]);
    runs_as(site.hub(), "jovis");
    runs_as(site.proxy(), "jovis-proxy");
    for process in [site.hub(), site.proxy()] {
        assert_eq!(process.parent(), Some(root.pid));
        assert_eq!(process.session(), Some(process.pid), "a session of its own");
        assert!(process.environment().is_empty(), "roles start with an empty environment");
    }
}

#[test]
fn a_hub_in_a_folder_only_root_can_enter_works() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().private().start();
    with_server(&site, &account);
}

#[test]
fn the_state_is_for_the_hub_alone() {
    as_root!();
    use std::os::unix::fs::MetadataExt;
    let site = Plan::quick().start();
    let state = site.file.with_file_name("state").metadata().expect("it was made");
    let jovis = User::from_name("jovis").expect("readable").expect("the account is there");
    assert_eq!((state.mode() & 0o777, state.uid()), (0o700, jovis.uid.as_raw()));
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left() {
    as_root!();
    let mut site = Plan::quick().prepare();
    let taken = TcpListener::bind(site.public).expect("it is free");
    site.launch();
    let status = site.ended(PATIENCE);
    assert!(!status.success());
    let port = taken.local_addr().expect("it is bound").port().to_string();
    wait_until("it says which port", PATIENCE, || site.log.tail(20).contains(&port));
    assert!(site.left_over().is_empty());
}

#[test]
fn a_wrong_setting_ends_with_78_before_anything_is_bound() {
    as_root!();
    let mut site = Plan::quick().set("hub.prot", "1").prepare();
    let taken = TcpListener::bind(site.public).expect("it is free");
    site.launch();
    let status = site.ended(PATIENCE);
    drop(taken);
    // had it tried to bind first, the taken port would have been its complaint
    assert_eq!(status.code(), Some(78), "{}", site.log.tail(20));
    wait_until("it names the setting", PATIENCE, || site.log.tail(20).contains("prot"));
    assert!(!Path::new("/run/jovis").join(&site.name).join("children").exists());
}

#[test]
fn on_sigterm_servers_are_kept_and_the_next_root_adopts_them() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let server = site.server();
    end(&mut site, Signal::SIGTERM);
    assert_eq!(site.left_over(), [server]);

    site.start();
    crate::wait_for_server(&mut visitor, &account);
    assert!(server.lives());
    assert_eq!(account.processes(), [server], "it was adopted, not started again");
    assert_eq!(visitor.get("/hub/home").status, 200, "still signed in");
    // an adopted server can be stopped like any other
    let path = format!("/hub/api/users/{}/server", account.name);
    let answer = visitor.api("DELETE", &path, "");
    assert!(matches!(answer.status, 202 | 204), "{}", answer.status);
    wait_until("it has ended", PATIENCE, || !server.lives());
}

#[test]
fn on_sigterm_servers_are_stopped_where_that_is_wanted() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().set("shutdown.servers", "Stop").start();
    with_server(&site, &account);
    end(&mut site, Signal::SIGTERM);
    assert!(site.left_over().is_empty(), "{:?}", site.left_over());
    assert!(account.processes().is_empty());
}

#[test]
fn ctrl_c_stops_servers_too() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().start();
    with_server(&site, &account);
    end(&mut site, Signal::SIGINT);
    assert!(site.left_over().is_empty(), "{:?}", site.left_over());
}

#[test]
fn after_a_killed_root_the_next_one_finds_everything() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());
    site.signal(Signal::SIGKILL);
    site.ended(PATIENCE);
    wait_until("hub and proxy leave", Duration::from_secs(10), || !hub.lives() && !proxy.lives());
    assert!(server.lives());
    site.start();
    crate::wait_for_server(&mut visitor, &account);
    assert_eq!(account.processes(), [server]);
    // its end is seen although it is not this root's child
    server.kill();
    let user = format!("/hub/api/users/{}", account.name);
    wait_until("the hub knows", PATIENCE, || {
        let another = site.servers().first().is_some_and(|now| *now != server);
        another || visitor.api("GET", &user, "").json()["server"].is_null()
    });
}

#[test]
fn two_hubs_live_side_by_side() {
    as_root!();
    let (one, two) = (Plan::quick().start(), Plan::quick().start());
    for site in [&one, &two] {
        assert_eq!(site.visitor().get("/hub/api").status, 200);
    }
    assert_ne!(one.hub(), two.hub());
}

#[test]
fn a_second_hub_of_the_same_name_does_not_start() {
    as_root!();
    let first = Plan::quick().start();
    let mut second = Plan::quick().set("hub.name", &format!("{:?}", first.name)).prepare();
    second.launch();
    assert!(!second.ended(PATIENCE).success());
    assert_eq!(first.visitor().get("/hub/api").status, 200, "the first does not notice");
}

//! The whole path with real notebooks: `jupyterhub-singleuser`, JupyterLab, a kernel, a browser. The scripts beside this
//! file do what a person does; here stands what happens to the hub meanwhile.

#[path = "../support/mod.rs"]
pub mod support;

mod admin;
mod clients;
#[cfg(feature = "docker")]
mod containers;
mod documents;
mod home;
mod hosts;
mod look;
mod own;
mod providers;
mod secure;
mod start;

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use support::{Account, PATIENCE, Plan, Script, Site, process::Process, wait_until};

/// A first JupyterLab start takes long on two cores, and several at once take for ever.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

const MINUTES: Duration = Duration::from_secs(300);

fn address(site: &Site) -> String {
    format!("http://{}/", site.public)
}

/// An empty folder for the pictures of a story; those of an earlier run would be taken for this one's.
fn pictures(story: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pictures").join(story);
    let _ = fs::remove_dir_all(&folder);
    println!("pictures in {}", folder.display());
    folder.to_str().expect("a plain path").to_owned()
}

#[test]
fn a_person_computes_in_a_notebook() {
    as_root!();
    let _alone = alone();
    let account = Account::make();
    let site = Plan::quick().notebooks().start();
    let story: [&str; 3] = [&address(&site), &account.name, &pictures("notebook")];
    Script::start("notebook.py", &story, &account.password).done(MINUTES);
    // A kernel may end a moment after its server.
    wait_until("nothing of the user's runs", PATIENCE, || account.processes().is_empty());
    assert!(site.servers().is_empty(), "the server was stopped");
}

#[test]
fn signing_in_computing_and_leaving_works_again_and_again() {
    as_root!();
    let _alone = alone();
    let account = Account::make();
    let site = Plan::quick().notebooks().start();
    let address = address(&site);
    let rounds = |count: &str| {
        let story = [&address, &account.name, "--rounds", count];
        Script::start("cell.py", &story, &account.password).done(4 * MINUTES);
    };
    // What a first round opens for good (pools, sled's files) is no leak.
    rounds("1");
    let roles = [site.root(), site.hub(), site.proxy()];
    let before = roles.map(Process::descriptors);
    rounds(&std::env::var("JOVIS_TEST_ROUNDS").unwrap_or_else(|_| "20".to_owned()));
    // A connection or two may still be kept for the next request.
    wait_until("descriptors are given back", 2 * PATIENCE, || {
        roles.map(Process::descriptors).iter().zip(before).all(|(now, then)| *now <= then + 2)
    });
    println!(
        "descriptors of root, hub, proxy: {before:?}, then {:?}",
        roles.map(Process::descriptors)
    );
    wait_until("nothing of the user's runs", PATIENCE, || account.processes().is_empty());
    assert!(site.servers().is_empty(), "the last server was stopped");
}

#[test]
fn a_running_cell_does_not_notice_that_the_hub_was_killed() {
    as_root!();
    let _alone = alone();
    let account = Account::make();
    let site = Plan::quick().notebooks().start();
    let folder = site.folder().to_str().expect("a plain path");
    let script = Script::start(
        "cell.py",
        &[&address(&site), &account.name, "--pause", folder],
        &account.password,
    );
    script.says("running", MINUTES);
    let (server, proxy) = (site.server(), site.proxy());
    let hub = site.hub();
    hub.kill();
    let killed = Instant::now();
    // Asked while there is none: the request waits for the next one.
    assert_eq!(site.visitor().get("/hub/login").status, 200);
    let back = killed.elapsed();
    println!("a page of the hub came {back:?} after the kill (promised: 1 s)");
    assert!(back < Duration::from_secs(5), "{back:?}");
    let another = || site.role("@hub").is_some_and(|now| now != hub);
    wait_until("there is another hub", PATIENCE, another);
    assert_eq!((site.server(), site.proxy()), (server, proxy));
    // now the cell may end; its output must arrive over the socket that was open all the time
    fs::write(site.folder().join("go"), "").expect("the folder is ours");
    script.done(MINUTES);
}

//! What the first two documents of JupyterHub say of user servers, with real ones: folder, page, arguments, files of their own.

use std::{fs, io::Write, os::unix::fs::chown, path::PathBuf};

use crate::{
    MINUTES, alone, as_root,
    support::{Account, Plan, Site, Visitor, wait_for},
};

/// Gives a file to this user, with the folders above it.
fn put(owner: &Account, path: &str, text: &str) {
    let file = owner.home.join(path);
    fs::create_dir_all(file.parent().expect("it has one")).expect("the tests run as root");
    fs::write(&file, text).expect("the tests run as root");
    for part in file.ancestors().take_while(|part| *part != owner.home) {
        chown(part, Some(owner.uid), Some(owner.gid)).expect("the tests run as root");
    }
}

/// Somebody whose server runs, and is known to it.
fn inside(site: &Site, owner: &Account) -> Visitor {
    let mut visitor = site.visitor();
    visitor.sign_in(owner);
    let server = format!("/hub/api/users/{}/server", owner.name);
    let started = visitor.api("POST", &server, "");
    assert!(matches!(started.status, 201 | 202), "{}", started.text());
    wait_for("the server is ready", MINUTES, || {
        (visitor.api("GET", &server, "").json()["ready"] == true).then_some(())
    });
    visitor
}

#[test]
fn folder_page_arguments_and_files_of_ones_own_are_as_the_documents_say() {
    as_root!();
    let _alone = alone();
    let owner = Account::make();
    put(&owner, "assignments/Welcome.txt", "welcome");
    put(&owner, "outside.txt", "not to be seen");
    let own = "c.ContentsManager.allow_hidden = True\n";
    put(&owner, ".jupyter/jupyter_server_config.py", own);
    put(&owner, "assignments/.hidden.txt", "shown by one's own file");
    let site = Plan::quick()
        .notebooks()
        .set("spawner.notebook_dir", "\"~/assignments\"")
        .set("spawner.args", "[\"--debug\"]")
        .set("spawner.default_url", "\"/lab/tree/Welcome.txt\"")
        .start();
    let mut visitor = inside(&site, &owner);
    let home = format!("/user/{}/", owner.name);

    // ~/assignments is the root: what lies in it is there, what lies beside it is not
    let (answer, _) = visitor.follow(&format!("{home}files/Welcome.txt"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "welcome"), "{}", answer.words());
    assert_eq!(visitor.get(&format!("{home}files/outside.txt")).status, 404);
    // one's own jupyter_server_config.py is read: it lets hidden files be seen
    let hidden = visitor.get(&format!("{home}files/.hidden.txt"));
    assert_eq!((hidden.status, hidden.text().as_str()), (200, "shown by one's own file"));
    // the page that one lands on
    let landing = visitor.get(&home);
    let at = landing.location().unwrap_or_default();
    let page = at.trim_end_matches('?');
    assert!(page.ends_with("/lab/tree/Welcome.txt"), "{} {at}", landing.status);
    // the argument arrived, and what it does is in the server's log
    let server = site.server();
    assert!(server.arguments().iter().any(|it| it == "--debug"), "{:?}", server.arguments());
}

/// `/etc/jupyter/jupyter_server_config.py`, for as long as this lives. What is there already is not ours to replace.
struct ForAll(PathBuf);

impl ForAll {
    fn put(text: &str) -> Self {
        let file = PathBuf::from("/etc/jupyter/jupyter_server_config.py");
        fs::create_dir_all("/etc/jupyter").expect("the tests run as root");
        let mut new = fs::File::create_new(&file).expect("no such file, or somebody else's");
        new.write_all(text.as_bytes()).expect("the tests run as root");
        Self(file)
    }
}

impl Drop for ForAll {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_file_for_all_servers_is_read_by_each() {
    as_root!();
    let _alone = alone();
    let owner = Account::make();
    put(&owner, ".hidden.txt", "shown by the file for all");
    let _file = ForAll::put("c.ContentsManager.allow_hidden = True\n");
    let site = Plan::quick().notebooks().start();
    let mut visitor = inside(&site, &owner);
    let (answer, _) = visitor.follow(&format!("/user/{}/files/.hidden.txt", owner.name));
    assert_eq!(answer.text(), "shown by the file for all", "{}", answer.words());
}

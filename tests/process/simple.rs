//! Servers that all run as one account, under names that need no account, with the dummy authenticator.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use nix::unistd::User;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, unique, wait_until},
};

const PASSWORD: &str = "anybody's word";

fn plan() -> Plan {
    Plan::quick().set("auth.class", &format!("Dummy(password: {PASSWORD:?})")).set(
        "spawner.class",
        r#"Simple(user: "jovis-user", home_dir_template: "FOLDER/homes/{username}")"#,
    )
}

/// Signs somebody in who has no account, and starts a server: whose is it, and its home?
fn round(site: &mut Site) -> (u32, u32) {
    let homes = site.folder().join("homes");
    fs::create_dir(&homes).expect("the folder is ours");
    fs::set_permissions(&homes, fs::Permissions::from_mode(0o1777)).expect("it is ours");
    site.start();
    let name = format!("guest{}", unique());
    assert_eq!(site.visitor().sign_in_as(&name, "another word").status, 403);
    let mut visitor = site.visitor();
    assert_eq!(visitor.sign_in_as(&name, PASSWORD).status, 302);
    visitor.get("/hub/spawn");
    wait_until("the server answers", PATIENCE, || {
        visitor.get(&format!("/user/{name}/api")).status == 200
    });
    let server = site.server();
    let home = homes.join(&name);
    let variables = server.environment();
    assert!(variables.contains(&format!("HOME={}", home.display())), "{variables:?}");
    assert!(variables.contains(&format!("USER={name}")), "{variables:?}");
    (server.ids("Uid")[0], home.metadata().expect("it was made").uid())
}

#[test]
fn as_root_all_servers_run_as_the_one_account() {
    as_root!();
    let account = User::from_name("jovis-user").expect("readable").expect("it is there");
    let uid = account.uid.as_raw();
    assert_eq!(round(&mut plan().prepare()), (uid, uid));
}

#[test]
fn an_ordinary_users_hub_runs_them_as_that_user() {
    as_root!();
    let account = Account::make();
    let mut site = plan().started_by(&account).prepare();
    assert_eq!(round(&mut site), (account.uid, account.uid));
}

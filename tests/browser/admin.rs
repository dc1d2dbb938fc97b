//! The pages for administrators: `admin.py`.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command, time::Duration};

use crate::{
    address, alone, pictures,
    support::{Account, Plan, Script},
};

/// A dozen pages at three widths, and some waiting.
const STORY: Duration = Duration::from_secs(420);

#[test]
fn an_administrator_keeps_users_groups_and_the_hub() {
    crate::as_root!();
    let _alone = alone();
    let (boss, ann) = (Account::make(), Account::make());
    let line = format!("{}:{}", ann.name, boss.password);
    let mut tool = Command::new("sh");
    tool.args(["-c", "printf '%s' \"$0\" | chpasswd", &line]);
    assert!(tool.status().expect("there is a shell").success(), "both have one password");
    let mut site = Plan::quick()
        .set(
            "spawner.class",
            r#"Simple(user: "jovis-user", home_dir_template: "FOLDER/homes/{username}")"#,
        )
        .set("auth.admin_users", &format!("[{:?}]", boss.name))
        .set("auth.allowed_users", &format!("[{:?}]", ann.name))
        .set("hub.allow_named_servers", "true")
        .set("hub.slow_spawn_timeout", "20")
        .prepare();
    let homes = site.folder().join("homes");
    fs::create_dir(&homes).expect("the folder is ours");
    fs::set_permissions(&homes, fs::Permissions::from_mode(0o1777)).expect("the folder is ours");
    // Servers of these do not start: what should be their home is none.
    for ghost in ["ghost-a", "ghost-b", "ghost-c"] {
        fs::write(homes.join(ghost), "no folder").expect("the folder is ours");
    }
    site.start();
    let folder = pictures("admin");
    Script::start("admin.py", &[&address(&site), &boss.name, &ann.name, &folder], &boss.password)
        .done(STORY);
}

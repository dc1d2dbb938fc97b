//! One's servers on the home page: `home.py`.

use crate::{
    address, alone,
    look::STORY,
    pictures,
    support::{Account, Plan, Script},
};

#[test]
fn a_person_keeps_several_servers_on_the_home_page() {
    crate::as_root!();
    let _alone = alone();
    let account = Account::make();
    let site = Plan::quick()
        .set("hub.allow_named_servers", "true")
        .set("hub.named_server_limit_per_user", "3")
        .set("spawner.usage_interval", "1")
        .set("spawner.restart", "Never")
        .start();
    let folder = pictures("home");
    let story: [&str; 3] = [&address(&site), &account.name, &folder];
    Script::start("home.py", &story, &account.password).done(STORY);
    assert!(site.servers().is_empty(), "all were stopped");
}

//! Tokens, sharing and consent: `own.py`.

use crate::{
    address, alone,
    look::STORY,
    pictures,
    support::{Account, Plan, Script},
};

#[test]
fn a_person_keeps_tokens_shares_a_server_and_declines() {
    crate::as_root!();
    let _alone = alone();
    let (account, friend) = (Account::make(), Account::make());
    let services = "[(name: \"board\", url: \"http://127.0.0.1:9\", api_token: \"TOKEN\")]";
    let roles = "[(name: \"people\", scopes: [\"shares!user\", \"read:users:name\", \"access:services!service=board\"], \
                 users: [\"NAME\"])]";
    let site = Plan::quick()
        .set("services", &services.replace("TOKEN", &"5e4v1ce0".repeat(4)))
        .set("roles", &roles.replace("NAME", &account.name))
        .start();
    let folder = pictures("own");
    let story: [&str; 5] =
        [&address(&site), &account.name, &folder, &friend.name, friend.password.as_str()];
    Script::start("own.py", &story, &account.password).done(STORY);
}

//! What every page shares, the way in and out, errors: `look.py`.

use std::time::Duration;

use crate::{
    address, alone, pictures,
    support::{Account, Plan, Script},
};

/// A script that reads a dozen pages, each at three widths.
pub(crate) const STORY: Duration = Duration::from_secs(240);

#[test]
fn a_person_finds_the_way_in_and_out_and_understands_errors() {
    crate::as_root!();
    let _alone = alone();
    let account = Account::make();
    let services = "[(name: \"board\", url: \"http://127.0.0.1:9\", oauth_no_confirm: true)]";
    let roles =
        "[(name: \"board\", scopes: [\"access:services!service=board\"], users: [\"NAME\"])]";
    let site = Plan::quick()
        .set("services", services)
        .set("roles", &roles.replace("NAME", &account.name))
        .start();
    let folder = pictures("look");
    Script::start("look.py", &[&address(&site), &account.name, &folder], &account.password)
        .done(STORY);
}

//! What every page shares, the way in and out, errors: `look.py`.

use std::{fs, time::Duration};

use nix::sys::signal::Signal;

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
        .set("proxy.hub_patience", "1")
        .start();
    let (address, pictures) = (address(&site), pictures("look"));
    let folder = site.folder().to_str().expect("a plain path");
    let story: [&str; 4] = [&address, &account.name, &pictures, folder];
    let script = Script::start("look.py", &story, &account.password);
    script.says("the hub may go", STORY);
    // Nobody starts another one meanwhile.
    let root = site.root();
    root.signal(Signal::SIGSTOP);
    site.hub().kill();
    fs::write(site.folder().join("gone"), "").expect("the folder is ours");
    script.says("saw the page of the proxy", STORY);
    root.signal(Signal::SIGCONT);
    script.done(STORY);
}

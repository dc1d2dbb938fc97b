//! A browser that comes by TLS: `secure.py`.

use crate::{
    MINUTES, alone, as_root,
    support::{Account, Plan, Script},
};

#[test]
fn a_browser_speaks_http2_and_its_websocket_too() {
    as_root!();
    let _alone = alone();
    let account = Account::make();
    let site = Plan::quick().tls().start();
    let log = site.folder().join("net.json");
    let address = format!("https://{}/", site.public);
    let story: [&str; 3] = [&address, &account.name, log.to_str().expect("a plain path")];
    Script::start("secure.py", &story, &account.password).done(MINUTES);
}

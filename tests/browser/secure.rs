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
    let fixture =
        |name: &str| format!("{}/tests/fixtures/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let site = Plan::quick()
        .set("hub.ssl_cert", &format!("{:?}", fixture("cert")))
        .set("hub.ssl_key", &format!("{:?}", fixture("key")))
        .start();
    let log = site.folder().join("net.json");
    let address = format!("https://{}/", site.public);
    let story: [&str; 3] = [&address, &account.name, log.to_str().expect("a plain path")];
    Script::start("secure.py", &story, &account.password).done(MINUTES);
}

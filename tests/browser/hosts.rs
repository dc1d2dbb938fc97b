//! A host for each user: `hosts.py`. (Browsers take every name below `localhost` for this machine.)

use crate::{
    MINUTES, alone, as_root, pictures,
    support::{Account, Plan, Script},
};

#[test]
fn every_user_computes_on_a_host_of_his_own() {
    as_root!();
    let _alone = alone();
    let account = Account::make();
    let site = Plan::quick()
        .notebooks()
        .tls()
        .set("hub.subdomain_host", r#""https://hub.localhost:PUBLIC""#)
        .set("hub.base_url", r#""/lab/x/""#)
        .start();
    let address = format!("https://hub.localhost:{}/lab/x/", site.public.port());
    let story: [&str; 3] = [&address, &account.name, &pictures("hosts")];
    Script::start("hosts.py", &story, &account.password).done(MINUTES);
}

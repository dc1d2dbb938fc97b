//! The real binary, real users, real signals, real crashes.
//!
//! Each test has a hub of its own ([`support::Site`]). To add one: a function in the file of its theme, its name a
//! sentence; `as_root!()` first if it makes users.

#[path = "../support/mod.rs"]
pub mod support;

mod accounts;
#[cfg(all(feature = "acme", feature = "faults"))]
mod acme;
mod allowed;
mod alone;
#[cfg(feature = "faults")]
mod armed;
#[cfg(feature = "faults")]
mod backup;
mod calls;
mod canary;
#[cfg(feature = "faults")]
mod chaos;
#[cfg(feature = "faults")]
mod clock;
mod control;
mod crowd;
#[cfg(feature = "faults")]
mod disk;
mod disk_full;
#[cfg(feature = "docker")]
mod docker;
mod documents;
#[cfg(feature = "faults")]
mod effects;
mod hub_crash;
mod limits;
mod login;
mod logs;
mod many;
mod network;
mod operators;
mod pam_faults;
mod paused;
mod people;
mod providers;
mod proxy_crash;
mod reload;
mod root;
mod root_crash;
mod secure;
mod server_crash;
mod services;
mod simple;
mod spawn;
mod sudo;
mod systemd;
mod told;
mod unprivileged;
mod upgrade;

use support::{Account, PATIENCE, Site, Visitor, wait_until};

/// Signs `account` in and starts its server; comes back when that answers through the proxy.
fn with_server(site: &Site, account: &Account) -> Visitor {
    let mut visitor = site.visitor();
    visitor.sign_in(account);
    visitor.get("/hub/spawn");
    wait_for_server(&mut visitor, account);
    visitor
}

/// Comes back when the user's server answers through the proxy.
fn wait_for_server(visitor: &mut Visitor, account: &Account) {
    wait_until("the user's server answers", PATIENCE, || {
        visitor.get(&format!("/user/{}/api", account.name)).status == 200
    });
}

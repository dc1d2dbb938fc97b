//! What the tests of whole hubs stand on: a real jovis in a fresh folder, throw-away Unix users, a small HTTP client,
//! and a look at processes from outside.
//!
//! | file | what it is |
//! |---|---|
//! | `site.rs` | [`Plan`] → [`Site`]: writes hub.ron, starts the binary, ends everything on drop |
//! | `ports.rs` | [`free_ports`]: of this machine, and of nobody by accident |
//! | `log.rs` | the hub's log lines as they come, and waiting for one |
//! | `operator.rs` | `jovis COMMAND` beside it, and its control socket ([`Talk`]) |
//! | `account.rs` | a Unix user for one test |
//! | `faults.rs` | panics, kills and stalls in a running hub, at named points |
//! | `process.rs` | the process table, read from /proc |
//! | `http.rs` | [`Visitor`]: a browser without a window; [`Socket`]: one upgraded connection |
//! | `volume.rs` | a small volume of its own, to be filled up |
//! | `script.rs` | running the Python scripts of `tests/browser` |
//! | `crowd.rs` | [`crowd::Crowd`]: many users with cheap servers (`fake_server.rs`) |
//! | `ledger.rs` | what was acknowledged, and whether it is there |
//! | `load.rs` | [`load::Load`]: sockets, requests and downloads that go on while something breaks |
//! | `scale.rs` | scaled down in `make test`, whole in `make chaos` |
//! | `engine.rs`, `podman.rs`, `certificates.rs` | [`engine::Engine`]: a Docker or podman engine of our own; `container.py`: what runs in it |
//! | `fake_singleuser.py` | a user server that is quick and misbehaves on request |
//!
//! Tests wait for conditions ([`wait_until`]), never for a time. Everything started here is ended here, by pid.

use std::time::{Duration, Instant};

mod account;
#[cfg(feature = "docker")]
mod certificates;
pub mod crowd;
#[cfg(feature = "docker")]
pub mod engine;
#[cfg(feature = "faults")]
mod faults;
mod http;
pub mod ledger;
pub mod load;
mod log;
mod operator;
#[cfg(feature = "docker")]
mod podman;
mod ports;
pub mod process;
mod provider;
pub mod scale;
mod script;
mod site;
mod volume;

pub use account::Account;
pub use http::{Answer, Socket, Visitor};
pub use log::{Line, Log};
pub use operator::{Talk, code, done, said};
pub use ports::free_ports;
pub use provider::{Provider, walk};
pub use script::Script;
pub use site::{Plan, RUN, Site, python_home};
pub use volume::{Full, Volume};

/// Long enough for anything that is not itself about time, on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `condition` again and again until it holds. Panics after `limit`, naming `what`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    wait_for(what, limit, || condition().then_some(())).1
}

/// Asks until there is an answer; also says how long that took. Panics after `limit`, naming `what`.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(answer) = question() {
            return (answer, began.elapsed());
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whole hubs with several Unix users need root. Says so where a test is skipped for that.
pub fn needs_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("{test}: skipped, it makes Unix users and so needs root");
    }
    root
}

/// Leaves the test unless it runs as root.
#[macro_export]
macro_rules! as_root {
    () => {
        if !$crate::support::needs_root(std::thread::current().name().unwrap_or("test")) {
            return;
        }
    };
}

/// Letters no two tests on this machine share.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.expect("the clock is after 1970").subsec_nanos();
    format!("{:x}{count:x}{:04x}", std::process::id(), nanos >> 14)
}

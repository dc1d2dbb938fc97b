//! Role root: the one parent of everything, the holder of all listening sockets, the only process with privilege. One
//! thread, one poll loop; it reads typed messages from the hub and the proxy it has started itself, and nothing else.
//!
//! Reading order: [`policy`] (what may be asked), `requests.rs` (how it is done), `birth.rs` (between fork and exec),
//! `children.rs` (who lives), `events.rs` (the loop), `roles.rs` (hub and proxy), `generations.rs` (one proxy after the
//! other), `upgrade.rs` and `reexec.rs` (another program in our place), `control.rs` (what operators ask), `reload.rs`,
//! `shutdown.rs`.

use std::{
    env,
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
};

use jovis_actors::domain::Secret;
use nix::{
    sys::{
        prctl,
        stat::{Mode, umask},
    },
    unistd::Uid,
};
use thiserror::Error;
use tracing::{error, warn};

use crate::{
    config::{
        Config,
        secret::{self, SecretError, Tls},
        sections::Log,
    },
    ipc::control::Filter,
    os::{
        process,
        users::{self, Account},
    },
};

mod baggage;
mod birth;
mod checks;
mod children;
mod control;
mod events;
mod generations;
mod helpers;
mod memory;
mod newcomers;
mod place;
mod policy;
mod reexec;
mod reload;
mod requests;
mod roles;
mod shutdown;
mod sockets;
mod systemd;
mod upgrade;

pub use reexec::{Resumed, Way, resume};
use systemd::notify;

/// What root reads for the one role that needs it.
#[derive(Debug, Clone)]
struct Secrets {
    /// Signs cookies; the hub's.
    cookie_secret: Secret<Vec<u8>>,
    /// Certificate and key; none: no TLS. The proxy's.
    tls: Option<Tls>,
    /// Seal what is kept about people, the first for writing. The hub's.
    crypt_keys: Vec<Secret<Vec<u8>>>,
    /// Opens the proxy's REST API, if there is one. The proxy's.
    proxy_token: Option<Secret<String>>,
}

impl Secrets {
    fn read(config: &Config, state: BorrowedFd<'_>) -> Result<Self, SecretError> {
        let variable = env::var_os(secret::COOKIE_VARIABLE);
        let cookie_secret = secret::cookie_secret(variable.as_deref(), &config.hub, state)?;
        let variable = env::var_os(secret::PROXY_VARIABLE);
        let proxy_token = secret::proxy_token(variable.as_deref(), &config.hub, state)?;
        let variable = env::var(secret::CRYPT_VARIABLE).ok();
        let crypt_keys = variable.as_deref().map(secret::crypt_keys).transpose()?;
        let crypt_keys = crypt_keys.unwrap_or_default();
        Ok(Self { cookie_secret, crypt_keys, tls: secret::tls(config)?, proxy_token })
    }
}

/// Reads the configuration again; all findings if it is not right.
pub type Reload = Box<dyn Fn() -> Result<Config, Vec<String>>>;

/// Puts log settings into effect. The file that roles shall write to from now on; none: as they do.
pub type Relog = Box<dyn Fn(&Log) -> Result<Option<OwnedFd>, String>>;

/// Tells somebody what root logs.
pub type Tap = Box<dyn Fn(OwnedFd, Filter) -> Result<(), String>>;

/// What root is started with.
pub struct Setup {
    /// As loaded and checked.
    pub config: Config,
    /// Where from.
    pub file: Option<PathBuf>,
    /// Where the program lies that we are.
    pub program: PathBuf,
    /// What it was started with, without its name.
    pub arguments: Vec<String>,
    /// For SIGHUP.
    pub reload: Reload,
    /// After that.
    pub relog: Relog,
    /// For who follows the log.
    pub tap: Tap,
}

/// Why jovis does not start. The text is for the person at the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StartError {
    /// The configuration asks for what cannot be.
    #[error("{0}")]
    Refused(String),
    /// Somebody else has it: may work later.
    #[error("{0}")]
    Busy(String),
    /// The operating system does not play along.
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    /// As sysexits.h has them: config, temporary failure, system error.
    fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 78,
            Self::Busy(_) => 75,
            Self::Failed(_) => 71,
        }
    }
}

/// Runs jovis until it is told to stop. Call it with one thread, logging set up.
pub fn run(setup: Setup) -> ExitCode {
    match begin(setup) {
        Ok(root) => root.run(),
        Err(error) => {
            error!(%error, "jovis cannot start");
            ExitCode::from(error.code())
        }
    }
}

fn begin(setup: Setup) -> Result<events::Root, StartError> {
    let failed = |what: &'static str| move |error| StartError::Failed(format!("{what}: {error}"));
    let config = &setup.config;
    let handed = systemd::handed();
    let (we, hub, proxy) = accounts(config)?;
    let privileged = we.privileged;
    if !privileged {
        // Servers run as nobody else, and nothing parts root, hub and proxy.
        warn!(uid = we.uid, only = %hub.name, "not started by root");
    }
    let open_files = process::take_open_files().map_err(|e| failed("open files")(e.to_string()))?;
    let open = Mode::from_bits_truncate(0o022);
    let setting = birth::Setting {
        we,
        hub_gid: hub.gid,
        env: env::vars_os()
            .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)))
            .collect(),
        umask: umask(open),
        open_files,
        servers_oom: memory::prefer_servers(),
    };
    prctl::set_child_subreaper(true).map_err(|e| failed("subreaper")(e.to_string()))?;
    let (state_path, state) = place::state(config, &we, &hub)?;
    let (run, lock) = place::runtime(config, &we, &state_path)?;
    umask(Mode::from_bits_truncate(0o077));
    let sockets = sockets::bind(config, &run, &state_path, privileged.then_some(&proxy), handed)?;
    let children =
        children::Children::open(&run).map_err(|e| failed("children file")(e.to_string()))?;
    let control =
        control::Control::open(&run).map_err(|e| failed("control socket")(e.to_string()))?;
    events::Root::new(setup, setting, (hub, proxy), (state, lock), sockets, children, control)
}

/// Who we are, and the accounts of hub and proxy.
fn accounts(config: &Config) -> Result<(policy::Ourselves, Account, Account), StartError> {
    let uid = Uid::effective().as_raw();
    let privileged = uid == 0;
    let (hub, proxy) = if privileged {
        (
            named(&config.root.hub_user, "root.hub_user")?,
            named(&config.root.proxy_user, "root.proxy_user")?,
        )
    } else {
        (users::own(), users::own())
    };
    let we = policy::Ourselves { privileged, uid, hub: hub.uid, proxy: proxy.uid };
    Ok((we, hub, proxy))
}

fn named(name: &str, setting: &str) -> Result<Account, StartError> {
    let lack = |why: String| {
        StartError::Refused(format!(
            "{setting}: the account {name:?} {why}; make it (useradd --system {name}) or name another"
        ))
    };
    let found =
        users::by_name(name).map_err(|error| lack(format!("cannot be looked up: {error}")))?;
    let found = found.ok_or_else(|| lack("does not exist".to_owned()))?;
    if found.uid == 0 { Err(lack("is root".to_owned())) } else { Ok(found) }
}

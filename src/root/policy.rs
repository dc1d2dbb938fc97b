//! May this request be done? Pure: configuration and request in, a plan or a refusal out. A hub that has been taken
//! over still gets no more than this.
//!
//! | request | allowed when |
//! |---|---|
//! | `Spawn` | room left; names on the list; holes known and plain; then, with the account found, [`account`] |
//! | `Serve` | room left; the service stands in the configuration with a program; then [`account`] |
//! | `Signal`, `Forget`, `Children` | always: they reach only what root started for the hub (`children.rs`) |
//! | `Stop` | the hub serves: one that cannot come up ends itself, not everybody |
//! | `Account` | a short name; made only where the configuration says so, of a narrow alphabet ([`make`]) |
//! | `Pam` | the authenticator is PAM; short texts; a place free (`checks.rs`) |

use std::{collections::BTreeMap, path::PathBuf};

use jovis_actors::domain::{
    Username,
    options::{self, Chosen, fill},
    profile::Overrides,
};
use thiserror::Error;

use crate::{
    config::sections::{Config, SpawnerClass},
    ipc::{
        account::{AccountQuestion, Make},
        helper::Question,
        root::RootSays,
    },
    os::users::Account,
};

/// Root will not. The text is for the log and for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

impl From<Refusal> for RootSays {
    fn from(Refusal(why): Refusal) -> Self {
        Self::Denied { why }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// Who jovis's own processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ourselves {
    /// Started by root?
    pub(super) privileged: bool,
    /// Root's own user id.
    pub(super) uid: u32,
    /// The hub's.
    pub(super) hub: u32,
    /// The proxy's.
    pub(super) proxy: u32,
}

/// Which account a server shall run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunAs {
    /// The user's own.
    Local(String),
    /// One for all, with a home folder for each name.
    Simple {
        /// The account; none: root's own, where that is an ordinary one.
        account: Option<String>,
        /// Made if missing.
        home: PathBuf,
    },
    /// That of a service.
    Service {
        /// The account; none: root's own, where that is an ordinary one.
        account: Option<String>,
        /// Was it chosen for this service (so that it is at home there)?
        own: bool,
        /// Where it starts; none: at home.
        cwd: Option<PathBuf>,
    },
}

/// What will be executed, and as whom; all of it root's word but for values in the environment and in holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// As whom.
    pub(super) run_as: RunAs,
    /// The user's name at the hub.
    pub(super) user: String,
    /// Program and arguments, holes filled.
    pub(super) argv: Vec<String>,
    /// The hub's variables.
    pub(super) given: BTreeMap<String, String>,
    /// The configuration's, which go last.
    pub(super) configured: BTreeMap<String, String>,
    /// Most open files; 0: as root was started with.
    pub(super) open_files: u64,
}

/// A user server: may it be started, and how? Before the account is known. So many live, and so many may.
pub(super) fn spawn(
    config: &Config,
    privileged: bool,
    (living, most): (usize, u64),
    user: &Username,
    given: BTreeMap<String, String>,
    (holes, chosen): (&BTreeMap<String, String>, Option<Chosen>),
) -> Result<Plan, Refusal> {
    let spawner = &config.spawner;
    room(living, most)?;
    if user.as_str().starts_with('-') {
        return refuse("the name is no account name");
    }
    for (name, value) in holes {
        let fine = match name.as_str() {
            "username" => value == user.as_str(),
            "base_url" => value.starts_with('/') && value.ends_with('/') && is_plain(value),
            "port" => value.parse::<u16>().is_ok_and(|port| port >= 1024),
            _ => return refuse(format!("there is no hole {name:?}")),
        };
        if !fine {
            return refuse(format!("{value:?} does not fit into the hole {name}"));
        }
    }
    let set = chosen_sets(config, chosen, holes)?;
    let configured: BTreeMap<_, _> =
        spawner.environment.clone().into_iter().chain(set.environment).collect();
    variables(&given, &configured)?;
    let filled = |args: &[String]| args.iter().map(|arg| fill(arg, holes)).collect::<Vec<_>>();
    let cmd = if set.cmd.is_empty() { filled(&spawner.cmd) } else { set.cmd };
    let argv = [cmd, filled(&spawner.args), set.args].concat();
    if argv.first().is_none_or(String::is_empty) {
        return refuse("spawner.cmd is empty");
    }
    let run_as = match &spawner.class {
        SpawnerClass::Docker(_) => return refuse("servers run in containers, none as a process"),
        SpawnerClass::Local(_) => RunAs::Local(user.as_str().to_owned()),
        SpawnerClass::Simple(simple) => {
            let part = user.as_str();
            if part.contains('/') || part.starts_with('.') {
                return refuse("the name is no name of a folder");
            }
            RunAs::Simple {
                account: privileged.then(|| simple.user.clone()),
                home: simple.home_dir_template.replace("{username}", part).into(),
            }
        }
    };
    let user = user.as_str().to_owned();
    Ok(Plan { run_as, user, argv, given, configured, open_files: spawner.open_files })
}

/// What the choice sets, worked out from root's own configuration. Who may choose it is the hub's to know; that it is
/// offered at all is ours.
fn chosen_sets(
    config: &Config,
    chosen: Option<Chosen>,
    holes: &BTreeMap<String, String>,
) -> Result<Overrides, Refusal> {
    let profiles = &config.spawner.profiles;
    match chosen {
        _ if profiles.is_empty() => Ok(Overrides::default()),
        None => refuse("no profile was chosen"),
        Some(chosen) => {
            let checked = options::check(profiles, &|_| true, &chosen.options());
            let checked = checked.map_err(|faults| Refusal(options::in_one(&faults)))?;
            options::apply(profiles, &checked, holes).map_err(|fault| Refusal(fault.to_string()))
        }
    }
}

/// A managed service: may it be started, and how? Its program, folder and account are the configuration's.
pub(super) fn service(
    config: &Config,
    privileged: bool,
    (living, most): (usize, u64),
    name: &str,
    given: BTreeMap<String, String>,
) -> Result<Plan, Refusal> {
    room(living, most)?;
    let one = config.services.iter().find(|one| one.name == name && one.is_managed());
    let one = one.ok_or_else(|| Refusal("the hub runs no such service".to_owned()))?;
    variables(&given, &one.environment)?;
    let own = !one.user.is_empty();
    let account = if own { &one.user } else { &config.root.service_user };
    Ok(Plan {
        run_as: RunAs::Service {
            account: (privileged || own).then(|| account.clone()),
            own,
            cwd: (!one.cwd.is_empty()).then(|| one.cwd.clone().into()),
        },
        user: format!("service {name}"),
        argv: one.command.clone(),
        given,
        configured: one.environment.clone(),
        open_files: config.spawner.open_files,
    })
}

fn room(living: usize, most: u64) -> Result<(), Refusal> {
    if living as u64 >= most {
        return refuse(format!("{living} servers are running, the most root keeps"));
    }
    Ok(())
}

/// What the hub sets: names on its list, or that the configuration sets in any case.
fn variables(
    given: &BTreeMap<String, String>,
    configured: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    for (name, value) in given {
        if !is_hub_variable(name) && !configured.contains_key(name) {
            return refuse(format!("the hub may not set the variable {name:?}"));
        }
        if value.contains('\0') {
            return refuse(format!("the value of {name} holds a NUL byte"));
        }
    }
    Ok(())
}

/// Asked again in the forked child, with the account found: may a server run as this one?
pub(super) fn account(
    run_as: &RunAs,
    min_uid: u32,
    we: &Ourselves,
    found: &Account,
) -> Result<(), Refusal> {
    if found.uid == 0 {
        return refuse("servers never run as root");
    }
    if !we.privileged {
        return match run_as {
            RunAs::Local(name) | RunAs::Service { account: Some(name), .. }
                if found.uid != we.uid =>
            {
                refuse(format!("jovis does not run as root and cannot start anything for {name}"))
            }
            _ => Ok(()),
        };
    }
    if found.uid == we.hub || found.uid == we.proxy {
        return refuse("servers never run as the hub's or the proxy's account");
    }
    if let RunAs::Local(_) = run_as {
        if found.uid < min_uid {
            return refuse(format!("the account's number {} is below {min_uid}", found.uid));
        }
        if matches!(found.shell.file_name().and_then(|n| n.to_str()), Some("nologin" | "false")) {
            return refuse("the account's shell does not allow signing in");
        }
    }
    Ok(())
}

/// The end of everything: may this hub ask for it?
pub(super) fn stop(serves: bool) -> Result<(), Refusal> {
    if serves { Ok(()) } else { refuse("the hub does not serve yet") }
}

/// A password check: may it be asked, and of which service?
pub(super) fn pam(
    config: &Config,
    we: &Ourselves,
    user: String,
    rhost: Option<String>,
) -> Result<Question, Refusal> {
    let Some(pam) = config.auth.pam() else {
        return refuse("the authenticator is not PAM");
    };
    if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
        return refuse("the name is empty, too long, or holds control characters");
    }
    if rhost.as_ref().is_some_and(|host| host.len() > 255 || !is_plain(host)) {
        return refuse("the address is none");
    }
    // Not started by root, there is one account to sign in as: ours, whatever its number. Never 0.
    let least = if we.privileged { config.root.min_uid } else { config.root.min_uid.min(we.uid) };
    Ok(Question {
        service: pam.service.clone(),
        user,
        rhost,
        min_uid: least.max(1),
        groups: config.auth.groups().into_iter().cloned().collect(),
        canonical: pam.pam_normalize_username,
        otp: pam.request_otp,
    })
}

/// An account of this machine: may it be looked up?
pub(super) fn look(config: &Config, user: &Username) -> Result<AccountQuestion, Refusal> {
    let name = user.as_str();
    if name.len() > 255 || name.starts_with('-') || name.chars().any(char::is_control) {
        return refuse("the name is no account name");
    }
    Ok(AccountQuestion { name: name.to_owned(), min_uid: config.root.min_uid, make: None })
}

/// There is none of this name: is it made, and how? None: accounts are not made here.
pub(super) fn make(config: &Config, we: &Ourselves, name: &str) -> Result<Option<Make>, Refusal> {
    let auth = &config.auth;
    if !auth.create_system_users {
        return Ok(None);
    }
    if !we.privileged {
        return refuse("jovis does not run as root and cannot make accounts");
    }
    if !is_account_name(name) {
        return refuse(format!(
            "{name:?} cannot be the name of an account: a-z, 0-9, _ and -, at most 32, no digit or - at the start"
        ));
    }
    let uid = auth.uids.get(name).copied();
    if uid.is_some_and(|uid| uid < config.root.min_uid) {
        return refuse(format!("auth.uids gives {name} a number below {}", config.root.min_uid));
    }
    let command = auth.add_user_cmd.iter().map(|arg| arg.replace("USERNAME", name));
    let number = uid.into_iter().flat_map(|uid| ["--uid".to_owned(), uid.to_string()]);
    let argv: Vec<_> = command.chain(number).chain([name.to_owned()]).collect();
    let program = auth.add_user_cmd.first();
    if program.is_none_or(|program| !program.starts_with('/') || *program != argv[0]) {
        return refuse("auth.add_user_cmd does not begin with the path of a program");
    }
    Ok(Some(Make { argv, uid, home_mode: auth.home_mode() }))
}

/// A name that no tool takes for an option, a path, a pattern or two words. (useradd(8): `[a-z_][a-z0-9_-]*`, at most 32.)
pub(super) fn is_account_name(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let rest = |b: u8| first(b) || b.is_ascii_digit() || b == b'-';
    name.len() <= 32 && name.bytes().next().is_some_and(first) && name.bytes().all(rest)
}

/// Variables every hub may set. What a loader or an interpreter reads (`LD_*`, `PYTHON*`, `PATH`) is not among them.
fn is_hub_variable(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let ours = ["JUPYTERHUB_", "MEM_", "CPU_"].iter().any(|start| name.starts_with(start));
    plain && (ours || name == "JPY_API_TOKEN")
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;

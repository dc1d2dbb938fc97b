//! Who may sign in, how they are checked, and the accounts jovis itself needs.

use std::path::Path;

use super::{Say, guard::exposed, providers};
use crate::config::{
    Config,
    address::is_loopback,
    pam_stack,
    sections::{AuthClass, SpawnerClass},
    world::World,
};

pub(super) fn auth(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let auth = &config.auth;
    others(say, config, world);
    match &auth.class {
        AuthClass::Dummy(dummy) => {
            if !is_loopback(&config.hub.ip) && !dummy.allow_remote {
                say.error(
                    "auth.class.Dummy.allow_remote",
                    "Dummy lets anybody in under any name and hub.ip is no loopback address; set hub.ip to \"127.0.0.1\", or allow_remote if that is really meant",
                );
            } else {
                say.warn(
                    "auth.class",
                    "Dummy lets anybody in under any name: for trying things out only",
                );
            }
            if world.is_root() && matches!(config.spawner.class, SpawnerClass::Local(_)) {
                say.warn(
                    "auth.class",
                    "as root, Dummy gives every account of this machine to anybody who can connect",
                );
            }
        }
        AuthClass::Pam(pam) => pam_service(say, &pam.service, world),
        AuthClass::GitHub(_) | AuthClass::Oidc(_) => {}
    }
    providers::providers(say, config, world);
    if auth.lets_everybody_in() {
        say.note(
            "auth.allowed_users",
            "no allow rule: everybody whom the authenticator accepts may sign in (with PAM every account with a password); set allowed_users, or allow_all to say that it is meant",
        );
    }
    if auth.allow_all && !auth.allowed_users.is_empty() {
        say.note("auth.allow_all", "everybody may sign in, so allowed_users restricts nobody");
    }
    makers(say, config, world);
    let naming = auth.naming();
    if let Err(error) = &naming {
        say.error("auth.username_pattern", error);
    }
    for name in auth.allowed_users.intersection(&auth.blocked_users) {
        say.warn("auth.blocked_users", format!("`{name}` is allowed and blocked; blocked wins"));
    }
    for (path, names) in [
        ("auth.allowed_users", &auth.allowed_users),
        ("auth.blocked_users", &auth.blocked_users),
        ("auth.admin_users", &auth.admin_users),
    ] {
        for name in names {
            match jovis_actors::domain::Username::normalise(name) {
                Err(error) => say.error(path, format!("`{name}` is no name of a user: {error}")),
                Ok(normal)
                    if naming.as_ref().is_ok_and(|it| it.exact(normal.as_str()).is_err()) =>
                {
                    say.warn(path, format!("`{name}` does not fit auth.username_pattern"));
                }
                Ok(normal) if normal.as_str() != name => {
                    say.warn(
                        path,
                        format!("`{name}` is compared as `{normal}`: names are lower case"),
                    );
                }
                Ok(_) => {}
            }
        }
    }
}

/// Accounts that are made: by which program, with which numbers and permissions.
fn makers(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let auth = &config.auth;
    if auth.valid_home_mode().is_none() {
        say.error("auth.home_mode", "write 0700, 0710, 0711, 0750, 0751 or 0755");
    }
    for (name, uid) in auth.uids.iter().filter(|(_, uid)| **uid < config.root.min_uid) {
        let least = config.root.min_uid;
        say.error(
            "auth.uids",
            format!("`{name}` has {uid}, which is below root.min_uid ({least})"),
        );
    }
    if !auth.create_system_users {
        return;
    }
    if !world.is_root() {
        let words = "not started by root, jovis cannot make accounts; each must be there already";
        return say.warn("auth.create_system_users", words);
    }
    let path = "auth.add_user_cmd";
    let Some(program) = auth.add_user_cmd.first().map(Path::new) else {
        return say.error(path, "a program is needed, for example [\"/usr/sbin/useradd\"]");
    };
    if !program.is_absolute() || !world.program_exists(&program.to_string_lossy()) {
        let words = "is no program; write its whole path, for example /usr/sbin/useradd";
        return say.error(path, format!("{} {words}", program.display()));
    }
    // What root runs only root may write, and the folders on the way to it.
    if let Some(open) = exposed(program, world) {
        let words = "can be changed by others than root, and root would run it";
        say.error(path, format!("{} {words}", open.display()));
    }
}

/// Further ways to sign in: told apart by their names, and one PAM at most, since root knows of one.
fn others(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let auth = &config.auth;
    let mut names = std::collections::BTreeSet::new();
    for (number, other) in auth.others.iter().enumerate() {
        let entry = number.to_string();
        let plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
        if other.name.trim().is_empty() || other.name.len() > 60 || !other.name.chars().all(plain) {
            let words = "a name of 1 to 60 letters, digits, blanks and -_. is needed";
            say.error_in("auth.others.name", &entry, words);
        } else if !names.insert(&other.name) {
            say.error_in("auth.others.name", &entry, format!("`{}` is there already", other.name));
        }
        if other.prefix.is_empty() {
            let words = "without a prefix a name here is the same user as that name elsewhere; set one unless that is meant";
            say.warn_in("auth.others.prefix", &entry, words);
        }
        match &other.class {
            AuthClass::Dummy(dummy) => {
                if !is_loopback(&config.hub.ip) && !dummy.allow_remote {
                    let words =
                        "Dummy lets anybody in under any name and hub.ip is no loopback address";
                    say.error_in("auth.others.class", &entry, words);
                }
            }
            AuthClass::Pam(pam) => {
                if auth.classes().filter(|it| matches!(it, AuthClass::Pam(_))).count() > 1 {
                    say.error_in("auth.others.class", &entry, "PAM can be there once");
                }
                pam_service(say, &pam.service, world);
            }
            AuthClass::GitHub(_) | AuthClass::Oidc(_) => {}
        }
    }
}

/// Where the passwords of this machine's accounts are.
const SHADOW: &str = "/etc/shadow";
/// What lets an ordinary account check its own. (unix_chkpwd(8).)
const CHECKER: &str = "/sbin/unix_chkpwd";

/// Could pam_unix check a password for us, who are not root?
fn knows_shadow(world: &dyn World) -> bool {
    let helps = world.facts(Path::new(CHECKER)).is_some_and(|facts| facts.mode & 0o6000 != 0);
    helps || world.readable(Path::new(SHADOW))
}

fn pam_service(say: &mut Say<'_>, service: &str, world: &dyn World) {
    let path = "auth.class.Pam.service";
    if service.is_empty() || service.contains('/') || service.starts_with('.') {
        return say.error(path, "it is the name of a file in /etc/pam.d, without folders");
    }
    let stack = pam_stack::read(world, service);
    for missing in &stack.missing {
        if missing == service {
            say.error(path, format!("there is no readable /etc/pam.d/{service}; make it, or name one that exists (\"login\")"));
        } else {
            say.error(
                path,
                format!("/etc/pam.d/{service} includes {missing}, which cannot be read"),
            );
        }
    }
    let unix = stack.modules.iter().any(|(module, _)| module.contains("pam_unix"));
    if unix && !world.is_root() && !knows_shadow(world) {
        say.warn(path, format!("not started by root, and here neither {SHADOW} can be read nor is {CHECKER} set-group-id: no password of an account of this machine can be checked; give jovis's account the group of {SHADOW}, or start jovis as root"));
    }
    for (module, file) in &stack.modules {
        if pam_stack::takes_root(module) {
            say.error(
                path,
                format!("/etc/pam.d/{file} accepts root's word for a password (pam_rootok), and jovis asks as root: anybody could sign in; take a service without it"),
            );
        } else if module.contains("pam_permit") && stack.modules.len() == 1 {
            say.error(path, format!("/etc/pam.d/{file} accepts any password (pam_permit alone)"));
        }
    }
}

pub(super) fn accounts(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    if !world.is_root() {
        return say.note(
            "root.hub_user",
            "not started by root: one account for all, and PAM checks that account's password only",
        );
    }
    let mut needed = vec![
        ("root.hub_user", config.root.hub_user.as_str()),
        ("root.proxy_user", config.root.proxy_user.as_str()),
    ];
    if let SpawnerClass::Simple(simple) = &config.spawner.class {
        needed.push(("spawner.class.Simple.user", &simple.user));
    }
    for (path, name) in &needed {
        if *name == "root" {
            say.error(path, "this part must not be root; name an account without rights");
        } else if !world.account_exists(name) {
            say.error(
                path,
                format!("there is no account `{name}`; make it: useradd --system --no-create-home --shell /usr/sbin/nologin {name}"),
            );
        }
    }
    if config.root.hub_user == config.root.proxy_user {
        say.warn("root.proxy_user", "hub and proxy share an account, so the proxy could read the hub's state; give it its own");
    }
}

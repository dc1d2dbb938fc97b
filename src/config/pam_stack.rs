//! What a PAM service's file says about `auth`, its includes followed. We read it to warn, and the helper to refuse what
//! would let everybody in; PAM itself decides.

use std::{collections::BTreeSet, path::Path};

use super::world::World;

/// Where services are described, the first one first: the machine's own, then those of its packages.
const FOLDERS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AuthStack {
    /// Files that the service needs and that are not there.
    pub missing: Vec<String>,
    /// Modules of the `auth` stack, with the file that names each.
    pub modules: Vec<(String, String)>,
}

impl AuthStack {
    /// The file that names a module which takes the caller's being root for a password. Whoever checks passwords as root
    /// must not ask such a service.
    pub fn lets_root_in(&self) -> Option<&str> {
        let found = self.modules.iter().find(|(module, _)| takes_root(module));
        found.map(|(_, file)| file.as_str())
    }
}

pub(super) fn takes_root(module: &str) -> bool {
    module.contains("pam_rootok")
}

/// Reads the `auth` stack of a service.
pub fn read(world: &dyn World, service: &str) -> AuthStack {
    let mut stack = AuthStack::default();
    follow(world, service, &mut BTreeSet::new(), &mut stack);
    stack
}

fn follow(world: &dyn World, service: &str, seen: &mut BTreeSet<String>, stack: &mut AuthStack) {
    if !seen.insert(service.to_owned()) || seen.len() > 64 {
        return;
    }
    // An absolute name of an include stays as it is.
    let mut places = FOLDERS.iter().map(|folder| Path::new(folder).join(service));
    let Some(bytes) = places.find_map(|path| world.read(&path).ok()) else {
        stack.missing.push(service.to_owned());
        return;
    };
    let text = String::from_utf8_lossy(&bytes).replace("\\\n", " ");
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        if kind.eq_ignore_ascii_case("@include") {
            if let Some(other) = words.next() {
                follow(world, other, seen, stack);
            }
            continue;
        }
        if !kind.trim_start_matches('-').eq_ignore_ascii_case("auth") {
            continue;
        }
        let control = words.next().unwrap_or_default();
        if control.starts_with('[') && !control.ends_with(']') {
            words.by_ref().find(|word| word.ends_with(']'));
        }
        let Some(target) = words.next() else { continue };
        if matches!(control, "include" | "substack") {
            follow(world, target, seen, stack);
        } else {
            stack.modules.push((target.to_owned(), service.to_owned()));
        }
    }
}

//! Accounts. Look-ups may ask a directory over the network and load foreign code: call them in a forked child or at
//! start, never in root's loop.

use std::{ffi::CString, io, path::PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A Unix account with all its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one among them.
    pub groups: Vec<u32>,
    /// Home folder; need not exist.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// Looks an account up by its name.
pub fn by_name(name: &str) -> io::Result<Option<Account>> {
    complete(User::from_name(name)?)
}

/// Looks an account up by its number.
pub fn by_uid(uid: u32) -> io::Result<Option<Account>> {
    complete(User::from_uid(Uid::from_raw(uid))?)
}

/// Ourselves, whether that number has a name or not (in a container it may have none).
pub fn own() -> Account {
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    by_uid(uid).ok().flatten().unwrap_or_else(|| Account {
        name: uid.to_string(),
        uid,
        gid,
        groups: vec![gid],
        home: "/tmp".into(),
        shell: "/bin/sh".into(),
    })
}

/// Of these groups, those that the account is in. One that there is not is left out.
pub fn groups_among(account: &Account, names: &[String]) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names {
        let group = Group::from_name(name)?;
        if group.is_some_and(|group| account.groups.contains(&group.gid.as_raw())) {
            found.push(name.clone());
        }
    }
    Ok(found)
}

fn complete(user: Option<User>) -> io::Result<Option<Account>> {
    let Some(user) = user else { return Ok(None) };
    let name = CString::new(user.name.as_str())?;
    let groups = getgrouplist(&name, user.gid)?.into_iter().map(Gid::as_raw).collect();
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    Ok(Some(Account { name: user.name, uid, gid, groups, home: user.dir, shell: user.shell }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let root = by_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(by_uid(0).unwrap().unwrap().name, root.name);
        assert_eq!(own().uid, Uid::effective().as_raw());
        assert_eq!(by_name("no such account").unwrap(), None);
        assert_eq!(by_name("a\0b").unwrap(), None);
        let names = ["root", "no such group", "nogroup"].map(str::to_owned);
        assert_eq!(groups_among(&root, &names).unwrap(), ["root"]);
    }
}

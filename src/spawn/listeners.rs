//! Whose each server's address must be: before a route is set, the listener must be the user's own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::os::{
    listeners::{Listener, listeners},
    process,
};

/// Whose process this is; none if it is gone.
pub fn uid_of(pid: i32) -> Option<u32> {
    // Still root: on its way to its user, nothing is known yet.
    process::uid(pid).filter(|uid| *uid != 0)
}

/// Of these, the ones a connection to this address may reach: the kernel prefers the exact address to any wildcard.
fn reached(all: &[Listener], address: IpAddr) -> Vec<Listener> {
    let at = |holds: &dyn Fn(IpAddr) -> bool| {
        all.iter().copied().filter(|it| holds(it.address)).collect::<Vec<_>>()
    };
    let exact = at(&|it| it.to_canonical() == address);
    if exact.is_empty() { at(&|it| it.is_unspecified()) } else { exact }
}

/// Whose each address must be. Filled by the local spawner, asked by the probe.
#[derive(Debug, Default)]
pub struct Expected(Mutex<HashMap<String, Held>>);

#[derive(Debug, Clone, Copy)]
struct Held {
    port: u16,
    /// Unknown until the process is born.
    uid: Option<u32>,
}

impl Expected {
    /// This port was drawn for the server at this URL. False: it is another one's.
    pub fn reserve(&self, url: &str, port: u16) -> bool {
        let mut held = self.held();
        let free = held.values().all(|it| it.port != port);
        if free {
            held.insert(url.to_owned(), Held { port, uid: None });
        }
        free
    }

    /// The server at this URL must be this uid's.
    pub fn expect(&self, url: &str, port: u16, uid: u32) {
        self.held().insert(url.to_owned(), Held { port, uid: Some(uid) });
    }

    /// It has ended.
    pub fn drop_url(&self, url: &str) {
        self.held().remove(url);
    }

    /// Is somebody else listening there? Then which uid.
    pub fn stranger(&self, url: &str) -> Option<u32> {
        let Held { port, uid } = self.held().get(url).copied()?;
        let uid = uid?;
        let all = listeners(port);
        let reached = match host(url) {
            Some(address) => reached(&all, address),
            None => all,
        };
        reached.iter().map(|it| it.uid).find(|other| *other != uid)
    }

    // A panic elsewhere leaves whole entries behind.
    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address in a URL, where it is one.
fn host(url: &str) -> Option<IpAddr> {
    let (host, _) = url.strip_prefix("http://")?.rsplit_once(':')?;
    host.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, uid: u32) -> Listener {
        Listener { address: address.parse().unwrap(), uid, inode: 0 }
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = nix::unistd::getuid().as_raw();
        let expected = Expected::default();
        let (own, other) = (format!("http://127.0.0.1:{port}"), format!("http://a:{port}"));
        expected.expect(&own, port, me);
        expected.expect(&other, port, me + 1);
        assert_eq!((expected.stranger(&own), expected.stranger(&other)), (None, Some(me)));
        assert_eq!(expected.stranger("http://c"), None, "nothing is known of it");
    }

    #[test]
    fn the_exact_address_counts_before_a_wildcard() {
        let to: IpAddr = "127.0.0.1".parse().unwrap();
        for (all, uids) in [
            (vec![at("127.0.0.1", 1), at("127.0.0.2", 2), at("::", 3)], vec![1]),
            (vec![at("127.0.0.2", 2), at("0.0.0.0", 3)], vec![3]),
            (vec![at("::ffff:127.0.0.1", 4)], vec![4]),
            (vec![at("127.0.0.2", 2)], vec![]),
        ] {
            let reached: Vec<_> = reached(&all, to).iter().map(|it| it.uid).collect();
            assert_eq!(reached, uids, "{all:?}");
        }
    }

    #[test]
    fn a_port_is_drawn_for_one_server() {
        let expected = Expected::default();
        assert!(expected.reserve("http://127.0.0.1:20001", 20_001));
        assert!(!expected.reserve("http://127.0.0.1:20001", 20_001));
        expected.drop_url("http://127.0.0.1:20001");
        assert!(expected.reserve("http://127.0.0.1:20001", 20_001));
        assert_eq!(expected.stranger("http://127.0.0.1:20001"), None, "not born yet");
    }
}

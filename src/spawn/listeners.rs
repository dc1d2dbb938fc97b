//! Who listens on a port of this machine: before a route is set, the listener must be the user's own. Asked of the kernel
//! ([`diag`]); where that is not allowed, /proc/net/tcp and tcp6 (readable by all) say it too, with every connection of
//! the machine.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::diag;
use crate::os::process;

/// The listening state in /proc/net/tcp.
const LISTEN: &str = "0A";

/// Somebody who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    uid: u32,
}

/// Who listens on this port now, on any address.
fn listeners(port: u16) -> Vec<Listener> {
    if let Ok(all) = diag::listening(port) {
        return all.into_iter().map(|(address, uid)| Listener { address, uid }).collect();
    }
    printed(port)
}

/// The same from what is printed.
fn printed(port: u16) -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| read(&table, port))
        .collect()
}

/// Whose process this is; none if it is gone.
pub fn uid_of(pid: i32) -> Option<u32> {
    // Still root: on its way to its user, nothing is known yet.
    process::uid(pid).filter(|uid| *uid != 0)
}

fn read(table: &str, port: u16) -> Vec<Listener> {
    let wanted = format!("{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = lines.filter(|fields| fields.len() > 7 && fields[3] == LISTEN);
    listening
        .filter_map(|fields| {
            let (address, port) = fields[1].split_once(':')?;
            if port != wanted {
                return None;
            }
            Some(Listener { address: unhex(address)?, uid: fields[7].parse().ok()? })
        })
        .collect()
}

/// An address as the kernel prints it: each word of its bytes as a number of this machine.
fn unhex(text: &str) -> Option<IpAddr> {
    let word =
        |n: usize| Some(u32::from_str_radix(text.get(8 * n..8 * n + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (n, chunk) in bytes.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(n)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
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
        Listener { address: address.parse().unwrap(), uid }
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = nix::unistd::getuid().as_raw();
        assert_eq!(listeners(port), [at("127.0.0.1", me)]);
        assert_eq!(printed(port), [at("127.0.0.1", me)]);
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
    fn a_table_is_read_as_the_kernel_writes_it() {
        let table = "  sl  local_address rem_address   st tx rx tr when retrnsmt   uid\n   \
            0: 0100007F:4E21 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001 0 1\n   \
            1: 0100007F:4E21 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1002 0 1\n   \
            2: 00000000000000000000000001000000:4E21 0:0 0A 0:0 00:0 0  1003 0 1\n";
        if cfg!(target_endian = "little") {
            assert_eq!(read(table, 20_001), [at("127.0.0.1", 1001), at("::1", 1003)]);
        }
        assert_eq!(read(table, 20_002), []);
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

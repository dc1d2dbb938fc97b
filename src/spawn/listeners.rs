//! Who listens on a port of this machine, by /proc/net/tcp and tcp6 (readable by all): before a route is set, the
//! listener must be the user's own.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, sync::Mutex};

/// The listening state in /proc/net/tcp.
const LISTEN: &str = "0A";

/// The uids that listen on this port now.
pub fn uids(port: u16) -> Vec<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| read(&table, port))
        .collect()
}

/// Whose process this is; none if it is gone.
pub fn uid_of(pid: i32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|about| about.uid())
}

fn read(table: &str, port: u16) -> Vec<u32> {
    let wanted = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = lines
        .filter(|fields| fields.len() > 7 && fields[3] == LISTEN && fields[1].ends_with(&wanted));
    listening.filter_map(|fields| fields[7].parse().ok()).collect()
}

/// Whose each address must be. Filled by the local spawner, asked by the probe.
#[derive(Debug, Default)]
pub struct Expected(Mutex<HashMap<String, (u16, u32)>>);

impl Expected {
    /// The server at this URL must be this uid's.
    pub fn expect(&self, url: &str, port: u16, uid: u32) {
        self.0.lock().expect("nothing panics while it is held").insert(url.to_owned(), (port, uid));
    }

    /// It has ended.
    pub fn drop_url(&self, url: &str) {
        self.0.lock().expect("nothing panics while it is held").remove(url);
    }

    /// Is somebody else listening there? Then which uid.
    pub fn stranger(&self, url: &str) -> Option<u32> {
        let (port, uid) = *self.0.lock().expect("nothing panics while it is held").get(url)?;
        uids(port).into_iter().find(|&other| other != uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = nix::unistd::getuid().as_raw();
        assert_eq!(uids(port), [me]);
        let expected = Expected::default();
        expected.expect("http://a", port, me);
        expected.expect("http://b", port, me + 1);
        assert_eq!(
            (expected.stranger("http://a"), expected.stranger("http://b")),
            (None, Some(me))
        );
        assert_eq!(expected.stranger("http://c"), None);
    }
}

//! All listening sockets. Root holds them as long as it lives, so that a crash of a role leaves a backlog.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use nix::unistd::gethostname;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{StartError, place::PATIENCE};
use crate::{config::Config, os::users::Account};

const BACKLOG: i32 = 4096;
/// Most addresses one name may stand for: with 16 sockets each they still fit beside a `Hello`.
const MOST_ADDRESSES: usize = 3;

/// What the roles are given.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The proxy's; several for each address.
    pub(super) public: Vec<OwnedFd>,
    /// The hub's API.
    pub(super) hub_api: OwnedFd,
    /// The hub's, for the proxy alone.
    pub(super) hub_inner: OwnedFd,
    /// Path of that one.
    pub(super) inner_path: PathBuf,
    /// For people: `http://127.0.0.1:8000/`.
    pub(super) url: String,
    /// For servers.
    pub(super) api_url: String,
}

/// Binds everything.
pub(super) fn bind(
    config: &Config,
    run: &Path,
    state: &Path,
    proxy: Option<&Account>,
) -> Result<Sockets, StartError> {
    let hub = &config.hub;
    let (public, port) = public(config)?;
    let scheme = if hub.ssl_cert.as_os_str().is_empty() { "http" } else { "https" };
    let shown = if hub.ip.is_empty() { "127.0.0.1" } else { &hub.ip };
    let url = format!("{scheme}://{}:{port}{}", bracket(shown), hub.base_url);
    let (hub_api, api_port) = api(config, state)?;
    let mut name =
        if hub.hub_connect_ip.is_empty() { hub.hub_ip.clone() } else { hub.hub_connect_ip.clone() };
    if matches!(name.as_str(), "" | "0.0.0.0" | "::" | "*") {
        name =
            gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or("127.0.0.1".to_owned());
    }
    let api_url = format!("http://{}:{api_port}{}hub/api", bracket(&name), hub.base_url);
    let inner_path = run.join("hub.sock");
    let hub_inner = inner(&inner_path, proxy)
        .map_err(|error| StartError::Failed(format!("{}: {error}", inner_path.display())))?;
    Ok(Sockets { public, hub_api, hub_inner, inner_path, url, api_url })
}

fn bracket(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// SO_REUSEPORT sockets for every public address; with port 0 the first draw is everybody's.
fn public(config: &Config) -> Result<(Vec<OwnedFd>, u16), StartError> {
    let cores = available_parallelism().map_or(1, |cores| cores.get().min(16));
    let each = match usize::from(config.proxy.sockets) {
        0 => cores,
        wanted => wanted.min(16),
    };
    let mut port = config.hub.port;
    let mut sockets = Vec::new();
    for mut address in addresses(&config.hub.ip, port)? {
        address.set_port(port);
        // SO_REUSEPORT would silently share the port with another program of ours: a plain socket shows that.
        let plain = listen(address, false)?;
        port = plain_port(&plain)?;
        address.set_port(port);
        drop(plain);
        for _ in 0..each {
            sockets.push(listen(address, true)?.into());
        }
    }
    Ok((sockets, port))
}

/// The hub's API. A port that was drawn is kept in the state directory, since servers go on calling it.
fn api(config: &Config, state: &Path) -> Result<(OwnedFd, u16), StartError> {
    let file = state.join("hub_port");
    let port = match config.hub.hub_port {
        0 => kept(&file).unwrap_or(0),
        port => port,
    };
    let address = addresses(&config.hub.hub_ip, port)?[0];
    let socket = listen(address, false)?;
    let bound = plain_port(&socket)?;
    if port == 0 {
        keep(&file, bound)
            .map_err(|error| StartError::Failed(format!("{}: {error}", file.display())))?;
    }
    Ok((socket.into(), bound))
}

/// The hub's account could have put anything there: no links, a plain number, no privileged port.
fn kept(file: &Path) -> Option<u16> {
    let open =
        File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file);
    let mut text = String::new();
    open.ok()?.take(8).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|port| *port >= 1024)
}

fn keep(file: &Path, port: u16) -> io::Result<()> {
    drop(fs::remove_file(file));
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
    options.open(file)?.write_all(port.to_string().as_bytes())
}

fn inner(path: &Path, proxy: Option<&Account>) -> io::Result<OwnedFd> {
    drop(fs::remove_file(path));
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    if let Some(proxy) = proxy {
        chown(path, Some(proxy.uid), Some(proxy.gid))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What an address in the configuration stands for; never empty.
fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, StartError> {
    if host.is_empty() || host == "*" {
        let both = Socket::new(Domain::IPV6, Type::STREAM, None)
            .is_ok_and(|s| s.set_only_v6(false).is_ok());
        let all = if both {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        return Ok(vec![SocketAddr::new(all, port)]);
    }
    let refused = |why: String| StartError::Refused(format!("the address {host:?}: {why}"));
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let mut found: Vec<_> =
        (plain, port).to_socket_addrs().map_err(|e| refused(e.to_string()))?.collect();
    found.sort();
    found.dedup();
    found.truncate(MOST_ADDRESSES);
    if found.is_empty() { Err(refused("stands for nothing".to_owned())) } else { Ok(found) }
}

fn plain_port(socket: &Socket) -> Result<u16, StartError> {
    let address = socket.local_addr().map_err(|error| StartError::Failed(error.to_string()))?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}

/// A listening socket. Waits for the roles of a dead root to let go of the port.
fn listen(address: SocketAddr, shared: bool) -> Result<Socket, StartError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match try_listen(address, shared) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        let text = format!("cannot listen on {address}: {error}");
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(StartError::Failed(text));
        }
        let owner = owner(address.port());
        let leaving = owner.as_ref().is_none_or(|(_, ours)| *ours);
        if !leaving || Instant::now() >= until {
            let by = owner.map_or_else(|| "an unknown process".to_owned(), |(who, _)| who);
            return Err(StartError::Busy(format!("port {} is taken by {by}", address.port())));
        }
        sleep(Duration::from_millis(100));
    }
}

fn try_listen(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Who listens on this port, for people; and is it a role of ours (of a root that is gone)?
fn owner(port: u16) -> Option<(String, bool)> {
    let read = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let tables = [read("tcp"), read("tcp6")];
    let inode = tables.iter().find_map(|table| listener(table, port))?;
    let target = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        if entry.file_name().to_str().is_none_or(|name| name.parse::<i32>().is_err()) {
            continue;
        }
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        let mut links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        if links.any(|link| link.as_os_str() == target.as_str()) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let ours = line.starts_with(b"jovis\0@");
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let line: String = line.trim().chars().take(80).collect();
            return Some((format!("process {} ({line})", entry.file_name().display()), ours));
        }
    }
    None
}

/// The inode of the socket that listens on the port, in a text of /proc/net/tcp.
fn listener(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let here = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == "0A";
        here.then(|| fields.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn config(dir: &Path) -> Config {
        let mut config = Config::default();
        config.hub.ip = "127.0.0.1".to_owned();
        (config.hub.port, config.hub.hub_port, config.proxy.sockets) = (0, 0, 3);
        config.hub.state_dir = dir.to_owned();
        config
    }

    #[test]
    fn a_drawn_port_is_kept_and_a_taken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        let first = bind(&config, dir.path(), dir.path(), None).unwrap();
        assert_eq!(first.public.len(), 3);
        let port = kept(&dir.path().join("hub_port")).unwrap();
        assert_eq!(first.api_url, format!("http://127.0.0.1:{port}/hub/api"));
        let Err(StartError::Busy(text)) = bind(&config, dir.path(), dir.path(), None) else {
            panic!()
        };
        assert!(
            text.contains(&format!("port {port} is taken by process {}", std::process::id())),
            "{text}"
        );
        let url = first.url.clone();
        config.hub.port = url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        let Err(StartError::Busy(text)) = public(&config) else { panic!() };
        assert!(text.contains(&config.hub.port.to_string()), "{text}");
        drop(first);
        let again = bind(&config, dir.path(), dir.path(), None).unwrap();
        assert_eq!(again.api_url, format!("http://127.0.0.1:{port}/hub/api"));
        assert_eq!(again.url, url);
        assert!(again.hub_api.as_raw_fd() > 2);
    }

    #[test]
    fn listeners_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 01 0:0 0:0 0 1000 0 11 1\n   \
                     1: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 1000 0 4711 1\n";
        assert_eq!(listener(table, 8080), Some(4711));
        assert_eq!(listener(table, 8081), None);
    }

    #[test]
    fn a_kept_port_is_not_taken_on_trust() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub_port");
        for (text, want) in [("20001", Some(20001)), ("22", None), ("x", None), ("70000", None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(kept(&file), want, "{text}");
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(kept(&link), None);
    }
}

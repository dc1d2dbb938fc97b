//! All listening sockets. Root holds them as long as it lives, so that a crash of a role leaves a backlog.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use nix::{sys::stat::fstat, unistd::gethostname};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tracing::warn;

use super::{
    StartError,
    baggage::{ApiAway, Packer, listener, millis},
    place::PATIENCE,
    systemd,
};
use crate::{
    config::Config,
    os::{listeners::listeners, users::Account},
};

const BACKLOG: i32 = 4096;
/// Most addresses one name may stand for: with 16 sockets each they still fit beside a `Hello`.
const MOST_ADDRESSES: usize = 3;
/// An address of the hub's API that is no longer ours stays open so long at least: who was told it may be on the way.
const LINGER: Duration = Duration::from_secs(5);
/// Most old ones. The oldest goes, whoever calls it: descriptors are not without end.
const MOST_OLD: usize = 16;

/// A listener of the hub's API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) fd: OwnedFd,
    /// As it was bound.
    pub(super) address: SocketAddr,
    /// Hosts and ports that servers were told for it.
    told: BTreeSet<String>,
    /// Since when it is an old one.
    old: Option<Instant>,
}

impl Api {
    /// For the next root of this process.
    pub(super) fn away(&self, packer: &mut Packer) -> ApiAway {
        let old_ms = self.old.map(|since| millis(since.elapsed()));
        ApiAway {
            fd: packer.pack(&self.fd),
            address: self.address,
            told: self.told.clone(),
            old_ms,
        }
    }

    /// As an earlier root of this process left it.
    pub(super) fn bring_back(away: ApiAway) -> io::Result<Self> {
        let ApiAway { fd, address, told, old_ms } = away;
        let since = |ms| Instant::now().checked_sub(Duration::from_millis(ms));
        let old = old_ms.map(|ms| since(ms).unwrap_or_else(Instant::now));
        Ok(Self { fd: listener(fd)?, address, told, old })
    }
}

/// What the roles are given.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The proxy's; several for each address.
    pub(super) public: Vec<OwnedFd>,
    /// The hub's API: the present one, then those that servers of ours still call.
    pub(super) apis: Vec<Api>,
    /// The hub's, for the proxy alone.
    pub(super) hub_inner: OwnedFd,
    /// Path of that one.
    pub(super) inner_path: PathBuf,
    /// For people: `http://127.0.0.1:8000/`.
    pub(super) url: String,
    /// For servers.
    pub(super) api_url: String,
}

/// Listeners for another configuration, bound and not in use so far.
#[derive(Debug)]
pub(super) struct Rebound {
    public: Vec<OwnedFd>,
    api: Api,
    url: String,
    pub(super) api_url: String,
}

/// Binds everything.
pub(super) fn bind(
    config: &Config,
    run: &Path,
    state: &Path,
    proxy: Option<&Account>,
    handed: Vec<OwnedFd>,
) -> Result<Sockets, StartError> {
    let Rebound { public, api, url, api_url } = outer(config, state, None, &handed)?;
    let inner_path = run.join("hub.sock");
    let hub_inner = inner(&inner_path, proxy)
        .map_err(|error| StartError::Failed(format!("{}: {error}", inner_path.display())))?;
    Ok(Sockets { public, apis: vec![api], hub_inner, inner_path, url, api_url })
}

/// What can be bound anew while we run. What is held at an address stays in use there.
fn outer(
    config: &Config,
    state: &Path,
    held: Option<&Sockets>,
    handed: &[OwnedFd],
) -> Result<Rebound, StartError> {
    let hub = &config.hub;
    let sockets = config.proxy.sockets;
    let (mut public, port) = public((&hub.ip, hub.port), sockets, held, handed)?;
    // The proxy tells them from the others by their ports.
    let redirect = (&*hub.ip, config.proxy.redirect_port, sockets);
    let rest = (hub.proxy_api_ip(), hub.proxy_api_port, 1);
    for (ip, port, each) in [redirect, rest].into_iter().filter(|(_, port, _)| *port != 0) {
        public.extend(self::public((ip, port), each, held, handed)?.0);
    }
    for address in unused(&public, handed) {
        warn!(%address, "socket not used");
    }
    let scheme = if config.is_tls() { "https" } else { "http" };
    let shown = if hub.ip.is_empty() { "127.0.0.1" } else { &hub.ip };
    let url = format!("{scheme}://{}:{port}{}", bracket(shown), hub.base_url);
    let mut api = api(config, state, held)?;
    let mut name =
        if hub.hub_connect_ip.is_empty() { hub.hub_ip.clone() } else { hub.hub_connect_ip.clone() };
    if matches!(name.as_str(), "" | "0.0.0.0" | "::" | "*") {
        name =
            gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or("127.0.0.1".to_owned());
    }
    let authority = format!("{}:{}", bracket(&name), api.address.port());
    let api_url = format!("http://{authority}{}hub/api", hub.base_url);
    api.told.insert(authority);
    Ok(Rebound { public, api, url, api_url })
}

impl Sockets {
    /// Binds what another configuration asks for, beside what is there.
    pub(super) fn rebind(&self, config: &Config, state: &Path) -> Result<Rebound, StartError> {
        outer(config, state, Some(self), &[])
    }

    /// Goes over to it. The addresses of the hub's API that are old ones now.
    pub(super) fn take(&mut self, rebound: Rebound, now: Instant) -> Vec<SocketAddr> {
        let Rebound { public, mut api, url, api_url } = rebound;
        (self.public, self.url, self.api_url) = (public, url, api_url);
        if let Some(at) = self.apis.iter().position(|held| held.address == api.address) {
            api.told.append(&mut self.apis.remove(at).told);
        }
        self.apis.insert(0, api);
        self.apis.truncate(1 + MOST_OLD);
        let fresh = self.apis[1..].iter_mut().filter(|api| api.old.is_none());
        let fresh = fresh.map(|api| {
            api.old = Some(now);
            api.address
        });
        fresh.collect()
    }

    /// The listener of the API that this URL leads to.
    pub(super) fn behind(&self, url: &str) -> Option<SocketAddr> {
        let authority = url.strip_prefix("http://")?.split('/').next()?;
        self.apis.iter().find(|api| api.told.contains(authority)).map(|api| api.address)
    }

    /// Binds old addresses of the API again that servers of an earlier root call. Those that cannot be had, and why.
    pub(super) fn restore(
        &mut self,
        called: BTreeSet<SocketAddr>,
        now: Instant,
    ) -> Vec<(SocketAddr, String)> {
        let mut lost = Vec::new();
        for address in called {
            if self.apis.iter().any(|api| api.address == address) {
                continue;
            }
            match listen(address, true, Duration::ZERO) {
                Ok(socket) => {
                    let told = BTreeSet::new();
                    self.apis.push(Api { fd: socket.into(), address, told, old: Some(now) });
                }
                Err(error) => lost.push((address, error.to_string())),
            }
        }
        lost
    }

    /// Lets go of old addresses of the API that nobody calls.
    pub(super) fn drop_old(
        &mut self,
        called: impl Fn(SocketAddr) -> bool,
        now: Instant,
    ) -> Vec<SocketAddr> {
        let mut gone = Vec::new();
        self.apis.retain(|api| {
            let keep = api.old.is_none_or(|old| now < old + LINGER) || called(api.address);
            if !keep {
                gone.push(api.address);
            }
            keep
        });
        gone
    }

    /// The numbers by which the kernel's table lists our TCP listeners.
    fn inodes(&self) -> BTreeSet<u64> {
        let fds = self.public.iter().chain(self.apis.iter().map(|api| &api.fd));
        fds.filter_map(|fd| fstat(fd).ok()).map(|facts| facts.st_ino).collect()
    }
}

fn bracket(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// SO_REUSEPORT sockets for every public address with this port; with port 0 the first draw is everybody's. Sockets that
/// are held stay, however many were asked for: closing one would cut off who waits in its queue.
fn public(
    (ip, mut port): (&str, u16),
    sockets: u16,
    held: Option<&Sockets>,
    handed: &[OwnedFd],
) -> Result<(Vec<OwnedFd>, u16), StartError> {
    let cores = available_parallelism().map_or(1, usize::from);
    let each = if sockets == 0 { cores } else { sockets.into() }.min(16);
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for mut address in addresses(ip, port)? {
        address.set_port(port);
        let ours = held.map_or(&[][..], |held| &held.public).iter().chain(handed);
        let same: Vec<_> = ours.filter(|fd| local(fd.as_fd()) == Some(address)).collect();
        if same.is_empty() {
            port = free(address, held)?;
            address.set_port(port);
        }
        for fd in &same {
            sockets.push(fd.try_clone().map_err(|error| StartError::Failed(error.to_string()))?);
        }
        // Beside one that systemd has bound without sharing its address nothing can be bound.
        let each = if same.iter().all(|fd| systemd::shares(fd)) { each } else { same.len() };
        for _ in same.len()..each {
            sockets.push(listen(address, true, Duration::ZERO)?.into());
        }
    }
    Ok((sockets, port))
}

/// Addresses of sockets that were handed to us and that nothing listens on.
fn unused(sockets: &[OwnedFd], handed: &[OwnedFd]) -> Vec<SocketAddr> {
    let used: BTreeSet<_> = sockets.iter().filter_map(|fd| local(fd.as_fd())).collect();
    let given = handed.iter().filter_map(|fd| local(fd.as_fd()));
    given.filter(|address| !used.contains(address)).collect()
}

/// The hub's API. A port that was drawn is kept in the state directory, since servers go on calling it.
fn api(config: &Config, state: &Path, held: Option<&Sockets>) -> Result<Api, StartError> {
    let file = state.join("hub_port");
    let port = match config.hub.hub_port {
        0 => kept(&file).unwrap_or(0),
        port => port,
    };
    let mut address = addresses(&config.hub.hub_ip, port)?[0];
    let same = held.and_then(|held| held.apis.iter().find(|api| api.address == address));
    let fd = match same {
        Some(api) => api.fd.try_clone().map_err(|error| StartError::Failed(error.to_string()))?,
        None => {
            address.set_port(free(address, held)?);
            // Shared, so that another address with the same port can be bound while this one is still called.
            listen(address, true, Duration::ZERO)?.into()
        }
    };
    if port == 0 {
        keep(&file, address.port())
            .map_err(|error| StartError::Failed(format!("{}: {error}", file.display())))?;
    }
    Ok(Api { fd, address, told: BTreeSet::new(), old: None })
}

/// Sees that nobody else listens there; SO_REUSEPORT would silently share the port with another program of ours. The
/// port, where any would do.
fn free(address: SocketAddr, held: Option<&Sockets>) -> Result<u16, StartError> {
    let ours = held.map(Sockets::inodes).unwrap_or_default();
    let there: Vec<u64> = listeners(address.port()).iter().map(|it| it.inode).collect();
    if there.iter().any(|inode| ours.contains(inode)) {
        // A plain socket could not be bound beside our own.
        return match there.iter().find(|inode| !ours.contains(inode)) {
            Some(other) => Err(taken(address.port(), owner(*other).map(|(who, _)| who))),
            None => Ok(address.port()),
        };
    }
    let patience = if held.is_some() { Duration::ZERO } else { PATIENCE };
    let plain = listen(address, false, patience)?;
    local(plain.as_fd()).map(|address| address.port()).ok_or_else(|| {
        StartError::Failed(format!("{address}: the address that was bound is unknown"))
    })
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

fn local(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&socket).local_addr().ok()?.as_socket()
}

fn taken(port: u16, by: Option<String>) -> StartError {
    let by = by.unwrap_or_else(|| "an unknown process".to_owned());
    StartError::Busy(format!("port {port} is taken by {by}"))
}

/// A listening socket. Waits for the roles of a dead root to let go of the port.
fn listen(address: SocketAddr, shared: bool, patience: Duration) -> Result<Socket, StartError> {
    let until = Instant::now() + patience;
    loop {
        let error = match try_listen(address, shared) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        let text = format!("cannot listen on {address}: {error}");
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(StartError::Failed(text));
        }
        let owner = listeners(address.port()).first().and_then(|it| owner(it.inode));
        let leaving = owner.as_ref().is_none_or(|(_, ours)| *ours);
        if !leaving || Instant::now() >= until {
            return Err(taken(address.port(), owner.map(|(who, _)| who)));
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

/// Who holds this listener, for people; and is it a role of ours (of a root that is gone)?
fn owner(inode: u64) -> Option<(String, bool)> {
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
        let first = bind(&config, dir.path(), dir.path(), None, Vec::new()).unwrap();
        assert_eq!(first.public.len(), 3);
        let port = kept(&dir.path().join("hub_port")).unwrap();
        assert_eq!(first.api_url, format!("http://127.0.0.1:{port}/hub/api"));
        let Err(StartError::Busy(text)) = bind(&config, dir.path(), dir.path(), None, Vec::new())
        else {
            panic!()
        };
        assert!(
            text.contains(&format!("port {port} is taken by process {}", std::process::id())),
            "{text}"
        );
        let url = first.url.clone();
        config.hub.port = url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        let Err(StartError::Busy(text)) = public((&config.hub.ip, config.hub.port), 3, None, &[])
        else {
            panic!()
        };
        assert!(text.contains(&config.hub.port.to_string()), "{text}");
        drop(first);
        let again = bind(&config, dir.path(), dir.path(), None, Vec::new()).unwrap();
        assert_eq!(again.api_url, format!("http://127.0.0.1:{port}/hub/api"));
        assert_eq!(again.url, url);
        assert!(again.apis[0].fd.as_raw_fd() > 2);
    }

    #[test]
    fn no_address_is_every_address() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.hub.ip = String::new();
        let all = bind(&config, dir.path(), dir.path(), None, Vec::new()).unwrap();
        let port = local(all.public[0].as_fd()).unwrap().port();
        assert_eq!(all.url, format!("http://127.0.0.1:{port}/"));
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn other_addresses_are_bound_beside_the_ones_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (mut config, now) = (config(dir.path()), Instant::now());
        let mut held = bind(&config, dir.path(), dir.path(), None, Vec::new()).unwrap();
        let port = local(held.public[0].as_fd()).unwrap().port();
        config.hub.port = port;
        let kept: BTreeSet<u64> = held.inodes();
        // More of them, then fewer: none that waits in a queue is cut off.
        for (sockets, want) in [(5, 5), (1, 5)] {
            config.proxy.sockets = sockets;
            let rebound = held.rebind(&config, dir.path()).unwrap();
            assert!(held.take(rebound, now).is_empty());
            assert_eq!(held.public.len(), want);
            assert!(held.inodes().is_superset(&kept));
        }
        // A second port, then no more.
        let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (port, want) in [(plain.port(), 6), (0, 5)] {
            config.proxy.redirect_port = port;
            let rebound = held.rebind(&config, dir.path()).unwrap();
            held.take(rebound, now);
            let there = held.public.iter().filter(|fd| local(fd.as_fd()) == Some(plain)).count();
            assert_eq!((held.public.len(), there), (want, want - 5));
        }
        // A socket for the REST API, then none.
        for (port, want) in [(plain.port(), 6), (plain.port(), 6), (0, 5)] {
            config.hub.proxy_api_port = port;
            let rebound = held.rebind(&config, dir.path()).unwrap();
            held.take(rebound, now);
            let there = held.public.iter().filter(|fd| local(fd.as_fd()) == Some(plain)).count();
            assert_eq!((held.public.len(), there), (want, want - 5));
        }
        // The same port on all interfaces, which a plain socket could not have; then another's port.
        config.hub.ip = "0.0.0.0".to_owned();
        let rebound = held.rebind(&config, dir.path()).unwrap();
        held.take(rebound, now);
        assert_eq!(held.url, format!("http://0.0.0.0:{port}/"));
        let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        config.hub.port = stranger.local_addr().unwrap().port();
        let before = held.inodes();
        let Err(StartError::Busy(text)) = held.rebind(&config, dir.path()) else { panic!() };
        assert!(text.contains(&format!("port {} is taken", config.hub.port)), "{text}");
        assert_eq!(held.inodes(), before);
    }

    #[test]
    fn an_old_address_of_the_api_stays_as_long_as_somebody_calls_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut config, now) = (config(dir.path()), Instant::now());
        let mut held = bind(&config, dir.path(), dir.path(), None, Vec::new()).unwrap();
        config.hub.port = local(held.public[0].as_fd()).unwrap().port();
        let (old, old_url) = (held.apis[0].address, held.api_url.clone());
        assert_eq!(held.behind(&old_url), Some(old));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        config.hub.hub_port = free.port();
        let rebound = held.rebind(&config, dir.path()).unwrap();
        assert_eq!(held.take(rebound, now), [old]);
        assert_eq!((held.apis[0].address, held.apis[1].address), (free, old));
        assert_eq!((held.behind(&old_url), held.behind(&held.api_url)), (Some(old), Some(free)));
        assert!(held.drop_old(|_| false, now).is_empty(), "who was told it may be on the way");
        assert!(held.drop_old(|address| address == old, now + LINGER).is_empty());
        assert_eq!(held.drop_old(|_| false, now + LINGER), [old]);
        // And back, by another name for the same listener.
        config.hub.hub_connect_ip = "localhost".to_owned();
        let rebound = held.rebind(&config, dir.path()).unwrap();
        assert!(held.take(rebound, now).is_empty());
        assert_eq!((held.apis.len(), held.behind(&held.api_url)), (1, Some(free)));
        assert_eq!(held.behind(&format!("http://{free}/hub/api")), Some(free));
        // A next root has it again for servers that call it; what is taken meanwhile is named.
        assert!(held.restore([old, free].into(), now).is_empty());
        assert_eq!(held.apis.len(), 2);
        let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let lost = held.restore([stranger.local_addr().unwrap()].into(), now);
        assert!(lost[0].1.contains("is taken by process"), "{lost:?}");
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

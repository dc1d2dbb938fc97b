//! systemd, played by the test: a socket that hears what root tells, a listener that is handed over, a unit that is
//! looked at by `systemd-analyze verify`.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{PATIENCE, Plan, Site, wait_for},
};

/// The other end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn of(site: &mut Site) -> Self {
        let path = site.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("it is our folder");
        socket.set_nonblocking(true).expect("it is a socket");
        site.variables.push(("NOTIFY_SOCKET", path.display().to_string()));
        Self(socket)
    }

    /// The next thing said; none for now.
    fn next(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        match self.0.recv(&mut bytes) {
            Ok(size) => Some(String::from_utf8(bytes[..size].to_vec()).expect("it is text")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for a message that begins so; what comes before it is dropped.
    fn hears(&self, start: &str) -> String {
        let next = || self.next().filter(|said| said.starts_with(start));
        wait_for(&format!("{start} is told"), PATIENCE, next).0
    }
}

#[test]
fn systemd_is_told_of_every_turn() {
    as_root!();
    let mut site = Plan::quick().program_of_its_own().prepare();
    let manager = Manager::of(&mut site);
    site.variables.push(("WATCHDOG_USEC", "1000000".to_owned()));
    site.start();
    let ready = manager.hears("READY=1");
    assert!(ready.contains("\nSTATUS=Serving http://127.0.0.1:"), "{ready}");
    // Twice as often as it must, and for as long as the loop goes round.
    let mut beats = Vec::new();
    while beats.len() < 4 {
        manager.hears("WATCHDOG=1");
        beats.push(Instant::now());
    }
    let slowest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().expect("there are some");
    assert!(slowest < Duration::from_secs(5), "{slowest:?} between two signs of life");
    site.signal(Signal::SIGHUP);
    let reloading = manager.hears("RELOADING=1");
    let moment = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("its moment");
    assert!(moment.parse::<u64>().is_ok_and(|moment| moment > 0), "{reloading}");
    manager.hears("READY=1");
    // The same process is another program: still ours, still heard of.
    let mark = site.log.mark();
    site.signal(Signal::SIGUSR2);
    manager.hears("RELOADING=1\nMONOTONIC_USEC=");
    site.log.event(mark, "upgrade done", PATIENCE);
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    let root = site.root();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(root.pid), Signal::SIGSTOP)
        .expect("it is ours");
    while manager.next().is_some() {}
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(manager.next(), None, "a root that stands still gives no sign of life");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(root.pid), Signal::SIGCONT)
        .expect("it is ours");
    manager.hears("WATCHDOG=1");
    site.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(site.ended(PATIENCE).success());
}

#[test]
fn a_socket_that_is_handed_over_serves() {
    as_root!();
    let mut site = Plan::quick().prepare();
    let listener = TcpListener::bind(site.public).expect("its port is free");
    let held = listener.try_clone().expect("there are descriptors left");
    site.hand_over(listener.into());
    site.start();
    assert_eq!(site.visitor().get("/hub/api").status, 200);
    // The port is systemd's: after the end of jovis, who comes waits for the next one.
    site.signal(Signal::SIGTERM);
    assert!(site.ended(PATIENCE).success());
    let mut visitor = site.visitor();
    let mut waiting = visitor.begin("GET", "/hub/api", &[], b"").expect("it is not refused");
    site.hand_over(held.into());
    site.start();
    assert_eq!(visitor.finish(&mut waiting, "GET").expect("an answer").status, 200);
}

#[test]
fn a_socket_of_another_address_is_not_used() {
    as_root!();
    let mut site = Plan::quick().prepare();
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("any port");
    let address = listener.local_addr().expect("it is bound");
    site.hand_over(listener.into());
    let mark = site.log.mark();
    site.start();
    let line = site.log.event(mark, "socket not used", PATIENCE);
    assert_eq!(line.text("address"), Some(address.to_string()));
    assert_eq!(site.visitor().get("/hub/api").status, 200);
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens there any more");
}

#[test]
fn the_units_are_right() {
    let folder = tempfile::tempdir().expect("/tmp is writable");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd");
    for name in ["jovis.service", "jovis.socket"] {
        let text = std::fs::read_to_string(source.join(name)).expect("it is checked in");
        // The program is looked for, and lies elsewhere here.
        let text = text.replace("/usr/local/bin/jovis", env!("CARGO_BIN_EXE_jovis"));
        std::fs::write(folder.path().join(name), text).expect("the folder is ours");
    }
    let units = ["jovis.service", "jovis.socket"].map(|name| folder.path().join(name));
    let verified = Command::new("systemd-analyze").arg("verify").args(units).output();
    let Ok(output) = verified else {
        return eprintln!("the_units_are_right: skipped, there is no systemd-analyze here");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("jovis")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

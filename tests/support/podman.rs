//! What podman needs to be an engine of tests: storage, network and settings in one folder, and nothing left of it behind.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::engine::NETWORK;

/// The program.
pub(super) const PROGRAM: &str = "/usr/bin/podman";

/// Chains that its port mapping makes once and for all.
const CHAINS: [&str; 3] = ["CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-DNAT"];

/// Writes its settings and the one network, whose gateway is `SUBNET.1`. (Of its own, podman would add a firewall too.)
pub(super) fn prepare(folder: &Path, bridge: &str, subnet: &str) {
    // It asks for as many open files as the kernel has, which not every root may give.
    let settings = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n";
    fs::write(folder.join("containers.conf"), settings).expect("it is ours");
    let addresses = folder.join("addresses");
    let network = format!(
        r#"{{"cniVersion": "0.4.0", "name": "{NETWORK}", "plugins": [
            {{"type": "bridge", "bridge": "{bridge}", "isGateway": true, "ipam": {{"type": "host-local",
              "dataDir": {addresses:?}, "ranges": [[{{"subnet": "{subnet}.0/24", "gateway": "{subnet}.1"}}]]}}}},
            {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}"#
    );
    fs::create_dir_all(folder.join("net")).expect("it is ours");
    fs::write(folder.join("net/jovis-test.conflist"), network).expect("it is ours");
}

/// The service, without what starts it.
pub(super) fn service(folder: &Path, socket: &Path) -> Vec<String> {
    let below = |name: &str| folder.join(name).display().to_string();
    let mut words = vec![PROGRAM.to_owned()];
    for (option, place) in [
        ("--root", "data"),
        ("--runroot", "run"),
        ("--tmpdir", "tmp"),
        ("--network-config-dir", "net"),
    ] {
        words.extend([option.to_owned(), below(place)]);
    }
    words.extend(
        ["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
            .map(str::to_owned),
    );
    words.extend(["system", "service", "--time=0"].map(str::to_owned));
    words.push(format!("unix://{}", socket.display()));
    words
}

fn iptables(words: &[&str]) -> String {
    let mut command = Command::new("iptables");
    let out = command.args(["-w", "-t", "nat"]).args(words).stderr(Stdio::null()).output();
    out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
}

/// How many engines of this program there are, and whether ports had been mapped before the first.
static ENGINES: Mutex<(u32, bool)> = Mutex::new((0, false));

/// One more.
pub(super) fn enter() {
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    if engines.0 == 0 {
        engines.1 = iptables(&["-S"]).contains(CHAINS[0]);
    }
    engines.0 += 1;
}

/// One less. The last takes away what port mapping has left, unless it was there before.
pub(super) fn leave() {
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    engines.0 -= 1;
    if *engines == (0, false) {
        clean();
    }
}

/// Its storage lies on a mount of its own, which it leaves there.
pub(super) fn unmount(folder: &Path) {
    let all = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = all.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<_> = places.filter(|place| Path::new(place).starts_with(folder)).collect();
    for place in ours.into_iter().rev() {
        _ = Command::new("umount").args(["--lazy", place]).stderr(Stdio::null()).status();
    }
}

fn clean() {
    let rules = iptables(&["-S"]);
    if rules.contains("CNI-DN-") {
        return;
    }
    for rule in rules.lines().filter(|rule| rule.contains("-j CNI-HOSTPORT-")) {
        // The one text in quotation marks has blanks.
        let quoted: Vec<_> = rule.split('"').collect();
        let words = quoted.iter().enumerate().flat_map(|(nth, part)| match nth % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![*part],
        });
        iptables(&[&["-D"][..], &words.skip(1).collect::<Vec<_>>()].concat());
    }
    for chain in CHAINS {
        iptables(&["-F", chain]);
        iptables(&["-X", chain]);
    }
}

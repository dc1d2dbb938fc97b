//! `kill -9` of root, and of everything at once: user servers live on, the next root finds them, nothing is lost.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::User;

use crate::{
    as_root,
    support::{
        PATIENCE, Plan, Site,
        crowd::Crowd,
        ledger::compare,
        process::Process,
        scale::{promise, scaled},
        wait_until,
    },
};

/// Kills root and waits until hub and proxy have left.
fn behead(site: &mut Site) -> Duration {
    let (hub, proxy) = (site.hub(), site.proxy());
    site.root().kill();
    let killed = Instant::now();
    site.ended(PATIENCE);
    wait_until("hub and proxy leave", PATIENCE, || !hub.lives() && !proxy.lives());
    killed.elapsed()
}

/// Where a server listens, by its own environment.
fn listens_at(server: Process) -> String {
    let variables = server.environment();
    let url = variables.iter().find_map(|it| it.strip_prefix("JUPYTERHUB_SERVICE_URL="));
    url.expect("it was given one").to_owned()
}

/// Does it answer there, without a proxy?
fn answers_at(url: &str) -> bool {
    let (address, path) = url["http://".len()..].split_once('/').expect("it has a path");
    let mut visitor = crate::support::Visitor::new(address.parse().expect("an address"));
    visitor.send("GET", &format!("/{path}api"), &[], b"").is_ok_and(|it| it.status == 200)
}

#[test]
fn row_04_servers_outlive_root_and_the_next_one_adopts_them() {
    as_root!();
    let (people, kills) = (scaled(10, 100), scaled(3, 20));
    let mut site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", people);
    crowd.start_all();
    let servers = crowd.processes();
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        let left = behead(&mut site);
        assert_eq!(crowd.processes(), servers, "they live on");
        assert!(servers.iter().all(|(_, server)| answers_at(&listens_at(*server))));
        let began = Instant::now();
        site.start();
        for name in &crowd.names {
            wait_until("it is served again", PATIENCE, || crowd.answers(name));
        }
        let took = began.elapsed();
        slowest = slowest.max(took);
        println!(
            "row 4: hub and proxy left within {left:.1?}; {people} servers served again after {took:.1?}"
        );
        assert_eq!(crowd.processes(), servers, "none was started twice");
        for (name, server) in &servers {
            assert_eq!(
                crowd.pid(name),
                Some(server.pid),
                "{name}'s route leads to {name}'s server"
            );
            assert_eq!(crowd.said(name)["ready"], true, "{name}");
        }
    }
    assert!(slowest <= promise(Duration::from_secs(5)), "{slowest:?}");
    // adopted is not only seen: the end of one is noticed, and one can be stopped
    let (name, server) = &servers[0];
    assert!(matches!(crowd.stop(name).expect("an answer"), 202 | 204));
    wait_until("it is stopped", PATIENCE, || !server.lives());
    let (name, server) = &servers[1];
    server.kill();
    wait_until("its end is noticed", PATIENCE, || crowd.said(name)["ready"] != true);
}

/// A process of `jovis-user` under exactly this number.
fn under_number(pid: i32, uid: u32, gid: u32) -> Option<Child> {
    for _ in 0..500 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut sleep = Command::new("/bin/sleep");
        let mut child = sleep.arg("600").uid(uid).gid(gid).stdin(Stdio::null()).spawn().ok()?;
        if i32::try_from(child.id()) == Ok(pid) {
            return Some(child);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    None
}

#[test]
fn row_04_a_number_used_again_by_another_process_is_not_adopted() {
    as_root!();
    let mut site = Plan::crowd().set("spawner.restart", "Never").start();
    let crowd = Crowd::of(&site, "anna", 2);
    crowd.start_all();
    let servers = crowd.processes();
    let (dead, alive) = (servers[0].clone(), servers[1].clone());
    let account = User::from_name("jovis-user").expect("readable").expect("it is there");
    behead(&mut site);
    dead.1.kill();
    wait_until("it is dead", PATIENCE, || Process::of(dead.1.pid).is_none());
    let reaped = || fs::metadata(format!("/proc/{}", dead.1.pid)).is_err();
    wait_until("its number is free", PATIENCE, reaped);
    let stranger = under_number(dead.1.pid, account.uid.as_raw(), account.gid.as_raw());
    let mut stranger = stranger.expect("the kernel gives out the number that is asked for");
    let found = Process::of(dead.1.pid).expect("it runs");
    assert_ne!(found.since, dead.1.since);
    site.start();
    wait_until("the other one is served again", PATIENCE, || crowd.answers(&alive.0));
    wait_until("the dead one is known as dead", PATIENCE, || {
        let server = crowd.said(&dead.0);
        server.is_null() || server["stopped"] == true
    });
    // and it can be started anew, beside the stranger, whom nobody signals
    assert!(matches!(crowd.start(&dead.0).expect("an answer"), 201 | 202));
    wait_until("it is served", PATIENCE, || crowd.answers(&dead.0));
    assert!(found.lives(), "the stranger was touched");
    assert_eq!(crowd.process(&alive.0), Some(alive.1));
    let _ = stranger.kill();
    let _ = stranger.wait();
}

#[test]
fn row_06_everything_killed_at_once_comes_back_with_nothing_lost() {
    as_root!();
    let (people, kills) = (scaled(10, 100), scaled(3, 20));
    let mut site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", people);
    let mut kept = BTreeMap::new();
    let homes: Vec<_> = crowd
        .names
        .iter()
        .map(|name| site.folder().join("homes").join(name).join("work"))
        .collect();
    let mut slowest = Duration::ZERO;
    for round in 0..kills {
        crowd.start_all();
        for home in &homes {
            fs::write(home, format!("written in round {round}")).expect("it was made");
        }
        for name in &crowd.names {
            let note = format!("note {name} {round}");
            let body = format!(r#"{{"note": "{note}"}}"#);
            let made = crowd.api("POST", &format!("/users/{name}/tokens"), &body);
            assert_eq!(made.expect("an answer").status, 201);
            kept.insert(note, name.clone());
        }
        let servers = crowd.processes();
        let roles = [site.root(), site.hub(), site.proxy()];
        roles.into_iter().for_each(Process::kill);
        servers.iter().for_each(|(_, server)| server.kill());
        site.ended(PATIENCE);
        wait_until("all is dead", PATIENCE, || {
            crowd.processes().is_empty() && !roles.iter().any(|role| role.lives())
        });
        let began = Instant::now();
        site.launch();
        // asked as soon as the port is there
        wait_until("it serves", PATIENCE, || {
            site.visitor().send("GET", "/hub/api", &[], b"").is_ok_and(|it| it.status == 200)
        });
        let took = began.elapsed();
        slowest = slowest.max(took);
        println!("row 6: {people} servers and all else killed; serving again after {took:.1?}");
        for name in &crowd.names {
            wait_until(&format!("{name}'s is known as stopped"), PATIENCE, || {
                let server = crowd.said(name);
                server.is_null() || server["stopped"] == true
            });
        }
        assert!(crowd.processes().is_empty(), "none is started unasked");
        compare(&crowd, &kept);
        for home in &homes {
            let text = fs::read_to_string(home).expect("homes are not touched");
            assert_eq!(text, format!("written in round {round}"));
        }
    }
    assert!(slowest <= promise(Duration::from_secs(3)), "{slowest:?}");
}

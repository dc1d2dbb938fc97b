//! Where a site listens, and what leads where besides its servers.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{PATIENCE, Plan, Site, process::Process, wait_until},
};

/// Something that is no server of the hub's: it answers every request with its name. It ends with the tests.
fn other(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        let size = name.len();
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
                        if (&stream).write_all(format!("{head}{name}").as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// What is found there; nothing: it isn't somebody else's.
fn found(site: &Site, path: &str) -> Option<String> {
    let answer = site.visitor().get(path);
    (answer.status == 200).then(|| answer.text())
}

fn kill(site: &Site, which: fn(&Site) -> Process) {
    let old = which(site);
    old.kill();
    wait_until("there is another", PATIENCE, || which(site) != old);
}

#[test]
fn routes_of_the_configuration_are_always_there() {
    as_root!();
    let (docs, wiki) = (other("docs"), other("wiki"));
    let routes = |of: &[(&str, SocketAddr)]| {
        let one = |(path, to): &(&str, SocketAddr)| format!("{path:?}: \"http://{to}\"");
        format!("{{{}}}", of.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let site = Plan::quick()
        .set("proxy.extra_routes", &routes(&[("/docs/", docs), ("/a b/", docs)]))
        .start();
    let is = |path: &'static str, name: Option<&'static str>| {
        let what = format!("{path} leads to {name:?}");
        wait_until(&what, PATIENCE, || found(&site, path).as_deref() == name);
    };
    is("/docs/x", Some("docs"));
    is("/docs", Some("docs"));
    is("/a%20b/", Some("docs"));
    is("/docsx/", None);
    kill(&site, Site::proxy);
    is("/docs/x", Some("docs"));
    kill(&site, Site::hub);
    is("/docs/x", Some("docs"));

    let text = fs::read_to_string(&site.file).expect("it is ours");
    let text = text.replace(
        &routes(&[("/docs/", docs), ("/a b/", docs)]),
        &routes(&[("/docs/", wiki), ("/wiki/", wiki)]),
    );
    fs::write(&site.file, text).expect("it is ours");
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    let told = site.log.event(mark, "configuration reloaded", PATIENCE);
    assert_eq!(told.text("applied").as_deref(), Some("proxy.extra_routes"));
    is("/docs/x", Some("wiki"));
    is("/wiki/", Some("wiki"));
    is("/a%20b/", None);
}

#[test]
fn a_site_listens_where_it_is_told_and_the_hub_for_this_machine_alone() {
    as_root!();
    // Below 1024, which only root may have.
    let port = (600..1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = port.expect("a free port");
    let kept = |site: &Site| {
        let kept = fs::read_to_string(site.state_dir().join("hub_port")).expect("it was drawn");
        kept.trim().parse::<u16>().expect("a port")
    };
    let open = |host: &str, port: u16| TcpStream::connect((host, port)).is_ok();

    let site = Plan::quick().set("hub.port", &port.to_string()).start();
    assert!(open("127.0.0.1", port), "it was waited for");
    let api = kept(&site);
    assert!(open("127.0.0.1", api) && !open("127.0.0.2", api), "the hub is for itself");
    drop(site);

    let site = Plan::quick().set("hub.hub_ip", r#""127.0.0.3""#).start();
    let api = kept(&site);
    assert!(open("127.0.0.3", api) && !open("127.0.0.1", api), "the hub is where it is told");
}

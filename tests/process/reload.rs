//! SIGHUP: a right hub.ron takes effect, a wrong one changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{
        Account, PATIENCE, Plan, Site, Visitor,
        crowd::Crowd,
        free_ports,
        load::{Load, Mix},
        process::Process,
        scale::{promise, scaled},
        wait_until,
    },
};

/// Another hub.ron, put in the old one's place: nobody reads half of it.
fn write(site: &Site, text: &str) {
    let next = site.file.with_extension("next");
    fs::write(&next, text).expect("it is ours");
    fs::rename(next, &site.file).expect("it is ours");
}

/// A setting of hub.ron, given another value; it stands on a line of its own.
fn with(text: &str, setting: &str, value: &str) -> String {
    let is = |line: &str| line.trim_start().starts_with(&format!("{setting}: "));
    assert_eq!(text.lines().filter(|line| is(line)).count(), 1, "{setting}: {text}");
    let new = |line: &str| {
        if is(line) { format!("        {setting}: {value},\n") } else { format!("{line}\n") }
    };
    text.lines().map(new).collect()
}

/// Puts these values into effect; what the log says of it.
fn change(site: &Site, values: &[(&str, &str)]) -> crate::support::Line {
    let mut text = fs::read_to_string(&site.file).expect("it is ours");
    for (setting, value) in values {
        text = with(&text, setting, value);
    }
    write(site, &text);
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    site.log
        .find(mark, PATIENCE, |line| line.is("configuration reloaded") || line.is("reload refused"))
        .expect("it is told")
}

/// Changes hub.ron so, and says SIGHUP. The place in the log where that begins.
fn reload(site: &Site, from: &str, to: &str) -> usize {
    let text = fs::read_to_string(&site.file).expect("it is ours");
    assert!(text.contains(from), "{text}");
    fs::write(&site.file, text.replace(from, to)).expect("it is ours");
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    mark
}

#[test]
fn a_wrong_file_changes_nothing_and_is_told_in_full() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("auth.blocked_users", "[]").start();
    let ours = [site.hub(), site.proxy()];
    let wrong =
        format!("blocked_users: [{:?}], admin_users: [\"a/b\"], alow_all: true", account.name);
    let mark = reload(&site, "blocked_users: []", &wrong);
    site.log.event(mark, "reload refused", PATIENCE);
    let findings: String = site.log.since(mark).iter().map(|line| line.raw.clone()).collect();
    assert!(findings.contains("alow_all"), "{findings}");
    assert_eq!([site.hub(), site.proxy()], ours);
    site.visitor().sign_in(&account);
}

#[test]
fn each_finding_is_told() {
    as_root!();
    let site = Plan::quick().set("log.level", r#""debug""#).set("hub.ssl_key", r#""""#).start();
    let wrong = r#"ssl_key: "/no/such/key", ssl_cert: "/no/such/certificate""#;
    let mark = reload(&site, "level: \"debug\"", "level: \"deafening\"");
    reload(&site, r#"ssl_key: """#, wrong);
    site.log.event(mark, "reload refused", PATIENCE);
    for part in ["deafening", "/no/such/key", "/no/such/certificate"] {
        let told = site.log.find(mark, PATIENCE, |line| {
            line.is("setting rejected") && line.text("finding").is_some_and(|it| it.contains(part))
        });
        assert!(told.is_some(), "{part}: {}", site.log.tail(10));
    }
}

#[test]
fn a_right_file_takes_effect_in_all_roles() {
    as_root!();
    let (kept, blocked) = (Account::make(), Account::make());
    let site = Plan::quick().set("auth.blocked_users", "[]").start();
    let ours = [site.hub(), site.proxy()];
    site.visitor().sign_in(&blocked);
    let mark = reload(&site, "blocked_users: []", &format!("blocked_users: [{:?}]", blocked.name));
    let told = site.log.event(mark, "configuration reloaded", PATIENCE);
    assert_eq!(told.text("applied").as_deref(), Some("auth.blocked_users"));
    wait_until("the hub has it", PATIENCE, || {
        site.visitor().sign_in_as(&blocked.name, &blocked.password).status == 403
    });
    site.visitor().sign_in(&kept);

    let mark = reload(&site, "\"debug\"", "\"error\"");
    wait_until("nobody tells of requests any more", PATIENCE, || {
        let before = site.log.mark();
        assert_eq!(site.visitor().get("/hub/api").status, 200);
        site.log.find(before, std::time::Duration::from_millis(300), |_| true).is_none()
    });
    assert!(site.log.since(mark).iter().all(|line| !line.is("reload refused")));
    assert_eq!([site.hub(), site.proxy()], ours);
}

#[test]
fn what_waits_for_a_restart_is_named_and_stays() {
    as_root!();
    let site = Plan::quick().set("hub.base_url", r#""/""#).start();
    let mark = reload(&site, r#"base_url: "/""#, r#"base_url: "/elsewhere/""#);
    let told = site.log.event(mark, "setting needs restart", PATIENCE);
    assert_eq!(told.text("setting").as_deref(), Some("hub.base_url"));
    wait_until("the hub has heard of it", PATIENCE, || {
        site.log.since(mark).iter().any(|line| line.is("new settings taken on"))
    });
    assert_eq!(site.visitor().get("/hub/api").status, 200);
}

fn certificate(folder: &Path, name: &str) {
    certificate_for(folder, name, "2");
}

/// One that bears these names.
pub(super) fn certificate_of(folder: &Path, name: &str, names: &str) {
    certificate_with(folder, name, "2", names);
}

/// One that is good for so many days from now on; with none, until some years ago.
fn certificate_for(folder: &Path, name: &str, days: &str) {
    certificate_with(folder, name, days, "IP:127.0.0.1");
}

fn certificate_with(folder: &Path, name: &str, days: &str, names: &str) {
    let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").current_dir(folder).args(arguments).output();
        let done = done.expect("openssl is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (subject, san) = (format!("/CN={name}"), format!("subjectAltName={names}"));
    let (key, pem) = (path("key"), path("pem"));
    let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let of = ["-subj", &subject, "-addext", &san, "-keyout", &key];
    if days != "0" {
        return openssl(&[&new[..], &of, &["-x509", "-days", days, "-out", &pem]].concat());
    }
    // Only `ca` makes certificates of the past.
    let settings = "[ca]\ndefault_ca = a\n[a]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
                    default_md = sha256\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n\
                    [e]\nsubjectAltName = IP:127.0.0.1\n";
    fs::write(folder.join("ca.conf"), settings).expect("the folder is ours");
    fs::write(folder.join("index"), "").expect("the folder is ours");
    let request = path("csr");
    openssl(&[&new[..], &of, &["-out", &request]].concat());
    let dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
    let sign = ["ca", "-batch", "-notext", "-selfsign", "-config", "ca.conf", "-keyfile", &key];
    openssl(&[&sign[..], &dates, &["-in", &request, "-out", &pem]].concat());
}

/// The name in the certificate that is shown to visitors.
fn shown(site: &Site) -> String {
    let asked = Command::new("openssl")
        .args(["s_client", "-connect", &site.public.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    subject.unwrap_or_default().replace([' ', '/'], "")
}

#[test]
fn a_new_certificate_in_the_same_place_is_shown() {
    as_root!();
    let mut site = Plan::quick()
        .set("hub.ssl_cert", r#""FOLDER/one.pem""#)
        .set("hub.ssl_key", r#""FOLDER/one.key""#)
        .prepare();
    certificate(site.folder(), "one");
    site.start();
    assert_eq!(shown(&site), "CN=one");
    certificate(site.folder(), "two");
    for end in ["pem", "key"] {
        let (new, old) = (format!("two.{end}"), format!("one.{end}"));
        fs::rename(site.folder().join(new), site.folder().join(old)).expect("the folder is ours");
    }
    site.signal(Signal::SIGHUP);
    wait_until("the new one is shown", PATIENCE, || shown(&site) == "CN=two");
}

/// People at work with these servers.
fn at_work(crowd: &Crowd, sockets: usize, requests: u32) -> Mix {
    Mix {
        servers: crowd.names.iter().map(|name| format!("/user/{name}/")).collect(),
        sockets,
        requests,
        hub: 10,
        ..Mix::default()
    }
}

/// The threads of the proxy that serve visitors.
fn workers(site: &Site) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", site.proxy().pid)).expect("it lives");
    let names =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("worker-")).count()
}

#[test]
fn row_45_a_storm_of_signals_over_broken_files_ends_with_the_last_good_one() {
    as_root!();
    let site = Plan::crowd().set("auth.blocked_users", "[]").set("log.level", r#""info""#).start();
    let crowd = Crowd::of(&site, "anna", 5);
    crowd.start_all();
    let (ours, servers) = ([site.hub(), site.proxy()], crowd.processes());
    let good = fs::read_to_string(&site.file).expect("it is ours");
    let broken = [
        with(&good, "level", r#""deafening""#),
        good.replace("blocked_users", "bloked_users"),
        with(&good, "port", "0"),
    ];
    let load = Load::start(&site, at_work(&crowd, scaled(50, 200), scaled(50, 200)));
    let (mark, signals) = (site.log.mark(), scaled(300, 1000));
    for number in 0..signals {
        // Two of each kind in a row, so that some good ones are seen whole.
        let text = if number % 2 == 0 { &good } else { &broken[number / 2 % broken.len()] };
        write(&site, text);
        site.signal(Signal::SIGHUP);
        thread::sleep(Duration::from_millis(10));
    }
    let last = Instant::now();
    write(&site, &with(&good, "blocked_users", r#"["zoe"]"#));
    site.signal(Signal::SIGHUP);
    wait_until("the last file holds", PATIENCE, || {
        site.visitor().sign_in_as("zoe", "a password for everybody").status == 403
    });
    let held = last.elapsed();
    let report = load.stop();
    report.print("row 45");
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    let mut summaries = 0;
    for line in site.log.since(mark) {
        if line.is("setting rejected") {
            *told.entry(line.text("finding").expect("it has one")).or_default() += 1;
        }
        summaries += u32::from(line.is("reload refused"));
    }
    println!(
        "row 45: {signals} signals; {} distinct errors, {summaries} refusals told; the last file held after {held:.1?}",
        told.len()
    );
    assert!(told.len() >= 2 && told.values().all(|count| *count == 1), "{told:?}");
    assert!(summaries <= 5, "{summaries}");
    let lines = site
        .log
        .since(mark)
        .iter()
        .filter(|line| line.text("role").as_deref() == Some("root"))
        .count();
    assert!(lines <= 20, "{lines} lines of root's explain it");
    assert_eq!(report.requests.failures() + report.sockets.failures() + report.hub.failures(), 0);
    assert_eq!(([site.hub(), site.proxy()], crowd.processes()), (ours, servers));
}

#[test]
fn row_46_reloads_under_load_fail_no_request_and_take_effect_at_once() {
    as_root!();
    let site = Plan::crowd()
        .set("hub.template_vars", r#"{"announcement": "number 0."}"#)
        .set("log.level", r#""info""#)
        .start();
    let crowd = Crowd::of(&site, "anna", scaled(10, 50));
    crowd.start_all();
    let (ours, servers) = ([site.hub(), site.proxy()], crowd.processes());
    let good = fs::read_to_string(&site.file).expect("it is ours");
    let load = Load::start(&site, at_work(&crowd, scaled(100, 500), scaled(150, 500)));
    let (mark, reloads) = (site.log.mark(), scaled(20, 100));
    let (mut took, mut refused) = (Vec::new(), 0);
    let mut page = site.visitor();
    for number in 1..=reloads {
        let began = Instant::now();
        if number % 3 == 0 {
            write(&site, &with(&good, "port", "0"));
            site.signal(Signal::SIGHUP);
            refused += 1;
        } else {
            let value = format!(r#"{{"announcement": "number {number}."}}"#);
            write(&site, &with(&good, "template_vars", &value));
            site.signal(Signal::SIGHUP);
            wait_until("the new value is shown", PATIENCE, || {
                page.get("/hub/login").text().contains(&format!("number {number}."))
            });
            took.push(began.elapsed());
        }
        thread::sleep(Duration::from_millis(100).saturating_sub(began.elapsed()));
    }
    let report = load.stop();
    report.print("row 46");
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "row 46: {reloads} reloads, {refused} of them wrong; a new value held after {median:.1?} (median), {longest:.1?} (longest)"
    );
    assert_eq!(report.requests.failures() + report.sockets.failures() + report.hub.failures(), 0);
    assert!(report.requests.fine > 0 && report.sockets.fine > 0);
    let limit = promise(Duration::from_millis(200));
    assert!(median < limit, "{median:?}");
    assert_eq!(([site.hub(), site.proxy()], crowd.processes()), (ours, servers));
    let applies =
        |line: &crate::support::Line| line.text("applied").is_some_and(|it| !it.is_empty());
    assert_eq!(site.log.since(mark).iter().filter(|line| applies(line)).count(), took.len());
}

#[test]
fn another_public_port_is_served_and_connections_of_the_old_one_stay() {
    as_root!();
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", 5);
    crowd.start_all();
    let ours = [site.hub(), site.proxy()];
    let mix = Mix { hub: 0, ..at_work(&crowd, 30, 0) };
    let load = Load::start(&site, mix);
    // A port that cannot be had: nothing changes at all.
    let stranger = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let taken = stranger.local_addr().expect("it is bound").port().to_string();
    let mark = site.log.mark();
    assert!(change(&site, &[("port", &taken), ("level", r#""info""#)]).is("reload refused"));
    let finding = site.log.event(mark, "setting rejected", PATIENCE).text("finding").unwrap();
    assert!(finding.contains(&format!("port {taken} is taken by process")), "{finding}");
    assert_eq!(site.visitor().get("/hub/api").status, 200);

    let port = free_ports(1);
    let told = change(&site, &[("port", &port.to_string()), ("level", r#""debug""#)]);
    assert_eq!(told.text("rebound").as_deref(), Some("hub.port"));
    let new = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the new port answers", PATIENCE, || {
        TcpStream::connect(new).is_ok() && Visitor::new(new).get("/hub/api").status == 200
    });
    let closed =
        wait_until("the old port is closed", PATIENCE, || TcpStream::connect(site.public).is_err());
    println!("rebind: the old public port was closed after {closed:.1?}");
    let echoes = load.so_far().sockets.fine;
    wait_until("sockets of the old port echo on", PATIENCE, || {
        load.so_far().sockets.fine > echoes + 30
    });
    assert_eq!(load.stop().sockets.failures(), 0);
    assert_eq!([site.hub(), site.proxy()], ours);
    // It holds for a next proxy, too.
    site.proxy().kill();
    wait_until("a next proxy listens there", PATIENCE, || {
        TcpStream::connect(new).is_ok() && Visitor::new(new).get("/hub/api").status == 200
    });
}

#[test]
fn the_number_of_workers_changes_without_a_refused_or_broken_connection() {
    as_root!();
    let site = Plan::crowd().set("proxy.sockets", "1").start();
    let crowd = Crowd::of(&site, "anna", 3);
    crowd.start_all();
    let proxy = site.proxy();
    assert_eq!(workers(&site), 1);
    let mix = Mix { knocks: 200, ..at_work(&crowd, 20, 100) };
    let load = Load::start(&site, mix);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for wanted in [2, 1, 2, 1] {
        let told = change(&site, &[("sockets", &wanted.to_string())]);
        assert_eq!(told.text("rebound").as_deref(), Some("proxy.sockets"));
        // One without sockets stays for its visitors.
        wait_until("the workers are there", PATIENCE, || workers(&site) >= wanted.min(cores));
        let before = load.so_far().requests.fine;
        wait_until("requests go on", PATIENCE, || load.so_far().requests.fine > before + 20);
    }
    let report = load.stop();
    report.print("proxy.sockets 1, 2, 1, 2, 1");
    assert_eq!(
        report.requests.failures()
            + report.sockets.failures()
            + report.hub.failures()
            + report.knocks.failures(),
        0
    );
    wait_until("the one that is not needed ends", PATIENCE, || workers(&site) == 1);
    assert_eq!(site.proxy(), proxy);
}

/// The hub's API as a server was told it.
fn told_to(server: Process) -> SocketAddr {
    let variables = server.environment();
    let url = variables.iter().find_map(|line| line.strip_prefix("JUPYTERHUB_API_URL="));
    let url = url.expect("it was told").trim_start_matches("http://");
    url.split('/').next().expect("a host").parse().expect("an address")
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok() && Visitor::new(address).get("/hub/api").status == 200
}

#[test]
fn an_old_hub_address_stays_open_as_long_as_a_server_lives_that_was_given_it() {
    as_root!();
    let mut site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", 2);
    let start = |name: &str| {
        assert!(matches!(crowd.start(name).expect("an answer"), 201 | 202));
        wait_until("it answers", PATIENCE, || crowd.answers(name));
        crowd.process(name).expect("it lives")
    };
    let first = start("anna-1");
    let old = told_to(first);
    let new = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
    let mark = site.log.mark();
    let told = change(&site, &[("hub_port", &new.port().to_string())]);
    assert_eq!(told.text("rebound").as_deref(), Some("hub.hub_port"));
    site.log.event(mark, "hub address kept", PATIENCE);
    wait_until("the new address answers", PATIENCE, || answers(new));
    assert_eq!(told_to(start("anna-2")), new);
    assert!(answers(old));
    // The next hub has both, and so does the next root.
    site.hub().kill();
    wait_until("a next hub answers at both", PATIENCE, || answers(old) && answers(new));
    site.root().kill();
    site.ended(PATIENCE);
    site.start();
    wait_until("a next root's hub answers at both", PATIENCE, || answers(old) && answers(new));
    assert!(first.lives());
    let mark = site.log.mark();
    assert!(matches!(crowd.stop("anna-1").expect("an answer"), 202 | 204));
    site.log.event(mark, "hub address closed", PATIENCE);
    let closed =
        wait_until("the old address is closed", PATIENCE, || TcpStream::connect(old).is_err());
    println!("rebind: the old hub address was closed {closed:.1?} after its last server was gone");
    assert!(answers(new) && crowd.answers("anna-2"));
}

/// As many settings as can be seen from outside, changed at once in a running hub: what is live holds at once, what is
/// for the next start holds for the next server and not for the one that runs, what needs a restart stays.
#[test]
fn each_setting_takes_effect_as_its_class_says() {
    as_root!();
    let site = Plan::crowd()
        .set("hub.template_vars", "{}")
        .set("hub.base_url", r#""/""#)
        .set("hub.allow_named_servers", "false")
        .set("hub.template_paths", "[]")
        .set("spawner.environment", r#"{"COLOUR": "red"}"#)
        .set("spawner.notebook_dir", r#""""#)
        .set("spawner.default_url", r#""""#)
        .set("spawner.debug", "false")
        .set("spawner.args", "[]")
        .set("spawner.open_files", "0")
        .start();
    let crowd = Crowd::of(&site, "anna", 2);
    assert!(matches!(crowd.start("anna-1").expect("an answer"), 201 | 202));
    wait_until("it answers", PATIENCE, || crowd.answers("anna-1"));
    let (ours, first) = ([site.hub(), site.proxy()], crowd.process("anna-1").expect("it lives"));
    let templates = site.folder().join("templates");
    fs::create_dir(&templates).expect("the folder is ours");
    fs::write(templates.join("login.html"), "<p>ours, {{ announcement }}").expect("it is ours");
    fs::set_permissions(&templates, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ports = format!("({}, {})", 31_000, 31_999);
    let mark = site.log.mark();
    let told = change(
        &site,
        &[
            ("template_vars", r#"{"announcement": "hello"}"#),
            ("template_paths", &format!("[{templates:?}]")),
            ("allow_named_servers", "true"),
            ("environment", r#"{"COLOUR": "blue"}"#),
            ("notebook_dir", r#""/srv""#),
            ("default_url", r#""/tree""#),
            ("debug", "true"),
            ("args", r#"["--flag"]"#),
            ("open_files", "500"),
            ("ports", &ports),
            ("base_url", r#""/elsewhere/""#),
        ],
    );
    let list = |name: &str| told.text(name).unwrap_or_default();
    assert_eq!(list("applied"), "hub.allow_named_servers hub.template_paths hub.template_vars");
    assert_eq!(
        list("next_start"),
        "spawner.args spawner.notebook_dir spawner.default_url spawner.ports spawner.environment spawner.debug spawner.open_files"
    );
    let waits = site.log.event(mark, "setting needs restart", PATIENCE);
    assert_eq!(waits.text("setting").as_deref(), Some("hub.base_url"));
    wait_until("the page is another", PATIENCE, || {
        site.visitor().get("/hub/login").text().starts_with("<p>ours, hello")
    });
    let named = crowd.api("POST", "/users/anna-1/servers/second", "").expect("an answer");
    assert!(matches!(named.status, 201 | 202), "{}", named.text());
    // The next server is another, the one that runs is not.
    assert!(matches!(crowd.start("anna-2").expect("an answer"), 201 | 202));
    wait_until("it answers", PATIENCE, || crowd.answers("anna-2"));
    let second = crowd.process("anna-2").expect("it lives");
    let variables = second.environment().join("\n");
    for line in [
        "COLOUR=blue",
        "JUPYTERHUB_ROOT_DIR=/srv",
        "JUPYTERHUB_DEFAULT_URL=/tree",
        "JUPYTERHUB_DEBUG=1",
    ] {
        assert!(variables.contains(line), "{line}: {variables}");
    }
    assert!(second.arguments().iter().any(|word| word == "--flag"), "{:?}", second.arguments());
    let limits = fs::read_to_string(format!("/proc/{}/limits", second.pid)).expect("it lives");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    assert!(files.split_whitespace().nth(3) == Some("500"), "{files}");
    let url = variables.lines().find_map(|line| line.strip_prefix("JUPYTERHUB_SERVICE_URL="));
    let port = url.and_then(|url| url.split('/').nth(2)?.rsplit(':').next()?.parse().ok());
    assert!(port.is_some_and(|port: u16| (31_000..32_000).contains(&port)), "{url:?}");
    assert!(first.lives() && first.environment().iter().any(|line| line == "COLOUR=red"));
    // Changed templates are read again, whether or not a setting is another; broken ones are refused.
    fs::write(templates.join("login.html"), "<p>changed").expect("it is ours");
    site.signal(Signal::SIGHUP);
    wait_until("the changed page is shown", PATIENCE, || {
        site.visitor().get("/hub/login").text().starts_with("<p>changed")
    });
    fs::write(templates.join("login.html"), "{% if %}").expect("it is ours");
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    site.log.event(mark, "reload refused", PATIENCE);
    assert!(site.visitor().get("/hub/login").text().starts_with("<p>changed"));
    assert_eq!([site.hub(), site.proxy()], ours);
}

#[test]
fn another_way_to_sign_in_holds_at_once() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("auth.class", r#"Dummy(password: "first")"#).start();
    let ours = [site.hub(), site.proxy()];
    let sign_in = |name: &str, password: &str| site.visitor().sign_in_as(name, password).status;
    let anna = account.name.as_str();
    assert_eq!((sign_in(anna, "first"), sign_in(anna, "second")), (302, 403));
    let told = change(&site, &[("class", r#"Dummy(password: "second")"#)]);
    assert_eq!(told.text("applied").as_deref(), Some("auth.class.Dummy.password"));
    wait_until("the other password holds", PATIENCE, || sign_in(anna, "second") == 302);
    assert_eq!(sign_in(anna, "first"), 403);
    let told = change(&site, &[("class", "Pam(timeout: 20)")]);
    assert_eq!(told.text("applied").as_deref(), Some("auth.class"));
    wait_until("people sign in by PAM", PATIENCE, || {
        sign_in(&account.name, &account.password) == 302
    });
    assert_eq!(sign_in(&account.name, "second"), 403);
    assert_eq!([site.hub(), site.proxy()], ours);
}

#[test]
fn levels_of_parts_hold_in_every_role() {
    as_root!();
    let site = Plan::quick().set("log.level", r#""info""#).start();
    let told = change(&site, &[("level", r#""info,jovis::proxy=debug,jovis::web=warn""#)]);
    assert_eq!(told.text("applied").as_deref(), Some("log.level"));
    let mark = site.log.mark();
    wait_until("the proxy tells of requests", PATIENCE, || {
        site.visitor().get("/hub/api");
        site.log.since(mark).iter().any(|line| line.is("request served"))
    });
    // The line that would tell of it is held back by it.
    write(&site, &with(&fs::read_to_string(&site.file).expect("it is ours"), "level", r#""warn""#));
    site.signal(Signal::SIGHUP);
    wait_until("nobody tells of requests", PATIENCE, || {
        let mark = site.log.mark();
        site.visitor().get("/hub/api");
        site.log.find(mark, Duration::from_millis(200), |_| true).is_none()
    });
}

#[test]
fn the_log_goes_to_another_file_and_back() {
    as_root!();
    let site = Plan::quick().set("log.file", r#""""#).start();
    // A folder of root's own, as the check wants it.
    let folder = tempfile::Builder::new().prefix("jovis-log-").tempdir_in("/var/log");
    let folder = folder.expect("the tests run as root");
    let files = ["one", "two"].map(|name| folder.path().join(name));
    let holds =
        |file: &Path, words: &str| fs::read_to_string(file).is_ok_and(|text| text.contains(words));
    let put = |file: &str| {
        let text = fs::read_to_string(&site.file).expect("it is ours");
        write(&site, &with(&text, "file", file));
        site.signal(Signal::SIGHUP);
    };
    for file in &files {
        put(&format!("{file:?}"));
        for role in [r#""role":"hub""#, r#""role":"proxy""#] {
            wait_until("every role writes there", PATIENCE, || {
                site.visitor().get("/hub/api");
                holds(file, role) && holds(file, "configuration reloaded")
            });
        }
    }
    // Moved away, and made anew.
    let moved = folder.path().join("moved");
    fs::rename(&files[1], &moved).expect("it is ours");
    site.signal(Signal::SIGHUP);
    wait_until("there is a new one", PATIENCE, || {
        site.visitor().get("/hub/api");
        holds(&files[1], "request served")
    });
    let mark = site.log.mark();
    put(r#""""#);
    for role in ["root", "hub", "proxy"] {
        wait_until("the log is where it was at first", PATIENCE, || {
            site.visitor().get("/hub/api");
            site.log.since(mark).iter().any(|line| line.text("role").as_deref() == Some(role))
        });
    }
}

#[test]
fn limits_and_lists_hold_at_once() {
    as_root!();
    let site = Plan::crowd()
        .set("hub.default_url", r#""""#)
        .set("hub.active_server_limit", "0")
        .set("hub.admin_access", "false")
        .set("auth.allowed_users", "[]")
        .set("auth.username_map", "{}")
        .set("proxy.keep_alive_timeout", "60")
        .set("root.max_children", "100")
        .start();
    let crowd = Crowd::of(&site, "anna", 3);
    let password = "a password for everybody";
    assert!(matches!(crowd.start("anna-1").expect("an answer"), 201 | 202));
    wait_until("it answers", PATIENCE, || crowd.answers("anna-1"));
    let told = change(
        &site,
        &[
            ("default_url", r#""/hub/token""#),
            ("admin_access", "true"),
            ("allowed_users", r#"["anna-1", "anna-2"]"#),
            ("username_map", r#"{"nickname": "anna-2"}"#),
            ("keep_alive_timeout", "1"),
            ("max_children", "1"),
        ],
    );
    let list = |name: &str| told.text(name).unwrap_or_default();
    assert_eq!(
        list("applied"),
        "hub.default_url proxy.keep_alive_timeout auth.allowed_users auth.username_map root.max_children"
    );
    assert_eq!(list("next_start"), "hub.admin_access");
    wait_until("who is not on the list stays out", PATIENCE, || {
        site.visitor().sign_in_as("zoe", password).status == 403
    });
    let mut second = site.visitor();
    assert_eq!(second.sign_in_as("nickname", password).status, 302);
    assert!(second.get("/hub/home").text().contains("anna-2"), "the other name holds");
    assert_eq!(second.get("/hub/").location().as_deref(), Some("/hub/token"));
    // Root keeps no second server.
    assert!(matches!(crowd.start("anna-2").expect("an answer"), 201 | 202 | 500 | 503));
    let mark = site.log.mark();
    site.log.find(0, PATIENCE, |line| line.is("request denied")).expect("root refuses it");
    assert!(crowd.process("anna-2").is_none());
    // A connection nobody speaks on is closed after the new time.
    let mut idle = TcpStream::connect(site.public).expect("it listens");
    idle.set_read_timeout(Some(PATIENCE)).expect("it is ours");
    idle.write_all(b"GET /hub/api HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
    let began = Instant::now();
    idle.read_to_end(&mut Vec::new()).expect("it is closed in order");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // And the hub no second one that is ready, once root would.
    change(&site, &[("max_children", "100"), ("active_server_limit", "1")]);
    wait_until("the hub refuses it", PATIENCE, || crowd.start("anna-3").expect("an answer") == 429);
    change(&site, &[("active_server_limit", "0")]);
    wait_until("it may start now", PATIENCE, || {
        matches!(crowd.start("anna-2").expect("an answer"), 201 | 202)
    });
    wait_until("it answers", PATIENCE, || crowd.answers("anna-2"));
    let variables = crowd.process("anna-2").expect("it lives").environment();
    assert!(variables.iter().any(|line| line == "JUPYTERHUB_ADMIN_ACCESS=1"), "{variables:?}");
    assert!(site.log.since(mark).iter().all(|line| !line.is("reload refused")));
}

#[test]
fn another_spawner_is_for_the_next_servers_and_leaves_those_that_run() {
    as_root!();
    let (first, second) = (Account::make(), Account::make());
    let site = Plan::quick().set("spawner.class", "Local()").start();
    let mut visitor = crate::with_server(&site, &first);
    let server = site.server();
    assert_eq!(server.ids("Uid")[0], first.uid);
    let homes = site.folder().join("homes");
    fs::create_dir(&homes).expect("the folder is ours");
    fs::set_permissions(&homes, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let homes = homes.join("{username}").display().to_string();
    let simple = format!("Simple(user: \"jovis-user\", home_dir_template: {homes:?})");
    let told = change(&site, &[("class", &simple)]);
    assert_eq!(told.text("next_start").as_deref(), Some("spawner.class"));
    let mut other = site.visitor();
    other.sign_in(&second);
    other.get("/hub/spawn");
    crate::wait_for_server(&mut other, &second);
    let servers = site.servers();
    let one = servers.iter().find(|process| **process != server).expect("there are two");
    assert!(one.ids("Uid")[0] != second.uid && one.ids("Uid")[0] != 0);
    assert!(server.lives() && servers.len() == 2);
    crate::wait_for_server(&mut visitor, &first);
}

#[test]
fn tls_is_turned_on_and_off_while_jovis_runs() {
    as_root!();
    let site = Plan::quick().set("hub.ssl_cert", r#""""#).set("hub.ssl_key", r#""""#).start();
    certificate(site.folder(), "one");
    let mut kept = TcpStream::connect(site.public).expect("it listens");
    let ask = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("it is ours");
        stream.write_all(b"GET /hub/api HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"}") && matches!(stream.read(&mut byte), Ok(1)) {
            answer.push(byte[0]);
        }
        String::from_utf8_lossy(&answer).contains("200 OK")
    };
    assert!(ask(&mut kept));
    let path = |end: &str| format!("{:?}", site.folder().join(format!("one.{end}")));
    let told = change(&site, &[("ssl_cert", &path("pem")), ("ssl_key", &path("key"))]);
    assert_eq!(told.text("rebound").as_deref(), Some("hub.ssl_key hub.ssl_cert"));
    wait_until("the certificate is shown", PATIENCE, || shown(&site) == "CN=one");
    let mut plain = TcpStream::connect(site.public).expect("it listens");
    assert!(!ask(&mut plain), "no TLS, no answer");
    assert!(ask(&mut kept), "who was there before stays");
    change(&site, &[("ssl_cert", r#""""#), ("ssl_key", r#""""#)]);
    wait_until("there is no TLS any more", PATIENCE, || {
        TcpStream::connect(site.public).is_ok_and(|mut stream| ask(&mut stream))
    });
}

/// One TLS connection that stays open.
pub(super) struct Kept(std::process::Child);

impl Kept {
    pub(super) fn open(site: &Site) -> Self {
        let child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &site.public.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        Self(child)
    }

    /// Is a request answered on it?
    pub(super) fn answers(&mut self) -> bool {
        let ask = b"GET /hub/api HTTP/1.1\r\nHost: a\r\n\r\n";
        let asked = self.0.stdin.as_mut().expect("a pipe").write_all(ask);
        let mut answer = Vec::new();
        let mut byte = [0];
        while asked.is_ok() && !answer.ends_with(b"}") {
            match self.0.stdout.as_mut().expect("a pipe").read(&mut byte) {
                Ok(1) => answer.push(byte[0]),
                _ => return false,
            }
        }
        String::from_utf8_lossy(&answer).contains("200 OK")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn row_52_a_renewed_certificate_is_shown_a_broken_one_refused_an_expired_one_told() {
    as_root!();
    let mut site = Plan::quick()
        .set("hub.ssl_cert", r#""FOLDER/one.pem""#)
        .set("hub.ssl_key", r#""FOLDER/one.key""#)
        .set("auth.blocked_users", "[]")
        .prepare();
    certificate_for(site.folder(), "one", "60");
    site.start();
    let folder = site.folder().to_owned();
    let mut kept = Kept::open(&site);
    assert!(kept.answers() && shown(&site) == "CN=one");
    let put = |name: &str, ends: &[&str]| {
        for end in ends {
            let (new, old) =
                (folder.join(format!("{name}.{end}")), folder.join(format!("one.{end}")));
            fs::copy(new, old).expect("the folder is ours");
        }
    };
    let reload = || {
        let mark = site.log.mark();
        site.signal(Signal::SIGHUP);
        mark
    };
    // Renewed: shown to whoever comes, and who is there stays.
    certificate_for(&folder, "two", "60");
    put("two", &["pem", "key"]);
    let began = Instant::now();
    reload();
    wait_until("the renewed one is shown", PATIENCE, || shown(&site) == "CN=two");
    println!("row 52: a renewed certificate was shown after {:.1?}", began.elapsed());
    assert!(kept.answers());
    // Key and certificate of two kinds, and a broken one: nothing changes, not even what is right.
    certificate_for(&folder, "three", "60");
    put("three", &["pem"]);
    let refused = |part: &str| {
        let mark = reload();
        site.log.event(mark, "reload refused", PATIENCE);
        let finding = site.log.event(mark, "setting rejected", PATIENCE).text("finding");
        assert!(finding.as_deref().is_some_and(|it| it.contains(part)), "{finding:?}");
        assert_eq!(shown(&site), "CN=two");
    };
    refused("the key belongs to another certificate");
    fs::write(
        folder.join("one.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .expect("the folder is ours");
    refused("certificate");
    // About to expire, and expired: used all the same, and told.
    for (name, days, event) in
        [("four", "3", "certificate expires soon"), ("five", "0", "certificate expired")]
    {
        certificate_for(&folder, name, days);
        put(name, &["pem", "key"]);
        let mark = reload();
        site.log.event(mark, event, PATIENCE);
        wait_until("it is shown", PATIENCE, || shown(&site) == format!("CN={name}"));
    }
    assert!(kept.answers());
}

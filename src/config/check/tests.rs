use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::*;
use crate::config::{load, world::FileFacts};

/// A machine of texts.
#[derive(Default)]
struct Fake {
    root: bool,
    accounts: Vec<&'static str>,
    files: BTreeMap<PathBuf, (u32, &'static str)>,
    folders: BTreeMap<PathBuf, u32>,
    variables: BTreeMap<&'static str, String>,
    /// Owners other than root.
    owners: BTreeMap<PathBuf, u32>,
    links: BTreeMap<PathBuf, PathBuf>,
    /// Accounts in the group of a folder.
    members: BTreeMap<PathBuf, &'static str>,
}

impl Fake {
    fn usual() -> Self {
        let mut fake = Self {
            root: true,
            accounts: vec!["jovis", "jovis-proxy", "jovis-user"],
            ..Self::default()
        };
        fake.file("/etc/pam.d/login", 0o644, "auth required pam_unix.so\n@include common-auth\n");
        fake.file(
            "/etc/pam.d/common-auth",
            0o644,
            "auth [success=1 default=ignore] pam_unix.so nullok\naccount required pam_rootok.so\n",
        );
        fake.file("/sbin/unix_chkpwd", 0o2755, "");
        fake.folders.insert(".".into(), 0o755);
        fake
    }
    fn file(&mut self, path: &str, mode: u32, text: &'static str) {
        self.files.insert(path.into(), (mode, text));
    }
}

impl World for Fake {
    fn is_root(&self) -> bool {
        self.root
    }
    fn account_exists(&self, name: &str) -> bool {
        self.accounts.contains(&name)
    }
    fn group_exists(&self, name: &str) -> bool {
        name == "staff"
    }
    fn facts(&self, path: &Path) -> Option<FileFacts> {
        let uid = self.owners.get(path).copied().unwrap_or(0);
        let file =
            self.files.get(path).map(|(mode, _)| FileFacts { mode: *mode, uid, folder: false });
        file.or_else(|| {
            self.folders.get(path).map(|mode| FileFacts { mode: *mode, uid, folder: true })
        })
    }
    fn real(&self, path: &Path) -> Option<PathBuf> {
        self.facts(path).map(|_| self.links.get(path).map_or(path, |to| to).to_owned())
    }
    fn shares_group(&self, account: &str, path: &Path) -> bool {
        self.members.get(path) == Some(&account)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.1.as_bytes().to_vec())
    }
    fn template_fault(&self, folders: &[PathBuf]) -> Option<String> {
        let bad = folders.first()?.join("home.html");
        self.files.contains_key(&bad).then(|| format!("{}, line 2: broken", bad.display()))
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

fn findings(text: &str, world: &Fake) -> Vec<Finding> {
    let (config, places) = load::parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    let file = Some("hub.ron".into());
    let (overrides, environment) = (Vec::new(), Vec::new());
    check(&Effective { config, file, places, overrides, environment, guarded: false }, world)
}

/// This configuration, of no file.
fn plain(config: Config) -> Effective {
    Effective {
        config,
        file: None,
        places: Vec::new(),
        overrides: Vec::new(),
        environment: Vec::new(),
        guarded: false,
    }
}

fn errors(text: &str, world: &Fake) -> Vec<(String, String)> {
    let all = findings(text, world).into_iter().filter(|one| one.severity == Severity::Error);
    all.map(|one| (one.path, one.words)).collect()
}

#[test]
fn the_defaults_start_as_root_with_a_warning_and_a_notice() {
    let all = findings("()", &Fake::usual());
    let short: Vec<_> = all.iter().map(|one| (one.severity, one.path.as_str())).collect();
    assert_eq!(
        short,
        [(Severity::Warning, "hub.ssl_cert"), (Severity::Notice, "auth.allowed_users")]
    );
}

#[test]
fn each_mistake_is_found_under_its_setting() {
    for (text, path) in [
        ("(hub: (ip: \"localhost\"))", "hub.ip"),
        ("(hub: (hub_ip: \"10.0.0.256\"))", "hub.hub_ip"),
        ("(spawner: (class: Docker(name_template: \"x\")))", "spawner.class.Docker.name_template"),
        (
            "(spawner: (class: Docker(name_template: \"x{username}-{servername}\")))",
            "spawner.class.Docker.name_template",
        ),
        ("(spawner: (class: Docker(prefix: \"-\")))", "spawner.class.Docker.name_template"),
        ("(spawner: (class: Docker(image: \"a b\")))", "spawner.class.Docker.image"),
        (
            "(spawner: (class: Docker(allowed_images: [\"\"])))",
            "spawner.class.Docker.allowed_images",
        ),
        ("(spawner: (class: Docker(mem_limit: \"much\")))", "spawner.class.Docker.mem_limit"),
        ("(spawner: (class: Docker(mem_limit: \"1\")))", "spawner.class.Docker.mem_limit"),
        (
            "(spawner: (class: Docker(mem_limit: \"1G\", mem_guarantee: \"2G\")))",
            "spawner.class.Docker.mem_guarantee",
        ),
        ("(spawner: (class: Docker(cpu_limit: -1.0)))", "spawner.class.Docker.cpu_limit"),
        ("(spawner: (class: Docker(volumes: {\"a\": \"b\"})))", "spawner.class.Docker.volumes"),
        (
            "(spawner: (class: Docker(volumes: {\"/run/docker.sock\": \"/s\"})))",
            "spawner.class.Docker.volumes",
        ),
        ("(spawner: (class: Docker(network_name: \"host\")))", "spawner.class.Docker.network_name"),
        ("(spawner: (class: Docker(host_ip: \"x\")))", "spawner.class.Docker.host_ip"),
        ("(spawner: (class: Docker(port: 0)))", "spawner.class.Docker.port"),
        (
            "(spawner: (class: Docker(socket: \"tcp://x\", host_ip: \"10.0.0.1\")))",
            "spawner.class.Docker.socket",
        ),
        ("(spawner: (class: Docker(socket: \"run/x\")))", "spawner.class.Docker.socket"),
        (
            "(spawner: (class: Docker(socket: \"tcp://x\", host_ip: \"10.0.0.1\", tls_ca: \"/a\", tls_cert: \"/b\")))",
            "spawner.class.Docker.tls_cert",
        ),
        (
            "(spawner: (class: Docker(socket: \"tcp://x\", tls_ca: \"/a\")))",
            "spawner.class.Docker.host_ip",
        ),
        (
            "(spawner: (class: Docker(extra_host_config: {\"auto_remove\": true})))",
            "spawner.class.Docker.extra_host_config",
        ),
        (
            "(spawner: (class: Docker(extra_host_config: {\"Binds\": [\"/run/docker.sock:/x\"]})))",
            "spawner.class.Docker.extra_host_config",
        ),
        (
            "(spawner: (class: Docker(system_users: true, host_homedir_format_string: \"/home\")))",
            "spawner.class.Docker.host_homedir_format_string",
        ),
        (
            "(spawner: (class: Docker(system_users: true, user: \"1\")))",
            "spawner.class.Docker.user",
        ),
        (
            "(spawner: (class: Docker(hub_connect_url: \"x\")))",
            "spawner.class.Docker.hub_connect_url",
        ),
        ("(spawner: (class: Docker(pull_timeout: 0)))", "spawner.class.Docker.pull_timeout"),
        ("(hub: (port: 0))", "hub.port"),
        ("(hub: (hub_port: 8000))", "hub.hub_port"),
        ("(hub: (base_url: \"/a b/\"))", "hub.base_url"),
        ("(hub: (base_url: \"/a//b/\"))", "hub.base_url"),
        ("(hub: (base_url: \"/../\"))", "hub.base_url"),
        ("(hub: (base_url: \"/a?b/\"))", "hub.base_url"),
        ("(hub: (name: \"a/b\"))", "hub.name"),
        ("(hub: (state_dir: \"\"))", "hub.state_dir"),
        ("(hub: (state_dir: \"/none/state\"))", "hub.state_dir"),
        ("(hub: (cookie_max_age_days: 0))", "hub.cookie_max_age_days"),
        ("(hub: (template_paths: [\"/none\"]))", "hub.template_paths"),
        ("(hub: (default_url: \"//evil\"))", "hub.default_url"),
        ("(hub: (ssl_key: \"/key\"))", "hub.ssl_cert"),
        ("(hub: (ssl_cert: \"/none\"))", "hub.ssl_cert"),
        ("(hub: (public_url: \"ftp://hub\"))", "hub.public_url"),
        ("(hub: (public_url: \"https://hub/x/\"))", "hub.public_url"),
        ("(hub: (public_url: \"https://hub/\", base_url: \"/b/\"))", "hub.public_url"),
        ("(hub: (subdomain_host: \"http://127.0.0.1:8000\"))", "hub.subdomain_host"),
        ("(hub: (subdomain_host: \"https://hub/x\"))", "hub.subdomain_host"),
        (
            "(hub: (public_url: \"https://a.test\", subdomain_host: \"https://b.test\"))",
            "hub.subdomain_host",
        ),
        ("(hub: (cookie_host_prefix_enabled: Some(true)))", "hub.cookie_host_prefix_enabled"),
        ("(proxy: (extra_routes: {\"x/\": \"http://a\"}))", "proxy.extra_routes"),
        ("(proxy: (extra_routes: {\"/hub/x/\": \"http://a\"}))", "proxy.extra_routes"),
        ("(proxy: (extra_routes: {\"/%68ub/\": \"http://a\"}))", "proxy.extra_routes"),
        (
            "(hub: (subdomain_host: \"https://a.test\"), proxy: (extra_routes: {\"a.test/\": \"http://a\"}))",
            "proxy.extra_routes",
        ),
        (
            "(hub: (subdomain_host: \"https://a.test\"), proxy: (extra_routes: {\"x.a.test/hub\": \"http://a\"}))",
            "proxy.extra_routes",
        ),
        ("(proxy: (extra_routes: {\"/\": \"http://a\"}))", "proxy.extra_routes"),
        ("(proxy: (extra_routes: {\"/a//b\": \"http://a\"}))", "proxy.extra_routes"),
        ("(proxy: (extra_routes: {\"/x/\": \"ftp://a\"}))", "proxy.extra_routes"),
        (
            "(hub: (subdomain_host: \"https://a.test\"), proxy: (extra_routes: {\"/x/\": \"http://a\"}))",
            "proxy.extra_routes",
        ),
        ("(hub: (cookie_options: {\"path\": \"/\"}))", "hub.cookie_options"),
        ("(hub: (cookie_options: {\"SameSite\": \"None\"}))", "hub.cookie_options"),
        ("(hub: (cookie_options: {\"secure\": true}))", "hub.cookie_options"),
        ("(log: (level: \"loud\"))", "log.level"),
        ("(log: (level: \"info,jovis=\"))", "log.level"),
        ("(log: (file: \"/none/x.log\"))", "log.file"),
        ("(proxy: (trusted_proxies: [\"10.0.0.0/33\"]))", "proxy.trusted_proxies"),
        ("(proxy: (trusted_proxies: [\"proxy\"]))", "proxy.trusted_proxies"),
        ("(proxy: (connect_timeout: 0))", "proxy.connect_timeout"),
        ("(auth: (class: Pam(service: \"none\")))", "auth.class.Pam.service"),
        ("(auth: (class: Pam(service: \"../passwd\")))", "auth.class.Pam.service"),
        ("(auth: (class: Pam(concurrency: 0)))", "auth.class.Pam.concurrency"),
        ("(auth: (class: Dummy()))", "auth.class.Dummy.allow_remote"),
        ("(auth: (allowed_users: [\"a/b\"]))", "auth.allowed_users"),
        ("(spawner: (cmd: []))", "spawner.cmd"),
        ("(spawner: (cmd: [\"\"]))", "spawner.cmd"),
        ("(spawner: (ports: (9, 8)))", "spawner.ports"),
        ("(spawner: (ports: (80, 81)))", "spawner.ports"),
        ("(spawner: (start_timeout: 0))", "spawner.start_timeout"),
        ("(spawner: (environment: {\"A=B\": \"x\"}))", "spawner.environment"),
        ("(spawner: (log_size: 1))", "spawner.log_size"),
        ("(root: (hub_user: \"nobody-here\"))", "root.hub_user"),
        ("(root: (proxy_user: \"root\"))", "root.proxy_user"),
        ("(root: (min_uid: 0))", "root.min_uid"),
        ("(root: (watchdog: 0))", "root.watchdog"),
        ("(root: (role_memory: 1000000))", "root.role_memory"),
    ] {
        let found = errors(text, &Fake::usual());
        assert_eq!(
            found.iter().map(|one| one.0.as_str()).collect::<Vec<_>>(),
            [path],
            "{text}: {found:?}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_their_lines() {
    let all = findings("(\n hub: (port: 0),\n spawner: (cmd: []),\n)", &Fake::usual());
    let at: Vec<_> = all
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .map(|one| one.source.to_string())
        .collect();
    assert_eq!(at, ["file, 2:8", "file, 3:12"]);
}

#[test]
fn rootok_is_found_through_every_kind_of_include() {
    for line in [
        "@include deep",
        "auth include deep",
        "auth substack deep",
        "-auth\tsufficient pam_rootok.so",
        "auth [success=ok default=die] /lib/security/pam_rootok.so",
        "auth \\\n sufficient pam_rootok.so",
    ] {
        let mut world = Fake::usual();
        world.file("/etc/pam.d/deep", 0o644, "auth sufficient pam_rootok.so\n@include deep\n");
        world.files.insert(
            "/etc/pam.d/login".into(),
            (0o644, Box::leak(line.to_owned().into_boxed_str())),
        );
        let found = errors("()", &world);
        assert!(found.len() == 1 && found[0].1.contains("pam_rootok"), "{line}: {found:?}");
    }
    let mut world = Fake::usual();
    world.file(
        "/etc/pam.d/login",
        0o644,
        "# auth sufficient pam_rootok.so\naccount sufficient pam_rootok.so\n",
    );
    assert!(errors("()", &world).is_empty());
    world.file("/etc/pam.d/login", 0o644, "auth include gone\n");
    assert!(errors("()", &world)[0].1.contains("gone"));
}

#[test]
fn tls_files_are_looked_into() {
    let mut world = Fake::usual();
    world.file("/cert", 0o644, "-----BEGIN CERTIFICATE-----\n");
    world.file("/key", 0o600, "-----BEGIN PRIVATE KEY-----\n");
    world.file("/both", 0o644, "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n");
    assert!(errors("(hub: (ssl_cert: \"/cert\", ssl_key: \"/key\"))", &world).is_empty());
    assert_eq!(errors("(hub: (ssl_cert: \"/cert\"))", &world)[0].0, "hub.ssl_key");
    assert_eq!(errors("(hub: (ssl_cert: \"/key\", ssl_key: \"/cert\"))", &world).len(), 2);
    let both = findings("(hub: (ssl_cert: \"/both\"))", &world);
    assert!(both.iter().any(|one| one.words.contains("chmod 600")), "{both:?}");
}

#[cfg(feature = "acme")]
#[test]
fn a_certificate_that_no_authority_would_give_is_not_asked_for() {
    let mut world = Fake::usual();
    world.file("/house.pem", 0o644, "-----BEGIN CERTIFICATE-----\n");
    let with =
        |acme: &str, more: &str| format!("(hub: (port: 443), proxy: (acme: ({acme}){more}))");
    let names = "names: [\"hub.example.org\"]";
    let right = format!("{names}, terms_agreed: true, email: \"a@b.org\"");
    for more in ["", ", redirect_port: 80", ", certificates: []"] {
        let found = findings(&with(&right, more), &world);
        let ours = |one: &&Finding| one.path.starts_with("proxy.") || one.path == "hub.ssl_cert";
        assert_eq!(found.iter().find(ours), None, "{more}");
    }
    let many = format!("names: {:?}, terms_agreed: true", vec!["a.b"; 101]);
    let table = [
        (names, "", "proxy.acme.terms_agreed", "consent"),
        ("names: [\"*.a.b\"], terms_agreed: true", "", "proxy.acme.names", "wildcard"),
        ("names: [\"10.0.0.1\"], terms_agreed: true", "", "proxy.acme.names", "no host name"),
        ("names: [\"A.b\", \"a.B\"], terms_agreed: true", "", "proxy.acme.names", "twice"),
        (&many, "", "proxy.acme.names", "more than 100"),
        ("names: [\"a\"], terms_agreed: true, email: \"x\"", "", "proxy.acme.email", "no address"),
        (
            "names: [\"a\"], terms_agreed: true, directory: \"http://ca/\"",
            "",
            "proxy.acme.directory",
            "https://",
        ),
        (
            "names: [\"a\"], terms_agreed: true, directory_ca: \"/none\"",
            "",
            "proxy.acme.directory_ca",
            "cannot be read",
        ),
        (&format!("{right}, challenge: Http01"), "", "proxy.acme.challenge", "redirect_port"),
        (&right, ", client_ca: \"/house.pem\"", "proxy.acme.challenge", "no TLS connection"),
    ];
    for (acme, more, path, words) in table {
        let found = errors(&with(acme, more), &world);
        assert!(
            found.iter().any(|one| one.0 == path && one.1.contains(words)),
            "{acme}{more}: {found:?}"
        );
    }
    let hosts = format!(
        "(hub: (port: 443, subdomain_host: \"https://hub.example.org\"), proxy: (acme: ({right})))"
    );
    let warned = findings(&hosts, &world);
    assert!(warned.iter().any(|one| one.words.contains("subdomain_host; set")), "{warned:?}");
    let warned = findings("(proxy: (acme: (email: \"a@b.org\")))", &world);
    assert!(warned.iter().any(|one| one.path == "proxy.acme.names"), "{warned:?}");
    for (more, path) in
        [("", "proxy.acme.challenge"), (", redirect_port: 8080", "proxy.redirect_port")]
    {
        let text = format!("(hub: (port: 8443), proxy: (acme: ({right}){more}))");
        let found = findings(&text, &world);
        let warned = |one: &Finding| one.path == path && one.severity == Severity::Warning;
        assert!(found.iter().any(warned), "{more}: {found:?}");
    }
}

#[cfg(not(feature = "acme"))]
#[test]
fn what_is_not_built_in_is_refused() {
    let found = errors("(proxy: (acme: (names: [\"a.b\"], terms_agreed: true)))", &Fake::usual());
    assert!(found.iter().any(|one| one.1.contains("without ACME")), "{found:?}");
}

#[test]
fn a_cookie_secret_that_others_can_open_is_an_error() {
    let mut world = Fake::usual();
    world.file("./state/cookie_secret", 0o604, "");
    assert_eq!(errors("()", &world)[0].0, "hub.cookie_secret_file");
    world.variables.insert("JPY_COOKIE_SECRET", "ab".repeat(32));
    assert!(errors("()", &world).is_empty());
    world.variables.insert("JPY_COOKIE_SECRET", "hunter2".to_owned());
    let found = errors("()", &world);
    assert!(found[0].0 == "hub.cookie_secret_file" && !found[0].1.contains("hunter2"));
}

#[test]
fn old_names_and_what_is_not_built_are_named() {
    let world = Fake::usual();
    let text =
        "(hub: (db_file: \"/x.sqlite\"), auth: (whitelist: [\"a\"], create_system_users: true))";
    let all = findings(text, &world);
    let one = all.iter().find(|one| one.path == "hub.db_url" && one.severity == Severity::Warning);
    assert!(one.is_some_and(|one| one.words.contains("not built yet")), "{all:?}");
    assert!(all.iter().any(|one| one.words.contains("whitelist")));
    assert!(!all.iter().any(|one| one.words.contains("no allow rule")));
}

#[test]
fn the_rest_api_has_a_port_and_a_token_of_its_own() {
    let mut world = Fake::usual();
    assert!(errors("(hub: (proxy_api_port: 8001))", &world).is_empty());
    for text in [
        "(hub: (port: 8001, proxy_api_port: 8001))",
        "(hub: (hub_port: 8001, proxy_api_port: 8001))",
        "(hub: (ip: \"10.0.1.4\", port: 8001, proxy_api_ip: \"10.0.1.5\", proxy_api_port: 8001))",
    ] {
        assert_eq!(errors(text, &world)[0].0, "hub.proxy_api_port", "{text}");
    }
    let open = findings("(hub: (proxy_api_ip: \"10.0.1.4\", proxy_api_port: 8001))", &world);
    assert!(open.iter().any(|one| one.path == "hub.proxy_api_ip" && one.words.contains("TLS")));
    world.file("./state/proxy_auth_token", 0o604, "");
    assert!(errors("()", &world).is_empty(), "there is no API");
    assert_eq!(errors("(hub: (proxy_api_port: 8001))", &world)[0].0, "hub.proxy_auth_token_file");
    world.variables.insert("CONFIGPROXY_AUTH_TOKEN", "ab".repeat(16));
    assert!(errors("(hub: (proxy_api_port: 8001))", &world).is_empty());
    for bad in ["hunter2", "hunter2 hunter2 hunter2"] {
        world.variables.insert("CONFIGPROXY_AUTH_TOKEN", bad.to_owned());
        let found = errors("(hub: (proxy_api_port: 8001))", &world);
        assert!(found[0].0 == "hub.proxy_auth_token_file" && !found[0].1.contains("hunter2"));
    }
}

#[test]
fn a_file_that_others_can_change_does_not_command_root() {
    let mut world = Fake::usual();
    world.file("hub.ron", 0o666, "");
    assert_eq!(errors("()", &world)[0].0, "file");
    world.root = false;
    assert!(errors("()", &world).is_empty());
}

/// What is said about the log in `/srv/log`, after this was done to the machine.
fn about_log(change: impl Fn(&mut Fake)) -> Vec<(Severity, String)> {
    let mut world = Fake::usual();
    for folder in ["/", "/srv", "/srv/log"] {
        world.folders.insert(folder.into(), 0o755);
    }
    change(&mut world);
    let all = findings("(log: (file: \"/srv/log/hub.log\"))", &world);
    all.into_iter()
        .filter(|one| one.path == "log.file")
        .map(|one| (one.severity, one.words))
        .collect()
}

#[test]
fn root_writes_no_log_where_somebody_could_swap_it() {
    assert_eq!(about_log(|_| {}), []);
    for folder in ["/", "/srv", "/srv/log"] {
        let sticky = about_log(|world| _ = world.folders.insert(folder.into(), 0o1777));
        assert_eq!(sticky, [], "{folder}");
        for mode in [0o775, 0o777, 0o757] {
            let found = about_log(|world| {
                world.folders.insert(folder.into(), mode);
                world.members.insert(folder.into(), "jovis");
            });
            assert!(found.len() == 1 && found[0].0 == Severity::Error, "{folder}: {found:?}");
            assert!(found[0].1.contains(&format!("folder {folder} ")), "{found:?}");
        }
        let found = about_log(|world| _ = world.owners.insert(folder.into(), 998));
        assert!(found.len() == 1 && found[0].0 == Severity::Error, "{folder}: {found:?}");
        // Nobody of ours is in that group.
        let found = about_log(|world| _ = world.folders.insert(folder.into(), 0o775));
        assert!(found.len() == 1 && found[0].0 == Severity::Warning, "{folder}: {found:?}");
    }
    let found = about_log(|world| {
        world.root = false;
        world.owners.insert("/srv/log".into(), 998);
    });
    assert_eq!(found, [], "who is not root can only harm himself");
}

#[test]
fn the_folders_a_link_leads_through_count_too() {
    for link in ["/srv/log", "/srv/log/hub.log"] {
        let found = about_log(|world| {
            world.file("/srv/log/hub.log", 0o640, "");
            world.folders.insert("/home/eve".into(), 0o755);
            world.folders.insert("/home/eve/log".into(), 0o755);
            world.owners.insert("/home/eve".into(), 1000);
            world.links.insert(link.into(), "/home/eve/log/hub.log".into());
        });
        assert!(found.len() == 1 && found[0].0 == Severity::Error, "{link}: {found:?}");
        assert!(found[0].1.contains("/home/eve "), "{found:?}");
    }
}

#[test]
fn a_key_that_somebody_could_swap_is_a_warning() {
    let mut world = Fake::usual();
    world.file("/tls/cert", 0o644, "-----BEGIN CERTIFICATE-----\n");
    world.file("/tls/key", 0o600, "-----BEGIN PRIVATE KEY-----\n");
    world.folders.insert("/tls".into(), 0o755);
    let text = "(hub: (ssl_cert: \"/tls/cert\", ssl_key: \"/tls/key\"))";
    let said = |world: &Fake| {
        let all = findings(text, world).into_iter();
        all.filter(|one| one.path.starts_with("hub.ssl"))
            .map(|one| (one.severity, one.path))
            .collect::<Vec<_>>()
    };
    assert_eq!(said(&world), []);
    world.owners.insert("/tls".into(), 998);
    let expected = ["hub.ssl_key", "hub.ssl_cert"];
    assert_eq!(said(&world), expected.map(|path| (Severity::Warning, path.to_owned())));
}

#[test]
fn the_real_machine_follows_links() {
    use crate::config::world::Machine;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(Machine.real(&link), Some(std::fs::canonicalize(&file).unwrap()));
    assert_eq!(Machine.real(&dir.path().join("gone")), None);
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    assert!(Machine.shares_group(&me.name, &file), "our own file has our group");
    assert!(!Machine.shares_group("no-such-account", &file));
}

#[test]
fn dummy_is_for_loopback_unless_meant() {
    let world = Fake::usual();
    assert!(errors("(hub: (ip: \"::1\"), auth: (class: Dummy()))", &world).is_empty());
    assert!(errors("(auth: (class: Dummy(allow_remote: true)))", &world).is_empty());
}

fn deep_words(certificate: &str, key: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (dir.path().join("cert"), dir.path().join("key"));
    std::fs::write(&cert_file, certificate).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let mut config = Config::default();
    (config.hub.port, config.hub.hub_port) = (0, 0);
    (config.hub.ssl_cert, config.hub.ssl_key) = (cert_file, key_file);
    let effective = plain(config);
    let all = deep(&effective, &Fake::usual());
    all.into_iter().filter(|one| one.path == "hub.ssl_cert").map(|one| one.words).collect()
}

#[test]
fn a_key_of_another_certificate_is_found() {
    let (cert, key, other) = (
        include_str!("../../../tests/fixtures/tls/cert.pem"),
        include_str!("../../../tests/fixtures/tls/key.pem"),
        include_str!("../../../tests/fixtures/tls/other-key.pem"),
    );
    assert_eq!(deep_words(cert, key), "");
    assert!(deep_words(cert, other).contains("another certificate"));
    assert!(deep_words(cert, "-----BEGIN PRIVATE KEY-----\nhunter2\n").contains("damaged"));
    assert!(!deep_words(cert, "-----BEGIN PRIVATE KEY-----\nhunter2\n").contains("hunter2"));
}

#[test]
fn a_missing_program_and_a_taken_port_are_found() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut config = Config::default();
    config.hub.ip = "127.0.0.1".into();
    (config.hub.port, config.hub.hub_port) = (taken.local_addr().unwrap().port(), 0);
    let effective = plain(config);
    let mut world = Fake::usual();
    world.variables.insert("PATH", "/nowhere:/bin".to_owned());
    let paths =
        |world: &Fake| deep(&effective, world).into_iter().map(|one| one.path).collect::<Vec<_>>();
    assert_eq!(paths(&world), ["spawner.cmd", "hub.port"]);
    world.file("/bin/jupyterhub-singleuser", 0o755, "");
    assert_eq!(paths(&world), ["hub.port"]);
}

#[test]
fn a_broken_template_is_found_before_the_start() {
    let mut fake = Fake::usual();
    fake.folders.insert("/tpl".into(), 0o755);
    let text = "(hub: (template_paths: [\"/tpl\"]))";
    assert!(!findings(text, &fake).iter().any(|one| one.path == "hub.template_paths"));
    fake.file("/tpl/home.html", 0o644, "");
    let found = findings(text, &fake);
    let found = found.iter().find(|one| one.path == "hub.template_paths").unwrap();
    assert_eq!(found.severity, Severity::Error);
    assert!(found.words.contains("/tpl/home.html, line 2"), "{}", found.words);
}

#[test]
fn headers_and_scopes_that_cannot_be_are_told() {
    let text = r#"(
    hub: (headers: {"Set-Cookie": "a=b", "X-One": "1", "x-one": "2", "X-Bad": "a\nb"}),
    spawner: (server_token_scopes: ["self", "nonsense"], oauth_client_allowed_scopes: ["read:users!user", "nothing"]),
)"#;
    let words: Vec<_> = findings(text, &Fake::usual())
        .into_iter()
        .filter(|one| one.severity == Severity::Error)
        .map(|one| format!("{}: {}", one.path, one.words))
        .collect();
    assert_eq!(
        words,
        [
            "hub.headers: `Set-Cookie` is not for you to set",
            "hub.headers: the value of `X-Bad` has characters that no header has",
            "hub.headers: `x-one` stands there twice, in another spelling",
            "spawner.server_token_scopes: no such scope: nonsense",
            "spawner.oauth_client_allowed_scopes: no such scope: nothing",
        ]
    );
}

/// Wrong things in lists and maps of entries, with the place each is told at.
#[test]
fn what_is_wrong_in_an_entry_is_told_at_its_place() {
    let text = r#"(
    hub: (
        custom_scopes: {
            "custom:tool:read": (description: "Read", subscopes: ["custom:no"]),
            "own": (description: "x"),
        },
        extra_user_scopes: ["no:scope"], headers: {"a b": "x"},
    ),
    load_roles: [
        (name: "class", scopes: ["custom:tool:read", "list:user", "servers!grp=x"]),
        (
            name: "class",
            users: ["a/b"],
        ),
        (name: "Bad", services: ["absent"]),
        (name: "admin", scopes: []),
    ],
    services: [
        (name: "one", url: "ftp://x", api_token: "short"),
        (name: "one", command: ["x"], cwd: "here", oauth_client_id: "mine"),
        (url: "http://127.0.0.1:1", user: "bob"),
    ],
    load_groups: {"g": (users: ["ok"]), "h": (properties: {"a": {"b": 1}}, users: ["a/b"])},
)"#;
    let mut world = Fake::usual();
    world.accounts.push("jovis-service");
    let seen: Vec<_> = findings(text, &world)
        .into_iter()
        .filter(|one| one.severity == Severity::Error || one.path.contains('['))
        .map(|one| match one.source {
            Source::File { line, column } => format!("{line}:{column} {}", one.path),
            _ => one.path,
        })
        .collect();
    let mut seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "10:25 roles[0].scopes",
            "10:25 roles[0].scopes",
            "12:13 roles[1].name",
            "13:13 roles[1].users",
            "15:10 roles[2].name",
            "15:23 roles[2].services",
            "16:25 roles[3].scopes",
            "19:23 services[0].url",
            "19:39 services[0].api_token",
            "20:10 services[1].name",
            "20:10 services[1].oauth_redirect_uri",
            "20:39 services[1].cwd",
            "20:52 services[1].oauth_client_id",
            "21:10 services[2].name",
            "21:37 services[2].user",
            "23:76 load_groups[h].users",
            "4:55 hub.custom_scopes[custom:tool:read].subscopes",
            "5:21 hub.custom_scopes[own].description",
            "7:42 hub.headers",
            "7:9 hub.extra_user_scopes",
        ]
    );
}

#[test]
fn wrong_profiles_are_found_with_their_path() {
    let options =
        |inner: &str| format!("(spawner: (profiles: [(slug: \"a\", profile_options: [{inner}])]))");
    let option = |kind: &str| options(&format!("(name: \"o\", kind: {kind})"));
    for (text, path, words) in [
        (
            "(spawner: (profiles: [(slug: \"A b\")]))".to_owned(),
            "spawner.profiles[0].slug",
            "no slug",
        ),
        (
            "(spawner: (profiles: [(slug: \"a\"), (slug: \"a\")]))".to_owned(),
            "spawner.profiles[1].slug",
            "twice",
        ),
        (
            options("(name: \"A\")"),
            "spawner.profiles.profile_options[0].name",
            "no name of an option",
        ),
        (
            options("(name: \"username\")"),
            "spawner.profiles.profile_options[0].name",
            "something else",
        ),
        (
            options("(name: \"o\"), (name: \"o\")"),
            "spawner.profiles.profile_options[0].name",
            "twice",
        ),
        (
            option("Choice()"),
            "spawner.profiles.profile_options.kind.Choice[0].choices",
            "nothing to choose",
        ),
        (
            option("Choice(default: \"x\", choices: [(value: \"y\")])"),
            "spawner.profiles.profile_options.kind.Choice[0].default",
            "none of the choices",
        ),
        (
            option("Number()"),
            "spawner.profiles.profile_options.kind.Number[0].max",
            "more than `min`",
        ),
        (
            option("Number(max: 3, default: 4)"),
            "spawner.profiles.profile_options.kind.Number[0].default",
            "not among",
        ),
        (
            option("Number(max: 3, default: 0.5)"),
            "spawner.profiles.profile_options.kind.Number[0].default",
            "not among",
        ),
        (
            option("Text(pattern: \"(\")"),
            "spawner.profiles.profile_options.kind.Text[0].pattern",
            "unclosed group",
        ),
        (
            option("Text(pattern: \"a\", default: \"b\")"),
            "spawner.profiles.profile_options.kind.Text[0].default",
            "form",
        ),
        (
            option("Text(max_length: 9999)"),
            "spawner.profiles.profile_options.kind.Text[0].max_length",
            "1000",
        ),
        (
            option("Image()"),
            "spawner.profiles.profile_options.kind.Image[0].default",
            "default is needed",
        ),
        (
            "(spawner: (profiles: [(slug: \"a\", overrides: (mem_limit: \"much\"))]))".to_owned(),
            "spawner.profiles.overrides[0].mem_limit",
            "no amount",
        ),
        (
            "(spawner: (profiles: [(slug: \"a\", overrides: (environment: {\"A=B\": \"\"}))]))"
                .to_owned(),
            "spawner.profiles.overrides[0].environment",
            "no name of a variable",
        ),
    ] {
        let findings = findings(&text, &Fake::usual());
        let found = findings.iter().any(|one| {
            one.severity == Severity::Error && one.path == path && one.words.contains(words)
        });
        assert!(found, "{text}\n{path}: {words}\n{findings:#?}");
    }
    let warned = |text: &str| {
        findings(text, &Fake::usual()).iter().any(|one| one.path.starts_with("spawner.profiles"))
    };
    assert!(warned("(spawner: (profiles: [(slug: \"a\", groups: [\"g\"])]))"), "for nobody else");
    assert!(
        warned("(spawner: (profiles: [(slug: \"a\", overrides: (args: [\"{sise}\"]))]))"),
        "no such hole"
    );
    assert!(!warned("(spawner: (profiles: [(slug: \"a\", overrides: (args: [\"{port}\"]))]))"));
}

#[test]
fn accounts_are_made_by_a_program_that_only_root_can_change() {
    let mut world = Fake::usual();
    world.file("/usr/sbin/useradd", 0o755, "");
    world.folders.extend(["/", "/usr", "/usr/sbin"].map(|it| (it.into(), 0o755)));
    let making = "(auth: (create_system_users: true))";
    assert!(errors(making, &world).is_empty(), "{:?}", errors(making, &world));
    let path = |text: &str, world: &Fake| {
        errors(text, world).into_iter().map(|one| one.0).collect::<Vec<_>>()
    };
    for command in ["[]", "[\"useradd\"]", "[\"/usr/sbin/none\"]"] {
        let text = format!("(auth: (create_system_users: true, add_user_cmd: {command}))");
        assert_eq!(path(&text, &world), ["auth.add_user_cmd"], "{command}");
    }
    world.folders.insert("/usr/sbin".into(), 0o775);
    assert_eq!(path(making, &world), ["auth.add_user_cmd"]);
    world.folders.insert("/usr/sbin".into(), 0o755);
    world.owners.insert("/usr/sbin/useradd".into(), 1000);
    assert_eq!(path(making, &world), ["auth.add_user_cmd"]);
    assert!(path("()", &world).is_empty(), "it is not run");
    assert_eq!(path("(auth: (home_mode: \"0777\"))", &world), ["auth.home_mode"]);
    assert_eq!(path("(auth: (uids: {\"bob\": 999}))", &world), ["auth.uids"]);
    world.root = false;
    assert!(path(making, &world).is_empty(), "a warning: none is made");
}

#[test]
fn who_may_only_start_it_can_change_nothing_that_root_reads() {
    let guarded = |world: &Fake, file: Option<&str>, state: &str, given: bool| {
        let text = format!("(hub: (state_dir: {state:?}))");
        let (config, places) = load::parse(&text).unwrap();
        let given = given.then(|| load::Override {
            path: "hub.port",
            option: "--port",
            value: serde_json::json!(1),
        });
        let overrides = given.into_iter().collect();
        let file = file.map(Into::into);
        let all = check(
            &Effective { config, file, places, overrides, environment: Vec::new(), guarded: true },
            world,
        );
        let errors = all.into_iter().filter(|one| one.severity == Severity::Error);
        errors.map(|one| one.words).collect::<Vec<_>>()
    };
    let mut world = Fake::usual();
    world.file("/etc/jovis/hub.ron", 0o644, "");
    world.file("/home/bob/hub.ron", 0o644, "");
    let folders = ["/", "/etc", "/etc/jovis", "/var", "/var/lib", "/home", "/home/bob"];
    world.folders.extend(folders.map(|it| (it.into(), 0o755)));
    world.owners.insert("/home/bob".into(), 1000);
    let (file, state) = (Some("/etc/jovis/hub.ron"), "/var/lib/jovis");
    assert!(guarded(&world, file, state, false).is_empty());
    for (file, state, given, word) in [
        (None, state, false, "needs the configuration's place"),
        (Some("hub.ron"), state, false, "a path from /"),
        (Some("/home/bob/hub.ron"), state, false, "/home/bob can be changed"),
        (file, "./state", false, "a path from /"),
        (file, "/home/bob/state", false, "/home/bob can be changed"),
        (file, state, true, "--port"),
    ] {
        let found = guarded(&world, file, state, given);
        assert!(found.iter().any(|words| words.contains(word)), "{word}: {found:?}");
    }
    world.folders.insert("/etc/jovis".into(), 0o775);
    assert!(guarded(&world, file, state, false)[0].contains("/etc/jovis can be changed"));
    world.root = false;
    assert!(guarded(&world, file, state, false)[0].contains("started as root"));
}

#[cfg(feature = "oidc")]
#[test]
fn providers_are_asked_safely_and_know_us() {
    let paths = |class: &str| -> Vec<String> {
        let text = format!("(auth: (class: {class}, allow_all: true))");
        errors(&text, &Fake::usual()).into_iter().map(|(path, _)| path).collect()
    };
    let good = "client_id: \"i\", client_secret: \"s\"";
    assert!(paths(&format!("GitHub({good})")).is_empty());
    let issuer = |issuer: &str| format!("Oidc({good}, issuer: {issuer:?})");
    assert!(paths(&issuer("https://idp.test/realms/x")).is_empty());
    assert!(paths(&issuer("http://127.0.0.1:9000")).is_empty(), "on this machine itself");
    for bad in ["", "idp.test", "http://idp.test", "http://127.0.0.1.evil.test", "ftp://idp.test"] {
        assert_eq!(paths(&issuer(bad)), ["auth.class.Oidc.issuer"], "{bad}");
    }
    let oidc = |more: &str| paths(&format!("Oidc({good}, issuer: \"https://idp.test\", {more})"));
    for (more, field) in [
        ("username_template: \"bob\"", "username_template"),
        ("username_template: \"{email\"", "username_template"),
        ("algorithms: [\"HS256\"]", "algorithms"),
        ("algorithms: [\"none\"]", "algorithms"),
        ("algorithms: []", "algorithms"),
        ("oauth_callback_url: \"/hub/oauth_callback\"", "oauth_callback_url"),
        ("ca_file: \"/nowhere.pem\"", "ca_file"),
    ] {
        assert_eq!(oidc(more), [format!("auth.class.Oidc.{field}")], "{more}");
    }
    assert_eq!(
        paths("GitHub()"),
        ["auth.class.GitHub.client_id", "auth.class.GitHub.client_secret"]
    );
    let of = |more: &str| paths(&format!("GitHub({good}, {more})"));
    for bad in ["a/b", ":", "a:", ":b", "a:b:c", "a b"] {
        let more = format!("allowed_organizations: [{bad:?}]");
        assert_eq!(of(&more), ["auth.class.GitHub.allowed_organizations"], "{bad}");
    }
    assert!(of("allowed_organizations: [\"a\", \"a:b\"]").is_empty());
    let groups =
        format!("(auth: (class: GitHub({good}), allowed_groups: [\"a\"], admin_groups: [\"b\"]))");
    let found: Vec<_> = errors(&groups, &Fake::usual()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, ["auth.allowed_groups", "auth.admin_groups"]);
    let nobody = findings(&format!("(auth: (class: GitHub({good})))"), &Fake::usual());
    assert!(nobody.iter().any(|one| one.words.starts_with("nobody may sign in")), "{nobody:?}");
}

#[test]
fn what_is_kept_needs_a_key() {
    let mut world = Fake::usual();
    let paths = |world: &Fake| -> Vec<String> {
        let all = errors("(auth: (enable_auth_state: true))", world);
        all.into_iter().map(|(path, _)| path).collect()
    };
    assert_eq!(paths(&world), ["auth.enable_auth_state"]);
    for (key, good) in [("ab".repeat(32), true), ("short".to_owned(), false)] {
        world.variables.insert("JUPYTERHUB_CRYPT_KEY", key);
        assert_eq!(paths(&world).is_empty(), good);
    }
}

#[test]
fn groups_are_those_of_the_machine_with_pam_and_of_a_provider_where_they_are_managed() {
    let found = |text: &str| {
        let all = findings(text, &Fake::usual()).into_iter();
        let all = all.filter(|one| one.path.ends_with("_groups"));
        all.map(|one| (one.severity, one.path, one.words)).collect::<Vec<_>>()
    };
    assert_eq!(found(r#"(auth: (allowed_groups: ["staff"], admin_groups: ["staff"]))"#), []);
    let missing = found(r#"(auth: (allowed_groups: ["staff", "stuff"]))"#);
    assert_eq!((missing.len(), missing[0].0), (1, Severity::Warning));
    assert!(missing[0].2.contains("no group `stuff`"), "{missing:?}");
    let unmanaged = found(r#"(auth: (class: Dummy(), admin_groups: ["staff"]))"#);
    assert_eq!((unmanaged.len(), unmanaged[0].0), (1, Severity::Error), "{unmanaged:?}");
    let many: Vec<_> = (0..3000).map(|n| format!("group-{n}")).collect();
    let many = found(&format!("(auth: (manage_groups: true, allowed_groups: {many:?}))"));
    assert!(many.iter().any(|one| one.0 == Severity::Error && one.2.contains("bytes")));
}

#[test]
fn a_pattern_for_names_is_one_and_fits_the_names_of_the_file() {
    let found = |pattern: &str| {
        let text = format!(
            "(auth: (username_pattern: {pattern:?}, allowed_users: [\"ann\"], admin_users: [\"bob9\"]))"
        );
        let all = findings(&text, &Fake::usual()).into_iter();
        let of_names =
            all.filter(|one| one.path.starts_with("auth.") && one.severity != Severity::Notice);
        of_names.map(|one| (one.severity, one.path)).collect::<Vec<_>>()
    };
    assert_eq!(found("[a-z]+[0-9]?"), []);
    assert_eq!(found("[a-z]+"), [(Severity::Warning, "auth.admin_users".to_owned())]);
    assert_eq!(found("[a-z"), [(Severity::Error, "auth.username_pattern".to_owned())]);
}

#[test]
fn who_can_check_no_password_of_this_machine_hears_it_at_the_start() {
    let mut world = Fake::usual();
    world.root = false;
    let told = |world: &Fake| {
        let all = findings("()", world);
        all.iter().filter(|one| one.words.contains("no password of an account")).count()
    };
    assert_eq!(told(&world), 0, "its own can be checked");
    world.file("/sbin/unix_chkpwd", 0o755, "");
    assert_eq!(told(&world), 1);
    world.file("/etc/shadow", 0o640, "");
    assert_eq!(told(&world), 0, "it is in the group of the passwords");
    world.files.remove(Path::new("/etc/shadow"));
    world.root = true;
    assert_eq!(told(&world), 0);
}

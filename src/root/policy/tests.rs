use proptest::prelude::*;

use super::*;
use crate::config::sections::{AuthClass, Dummy, Simple};

const WE: Ourselves = Ourselves { privileged: true, uid: 0, hub: 990, proxy: 991 };

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn alice() -> Username {
    Username::new("alice").unwrap()
}

fn found(uid: u32) -> Account {
    Account {
        name: "alice".to_owned(),
        uid,
        gid: uid,
        groups: vec![uid],
        home: "/home/alice".into(),
        shell: "/bin/sh".into(),
    }
}

fn ask(config: &Config, env: &[(&str, &str)], holes: &[(&str, &str)]) -> Result<Plan, Refusal> {
    spawn(config, true, (0, 9), &alice(), map(env), (&map(holes), None))
}

#[test]
fn the_command_is_the_configurations_with_holes_filled_once() {
    let mut config = Config::default();
    config.spawner.args = vec!["--u={username}".into(), "{base_url}{x}{".into(), "{port}".into()];
    let holes = [("username", "alice"), ("base_url", "/{port}/"), ("port", "20001")];
    let plan = ask(&config, &[("JUPYTERHUB_USER", "alice")], &holes).unwrap();
    assert_eq!(plan.argv, ["jupyterhub-singleuser", "--u=alice", "/{port}/{x}{", "20001"]);
    assert_eq!(plan.run_as, RunAs::Local("alice".to_owned()));
}

#[test]
fn a_profile_sets_what_roots_own_configuration_says() {
    let mut config = Config::default();
    let ron = r#"[(
        slug: "gpu",
        profile_options: [(name: "size", kind: Number((min: 1, max: 4, default: 1)))],
        overrides: (cmd: ["gpu-lab"], args: ["--n={size}", "--of={username}"], environment: {"GPUS": "{size}"}),
    )]"#;
    config.spawner.profiles = ron::from_str(ron).unwrap();
    config.spawner.args = vec!["--all".into()];
    let holes = map(&[("username", "alice")]);
    let ask = |chosen: Option<&str>, env: &[(&str, &str)]| {
        let chosen = chosen.map(|text| serde_json::from_str(text).unwrap());
        spawn(&config, true, (0, 9), &alice(), map(env), (&holes, chosen))
    };
    let size = |size: &str| format!(r#"{{"profile": "gpu", "values": {{"size": {size}}}}}"#);
    let plan = ask(Some(&size("2")), &[("GPUS", "99")]).unwrap();
    assert_eq!(plan.argv, ["gpu-lab", "--all", "--n=2", "--of=alice"]);
    assert_eq!(plan.configured["GPUS"], "2", "a hub that says otherwise is not heard");
    assert!(ask(Some(&size("9")), &[]).is_err(), "more than is offered");
    assert!(ask(Some(r#"{"profile": "root", "values": {}}"#), &[]).is_err(), "not offered");
    assert!(ask(None, &[]).is_err(), "nothing chosen");
    assert!(ask(Some(&size("2")), &[("LD_PRELOAD", "x")]).is_err());
}

#[test]
fn only_listed_variables_pass() {
    let mut config = Config::default();
    config.spawner.environment = map(&[("MY_LAB", "1")]);
    for good in ["JUPYTERHUB_X", "JPY_API_TOKEN", "MEM_LIMIT", "CPU_GUARANTEE", "MY_LAB"] {
        assert!(ask(&config, &[(good, "v")], &[]).is_ok(), "{good}");
    }
    for bad in ["PATH", "LD_PRELOAD", "HOME", "USER", "PYTHONPATH", "JUPYTERHUB_A=B", "", "mem_x"] {
        assert!(ask(&config, &[(bad, "v")], &[]).is_err(), "{bad}");
    }
    assert!(ask(&config, &[("MEM_LIMIT", "a\0b")], &[]).is_err());
}

#[test]
fn only_known_holes_with_plain_values_pass() {
    let config = Config::default();
    for (name, bad) in [
        ("username", "bob"),
        ("base_url", "user"),
        ("base_url", "/a b/"),
        ("port", "80"),
        ("port", "70000"),
        ("cmd", "/bin/sh"),
    ] {
        assert!(ask(&config, &[], &[(name, bad)]).is_err(), "{name}={bad}");
    }
}

#[test]
fn there_is_a_most() {
    let config = Config::default();
    let at = |living| {
        spawn(&config, true, (living, 2), &alice(), BTreeMap::new(), (&BTreeMap::new(), None))
    };
    assert!(at(1).is_ok());
    assert!(at(2).is_err());
}

#[test]
fn names_that_would_be_options_or_paths_are_refused() {
    let mut config = Config::default();
    let at = |config: &Config, name: &str| {
        let name = Username::new(name).unwrap();
        spawn(config, true, (0, 9), &name, BTreeMap::new(), (&BTreeMap::new(), None))
    };
    assert!(at(&config, "-rf").is_err());
    config.spawner.class = SpawnerClass::Simple(Simple::default());
    assert!(at(&config, ".ssh").is_err());
    let RunAs::Simple { account, home } = at(&config, "bob").unwrap().run_as else { panic!() };
    assert_eq!((account.as_deref(), home), (Some("jovis-user"), "/tmp/bob".into()));
}

#[test]
fn accounts_without_a_shell_cannot_run_servers() {
    let local = RunAs::Local("alice".to_owned());
    let with =
        |shell: &str| account(&local, 1000, &WE, &Account { shell: shell.into(), ..found(1000) });
    assert!(with("/bin/bash").is_ok());
    assert!(with("").is_ok());
    assert!(with("/usr/sbin/nologin").is_err());
    assert!(with("/bin/false").is_err());
}

#[test]
fn without_privilege_only_ones_own_servers_run() {
    let we = Ourselves { privileged: false, uid: 1000, hub: 1000, proxy: 1000 };
    let local = RunAs::Local("alice".to_owned());
    assert!(account(&local, 2000, &we, &found(1000)).is_ok());
    assert!(account(&local, 1000, &we, &found(1001)).is_err());
}

#[test]
fn the_pam_service_is_the_configurations() {
    let mut config = Config::default();
    let question = pam(&config, &WE, "alice".into(), Some("10.0.0.1".into())).unwrap();
    assert_eq!((question.service.as_str(), question.min_uid), ("login", 1000));
    let own = Ourselves { privileged: false, uid: 500, hub: 500, proxy: 500 };
    assert_eq!(pam(&config, &own, "alice".into(), None).unwrap().min_uid, 500);
    for bad in ["", "a\nb", &"x".repeat(256)] {
        assert!(pam(&config, &WE, bad.into(), None).is_err(), "{bad:?}");
    }
    assert!(pam(&config, &WE, "alice".into(), Some("a b".into())).is_err());
    config.auth.class = AuthClass::Dummy(Dummy::default());
    assert!(pam(&config, &WE, "alice".into(), None).is_err());
}

#[test]
fn a_service_runs_what_the_configuration_says_as_whom_it_says() {
    use crate::config::sections::Service;
    let mut config = Config::default();
    let named = |name: &str, command: &[&str], user: &str| Service {
        name: name.into(),
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        user: user.into(),
        environment: map(&[("PATH", "/opt")]),
        ..Service::default()
    };
    config.services = vec![
        named("cull", &["run", "{username}"], ""),
        named("other", &["x"], "ops"),
        named("far", &[], ""),
    ];
    let ask = |privileged, name: &str, env: &[(&str, &str)]| {
        service(&config, privileged, (0, 9), name, map(env))
    };
    let plan = ask(true, "cull", &[("JUPYTERHUB_API_TOKEN", "t"), ("PATH", "/usr")]).unwrap();
    assert_eq!(plan.argv, ["run", "{username}"], "nothing of it is filled in");
    let whose = |plan: &Plan| match &plan.run_as {
        RunAs::Service { account, own, .. } => (account.clone(), *own),
        _ => panic!(),
    };
    assert_eq!(whose(&plan), (Some("jovis-service".into()), false));
    assert_eq!(whose(&ask(true, "other", &[]).unwrap()), (Some("ops".into()), true));
    assert_eq!(whose(&ask(false, "cull", &[]).unwrap()), (None, false));
    for name in ["far", "none", ""] {
        assert!(ask(true, name, &[]).is_err(), "{name}");
    }
    assert!(ask(true, "cull", &[("LD_PRELOAD", "x")]).is_err());
    assert!(service(&config, true, (9, 9), "cull", map(&[])).is_err());
    let run_as = RunAs::Service { account: Some("ops".into()), own: true, cwd: None };
    for (uid, fine) in [(0, false), (WE.hub, false), (WE.proxy, false), (5, true)] {
        assert_eq!(account(&run_as, 1000, &WE, &found(uid)).is_ok(), fine, "{uid}");
    }
    let ordinary = Ourselves { privileged: false, uid: 1000, ..WE };
    assert!(account(&run_as, 1000, &ordinary, &found(1001)).is_err());
}

#[test]
fn accounts_are_made_by_the_configurations_command_and_only_where_it_says_so() {
    let mut config = Config::default();
    assert_eq!(make(&config, &WE, "bob"), Ok(None), "off");
    config.auth.create_system_users = true;
    let made = make(&config, &WE, "bob").unwrap().unwrap();
    assert_eq!(made.argv, ["/usr/sbin/useradd", "--create-home", "--shell", "/bin/bash", "bob"]);
    assert_eq!((made.uid, made.home_mode), (None, 0o700));
    config.auth.add_user_cmd =
        ["/usr/sbin/adduser", "-q", "--gecos", "Known as USERNAME", "-x"].map(str::to_owned).into();
    config.auth.uids = [("bob".to_owned(), 2005), ("eve".to_owned(), 5)].into();
    config.auth.home_mode = "0750".to_owned();
    let made = make(&config, &WE, "bob").unwrap().unwrap();
    let words = ["-q", "--gecos", "Known as bob", "-x", "--uid", "2005", "bob"];
    assert_eq!(made.argv[1..], words);
    assert_eq!((made.uid, made.home_mode), (Some(2005), 0o750));
    assert!(make(&config, &WE, "eve").is_err(), "a number of the system's");
    let ordinary = Ourselves { privileged: false, uid: 1000, ..WE };
    assert!(make(&config, &ordinary, "bob").is_err());
    for command in [&[][..], &["useradd"], &["/opt/USERNAME/x"]] {
        config.auth.add_user_cmd = command.iter().map(|word| (*word).to_owned()).collect();
        assert!(make(&config, &WE, "bob").is_err(), "{command:?}");
    }
}

#[test]
fn only_plain_names_become_accounts() {
    let mut config = Config::default();
    config.auth.create_system_users = true;
    for good in ["a", "_x", "bob-2", "b_b", &"x".repeat(32)] {
        assert!(make(&config, &WE, good).unwrap().is_some(), "{good}");
    }
    for bad in [
        "",
        "-o",
        "--uid",
        "0",
        "1a",
        "Bob",
        "bob x",
        "bob.x",
        "b:b",
        "b\nb",
        "../b",
        "b/b",
        "b\0b",
        "böb",
        "bob$",
        "a@b",
        "*",
        &"x".repeat(33),
    ] {
        assert!(make(&config, &WE, bad).is_err(), "{bad:?}");
    }
    assert!(look(&config, &alice()).unwrap().make.is_none());
    let long = Username::new(&"x".repeat(250)).unwrap();
    assert_eq!(look(&config, &long).unwrap().min_uid, config.root.min_uid);
}

proptest! {
    #[test]
    fn nobody_runs_as_root_or_as_one_of_our_own(uid in prop_oneof![0u32..3000, any::<u32>()], min in 0u32..2000,
                                                simple in any::<bool>()) {
        let run_as = if simple {
            RunAs::Simple { account: Some("jovis-user".into()), home: "/tmp/alice".into() }
        } else {
            RunAs::Local("alice".into())
        };
        let allowed = account(&run_as, min, &WE, &found(uid)).is_ok();
        let ours = [0, WE.hub, WE.proxy].contains(&uid);
        prop_assert_eq!(allowed, !ours && (simple || uid >= min));
    }

    #[test]
    fn a_plan_never_holds_a_variable_that_is_not_listed(name in "[A-Z_=a-z0-9]{0,12}", value in ".{0,20}") {
        if let Ok(plan) = ask(&Config::default(), &[(&name, &value)], &[]) {
            for (name, value) in plan.given {
                prop_assert!(name.starts_with("JUPYTERHUB_") || name.starts_with("MEM_") || name.starts_with("CPU_")
                    || name == "JPY_API_TOKEN");
                prop_assert!(!name.contains('=') && !value.contains('\0'));
            }
        }
    }
}

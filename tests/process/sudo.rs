//! Started by an ordinary user through a rule of sudo, which is good for that and for nothing else.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Output},
};

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, RUN, Site, process::Process, unique},
    with_server,
};

/// The rule of `docs/how-to/without-root.md`, for one account. It goes when this is dropped.
struct Rule(PathBuf);

impl Rule {
    fn new(starter: &Account, site: &Site) -> Self {
        let file = PathBuf::from(format!("/etc/sudoers.d/jv{}", unique()));
        let (program, config) = (site.binary().display(), site.file.display());
        let run = RUN.join(" ");
        let text = format!(
            "{} ALL=(root) NOPASSWD: NOSETENV: {program} {run} {config}, {program} stop -f {config}\n",
            starter.name
        );
        fs::write(&file, text).expect("root may write there");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).expect("it is ours");
        Self(file)
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// One that root would heed.
const VARIABLE: &str = "JPY_COOKIE_SECRET";

/// `sudo -n WORDS` as this account, from its home.
fn sudo(who: &Account, words: &[&str]) -> Output {
    let mut command = Command::new("sudo");
    command.arg("-n").args(words).uid(who.uid).gid(who.gid).current_dir(&who.home);
    command.env(VARIABLE, "ab".repeat(32));
    command.output().expect("it is installed")
}

#[test]
fn an_ordinary_user_starts_it_by_sudo_and_can_do_nothing_else() {
    as_root!();
    let [starter, ann, tom] = [Account::make(), Account::make(), Account::make()];
    let mut site = Plan::quick().by_sudo(&starter).prepare();
    let _rule = Rule::new(&starter, &site);
    site.start();
    let _visitors = [with_server(&site, &ann), with_server(&site, &tom)];
    let mut uids: Vec<_> = site.servers().iter().map(|server| server.ids("Uid")).collect();
    uids.sort();
    let mut wanted = vec![vec![ann.uid; 4], vec![tom.uid; 4]];
    wanted.sort();
    assert_eq!(uids, wanted);
    for role in [site.hub(), site.proxy()] {
        assert!(![0, starter.uid].contains(&role.ids("Uid")[0]), "{role:?}");
    }
    let of_starter = starter.processes();
    let waits = |it: &Process| it.arguments().first().is_some_and(|word| word == "sudo");
    assert!(of_starter.iter().all(waits), "nothing but sudo is the starter's: {of_starter:?}");

    // The same rule, for anything else.
    let (program, config) = (site.binary().display().to_string(), site.file.display().to_string());
    let own = starter.home.join("hub.ron");
    fs::write(&own, "()").unwrap();
    let own = own.display().to_string();
    let (set, keep) = (format!("{VARIABLE}=ab"), format!("--preserve-env={VARIABLE}"));
    for words in [
        &["id"][..],
        &[&program],
        &[&program, "run", "--guarded", "-f", &own],
        &[&program, "run", "-f", &config],
        &[&program, "run", "--guarded", "-f", &config, "--port", "1"],
        &[&program, "run", "--guarded", "-f", &config, "--spawner.cmd=[\"/bin/sh\"]"],
        &[&program, "stop", "-f", &own],
        &[&program, "backup", "/tmp/x"],
        &["-u", &ann.name, "id"],
        &[&set, &program, "run", "--guarded", "-f", &config],
        &[&keep, &program, "run", "--guarded", "-f", &config],
        &["-E", &program, "run", "--guarded", "-f", &config],
        &["-D", "/tmp", &program, "run", "--guarded", "-f", &config],
    ] {
        let refused = sudo(&starter, words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{words:?}");
        assert!(said.starts_with("sudo: "), "not even begun: {words:?}: {said}");
    }
    // Without sudo it is nobody.
    let mut direct = Command::new(&program);
    direct.args(["run", "--guarded", "-f", &config]).uid(starter.uid).gid(starter.gid);
    let refused = direct.env_clear().output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{}", String::from_utf8_lossy(&refused.stderr));

    let stopped = sudo(&starter, &[&program, "stop", "-f", &config]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    assert!(site.ended(PATIENCE).success());
}

#[test]
fn what_the_starter_could_change_is_refused() {
    as_root!();
    let starter = Account::make();
    for case in ["file", "folder", "program"] {
        let mut site = Plan::quick().by_sudo(&starter).prepare();
        let _rule = Rule::new(&starter, &site);
        let place = match case {
            "file" => site.file.clone(),
            "folder" => site.file.parent().unwrap().to_owned(),
            _ => site.binary().to_owned(),
        };
        chown(&place, Some(starter.uid), None).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        site.launch_into(writer.into());
        assert_eq!(site.ended(PATIENCE).code(), Some(78), "{case}");
        let said = std::io::read_to_string(reader).unwrap();
        let words = format!("{} can be changed by others than root", place.display());
        assert!(said.contains(&words), "{case}: {said}");
    }
}

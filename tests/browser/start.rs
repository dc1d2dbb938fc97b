//! Starting a server: the form, the queue, the log, failures, and all of it without scripts: `start.py`.

use std::{process::Command, time::Duration};

use crate::{
    address, alone, pictures,
    support::{Account, PATIENCE, Plan, Script, wait_until},
};

/// Half a dozen pages at three widths, and some waiting.
const STORY: Duration = Duration::from_secs(420);

/// What can be chosen.
const PROFILES: &str = r#"[
    (
        slug: "small", display_name: "Small", description: "Enough for most: a notebook with two processors.",
        profile_options: [
            (name: "python", display_name: "Python", kind: Choice(choices: [
                (value: "3.12"), (value: "3.13", display_name: "3.13 (new)", overrides: (environment: {"PY": "{python}"})),
            ])),
            (name: "memory", display_name: "Memory", help: "More is taken from others.", kind: Number(min: 1, max: 8, unit: "GB", default: 2)),
            (name: "note", display_name: "Project", kind: Text(pattern: "[a-z]*", pattern_help: "Small letters only, please.", max_length: 20)),
        ],
        overrides: (environment: {"NOTE": "{note}"}, mem_limit: "{memory}G"),
    ),
    (
        slug: "never", display_name: "Never ready", description: "Talks and talks.",
        overrides: (cmd: ["/bin/sh", "-c", "printf '\\033[31m<b>loading</b>\\033[0m kernels\\n'; exec sleep 60"]),
    ),
    (
        slug: "broken", display_name: "Broken", description: "Its program is missing something.",
        overrides: (cmd: ["/bin/sh", "-c", "sleep 2; echo '<i>ModuleNotFoundError</i>: No module named jupyterlab'; exit 1"]),
    ),
]"#;

#[test]
fn people_choose_wait_watch_cancel_and_understand_failures() {
    crate::as_root!();
    let _alone = alone();
    let (bob, eve) = (Account::make(), Account::make());
    let line = format!("{}:{}", eve.name, bob.password);
    let mut tool = Command::new("sh");
    tool.args(["-c", "printf '%s' \"$0\" | chpasswd", &line]);
    assert!(tool.status().expect("there is a shell").success(), "both have one password");
    let site = Plan::quick()
        .set("hub.allow_named_servers", "true")
        .set("hub.active_server_limit", "1")
        .set("hub.spawn_queue_limit", "1")
        .set("spawner.http_timeout", "60")
        .set("spawner.profiles", PROFILES)
        .start();
    let go = site.folder().join("go");
    let named = go.to_str().expect("a plain path").to_owned();
    let story: [&str; 5] = [&address(&site), &bob.name, &eve.name, &pictures("start"), &named];
    let script = Script::start("start.py", &story, &bob.password);
    // The place in the queue outlives the hub.
    script.says("eve waits", STORY);
    let hub = site.hub();
    hub.kill();
    let another = || site.role("@hub").is_some_and(|now| now != hub);
    wait_until("there is another hub", PATIENCE, another);
    assert_eq!(site.visitor().get("/hub/login").status, 200);
    std::fs::write(go, "").expect("the folder is ours");
    script.done(STORY);
}

//! The description of the REST API, held against the API: requests made from it at random find no answer that it does
//! not name, and no failure of the hub.

use std::process::{Command, Stdio};

use super::{
    as_root,
    support::{python_home, scale::scaled},
    world,
};

#[test]
fn requests_made_from_the_description_find_nothing_undescribed() {
    as_root!();
    let site = world::ours().start();
    let program = python_home().join("schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: .ci/install test", program.display());
    let seed = std::env::var("SEED").unwrap_or_else(|_| std::process::id().to_string());
    let run = Command::new(program)
        .arg("run")
        .arg(format!("http://{}/hub/api/openapi.json", site.public))
        .args(["-H", &format!("Authorization: token {}", world::service_token("boss-service"))])
        .args(["--checks", "not_a_server_error,status_code_conformance"])
        // Not two workers: Python 3.11 counts how deep it parses for all threads together, and ends a run with an error
        // of its own where two parse at once (https://github.com/python/cpython/issues/106905).
        .args(["--phases", "examples,coverage,fuzzing", "--seed", &seed, "--workers", "1"])
        .args(["--max-examples", &scaled(20, 400).to_string()])
        .args(["--max-time", &scaled(30, 600).to_string()])
        // That would end the hub.
        .args(["--exclude-path-regex", "/shutdown$"])
        .args(["--generation-database", "none", "--suppress-health-check", "all"])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off"])
        .args(["--output-truncate", "false"])
        .current_dir(site.folder())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", site.folder())
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("it can be run");
    let said = String::from_utf8_lossy(&run.stdout);
    let tail = said.lines().rev().take(12).collect::<Vec<_>>();
    tail.iter().rev().for_each(|line| println!("description: {line}"));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "SEED={seed} repeats it\n{said}\n{errors}");
    assert!(said.contains("generated"), "nothing was tried: {said}");
}

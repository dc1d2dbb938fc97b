use std::process::{Child as Process, Command};

use super::*;

fn order(number: u8) -> OrderId {
    OrderId::from_bytes([number; 16])
}

fn sleeper() -> Process {
    Command::new("sleep").arg("60").spawn().unwrap()
}

fn entry(pid: i32, since: u64) -> Entry {
    let uid = process::uid(pid);
    let (user, api) = ("a b".to_owned(), "127.0.0.1:8081".parse().ok());
    Entry { pid, since, uid, user, api, service: None, exit: None, pidfd: None, adopted: false }
}

#[test]
fn the_next_root_adopts_what_lives_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut processes = [sleeper(), sleeper(), sleeper()];
    let pids = processes.each_ref().map(|p| i32::try_from(p.id()).unwrap());
    let since = pids.map(|pid| process::stat(pid).unwrap().since);
    {
        let mut first = Children::open(dir.path()).unwrap();
        first.born(&order(1), entry(pids[0], since[0]));
        first.born(&order(2), entry(pids[1], since[1] + 1)); // another process with that number
        first.born(&order(3), entry(pids[2], since[2]));
        first.ended(&order(3), Exit::Code(3));
        first.born(&order(4), entry(pids[2], since[2]));
        first.forget(&order(4));
        let stranger = Entry { uid: Some(12345), ..entry(pids[0], since[0]) };
        first.born(&order(5), stranger);
    }
    for _ in 0..2 {
        let next = Children::open(dir.path()).unwrap();
        let exits: Vec<_> = next.list().into_iter().map(|c| (c.order, c.exit)).collect();
        let gone = Some(Exit::Unknown);
        let want = [(1, None), (2, gone), (3, Some(Exit::Code(3))), (5, gone)];
        assert_eq!(exits, want.map(|(number, exit)| (order(number), exit)));
        assert_eq!(next.living(), 1);
        assert!(next.entries[&order(1)].pidfd.is_some());
    }
    processes.iter_mut().for_each(|p| {
        p.kill().unwrap();
        p.wait().unwrap();
    });
}

#[test]
fn a_reboot_leaves_nothing_and_nonsense_is_an_error() {
    let entries = BTreeMap::from([(order(1), entry(1, 1))]);
    let text = serde_json::to_vec(&("x", entries)).unwrap();
    assert_eq!(parse(&text, "x").unwrap().len(), 1);
    assert_eq!(parse(&text, "y").unwrap().len(), 0);
    assert!(parse(&text[..text.len() - 1], "x").is_err());
}

#[test]
fn a_family_is_descendants_and_session() {
    let stat = |parent, session| Stat { parent, session, since: 7, ended: false };
    let all = [
        (10, stat(1, 10)),
        (11, stat(10, 11)),
        (12, stat(11, 12)),
        (13, stat(1, 10)),
        (14, stat(1, 14)),
    ];
    assert_eq!(family(&all, 10, 7), [(11, 7), (13, 7), (12, 7)]);
    // Whose number is another's by now has none; who is gone still has its session.
    assert_eq!(family(&all, 10, 6), []);
    assert_eq!(family(&all[3..], 10, 6), [(13, 7)]);
}

#[test]
fn a_file_that_cannot_be_read_is_laid_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (file, aside) = (dir.path().join("children"), dir.path().join("children.bad"));
    for nonsense in ["", "[\"x\", {\"a\": 1}]", "\0\0\0"] {
        fs::write(&file, nonsense).unwrap();
        assert_eq!(Children::open(dir.path()).unwrap().living(), 0);
        assert_eq!(fs::read_to_string(&aside).unwrap(), nonsense);
        assert!(parse(&fs::read(&file).unwrap(), &boot_id()).unwrap().is_empty());
    }
}

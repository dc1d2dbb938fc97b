use super::*;

const ALICE: i32 = 100;
const BOB: i32 = 200;

fn order(n: u8) -> OrderId {
    OrderId::from_bytes([n; 16])
}

fn servers() -> Vec<(OrderId, i32)> {
    vec![(order(1), ALICE), (order(2), BOB)]
}

/// A process that began as its number says.
fn process(pid: i32, parent: i32, session: i32) -> Process {
    Process { pid, parent, session, since: pid as u64, memory: 10, ..Process::default() }
}

fn root() -> Vec<Process> {
    vec![process(1, 0, 1), process(10, 1, 10), process(11, 10, 11)]
}

fn with(more: &[Process]) -> Vec<Process> {
    root().into_iter().chain(more.iter().copied()).collect()
}

fn look(ledger: &mut Ledger, more: &[Process]) -> BTreeMap<OrderId, Usage> {
    ledger.step(&servers(), &with(more), 1000.0, 4)
}

fn computed(process: Process, own: u64, reaped: u64) -> Process {
    Process { own, reaped, ..process }
}

#[test]
fn memory_is_the_sum_of_session_and_descendants() {
    let used = look(
        &mut Ledger::default(),
        &[
            process(ALICE, 10, ALICE),
            process(101, ALICE, ALICE), // a kernel
            process(102, 1, ALICE),     // its parent has ended
            process(103, 101, 103),     // a session of its own: a terminal
            process(104, 103, 103),
            process(BOB, 10, BOB),
            process(300, 1, 300), // nobody's
        ],
    );
    assert_eq!((used[&order(1)].memory, used[&order(1)].processes), (50, 5));
    assert_eq!((used[&order(2)].memory, used[&order(2)].processes), (10, 1));
    assert_eq!(used.len(), 2);
}

#[test]
fn one_that_leaves_session_and_parent_stays_known() {
    let mut ledger = Ledger::default();
    let server = process(ALICE, 10, ALICE);
    look(&mut ledger, &[server, process(101, ALICE, 101)]);
    // Its parent is init now; and it has a child that was born meanwhile and is init's, too.
    let used = look(&mut ledger, &[server, process(101, 1, 101), process(102, 1, 101)]);
    assert_eq!(used[&order(1)].processes, 3);
}

#[test]
fn an_ended_process_takes_no_memory() {
    let ended = Process { ended: true, ..process(101, ALICE, ALICE) };
    let used = look(&mut Ledger::default(), &[process(ALICE, 10, ALICE), ended]);
    assert_eq!((used[&order(1)].memory, used[&order(1)].processes), (10, 1));
}

#[test]
fn the_share_is_what_was_computed_since() {
    let mut ledger = Ledger::default();
    let (server, kernel) = (process(ALICE, 10, ALICE), process(101, ALICE, ALICE));
    let used = look(&mut ledger, &[computed(server, 500, 0), computed(kernel, 100, 0)]);
    assert_eq!(used[&order(1)].cpu, None, "seen once");
    let used = look(&mut ledger, &[computed(server, 600, 0), computed(kernel, 1000, 0)]);
    assert_eq!(used[&order(1)].cpu, Some(1.0));
    let used = look(&mut ledger, &[computed(server, 600, 0), computed(kernel, 1000, 0)]);
    assert_eq!(used[&order(1)].cpu, Some(0.0));
}

#[test]
fn children_that_came_and_went_count_by_their_parent() {
    let mut ledger = Ledger::default();
    let server = process(ALICE, 10, ALICE);
    look(&mut ledger, &[computed(server, 100, 0), computed(process(101, ALICE, ALICE), 300, 0)]);
    // 101 computed 200 more and ended; another one came and went with 100.
    let used = look(&mut ledger, &[computed(server, 100, 600)]);
    assert_eq!(used[&order(1)].cpu, Some(0.3));
}

#[test]
fn children_nobody_waits_for_never_make_a_share_negative() {
    let mut ledger = Ledger::default();
    let server = process(ALICE, 10, ALICE);
    look(&mut ledger, &[computed(server, 100, 0), computed(process(101, ALICE, ALICE), 900, 0)]);
    let used = look(&mut ledger, &[computed(server, 150, 0)]);
    assert_eq!(used[&order(1)].cpu, Some(0.05));
}

#[test]
fn a_newborn_counts_whole_and_a_newly_found_one_not_at_all() {
    let mut ledger = Ledger::default();
    let server = process(ALICE, 10, ALICE);
    let stray = process(150, 1, 150);
    look(&mut ledger, &[server, computed(stray, 900, 50), process(BOB, 10, BOB)]);
    let found = Process { parent: ALICE, ..computed(stray, 910, 50) };
    let newborn = computed(process(400, ALICE, ALICE), 70, 0);
    let used = look(&mut ledger, &[server, found, newborn, process(BOB, 10, BOB)]);
    assert_eq!(used[&order(1)].cpu, Some(0.07));
    assert_eq!(used[&order(1)].processes, 3);
}

#[test]
fn a_number_given_out_again_is_another_process() {
    let mut ledger = Ledger::default();
    look(&mut ledger, &[process(ALICE, 10, ALICE)]);
    let other = Process { since: 9999, ..process(ALICE, 1, ALICE) };
    let used = look(&mut ledger, &[other]);
    assert!(!used.contains_key(&order(1)));
}

#[test]
fn a_session_outlives_its_first_process() {
    let mut ledger = Ledger::default();
    look(&mut ledger, &[process(ALICE, 10, ALICE), process(101, ALICE, ALICE)]);
    let used = look(&mut ledger, &[process(101, 1, ALICE)]);
    assert_eq!(used[&order(1)].processes, 1);
}

#[test]
fn a_server_without_a_session_of_its_own_does_not_take_its_makers() {
    let mut ledger = Ledger::default();
    let processes = [process(ALICE, 10, 10), process(101, ALICE, 10)];
    for _ in 0..2 {
        let used = look(&mut ledger, &processes);
        assert_eq!(used[&order(1)].processes, 2);
    }
}

#[test]
fn parents_that_go_round_are_nobodys() {
    let round = [process(ALICE, 10, ALICE), process(500, 501, 500), process(501, 500, 501)];
    let used = look(&mut Ledger::default(), &round);
    assert_eq!(used[&order(1)].processes, 1);
}

#[test]
fn nobody_has_more_than_the_machine() {
    let mut ledger = Ledger::default();
    let server = process(ALICE, 10, ALICE);
    look(&mut ledger, &[server]);
    let used = look(&mut ledger, &[computed(server, 1_000_000, 0)]);
    assert_eq!(used[&order(1)].cpu, Some(4.0));
}

#[test]
fn what_is_over_is_forgotten() {
    let mut ledger = Ledger::default();
    look(&mut ledger, &[process(ALICE, 10, ALICE), process(101, ALICE, ALICE)]);
    assert!(ledger.step(&[], &root(), 1000.0, 4).is_empty());
    assert!(ledger.known.is_empty() && ledger.servers.is_empty());
}

//! The volume of the store is full: changes are refused, everything else goes on, and it ends by itself.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{
        Account, Answer, Line, PATIENCE, Plan, Site, Visitor, Volume,
        ledger::{issue, listed, tokens_of},
        scale::{promise, scaled},
        wait_until,
    },
    with_server,
};

/// Changes are taken again so soon after there is room.
const RECOVERY: Duration = Duration::from_secs(5);

/// A hub whose state lies on this volume.
fn plan(volume: &Volume) -> Plan {
    Plan::quick().set("hub.state_dir", &format!("{:?}", volume.path()))
}

/// Asks for a token; its id if that was acknowledged, nothing if it was refused as promised.
fn asked(visitor: &mut Visitor, path: &str) -> Option<String> {
    match issue(visitor, path) {
        Ok((id, _)) => Some(id),
        Err(answer) => {
            refused(&answer.expect("an answer"));
            None
        }
    }
}

/// 507 or 503, and when to ask again.
fn refused(answer: &Answer) {
    let later = answer.header("retry-after").and_then(|it| it.parse::<u64>().ok());
    let said = matches!(answer.status, 507 | 503) && later.is_some_and(|it| it > 0);
    assert!(said, "{}: {}", answer.status, answer.text());
}

/// So many tokens somebody who makes some all the time keeps: nobody may have more than a thousand.
const KEPT: usize = 800;

/// Revokes a token; false if that was refused as promised.
fn revoke(visitor: &mut Visitor, path: &str, id: &str) -> bool {
    let answer = visitor.api("DELETE", &format!("{path}/{id}"), "");
    if answer.status == 204 {
        return true;
    }
    refused(&answer);
    false
}

/// Somebody who makes tokens all the time, and revokes the oldest where they get too many.
struct Writer {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default, Clone)]
struct Book {
    acknowledged: BTreeSet<String>,
    revoked: BTreeSet<String>,
    refused: usize,
}

impl Book {
    /// How many changes were acknowledged.
    fn taken(&self) -> usize {
        self.acknowledged.len() + 2 * self.revoked.len()
    }
}

impl Writer {
    fn begin(mut visitor: Visitor, path: String) -> Self {
        let (book, stop) = (Arc::<Mutex<Book>>::default(), Arc::new(AtomicBool::new(false)));
        let (noted, told) = (book.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Acquire) {
                let surplus = {
                    let book = noted.lock().expect("no holder panics");
                    let oldest = || book.acknowledged.first().cloned();
                    if book.acknowledged.len() < KEPT { None } else { oldest() }
                };
                let (made, gone) = match surplus {
                    None => (asked(&mut visitor, &path), None),
                    Some(id) => (None, Some(id).filter(|id| revoke(&mut visitor, &path, id))),
                };
                let pause = if made.is_some() || gone.is_some() { 5 } else { 20 };
                let mut book = noted.lock().expect("no holder panics");
                match (made, gone) {
                    (None, None) => book.refused += 1,
                    (made, gone) => {
                        book.acknowledged.extend(made);
                        if let Some(id) = gone {
                            book.acknowledged.remove(&id);
                            book.revoked.insert(id);
                        }
                    }
                }
                drop(book);
                // Not faster than a person's script: the volume is small.
                thread::sleep(Duration::from_millis(pause));
            }
        });
        Self { book, stop, thread: Some(thread) }
    }

    fn book(&self) -> Book {
        let thread = self.thread.as_ref().expect("it was not ended");
        assert!(!thread.is_finished(), "the writer had an answer that was not promised");
        self.book.lock().expect("no holder panics").clone()
    }

    fn end(mut self) -> Book {
        self.stop.store(true, Ordering::Release);
        self.thread.take().expect("once").join().expect("every answer was one that is promised");
        self.book.lock().expect("no holder panics").clone()
    }
}

/// All that does not need room works.
fn all_but_changes_work(site: &Site, account: &Account, visitor: &mut Visitor) {
    let user = visitor.api("GET", &format!("/hub/api/users/{}", account.name), "");
    assert_eq!(user.status, 200, "{}", user.text());
    assert_eq!(visitor.get("/hub/home").status, 200);
    assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
    let mut newcomer = site.visitor();
    newcomer.sign_in(account);
    assert_eq!(newcomer.get("/hub/home").status, 200);
    // Also where a browser session is left behind.
    newcomer.forget("jupyterhub-hub-login");
    newcomer.sign_in(account);
}

/// Ends the hub's process; comes back when there is another that answers.
fn kill_hub(site: &Site) {
    let hub = site.hub();
    hub.kill();
    wait_until("another hub answers", PATIENCE, || {
        site.role("@hub").is_some_and(|now| now != hub)
            && site.visitor().send("GET", "/hub/api", &[], b"").is_ok_and(|it| it.status == 200)
    });
}

#[test]
fn row_12_a_full_disk_stops_changes_and_nothing_else() {
    as_root!();
    let volume = Volume::mount("mode=700,size=64m");
    let account = Account::make();
    let site = plan(&volume).start();
    let mut visitor = with_server(&site, &account);
    let path = tokens_of(&account);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());
    let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
    let writer = Writer::begin(visitor.clone(), path.clone());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let (mut slowest, cycles) = (Duration::ZERO, scaled(3, 20));
    for cycle in 0..cycles {
        // Any moment: also while sled, a snapshot or the reserve is being written.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        thread::sleep(Duration::from_millis(50 + seed % 700));
        let log = site.log.mark();
        let before = writer.book().refused;
        let full = volume.fill();
        wait_until("a change is refused", PATIENCE, || writer.book().refused > before);
        all_but_changes_work(&site, &account, &mut visitor);
        assert_eq!(socket.echo("full").expect("the tunnel lives"), "full");
        // Beside the line that each refused request has.
        let loud = |it: &Line| {
            it.text("level").is_some_and(|it| it == "WARN" || it == "ERROR")
                && !it.is("request failed")
        };
        let told = site.log.since(log).iter().filter(|it| loud(it)).count();
        assert!(told <= 20, "cycle {cycle}: the log has {told} warnings of one fault");
        drop(full);
        let (begun, before) = (Instant::now(), writer.book().taken());
        wait_until("changes are taken again", promise(RECOVERY), || writer.book().taken() > before);
        slowest = slowest.max(begun.elapsed());
    }
    let book = writer.end();
    assert_eq!((site.hub(), site.proxy(), site.server()), (hub, proxy, server), "nobody died");
    // Made and not there, or revoked and there again.
    let lost = |visitor: &mut Visitor| {
        let there = listed(visitor, &path);
        book.acknowledged.difference(&there).count() + book.revoked.intersection(&there).count()
    };
    assert_eq!(lost(&mut visitor), 0);
    kill_hub(&site);
    assert_eq!(lost(&mut visitor), 0, "after a crash");
    println!(
        "row 12: {cycles} cycles, {} changes acknowledged, 0 lost, {} refused, recovery within {slowest:?}",
        book.taken(),
        book.refused
    );
}

#[test]
fn row_12_a_hub_starts_on_a_full_disk() {
    as_root!();
    let volume = Volume::mount("mode=700,size=64m");
    let account = Account::make();
    let mut site = plan(&volume).start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let path = tokens_of(&account);
    let made: Vec<_> =
        (0..20).map(|_| asked(&mut visitor, &path).expect("there is room")).collect();
    site.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(site.ended(PATIENCE).success());
    let full = volume.fill();
    let begun = Instant::now();
    site.start();
    let started = begun.elapsed();
    let there = listed(&mut visitor, &path);
    assert!(made.iter().all(|id| there.contains(id)), "{there:?}");
    site.visitor().sign_in(&account);
    let mut first = None;
    wait_until("a change is refused", PATIENCE, || {
        first = first.take().or(asked(&mut visitor, &path));
        asked(&mut visitor, &path).is_none()
    });
    assert_eq!(visitor.get("/hub/home").status, 200);
    let hub = site.hub();
    drop(full);
    let back =
        wait_until("changes are taken", promise(RECOVERY), || asked(&mut visitor, &path).is_some());
    assert_eq!(site.hub(), hub, "without a restart");
    kill_hub(&site);
    let there = listed(&mut visitor, &path);
    assert!(made.iter().all(|id| there.contains(id)));
    println!(
        "row 12: ready on a full disk after {started:?}, changes taken {back:?} after there was room"
    );
}

#[test]
fn row_12_a_volume_without_inodes_is_like_a_full_one() {
    as_root!();
    let volume = Volume::mount("mode=700,size=64m,nr_inodes=3000");
    let account = Account::make();
    let site = plan(&volume).start();
    let mut visitor = with_server(&site, &account);
    let path = tokens_of(&account);
    let writer = Writer::begin(visitor.clone(), path.clone());
    let full = volume.fill_with_files();
    all_but_changes_work(&site, &account, &mut visitor);
    // The next hub needs a new segment of the journal for its first change, and cannot have one.
    let book = writer.end();
    kill_hub(&site);
    all_but_changes_work(&site, &account, &mut visitor);
    assert_eq!(asked(&mut visitor, &path), None);
    let hub = site.hub();
    drop(full);
    let back =
        wait_until("changes are taken", promise(RECOVERY), || asked(&mut visitor, &path).is_some());
    assert_eq!(site.hub(), hub, "without a restart");
    let there = listed(&mut visitor, &path);
    assert_eq!(book.acknowledged.difference(&there).count(), 0);
    println!(
        "row 12: no inodes: {} acknowledged, 0 lost, {} refused, changes taken {back:?} after there were some",
        book.acknowledged.len(),
        book.refused
    );
}

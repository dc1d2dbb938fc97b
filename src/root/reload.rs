//! SIGHUP and `jovis reload`: everything right, or nothing. One at a time: what asks meanwhile gets the next one, which
//! reads the file anew, so a thousand signals are a few reloads and the last of them sees what the file was in the end.

use std::{
    collections::BTreeMap,
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tracing::{error, info, warn};

use super::{
    Secrets,
    events::{Root, all},
    notify,
    roles::Kind,
    shutdown::Stage,
};
use crate::{
    config::change::{self, Changes},
    ipc::{
        reload::{ReloadOutcome, ReloadReport},
        root::{RootSays, RootToProxy},
    },
    telemetry::logs::chain,
};

/// Longest wait for the roles' word.
const PATIENCE: Duration = Duration::from_secs(10);
/// From the beginning of one reload to the next: what a flood of signals may cost us.
const PAUSE: Duration = Duration::from_millis(100);
/// What was said is said again once nobody brought it up for so long.
const SILENCE: Duration = Duration::from_secs(5);
/// Most sentences remembered as said.
const MOST_SAID: usize = 256;

/// Reloads asked for, going on, and done.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    wanted: bool,
    askers: Vec<u64>,
    running: Option<Running>,
    begun: Option<Instant>,
    serial: u64,
    said: Said,
    /// What came of the newest one that is over.
    pub(super) last: Option<ReloadReport>,
    /// For those who asked, by their number: to be taken out.
    pub(super) answers: Vec<(u64, ReloadReport)>,
}

/// Applied here; the roles are at it.
#[derive(Debug)]
struct Running {
    until: Instant,
    waits: Vec<Kind>,
    askers: Vec<u64>,
    report: ReloadReport,
}

impl Reloads {
    /// When there is something to do without being told.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.running {
            Some(running) if running.waits.is_empty() => Some(Instant::now()),
            Some(running) => Some(running.until),
            None => {
                self.wanted.then(|| self.begun.map_or_else(Instant::now, |begun| begun + PAUSE))
            }
        }
    }

    /// What a role made of it.
    pub(super) fn heard(&mut self, kind: Kind, outcome: ReloadOutcome) {
        let Some(running) = self.running.as_mut().filter(|_| outcome.serial == self.serial) else {
            return;
        };
        for finding in outcome.kept {
            if self.said.is_news(&finding, Instant::now()) {
                warn!(child = kind.name(), %finding, "setting kept");
            }
            running.report.findings.push(finding);
        }
        self.answered(kind);
    }

    /// Nothing more comes from this role.
    pub(super) fn answered(&mut self, kind: Kind) {
        if let Some(running) = &mut self.running {
            running.waits.retain(|role| *role != kind);
        }
    }

    fn over(&mut self, mut report: ReloadReport, askers: Vec<u64>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        report.at = now.map_or(0, |since| since.as_secs());
        self.answers.extend(askers.into_iter().map(|asker| (asker, report.clone())));
        self.last = Some(report);
        notify("READY=1");
    }
}

/// Sentences and when they came up last: an error that comes up without end is said once.
#[derive(Debug, Default)]
struct Said(BTreeMap<String, Instant>);

impl Said {
    fn is_news(&mut self, sentence: &str, now: Instant) -> bool {
        self.0.retain(|_, last| now.duration_since(*last) < SILENCE);
        if self.0.len() >= MOST_SAID && !self.0.contains_key(sentence) {
            return false;
        }
        self.0.insert(sentence.to_owned(), now).is_none()
    }
}

impl Root {
    /// Wants the file read again. Who asks with a number finds the report under it in [`Reloads::answers`].
    pub(super) fn begin_reload(&mut self, asker: Option<u64>) {
        self.reloads.wanted = true;
        self.reloads.askers.extend(asker);
    }

    /// Begins the next one when it may, ends the one going on when all have answered or had their time.
    pub(super) fn tend_reload(&mut self, now: Instant) {
        let over = |running: &mut Running| running.waits.is_empty() || now >= running.until;
        if let Some(mut running) = self.reloads.running.take_if(over) {
            for role in running.waits {
                let child = role.name();
                warn!(child, "reload unanswered");
                running.report.findings.push(format!("the {child} has not answered"));
            }
            self.reloads.over(running.report, running.askers);
        }
        let resting = self.reloads.begun.is_some_and(|begun| now < begun + PAUSE);
        let leaving = self.stage != Stage::Serving;
        if !self.reloads.wanted || self.reloads.running.is_some() || resting || leaving {
            return;
        }
        notify("RELOADING=1");
        self.reloads.wanted = false;
        self.reloads.begun = Some(now);
        self.reloads.serial += 1;
        let askers = mem::take(&mut self.reloads.askers);
        match self.reload() {
            Ok(report) => {
                let roles = [&self.hub, &self.proxy].into_iter();
                let waits = roles.filter(|role| role.process.is_some()).map(|role| role.kind);
                let (until, waits) = (now + PATIENCE, waits.collect());
                self.reloads.running = Some(Running { until, waits, askers, report });
            }
            Err(findings) => {
                let said = &mut self.reloads.said;
                for finding in findings.iter().filter(|finding| said.is_news(finding, now)) {
                    error!(%finding, "setting rejected");
                }
                if said.is_news(&format!("refused: {}", findings.join("\n")), now) {
                    error!(findings = findings.len(), "reload refused");
                }
                let report = ReloadReport { refused: true, findings, ..ReloadReport::default() };
                self.reloads.over(report, askers);
            }
        }
    }

    /// Reads, checks, compares, and hands each role its part; or changes nothing and says all that is wrong.
    fn reload(&mut self) -> Result<ReloadReport, Vec<String>> {
        let failed = |error: io::Error| vec![error.to_string()];
        let wanted = (self.setup.reload)()?;
        let changes = change::changes(&self.setup.config, &wanted);
        let config = change::without_restart(&self.setup.config, &wanted);
        let mut secrets = Secrets::read(&config, self.state.as_fd())
            .map_err(|error| vec![chain(&error).to_string()])?;
        // As its setting: another one waits for a restart.
        secrets.cookie_secret = self.secrets.cookie_secret.clone();
        let state = format!("/proc/self/fd/{}", self.state.as_raw_fd());
        let rebound = if changes.rebind.is_empty() {
            None
        } else {
            let bound = self.sockets.rebind(&config, Path::new(&state));
            Some(bound.map_err(|error| vec![error.to_string()])?)
        };
        let api_url = rebound.as_ref().map_or(&self.sockets.api_url, |rebound| &rebound.api_url);
        let hub = self.slice(Kind::Hub, &config, &secrets, api_url).map_err(failed)?;
        let proxy = self.slice(Kind::Proxy, &config, &secrets, api_url).map_err(failed)?;
        let log = (self.setup.relog)(&config.log).map_err(|error| vec![error])?;
        let (hub, proxy) = (all(hub, &log).map_err(failed)?, all(proxy, &log).map_err(failed)?);
        let folder = self.acme_folder(&config);
        (self.setup.config, self.secrets) = (config, secrets);
        let serial = self.reloads.serial;
        self.hub.say(None, RootSays::Reload { serial }, hub);
        for role in self.generations.iter_mut() {
            let copies: io::Result<_> = proxy.iter().map(OwnedFd::try_clone).collect();
            role.say(None, RootToProxy::Reload { serial, acme: false }, copies.map_err(failed)?);
        }
        // One gets certificates: the one that serves.
        let acme = folder.is_some();
        let proxy = proxy.into_iter().chain(folder).collect();
        self.proxy.say(None, RootToProxy::Reload { serial, acme }, proxy);
        if let Some(rebound) = rebound {
            let old = self.sockets.take(rebound, Instant::now());
            for address in old {
                info!(%address, "hub address kept");
            }
            // Behind the settings, which tell what each socket is for.
            self.tell_listeners();
        }
        Ok(self.told(changes))
    }

    /// Tells both roles what to listen on.
    fn tell_listeners(&mut self) {
        let copies = |fds: Vec<&OwnedFd>| -> io::Result<Vec<_>> {
            fds.into_iter().map(OwnedFd::try_clone).collect()
        };
        let apis = copies(self.sockets.apis.iter().map(|api| &api.fd).collect());
        match (apis, copies(self.sockets.public.iter().collect())) {
            (Ok(apis), Ok(public)) => {
                self.hub.say(None, RootSays::Listen, apis);
                self.proxy.say(None, RootToProxy::Listen, public);
            }
            (Err(error), _) | (_, Err(error)) => warn!(%error, "listeners not passed on"),
        }
    }

    /// Binds the addresses of the hub's API that servers of an earlier root were told.
    pub(super) fn restore_addresses(&mut self, now: Instant) {
        for (address, error) in self.sockets.restore(self.children.called(), now) {
            error!(%address, %error, "hub address lost");
        }
    }

    /// Closes old addresses of the hub's API that no living server was told.
    pub(super) fn tend_addresses(&mut self, now: Instant) {
        if self.sockets.apis.len() < 2 {
            return;
        }
        let called = self.children.called();
        let gone = self.sockets.drop_old(|address| called.contains(&address), now);
        if gone.is_empty() {
            return;
        }
        for address in gone {
            info!(%address, "hub address closed");
        }
        self.tell_listeners();
    }

    fn told(&mut self, changes: Changes) -> ReloadReport {
        let list = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let report = ReloadReport {
            applied: list(changes.live),
            next_start: list(changes.next_start),
            rebound: list(changes.rebind),
            needs_restart: list(changes.restart),
            ..ReloadReport::default()
        };
        let (applied, next_start) = (report.applied.join(" "), report.next_start.join(" "));
        let rebound = report.rebound.join(" ");
        let (now, said) = (Instant::now(), &mut self.reloads.said);
        let changed = [&applied, &next_start, &rebound].iter().any(|names| !names.is_empty());
        if changed || said.is_news("configuration reloaded", now) {
            info!(%applied, %next_start, %rebound, "configuration reloaded");
        }
        for setting in &report.needs_restart {
            if said.is_news(setting, now) {
                warn!(setting, "setting needs restart");
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::root::requests::tests::Scene;

    /// A root with a hub, whose file has one more allowed user at each reading; how often it was read.
    fn scene() -> (Scene, Rc<Cell<u32>>) {
        let mut scene = Scene::greeted();
        let (readings, mut config) = (Rc::new(Cell::new(0)), scene.root.setup.config.clone());
        let seen = readings.clone();
        let config = Rc::new(Cell::new(Some(mem::take(&mut config))));
        scene.root.setup.reload = Box::new(move || {
            seen.set(seen.get() + 1);
            let mut next = config.take().ok_or_else(|| vec!["no file".to_owned()])?;
            next.auth.allowed_users.insert(seen.get().to_string());
            next.hub.base_url = "/later/".to_owned();
            config.set(Some(next.clone()));
            Ok(next)
        });
        (scene, readings)
    }

    fn done(serial: u64) -> ReloadOutcome {
        ReloadOutcome { serial, kept: Vec::new() }
    }

    #[test]
    fn a_flood_is_one_reload_and_one_more_after_it() {
        let (mut scene, readings) = scene();
        let (root, now) = (&mut scene.root, Instant::now());
        (0..1000).for_each(|_| root.begin_reload(None));
        root.tend_reload(now);
        assert_eq!((readings.get(), root.reloads.due().is_some()), (1, true));
        root.begin_reload(Some(7));
        // Not before the hub has answered this one, and not at once.
        root.tend_reload(now + PAUSE);
        root.reloads.heard(Kind::Hub, done(99));
        root.tend_reload(now + PAUSE);
        assert_eq!(readings.get(), 1);
        root.reloads.heard(Kind::Hub, done(1));
        root.tend_reload(now);
        assert_eq!((readings.get(), root.reloads.last.is_some()), (1, true));
        root.tend_reload(now + PAUSE);
        assert_eq!((readings.get(), root.reloads.answers.len()), (2, 0));
        root.reloads.heard(Kind::Hub, done(2));
        root.tend_reload(now + PAUSE);
        let (asker, report) = root.reloads.answers.pop().unwrap();
        assert_eq!((asker, report.refused, report.findings.len()), (7, false, 0));
        assert_eq!(
            (report.applied, report.needs_restart),
            (vec!["auth.allowed_users".into()], vec!["hub.base_url".into()])
        );
        assert_eq!(root.setup.config.hub.base_url, "/");
        assert_eq!(scene.hear().0.message, RootSays::Reload { serial: 1 });
        assert_eq!(scene.hear().0.message, RootSays::Reload { serial: 2 });
    }

    #[test]
    fn a_hub_that_says_nothing_is_named_and_one_that_died_is_not_waited_for() {
        let (mut scene, _) = scene();
        let (root, now) = (&mut scene.root, Instant::now());
        root.begin_reload(Some(1));
        root.tend_reload(now);
        root.tend_reload(now + PATIENCE);
        assert_eq!(root.reloads.answers.pop().unwrap().1.findings, ["the hub has not answered"]);
        root.begin_reload(Some(2));
        root.tend_reload(now + PATIENCE);
        root.reloads.answered(Kind::Hub);
        root.tend_reload(now + PATIENCE);
        assert!(root.reloads.answers.pop().unwrap().1.findings.is_empty());
    }

    #[test]
    fn a_file_that_is_wrong_changes_nothing_and_the_roles_hear_nothing() {
        let (mut scene, _) = scene();
        let before = scene.root.setup.config.clone();
        scene.root.setup.reload = Box::new(|| Err(vec!["one".to_owned(), "two".to_owned()]));
        scene.root.begin_reload(Some(1));
        scene.root.tend_reload(Instant::now());
        let (_, report) = scene.root.reloads.answers.pop().unwrap();
        assert_eq!((report.refused, report.findings), (true, vec!["one".into(), "two".into()]));
        assert!(scene.root.reloads.running.is_none() && scene.root.setup.config == before);
    }

    #[test]
    fn what_comes_up_without_end_is_said_once() {
        let (mut said, mut now) = (Said::default(), Instant::now());
        assert!(said.is_news("a", now));
        for _ in 0..100 {
            now += SILENCE / 2;
            assert!(!said.is_news("a", now));
        }
        assert!(said.is_news("b", now));
        now += SILENCE;
        assert!(said.is_news("a", now));
        for number in 0..2 * MOST_SAID {
            said.is_news(&number.to_string(), now);
        }
        assert_eq!(said.0.len(), MOST_SAID);
    }
}

//! The port `Authenticator`: who is refused is refused and nothing else; a provider that fails is never a wrong password;
//! nobody waits for ever.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use jovis::{
    auth::{dummy::Dummy, pam::Pam},
    config::sections,
    ipc::{helper::Verdict, root::RootSays},
};
use jovis_actors::{
    domain::{Seconds, Secret},
    ports::{Authenticator, Credentials, Flow, Identity, LoginError, Refresh},
    testing::ScriptedAuthenticator,
};

use crate::root::{self, TestRoot};

/// Longer than any check that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who may come in.
#[derive(Debug, Clone)]
struct Person {
    typed: String,
    password: String,
    /// As the provider knows it.
    name: String,
}

impl Person {
    fn new(typed: &str, password: &str, name: &str) -> Self {
        Self { typed: typed.to_owned(), password: password.to_owned(), name: name.to_owned() }
    }
}

/// What can go wrong with a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It does not answer.
    Hangs,
    /// It answers with nonsense, or says that it is down.
    Broken,
    None,
}

/// A provider and its people.
trait World {
    /// The authenticator under test.
    fn authenticator(&self) -> Arc<dyn Authenticator>;
    /// Who may come in; at least two.
    fn people(&self) -> Vec<Person>;
    /// Troubles that this provider can have.
    fn troubles(&self) -> &'static [Trouble];
    /// From now on it has this one.
    fn trouble(&self, which: Trouble);
}

async fn check(
    authenticator: &Arc<dyn Authenticator>,
    name: &str,
    password: &str,
) -> Result<Identity, LoginError> {
    let credentials = Credentials {
        way: String::new(),
        username: name.to_owned(),
        password: Secret::new(password.to_owned()),
        otp: None,
        from: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    let answer = match authenticator.flow() {
        Flow::Password(way) => tokio::time::timeout(PATIENCE, way.check(&credentials)).await,
        Flow::Redirect(_) => panic!("this suite is for passwords"),
    };
    answer.expect("a check ends")
}

/// Runs the suite on a fresh world.
async fn contract(world: impl World) {
    let authenticator = world.authenticator();
    let people = world.people();
    for person in &people {
        let who = check(&authenticator, &person.typed, &person.password).await.unwrap();
        assert_eq!(who.name, person.name, "the name is the provider's");
        let still = authenticator.refresh(&who).await.unwrap();
        assert!(still == Refresh::Same || still == Refresh::Changed(who), "{still:?}");
    }
    refusals(&authenticator, &people[0]).await;
    at_once(&authenticator, &people).await;
    for trouble in world.troubles() {
        world.trouble(*trouble);
        outage(&authenticator, &people[0], *trouble).await;
        world.trouble(Trouble::None);
        let who = check(&authenticator, &people[0].typed, &people[0].password).await.unwrap();
        assert_eq!(who.name, people[0].name, "after {trouble:?} all is as before");
    }
}

/// No password of these is right, and nothing about them is the provider's fault.
async fn refusals(authenticator: &Arc<dyn Authenticator>, person: &Person) {
    let (name, password) = (person.typed.as_str(), person.password.as_str());
    let huge = "x".repeat(10_000_000);
    let wide = "ü".repeat(20_000);
    let cut = format!("{password}\0");
    let behind = format!("{password}\0more");
    let longer = format!("{password}{huge}");
    let blank = format!("{password} ");
    let table: &[(&str, &str, &str)] = &[
        ("wrong password", name, "not it"),
        ("a password and more", name, &blank),
        ("no password", name, ""),
        ("nobody", "", ""),
        ("unknown", "jv-nobody-here", "not it"),
        ("a NUL in the name", "ro\0ot", "not it"),
        ("a NUL before the name", "\0", "not it"),
        ("a NUL after the right password", name, &cut),
        ("a NUL and more", name, &behind),
        ("a password of 10 MB", name, &huge),
        ("the right password and 10 MB", name, &longer),
        ("a name of 10 MB", &huge, "not it"),
        ("a name of 40 kB", &wide, "not it"),
        ("a name that is long as JSON", &"\u{1}".repeat(6_000), "not it"),
        ("another script", "名前", "密码"),
        ("a path", "../../etc/passwd", "not it"),
        ("lines", "a\nb\r\n", "c\nd"),
    ];
    for (case, name, password) in table {
        match check(authenticator, name, password).await {
            Err(LoginError::Refused(why)) => {
                assert!(!why.is_empty() && why.len() < 1_000, "{case}: {} bytes", why.len());
            }
            other => panic!("{case}: {other:?}"),
        }
    }
}

/// Many checks at the same time: each gets the answer to its own.
async fn at_once(authenticator: &Arc<dyn Authenticator>, people: &[Person]) {
    let checks: Vec<_> = (0..60_usize)
        .map(|n| {
            let (authenticator, person) = (authenticator.clone(), people[n % people.len()].clone());
            tokio::spawn(async move {
                let right = n % 3 != 0;
                let password = if right { person.password.as_str() } else { "not it" };
                match check(&authenticator, &person.typed, password).await {
                    Ok(who) => assert!(right && who.name == person.name, "{n}: {who:?}"),
                    Err(LoginError::Refused(_)) => assert!(!right, "{n} was refused"),
                    Err(other) => panic!("{n}: {other}"),
                }
            })
        })
        .collect();
    for check in checks {
        check.await.unwrap();
    }
}

/// It ends, as something else than a wrong password; who gives up waiting leaves nothing behind.
async fn outage(authenticator: &Arc<dyn Authenticator>, person: &Person, trouble: Trouble) {
    for password in [person.password.as_str(), "not it"] {
        let begun = Instant::now();
        let answer = check(authenticator, &person.typed, password).await;
        let told = matches!(
            (&answer, trouble),
            (Err(LoginError::Timeout(_) | LoginError::Failed(_)), Trouble::Hangs)
                | (Err(LoginError::Failed(_)), Trouble::Broken)
        );
        assert!(told, "{trouble:?}: {answer:?} after {:?}", begun.elapsed());
    }
    let impatient: Vec<_> = (0..40)
        .map(|_| {
            let (authenticator, person) = (authenticator.clone(), person.clone());
            tokio::spawn(async move {
                check(&authenticator, &person.typed, &person.password).await.map(drop)
            })
        })
        .collect();
    tokio::task::yield_now().await;
    for check in impatient {
        check.abort();
        match check.await {
            Ok(answer) => drop(answer.expect_err("nobody comes in during an outage")),
            Err(ended) => assert!(ended.is_cancelled(), "{ended}"),
        }
    }
}

struct Scripted(ScriptedAuthenticator);

impl World for Scripted {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::new(self.0.clone())
    }
    fn people(&self) -> Vec<Person> {
        vec![Person::new("ALICE", "pass word ü", "alice"), Person::new("bob", "b", "bob")]
    }
    fn troubles(&self) -> &'static [Trouble] {
        &[Trouble::Hangs, Trouble::Broken]
    }
    fn trouble(&self, which: Trouble) {
        let down = LoginError::Failed("down".to_owned());
        let (delay, error) = match which {
            Trouble::Hangs => (Duration::from_millis(100), Some(LoginError::Timeout(0))),
            Trouble::Broken => (Duration::ZERO, Some(down)),
            Trouble::None => (Duration::ZERO, None),
        };
        self.0.set_delay(delay);
        self.0.set_failing(error);
    }
}

#[tokio::test]
async fn the_scripted_authenticator_keeps_the_contract() {
    let alice = Identity::named("alice".to_owned());
    let scripted = ScriptedAuthenticator::default()
        .with_identity("ALICE", "pass word ü", alice)
        .with("bob", "b");
    contract(Scripted(scripted)).await;
}

/// The password of everybody at the dummy's.
const EVERYBODYS: &str = "open sesame ☃";

struct Anybody;

impl World for Anybody {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        let settings = sections::Dummy { password: EVERYBODYS.to_owned(), allow_remote: false };
        Arc::new(Dummy::new(settings))
    }
    fn people(&self) -> Vec<Person> {
        let names = ["alice", "Ünal", "名前"];
        names.iter().map(|name| Person::new(name, EVERYBODYS, name)).collect()
    }
    fn troubles(&self) -> &'static [Trouble] {
        &[]
    }
    fn trouble(&self, which: Trouble) {
        assert_eq!(which, Trouble::None, "nothing can go wrong with it");
    }
}

#[tokio::test]
async fn the_dummy_keeps_the_contract() {
    contract(Anybody).await;
}

#[tokio::test]
async fn the_dummy_without_a_password_lets_every_password_in() {
    let open: Arc<dyn Authenticator> = Arc::new(Dummy::new(sections::Dummy::default()));
    for password in ["", "x", "\0"] {
        assert_eq!(check(&open, "Alice", password).await.unwrap().name, "Alice");
    }
}

/// PAM behind a root.
struct Accounts {
    root: TestRoot,
    usual: root::Pam,
    people: Vec<Person>,
    troubles: &'static [Trouble],
    authenticator: Arc<Pam>,
}

impl Accounts {
    async fn new(usual: root::Pam, people: Vec<Person>, timeout: f64) -> Self {
        let root = TestRoot::new(usual.clone());
        let settings = sections::Pam {
            timeout: Seconds::try_from(timeout).unwrap(),
            concurrency: 4,
            ..sections::Pam::default()
        };
        let authenticator = Arc::new(Pam::new(root.connect().await, settings));
        Self { root, usual, people, troubles: &[Trouble::Hangs, Trouble::Broken], authenticator }
    }
}

impl World for Accounts {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.authenticator.clone()
    }
    fn people(&self) -> Vec<Person> {
        self.people.clone()
    }
    fn troubles(&self) -> &'static [Trouble] {
        self.troubles
    }
    fn trouble(&self, which: Trouble) {
        let down = Verdict::Failed { text: "the directory is away".to_owned() };
        self.root.set_pam(match which {
            Trouble::Hangs => root::Pam::Silent,
            Trouble::Broken => root::Pam::Says(RootSays::PamVerdict(down)),
            Trouble::None => self.usual.clone(),
        });
    }
}

#[tokio::test]
async fn pam_keeps_the_contract() {
    let people = vec![Person::new("ALICE", "pass word ü", "alice"), Person::new("bob", "b", "bob")];
    let known = people
        .iter()
        .map(|it| ((it.typed.clone(), it.password.clone()), it.name.clone()))
        .collect::<BTreeMap<_, _>>();
    contract(Accounts::new(root::Pam::Knows(known), people, 0.5).await).await;
}

#[tokio::test]
async fn what_root_says_instead_of_a_verdict_is_no_refusal() {
    let world = Accounts::new(root::Pam::Silent, Vec::new(), 1.0).await;
    let authenticator = world.authenticator();
    let timeout = RootSays::PamVerdict(Verdict::Timeout { seconds: 7 });
    for (word, wanted) in [
        (timeout, "within 7 s"),
        (RootSays::Denied { why: "too many password checks".to_owned() }, "too many"),
        (RootSays::Failed { step: "start helper".to_owned(), errno: 12 }, "start helper"),
        (RootSays::Done, "out of turn"),
    ] {
        world.root.set_pam(root::Pam::Says(word));
        let error = check(&authenticator, "alice", "x").await.unwrap_err();
        assert!(!matches!(error, LoginError::Refused(_)), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn more_checks_than_places_wait_and_then_hear_that_it_is_busy() {
    let world = Accounts::new(root::Pam::Silent, Vec::new(), 0.2).await;
    let checks: Vec<_> = (0..8)
        .map(|_| {
            let authenticator = world.authenticator();
            tokio::spawn(async move { check(&authenticator, "alice", "x").await })
        })
        .collect();
    let mut busy = 0;
    for answer in checks {
        match answer.await.unwrap().unwrap_err() {
            LoginError::Busy => busy += 1,
            LoginError::Timeout(_) => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(busy, 4);
}

#[cfg(feature = "pam")]
#[tokio::test]
async fn pam_by_the_real_helper_keeps_the_contract() {
    crate::as_root!();
    let accounts = [crate::support::Account::make(), crate::support::Account::make()];
    let people = accounts.iter().map(|it| Person::new(&it.name, &it.password, &it.name)).collect();
    let service = Service::quick();
    let helper = root::Pam::Helper(service.name.clone());
    // A limit with room for checks that wait, so too long to wait for; root by script has the hanging.
    let world = Accounts::new(helper, people, 20.0).await;
    contract(Accounts { troubles: &[Trouble::Broken], ..world }).await;
}

/// A PAM service that does not delay refusals.
#[cfg(feature = "pam")]
struct Service {
    name: String,
}

#[cfg(feature = "pam")]
impl Service {
    fn quick() -> Self {
        let name = format!("jv{}", crate::support::unique());
        let stack = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n";
        std::fs::write(format!("/etc/pam.d/{name}"), stack).unwrap();
        Self { name }
    }
}

#[cfg(feature = "pam")]
impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(format!("/etc/pam.d/{}", self.name));
    }
}

use serde_json::{Value, json};

use super::*;
use crate::root::requests::tests::Scene;

/// A root whose control socket lies in a folder of its own.
struct Place {
    scene: Scene,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let mut scene = Scene::greeted();
        let dir = tempfile::tempdir().unwrap();
        scene.root.control = Control::open(dir.path()).unwrap();
        Self { scene, dir }
    }

    fn connect(&self) -> OwnedFd {
        packets::connect(&self.dir.path().join(runtime::CONTROL), Duration::from_secs(5)).unwrap()
    }

    fn say(&mut self, text: &[u8]) -> OwnedFd {
        let client = self.connect();
        fd::send(client.as_fd(), text, &[]).unwrap();
        self.round();
        client
    }

    fn round(&mut self) {
        self.scene.root.hear_operators(Instant::now());
        self.scene.root.tend_operators(Instant::now());
    }
}

fn answer(client: &OwnedFd) -> Value {
    let (bytes, _) = fd::recv(client.as_fd(), 64 * 1024).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Nothing more comes. (A child that another test forks may hold the other end for a moment, until its exec.)
fn has_ended(client: &OwnedFd) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while is_silent(client) && Instant::now() < until {
        std::thread::yield_now();
    }
    fd::recv(client.as_fd(), 10).is_ok_and(|(bytes, _)| bytes.is_empty())
}

fn is_silent(client: &OwnedFd) -> bool {
    fd::recv(client.as_fd(), 10).is_err_and(|error| fd::would_block(&error))
}

#[test]
fn only_we_can_open_it_and_an_old_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    drop(Control::open(dir.path()).unwrap());
    let _second = Control::open(dir.path()).unwrap();
    let path = dir.path().join(runtime::CONTROL);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(packets::connect(&path, Duration::from_secs(5)).is_ok());
}

#[test]
fn what_is_not_understood_is_refused_and_harms_nobody() {
    let mut place = Place::new();
    for text in [&b"x"[..], b"{}", br#"{"command":"reboot"}"#, &[0xff; 100], &[b' '; LIMIT]] {
        let client = place.say(text);
        assert_eq!(answer(&client)["answer"], "refused");
        assert!(has_ended(&client));
    }
    let client = place.say(&vec![b' '; LIMIT + 1]);
    let why = answer(&client)["why"].as_str().unwrap().to_owned();
    assert!(why.contains("longer than allowed"), "{why}");
    let client = place.say(br#"{"command":"status"}"#);
    assert_eq!(answer(&client)["answer"], "root");
}

#[test]
fn who_says_nothing_is_sent_away_and_the_next_ones_are_told() {
    let mut place = Place::new();
    let silent: Vec<_> = (0..MOST).map(|_| place.connect()).collect();
    place.round();
    let one_more = place.connect();
    place.round();
    assert!(answer(&one_more)["why"].as_str().unwrap().contains("too many"));
    assert!(is_silent(&silent[0]));
    place.scene.root.hear_operators(Instant::now() + SPEAK);
    for client in &silent {
        assert_eq!(answer(client)["why"], "you said nothing");
        assert!(has_ended(client));
    }
    let client = place.say(br#"{"command":"status"}"#);
    assert_eq!(answer(&client)["stage"], "serving");
}

#[test]
fn who_hangs_up_is_forgotten() {
    let mut place = Place::new();
    for _ in 0..3 * MOST {
        drop(place.connect());
        place.round();
    }
    assert!(place.scene.root.control.silent.is_empty());
    drop(place.say(br#"{"command":"stop"}"#));
    place.round();
    assert!(place.scene.root.control.leaving.is_empty());
}

#[test]
fn a_hub_that_does_not_read_is_given_no_more_questions() {
    let mut place = Place::new();
    place.scene.root.hub.became_ready(Instant::now());
    let mut refused = 0;
    for _ in 0..2_000 {
        let client = place.say(br#"{"command":"status"}"#);
        assert_eq!(answer(&client)["answer"], "root");
        refused += u32::from(!is_silent(&client));
    }
    assert!(refused > 0);
    assert!(!place.scene.root.hub.process.as_ref().unwrap().link.closed, "its link lives");
}

#[test]
fn a_restart_is_over_when_the_next_one_serves() {
    let mut place = Place::new();
    place.scene.root.hub.became_ready(Instant::now());
    let client = place.say(br#"{"command":"restart","role":"hub"}"#);
    let told = place.scene.hear().0.message;
    assert_eq!(told, RootSays::Stop { hard: false, servers: false });
    assert!(is_silent(&client), "the old one still serves");
    place.scene.root.hub.ended(Instant::now());
    assert_eq!(place.scene.root.hub.due().map(|due| due <= Instant::now()), Some(true));
    place.round();
    assert!(is_silent(&client), "there is none");
    assert_eq!(place.scene.root.hub.status(Instant::now()).restarts, 1);
    let late = place.scene.root.control.replacing[0].until;
    place.scene.root.tend_operators(late);
    assert_eq!(answer(&client)["answer"], "refused");
    assert!(place.scene.root.control.replacing.is_empty());
}

#[test]
fn root_is_not_restarted_alone_and_nothing_is_while_jovis_ends() {
    let mut place = Place::new();
    let client = place.say(br#"{"command":"restart","role":"root"}"#);
    assert_eq!(answer(&client)["answer"], "refused");
    let stopping = place.say(br#"{"command":"stop","servers":"stop"}"#);
    assert_eq!(answer(&stopping), json!({"answer": "done"}));
    assert!(matches!(
        place.scene.root.stage,
        Stage::Proxy { servers: true, .. } | Stage::Hub { servers: true, .. }
    ));
    let client = place.say(br#"{"command":"restart","role":"hub"}"#);
    assert!(answer(&client)["why"].as_str().unwrap().contains("ending"));
    let client = place.say(br#"{"command":"status"}"#);
    assert_ne!(answer(&client)["stage"], "serving");
    assert!(is_silent(&stopping), "until jovis is gone");
}

#[test]
fn a_refused_reload_tells_its_findings() {
    let mut place = Place::new();
    place.scene.root.setup.reload = Box::new(|| Err(vec!["hub.prot: no".to_owned()]));
    let client = place.say(br#"{"command":"reload"}"#);
    assert!(is_silent(&client));
    place.scene.root.tend_reload(Instant::now());
    place.round();
    let told = answer(&client);
    assert!(has_ended(&client));
    assert_eq!(
        (&told["answer"], &told["findings"]),
        (&json!("reloaded"), &json!(["hub.prot: no"]))
    );
}

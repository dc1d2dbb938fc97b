//! What was acknowledged: kept in mind while something breaks, and compared with what is there afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Account, Answer, Visitor, crowd::Crowd};

/// Tells a thread to end when it goes, also in a panic.
#[derive(Default)]
pub struct Over(pub Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Where this user's tokens are.
pub fn tokens_of(account: &Account) -> String {
    format!("/hub/api/users/{}/tokens", account.name)
}

/// Makes a token there: its number and its secret. Otherwise the answer that promised nothing, if there was one.
pub fn issue(visitor: &mut Visitor, path: &str) -> Result<(String, String), Option<Answer>> {
    let form = visitor.cookie("_xsrf", "/hub/").unwrap_or_default();
    let headers = [("X-Xsrftoken", form.as_str()), ("Content-Type", "application/json")];
    let answer = visitor.send("POST", path, &headers, br#"{"note": "kept"}"#).map_err(|_| None)?;
    if answer.status != 201 {
        return Err(Some(answer));
    }
    let word = |name: &str| answer.json()[name].as_str().expect("it has one").to_owned();
    Ok((word("id"), word("token")))
}

/// The numbers of the tokens there, by the API.
pub fn listed(visitor: &mut Visitor, path: &str) -> BTreeSet<String> {
    let answer = visitor.api("GET", path, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let tokens = answer.json()["api_tokens"].as_array().expect("a list").clone();
    tokens.iter().map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

/// Notes of a crowd's tokens, with their owners.
pub type Notes = BTreeMap<String, String>;

/// Writes tokens all the time; those that were acknowledged, and of how many nobody knows.
pub fn write_down(crowd: &Crowd, stop: &AtomicBool) -> (Notes, u32) {
    let (mut kept, mut unknown) = (Notes::new(), 0);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = &crowd.names[number % crowd.names.len()];
        let note = format!("note {number}");
        let body = format!(r#"{{"note": "{note}"}}"#);
        match crowd.api("POST", &format!("/users/{name}/tokens"), &body) {
            Ok(answer) if answer.status == 201 => drop(kept.insert(note, name.clone())),
            // nothing was promised: it may be there or not
            Ok(answer) if answer.status == 503 => unknown += 1,
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            Err(_) => unknown += 1,
        }
        thread::sleep(Duration::from_millis(20));
    }
    (kept, unknown)
}

/// Writes a token for everybody, each of which is acknowledged.
pub fn one_each(crowd: &Crowd, round: usize, kept: &mut Notes) {
    for name in &crowd.names {
        let note = format!("note {name} {round}");
        let body = format!(r#"{{"note": "{note}"}}"#);
        let made = crowd.api("POST", &format!("/users/{name}/tokens"), &body).expect("an answer");
        assert_eq!(made.status, 201, "{}", made.text());
        kept.insert(note, name.clone());
    }
}

/// Is everything that was acknowledged there, once?
pub fn compare(crowd: &Crowd, kept: &Notes) {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for name in &crowd.names {
        let all = crowd.api("GET", &format!("/users/{name}/tokens"), "").expect("an answer");
        for token in all.json()["api_tokens"].as_array().expect("a list") {
            let note = token["note"].as_str().unwrap_or_default().to_owned();
            if note.starts_with("note ") {
                *found.entry(note).or_default() += 1;
            }
        }
    }
    let lost: Vec<_> = kept.keys().filter(|note| !found.contains_key(*note)).collect();
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(lost.is_empty() && doubled.is_empty(), "lost {lost:?}, doubled {doubled:?}");
}

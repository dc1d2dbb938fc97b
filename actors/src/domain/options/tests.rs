use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::profile::UnlistedChoice;

fn offer(value: &str, set: &[(&str, &str)]) -> Offer {
    let environment = set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Offer {
        value: value.into(),
        overrides: Overrides { environment, ..Overrides::default() },
        ..Offer::default()
    }
}

fn option(name: &str, kind: OptionKind) -> ProfileOption {
    ProfileOption { name: name.into(), kind, ..ProfileOption::default() }
}

/// A profile of everything for everybody, and one for a group.
fn profiles() -> Vec<Profile> {
    let choices = vec![offer("3.11", &[]), offer("3.12", &[("PY", "312"), ("WHO", "{username}")])];
    let images = vec![offer("base", &[]), offer("science", &[])];
    let unlisted_choice = UnlistedChoice {
        enabled: true,
        validation_regex: "quay\\.io/[a-z]+".into(),
        validation_message: "only of quay.io".into(),
        ..UnlistedChoice::default()
    };
    let memory = Number { min: 1.0, max: 8.0, step: 0.5, unit: "GB".into(), default: 2.0 };
    let note = Text { max_length: 5, pattern: "[a-zü]*".into(), ..Text::default() };
    let mut nodes = option("nodes", OptionKind::Number(Number { max: 4.0, ..Number::default() }));
    nodes.groups = vec!["staff".into()];
    let small = Profile {
        slug: "small".into(),
        profile_options: vec![
            option("python", OptionKind::Choice(Choice { default: "3.12".into(), choices })),
            option("memory", OptionKind::Number(memory)),
            option("note", OptionKind::Text(note)),
            option(
                "image",
                OptionKind::Image(Image { choices: images, unlisted_choice, ..Image::default() }),
            ),
            nodes,
        ],
        overrides: Overrides {
            environment: [("NOTE".to_owned(), "<{note}>".to_owned())].into(),
            args: vec!["--python={python}".into()],
            mem_limit: "{memory}G".into(),
            notebook_dir: "~/{username}/{nothing}".into(),
            ..Overrides::default()
        },
        ..Profile::default()
    };
    let large = Profile {
        slug: "large".into(),
        groups: vec!["staff".into()],
        default: true,
        ..Profile::default()
    };
    vec![small, large]
}

fn everybody(_: &str) -> bool {
    false
}

fn staff(group: &str) -> bool {
    group == "staff"
}

fn checked(given: Value) -> Result<Value, Vec<String>> {
    let given = given.as_object().unwrap().clone();
    match check(&profiles(), &everybody, &given) {
        Ok(chosen) => Ok(Value::Object(chosen.options())),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_choice_is_completed_by_defaults() {
    let all = json!({
        "profile": "small", "python": "3.12", "memory": 2, "note": "", "image": "base", "nodes": 0
    });
    assert_eq!(checked(json!({})), Ok(all.clone()));
    assert_eq!(checked(json!({"profile": ["small"]})), Ok(all), "a form sends lists");
    let some = json!({"memory": "2.5", "note": ["für"], "image--unlisted-choice": "quay.io/x"});
    let got = checked(some).unwrap();
    assert_eq!(
        (&got["memory"], &got["note"], &got["image"]),
        (&json!(2.5), &json!("für"), &json!("quay.io/x"))
    );
}

#[test]
fn whatever_is_wrong_is_said_of_its_field() {
    for (given, words) in [
        (json!({"profile": "tiny"}), "profile: there is no such choice"),
        (json!({"profile": "large"}), "profile: this is not for you to choose"),
        (json!({"profile": 1}), "profile: a text is expected"),
        (json!({"profile": ["small", "large"]}), "profile: a text is expected"),
        (json!({"python": "2.7"}), "python: there is no such choice"),
        (json!({"python": ["3.11", "3.12"]}), "python: a text is expected"),
        (json!({"python": {"a": 1}}), "python: a text is expected"),
        (json!({"python": null}), "python: a text is expected"),
        (json!({"memory": 0.5}), "memory: at least 1 is needed"),
        (json!({"memory": 1e300}), "memory: at most 8 is possible"),
        (json!({"memory": "1e400"}), "memory: a number is expected"),
        (json!({"memory": "nan"}), "memory: a number is expected"),
        (json!({"memory": "0x2"}), "memory: a number is expected"),
        (json!({"memory": true}), "memory: a number is expected"),
        (json!({"memory": " "}), "memory: please fill this in"),
        (json!({"memory": 2.25}), "memory: only steps of 0.5 are possible, from 1 on"),
        (json!({"note": "abcdef"}), "note: at most 5 characters are possible"),
        (json!({"note": "A"}), "note: it does not have the form that is needed"),
        (json!({"note": "a\nb"}), "note: it holds characters that cannot be shown"),
        (json!({"note": "a\u{202e}b"}), "note: it holds characters that cannot be shown"),
        (json!({"note": "a\0"}), "note: it holds characters that cannot be shown"),
        (json!({"image": "docker.io/x"}), "image: only of quay.io"),
        (json!({"image": "quay.io/x\n"}), "image: it holds characters that cannot be shown"),
        (json!({"image": "xquay.io/x"}), "image: only of quay.io"),
        (json!({"nodes": 2}), "nodes: this is not for you to choose"),
        (json!({"color": "red"}), "color: there is no such option"),
        (json!({"note--unlisted-choice": "x"}), "note--unlisted-choice: there is no such option"),
        (json!({"__proto__": {}}), "__proto__: there is no such option"),
    ] {
        assert_eq!(checked(given.clone()), Err(vec![words.to_owned()]), "{given}");
    }
    let many = checked(json!({"python": "2.7", "memory": 0, "color": 1})).unwrap_err();
    assert_eq!(many.len(), 3, "each of them: {many:?}");
    assert_eq!(
        check(&profiles()[1..], &everybody, &Map::new()).unwrap_err()[0].wrong,
        Wrong::NoProfile
    );
}

#[test]
fn groups_open_profiles_and_options() {
    let given = json!({"profile": "small", "nodes": 2}).as_object().unwrap().clone();
    assert_eq!(check(&profiles(), &staff, &given).unwrap().values["nodes"], json!(2));
    assert_eq!(
        check(&profiles(), &staff, &Map::new()).unwrap().profile,
        "large",
        "the default one"
    );
    assert_eq!(offered(&profiles(), &everybody).len(), 1);
    assert_eq!(checked(json!({"nodes": 0})).unwrap()["nodes"], 0, "said, but not chosen");
}

#[test]
fn what_was_chosen_last_is_kept_as_far_as_it_may_be() {
    let last = |value: Value| {
        let kept = remembered(&profiles(), &everybody, Some(&value)).unwrap();
        Value::Object(kept.options())
    };
    let kept = last(json!({"profile": "small", "memory": 4, "python": "2.7", "nodes": 3, "x": 1}));
    assert_eq!(
        (&kept["memory"], &kept["python"], &kept["nodes"]),
        (&json!(4), &json!("3.12"), &json!(0))
    );
    for other in [
        json!({"profile": "large"}),
        json!({"profile": 7}),
        json!([1]),
        json!(null),
        json!({"a": ["1"]}),
    ] {
        assert_eq!(last(other.clone())["profile"], "small", "{other}");
    }
}

#[test]
fn a_choice_sets_what_its_profile_and_its_values_say() {
    let holes = [("username".to_owned(), "bob".to_owned())].into();
    let set = |given: Value| {
        let given = given.as_object().unwrap().clone();
        apply(&profiles(), &check(&profiles(), &everybody, &given).unwrap(), &holes).unwrap()
    };
    let it = set(json!({"note": "a", "memory": 1.5}));
    assert_eq!(it.environment["NOTE"], "<a>");
    assert_eq!((it.environment["PY"].as_str(), it.environment["WHO"].as_str()), ("312", "bob"));
    assert_eq!(
        (it.args.as_slice(), it.image.as_str()),
        (&["--python=3.12".to_owned()][..], "base")
    );
    assert_eq!(it.notebook_dir, "~/bob/{nothing}", "what is no hole stays");
    assert_eq!(it.memory(), Ok(Some(3 << 29)));
    let other = set(json!({"python": "3.11", "image": "quay.io/x"}));
    assert_eq!((other.environment.get("PY"), other.image.as_str()), (None, "quay.io/x"));
    let gone = Chosen { profile: "gone".into(), values: BTreeMap::new() };
    assert!(apply(&profiles(), &gone, &holes).is_err());
}

#[test]
fn what_was_filled_in_is_not_filled_in_again() {
    let mut all = profiles();
    let OptionKind::Text(note) = &mut all[0].profile_options[2].kind else { panic!() };
    (note.pattern, note.max_length) = (String::new(), 100);
    let given = json!({"note": "{username}{python}"}).as_object().unwrap().clone();
    let chosen = check(&all, &everybody, &given).unwrap();
    let holes = [("username".to_owned(), "bob".to_owned())].into();
    assert_eq!(apply(&all, &chosen, &holes).unwrap().environment["NOTE"], "<{username}{python}>");
}

#[test]
fn amounts_are_read_as_jupyterhub_reads_them() {
    let bytes = |text: &str| Overrides { mem_limit: text.into(), ..Overrides::default() }.memory();
    assert_eq!(bytes(""), Ok(None));
    assert_eq!(
        (bytes("1024"), bytes("2K"), bytes("0.5G")),
        (Ok(Some(1024)), Ok(Some(2048)), Ok(Some(1 << 29)))
    );
    assert_eq!((bytes("3M"), bytes("1T")), (Ok(Some(3 << 20)), Ok(Some(1 << 40))));
    for bad in ["G", "-1G", "1X", "nan", "1e400", "{memory}G"] {
        assert_eq!(bytes(bad), Err(Wrong::NoAmount("mem_limit")), "{bad}");
    }
}

#[test]
fn a_pattern_that_would_explode_elsewhere_is_quick() {
    assert!(!matches("(a+)+b", &"a".repeat(1000)));
    assert!(pattern("a{1000}{1000}{1000}").is_err(), "too large");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop::sample::select(vec!["small", "3.11", "2", "base", "", "quay.io/x"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,5}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever comes is refused with words or becomes a choice that is right in itself, and stays so when it is checked
    /// again: by whoever starts the server, or after a restart.
    #[test]
    fn whatever_comes_is_refused_or_becomes_a_choice_that_lasts(
        given in prop::collection::hash_map(
            prop::sample::select(vec!["profile", "python", "memory", "note", "image", "image--unlisted-choice", "nodes", "zzz"]),
            json_value(), 0..5),
    ) {
        let given: Map<String, Value> = given.into_iter().map(|(name, it)| (name.to_owned(), it)).collect();
        match check(&profiles(), &everybody, &given) {
            Ok(chosen) => {
                prop_assert_eq!(check(&profiles(), &everybody, &chosen.options()), Ok(chosen.clone()));
                let options = Value::Object(chosen.options());
                prop_assert_eq!(remembered(&profiles(), &everybody, Some(&options)), Ok(chosen.clone()));
                prop_assert!(apply(&profiles(), &chosen, &BTreeMap::new()).is_ok());
                prop_assert!(options.to_string().len() < 2 * MOST_BYTES);
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                prop_assert!(faults.iter().all(|fault| fault.field.len() < 300));
            }
        }
    }
}

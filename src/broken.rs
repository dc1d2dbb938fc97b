//! Ways for a program to be broken, for the tests of an upgrade (feature `faults`): `JOVIS_BROKEN=ROLE:HOW` in its
//! environment. Without the feature nothing here does anything.

/// Breaks here, if this role is to be broken. `spared`: not this time.
#[cfg(feature = "faults")]
pub(crate) fn act(role: &str, spared: bool) {
    let how = std::env::var("JOVIS_BROKEN").unwrap_or_default();
    match how.split_once(':') {
        Some((who, how)) if who == role && !spared => match how {
            "panic" => panic!("broken on purpose"),
            "abort" => std::process::abort(),
            "hang" => loop {
                std::thread::sleep(std::time::Duration::from_secs(60));
            },
            "exit" => end(),
            _ => {}
        },
        _ => {}
    }
}

/// Nothing.
#[cfg(not(feature = "faults"))]
pub(crate) fn act(_: &str, _: bool) {}

#[cfg(feature = "faults")]
#[expect(clippy::disallowed_methods, reason = "to be gone at once is what is wanted")]
fn end() -> ! {
    std::process::exit(7)
}

/// What roles inherit of that.
pub(crate) fn environment() -> Vec<(String, String)> {
    let how = std::env::var("JOVIS_BROKEN").ok().filter(|_| cfg!(feature = "faults"));
    how.map(|how| ("JOVIS_BROKEN".to_owned(), how)).into_iter().collect()
}

/// By how much the version is wrong that this role says it speaks.
pub(crate) fn shift(role: &str) -> u32 {
    let wanted = format!("{role}:version");
    u32::from(
        cfg!(feature = "faults") && std::env::var("JOVIS_BROKEN").is_ok_and(|it| it == wanted),
    )
}

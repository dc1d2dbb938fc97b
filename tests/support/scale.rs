//! How much of a promise a run shows: scaled down in `make test`, whole in `make chaos`.
//!
//! `JOVIS_SCALE=full` runs the numbers of `RELIABILITY.md`, `JOVIS_STRICT=1` holds times to the promise itself. Without
//! them a test is short, and a time may be five times what is promised: two cores and other tests beside it.

use std::time::Duration;

/// Is this the whole thing?
pub fn full() -> bool {
    std::env::var("JOVIS_SCALE").is_ok_and(|scale| scale == "full")
}

/// The smaller of two numbers in a short run, the promised one in a whole run.
pub fn scaled<T>(small: T, whole: T) -> T {
    if full() { whole } else { small }
}

/// What a test asserts where `limit` is promised.
pub fn promise(limit: Duration) -> Duration {
    if std::env::var("JOVIS_STRICT").is_ok_and(|strict| strict == "1") { limit } else { limit * 5 }
}

//! Signed values: what the hub's cookies carry (`spec/oauth-and-cookies.md` 5.1).
//!
//! `2|1:0|LEN:SECONDS|LEN:NAME|LEN:BASE64|SIGNATURE`, the signature being HMAC-SHA256 in lower-case hex over everything
//! before it. The same form as the reference's, so that sign-ins survive a migration that keeps the secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;

/// Signs `value` as the content of the cookie `name` at `now` (seconds since 1970).
pub(crate) fn sign(secret: &[u8], name: &str, value: &str, now: i64) -> String {
    let (stamp, value) = (now.to_string(), STANDARD.encode(value));
    let mut text = String::from("2|");
    for field in ["0", &stamp, name, &value] {
        text.push_str(&format!("{}:{field}|", field.len()));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, text.as_bytes());
    text.extend(signature.as_ref().iter().map(|byte| format!("{byte:02x}")));
    text
}

/// The value, if the signature is ours, the name is this one and it is at most `max_age` seconds old.
pub(crate) fn verify(
    secret: &[u8],
    name: &str,
    text: &str,
    max_age: i64,
    now: i64,
) -> Option<String> {
    let (signed, signature) = text.rsplit_once('|')?;
    let signed = &text[..=signed.len()];
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, signed.as_bytes(), &unhex(signature)?).ok()?;
    let mut rest = signed.strip_prefix("2|")?;
    let (_key_version, stamp) = (field(&mut rest)?, field(&mut rest)?);
    let (named, value) = (field(&mut rest)?, field(&mut rest)?);
    let stamp: i64 = stamp.parse().ok()?;
    // A stamp a day ahead is no clock error any more.
    let fresh = now.saturating_sub(stamp) <= max_age && stamp.saturating_sub(now) <= 86_400;
    if !rest.is_empty() || named != name || !fresh {
        return None;
    }
    String::from_utf8(STANDARD.decode(value).ok()?).ok()
}

/// Takes `LEN:TEXT|` off the front.
fn field<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (length, after) = rest.split_once(':')?;
    let length: usize = length.parse().ok()?;
    let text = after.get(..length)?;
    *rest = after.get(length..)?.strip_prefix('|')?;
    Some(text)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !lower || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with Python's hmac and base64, not with this code.
    const VECTOR: &str = "2|1:0|10:1795300000|20:jupyterhub-hub-login|44:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=|f39b68f87bdb907fb1e4d97909dbd0b6014ea8a6c9f58f01130a9fabd78ed2b7";
    const NAME: &str = "jupyterhub-hub-login";
    const VALUE: &str = "0123456789abcdef0123456789abcdef";

    fn secret() -> Vec<u8> {
        (0..32).collect()
    }

    #[test]
    fn the_form_is_the_references() {
        assert_eq!(sign(&secret(), NAME, VALUE, 1_795_300_000), VECTOR);
        let read = |age, now| verify(&secret(), NAME, VECTOR, age, now);
        assert_eq!(read(100, 1_795_300_100).as_deref(), Some(VALUE));
        assert_eq!(read(100, 1_795_300_101), None);
        assert_eq!(read(100, 1_795_300_000 - 86_401), None);
        assert_eq!(verify(&secret(), "other", VECTOR, 100, 1_795_300_000), None);
        assert_eq!(verify(b"other", NAME, VECTOR, 100, 1_795_300_000), None);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at in 0..VECTOR.len(), new in 32u8..127) {
            let mut bytes = VECTOR.as_bytes().to_vec();
            prop_assume!(bytes[at] != new);
            bytes[at] = new;
            let text = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(verify(&secret(), NAME, &text, 1 << 40, 1_795_300_000), None);
        }

        #[test]
        fn nonsense_is_refused_without_a_panic(text in ".{0,80}") {
            prop_assert_eq!(verify(&secret(), NAME, &text, 1 << 40, 0), None);
        }

        #[test]
        fn what_was_signed_is_read_back(name in "[a-z_-]{1,30}", value in ".{0,60}", now in 0i64..1 << 40) {
            let text = sign(&secret(), &name, &value, now);
            prop_assert_eq!(verify(&secret(), &name, &text, 0, now), Some(value));
        }
    }
}

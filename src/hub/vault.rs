//! What is kept about people, sealed: AES-256-GCM, a fresh random nonce each time.
//!
//! `1.` and base64url of nonce, sealed bytes and tag. The first key seals; all open, so that a new one can be put in front of
//! an old one, and the old one taken out when everybody has signed in again.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jovis_actors::{domain::Secret, ports::Vault};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

/// What it is for, so that bytes sealed for something else are not taken for it.
const PURPOSE: &[u8] = b"jovis auth_state 1";
/// The form.
const FORM: &str = "1.";

/// Keys.
pub(super) struct Sealed(Vec<LessSafeKey>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl Sealed {
    /// With these keys, 32 bytes each; none without any.
    pub(super) fn new(keys: &[Secret<Vec<u8>>]) -> Option<Self> {
        let keys: Option<Vec<_>> = keys
            .iter()
            .map(|key| Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.reveal()).ok()?)))
            .collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }
}

impl Vault for Sealed {
    fn seal(&self, open: &Secret) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = open.reveal().clone().into_bytes();
        let key = self.0.first()?;
        let at = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(at, Aad::from(PURPOSE), &mut sealed).ok()?;
        Some(format!("{FORM}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    fn open(&self, sealed: &str) -> Option<Secret> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(FORM)?).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut open = Zeroizing::new(sealed.to_vec());
            let open = key.open_in_place(nonce, Aad::from(PURPOSE), &mut open).ok()?;
            Some(Secret::new(String::from_utf8(open.to_vec()).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(keys: &[u8]) -> Sealed {
        let keys: Vec<_> = keys.iter().map(|key| Secret::new(vec![*key; 32])).collect();
        Sealed::new(&keys).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_under_the_same_key_and_no_other() {
        let open = Secret::new("{\"access_token\": \"hunter2\"}".to_owned());
        let sealed = vault(&[1]).seal(&open).unwrap();
        assert!(!sealed.contains("hunter2"));
        assert_ne!(vault(&[1]).seal(&open).unwrap(), sealed, "never the same twice");
        assert_eq!(vault(&[1]).open(&sealed), Some(open.clone()));
        assert_eq!(vault(&[2, 1]).open(&sealed), Some(open.clone()), "an old key still opens");
        let newer = vault(&[2, 1]).seal(&open).unwrap();
        assert_eq!((vault(&[1]).open(&newer), vault(&[2]).open(&newer)), (None, Some(open)));
        assert!(Sealed::new(&[]).is_none() && Sealed::new(&[Secret::new(vec![1; 31])]).is_none());
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let sealed = vault(&[1]).seal(&Secret::new("x".to_owned())).unwrap();
        for at in 0..sealed.len() {
            let mut other = sealed.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(vault(&[1]).open(&other), None, "{at}");
        }
        for bad in ["", "1.", "1.AAAA", "2.AAAA"] {
            assert_eq!(vault(&[1]).open(bad), None);
        }
    }
}

//! The id of one act of starting a server.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Names one act of starting. It is recorded before the act and travels to where the act happens (root's table, a
/// container's label), so that after a crash one can ask "do you know this order?". 26 characters `[0-9a-z]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(Arc<str>);

impl OrderId {
    /// From random bytes (16 of them make 26 characters).
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut number = u128::from_be_bytes(bytes);
        let mut text = [0u8; 26];
        for place in text.iter_mut().rev() {
            *place = DIGITS[(number & 31) as usize];
            number >>= 5;
        }
        Self(std::str::from_utf8(&text).expect("digits are ASCII").into())
    }

    /// The plain text; safe as a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for OrderId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let legal =
            text.len() == 26 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if legal { Ok(Self(text.into())) } else { Err("not an order id".to_owned()) }
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> String {
        id.0.as_ref().to_owned()
    }
}

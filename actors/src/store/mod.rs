//! The one writer. Reads take the current [`Image`] from any thread; changes are pure decisions on it, journalled in
//! groups, and answered once durable. (DESIGN: "The store".)
//!
//! [`image`] is what there is, [`client`] the door, `writer` one group's way from decision to answer,
//! [`open`](mod@open) the first load and the thread.

pub mod client;
pub mod image;
pub mod open;
mod writer;

pub use client::{ChangeError, Client};
pub use image::{Changes, Image, Write};
pub use open::{Settings, open};

#[cfg(test)]
mod tests;

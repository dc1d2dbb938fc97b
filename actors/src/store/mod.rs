//! The one writer. Reads take the current [`Image`] from any thread; changes are pure decisions on it, journalled in
//! groups, and answered once durable. (DESIGN: "The store".)

pub mod client;
pub mod image;

pub use client::{ChangeError, Client};
pub use image::{Image, Write};

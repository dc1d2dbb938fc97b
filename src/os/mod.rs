//! The operating system, and the only place with `unsafe`. One file per kind of thing; everything above calls safe
//! functions.

pub mod fd;
pub mod listeners;
pub mod memory;
pub mod packets;
#[cfg(feature = "pam")]
pub mod pam;
pub mod process;
pub mod reexec;
pub mod signals;
pub mod users;

//! The operating system, and the only place with `unsafe`. One file per kind of thing; everything above calls safe
//! functions.

pub mod fd;

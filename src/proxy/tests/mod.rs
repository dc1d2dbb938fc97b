//! The whole proxy over real sockets on loopback.

mod framing;
mod hub;
mod life;
mod support;
mod traffic;

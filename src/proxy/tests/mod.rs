//! The whole proxy over real sockets on loopback.

mod floods;
mod framing;
mod http2;
mod hub;
mod lane;
mod life;
mod listening;
mod secure;
mod support;
mod traffic;

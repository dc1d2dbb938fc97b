//! The whole proxy over real sockets on loopback.

mod corpus;
mod floods;
mod framing;
mod gone;
mod half;
mod http2;
mod hub;
mod lane;
mod life;
mod listening;
mod protocol;
mod secure;
mod soak;
mod support;
mod traffic;
mod tunnels;

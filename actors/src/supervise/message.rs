//! How actors take messages: one way for all of them, past a point where tests can make them fail.

/// How an actor answers one kind of message: what `actix::Handler` is, but for the point that every message passes first
/// (see [`faults`]). List the message in `handles!`, or the actor does not take it.
pub trait On<M: actix::Message>: actix::Actor {
    /// What it answers with.
    type Result: actix::dev::MessageResponse<Self, M>;

    /// Answers.
    fn on(&mut self, message: M, ctx: &mut Self::Context) -> Self::Result;
}

/// The messages an actor takes: `handles!(Actor as "routes": Set, Remove)` makes it take each by its
/// [`On`], after passing the point `routes:Set`, and lists them in `MESSAGES`. The one way to take a message, so that no
/// test of panics forgets one (`tests/layering.rs` looks).
macro_rules! handles {
    ($actor:ty as $name:literal: $($message:ident),+ $(,)?) => {
        /// Every message it takes, as the points they pass.
        pub(crate) const MESSAGES: &[&str] =
            &[$(concat!($name, ":", stringify!($message))),+];

        $(
            impl actix::Handler<$message> for $actor {
                type Result = <Self as $crate::supervise::On<$message>>::Result;
                fn handle(&mut self, message: $message, ctx: &mut Self::Context) -> Self::Result {
                    $crate::supervise::faults::point($name, stringify!($message));
                    $crate::supervise::On::<$message>::on(self, message, ctx)
                }
            }
        )+
    };
}

pub(crate) use handles;

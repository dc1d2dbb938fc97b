//! A message that kills: for tests of what follows a panic.

/// Panic.
#[derive(Debug, Clone, Copy, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Poison;

/// Lets tests send [`Poison`] to this actor.
macro_rules! takes_poison {
    ($actor:ty) => {
        impl actix::Handler<$crate::supervise::poison::Poison> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::supervise::poison::Poison, _: &mut Self::Context) {
                panic!("poisoned on purpose");
            }
        }
    };
}

pub(crate) use takes_poison;

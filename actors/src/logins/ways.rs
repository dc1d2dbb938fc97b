//! The ways to sign in that a hub has, each with an authenticator of its own. The first is the one without a name.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::ports::{Authenticator, Flow};

/// One way.
#[derive(Clone)]
pub struct Way {
    /// Its name, in forms, addresses and on buttons; the first has none.
    pub name: String,
    /// Put before each name it vouches for, so that the same name of two providers is not the same user.
    pub prefix: String,
    /// Who is it?
    pub authenticator: Arc<dyn Authenticator>,
}

impl Way {
    /// The only one, or the first.
    pub fn first(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { name: String::new(), prefix: String::new(), authenticator }
    }
}

/// All of them; replaced as a whole when settings are. An attempt under way ends with the one it began with.
pub type Ways = Arc<ArcSwap<Vec<Way>>>;

/// What a sign-in page offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The way's name.
    pub name: String,
    /// What the visitor does.
    pub kind: OfferKind,
}

/// How one signs in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferKind {
    /// Fills in a form.
    Form {
        /// What its field for a one-time code is called, if it has one.
        otp: Option<String>,
    },
    /// Goes to a provider of this name.
    Service(String),
}

/// What these ways offer, in their order.
pub fn offers(ways: &[Way]) -> Vec<Offer> {
    let offer = |way: &Way| Offer {
        name: way.name.clone(),
        kind: match way.authenticator.flow() {
            Flow::Password(password) => {
                OfferKind::Form { otp: password.otp().map(ToOwned::to_owned) }
            }
            Flow::Redirect(redirect) => OfferKind::Service(redirect.service().to_owned()),
        },
    };
    ways.iter().map(offer).collect()
}

/// The way of this name.
pub fn find(ways: &[Way], name: &str) -> Option<Way> {
    ways.iter().find(|way| way.name == name).cloned()
}

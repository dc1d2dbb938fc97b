//! Names of users as clients write them. (`spec/rest-api.md` 1.12.)

use std::collections::BTreeMap;

use jovis_actors::domain::{InvalidName, Username};

use crate::web::call::Call;

/// Makes names of what is written in lists, as a sign-in does: in lower case, then by `username_map`. Blanks at the ends
/// are no slip of a person here, and are refused.
pub(crate) struct Normaliser {
    map: BTreeMap<String, String>,
}

impl Normaliser {
    /// By the settings of this call.
    pub(crate) fn of(call: &Call) -> Self {
        let map = call.settings.auth.username_map.iter();
        Self { map: map.map(|(from, to)| (from.to_lowercase(), to.clone())).collect() }
    }

    /// The user's name.
    pub(crate) fn name(&self, written: &str) -> Result<Username, InvalidName> {
        let lowered = written.to_lowercase();
        Username::new(self.map.get(&lowered).unwrap_or(&lowered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_then_mapped() {
        let map = [("bob".to_owned(), "Robert".to_owned())].into();
        let names = Normaliser { map };
        let name = |text| names.name(text).map(|name| name.to_string());
        assert_eq!(name("Alice"), Ok("alice".into()));
        assert_eq!(name("BOB"), Ok("Robert".into()));
        assert_eq!(name(" bob"), Err(InvalidName::Character));
        assert_eq!(name(""), Err(InvalidName::Empty));
    }
}

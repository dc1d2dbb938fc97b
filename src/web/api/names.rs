//! Names of users as clients write them. (`spec/rest-api.md` 1.12.)

use jovis_actors::domain::Naming;

use crate::web::{call::Call, error::Error};

/// What the settings of this call say about names.
pub(crate) fn naming(call: &Call) -> Result<Naming, Error> {
    call.settings.auth.naming().map_err(Error::failed)
}

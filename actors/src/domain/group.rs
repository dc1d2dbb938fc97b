//! Groups of users.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::GroupName;

/// Names a group for good: it is never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupId(pub u64);

/// A group. Who is in it stands in records of its own: there may be very many, and each comes and goes alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Key of all that belongs to the group.
    pub id: GroupId,
    /// Its name.
    pub name: GroupName,
    /// Whatever somebody keeps here (`properties` on the wire).
    pub properties: Arc<serde_json::Map<String, serde_json::Value>>,
}

use jovis_actors::domain::{role::RoleEntry, scope::Custom};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A role: a named list of scopes, and who has it. (JupyterHub's `load_roles`.)
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Role {
    /// Its name: 3 to 255 of a-z, 0-9 and - . _ ~. `user`, `admin`, `server` and `token` are there already; an entry
    /// with such a name changes it (of `admin` only who has it).
    pub name: String,
    /// For people. Unset: a default role keeps its own.
    pub description: Option<String>,
    /// What it grants, such as `list:users` or `servers!group=class`. Unset: a default role keeps its own.
    pub scopes: Option<Vec<String>>,
    /// Who has it; made where unknown. Of `admin`: if set, nobody else is an administrator but `auth.admin_users`.
    pub users: Option<Vec<String>>,
    /// Groups whose members have it; made where unknown.
    pub groups: Vec<String>,
    /// Services that have it, of `services`.
    pub services: Vec<String>,
}

impl From<&Role> for RoleEntry {
    fn from(role: &Role) -> Self {
        Self {
            name: role.name.clone(),
            description: role.description.clone(),
            scopes: role.scopes.clone(),
            users: role.users.clone().unwrap_or_default(),
            groups: role.groups.clone(),
            services: role.services.clone(),
        }
    }
}

/// A group and who is in it. (JupyterHub's `load_groups`.)
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadGroup {
    /// Who is in it, besides those who are already; made where unknown.
    pub users: Vec<String>,
    /// Whatever is to be kept with it; takes the place of what is there. Unset: that stays.
    pub properties: Option<Map<String, Value>>,
}

/// A scope of one's own, which services ask about. (JupyterHub's `custom_scopes`.)
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustomScope {
    /// For people, on the page that asks for consent.
    pub description: String,
    /// What it brings with it: others of one's own.
    pub subscopes: Vec<String>,
}

impl From<&CustomScope> for Custom {
    fn from(scope: &CustomScope) -> Self {
        Self { description: scope.description.clone(), subscopes: scope.subscopes.clone() }
    }
}

use std::{collections::BTreeMap, fmt};

use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::spawner::one_or_many;

/// A service: a program beside the hub. (An entry of JupyterHub's `services`.)
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it listens: `http://127.0.0.1:10101`. Then it is reached at `/services/NAME/`. Empty: it has no page.
    pub url: String,
    /// The program the hub runs and restarts, with its arguments. Empty: somebody else runs it.
    #[serde(deserialize_with = "one_or_many")]
    pub command: Vec<String>,
    /// Folder the program starts in. Empty: its account's home, or `/`.
    pub cwd: String,
    /// Further environment variables for the program.
    pub environment: BTreeMap<String, String>,
    /// Account the program runs as. Empty: `root.service_user`.
    pub user: String,
    /// Its token for the hub's API. Empty: one that the hub runs gets a fresh one at each start, others have none.
    pub api_token: String,
    /// Has it the role `admin`? (Old; give it a role of `roles` instead.)
    pub admin: bool,
    /// Is it shown in the Services menu, to those who may use it?
    pub display: bool,
    /// Whatever is to be told about it by the API.
    pub info: Map<String, Value>,
    /// Seconds it may take to answer at `url` before that is told.
    pub timeout: Seconds,
    /// Its name as OAuth client. Empty: `service-NAME`. It begins with `service-`.
    pub oauth_client_id: String,
    /// Where browsers come back to after signing in. Empty: `oauth_callback` below its prefix.
    pub oauth_redirect_uri: String,
    /// Do not ask users whether it may know who they are.
    pub oauth_no_confirm: bool,
    /// What tokens of its visitors may carry, besides knowing who they are.
    pub oauth_client_allowed_scopes: Vec<String>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            command: Vec::new(),
            cwd: String::new(),
            environment: BTreeMap::new(),
            user: String::new(),
            api_token: String::new(),
            admin: false,
            display: true,
            info: Map::new(),
            timeout: Seconds::new(30),
            oauth_client_id: String::new(),
            oauth_redirect_uri: String::new(),
            oauth_no_confirm: false,
            oauth_client_allowed_scopes: Vec::new(),
        }
    }
}

impl Service {
    /// Does the hub run it?
    pub fn is_managed(&self) -> bool {
        !self.command.is_empty()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.environment.keys().collect();
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("url", &self.url)
            .field("command", &self.command)
            .field("user", &self.user)
            .field("environment", &variables)
            .finish_non_exhaustive()
    }
}

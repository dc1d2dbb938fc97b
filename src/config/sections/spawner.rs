use std::{collections::BTreeMap, fmt};

use jovis_actors::domain::{Seconds, profile::Profile};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};

use super::docker::Docker;

/// How user servers are started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spawner {
    /// The spawner: `Local()` (as the user), `Docker(..)` (in a container) or `Simple(..)` (all as one account, for
    /// development).
    pub class: SpawnerClass,
    /// The program, looked up in PATH after dropping privilege, and its first arguments.
    #[serde(deserialize_with = "one_or_many")]
    pub cmd: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Folder the server shows. `~` is the user's home; `{username}` is filled in.
    pub notebook_dir: String,
    /// Page the server opens with. `{username}` is filled in.
    pub default_url: String,
    /// Address servers listen on.
    pub ip: String,
    /// Port servers listen on. 0: a free one of `ports`.
    pub port: u16,
    /// Range of ports to draw from, first and last.
    pub ports: (u16, u16),
    /// Further environment variables for servers; they go before all others.
    #[serde(alias = "env")]
    pub environment: BTreeMap<String, String>,
    /// Variables that a user's server gets out of what the provider gave us for that user, each with its field there:
    /// `{"GITHUB_TOKEN": "access_token", "MAIL": "github_user.email"}`. It needs `auth.enable_auth_state`. Whoever can run
    /// something in the server can read them.
    pub auth_state_environment: BTreeMap<String, String>,
    /// Variables servers inherit from the environment jovis was started with.
    pub env_keep: Vec<String>,
    /// What people choose from when they start a server, in the order of the form. Each is a
    /// `(slug: "small", display_name: "Small", overrides: (..))`. None: nobody is asked, and what clients choose is kept
    /// without effect.
    pub profiles: Vec<Profile>,
    /// Scopes of the token a server is given, as far as its user holds them; `!server` stands for the server. Empty: those
    /// of the role `server`. `users:activity!user` is always among them.
    pub server_token_scopes: Vec<String>,
    /// Scopes that a server may ask of its visitors, besides access and who they are.
    pub oauth_client_allowed_scopes: Vec<String>,
    /// Seconds until the spawner must have produced a process.
    pub start_timeout: Seconds,
    /// Seconds the new server then has to answer its first request.
    pub http_timeout: Seconds,
    /// Start servers with debug output.
    pub debug: bool,
    /// Servers do not read their users' own configuration.
    pub disable_user_config: bool,
    /// Start a server again that ended by itself.
    pub restart: Restart,
    /// Seconds between two comparisons of the records with what the spawner runs: what has gone unnoticed is noticed, what
    /// no record knows is stopped.
    pub reconcile_interval: Seconds,
    /// Seconds between two measurements of memory and processor time of all servers, for their owners and administrators.
    /// 0: not measured.
    pub usage_interval: Seconds,
    /// Bytes of a server's output that are kept (the newest). They lie in `state_dir`, on the store's volume, and are
    /// cut once a second; what a server writes in between can be more.
    pub log_size: u64,
    /// Most open files of a server. 0: as root has.
    pub open_files: u64,
    /// Seconds to wait after SIGINT.
    pub interrupt_timeout: Seconds,
    /// Seconds to wait after SIGTERM.
    pub term_timeout: Seconds,
    /// Seconds to wait after SIGKILL.
    pub kill_timeout: Seconds,
}

impl Default for Spawner {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Self {
            class: SpawnerClass::default(),
            cmd: names(&["jupyterhub-singleuser"]),
            args: Vec::new(),
            notebook_dir: String::new(),
            default_url: String::new(),
            ip: "127.0.0.1".to_owned(),
            port: 0,
            ports: (20_000, 32_767),
            environment: BTreeMap::new(),
            auth_state_environment: BTreeMap::new(),
            env_keep: names(&[
                "CONDA_DEFAULT_ENV",
                "CONDA_ROOT",
                "JUPYTERHUB_SINGLEUSER_APP",
                "LANG",
                "LC_ALL",
                "LD_LIBRARY_PATH",
                "PATH",
                "PYTHONPATH",
                "VIRTUAL_ENV",
            ]),
            profiles: Vec::new(),
            server_token_scopes: Vec::new(),
            oauth_client_allowed_scopes: Vec::new(),
            start_timeout: Seconds::new(60),
            http_timeout: Seconds::new(30),
            debug: false,
            disable_user_config: false,
            restart: Restart::OnFailure,
            reconcile_interval: Seconds::new(60),
            usage_interval: Seconds::new(10),
            log_size: 1 << 20,
            open_files: 0,
            interrupt_timeout: Seconds::new(30),
            term_timeout: Seconds::new(30),
            kill_timeout: Seconds::new(5),
        }
    }
}

impl Spawner {
    /// With a profile made of the images people may choose from, where nothing else is offered to choose from.
    pub fn as_offered(&self) -> Self {
        let mut offered = self.clone();
        if let SpawnerClass::Docker(docker) = &self.class
            && self.profiles.is_empty()
        {
            offered.profiles.extend(docker.as_profile());
        }
        offered
    }
}

/// When a server that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Not.
    Never,
    /// When it was killed or left with a status other than 0.
    OnFailure,
    /// Always.
    Always,
}

/// The spawner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it, and its fields make the reference"
)]
pub enum SpawnerClass {
    /// A process of this machine, as the user.
    Local(Local),
    /// A process of this machine, all as one account. For development.
    Simple(Simple),
    /// A container each, of a Docker or podman engine.
    Docker(Docker),
}

impl Default for SpawnerClass {
    fn default() -> Self {
        Self::Local(Local::default())
    }
}

/// A process of this machine, as the user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Local {}

/// All as one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simple {
    /// The account. Where jovis does not run as root: the one it runs as.
    pub user: String,
    /// Home folders; `{username}` is filled in. Made with mode 0755.
    pub home_dir_template: String,
}

impl Default for Simple {
    fn default() -> Self {
        Self { user: "jovis-user".to_owned(), home_dir_template: "/tmp/{username}".to_owned() }
    }
}

/// A list of texts, or one text for a list of one (as JupyterHub takes commands; it is not split at blanks).
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Command;

    impl<'de> Visitor<'de> for Command {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a program, or a list of a program and its arguments")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                all.push(item);
            }
            Ok(all)
        }
    }

    from.deserialize_any(Command)
}

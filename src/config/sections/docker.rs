use std::{collections::BTreeMap, fmt, path::PathBuf};

use jovis_actors::domain::{
    Seconds,
    profile::{Choice, Offer, OptionKind, Overrides, Profile, ProfileOption},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

/// A container each, of a Docker or podman engine. Names are those of JupyterHub's `DockerSpawner`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// Unix socket of the engine. Docker's is `/run/docker.sock`, podman's `/run/podman/podman.sock`. The hub's account
    /// must be allowed to open it; whoever may is as good as root on this machine. Or `tcp://host:2376`, an engine
    /// elsewhere, by TLS. Empty: the variable `DOCKER_HOST`, else `/run/docker.sock`.
    pub socket: String,
    /// File with the authority of an engine at `tcp://`, as PEM, which the hub's account can read. Empty: `ca.pem` in the
    /// folder that the variable `DOCKER_CERT_PATH` names. Files are read when the hub starts.
    pub tls_ca: PathBuf,
    /// File with the certificate by which that engine knows the hub. Empty: `cert.pem` there.
    pub tls_cert: PathBuf,
    /// File with its key. Empty: `key.pem` there.
    pub tls_key: PathBuf,
    /// The image servers run where nobody has chosen another one.
    pub image: String,
    /// Images people choose from: a list, or names for people with the image of each. Empty: exactly `image`.
    #[serde(deserialize_with = "names_or_pairs")]
    pub allowed_images: BTreeMap<String, String>,
    /// When the image is fetched: `Always` before each start, `IfNotPresent`, `Never` (then it must be there), or `Skip`,
    /// which does not even look.
    pub pull_policy: PullPolicy,
    /// Seconds without a word from the engine after which fetching an image is given up. All of a start must fit into
    /// `spawner.start_timeout` as well.
    pub pull_timeout: Seconds,
    /// `{prefix}` in names.
    pub prefix: String,
    /// Name of the container, with `{prefix}`, `{username}` and, if wanted, `{servername}`, which otherwise goes to the
    /// end of named servers, behind `--`. Letters and digits of names stay; each other byte becomes `-` and its two
    /// hexadecimal digits.
    pub name_template: String,
    /// Folders and volumes inside of the container: `"jovis-{username}": "/home/jovyan/work"`. What begins with `/` is a
    /// folder of this machine, all else the name of a volume, which the engine makes. `:ro` behind the place inside makes
    /// it read-only. `{username}` and `{servername}` are filled in: in volume names as in the container's.
    pub volumes: BTreeMap<String, String>,
    /// Network of the engine that containers join.
    pub network_name: String,
    /// Reach servers at their address inside of that network (`true`), or at a port published on `host_ip` (`false`).
    /// Not said: published in the network `bridge`, else inside.
    pub use_internal_ip: Option<bool>,
    /// Address of this machine on which ports are published.
    pub host_ip: String,
    /// Port servers listen on inside of the container.
    pub port: u16,
    /// Where containers reach the hub, such as `http://172.17.0.1:8081`. Empty: as other servers do, by
    /// `hub.hub_connect_ip`. The hub must listen there: `hub.hub_ip`.
    pub hub_connect_url: String,
    /// Further lines of the container's `/etc/hosts`: `host.docker.internal:host-gateway`.
    pub extra_hosts: Vec<String>,
    /// The program in the container and its first arguments. Empty: the image's own.
    #[serde(deserialize_with = "super::spawner::one_or_many")]
    pub cmd: Vec<String>,
    /// Most memory, in bytes or like `2G`; there is no swap on top. Empty: no limit.
    pub mem_limit: String,
    /// Memory that is left to it when the machine runs short. Empty: none.
    pub mem_guarantee: String,
    /// Most processors, like `0.5`. 0: no limit.
    pub cpu_limit: f64,
    /// Processors it gets when all are busy, as a weight among containers. 0: as the others.
    pub cpu_guarantee: f64,
    /// Most processes and threads. 0: no limit.
    pub pids_limit: u32,
    /// Remove the container when its server has ended. Otherwise it stays to be looked at until that server's next start,
    /// which removes it: what must last belongs into `volumes`.
    pub remove: bool,
    /// Further labels of the container.
    pub labels: BTreeMap<String, String>,
    /// User inside of the container, such as `1000:100`. Empty: the image's own.
    pub user: String,
    /// Processes never gain rights, by `sudo` or otherwise.
    pub no_new_privileges: bool,
    /// Capabilities that are taken away. With `NET_RAW` containers could pass for one another in their network.
    pub cap_drop: Vec<String>,
    /// Capabilities that are added.
    pub cap_add: Vec<String>,
    /// The image's files cannot be changed; `/tmp` can.
    pub read_only: bool,
    /// What else the engine is asked for, in its own words, those of `HostConfig`: `{"ShmSize": 1073741824}`, or
    /// `shm_size`. `{username}` and `{servername}` are filled in. What has a setting of its own here is refused.
    pub extra_host_config: Map<String, Json>,
    /// People are accounts of this machine: a server runs with the user and group id of its user's account, in that
    /// account's home folder. Who has no account, or one with an id below 1000, gets no server.
    pub system_users: bool,
    /// Home folder on this machine, for `system_users`.
    pub host_homedir_format_string: String,
    /// The same inside of the container.
    pub image_homedir_format_string: String,
    /// With `system_users`: the container begins as root and is told by `NB_USER`, `NB_UID` and `NB_GID` whom to become,
    /// which some images do.
    pub run_as_root: bool,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            socket: String::new(),
            tls_ca: PathBuf::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            image: "quay.io/jupyterhub/singleuser:5".to_owned(),
            allowed_images: BTreeMap::new(),
            pull_policy: PullPolicy::IfNotPresent,
            pull_timeout: Seconds::new(60),
            prefix: "jovis".to_owned(),
            name_template: "{prefix}-{username}".to_owned(),
            volumes: BTreeMap::new(),
            network_name: "bridge".to_owned(),
            use_internal_ip: None,
            host_ip: "127.0.0.1".to_owned(),
            port: 8888,
            hub_connect_url: String::new(),
            extra_hosts: Vec::new(),
            cmd: Vec::new(),
            mem_limit: String::new(),
            mem_guarantee: String::new(),
            cpu_limit: 0.0,
            cpu_guarantee: 0.0,
            pids_limit: 0,
            remove: true,
            labels: BTreeMap::new(),
            user: String::new(),
            no_new_privileges: true,
            cap_drop: vec!["NET_RAW".to_owned()],
            cap_add: Vec::new(),
            read_only: false,
            extra_host_config: Map::new(),
            system_users: false,
            host_homedir_format_string: "/home/{username}".to_owned(),
            image_homedir_format_string: "/home/{username}".to_owned(),
            run_as_root: false,
        }
    }
}

impl Docker {
    /// The engine's socket where none is said.
    pub const USUAL_SOCKET: &str = "/run/docker.sock";

    /// Is an engine at `tcp://` spoken to by TLS?
    pub fn speaks_tls(&self) -> bool {
        !self.tls_ca.as_os_str().is_empty()
    }

    /// The images people may choose from, as what is offered to them. None: there is nothing to choose.
    pub fn as_profile(&self) -> Option<Profile> {
        let offer = |(name, image): (&String, &String)| Offer {
            value: name.clone(),
            overrides: Overrides { image: image.clone(), ..Overrides::default() },
            ..Offer::default()
        };
        let usual = self.allowed_images.iter().find(|(_, image)| **image == self.image);
        let choice = Choice {
            default: usual.map(|(name, _)| name.clone()).unwrap_or_default(),
            choices: self.allowed_images.iter().map(offer).collect(),
        };
        let option = ProfileOption {
            name: "image".to_owned(),
            display_name: "Image".to_owned(),
            kind: OptionKind::Choice(choice),
            ..ProfileOption::default()
        };
        let profile = Profile {
            slug: "container".to_owned(),
            display_name: "Container".to_owned(),
            profile_options: vec![option],
            ..Profile::default()
        };
        (!self.allowed_images.is_empty()).then_some(profile)
    }
}

/// Host and port of an engine that is not behind a Unix socket. Without a port it is the engine's usual one.
pub fn tcp_address(socket: &str, tls: bool) -> Option<(String, u16)> {
    let place = ["tcp://", "https://", "http://"].iter().find_map(|it| socket.strip_prefix(it))?;
    let place = place.trim_end_matches('/');
    let usual = if tls { 2376 } else { 2375 };
    let (host, port) = match place.rsplit_once(':') {
        // An address of version 6 stands in brackets.
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (place, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let legal = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | ':');
    (!host.is_empty() && port != 0 && host.chars().all(legal)).then(|| (host.to_owned(), port))
}

/// The engine's name of a word of `extra_host_config`: `shm_size` is `ShmSize`.
///
/// # Errors
///
/// It has a setting of its own, or would take from us the say over when a container ends.
pub fn engines_name(name: &str) -> Result<String, String> {
    let mut engines = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        engines.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        engines.push_str(letters.as_str());
    }
    let own = match engines.as_str() {
        "NetworkMode" => "network_name",
        "PortBindings" => "port and host_ip",
        "PublishAllPorts" => "port and host_ip",
        "AutoRemove" => "remove",
        "RestartPolicy" => "none: servers are started by people",
        "Memory" | "MemorySwap" => "mem_limit",
        "NanoCpus" | "NanoCPUs" => "cpu_limit",
        _ => return Ok(engines),
    };
    Err(format!("extra_host_config: {name:?} ({engines}) is not taken here; its setting: {own}"))
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Before each start.
    Always,
    /// When it is not there.
    IfNotPresent,
    /// Not; a start without it is refused.
    Never,
    /// Not, and nobody looks.
    Skip,
}

/// A map, or a list of names that stand for themselves.
fn names_or_pairs<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Images;

    impl<'de> Visitor<'de> for Images {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of images, or names with an image each")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some(item) = items.next_element::<String>()? {
                all.insert(item.clone(), item);
            }
            Ok(all)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, image)) = items.next_entry()? {
                all.insert(name, image);
            }
            Ok(all)
        }
    }

    from.deserialize_any(Images)
}

//! From settings and an order to the container that is asked for: pure.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, PortBinding};
use jovis_actors::{domain::profile::Overrides, ports::Order};

use super::{
    extra,
    names::{self, Holes},
};
use crate::{config::sections, os::users::Account};

/// Label: which hub's it is. Hubs that share an engine leave each other's alone.
pub const HUB: &str = "jovis.hub";
/// Label: the act of starting that made it.
pub const ORDER: &str = "jovis.order";
/// Label: whose.
pub const USER: &str = "jovis.user";
/// Accounts below are the system's.
const FIRST_PERSON: u32 = 1000;
/// Label: which server.
pub const SERVER: &str = "jovis.server";

/// What is to be done for an order. (No `Debug`: the environment holds the server's token.)
pub struct Plan {
    /// The container's name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// The container.
    pub body: ContainerCreateBody,
}

/// Is it reached inside of its network, rather than at a published port?
pub fn is_internal(docker: &sections::Docker) -> bool {
    docker.use_internal_ip.unwrap_or(docker.network_name != "bridge")
}

/// The engine's name of the port inside.
pub fn port_key(docker: &sections::Docker) -> String {
    format!("{}/tcp", docker.port)
}

/// The image this order wants, if it may have it.
///
/// # Errors
///
/// Why not, in words for its user.
pub fn image(docker: &sections::Docker, order: &Order) -> Result<String, String> {
    let asked = || order.options.as_ref().and_then(|it| it.get("image")).and_then(|it| it.as_str());
    let wanted = match order.overrides.image.as_str() {
        // Nothing is offered to choose from: then a choice may only be what would have come anyway.
        "" if order.chosen.is_none() => match asked() {
            Some(it) if it != docker.image => {
                return Err(format!("an image may not be chosen here, so not {it:?} either"));
            }
            _ => &docker.image,
        },
        "" => &docker.image,
        chosen => chosen,
    };
    let listed = docker.allowed_images.is_empty()
        || wanted == docker.image
        || docker.allowed_images.values().any(|image| image == wanted);
    match listed {
        _ if !names::is_image(wanted) => Err(format!("{wanted:?} is no name of an image")),
        false => Err(format!("the image {wanted:?} is not among those that are allowed")),
        true => Ok(wanted.to_owned()),
    }
}

/// The container for this order. `own_cmd`: what the image runs by itself, which is needed only where arguments are added
/// to it.
///
/// # Errors
///
/// What is wrong, in words for its user or the operator.
pub fn plan(
    settings: &sections::Spawner,
    docker: &sections::Docker,
    order: &Order,
    hub: &str,
    own_cmd: &[String],
    person: Option<&Account>,
) -> Result<Plan, String> {
    let image = image(docker, order)?;
    let holes = Holes { prefix: &docker.prefix, user: &order.user, server: &order.server };
    let name = names::container(&docker.name_template, &holes);
    if !names::is_legal(&name) {
        return Err(format!("{name:?} is no name for a container: see name_template"));
    }
    let labels = docker.labels.clone().into_iter().chain(
        [
            (HUB, hub),
            (ORDER, order.id.as_str()),
            (USER, order.user.as_str()),
            (SERVER, order.server.as_str()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let home = person.map(|it| home(docker, it, &holes)).transpose()?;
    let mut host = host(docker, order, &holes)?;
    let mut env = environment(docker, order, &image)?;
    if let Some(home) = &home {
        host.mounts.get_or_insert_default().push(home.mount.clone());
        let name = |it: &str| it.split('=').next().map(str::to_owned);
        env.retain(|it| home.env.iter().all(|own| name(own) != name(it)));
        env.extend(home.env.clone());
    }
    let host = extra::joined(host, &docker.extra_host_config, &holes)?;
    let body = ContainerCreateBody {
        image: Some(image.clone()),
        cmd: command(settings, docker, order, own_cmd),
        env: Some(env),
        labels: Some(labels.collect()),
        user: home.as_ref().map_or_else(|| some(&docker.user), |it| Some(it.user.clone())),
        working_dir: home.map(|it| it.folder),
        exposed_ports: Some(vec![port_key(docker)]),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    Ok(Plan { name, image, body })
}

/// Where a user of this machine is at home in a container.
struct Home {
    mount: Mount,
    folder: String,
    user: String,
    env: Vec<String>,
}

/// (`spec/auth-and-spawn.md` 12, "SystemUser".)
fn home(docker: &sections::Docker, person: &Account, holes: &Holes<'_>) -> Result<Home, String> {
    let (uid, gid, name) = (person.uid, person.gid, &person.name);
    if uid < FIRST_PERSON {
        return Err(format!("the account {name:?} ({uid}) is not a person's"));
    }
    let source = holes.folder(&docker.host_homedir_format_string)?;
    let folder = holes.folder(&docker.image_homedir_format_string)?;
    let mut env = vec![format!("HOME={folder}"), format!("USER={name}")];
    if docker.run_as_root {
        env.extend([format!("NB_USER={name}"), format!("NB_UID={uid}"), format!("NB_GID={gid}")]);
    }
    let user = if docker.run_as_root { "0:0".to_owned() } else { format!("{uid}:{gid}") };
    let mount = Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(folder.clone()),
        ..Mount::default()
    };
    Ok(Home { mount, folder, user, env })
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Does the image's own command have to be known?
pub fn needs_own_cmd(
    settings: &sections::Spawner,
    docker: &sections::Docker,
    order: &Order,
) -> bool {
    docker.cmd.is_empty()
        && order.overrides.cmd.is_empty()
        && !(settings.args.is_empty() && order.overrides.args.is_empty())
}

fn command(
    settings: &sections::Spawner,
    docker: &sections::Docker,
    order: &Order,
    own: &[String],
) -> Option<Vec<String>> {
    let filled = |args: &[String]| {
        args.iter().map(|arg| arg.replace("{username}", order.user.as_str())).collect::<Vec<_>>()
    };
    let cmd = match (order.overrides.cmd.as_slice(), docker.cmd.as_slice()) {
        ([], []) if needs_own_cmd(settings, docker, order) => own.to_vec(),
        ([], []) => return None,
        ([], cmd) => filled(cmd),
        (chosen, _) => chosen.to_vec(),
    };
    Some([cmd, filled(&settings.args), order.overrides.args.clone()].concat())
}

/// Replaces scheme, host and port of a URL.
fn moved(url: &str, to: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    Some(format!("{}{path}", to.trim_end_matches('/')))
}

fn environment(
    docker: &sections::Docker,
    order: &Order,
    image: &str,
) -> Result<Vec<String>, String> {
    let mut all = order.env.reveal().0.clone();
    all.insert(
        "JUPYTERHUB_SERVICE_URL".to_owned(),
        format!("http://0.0.0.0:{}{}", docker.port, order.prefix),
    );
    all.insert("JUPYTER_IMAGE_SPEC".to_owned(), image.to_owned());
    if !docker.hub_connect_url.is_empty() {
        for name in ["JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"] {
            if let Some(url) = all.get_mut(name)
                && let Some(there) = moved(url, &docker.hub_connect_url)
            {
                *url = there;
            }
        }
    }
    let limits = Limits::of(docker, &order.overrides)?;
    let said = [
        ("MEM_LIMIT", limits.memory.map(|it| it.to_string())),
        ("MEM_GUARANTEE", limits.memory_guarantee.map(|it| it.to_string())),
        ("CPU_LIMIT", limits.processors.map(|it| it.to_string())),
        ("CPU_GUARANTEE", limits.processors_guarantee.map(|it| it.to_string())),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            all.entry(name.to_owned()).or_insert(value);
        }
    }
    Ok(all.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// What a container may take.
#[derive(Debug, PartialEq)]
struct Limits {
    memory: Option<u64>,
    memory_guarantee: Option<u64>,
    processors: Option<f64>,
    processors_guarantee: Option<f64>,
}

/// Bytes: `1073741824`, `1G`. None where nothing is said.
///
/// # Errors
///
/// It is no amount.
pub fn bytes(text: &str) -> Result<Option<u64>, String> {
    let amount = Overrides { mem_limit: text.to_owned(), ..Overrides::default() };
    amount.memory().map_err(|_| format!("{text:?} is no amount of memory, such as 2G"))
}

impl Limits {
    /// What was chosen goes before what holds for all.
    fn of(docker: &sections::Docker, chosen: &Overrides) -> Result<Self, String> {
        let wrong = |it: jovis_actors::domain::options::Wrong| it.to_string();
        let said = |number: f64| (number > 0.0).then_some(number);
        Ok(Self {
            memory: chosen
                .memory()
                .map_err(wrong)?
                .map_or_else(|| bytes(&docker.mem_limit), |it| Ok(Some(it)))?,
            memory_guarantee: bytes(&docker.mem_guarantee)?,
            processors: chosen.processors().map_err(wrong)?.or(said(docker.cpu_limit)),
            processors_guarantee: said(docker.cpu_guarantee),
        })
    }
}

fn host(docker: &sections::Docker, order: &Order, holes: &Holes<'_>) -> Result<HostConfig, String> {
    let limits = Limits::of(docker, &order.overrides)?;
    let bytes = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    let published = PortBinding { host_ip: some(&docker.host_ip), host_port: Some(String::new()) };
    let ports = HashMap::from([(port_key(docker), Some(vec![published]))]);
    Ok(HostConfig {
        network_mode: some(&docker.network_name),
        port_bindings: (!is_internal(docker)).then_some(ports),
        memory: limits.memory.map(bytes),
        // Both together: no swap on top of it.
        memory_swap: limits.memory.map(bytes),
        memory_reservation: limits.memory_guarantee.map(bytes),
        nano_cpus: limits.processors.map(|it| (it * 1e9) as i64),
        cpu_shares: limits.processors_guarantee.map(|it| ((it * 1024.0) as i64).max(2)),
        pids_limit: (docker.pids_limit > 0).then_some(i64::from(docker.pids_limit)),
        extra_hosts: list(&docker.extra_hosts),
        cap_drop: list(&docker.cap_drop),
        cap_add: list(&docker.cap_add),
        security_opt: docker.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: docker.read_only.then_some(true),
        tmpfs: docker.read_only.then(|| HashMap::from([("/tmp".to_owned(), String::new())])),
        mounts: Some(mounts(&docker.volumes, holes)?).filter(|it| !it.is_empty()),
        ..HostConfig::default()
    })
}

/// Where a volume goes, and whether it can only be read.
///
/// # Errors
///
/// It is no such place.
pub fn place(target: &str) -> Result<(&str, bool), String> {
    let (path, read_only) = match target.rsplit_once(':') {
        Some((path, "ro")) => (path, true),
        Some((path, "rw")) => (path, false),
        Some((_, other)) => return Err(format!("{other:?} is no way to mount: ro or rw")),
        None => (target, false),
    };
    match path.starts_with('/') && path.len() > 1 {
        true => Ok((path, read_only)),
        false => Err(format!("{path:?} is no place in a container: a path from / is needed")),
    }
}

fn mounts(volumes: &BTreeMap<String, String>, holes: &Holes<'_>) -> Result<Vec<Mount>, String> {
    let mount = |(source, target): (&String, &String)| {
        let (target, read_only) = place(target)?;
        let folder = source.starts_with('/');
        let source = if folder { holes.folder(source)? } else { holes.escaped(source) };
        if !folder && !names::is_legal(&source) {
            return Err(format!("{source:?} is no name of a volume"));
        }
        Ok(Mount {
            typ: Some(if folder { MountType::BIND } else { MountType::VOLUME }),
            source: Some(source),
            target: Some(holes.folder(target)?),
            read_only: Some(read_only),
            ..Mount::default()
        })
    };
    volumes.iter().map(mount).collect()
}

#[cfg(test)]
mod tests {
    use jovis_actors::{
        domain::{OrderId, Secret, ServerName, Username, options::Chosen},
        ports::EnvVars,
    };

    use super::*;

    fn order() -> Order {
        let env = [
            ("JUPYTERHUB_API_TOKEN", "t0ken"),
            ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/lab/hub/api"),
            ("JUPYTERHUB_ACTIVITY_URL", "http://127.0.0.1:8081/lab/hub/api/users/b/activity"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Order {
            id: OrderId::from_bytes([7; 16]),
            user: Username::new("b@x").unwrap(),
            server: ServerName::default_server(),
            prefix: "/lab/user/b%40x/".to_owned(),
            env: Secret::new(EnvVars(env.into())),
            options: None,
            chosen: None,
            overrides: Overrides::default(),
        }
    }

    fn planned(docker: &sections::Docker, order: &Order) -> Result<Plan, String> {
        plan(&sections::Spawner::default(), docker, order, "hub1", &[], None)
    }

    fn variable(plan: &Plan, name: &str) -> Option<String> {
        let env = plan.body.env.as_deref().unwrap();
        env.iter().find_map(|it| it.strip_prefix(&format!("{name}="))).map(str::to_owned)
    }

    #[test]
    fn the_usual_container() {
        let plan = planned(&sections::Docker::default(), &order()).unwrap();
        assert_eq!(plan.name, "jovis-b-40x");
        let labels = plan.body.labels.as_ref().unwrap();
        assert_eq!((labels[HUB].as_str(), labels[ORDER].as_str()), ("hub1", order().id.as_str()));
        assert_eq!(
            variable(&plan, "JUPYTERHUB_SERVICE_URL").unwrap(),
            "http://0.0.0.0:8888/lab/user/b%40x/"
        );
        assert_eq!(variable(&plan, "JUPYTERHUB_API_TOKEN").unwrap(), "t0ken");
        assert_eq!(variable(&plan, "JUPYTER_IMAGE_SPEC").unwrap(), plan.image);
        assert_eq!(plan.body.cmd, None, "the image's own");
        let host = plan.body.host_config.as_ref().unwrap();
        let port = host.port_bindings.as_ref().unwrap()["8888/tcp"].as_ref().unwrap();
        assert_eq!(port[0].host_ip.as_deref(), Some("127.0.0.1"), "never on all addresses");
        assert_eq!(host.security_opt.as_deref(), Some(&["no-new-privileges".to_owned()][..]));
        assert_eq!((host.privileged, host.memory, host.nano_cpus), (None, None, None));
    }

    #[test]
    fn what_is_configured_is_asked_for() {
        let docker = sections::Docker {
            network_name: "lab".to_owned(),
            hub_connect_url: "http://172.18.0.1:9000/".to_owned(),
            mem_limit: "1G".to_owned(),
            mem_guarantee: "512M".to_owned(),
            cpu_limit: 0.5,
            cpu_guarantee: 0.25,
            pids_limit: 100,
            cmd: vec!["start".to_owned()],
            user: "1000:100".to_owned(),
            read_only: true,
            cap_drop: vec!["ALL".to_owned()],
            volumes: [
                ("work-{username}", "/home/jovyan"),
                ("/srv/{username}", "/srv/own:rw"),
                ("/data", "/data:ro"),
            ]
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .into(),
            labels: [(ORDER.to_owned(), "mine".to_owned()), ("a".to_owned(), "b".to_owned())]
                .into(),
            ..sections::Docker::default()
        };
        let plan = planned(&docker, &order()).unwrap();
        assert_eq!(
            variable(&plan, "JUPYTERHUB_API_URL").unwrap(),
            "http://172.18.0.1:9000/lab/hub/api"
        );
        assert_eq!(
            variable(&plan, "JUPYTERHUB_ACTIVITY_URL").unwrap(),
            "http://172.18.0.1:9000/lab/hub/api/users/b/activity"
        );
        assert_eq!(variable(&plan, "MEM_LIMIT").unwrap(), "1073741824");
        assert_eq!(variable(&plan, "CPU_LIMIT").unwrap(), "0.5");
        let labels = plan.body.labels.as_ref().unwrap();
        assert_eq!((labels[ORDER].as_str(), labels["a"].as_str()), (order().id.as_str(), "b"));
        assert_eq!(plan.body.user.as_deref(), Some("1000:100"));
        assert_eq!(plan.body.cmd.as_deref(), Some(&["start".to_owned()][..]));
        let host = plan.body.host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
        assert_eq!((host.memory_reservation, host.nano_cpus), (Some(512 << 20), Some(500_000_000)));
        assert_eq!((host.cpu_shares, host.pids_limit), (Some(256), Some(100)));
        assert_eq!((host.port_bindings, host.network_mode.as_deref()), (None, Some("lab")));
        assert_eq!(host.readonly_rootfs, Some(true));
        let mounts: Vec<_> = host
            .mounts
            .unwrap()
            .into_iter()
            .map(|it| {
                (
                    it.typ.unwrap().to_string(),
                    it.source.unwrap(),
                    it.target.unwrap(),
                    it.read_only.unwrap(),
                )
            })
            .collect();
        let told = |a: &str, b: &str, c: &str, d| (a.to_owned(), b.to_owned(), c.to_owned(), d);
        assert_eq!(
            mounts,
            [
                told("bind", "/data", "/data", true),
                told("bind", "/srv/b@x", "/srv/own", false),
                told("volume", "work-b-40x", "/home/jovyan", false),
            ]
        );
    }

    #[test]
    fn people_of_the_machine_are_themselves_and_at_home() {
        let mut order = order();
        order.user = Username::new("bob").unwrap();
        let mut docker = sections::Docker {
            system_users: true,
            image_homedir_format_string: "/home/jovyan/{username}".to_owned(),
            extra_host_config: serde_json::json!({"shm_size": 64}).as_object().unwrap().clone(),
            ..sections::Docker::default()
        };
        let person = |uid| Account {
            name: "bob".to_owned(),
            uid,
            gid: 1007,
            groups: vec![1007],
            home: "/elsewhere".into(),
            shell: "/bin/sh".into(),
        };
        let planned = |docker: &sections::Docker, uid| {
            let settings = sections::Spawner::default();
            plan(&settings, docker, &order, "hub1", &[], Some(&person(uid)))
        };
        let plan = planned(&docker, 1003).unwrap();
        assert_eq!(plan.body.user.as_deref(), Some("1003:1007"));
        assert_eq!(plan.body.working_dir.as_deref(), Some("/home/jovyan/bob"));
        assert_eq!(variable(&plan, "HOME").unwrap(), "/home/jovyan/bob");
        assert_eq!(variable(&plan, "NB_UID"), None);
        let host = plan.body.host_config.unwrap();
        let mount = &host.mounts.unwrap()[0];
        assert_eq!(mount.source.as_deref(), Some("/home/bob"));
        assert_eq!((mount.target.as_deref(), mount.read_only), (Some("/home/jovyan/bob"), None));
        assert_eq!(host.shm_size, Some(64));
        docker.run_as_root = true;
        let plan = planned(&docker, 1003).unwrap();
        assert_eq!(plan.body.user.as_deref(), Some("0:0"));
        let told = ["NB_USER", "NB_UID", "NB_GID"].map(|name| variable(&plan, name).unwrap());
        assert_eq!(told, ["bob", "1003", "1007"]);
        assert!(planned(&docker, 999).err().unwrap().contains("not a person's"));
    }

    #[test]
    fn arguments_come_behind_the_images_own_command() {
        let settings = sections::Spawner {
            args: vec!["--x={username}".to_owned()],
            ..sections::Spawner::default()
        };
        let (docker, order) = (sections::Docker::default(), order());
        assert!(needs_own_cmd(&settings, &docker, &order));
        let own = ["tini".to_owned(), "start".to_owned()];
        let plan = plan(&settings, &docker, &order, "h", &own, None).unwrap();
        assert_eq!(plan.body.cmd.unwrap(), ["tini", "start", "--x=b@x"]);
    }

    #[test]
    fn only_images_that_are_allowed_are_run() {
        let docker = sections::Docker { image: "usual".to_owned(), ..sections::Docker::default() };
        let raw =
            |image: &str| Order { options: Some(serde_json::json!({"image": image})), ..order() };
        assert_eq!(image(&docker, &raw("usual")).unwrap(), "usual");
        assert!(image(&docker, &raw("evil")).unwrap_err().contains("may not be chosen"));
        let listed = sections::Docker {
            allowed_images: [("Big".to_owned(), "big:1".to_owned())].into(),
            ..docker.clone()
        };
        let chosen = |image: &str| Order {
            chosen: Some(Chosen { profile: String::new(), values: BTreeMap::new() }),
            overrides: Overrides { image: image.to_owned(), ..Overrides::default() },
            ..order()
        };
        assert_eq!(image(&listed, &chosen("big:1")).unwrap(), "big:1");
        assert_eq!(image(&listed, &chosen("usual")).unwrap(), "usual");
        assert!(image(&listed, &chosen("other")).unwrap_err().contains("not among"));
        assert_eq!(
            image(&docker, &chosen("other")).unwrap(),
            "other",
            "the operator's profile says so"
        );
        assert!(image(&docker, &chosen("../containers/x")).is_err());
    }

    #[test]
    fn places_are_paths() {
        assert_eq!(place("/a"), Ok(("/a", false)));
        assert_eq!(place("/a:ro"), Ok(("/a", true)));
        for bad in ["", "a", "/", "/a:x", "a:ro"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}

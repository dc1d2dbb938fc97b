//! Containers: names that stay apart, places, amounts, addresses.

use jovis_actors::domain::profile::Overrides;

use super::Say;
use crate::config::{
    Config,
    address::is_loopback,
    sections::{Docker, SpawnerClass, engines_name, tcp_address},
};

pub(super) fn docker(say: &mut Say<'_>, config: &Config) {
    let SpawnerClass::Docker(docker) = &config.spawner.class else { return };
    if !cfg!(feature = "docker") {
        return say.error(
            "spawner.class",
            "this jovis was built without Docker; build it with `--features docker`",
        );
    }
    names(say, docker);
    amounts(say, docker);
    volumes(say, docker);
    network(say, config, docker);
    engine(say, docker);
    extra(say, docker);
    let images = docker.allowed_images.values().map(|image| ("allowed_images", image));
    for (setting, image) in [("image", &docker.image)].into_iter().chain(images) {
        if image.is_empty()
            || image.contains(|it: char| it.is_whitespace() || !it.is_ascii_graphic())
        {
            say.error(&path(setting), format!("{image:?} is no name of an image"));
        }
    }
}

fn path(setting: &str) -> String {
    format!("spawner.class.Docker.{setting}")
}

fn names(say: &mut Say<'_>, docker: &Docker) {
    let template = docker.name_template.replace("{prefix}", &docker.prefix);
    let rest = template.replace("{username}", "").replace("{servername}", "");
    let legal = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-');
    if !rest.chars().all(legal) || !template.starts_with(|it: char| it.is_ascii_alphanumeric()) {
        say.error(
            &path("name_template"),
            "names are made of letters, digits and _ . -, a letter or digit first: begin with {prefix}",
        );
    }
    let Some((before, after)) = template.split_once("{username}") else {
        return say
            .error(&path("name_template"), "{username} is needed, to keep users' servers apart");
    };
    // What stands between the two must be something that neither can hold: two names could look like another two.
    let between = match (before.split_once("{servername}"), after.split_once("{servername}")) {
        (Some((_, between)), None) => between,
        (None, Some((between, _))) => between,
        (None, None) => return,
        (Some(_), Some(_)) => "",
    };
    if !(between.contains("--") || between.contains(['.', '_'])) {
        say.error(
            &path("name_template"),
            "between {username} and {servername} stands -- or . or _, to keep servers apart",
        );
    }
}

fn amounts(say: &mut Say<'_>, docker: &Docker) {
    let amount =
        |text: &str| Overrides { mem_limit: text.to_owned(), ..Overrides::default() }.memory().ok();
    for (setting, text) in
        [("mem_limit", &docker.mem_limit), ("mem_guarantee", &docker.mem_guarantee)]
    {
        match amount(text) {
            None => say.error(&path(setting), format!("{text:?} is no amount, such as 2G")),
            // Engines take no less.
            Some(Some(bytes)) if bytes < 6 << 20 => {
                say.error(&path(setting), "at least 6M are needed");
            }
            Some(_) => {}
        }
    }
    if let (Some(Some(limit)), Some(Some(sure))) =
        (amount(&docker.mem_limit), amount(&docker.mem_guarantee))
        && sure > limit
    {
        say.error(&path("mem_guarantee"), "it is more than mem_limit");
    }
    for (setting, count) in
        [("cpu_limit", docker.cpu_limit), ("cpu_guarantee", docker.cpu_guarantee)]
    {
        if !count.is_finite() || count < 0.0 || (count > 0.0 && count < 0.01) {
            say.error(&path(setting), "a number of processors from 0.01 on, or 0 for none");
        }
    }
    if docker.pull_timeout.is_zero() {
        say.error(&path("pull_timeout"), "more than 0 seconds are needed");
    }
}

fn volumes(say: &mut Say<'_>, docker: &Docker) {
    for (source, target) in &docker.volumes {
        let place = target.strip_suffix(":ro").or(target.strip_suffix(":rw")).unwrap_or(target);
        if !place.starts_with('/') || place.len() < 2 || place.contains(':') {
            let words = format!(
                "{target:?} is no place in a container, such as /home/jovyan/work or /data:ro"
            );
            say.error(&path("volumes"), words);
        }
        if source.is_empty() {
            say.error(&path("volumes"), "a folder from / or the name of a volume is needed");
        }
        if source.contains("docker.sock") || source.contains("podman.sock") {
            say.error(&path("volumes"), "whoever has the engine's socket is root on this machine");
        }
    }
}

fn extra(say: &mut Say<'_>, docker: &Docker) {
    for name in docker.extra_host_config.keys() {
        if let Err(words) = engines_name(name) {
            say.error(&path("extra_host_config"), words);
        }
        if matches!(engines_name(name).as_deref(), Ok("Privileged")) {
            say.warn(
                &path("extra_host_config"),
                "whose server is privileged is root on this machine",
            );
        }
    }
    let all = serde_json::to_string(&docker.extra_host_config).unwrap_or_default();
    if all.contains("docker.sock") || all.contains("podman.sock") {
        say.error(
            &path("extra_host_config"),
            "whoever has the engine's socket is root on this machine",
        );
    }
    if docker.system_users {
        for (setting, folder) in [
            ("host_homedir_format_string", &docker.host_homedir_format_string),
            ("image_homedir_format_string", &docker.image_homedir_format_string),
        ] {
            if !(folder.starts_with('/') && folder.len() > 1) || folder.contains(':') {
                say.error(&path(setting), "a path from / is needed, such as /home/{username}");
            }
        }
        if !docker.host_homedir_format_string.contains("{username}") {
            say.error(
                &path("host_homedir_format_string"),
                "{username} is needed: homes are not shared",
            );
        }
        if !docker.user.is_empty() {
            say.error(&path("user"), "with system_users it is the account's");
        }
    }
}

fn engine(say: &mut Say<'_>, docker: &Docker) {
    let socket = docker.socket.as_str();
    let Some((host, _)) = tcp_address(socket, docker.speaks_tls()) else {
        if !socket.is_empty() && !socket.trim_start_matches("unix://").starts_with('/') {
            say.error(
                &path("socket"),
                "the path of a Unix socket is needed, such as /run/docker.sock, or tcp://host:2376",
            );
        }
        return;
    };
    let here = |host: &str| {
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|it: std::net::IpAddr| it.is_loopback() || it.is_unspecified())
    };
    if docker.tls_cert.as_os_str().is_empty() != docker.tls_key.as_os_str().is_empty() {
        say.error(&path("tls_cert"), "certificate and key go together: tls_cert and tls_key");
    }
    match (docker.speaks_tls(), here(&host)) {
        (true, _) => {}
        (false, true) => {
            say.warn(&path("socket"), "every account of this machine may use that engine: it is root's");
        }
        (false, false) => say.error(
            &path("socket"),
            "an engine elsewhere is spoken to by TLS only: set tls_ca, tls_cert, tls_key (or DOCKER_TLS_VERIFY and DOCKER_CERT_PATH)",
        ),
    }
    let internal = docker.use_internal_ip.unwrap_or(docker.network_name != "bridge");
    if !here(&host) && !internal && here(&docker.host_ip) {
        say.error(
            &path("host_ip"),
            "an engine elsewhere publishes ports at an address of its own machine: set it to that",
        );
    }
}

fn network(say: &mut Say<'_>, config: &Config, docker: &Docker) {
    let name = docker.network_name.as_str();
    if name.is_empty() || name == "none" || name == "host" || name.starts_with("container:") {
        say.error(
            &path("network_name"),
            "a network of the engine in which each container has an address: bridge, or one that was made for it",
        );
    }
    if docker.port == 0 {
        say.error(&path("port"), "0 is no port");
    }
    if docker.host_ip.parse::<std::net::IpAddr>().is_err() {
        say.error(&path("host_ip"), format!("{:?} is no address", docker.host_ip));
    }
    let url = &docker.hub_connect_url;
    if !(url.is_empty() || url.starts_with("http://") || url.starts_with("https://")) {
        say.error(&path("hub_connect_url"), "an address such as http://172.17.0.1:8081 is needed");
    }
    if is_loopback(&config.hub.hub_ip)
        || (url.is_empty() && is_loopback(&config.hub.hub_connect_ip))
    {
        say.warn(
            "hub.hub_ip",
            "containers cannot reach the hub at an address of this machine alone: set it to the engine's, such as 172.17.0.1",
        );
    }
}

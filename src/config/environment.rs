//! What the environment says where the file is silent: the clients that providers know us as.
//! (`spec/auth-and-spawn.md` 5.6.)

use super::sections::{AuthClass, Config, Docker, SpawnerClass, tcp_address};

/// A variable was taken for this setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The setting.
    pub path: &'static str,
    /// The variable.
    pub variable: &'static str,
}

/// For a client identifier, its secret, and where people come back to: the first variable that is set counts.
const GITHUB: [(&str, &[&str]); 3] = [
    ("auth.class.GitHub.client_id", &["GITHUB_CLIENT_ID", "OAUTH_CLIENT_ID"]),
    ("auth.class.GitHub.client_secret", &["GITHUB_CLIENT_SECRET", "OAUTH_CLIENT_SECRET"]),
    ("auth.class.GitHub.oauth_callback_url", &["OAUTH_CALLBACK_URL"]),
];
const OIDC: [(&str, &[&str]); 3] = [
    ("auth.class.Oidc.client_id", &["OAUTH_CLIENT_ID"]),
    ("auth.class.Oidc.client_secret", &["OAUTH_CLIENT_SECRET"]),
    ("auth.class.Oidc.oauth_callback_url", &["OAUTH_CALLBACK_URL"]),
];

/// Where the engine is, as its own programs are told.
const ENGINE: [&str; 3] = ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];

/// Every variable that may be asked for.
pub fn variables() -> impl Iterator<Item = &'static str> {
    GITHUB.iter().chain(&OIDC).flat_map(|(_, names)| names.iter().copied()).chain(ENGINE)
}

/// Fills in what is empty; what was taken.
pub fn fill(config: &mut Config, variable: impl Fn(&str) -> Option<String>) -> Vec<Taken> {
    let mut taken = Vec::new();
    if let SpawnerClass::Docker(docker) = &mut config.spawner.class {
        engine(docker, &variable, &mut taken);
    }
    let others = config.auth.others.iter_mut().map(|other| &mut other.class);
    for class in std::iter::once(&mut config.auth.class).chain(others) {
        let (fields, rows) = match class {
            AuthClass::GitHub(it) => {
                ([&mut it.client_id, &mut it.client_secret, &mut it.oauth_callback_url], &GITHUB)
            }
            AuthClass::Oidc(it) => {
                ([&mut it.client_id, &mut it.client_secret, &mut it.oauth_callback_url], &OIDC)
            }
            AuthClass::Pam(_) | AuthClass::Dummy(_) => continue,
        };
        for (field, (path, names)) in fields.into_iter().zip(rows) {
            let given = names.iter().find_map(|name| {
                Some((*name, variable(name).filter(|text| !text.trim().is_empty())?))
            });
            if field.is_empty()
                && let Some((variable, text)) = given
            {
                text.trim().clone_into(field);
                taken.push(Taken { path, variable });
            }
        }
    }
    taken
}

/// `DOCKER_HOST` where no socket is said; and the files that go with an engine elsewhere.
fn engine(docker: &mut Docker, variable: &impl Fn(&str) -> Option<String>, taken: &mut Vec<Taken>) {
    let set = |name| variable(name).filter(|text| !text.trim().is_empty());
    if docker.socket.is_empty() {
        let Some(place) = set(ENGINE[0]) else { return };
        place.trim().clone_into(&mut docker.socket);
        taken.push(Taken { path: "spawner.class.Docker.socket", variable: ENGINE[0] });
    }
    let elsewhere = tcp_address(&docker.socket, true).is_some();
    let (Some(_), Some(folder)) = (set(ENGINE[1]), set(ENGINE[2])) else { return };
    let files = [
        (&mut docker.tls_ca, "ca.pem", "spawner.class.Docker.tls_ca"),
        (&mut docker.tls_cert, "cert.pem", "spawner.class.Docker.tls_cert"),
        (&mut docker.tls_key, "key.pem", "spawner.class.Docker.tls_key"),
    ];
    for (field, file, path) in files {
        if elsewhere && field.as_os_str().is_empty() {
            *field = std::path::Path::new(folder.trim()).join(file);
            taken.push(Taken { path, variable: ENGINE[2] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::{GitHub, Oidc, OtherAuth};

    #[test]
    fn a_client_comes_from_the_environment_where_the_file_is_silent() {
        let mut config = Config::default();
        config.auth.class = AuthClass::GitHub(GitHub::default());
        let oidc = Oidc { client_id: "mine".to_owned(), ..Oidc::default() };
        let class = AuthClass::Oidc(oidc);
        config.auth.others.push(OtherAuth { class, ..OtherAuth::default() });
        let taken = fill(&mut config, |name| match name {
            "GITHUB_CLIENT_ID" => Some("github_id".to_owned()),
            "OAUTH_CLIENT_ID" => Some("general_id".to_owned()),
            "OAUTH_CLIENT_SECRET" => Some(" general_secret\n".to_owned()),
            "OAUTH_CALLBACK_URL" => Some("https://hub.test/hub/oauth_callback".to_owned()),
            _ => None,
        });
        let AuthClass::GitHub(github) = &config.auth.class else { unreachable!() };
        assert_eq!(
            (&*github.client_id, &*github.client_secret, &*github.oauth_callback_url),
            ("github_id", "general_secret", "https://hub.test/hub/oauth_callback")
        );
        let AuthClass::Oidc(oidc) = &config.auth.others[0].class else { unreachable!() };
        assert_eq!((&*oidc.client_id, &*oidc.client_secret), ("mine", "general_secret"));
        let path = "auth.class.GitHub.client_id";
        assert_eq!(taken[0], Taken { path, variable: "GITHUB_CLIENT_ID" });
        assert_eq!(taken.len(), 5);
        assert!(fill(&mut config, |_| Some("other".to_owned())).is_empty());
    }

    #[test]
    fn the_engine_is_where_its_own_programs_look_for_it() {
        let told = |socket: &str, variables: &[(&str, &str)]| {
            let mut config = Config::default();
            let docker = Docker { socket: socket.to_owned(), ..Docker::default() };
            config.spawner.class = SpawnerClass::Docker(docker);
            let value = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let taken = fill(&mut config, value).len();
            let SpawnerClass::Docker(it) = config.spawner.class else { unreachable!() };
            (it.socket, it.tls_ca.display().to_string(), it.tls_key.display().to_string(), taken)
        };
        let said = |a: &str, b: &str, c: &str, n| (a.to_owned(), b.to_owned(), c.to_owned(), n);
        let host = ("DOCKER_HOST", "tcp://engine:2376");
        let (verify, folder) = (("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/c"));
        assert_eq!(told("", &[]), said("", "", "", 0));
        assert_eq!(told("/run/mine.sock", &[host]), said("/run/mine.sock", "", "", 0));
        assert_eq!(told("", &[host]), said("tcp://engine:2376", "", "", 1));
        let all = [host, verify, folder];
        assert_eq!(told("", &all), said("tcp://engine:2376", "/c/ca.pem", "/c/key.pem", 4));
        assert_eq!(told("", &[host, folder]), said("tcp://engine:2376", "", "", 1));
        let unix = ("DOCKER_HOST", "unix:///run/other.sock");
        assert_eq!(told("", &[unix, verify, folder]), said("unix:///run/other.sock", "", "", 1));
    }

    #[test]
    fn addresses_of_engines_are_read() {
        for (text, tls, wanted) in [
            ("tcp://10.0.0.1:2376", true, Some(("10.0.0.1", 2376))),
            ("tcp://engine", true, Some(("engine", 2376))),
            ("tcp://engine/", false, Some(("engine", 2375))),
            ("https://[fd00::1]:99", true, Some(("fd00::1", 99))),
            ("tcp://[fd00::1]", true, Some(("fd00::1", 2376))),
            ("unix:///run/docker.sock", true, None),
            ("/run/docker.sock", true, None),
            ("tcp://", true, None),
            ("tcp://a b", true, None),
            ("tcp://a:0", true, None),
            ("tcp://a:x", true, None),
        ] {
            let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(tcp_address(text, tls), wanted, "{text}");
        }
    }
}

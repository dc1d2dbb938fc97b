//! What the environment says where the file is silent: the clients that providers know us as.
//! (`spec/auth-and-spawn.md` 5.6.)

use super::sections::{AuthClass, Config};

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

/// Every variable that may be asked for.
pub fn variables() -> impl Iterator<Item = &'static str> {
    GITHUB.iter().chain(&OIDC).flat_map(|(_, names)| names.iter().copied())
}

/// Fills in what is empty; what was taken.
pub fn fill(config: &mut Config, variable: impl Fn(&str) -> Option<String>) -> Vec<Taken> {
    let mut taken = Vec::new();
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
}

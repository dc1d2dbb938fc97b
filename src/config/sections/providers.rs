use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};

/// People sign in at GitHub, or at a GitHub Enterprise Server.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GitHub {
    /// Of the OAuth app. Empty: the variable `GITHUB_CLIENT_ID`, else `OAUTH_CLIENT_ID`.
    pub client_id: String,
    /// Of the OAuth app. Empty: the variable `GITHUB_CLIENT_SECRET`, else `OAUTH_CLIENT_SECRET`.
    pub client_secret: String,
    /// Where people come back to: `https://hub.example.org/hub/oauth_callback`. It is what the app says. Empty: the
    /// variable `OAUTH_CALLBACK_URL`, else the address under which the visitor sees the hub.
    pub oauth_callback_url: String,
    /// Where GitHub is; another for a GitHub Enterprise Server.
    pub github_url: String,
    /// Where its API is. Empty: where GitHub has it, or `/api/v3` below `github_url`.
    pub github_api_url: String,
    /// Who belongs to one of these may sign in: `organisation`, or `organisation:team`. That needs the scope `read:org`,
    /// which is asked for then.
    pub allowed_organizations: BTreeSet<String>,
    /// What people are asked to agree to, besides what the other settings need: `["user:email"]`.
    pub scope: Vec<String>,
    /// What the button says.
    pub login_service: String,
    /// Who vouches for GitHub's server, PEM: for a server inside the house. Empty: whom this machine trusts.
    pub ca_file: PathBuf,
    /// Seconds that one answer of it may take.
    pub timeout: Seconds,
}

impl Default for GitHub {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            client_secret: String::new(),
            oauth_callback_url: String::new(),
            github_url: "https://github.com".to_owned(),
            github_api_url: String::new(),
            allowed_organizations: BTreeSet::new(),
            scope: Vec::new(),
            login_service: "GitHub".to_owned(),
            ca_file: PathBuf::new(),
            timeout: Seconds::new(10),
        }
    }
}

/// People sign in at a provider of OpenID Connect: Keycloak, Entra ID, Google, Okta, Dex …
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// Who the provider is, exactly as it calls itself. Its addresses are found at `/.well-known/openid-configuration`
    /// below.
    pub issuer: String,
    /// As the provider knows us. Empty: the variable `OAUTH_CLIENT_ID`.
    pub client_id: String,
    /// Our secret there. Empty: the variable `OAUTH_CLIENT_SECRET`; none: a public client, which PKCE alone protects.
    pub client_secret: String,
    /// Where people come back to: `https://hub.example.org/hub/oauth_callback`. It is what the provider knows. Empty: the
    /// variable `OAUTH_CALLBACK_URL`, else the address under which the visitor sees the hub.
    pub oauth_callback_url: String,
    /// What is asked for, besides `openid`.
    pub scope: Vec<String>,
    /// The name of a user, out of the provider's claims: `"{preferred_username}"`, `"{email}"`, `"{resource.name}"`.
    pub username_template: String,
    /// What is taken off the end of the name, where it is there: `"@example.org"`. Who has another end keeps it.
    pub username_suffix: String,
    /// The claim that lists a person's groups: `"groups"`, `"realm_access.roles"`. Empty: none does.
    pub groups_claim: String,
    /// Only those who have these values in these claims may sign in: `{"hd": ["example.org"]}`.
    pub required_claims: BTreeMap<String, BTreeSet<String>>,
    /// Only those whose address the provider has verified (`email_verified`) may sign in.
    pub require_verified_email: bool,
    /// Have the claims of the userinfo endpoint, too?
    pub userinfo: bool,
    /// Seconds since a person last proved who they are at the provider, at most; 0: any.
    pub max_age: Seconds,
    /// One of these ways of proving it is needed (`acr`). Empty: any.
    pub acr_values: BTreeSet<String>,
    /// How the provider may sign: of `RS256` `RS384` `RS512` `PS256` `PS384` `PS512` `ES256` `ES384`.
    pub algorithms: BTreeSet<String>,
    /// Further fields of the address that people are sent to: `{"hd": "example.org"}`.
    pub extra_authorize_params: BTreeMap<String, String>,
    /// Where people go after signing out here. Empty: to our sign-in page.
    pub logout_redirect_url: String,
    /// What the button says.
    pub login_service: String,
    /// Who vouches for the provider's server, PEM: for a server inside the house. Empty: whom this machine trusts.
    pub ca_file: PathBuf,
    /// Seconds that one answer of it may take.
    pub timeout: Seconds,
}

impl Default for Oidc {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: String::new(),
            oauth_callback_url: String::new(),
            scope: texts(&["profile", "email"]),
            username_template: "{preferred_username}".to_owned(),
            username_suffix: String::new(),
            groups_claim: String::new(),
            required_claims: BTreeMap::new(),
            require_verified_email: false,
            userinfo: false,
            max_age: Seconds::new(0),
            acr_values: BTreeSet::new(),
            algorithms: ["RS256", "ES256"].map(str::to_owned).into(),
            extra_authorize_params: BTreeMap::new(),
            logout_redirect_url: String::new(),
            login_service: "OpenID".to_owned(),
            ca_file: PathBuf::new(),
            timeout: Seconds::new(10),
        }
    }
}

/// The claims that a template of names has in it.
///
/// # Errors
///
/// It has none, or its braces do not fit.
pub fn claims_in(template: &str) -> Result<Vec<&str>, String> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
        if before.contains('}') || name.is_empty() || name.contains('{') {
            return Err("a claim stands in braces: `{email}`".to_owned());
        }
        found.push(name);
        rest = after;
    }
    if rest.contains('}') || found.is_empty() {
        return Err("it names no claim: `{email}`".to_owned());
    }
    Ok(found)
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Oidc");
        it.field("issuer", &self.issuer).field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

//! GitHub and GitHub Enterprise Server, which speak OAuth 2 and an API of their own.
//! (`spec/auth-and-spawn.md` 5.5; <https://docs.github.com/rest>.)

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use http::{Response, header};
use jovis_actors::{
    domain::{Secret, Subject, quote},
    ports::{
        Authenticator, Boxed, Departure, Flow, Identity, LoginError, Redirect, Refresh, Return,
    },
};
use oauth2::url::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    asking::{self, Asking, Shared, word},
    oidc::kept,
    one,
    token::{Proof, Tokens, Us},
};
use crate::config::sections;

/// Where the API of github.com is.
const API: &str = "https://api.github.com";
/// Most pages of a list that are read, a hundred entries each.
const PAGES: usize = 20;

/// GitHub.
pub struct GitHub {
    settings: sections::GitHub,
    /// Tell the groups?
    groups: bool,
    home: String,
    api: String,
    token: String,
    asking: Shared,
}

/// A person there. What else is told is kept as it is.
#[derive(Debug, Deserialize)]
struct Person {
    id: u64,
    login: String,
}

#[derive(Debug, Deserialize)]
struct Organisation {
    login: String,
}

#[derive(Debug, Deserialize)]
struct Team {
    slug: String,
    organization: Organisation,
}

#[derive(Debug, Deserialize)]
struct Membership {
    state: String,
}

/// What an answer says about a token.
enum Asked<T> {
    Answer(T),
    /// The token is no good.
    Gone,
}

impl GitHub {
    /// By these settings. `groups`: are people's organisations and teams wanted as groups?
    ///
    /// # Errors
    ///
    /// They cannot be used.
    pub fn new(settings: sections::GitHub, groups: bool) -> Result<Self, String> {
        let home = settings.github_url.trim_end_matches('/').to_owned();
        let api = match settings.github_api_url.trim_end_matches('/') {
            "" if home == "https://github.com" => API.to_owned(),
            "" => format!("{home}/api/v3"),
            api => api.to_owned(),
        };
        let asking = Asking::new(&home, &settings.ca_file, settings.timeout)?;
        if !asking.is_allowed(&home) || !asking.is_allowed(&api) {
            return Err("github_url: it does not begin with https://".to_owned());
        }
        let token = format!("{home}/login/oauth/access_token");
        Ok(Self { settings, groups, home, api, token, asking: Arc::new(asking) })
    }

    fn us(&self) -> Us<'_> {
        Us {
            endpoint: &self.token,
            id: &self.settings.client_id,
            secret: &self.settings.client_secret,
            proof: Proof::Body,
        }
    }

    fn target(&self, departure: &Departure) -> Result<String, LoginError> {
        let target = Url::parse(&format!("{}/login/oauth/authorize", self.home));
        let mut target =
            target.map_err(|_| LoginError::Failed("github_url is no address".to_owned()))?;
        let mut scope: BTreeSet<&str> = self.settings.scope.iter().map(String::as_str).collect();
        if self.groups || !self.settings.allowed_organizations.is_empty() {
            scope.insert("read:org");
        }
        let scope: Vec<_> = scope.into_iter().collect();
        let mut query = target.query_pairs_mut();
        query
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &departure.callback)
            .append_pair("response_type", "code")
            .append_pair("state", &departure.state)
            .append_pair("code_challenge", &departure.challenge)
            .append_pair("code_challenge_method", "S256");
        if !scope.is_empty() {
            query.append_pair("scope", &scope.join(" "));
        }
        drop(query);
        Ok(target.into())
    }

    async fn who(&self, back: &Return) -> Result<Identity, LoginError> {
        let refused = |why: String| LoginError::Refused(why);
        if let Some(error) = one(&back.query, "error").map_err(refused)? {
            return Err(refused(format!("the provider said {}", word(error))));
        }
        let code = one(&back.query, "code").map_err(refused)?;
        let code = code.ok_or_else(|| refused("there is no code in the answer".to_owned()))?;
        let us = self.us();
        let tokens = us.redeem(&self.asking, &back.callback, code, &back.verifier).await?;
        match self.identity(&tokens).await? {
            Asked::Answer(identity) => Ok(identity),
            Asked::Gone => Err(refused("its token is not good".to_owned())),
        }
    }

    /// Whose tokens they are.
    async fn identity(&self, tokens: &Tokens) -> Result<Asked<Identity>, LoginError> {
        let token = tokens.access.reveal();
        let answer = self.asking.get(&format!("{}/user", self.api), Some(token)).await?;
        if answer.status() == 401 {
            return Ok(Asked::Gone);
        }
        let facts: Value = asking::json("the person", &answer)?;
        let person: Person = asking::json("the person", &answer)?;
        let allowed = self.is_allowed(&person, token).await?;
        let groups = if self.groups { Some(self.memberships(token).await?) } else { None };
        Ok(Asked::Answer(Identity {
            subject: Some(Subject { issuer: self.home.clone(), id: person.id.to_string() }),
            allowed,
            groups,
            unix_groups: None,
            auth_state: Some(state(tokens, &facts)),
            ..Identity::named(person.login)
        }))
    }

    /// Is the person in one of the organisations or teams that may enter?
    async fn is_allowed(&self, person: &Person, token: &str) -> Result<bool, LoginError> {
        let name = quote::segment(&person.login);
        for place in &self.settings.allowed_organizations {
            let member = match place.split_once(':') {
                None => {
                    let organisation = quote::segment(place);
                    let address = format!("{}/orgs/{organisation}/members/{name}", self.api);
                    let answer = self.asking.get(&address, Some(token)).await?;
                    // 302: we may not see it, so whoever asks is none.
                    known(&answer, &[204], &[302, 404])?
                }
                Some((organisation, team)) => {
                    let (organisation, team) = (quote::segment(organisation), quote::segment(team));
                    let address =
                        format!("{}/orgs/{organisation}/teams/{team}/memberships/{name}", self.api);
                    let answer = self.asking.get(&address, Some(token)).await?;
                    known(&answer, &[200], &[404])?
                        && asking::json::<Membership>("a membership", &answer)?.state == "active"
                }
            };
            if member {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Organisations, and teams as `organisation:team`.
    async fn memberships(&self, token: &str) -> Result<Vec<String>, LoginError> {
        let organisations: Vec<Organisation> = self.list("/user/orgs", token).await?;
        let teams: Vec<Team> = self.list("/user/teams", token).await?;
        let teams =
            teams.into_iter().map(|team| format!("{}:{}", team.organization.login, team.slug));
        Ok(organisations.into_iter().map(|it| it.login).chain(teams).collect())
    }

    /// All pages of a list.
    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
    ) -> Result<Vec<T>, LoginError> {
        let mut all = Vec::new();
        for page in 1..=PAGES {
            let address = format!("{}{path}?per_page=100&page={page}", self.api);
            let answer = self.asking.get(&address, Some(token)).await?;
            all.extend(asking::json::<Vec<T>>(path, &answer)?);
            if !has_next(&answer) {
                return Ok(all);
            }
        }
        Err(LoginError::Failed(format!("{path} has more than {PAGES} pages")))
    }

    /// Is the person still who they were, and still where they were?
    async fn again(&self, who: &Identity) -> Result<Refresh, LoginError> {
        let Some(state) = kept(who) else { return Ok(Refresh::Expired) };
        let secret = |name: &str| {
            let text = state.get(name).and_then(Value::as_str)?;
            Some(Secret::new(text.to_owned()))
        };
        let Some(access) = secret("access_token") else { return Ok(Refresh::Expired) };
        let scope = state.get("scope").and_then(Value::as_array).into_iter().flatten();
        let scope = scope.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        let old = Tokens { access, refresh: secret("refresh_token"), id_token: None, scope };
        let now = match self.identity(&old).await? {
            Asked::Answer(now) => now,
            Asked::Gone => {
                let Some(refresh) = &old.refresh else { return Ok(Refresh::Expired) };
                let mut new = match self.us().refresh(&self.asking, refresh).await {
                    Ok(new) => new,
                    Err(LoginError::Refused(_)) => return Ok(Refresh::Expired),
                    Err(error) => return Err(error),
                };
                new.refresh = new.refresh.or_else(|| old.refresh.clone());
                match self.identity(&new).await? {
                    Asked::Answer(now) => now,
                    Asked::Gone => return Ok(Refresh::Expired),
                }
            }
        };
        Ok(if now.subject == who.subject { Refresh::Changed(now) } else { Refresh::Expired })
    }
}

/// Yes, no, or GitHub does not tell.
fn known(answer: &Response<Bytes>, yes: &[u16], no: &[u16]) -> Result<bool, LoginError> {
    let status = answer.status().as_u16();
    match (yes.contains(&status), no.contains(&status)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(LoginError::Failed(format!("a membership: answered {}", answer.status()))),
    }
}

/// Is there another page? (RFC 8288.)
fn has_next(answer: &Response<Bytes>) -> bool {
    let links = answer.headers().get_all(header::LINK).into_iter();
    links.filter_map(|links| links.to_str().ok()).any(|links| links.contains("rel=\"next\""))
}

/// What is kept, as JupyterHub's authenticator keeps it.
fn state(tokens: &Tokens, facts: &Value) -> Secret {
    let state = json!({
        "access_token": tokens.access.reveal(),
        "refresh_token": tokens.refresh.as_ref().map(|it| it.reveal().clone()),
        "scope": tokens.scope,
        "github_user": facts,
    });
    Secret::new(state.to_string())
}

impl Redirect for GitHub {
    fn issuer(&self) -> &str {
        &self.home
    }

    fn service(&self) -> &str {
        &self.settings.login_service
    }

    fn callback(&self) -> &str {
        &self.settings.oauth_callback_url
    }

    fn depart<'a>(&'a self, departure: &'a Departure) -> Boxed<'a, Result<String, LoginError>> {
        Box::pin(std::future::ready(self.target(departure)))
    }

    fn arrive<'a>(&'a self, back: &'a Return) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(self.who(back))
    }
}

impl Authenticator for GitHub {
    fn flow(&self) -> Flow<'_> {
        Flow::Redirect(self)
    }

    fn refresh<'a>(&'a self, who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(self.again(who))
    }
}

//! An authenticator that knows the passwords it was told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::ports::{
    Authenticator, Boxed, Credentials, Departure, Flow, Identity, LoginError, Password, Redirect,
    Refresh, Return,
};

/// Passwords, and what else is to happen. Clones share all of it.
#[derive(Clone, Default)]
pub struct ScriptedAuthenticator(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    people: HashMap<String, (String, Identity)>,
    failing: Option<LoginError>,
    delay: Duration,
    refresh: Option<Refresh>,
    asked: u64,
}

impl ScriptedAuthenticator {
    /// This person exists: an identity without admin or info.
    pub fn with(self, name: &str, password: &str) -> Self {
        let identity = Identity::named(name.to_owned());
        self.with_identity(name, password, identity)
    }

    /// Who types this name and password is this identity.
    pub fn with_identity(self, typed: &str, password: &str, identity: Identity) -> Self {
        self.edit(|it| it.people.insert(typed.to_owned(), (password.to_owned(), identity)));
        self
    }

    /// Every check fails so from now on, or no longer.
    pub fn set_failing(&self, error: Option<LoginError>) {
        self.edit(|it| it.failing = error);
    }

    /// Every check takes so long.
    pub fn set_delay(&self, delay: Duration) {
        self.edit(|it| it.delay = delay);
    }

    /// What a refresh says; [`Refresh::Same`] if nothing was set.
    pub fn set_refresh(&self, refresh: Refresh) {
        self.edit(|it| it.refresh = Some(refresh));
    }

    /// How many passwords were checked.
    pub fn asked(&self) -> u64 {
        self.edit(|it| it.asked)
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Script) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Password for ScriptedAuthenticator {
    fn check<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(async move {
            let delay = self.edit(|it| {
                it.asked += 1;
                it.delay
            });
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            self.edit(|it| match (&it.failing, it.people.get(&credentials.username)) {
                (Some(error), _) => Err(error.clone()),
                (None, Some((password, who))) if password == credentials.password.reveal() => {
                    Ok(who.clone())
                }
                (None, Some(_)) => Err(LoginError::Refused("wrong password".to_owned())),
                (None, None) => Err(LoginError::Refused("unknown user".to_owned())),
            })
        })
    }
}

impl Authenticator for ScriptedAuthenticator {
    fn flow(&self) -> Flow<'_> {
        Flow::Password(self)
    }

    fn refresh<'a>(&'a self, _who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        let answer = self.edit(|it| it.refresh.clone()).unwrap_or(Refresh::Same);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// A provider elsewhere that vouches for whoever brings a code it knows.
#[derive(Clone)]
pub struct ScriptedRedirect(Arc<Mutex<Provider>>, String);

#[derive(Default)]
struct Provider {
    codes: HashMap<String, Identity>,
    departures: Vec<Departure>,
    arrivals: Vec<Return>,
    refresh: Option<Result<Refresh, LoginError>>,
    refreshed: Vec<Identity>,
    failing: Option<LoginError>,
}

impl ScriptedRedirect {
    /// A provider of this name, whom nobody knows yet.
    pub fn new(service: &str) -> Self {
        Self(Arc::default(), service.to_owned())
    }

    /// Who comes back with this code is this person.
    pub fn with(self, code: &str, name: &str) -> Self {
        self.with_identity(code, Identity::named(name.to_owned()))
    }

    /// The same, with all there is to say about this person.
    pub fn with_identity(self, code: &str, who: Identity) -> Self {
        self.edit(|it| it.codes.insert(code.to_owned(), who));
        self
    }

    /// What a refresh says; [`Refresh::Same`] if nothing was set.
    pub fn set_refresh(&self, refresh: Result<Refresh, LoginError>) {
        self.edit(|it| it.refresh = Some(refresh));
    }

    /// Who was asked after so far.
    pub fn refreshed(&self) -> Vec<Identity> {
        self.edit(|it| it.refreshed.clone())
    }

    /// Every answer is this from now on, or no longer.
    pub fn set_failing(&self, error: Option<LoginError>) {
        self.edit(|it| it.failing = error);
    }

    /// Who was sent here so far.
    pub fn departures(&self) -> Vec<Departure> {
        self.edit(|it| it.departures.clone())
    }

    /// Who came back so far.
    pub fn arrivals(&self) -> Vec<Return> {
        self.edit(|it| it.arrivals.clone())
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Provider) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Redirect for ScriptedRedirect {
    fn farewell(&self) -> &str {
        "https://provider.example/goodbye"
    }

    fn issuer(&self) -> &str {
        "https://provider.example"
    }

    fn service(&self) -> &str {
        &self.1
    }

    fn depart<'a>(&'a self, departure: &'a Departure) -> Boxed<'a, Result<String, LoginError>> {
        let answer = self.edit(|it| {
            it.departures.push(departure.clone());
            match &it.failing {
                Some(error) => Err(error.clone()),
                None => Ok(format!(
                    "https://provider.example/authorize?state={}&code_challenge={}",
                    departure.state, departure.challenge
                )),
            }
        });
        Box::pin(std::future::ready(answer))
    }

    fn arrive<'a>(&'a self, back: &'a Return) -> Boxed<'a, Result<Identity, LoginError>> {
        let code = back.query.iter().find(|(name, _)| name == "code").map(|(_, code)| code);
        let answer = self.edit(|it| {
            it.arrivals.push(back.clone());
            match (&it.failing, code.and_then(|code| it.codes.get(code))) {
                (Some(error), _) => Err(error.clone()),
                (None, Some(who)) => Ok(who.clone()),
                (None, None) => Err(LoginError::Refused("unknown code".to_owned())),
            }
        });
        Box::pin(std::future::ready(answer))
    }
}

impl Authenticator for ScriptedRedirect {
    fn flow(&self) -> Flow<'_> {
        Flow::Redirect(self)
    }

    fn refresh<'a>(&'a self, who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        let answer = self.edit(|it| {
            it.refreshed.push(who.clone());
            it.refresh.clone()
        });
        Box::pin(std::future::ready(answer.unwrap_or(Ok(Refresh::Same))))
    }
}

//! The task that sees to it that there is a certificate: waits until one is due, tries, and tries again.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use instant_acme::{Account, AccountCredentials, NewAccount};
use jovis_actors::domain::Secret;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    client::Client,
    order::{self, OrderError},
    rules::{self, Tries},
    store::{Kind, Store},
    suggested,
};
use crate::{
    config::{
        certificate,
        sections::{Acme, AcmeChallenge},
    },
    fetch::{
        short,
        trust::{Trust, TrustError},
    },
    proxy::{
        drain::{Phase, reached},
        shared::Shared,
    },
    telemetry::logs::chain,
};

/// Longest time from the beginning of a try to its end.
const TRY: Duration = Duration::from_secs(15 * 60);
/// Longest sleep: then the clock is looked at anew, which may have been set.
const NAP: Duration = Duration::from_secs(600);
/// How often the authority is asked whether it would have the certificate renewed sooner (RFC 9773, section 4.3.2, asks for
/// as much).
const ASKING: Duration = Duration::from_secs(6 * 3600);
/// Wait after a failure of our own.
const AGAIN: Duration = Duration::from_secs(60);

/// What shall be, and where it is kept.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The settings.
    pub(super) acme: Acme,
    /// Who vouches for the authority's server, PEM; empty: whom this machine trusts.
    pub(super) authorities: Vec<u8>,
    /// The challenge that is met.
    pub(super) challenge: AcmeChallenge,
    /// What lasts.
    pub(super) store: Arc<Store>,
    /// An operator has been there.
    pub(super) hurry: Notify,
}

impl Wanted {
    /// Is the same wanted?
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.acme, &self.authorities, self.challenge)
            == (&other.acme, &other.authorities, other.challenge)
    }
}

/// A certificate with its key, PEM; none so far.
pub(super) type Held = Option<Arc<Secret<Vec<u8>>>>;

/// Why a try came to nothing.
#[derive(Debug, Error)]
enum TryError {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("account: {}", order::words(.0))]
    Account(instant_acme::Error),
    #[error("whom to trust")]
    Trust(#[from] TrustError),
    #[error("the folder of certificates")]
    Store(#[from] io::Error),
    #[error("it took too long")]
    Late,
    #[error("a thread that writes files")]
    Thread(#[from] JoinError),
}

/// Our account with the authority, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    credentials: AccountCredentials,
    email: String,
}

/// Keeps a certificate in `held`, from when visitors are let in until another proxy takes over.
pub(super) async fn keep(shared: Arc<Shared>, wanted: Arc<Wanted>, held: watch::Sender<Held>) {
    let held = Arc::new(held);
    let mut phase = shared.phase.subscribe();
    reached(&mut phase, Phase::Open).await;
    let mut leaving = shared.phase.subscribe();
    loop {
        let mut renewing = JoinSet::new();
        renewing.spawn(renew(shared.clone(), wanted.clone(), held.clone()));
        tokio::select! {
            () = reached(&mut leaving, Phase::Retiring) => return,
            ended = renewing.join_next() => {
                let error = ended.and_then(Result::err).map(|error| error.to_string());
                error!(error = error.unwrap_or_default(), "acme task ended");
                sleep(AGAIN).await;
            }
        }
    }
}

/// For ever.
async fn renew(shared: Arc<Shared>, wanted: Arc<Wanted>, held: Arc<watch::Sender<Held>>) {
    let acme = &wanted.acme;
    let retry = acme.retry.duration();
    // The proxy before us may have been at it after we looked.
    if let Some(found) = load(&wanted.store) {
        let is_news = held.borrow().as_ref().is_none_or(|held| **held != found);
        if is_news {
            held.send_replace(Some(Arc::new(found)));
        }
    }
    let mut tries = tries(&wanted.store);
    let chance = chance();
    // What the authority would, and when it was asked.
    let (mut window, mut asked) = (None, None);
    loop {
        let due = held.borrow().as_ref().map_or(0, |held| {
            let due = rules::due(held.reveal(), &acme.names, acme.renew_before_days, chance);
            window.map_or(due, |window| rules::sooner(due, held.reveal(), window, chance))
        });
        tokio::select! {
            () = wait_until(|| tries.next(due, now(), retry)) => {}
            said = ask(&wanted, &held, asked) => {
                asked = Some(Instant::now());
                window = said.or(window);
                continue;
            }
            () = wanted.hurry.notified() => {
                tries = tries.hurried(retry);
                continue;
            }
        }
        if held.borrow().is_some() && tries.failures == 0 {
            info!(names = %acme.names.join(" "), "acme renewal due");
        }
        let began = Instant::now();
        tries = tries.begun(now(), retry, self::chance());
        let client = match client(&wanted) {
            Ok(client) => client,
            Err(error) => {
                tries = failed(tries, &error, None);
                continue;
            }
        };
        let trying = async {
            keep_file(&wanted, Kind::Tries, to_json(&tries)).await?;
            let both = attempt(&shared, &wanted, client.clone()).await?;
            // It is used even if it cannot be kept.
            let written = keep_file(&wanted, Kind::Certificate, both.clone()).await;
            Ok::<_, TryError>((both, written))
        };
        match timeout(TRY, trying).await.unwrap_or(Err(TryError::Late)) {
            Ok((both, written)) => {
                let until = certificate::expiry(&both)
                    .and_then(|end| jiff::Timestamp::from_second(end).ok());
                let until = until.map_or_else(String::new, |until| until.to_string());
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(names = %acme.names.join(" "), until, took_ms, "acme certificate obtained");
                if let Err(error) = written {
                    warn!(what = ?Kind::Certificate, error = %chain(&error), "acme file unusable");
                }
                held.send_replace(Some(Arc::new(Secret::new(both))));
                (window, asked) = (None, None);
                tries = tries.over();
            }
            Err(error) => tries = failed(tries, &error, client.told_to_wait()),
        }
        if let Err(error) = keep_file(&wanted, Kind::Tries, to_json(&tries)).await {
            warn!(what = ?Kind::Tries, error = %chain(&error), "acme file unusable");
        }
    }
}

/// Asks, when it is time to, in which window the authority would have the certificate renewed.
async fn ask(
    wanted: &Wanted,
    held: &watch::Sender<Held>,
    asked: Option<Instant>,
) -> Option<(i64, i64)> {
    let Some(held) = held.borrow().clone() else { return std::future::pending().await };
    if let Some(asked) = asked {
        sleep(ASKING.saturating_sub(asked.elapsed())).await;
    }
    suggested::window(&client(wanted).ok()?, &wanted.acme.directory, held.reveal()).await
}

fn client(wanted: &Wanted) -> Result<Client, TrustError> {
    let trust = Trust { authorities: wanted.authorities.clone(), ..Trust::default() };
    Ok(Client::new(trust.config()?))
}

fn failed(tries: Tries, error: &dyn std::error::Error, told: Option<u64>) -> Tries {
    let tries = tries.failed(now(), told);
    let next_s = tries.next(0, now(), Duration::ZERO) - now();
    warn!(error = %chain(error), count = tries.failures, next_s, "acme attempt failed");
    tries
}

async fn attempt(
    shared: &Shared,
    wanted: &Arc<Wanted>,
    client: Client,
) -> Result<Vec<u8>, TryError> {
    let names: Vec<_> = wanted.acme.names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let account = account(wanted, client).await?;
    match order::obtain(&account, &names, wanted.challenge, &shared.challenges).await {
        Ok(both) => Ok(both.to_vec()),
        Err(error) => {
            if error.is_stranger() {
                // The next try makes another one.
                let store = wanted.store.clone();
                spawn_blocking(move || store.forget(Kind::Account)).await??;
            }
            Err(error.into())
        }
    }
}

/// The account that there is, or a new one.
async fn account(wanted: &Arc<Wanted>, client: Client) -> Result<Account, TryError> {
    let acme = &wanted.acme;
    let contact = format!("mailto:{}", acme.email);
    let contacts: &[&str] = if acme.email.is_empty() { &[] } else { &[&contact] };
    let builder = Account::builder_with_http(Box::new(client));
    let store = wanted.store.clone();
    let kept = spawn_blocking(move || store.read(Kind::Account)).await??;
    let kept = kept.and_then(|json| {
        let kept = serde_json::from_slice::<Kept>(&json);
        // Its error may quote the file, and it holds a key.
        kept.inspect_err(|_| warn!(what = ?Kind::Account, "acme file unusable")).ok()
    });
    let Some(mut kept) = kept else {
        let wish = NewAccount {
            contact: contacts,
            terms_of_service_agreed: acme.terms_agreed,
            only_return_existing: false,
        };
        let made = builder.create(&wish, acme.directory.clone(), None).await;
        let (account, credentials) = made.map_err(TryError::Account)?;
        let kept = Kept { credentials, email: acme.email.clone() };
        keep_file(wanted, Kind::Account, to_json(&kept)).await?;
        info!(url = %short(account.id()), "acme account made");
        return Ok(account);
    };
    let json = to_json(&kept.credentials);
    let credentials = serde_json::from_slice(&json).map_err(io::Error::from)?;
    let account = builder.from_credentials(credentials).await.map_err(TryError::Account)?;
    if kept.email != acme.email {
        account.update_contacts(contacts).await.map_err(TryError::Account)?;
        kept.email.clone_from(&acme.email);
        keep_file(wanted, Kind::Account, to_json(&kept)).await?;
    }
    Ok(account)
}

/// Disks may be slow, and the proxy answers root meanwhile.
async fn keep_file(wanted: &Arc<Wanted>, kind: Kind, bytes: Vec<u8>) -> Result<(), TryError> {
    let store = wanted.store.clone();
    Ok(spawn_blocking(move || store.write(kind, &bytes)).await??)
}

/// The certificate that is kept; none that can be used: what is wrong has been said.
pub(super) fn load(store: &Store) -> Option<Secret<Vec<u8>>> {
    let read = store.read(Kind::Certificate).map_err(|error| error.to_string());
    let both = read.and_then(|both| match both {
        None => Ok(None),
        Some(both) => certificate::fits(&both, &both).map(|()| Some(Secret::new(both))),
    });
    let warned = |error: &String| warn!(what = ?Kind::Certificate, %error, "acme file unusable");
    both.inspect_err(warned).ok().flatten()
}

fn tries(store: &Store) -> Tries {
    let read = store.read(Kind::Tries).ok().flatten();
    read.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}

async fn wait_until(moment: impl Fn() -> i64) {
    while let Ok(left @ 1..) = u64::try_from(moment().saturating_sub(now())) {
        sleep(Duration::from_secs(left).min(NAP)).await;
    }
}

fn chance() -> u64 {
    RandomState::new().hash_one(())
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}

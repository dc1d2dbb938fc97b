//! One certificate, from asking for it to having it.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use ring::digest::{SHA256, digest};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    Challenges,
    challenges::Met,
    issue::{self, IssueError},
    rules,
};
use crate::{config::sections::AcmeChallenge, fetch::short, telemetry::logs::chain};

/// How an order's state is asked for: soon, then ever more seldom, and not for ever. (Less long where tests play
/// authorities that never come to an end.)
const ASKING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(if cfg!(feature = "faults") { 8 } else { 120 }));

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(super) enum OrderError {
    /// The authority's word, or what came in its place.
    #[error("{}: {}", .0, words(.1))]
    Authority(&'static str, Error),
    /// It does not see whose the name is in the way that we can show.
    #[error("the authority offers no {1} for {0}")]
    NotOffered(String, &'static str),
    /// It has looked and not found what it should.
    #[error("the authority could not convince itself: {0}")]
    Refused(String),
    /// It asks about what we did not ask for.
    #[error("the authority asks about {0}")]
    Foreign(String),
    /// Our own part.
    #[error("a certificate of our own making")]
    Issue(#[from] IssueError),
    /// What came is not what we asked for.
    #[error("what the authority gave is not used: {0}")]
    NotTaken(String),
}

impl OrderError {
    /// Does the authority not know our account (any more)?
    pub(super) fn is_stranger(&self) -> bool {
        let Self::Authority(_, Error::Api(problem)) = self else { return false };
        problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
    }
}

/// What it says, with the causes that it does not say itself.
pub(super) fn words(error: &Error) -> String {
    short(&match error {
        Error::Other(other) => chain(other.as_ref()).to_string(),
        other => other.to_string(),
    })
}

fn failed(doing: &'static str) -> impl Fn(Error) -> OrderError {
    move |error| OrderError::Authority(doing, error)
}

/// Gets a certificate of these names; key and chain, PEM.
pub(super) async fn obtain(
    account: &Account,
    names: &[String],
    how: AcmeChallenge,
    challenges: &Arc<Challenges>,
) -> Result<Zeroizing<Vec<u8>>, OrderError> {
    let wanted: Vec<_> = names.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let mut order =
        account.new_order(&NewOrder::new(&wanted)).await.map_err(failed("new order"))?;
    let met = challenges.meet();
    meet(&mut order, names, how, &met).await?;
    let status = match order.state().status {
        OrderStatus::Ready => OrderStatus::Ready,
        _ => order.poll_ready(&ASKING).await.map_err(failed("validation"))?,
    };
    if status != OrderStatus::Ready {
        return Err(OrderError::Refused(complaints(&mut order).await));
    }
    drop(met);
    let (key, request) = issue::request(names)?;
    order.finalize_csr(&request).await.map_err(failed("certificate request"))?;
    let chain = order.poll_certificate(&ASKING).await.map_err(failed("certificate"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    rules::take(chain.as_bytes(), &key, names, now).map_err(OrderError::NotTaken)?;
    let mut both = key;
    both.extend_from_slice(chain.as_bytes());
    Ok(both)
}

/// Shows for each name that it is ours, and says so.
async fn meet(
    order: &mut Order,
    names: &[String],
    how: AcmeChallenge,
    met: &Met<'_>,
) -> Result<(), OrderError> {
    let (kind, word) = match how {
        AcmeChallenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        _ => (ChallengeType::Http01, "http-01"),
    };
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one.map_err(failed("authorization"))?;
        let name = one.identifier().to_string();
        if one.wildcard || !names.contains(&name) {
            return Err(OrderError::Foreign(short(&name)));
        }
        match one.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            other => return Err(OrderError::Refused(format!("{name} is {other:?}"))),
        }
        let Some(mut challenge) = one.challenge(kind.clone()) else {
            return Err(OrderError::NotOffered(name, word));
        };
        let proof = challenge.key_authorization();
        if how == AcmeChallenge::TlsAlpn01 {
            let hash = digest(&SHA256, proof.as_str().as_bytes());
            let hash = hash.as_ref().try_into().expect("SHA-256 has 32 bytes");
            met.by_tls(&name, issue::challenge(&name, hash)?);
        } else {
            met.by_http(&challenge.token, proof.as_str());
        }
        challenge.set_ready().await.map_err(failed("challenge"))?;
    }
    Ok(())
}

/// What the authority found at each name that it did not like.
async fn complaints(order: &mut Order) -> String {
    let mut words = String::new();
    let mut all = order.authorizations();
    while let Some(Ok(mut one)) = all.next().await {
        let Ok(state) = one.refresh().await else { continue };
        let name = state.identifier().to_string();
        for error in state.challenges.iter().filter_map(|it| it.error.as_ref()) {
            let detail = error.detail.as_deref().or(error.r#type.as_deref()).unwrap_or_default();
            let _ = write!(words, "{}: {}; ", short(&name), short(detail));
        }
    }
    if words.is_empty() { "it does not say why".to_owned() } else { short(&words) }
}

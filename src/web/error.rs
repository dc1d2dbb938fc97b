//! The one place where an error becomes a status.

use std::fmt;

use http::StatusCode;
use jovis_actors::{
    accounts::{
        CodeRefused, GroupRefused, NoticeRefused, ServerRefused, ServiceRefused, ShareRefused,
        TokenRefused, UserRefused,
    },
    logins::{KeepRefused, SignInRefused},
    ports::{AccountError, StoreError},
    routes::RouteError,
    spawners::{StartRefused, StopRefused},
    store::ChangeError,
    supervise::{Quarantined, Unavailable},
};

/// What a handler answers where it cannot do what was asked. Pages show it in HTML, the API as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// One sentence for the client; null on the wire where there is none.
    pub(crate) message: Option<String>,
    /// Seconds for `Retry-After`.
    pub(crate) retry_after: Option<u64>,
}

impl Error {
    fn new(status: StatusCode, message: impl fmt::Display) -> Self {
        Self { status, message: Some(message.to_string()), retry_after: None }
    }

    fn later(status: StatusCode, message: impl fmt::Display, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..Self::new(status, message) }
    }

    /// 400.
    pub(crate) fn bad(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403.
    pub(crate) fn forbidden(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 403 for want of valid credentials. (The hub never says 401.)
    pub(crate) fn anonymous() -> Self {
        Self::forbidden("missing or invalid credentials")
    }

    /// 404 for what is not there, or not for this caller: the same words for both.
    pub(crate) fn hidden() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no access to this resource, or it was not found")
    }

    /// 404 for a path that is no path of ours.
    pub(crate) fn no_page() -> Self {
        Self { status: StatusCode::NOT_FOUND, message: None, retry_after: None }
    }

    /// 404 with a word.
    pub(crate) fn missing(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 405.
    pub(crate) fn method() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, message: None, retry_after: None }
    }

    /// 409.
    pub(crate) fn conflict(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large")
    }

    /// 422.
    pub(crate) fn unprocessable(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 429 for too many at once.
    pub(crate) fn crowded(message: impl fmt::Display) -> Self {
        Self::later(StatusCode::TOO_MANY_REQUESTS, message, 5)
    }

    /// 503, for a while.
    pub(crate) fn unable(message: impl fmt::Display) -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, message, 5)
    }

    /// 500, with words for the person.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// For the log; clients get the status and the message apart.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or(self.status.as_str()))
    }
}

impl From<Unavailable> for Error {
    fn from(why: Unavailable) -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 5)
    }
}

impl From<StoreError> for Error {
    fn from(why: StoreError) -> Self {
        match why {
            StoreError::Full => Self::later(StatusCode::INSUFFICIENT_STORAGE, why, 60),
            StoreError::Unfit(_) => Self::bad(why),
            StoreError::Disk { .. } | StoreError::Uncertain { .. } | StoreError::Damaged(_) => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 30)
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display + Into<Self>> From<ChangeError<E>> for Error {
    fn from(why: ChangeError<E>) -> Self {
        match why {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Busy | ChangeError::Unavailable => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 5)
            }
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<CodeRefused> for Error {
    fn from(why: CodeRefused) -> Self {
        match why {
            CodeRefused::SignedOut => Self::forbidden(why),
        }
    }
}

impl From<TokenRefused> for Error {
    fn from(why: TokenRefused) -> Self {
        match why {
            TokenRefused::NoOwner => Self::hidden(),
            TokenRefused::Excess(_)
            | TokenRefused::LongNote
            | TokenRefused::ManyScopes
            | TokenRefused::ManyTokens => Self::bad(why),
        }
    }
}

impl From<ServerRefused> for Error {
    fn from(why: ServerRefused) -> Self {
        match why {
            ServerRefused::NoUser | ServerRefused::NoServer => Self::hidden(),
            ServerRefused::Taken => Self::conflict(why),
            ServerRefused::Active | ServerRefused::Limit { .. } => Self::bad(why),
        }
    }
}

impl From<UserRefused> for Error {
    fn from(why: UserRefused) -> Self {
        match why {
            UserRefused::NoUser => Self::hidden(),
            UserRefused::Exists(_) | UserRefused::AllExist(_) => Self::conflict(why),
            UserRefused::Many
            | UserRefused::Taken(_)
            | UserRefused::Active
            | UserRefused::Stopping => Self::bad(why),
            UserRefused::NotAdmin => Self::forbidden(why),
        }
    }
}

impl From<RouteError> for Error {
    fn from(why: RouteError) -> Self {
        match why {
            RouteError::Late | RouteError::Unread(_) => Self::unable(why),
            RouteError::Unavailable(why) => why.into(),
        }
    }
}

impl From<ShareRefused> for Error {
    fn from(why: ShareRefused) -> Self {
        match why {
            ShareRefused::NoServer => Self::hidden(),
            ShareRefused::Excess(_) => Self::forbidden(why),
            ShareRefused::NoTarget
            | ShareRefused::Unknown(_)
            | ShareRefused::Foreign(_)
            | ShareRefused::ManyScopes
            | ShareRefused::ManyShares
            | ShareRefused::ManyGiven
            | ShareRefused::ManyReceived
            | ShareRefused::ManyCodes(_)
            | ShareRefused::Life
            | ShareRefused::NoCode
            | ShareRefused::Own => Self::bad(why),
        }
    }
}

impl From<ServiceRefused> for Error {
    fn from(why: ServiceRefused) -> Self {
        match why {
            ServiceRefused::Exists(_) => Self::conflict(why),
            ServiceRefused::Missing => Self::hidden(),
            ServiceRefused::Configured(_) => Self::new(StatusCode::METHOD_NOT_ALLOWED, why),
            ServiceRefused::Excess(_) | ServiceRefused::Client(_) | ServiceRefused::Token => {
                Self::bad(why)
            }
        }
    }
}

impl From<GroupRefused> for Error {
    fn from(why: GroupRefused) -> Self {
        match why {
            GroupRefused::NoGroup => Self::hidden(),
            GroupRefused::Exists(_) => Self::conflict(why),
            GroupRefused::NoUser(_) | GroupRefused::Many => Self::bad(why),
            GroupRefused::LargeProperties => Self::new(StatusCode::PAYLOAD_TOO_LARGE, why),
        }
    }
}

impl From<NoticeRefused> for Error {
    fn from(why: NoticeRefused) -> Self {
        match why {
            NoticeRefused::Empty
            | NoticeRefused::Long
            | NoticeRefused::Control
            | NoticeRefused::Over => Self::bad(why),
        }
    }
}

impl From<StartRefused> for Error {
    fn from(why: StartRefused) -> Self {
        match why {
            StartRefused::Running | StartRefused::Stopping => Self::bad(why),
            StartRefused::NoUser => Self::missing(why),
            StartRefused::TooManyStarting { retry_after, .. } => {
                Self::later(StatusCode::TOO_MANY_REQUESTS, why, retry_after.as_secs())
            }
            StartRefused::QueueFull { retry_after, .. }
            | StartRefused::QueuedEnough { retry_after, .. } => {
                Self::later(StatusCode::TOO_MANY_REQUESTS, why, retry_after.as_secs())
            }
            StartRefused::TooManyActive { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, why),
            StartRefused::Maintenance { retry_after, .. } => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, why, retry_after.as_secs())
            }
            StartRefused::NotRecorded(_) => Self::unrecorded(why),
            StartRefused::Aside(aside) => aside.into(),
            StartRefused::Unavailable(why) => why.into(),
        }
    }
}

impl From<StopRefused> for Error {
    fn from(why: StopRefused) -> Self {
        match why {
            StopRefused::NotRunning => Self::bad(why),
            StopRefused::NotRecorded(_) => Self::unrecorded(why),
            StopRefused::Aside(aside) => aside.into(),
            StopRefused::Unavailable(why) => why.into(),
        }
    }
}

/// Something the hub has failed over again and again: not the visitor's fault, and not for now.
impl From<Quarantined> for Error {
    fn from(aside: Quarantined) -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, aside, aside.for_another.as_secs().max(1))
    }
}

impl From<SignInRefused> for Error {
    fn from(why: SignInRefused) -> Self {
        match why {
            SignInRefused::Refused | SignInRefused::NotAllowed { .. } => Self::forbidden(why),
            SignInRefused::Throttled { retry_after } => {
                Self::later(StatusCode::TOO_MANY_REQUESTS, why, retry_after.as_secs())
            }
            SignInRefused::Unable(_) => Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 5),
            SignInRefused::Account(AccountError::Failed(_)) => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 5)
            }
            SignInRefused::Account(_) => Self::forbidden(why),
            SignInRefused::NotRecorded(_) => Self::unrecorded(why),
            SignInRefused::Aside(aside) => aside.into(),
            SignInRefused::Unavailable(why) => why.into(),
        }
    }
}

impl From<KeepRefused> for Error {
    fn from(why: KeepRefused) -> Self {
        match why {
            KeepRefused::Off => Self::bad(why),
            KeepRefused::Unsealed => Self::failed(why),
        }
    }
}

/// Of somebody that an administrator adds.
impl From<AccountError> for Error {
    fn from(why: AccountError) -> Self {
        match why {
            AccountError::Missing(_) | AccountError::Refused(_) => Self::bad(why),
            AccountError::Failed(_) => Self::unable(why),
        }
    }
}

impl Error {
    /// Refusals that carry the store's reason as text: a full disk is told apart by the store's own words.
    fn unrecorded(why: impl fmt::Display) -> Self {
        let text = why.to_string();
        let full = text.contains(&StoreError::Full.to_string());
        let status =
            if full { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::SERVICE_UNAVAILABLE };
        Self::later(status, text, if full { 60 } else { 30 })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_refusal_has_its_status() {
        let status = |error: Error| (error.status.as_u16(), error.retry_after);
        let full = StoreError::Full.to_string();
        assert_eq!(status(StartRefused::Running.into()), (400, None));
        assert_eq!(status(StartRefused::TooManyActive { limit: 1 }.into()), (429, None));
        let retry_after = Duration::from_secs(31);
        assert_eq!(
            status(StartRefused::TooManyStarting { limit: 1, retry_after }.into()),
            (429, Some(31))
        );
        assert_eq!(status(StartRefused::NotRecorded(full).into()), (507, Some(60)));
        assert_eq!(status(StartRefused::NotRecorded("?".into()).into()), (503, Some(30)));
        assert_eq!(status(Unavailable::Timeout("x").into()), (503, Some(5)));
        assert_eq!(status(StoreError::Full.into()), (507, Some(60)));
        assert_eq!(status(SignInRefused::Refused.into()), (403, None));
        assert_eq!(status(SignInRefused::Throttled { retry_after }.into()), (429, Some(31)));
        assert_eq!(status(SignInRefused::Unable("pam".into()).into()), (503, Some(5)));
        assert_eq!(status(TokenRefused::Excess("a".into()).into()), (400, None));
        assert_eq!(status(TokenRefused::ManyTokens.into()), (400, None));
    }
}

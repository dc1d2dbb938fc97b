//! The token endpoint: a code, or a refresh token, against tokens (RFC 6749, sections 4.1.3 and 6; RFC 7636).

use jovis_actors::{domain::Secret, ports::LoginError};
use oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::asking::{Asking, word};

/// Longest token, in bytes.
const LONGEST: usize = 256 << 10;

/// What comes beside the tokens of OAuth.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Extra {
    id_token: Option<String>,
}

impl ExtraTokenFields for Extra {}

type Answer = StandardTokenResponse<Extra, BasicTokenType>;
type Endpoint = Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Tokens that a provider gave us.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    /// To ask the provider with.
    pub(super) access: Secret,
    /// To get the next ones with.
    pub(super) refresh: Option<Secret>,
    /// The provider's signed word for who it is.
    pub(super) id_token: Option<Secret>,
    /// What they are good for, as the provider says.
    pub(super) scope: Vec<String>,
}

/// How the client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// HTTP Basic.
    Header,
    /// Among the other fields.
    Body,
}

/// Who we are there.
#[derive(Debug, Clone)]
pub(super) struct Us<'a> {
    /// Where tokens are given.
    pub(super) endpoint: &'a str,
    /// By which name.
    pub(super) id: &'a str,
    /// With which secret; empty: none.
    pub(super) secret: &'a str,
    /// Where it goes.
    pub(super) proof: Proof,
}

#[derive(Debug, Error)]
#[error("{0}")]
struct Failed(LoginError);

impl Us<'_> {
    fn client(&self, callback: &str) -> Result<Endpoint, LoginError> {
        let unfit = |error: oauth2::url::ParseError| {
            LoginError::Failed(format!("an address of the provider cannot be used: {error}"))
        };
        let endpoint = TokenUrl::new(self.endpoint.to_owned()).map_err(unfit)?;
        let callback = RedirectUrl::new(callback.to_owned()).map_err(unfit)?;
        let client = Client::new(ClientId::new(self.id.to_owned())).set_token_uri(endpoint);
        let client = client.set_redirect_uri(callback).set_auth_type(match self.proof {
            Proof::Header => AuthType::BasicAuth,
            Proof::Body => AuthType::RequestBody,
        });
        Ok(match self.secret {
            "" => client,
            secret => client.set_client_secret(ClientSecret::new(secret.to_owned())),
        })
    }

    /// What the code is worth.
    ///
    /// # Errors
    ///
    /// `Refused`: the provider does not take it.
    pub(super) async fn redeem(
        &self,
        asking: &Asking,
        callback: &str,
        code: &str,
        verifier: &Secret,
    ) -> Result<Tokens, LoginError> {
        let client = self.client(callback)?;
        let verifier = PkceCodeVerifier::new(verifier.reveal().clone());
        let code = AuthorizationCode::new(code.to_owned());
        let request = client.exchange_code(code).set_pkce_verifier(verifier);
        tokens(request.request_async(&through(asking)).await)
    }

    /// The next tokens.
    ///
    /// # Errors
    ///
    /// `Refused`: the provider does not take the old one any more.
    pub(super) async fn refresh(
        &self,
        asking: &Asking,
        token: &Secret,
    ) -> Result<Tokens, LoginError> {
        let client = self.client("https://unused.invalid/")?;
        let token = RefreshToken::new(token.reveal().clone());
        tokens(client.exchange_refresh_token(&token).request_async(&through(asking)).await)
    }
}

fn through(asking: &Asking) -> impl Fn(HttpRequest) -> Box<dyn Asked> + use<'_> {
    move |request| {
        let asking = asking.clone();
        Box::new(Box::pin(async move {
            asking.ask(request).await.map(|answer| answer.map(|body| body.to_vec())).map_err(Failed)
        }))
    }
}

trait Asked: Future<Output = Result<HttpResponse, Failed>> + Send + Unpin {}
impl<T: Future<Output = Result<HttpResponse, Failed>> + Send + Unpin> Asked for T {}

fn tokens(
    answer: Result<Answer, RequestTokenError<Failed, BasicErrorResponse>>,
) -> Result<Tokens, LoginError> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(RequestTokenError::Request(Failed(error))) => return Err(error),
        Err(RequestTokenError::ServerResponse(error)) => return Err(refused(&error)),
        // GitHub says what is wrong with a code under status 200.
        Err(RequestTokenError::Parse(error, body)) => {
            let said = serde_json::from_slice::<BasicErrorResponse>(&body);
            return Err(said.map_or_else(
                |_| LoginError::Failed(format!("no tokens in the answer: {}", error.path())),
                |said| refused(&said),
            ));
        }
        Err(RequestTokenError::Other(_)) => {
            return Err(LoginError::Failed("no tokens in the answer".to_owned()));
        }
    };
    let secret = |text: &str| fits(text).then(|| Secret::new(text.to_owned()));
    let unfit = || LoginError::Refused("a token that is too long, or no word".to_owned());
    // RFC 6749, section 7.1: who does not understand the type must not use the token.
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(LoginError::Refused("a token of a type we do not know".to_owned()));
    }
    Ok(Tokens {
        access: secret(answer.access_token().secret()).ok_or_else(unfit)?,
        refresh: answer
            .refresh_token()
            .map(|token| secret(token.secret()).ok_or_else(unfit))
            .transpose()?,
        id_token: answer
            .extra_fields()
            .id_token
            .as_deref()
            .map(|token| secret(token).ok_or_else(unfit))
            .transpose()?,
        // By blanks (RFC 6749, section 3.3); GitHub writes commas.
        scope: answer
            .scopes()
            .into_iter()
            .flatten()
            .flat_map(|scope| scope.split([',', ' ']))
            .filter(|scope| !scope.is_empty())
            .map(ToOwned::to_owned)
            .collect(),
    })
}

/// Can it stand in a header?
fn fits(token: &str) -> bool {
    (1..=LONGEST).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What RFC 6749, section 5.2, has for a code or token that is not taken; anything else is between the provider and us.
fn refused(error: &BasicErrorResponse) -> LoginError {
    let said = word(error.error().as_ref());
    match error.error().as_ref() {
        "invalid_grant" | "bad_verification_code" | "bad_refresh_token" => {
            LoginError::Refused(format!("the provider said {said}"))
        }
        _ => LoginError::Failed(format!("the provider said {said}")),
    }
}

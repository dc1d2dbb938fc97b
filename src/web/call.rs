//! One request as values: what came, what is believed of it, and the cookies its answer will set.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::OriginalUri};
use http::{HeaderMap, Method, Request, header, request};
use http_body_util::BodyExt as _;
use jovis_actors::{
    accounts::Decided,
    domain::{Facts, Moment, Policy, quote},
    logins::{Offer, OfferKind},
    store::Image,
};

use tokio::sync::oneshot;

use super::{
    answer, app::App, csrf, csrf::Bound, error::Error, form::Form, guard::Who, multipart, next,
    session, session::Cookies, session::Jar, words, words::Words,
};
use crate::config::slice::HubSlice;

/// Over which listener a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// The API's own port; the peer's address is the truth.
    Tcp(IpAddr),
    /// Our proxy; its forwarded headers are the truth.
    Proxy,
}

/// A request's id, as an extension of it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Deepest nesting of a JSON body. What is kept of it must be readable again, some levels deeper.
const DEEPEST: usize = 64;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// So many bytes of a body that is too large are read all the same.
const SWALLOWED: usize = 16 << 20;
/// And for so long.
const SWALLOW_PATIENCE: Duration = Duration::from_secs(10);

/// A file sent with a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The field it was chosen in.
    pub(crate) field: String,
    /// Its name.
    pub(crate) name: String,
    /// What the browser takes it for.
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

/// One request.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    /// The settings at its beginning.
    pub(crate) settings: Arc<HubSlice>,
    /// The roles at its beginning.
    pub(crate) policy: Arc<Policy>,
    /// The records at its beginning. After a change read them again: [`Call::fresh`].
    pub(crate) image: Arc<Image>,
    pub(crate) now: Moment,
    pub(crate) method: Method,
    /// As it came, still escaped.
    pub(crate) path: String,
    /// As it came.
    pub(crate) raw_query: Option<String>,
    pub(crate) query: Form,
    pub(crate) headers: HeaderMap,
    pub(crate) cookies: Cookies,
    /// Whose browser or server it is, as far as known.
    pub(crate) from: Option<IpAddr>,
    /// Do browsers use https? (As configured, else as this one did.)
    pub(crate) secure: bool,
    /// `scheme://host[:port]` as the browser sees it.
    pub(crate) origin: String,
    /// For the log and the error page.
    pub(crate) id: String,
    /// For the page's policy.
    nonce: OnceLock<String>,
    /// Taken once. (The lock is never contended: it makes a call shareable, which a body is not.)
    body: Mutex<Option<Body>>,
    /// Who it is, once `guard` has looked.
    pub(crate) who: Option<Who>,
    /// The browser session: as it came, or made here.
    pub(crate) session: Option<String>,
    /// `Set-Cookie`s of the answer.
    pub(crate) set: Vec<String>,
}

impl Call {
    /// Takes a request apart, with what the router noted in its extensions. The query must be UTF-8.
    pub(crate) fn new(app: Arc<App>, request: Request<Body>) -> Result<Self, Error> {
        let (mut head, body) = request.into_parts();
        let via = head.extensions.remove::<Via>();
        let via = via.ok_or_else(|| Error::failed("it is unknown how this request came"))?;
        let id = head.extensions.remove::<RequestId>().map(|id| id.0);
        // The router rewrites paths; what counts for redirects is what came.
        let uri = head.extensions.remove::<OriginalUri>().map_or(head.uri.clone(), |it| it.0);
        let settings = app.settings.load_full();
        let raw_query = uri.query().map(ToOwned::to_owned);
        let cookies = head.headers.get_all(header::COOKIE).iter();
        let cookies = Cookies::parse(cookies.filter_map(|value| value.to_str().ok()));
        let query = Form::parse(raw_query.as_deref().unwrap_or(""))?;
        let (from, secure, host) = believed(&head, via, settings.tls);
        let origin = format!("{}://{host}", if secure { "https" } else { "http" });
        let secure = match app.facts.public_host.as_str() {
            "" => secure,
            configured => configured.starts_with("https://"),
        };
        Ok(Self {
            policy: app.policy.load_full(),
            image: app.doors.image(),
            now: app.clock.moment(),
            id: id.unwrap_or_else(|| app.entropy.hex(8)),
            nonce: OnceLock::new(),
            origin,
            session: cookies.session().map(ToOwned::to_owned),
            path: uri.path().to_owned(),
            method: head.method,
            headers: head.headers,
            body: Mutex::new(Some(body)),
            who: None,
            set: Vec::new(),
            app,
            settings,
            raw_query,
            query,
            cookies,
            from,
            secure,
        })
    }

    /// Everything's prefix, with slashes at both ends.
    pub(crate) fn base(&self) -> &str {
        &self.settings.hub.base_url
    }

    /// Where things are.
    pub(crate) fn facts(&self) -> &Facts {
        &self.app.facts
    }

    /// `scheme://host[:port]` of the hub for browsers: as configured, else as this one sees it.
    pub(crate) fn public_origin(&self) -> &str {
        match self.facts().public_host.as_str() {
            "" => &self.origin,
            configured => configured,
        }
    }

    /// A path of ours out of a target that a request gave, or nothing.
    pub(crate) fn inside(&self, target: &str) -> Option<String> {
        next::validate(target, self.public_origin(), self.facts().hosts.as_ref())
    }

    /// The policy of its page. `other`: the host to which the answer to its form leads, where that is not ours. Forms may
    /// lead to each user's host: browsers hold every redirect that follows against the policy.
    pub(crate) fn page_policy(&self, other: Option<&str>) -> String {
        let hosts = self.facts().hosts.as_ref();
        let hosts = hosts.map(|hosts| hosts.origin(&format!("*.{}", hosts.domain)));
        let extra: Vec<&str> = hosts.as_deref().into_iter().chain(other).collect();
        answer::page_policy(&self.hub(), self.nonce(), &extra.join(" "))
    }

    /// The hub's prefix.
    pub(crate) fn hub(&self) -> String {
        format!("{}hub/", self.base())
    }

    /// What scripts and styles of this answer's page are known by. Most answers are no pages.
    pub(crate) fn nonce(&self) -> &str {
        self.nonce.get_or_init(|| self.app.entropy.hex(16))
    }

    /// Path and query as they came.
    pub(crate) fn uri(&self) -> String {
        match &self.raw_query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The records now.
    pub(crate) fn fresh(&self) -> Arc<Image> {
        self.app.doors.image()
    }

    /// Decides on the newest records, with the roles and the time of this call, and makes the outcome durable: all of it
    /// or nothing. From then on [`Call::image`] has it. The decision runs on the store's thread: it must be quick.
    pub(crate) async fn change<T, E>(
        &mut self,
        decide: impl FnOnce(&Image, &Policy, Moment) -> Decided<T, E> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        E: Into<Error>,
    {
        let (tell, told) = oneshot::channel();
        let (policy, now) = (self.policy.clone(), self.now);
        let decide = move |image: &Image| {
            let (writes, answer) = decide(image, &policy, now).map_err(Into::into)?;
            // Whoever asked may have left: the change is made all the same.
            let _ = tell.send(answer);
            Ok(writes)
        };
        self.app.doors.change(Box::new(decide)).await?;
        self.image = self.fresh();
        told.await.map_err(|_| Error::failed("the change was made, but its answer was lost"))
    }

    /// What its pages say, in the visitor's language.
    pub(crate) fn words(&self) -> &'static Words {
        words::chosen(&self.settings.hub.language, self.header("accept-language"))
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type of the body, without parameters.
    pub(crate) fn media_type(&self) -> Option<String> {
        let kind = self.header("content-type")?.split(';').next()?;
        Some(kind.trim().to_ascii_lowercase())
    }

    /// The body, at most `limit` bytes of it.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<bytes::Bytes, Error> {
        let announced = self.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(Error::too_large());
        }
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = body else { return Ok(bytes::Bytes::new()) };
        let mut read = bytes::BytesMut::new();
        let reading = async {
            while let Some(frame) = left.frame().await {
                let frame = frame.map_err(|_| Error::bad("the body broke off"))?;
                let Some(data) = frame.data_ref() else { continue };
                if read.len() + data.len() > limit {
                    return Err(Error::too_large());
                }
                read.extend_from_slice(data);
            }
            Ok(())
        };
        let late = |_| Err(Error::bad("the body did not arrive in time"));
        tokio::time::timeout(BODY_PATIENCE, reading).await.unwrap_or_else(late)?;
        *body = None;
        Ok(read.freeze())
    }

    /// Reads what nobody wanted of the body, up to a bound: a client that is still sending when its connection is closed
    /// would not hear why.
    pub(crate) async fn swallow(&mut self) {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = body else { return };
        let read = async {
            let mut left = SWALLOWED;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever is slower than this does without the words.
        let _ = tokio::time::timeout(SWALLOW_PATIENCE, read).await;
    }

    /// In the place of the body that came: what a form of ours asks of the API.
    pub(crate) fn replace_body(&mut self, value: Option<serde_json::Value>) {
        let body = value.map(|value| Body::from(value.to_string()));
        *self.body.get_mut().unwrap_or_else(PoisonError::into_inner) = body;
        self.headers.remove(header::CONTENT_LENGTH);
    }

    /// The body as JSON; nothing and `null` are nothing.
    pub(crate) async fn json(&mut self) -> Result<Option<serde_json::Value>, Error> {
        let bytes = self.body(1 << 20).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if depth(&bytes) > DEEPEST {
            return Err(Error::bad("the body is nested too deeply"));
        }
        let value =
            serde_json::from_slice(&bytes).map_err(|_| Error::bad("the body is not valid JSON"))?;
        Ok(Some(value).filter(|value: &serde_json::Value| !value.is_null()))
    }

    /// The body as a form, at most `limit` bytes.
    pub(crate) async fn form(&mut self, limit: usize) -> Result<Form, Error> {
        let bytes = self.body(limit).await?;
        match self.media_type().as_deref() {
            None if bytes.is_empty() => Ok(Form::default()),
            Some("application/x-www-form-urlencoded") => {
                let text = std::str::from_utf8(&bytes).map_err(|_| Error::bad("not UTF-8"))?;
                Form::parse(text)
            }
            _ => Ok(Form::default()),
        }
    }

    /// The body as a form, of whichever kind: at most `limit` bytes, with files `whole`.
    pub(crate) async fn upload(
        &mut self,
        limit: usize,
        whole: usize,
    ) -> Result<(Form, Vec<Upload>), Error> {
        let Some(boundary) = self.header("content-type").and_then(multipart::boundary) else {
            return Ok((self.form(limit).await?, Vec::new()));
        };
        let bytes = self.body(whole).await?;
        let (mut fields, mut files) = (Vec::new(), Vec::new());
        for part in multipart::parse(&bytes, &boundary)? {
            match part.file {
                None => {
                    let text = String::from_utf8(part.body).map_err(|_| Error::bad("not UTF-8"))?;
                    fields.push((part.name, text));
                }
                // Where nothing was chosen an empty file of no name comes.
                Some(name) if name.is_empty() && part.body.is_empty() => {}
                Some(name) => {
                    let (field, kind, body) = (part.name, part.kind, part.body);
                    files.push(Upload { field, name, kind, body });
                }
            }
        }
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Ok((fields, files))
    }

    /// Where this request's cookies go.
    pub(crate) fn with_jar<T>(&self, make: impl FnOnce(Jar<'_>) -> T) -> T {
        let rules = self.settings.cookies();
        make(Jar { base: self.base(), hub: &self.hub(), secure: self.secure, rules })
    }

    /// The browser session; made and set where there is none.
    pub(crate) fn ensure_session(&mut self) -> String {
        if let Some(session) = &self.session {
            return session.clone();
        }
        let session = self.app.entropy.hex(16);
        self.set.push(self.with_jar(|jar| jar.session(&session)));
        self.session = Some(session.clone());
        session
    }

    /// What form tokens of this request are bound to.
    pub(crate) fn bound(&self) -> Bound {
        match self.who.as_ref().and_then(Who::user) {
            Some(user) => Bound::user(self.session.as_deref(), &user.cookie_id),
            None => {
                let agent = self.headers.get(header::USER_AGENT);
                let agent = agent.map(|value| value.as_bytes()).unwrap_or_default();
                Bound::anonymous(self.session.as_deref(), self.from, agent)
            }
        }
    }

    /// The form token for a page: the one the browser has if it fits, else a fresh one, which is set. `always`: set it
    /// even if the one there fits.
    pub(crate) fn xsrf(&mut self, always: bool) -> String {
        let bound = self.bound();
        let token = self.xsrf_cookie(&bound).map(ToOwned::to_owned);
        let fits = token.is_some();
        let secret = self.settings.cookie_secret.reveal();
        let token = token.unwrap_or_else(|| bound.issue(secret, self.now.unix_seconds()));
        let navigates = csrf::navigates(self.header("sec-fetch-mode"));
        if navigates && (always || !fits) {
            let anonymous = self.who.is_none();
            self.set.push(self.with_jar(|jar| jar.xsrf(&token, anonymous)));
        }
        token
    }

    fn xsrf_cookie(&self, bound: &Bound) -> Option<&str> {
        let (secret, now) = (self.settings.cookie_secret.reveal(), self.now.unix_seconds());
        self.cookies.all(session::XSRF).find(|token| bound.accepts(secret, token, now))
    }

    /// Is it a request of our own page? `form`: the body's own fields, where they count.
    pub(crate) fn check_xsrf(&self, form: Option<&Form>) -> Result<(), csrf::Refusal> {
        let bound = self.bound();
        let given = self
            .query
            .get(session::XSRF)
            .or_else(|| form.and_then(|form| form.get(session::XSRF)))
            .or_else(|| self.header("x-xsrftoken"))
            .or_else(|| self.header("x-csrftoken"));
        csrf::check(csrf::Facts {
            method: &self.method,
            mode: self.header("sec-fetch-mode"),
            site: self.header("sec-fetch-site"),
            given,
            cookie: self.xsrf_cookie(&bound),
        })
    }

    /// The same, as an error of this request.
    pub(crate) fn require_xsrf(&self, form: Option<&Form>) -> Result<(), Error> {
        self.check_xsrf(form).map_err(|why| Error::forbidden(why.message(&self.method)))
    }

    /// The way to sign in that visitors are sent at once, if there is one: the only one, which leads elsewhere.
    pub(crate) fn straight_on(&self, wanted: bool) -> Option<String> {
        let mut offers = if wanted { self.app.doors.offers() } else { Vec::new() };
        match (offers.pop(), offers.is_empty()) {
            (Some(Offer { name, kind: OfferKind::Service(_) }), true) => Some(name),
            _ => None,
        }
    }

    /// Where to sign in before coming back here.
    pub(crate) fn login_url(&self) -> String {
        format!("{}login?next={}", self.hub(), quote::query(&self.uri()))
    }
}

/// Address, https, and host of a request, by what may be believed.
fn believed(head: &request::Parts, via: Via, tls: bool) -> (Option<IpAddr>, bool, String) {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").or(head.uri.authority().map(|it| it.as_str())).unwrap_or("localhost");
    match via {
        Via::Tcp(peer) => (Some(peer), tls, host.to_owned()),
        Via::Proxy => {
            // Our proxy says whom it believes the visitor to be. Otherwise: the nearest address that is no proxy on
            // this machine; if all are, it is a visitor on this machine.
            let mut told = head.headers.get_all("x-jovis-client").iter();
            let told = told.next().filter(|_| told.next().is_none());
            let told = told.and_then(|value| value.to_str().ok()?.trim().parse::<IpAddr>().ok());
            let chain: Vec<IpAddr> = head
                .headers
                .get_all("x-forwarded-for")
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .filter_map(|part| part.trim().parse().ok())
                .collect();
            let nearest = chain.iter().rev().find(|ip| !ip.to_canonical().is_loopback());
            let from = told.as_ref().or(nearest).or(chain.last()).map(|ip| ip.to_canonical());
            let first =
                |name: &str| text(name).and_then(|list| list.split(',').next()).map(str::trim);
            let secure = first("x-forwarded-proto")
                .map_or(tls, |scheme| scheme.eq_ignore_ascii_case("https"));
            let host = first("x-forwarded-host").filter(|host| !host.is_empty()).unwrap_or(host);
            (from, secure, host.to_owned())
        }
    }
}

/// The proxy's id for this request, if it is one.
pub(crate) fn request_id(headers: &HeaderMap, via: Via) -> Option<String> {
    let id = headers.get("x-request-id").filter(|_| via == Via::Proxy)?.to_str().ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (plain && (1..=64).contains(&id.len())).then(|| id.to_owned())
}

/// How deeply brackets are nested in a text that may be JSON: at least as deep as a parser would go.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri("/hub/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn forwarded_headers_count_only_from_our_proxy() {
        let head = head(&[
            ("host", "inner:8081"),
            ("x-forwarded-for", "198.51.100.7, 127.0.0.1"),
            ("x-forwarded-proto", "https,http"),
            ("x-forwarded-host", "hub.example.org"),
            ("x-request-id", "abc-1"),
        ]);
        let (from, secure, host) = believed(&head, Via::Proxy, false);
        assert_eq!(from, Some("198.51.100.7".parse().unwrap()));
        assert!(secure);
        assert_eq!(host, "hub.example.org");
        let peer = "127.0.0.1".parse().unwrap();
        let (from, secure, host) = believed(&head, Via::Tcp(peer), false);
        assert_eq!((from, secure, host.as_str()), (Some(peer), false, "inner:8081"));
        assert_eq!(request_id(&head.headers, Via::Proxy).as_deref(), Some("abc-1"));
        assert_eq!(request_id(&head.headers, Via::Tcp(peer)), None);
    }

    #[test]
    fn depth_is_counted_outside_of_texts() {
        assert_eq!(depth(b"1"), 0);
        assert_eq!(depth(br#"{"a": [1, {"b": []}]}"#), 4);
        assert_eq!(depth(br#"["[[[[", "\"[[", "\\"]"#), 1);
        assert_eq!(depth("[".repeat(100).as_bytes()), 100);
    }

    #[test]
    fn an_odd_request_id_is_not_taken_over() {
        let long = "a".repeat(65);
        for bad in ["", "a b", "a\"b", &long] {
            assert_eq!(request_id(&head(&[("x-request-id", bad)]).headers, Via::Proxy), None);
        }
    }
}

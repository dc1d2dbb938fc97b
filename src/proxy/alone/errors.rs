//! What visitors get where there is no answer: somebody's page, a file's, or a few words.

use std::{fmt::Write as _, io, path::PathBuf, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST},
};
use tokio::{fs, io::AsyncReadExt as _, time::timeout};
use tracing::{debug, warn};

use super::Alone;
use crate::{
    proxy::{
        body::Answer,
        forward::{ForwardError, due, forward},
        pages::Page,
        shared::Shared,
        table::Entry,
    },
    telemetry::chain,
};

/// On requests for a page: where they come back to us (the address is our own), there is no page for want of a page.
pub(super) const ASKS_FOR_PAGE: HeaderName = HeaderName::from_static("x-jovis-error-page");
/// Longest time that somebody has for his page.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest file with a page, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A request that gets no answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Its target.
    pub(super) uri: Uri,
    /// Is it about a WebSocket? Then nobody would see a page.
    pub(super) websocket: bool,
    /// Is it one of ours, for a page?
    pub(super) for_page: bool,
}

/// Who has the pages.
#[derive(Debug)]
pub(super) enum Errors {
    /// Somebody who is asked.
    Target(Arc<Entry>),
    /// Files in a folder.
    Folder(PathBuf),
    /// We.
    Own,
}

impl Errors {
    /// The answer with this status to such a request.
    pub(super) async fn answer(
        &self,
        shared: &Arc<Shared>,
        alone: &Alone,
        status: StatusCode,
        asked: &Asked,
    ) -> Response<Answer> {
        alone.counts.proxy.count(status);
        if asked.websocket {
            let mut response = Response::new(Answer::own(""));
            *response.status_mut() = status;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        match self {
            Self::Target(_) if asked.for_page => plain(status),
            Self::Target(entry) => match fetch(shared, entry, status, &asked.uri).await {
                Ok(response) => response,
                Err(error) => {
                    if due(&entry.warned, 60_000) {
                        let error = error
                            .as_ref()
                            .map_or("not asked, or no answer in time".to_owned(), chain_of);
                        warn!(error, "error page not fetched");
                    }
                    plain(status)
                }
            },
            Self::Folder(folder) => match read(folder, status).await {
                Ok(page) => html(status, page),
                Err(error) => {
                    debug!(%error, "error page not readable");
                    plain(status)
                }
            },
            Self::Own => {
                let page = match status {
                    StatusCode::NOT_FOUND => Page::NotFound,
                    _ => Page::ServerAway,
                };
                let html = HeaderValue::from_static("text/html");
                page.answer(&HeaderMap::from_iter([(ACCEPT, html)]), None)
            }
        }
    }
}

fn chain_of(error: &ForwardError) -> String {
    chain(error).to_string()
}

/// Asks for the page; `Err(None)`: it takes too long, or cannot be asked for. The status stays ours, whatever the page's is; of its fields only
/// those that say what it is.
async fn fetch(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    status: StatusCode,
    asked: &Uri,
) -> Result<Response<Answer>, Option<ForwardError>> {
    // Too long for a URI, once encoded: nobody can be asked.
    let uri = Uri::try_from(format!("/{}?url={}", status.as_u16(), encoded(&asked.to_string())));
    let uri = uri.map_err(|_| None)?;
    let uri = entry.target.before.as_ref().and_then(|before| before.join(&uri)).unwrap_or(uri);
    let host = entry.target.authority().unwrap_or_else(|| "localhost".to_owned());
    let request = Request::builder().method(Method::GET).uri(uri).header(HOST, host);
    let request = request.header(ASKS_FOR_PAGE, status.as_u16());
    let parts = request.body(()).map_err(|_| None)?.into_parts().0;
    let page = timeout(PATIENCE, forward(shared, entry, parts, None)).await;
    let page = page.map_err(|_| None)?.map_err(Some)?;
    let (parts, body) = page.into_parts();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// The page of this status, or that of all.
async fn read(folder: &std::path::Path, status: StatusCode) -> io::Result<Vec<u8>> {
    let mut file = match fs::File::open(folder.join(format!("{}.html", status.as_u16()))).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::File::open(folder.join("error.html")).await?
        }
        file => file?,
    };
    let mut page = Vec::new();
    (&mut file).take(LARGEST).read_to_end(&mut page).await?;
    Ok(page)
}

fn html(status: StatusCode, page: Vec<u8>) -> Response<Answer> {
    let mut response = Response::new(Answer::own(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

fn plain(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::own(status.canonical_reason().unwrap_or_default()));
    *response.status_mut() = status;
    response
}

/// For a value in a query: all but letters, digits and four signs as percent and two digits.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_asked_for_is_a_value() {
        assert_eq!(encoded("/nope/a?b=c%20d&e"), "%2Fnope%2Fa%3Fb%3Dc%2520d%26e");
    }

    #[tokio::test]
    async fn a_page_is_that_of_its_status_or_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let found = async |status| read(dir.path(), status).await.ok();
        assert_eq!(found(StatusCode::NOT_FOUND).await, None);
        std::fs::write(dir.path().join("404.html"), "gone").unwrap();
        assert_eq!(found(StatusCode::SERVICE_UNAVAILABLE).await, None);
        std::fs::write(dir.path().join("error.html"), "any").unwrap();
        assert_eq!(found(StatusCode::NOT_FOUND).await.as_deref(), Some(&b"gone"[..]));
        assert_eq!(found(StatusCode::SERVICE_UNAVAILABLE).await.as_deref(), Some(&b"any"[..]));
    }
}

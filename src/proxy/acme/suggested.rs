//! When the authority itself would have a certificate renewed (RFC 9773): mostly about when we would, but at once if it is
//! going to take certificates back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use instant_acme::{BodyWrapper, HttpClient as _};
use jiff::Timestamp;
use serde::Deserialize;

use super::client::Client;
use crate::config::certificate;

/// Between which seconds since 1970 it would; none where it does not say.
pub(super) async fn window(client: &Client, directory: &str, pem: &[u8]) -> Option<(i64, i64)> {
    let name = name(pem)?;
    let links = get(client, directory).await?;
    let said = get(client, &format!("{}/{name}", renewals(&links)?)).await?;
    read(&said)
}

async fn get(client: &Client, address: &str) -> Option<Vec<u8>> {
    let request = Request::get(address).body(BodyWrapper::default()).ok()?;
    let mut answer = client.request(request).await.ok()?;
    let is_good = answer.parts.status.is_success();
    let body = answer.body.into_bytes().await.ok()?;
    is_good.then(|| body.to_vec())
}

/// What the certificate is called there (RFC 9773, section 4.1).
fn name(pem: &[u8]) -> Option<String> {
    let (authority, serial) = certificate::identifier(pem)?;
    Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(authority), URL_SAFE_NO_PAD.encode(serial)))
}

/// Where a directory says that it is asked.
fn renewals(directory: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Links {
        renewal_info: Option<String>,
    }
    serde_json::from_slice::<Links>(directory).ok()?.renewal_info
}

/// RFC 9773, section 4.2.
fn read(said: &[u8]) -> Option<(i64, i64)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        suggested_window: Window,
    }
    #[derive(Deserialize)]
    struct Window {
        start: String,
        end: String,
    }
    let Window { start, end } = serde_json::from_slice::<Said>(said).ok()?.suggested_window;
    let moment = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let (start, end) = (moment(&start)?, moment(&end)?);
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_and_nonsense_is_none() {
        let of = |start: &str, end: &str| {
            let said = serde_json::json!({ "suggestedWindow": { "start": start, "end": end } });
            read(said.to_string().as_bytes())
        };
        let (first, second) = ("2021-01-03T00:00:00Z", "2021-01-07T02:00:00+02:00");
        assert_eq!(of(first, second), Some((1_609_632_000, 1_609_977_600)));
        for (start, end) in [(second, first), (first, first), ("soon", second), (first, "")] {
            assert_eq!(of(start, end), None, "{start} {end}");
        }
        for said in ["", "{}", "[]", r#"{"suggestedWindow": {"start": 1, "end": 2}}"#] {
            assert_eq!(read(said.as_bytes()), None, "{said}");
        }
        assert_eq!(renewals(br#"{"renewalInfo": "https://a/b"}"#).as_deref(), Some("https://a/b"));
        assert_eq!(renewals(br#"{"newNonce": "https://a/b"}"#), None);
    }

    #[test]
    fn a_certificate_is_called_by_its_authoritys_key_and_its_number() {
        // As openssl says of it: 67:56:DE:… and 0C77D4….
        let pem = include_bytes!("../tests/tls/names-cert.pem");
        let expected = "Z1besB3U-JPH7wu62yd5B4vIyjk.DHfUoITNdNOG6bGsG4QQ34xHbXs";
        assert_eq!(name(pem).as_deref(), Some(expected));
        assert_eq!(name(b"garbage"), None);
    }
}

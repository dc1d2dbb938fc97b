//! Where a proxy stands alone: what the short way of plain requests ([`crate::proxy::lane`]) needs to know.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header::HOST};

use super::{
    Alone,
    errors::{ASKS_FOR_PAGE, Asked},
    rules::From,
};
use crate::proxy::{body::Answer, front::Visit, settings::Settings, shared::Shared, table::Entry};

impl Alone {
    /// Can this request go it? Only where nothing but fields is changed, and nobody looks at the clock.
    pub(in crate::proxy) fn has_short_way(&self, settings: &Settings, fields: &HeaderMap) -> bool {
        let rules = &self.rules;
        !fields.contains_key(ASKS_FOR_PAGE)
            && rules.prepend_path
            && rules.include_prefix
            && !rules.auto_rewrite
            && !rules.change_origin
            && rules.protocol_rewrite.is_none()
            && rules.custom.is_empty()
            && settings.proxy_timeout.is_none()
            && settings.visitor_silence.is_none()
    }

    /// Prepares the fields that there are rules about.
    pub(in crate::proxy) fn introduce(
        &self,
        settings: &Settings,
        visit: Visit,
        entry: &Entry,
        fields: &mut HeaderMap,
    ) {
        let host = fields.get(HOST).cloned().unwrap_or(HeaderValue::from_static(""));
        let trusted = settings.trusts(visit.peer);
        let from =
            From { peer: visit.peer, trusted, tls: visit.tls, websocket: false, host: &host };
        self.rules.prepare(fields, from, entry);
    }

    /// A request was answered by its target, whose route was found in so long.
    pub(in crate::proxy) fn answered(&self, status: u16, finding: Duration) {
        self.counts.web.fetch_add(1, Relaxed);
        self.counts.finding.add(finding);
        if let Ok(status) = StatusCode::from_u16(status) {
            self.counts.proxy.count(status);
        }
    }

    /// What a visitor gets whose request was not answered.
    pub(in crate::proxy) async fn failed(
        &self,
        shared: &Arc<Shared>,
        asked: &Uri,
    ) -> Response<Answer> {
        self.counts.web.fetch_add(1, Relaxed);
        let asked = Asked { uri: asked.clone(), websocket: false, for_page: false };
        self.errors.answer(shared, self, StatusCode::SERVICE_UNAVAILABLE, &asked).await
    }
}

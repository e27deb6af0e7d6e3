//! Paths of our own under `/weir/`: here `/weir/record`, the finished record of a resource as JSON, for players that
//! received the first bytes before the digest existed.

use super::{errors, handler::Inner, respond::Asked, steer::written, told::Told};
use crate::negotiate::cors_headers;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use weir_hls::ResourceKind;
use weir_protocol::{record::SignedRecord, resource::ResourceKey};
use weir_relay::{
    fetch::{Ask, Fetch},
    http::{Answer, Body, Request, Response},
    source,
};

/// How long a record that is not finished yet is waited for.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

/// The record as scripts read it; the header fields are exactly what was signed.
#[derive(Serialize)]
struct RecordJson<'a> {
    publisher: String,
    key: String,
    status: u16,
    length: u64,
    content_type: Option<&'a str>,
    content_encoding: Option<&'a str>,
    repr_digest: &'a str,
    weir_record: &'a str,
    signature_input: &'a str,
    signature: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
}

/// The decoded value of `name` in a query (`application/x-www-form-urlencoded` without `+`).
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_encoding::percent_decode_str(value).decode_utf8().ok().map(Into::into)
}

impl Inner {
    /// The publisher's word on a range of `key`: a page of the network like any other, signed and kept.
    pub(super) fn range_record(self: &Arc<Self>, request: &Request, key: &ResourceKey, started: Instant) -> Answer {
        let query = request.uri.query().unwrap_or_default();
        let own = |target: &str| {
            let sites = self.sites();
            let (publisher, path) = sites.resolve(request.authority.as_deref(), target).ok()?;
            let found = ResourceKey::parse(publisher, path).ok()?;
            (found.publisher == key.publisher).then(|| found.path_and_query())
        };
        let parameters = [
            ("key", Some(key.path_and_query())),
            ("range", parameter(query, "range")),
            ("playlist", parameter(query, "playlist").and_then(|target| own(&target))),
        ];
        let page = match ResourceKey::parse(key.publisher, &format!("/weir/record?{}", written(&parameters))) {
            Ok(page) => page,
            Err(error) => return Answer::Ready(errors::bad_path(&error)),
        };
        let asked = Asked {
            method: request.method.clone(),
            request: Arc::new(source::Asked::get(HeaderMap::new())),
            protocol: request.protocol,
            kind: ResourceKind::Other,
            path: page.path.as_str().to_owned(),
            wish: None,
            session: None,
            onward: None,
            told: Told::default(),
            link: None,
            cmsd: false,
        };
        let ask = Ask::viewer(page, asked.request.clone());
        Answer::Pending(Box::pin(self.clone().page(asked, ask, started)))
    }

    /// A page of the network, once it is whole: only then has it a signature.
    async fn page(self: Arc<Self>, asked: Asked, ask: Ask, started: Instant) -> Response {
        let found = timeout(RECORD_PATIENCE, async {
            let served = self.fetch().get_for(&ask).await?;
            while served.entry.body.ended().is_none() {
                served.entry.body.beyond(served.entry.body.length()).await;
            }
            Ok(served)
        });
        match found.await {
            Ok(Ok(served)) => self.finish(asked, &served, started),
            Ok(Err(error)) => self.nothing(errors::not_fetched(asked.kind, &error), errors::label(&error)),
            Err(_) => self.nothing(errors::too_slow(asked.kind), "too_slow"),
        }
    }

    /// Passes a player's reports to the adapter, with nothing of what its browser says beside them.
    pub(super) fn reports(self: &Arc<Self>, request: Request, started: Instant) -> Answer {
        if request.method != Method::POST {
            return Answer::Ready(errors::reports_only());
        }
        let target = parameter(request.uri.query().unwrap_or_default(), "for").unwrap_or_else(|| "/".into());
        let Ok((publisher, _)) = self.sites().resolve(request.authority.as_deref(), &target) else {
            return Answer::Ready(errors::misdirected());
        };
        let key = match ResourceKey::parse(publisher, "/weir/cmcd") {
            Ok(key) => key,
            Err(error) => return Answer::Ready(errors::bad_path(&error)),
        };
        let kept = request.headers.get(header::CONTENT_TYPE).map(|value| (header::CONTENT_TYPE, value.clone()));
        let fields = HeaderMap::from_iter(kept);
        let asked = Asked {
            method: request.method,
            request: Arc::new(source::Asked::pass(Method::POST, fields, request.body)),
            protocol: request.protocol,
            kind: ResourceKind::Other,
            path: key.path.as_str().to_owned(),
            wish: None,
            session: None,
            onward: None,
            told: Told::default(),
            link: None,
            cmsd: false,
        };
        let ask = Ask::viewer(key, asked.request.clone());
        Answer::Pending(Box::pin(self.clone().pass(asked, ask, started)))
    }
}

/// Answers `/weir/record?key=…`.
pub(super) async fn record(fetch: Fetch, key: ResourceKey) -> Response {
    let found = timeout(RECORD_PATIENCE, async {
        let served = fetch.get(&key, 0).await.ok()?;
        while served.entry.record().is_none() && served.entry.body.ended().is_none() {
            let so_far = served.entry.body.length();
            served.entry.body.beyond(so_far).await;
        }
        served.entry.record().cloned()
    });
    match found.await {
        Ok(Some(record)) => json(&record),
        Ok(None) => errors::not_found("no signed record of this resource is to be had here"),
        Err(_) => errors::not_found("the record is not finished yet"),
    }
}

fn json(record: &SignedRecord) -> Response {
    let (body, fields) = (record.body(), record.fields());
    let shown = RecordJson {
        publisher: body.key.publisher.to_string(),
        key: body.key.path_and_query(),
        status: body.status,
        length: body.length,
        content_type: body.content_type.as_deref(),
        content_encoding: body.content_encoding.as_deref(),
        repr_digest: &fields.repr_digest,
        weir_record: &fields.weir_record,
        signature_input: &fields.signature_input,
        signature: &fields.signature,
        headers: record.headers().iter().collect(),
    };
    let Ok(text) = serde_json::to_vec(&shown) else { return errors::not_found("the record cannot be shown") };
    let mut response = Response::new(StatusCode::OK)
        .with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .body(Body::full(text));
    cors_headers(&mut response.headers);
    response
}

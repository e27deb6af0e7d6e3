//! Paths of our own under `/weir/`: here `/weir/record`, the finished record of a resource as JSON, for players that
//! received the first bytes before the digest existed.

use super::errors;
use crate::negotiate::cors_headers;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;
use weir_protocol::{record::SignedRecord, resource::ResourceKey};
use weir_relay::{
    fetch::Fetch,
    http::{Body, Response},
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

//! An entry as an HTTP response: validators, conditions, ranges, gzip for text, and the headers that tell a client
//! what it has. Invariant: the record's signature goes out only with the bytes it is over.

use super::{
    body::body_of,
    cache_status::{cache_status, server_timing, via},
    errors,
};
use crate::negotiate::{
    Condition, RangeAnswer, Validators, accepts_gzip, content_range, cors_headers, evaluate, parse_range,
    range_applies, unsatisfied_range,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::{
    io::Write,
    time::{Duration, UNIX_EPOCH},
};
use weir_hls::{ResourceKind, media_type};
use weir_protocol::time::UnixMillis;
use weir_relay::{
    fetch::Served,
    http::{Body, Protocol, Response},
    object::Entry,
};

/// What of a request shapes its response.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) protocol: Protocol,
    pub(super) kind: ResourceKind,
    pub(super) path: String,
}

/// What of the edge shapes it.
pub(super) struct Context<'a> {
    pub(super) name: &'a str,
    pub(super) now: UnixMillis,
    pub(super) took: Duration,
    pub(super) patience: Duration,
}

/// gzip is tried only on text of this size: below, the header costs more than it saves.
const COMPRESS_FROM: u64 = 256;
const COMPRESS_TO: u64 = 4 << 20;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const WEIR_RECORD: HeaderName = HeaderName::from_static("weir-record");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Fields over the bytes as stored, which hold for no other coding of them (RFC 9530 sections 2 and 3, RFC 9421).
const OVER_PLAIN_BYTES: [HeaderName; 8] =
    [REPR_DIGEST, SIGNATURE, SIGNATURE_INPUT, WEIR_RECORD, CONTENT_DIGEST, CONTENT_MD5, DIGEST, header::ACCEPT_RANGES];
/// Fields over the bytes of one message, which hold for no part of them.
const OVER_WHOLE_CONTENT: [HeaderName; 2] = [CONTENT_DIGEST, CONTENT_MD5];

/// Builds the response.
pub(super) fn respond(asked: &Asked, served: &Served, context: &Context<'_>) -> Response {
    let entry = &*served.entry;
    let mut headers = base_headers(asked, served, context);
    if has_two_forms(asked.kind, entry) {
        // On both forms, and also while only one can be made: a cache behind this one decides by it.
        vary_by_coding(&mut headers);
    }
    let packed = (compressible(asked, entry) && accepts_gzip(&asked.headers)).then(|| compress(entry)).flatten();
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        weaken(&mut headers);
        for name in OVER_PLAIN_BYTES {
            headers.remove(name);
        }
    } else {
        sign(entry, &mut headers);
    }
    if entry.head.status != StatusCode::OK {
        return answer(asked, entry.head.status, headers, whole(entry, context));
    }
    match conditions(asked, &headers) {
        Condition::Failed => return errors::precondition_failed(),
        Condition::NotModified => return not_modified(headers),
        Condition::Proceed => {}
    }
    if let Some(packed) = packed {
        return answer(asked, StatusCode::OK, headers, Body::full(packed));
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match range(asked, entry, &headers, context.now) {
        RangeAnswer::Unsatisfiable => {
            let length = entry.head.length.unwrap_or(0);
            let mut response = errors::range_not_satisfiable(unsatisfied_range(length));
            if let Some(status) = headers.remove(CACHE_STATUS) {
                response.headers.insert(CACHE_STATUS, status);
            }
            response
        }
        RangeAnswer::Part(part) => {
            for name in OVER_WHOLE_CONTENT {
                headers.remove(name);
            }
            headers.insert(header::CONTENT_RANGE, content_range(part, entry.head.length));
            let body = body_of(&entry.body, part.first, Some(part.length()), context.patience);
            answer(asked, StatusCode::PARTIAL_CONTENT, headers, body)
        }
        RangeAnswer::Whole => answer(asked, StatusCode::OK, headers, whole(entry, context)),
    }
}

fn base_headers(asked: &Asked, served: &Served, context: &Context<'_>) -> HeaderMap {
    let entry = &*served.entry;
    let mut headers = entry.head.headers.clone();
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    if !headers.contains_key(header::CONTENT_TYPE)
        && let Some(found) = media_type(&asked.path)
    {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(found));
    }
    let age_ms = entry.age_ms(context.now);
    headers.insert(header::AGE, HeaderValue::from(age_ms / 1000));
    let left_ms = i64::try_from(entry.head.freshness.ttl_ms).unwrap_or(i64::MAX).saturating_sub_unsigned(age_ms);
    let told = [
        (CACHE_STATUS, cache_status(context.name, served, left_ms.div_euclid(1000))),
        (SERVER_TIMING, server_timing(served, context.took)),
        (header::VIA, via(asked.protocol, context.name)),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    cors_headers(&mut headers);
    headers
}

fn sign(entry: &Entry, headers: &mut HeaderMap) {
    let Some(record) = entry.record() else { return };
    let fields = record.fields();
    let values = [
        (REPR_DIGEST, &fields.repr_digest),
        (WEIR_RECORD, &fields.weir_record),
        (SIGNATURE_INPUT, &fields.signature_input),
        (SIGNATURE, &fields.signature),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}

/// Text of this kind is sent plain or compressed, as the client likes.
fn has_two_forms(kind: ResourceKind, entry: &Entry) -> bool {
    kind.is_text() && entry.head.status == StatusCode::OK && !entry.head.headers.contains_key(header::CONTENT_ENCODING)
}

fn worth_compressing(entry: &Entry) -> bool {
    entry.head.length.is_some_and(|length| (COMPRESS_FROM..=COMPRESS_TO).contains(&length))
}

fn compressible(asked: &Asked, entry: &Entry) -> bool {
    has_two_forms(asked.kind, entry)
        && worth_compressing(entry)
        && !asked.headers.contains_key(header::RANGE)
        && entry.body.pieces().is_some()
}

/// Whether the body should be there as a whole before its response is made.
pub(super) fn waits_for_whole(kind: ResourceKind, entry: &Entry) -> bool {
    has_two_forms(kind, entry) && worth_compressing(entry) && entry.is_shareable()
}

fn compress(entry: &Entry) -> Option<Bytes> {
    let text = entry.body.joined()?;
    let packed = entry.compressed(|| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(5));
        // Writing to memory cannot fail; were it to, the empty result is not used.
        encoder.write_all(&text).and_then(|()| encoder.finish()).unwrap_or_default().into()
    });
    (!packed.is_empty()).then_some(packed)
}

/// Adds to what the origin says its response varies by.
fn vary_by_coding(headers: &mut HeaderMap) {
    let told = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok()).any(|names| {
        names.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"))
    });
    if !told {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Another coding is another representation: its tag may only be compared weakly with the plain one's.
fn weaken(headers: &mut HeaderMap) {
    let weak = headers
        .get(header::ETAG)
        .and_then(|tag| tag.to_str().ok())
        .map(|tag| if tag.starts_with("W/") { tag.to_owned() } else { format!("W/{tag}") });
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn validators(headers: &HeaderMap) -> Validators<'_> {
    Validators { etag: text(headers, header::ETAG), last_modified: text(headers, header::LAST_MODIFIED) }
}

fn conditions(asked: &Asked, headers: &HeaderMap) -> Condition {
    evaluate(&asked.headers, validators(headers))
}

fn range(asked: &Asked, entry: &Entry, headers: &HeaderMap, now: UnixMillis) -> RangeAnswer {
    // RFC 9110 section 14.2: Range is defined for GET alone.
    let (Some(field), Some(length)) = (text(&asked.headers, header::RANGE), entry.head.length) else {
        return RangeAnswer::Whole;
    };
    let date = text(headers, header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.unwrap_or(UNIX_EPOCH + Duration::from_millis(now.0));
    if asked.method != Method::GET || !range_applies(&asked.headers, validators(headers), Some(date)) {
        return RangeAnswer::Whole;
    }
    parse_range(field, length)
}

fn whole(entry: &Entry, context: &Context<'_>) -> Body {
    body_of(&entry.body, 0, entry.head.length, context.patience)
}

fn answer(asked: &Asked, status: StatusCode, mut headers: HeaderMap, body: Body) -> Response {
    if asked.method == Method::HEAD {
        if let Some(length) = body.length() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return Response { status, headers, body: Body::empty() };
    }
    Response { status, headers, body }
}

/// RFC 9110 section 15.4.5: no body and no fields that describe one.
fn not_modified(mut headers: HeaderMap) -> Response {
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    Response { status: StatusCode::NOT_MODIFIED, headers, body: Body::empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origins_vary_is_kept() {
        for (origin, told) in [
            (None, "Accept-Encoding"),
            (Some("Origin"), "Origin|Accept-Encoding"),
            (Some("Origin, accept-encoding"), "Origin, accept-encoding"),
        ] {
            let mut headers: HeaderMap =
                origin.map(|value| (header::VARY, HeaderValue::from_static(value))).into_iter().collect();
            vary_by_coding(&mut headers);
            let found: Vec<&str> =
                headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok()).collect();
            assert_eq!(found.join("|"), told);
        }
    }
}

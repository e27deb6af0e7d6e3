//! An entry as an HTTP response: validators, conditions, ranges, gzip for text, and the headers that tell a client
//! what it has. Invariant: the record's signature goes out only with the bytes it is over.

use super::{
    body::body_of,
    cache_status::{cache_status, server_timing, via},
    errors,
    steer::{Wish, mark_transformed},
    told::Told,
};
use crate::negotiate::{
    ByteRange, Condition, RangeAnswer, Validators, accepts_gzip, content_range, cors_headers, evaluate, parse_range,
    range_applies, unsatisfied_range,
};
use crate::tokens::{MAX_CARRIED, carry};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::{
    io::Write,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use weir_hls::{ResourceKind, media_type};
use weir_protocol::{CanonicalPath, time::UnixMillis};
use weir_relay::{
    fetch::{How, Served},
    http::{Body, Link, Protocol, Response},
    meter::Session,
    object::Entry,
};

/// What of a request shapes its response.
pub(super) struct Asked {
    /// As the client sent it: the fetcher knows HEAD as GET.
    pub(super) method: Method,
    pub(super) request: Arc<weir_relay::source::Asked>,
    pub(super) protocol: Protocol,
    pub(super) kind: ResourceKind,
    pub(super) path: String,
    /// What is put into a multivariant playlist for this requester.
    pub(super) wish: Option<Wish>,
    pub(super) told: Told,
    /// The way to the client.
    pub(super) link: Option<Link>,
    /// The player is told of the object and the way.
    pub(super) cmsd: bool,
    /// The session that it is charged to, and the path that it is charged for.
    pub(super) session: Option<(Arc<Session>, CanonicalPath)>,
    /// The session's token as a playlist carries it onward, and the host that was asked for.
    pub(super) onward: Option<(Arc<str>, Option<String>)>,
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
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Fields over the bytes as stored, which hold for no other coding of them (RFC 9530 sections 2 and 3, RFC 9421).
const OVER_PLAIN_BYTES: [HeaderName; 8] =
    [REPR_DIGEST, SIGNATURE, SIGNATURE_INPUT, WEIR_RECORD, CONTENT_DIGEST, CONTENT_MD5, DIGEST, header::ACCEPT_RANGES];
/// Fields over the bytes of one message, which hold for no part of them.
const OVER_WHOLE_CONTENT: [HeaderName; 2] = [CONTENT_DIGEST, CONTENT_MD5];

/// Builds the response.
pub(super) fn respond(asked: &Asked, served: &Served, context: &Context<'_>) -> Response {
    let entry = &*served.entry;
    if let Some(text) =
        asked.wish.as_ref().filter(|_| served.how != How::Passed).and_then(|wish| wish.fulfil(&asked.path, entry))
    {
        let text = match &asked.onward {
            Some((token, authority)) => carry(&text, token, authority.as_deref()).into(),
            None => text,
        };
        return transformed(asked, served, context, &text);
    }
    let mut headers = base_headers(asked, served, context);
    if has_two_forms(asked.kind, entry) {
        // On both forms, and also while only one can be made: a cache behind this one decides by it.
        vary_by_coding(&mut headers);
    }
    if let Some(text) = carried(asked, served) {
        return respond_carried(asked, headers, text);
    }
    let packed =
        (compressible(asked, entry) && accepts_gzip(&asked.request.headers)).then(|| compress(entry)).flatten();
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        weaken(&mut headers);
        for name in OVER_PLAIN_BYTES {
            headers.remove(name);
        }
    } else {
        sign(entry, &mut headers);
    }
    if entry.head.status != StatusCode::OK || served.how == How::Passed {
        return answer(asked, entry.head.status, headers, whole(entry, context));
    }
    match conditions(asked, &headers) {
        Condition::Failed => return failed(&mut headers),
        Condition::NotModified => return not_modified(headers),
        Condition::Proceed => {}
    }
    if let Some(packed) = packed {
        return answer(asked, StatusCode::OK, headers, Body::full(packed));
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match range(asked, entry.head.length, &headers, context.now) {
        RangeAnswer::Unsatisfiable => unsatisfiable(&mut headers, entry.head.length.unwrap_or(0)),
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

/// Another text than the one that is held: without what is over the held one's bytes, as it is or compressed.
fn transformed(asked: &Asked, served: &Served, context: &Context<'_>, text: &Bytes) -> Response {
    let mut headers = base_headers(asked, served, context);
    vary_by_coding(&mut headers);
    for name in OVER_PLAIN_BYTES {
        headers.remove(name);
    }
    mark_transformed(&mut headers);
    if asked.onward.is_some() {
        headers.insert(header::CACHE_CONTROL, private(headers.get(header::CACHE_CONTROL)));
    }
    let packed = (text.len() as u64 >= COMPRESS_FROM && accepts_gzip(&asked.request.headers)).then(|| gzip(text));
    let body = match packed.filter(|packed| !packed.is_empty()) {
        Some(packed) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            packed
        }
        None => text.clone(),
    };
    answer(asked, StatusCode::OK, headers, Body::full(body))
}

/// A playlist with the session's token in it is this session's own: nothing signed goes out with it.
fn respond_carried(asked: &Asked, mut headers: HeaderMap, text: Vec<u8>) -> Response {
    weaken(&mut headers);
    for name in OVER_PLAIN_BYTES {
        headers.remove(name);
    }
    // Whoever caches it must not hand it to another session.
    headers.insert(header::CACHE_CONTROL, private(headers.get(header::CACHE_CONTROL)));
    match conditions(asked, &headers) {
        Condition::Failed => return failed(&mut headers),
        Condition::NotModified => return not_modified(headers),
        Condition::Proceed => {}
    }
    let packed = (text.len() as u64 >= COMPRESS_FROM && accepts_gzip(&asked.request.headers)).then(|| gzip(&text));
    match packed.filter(|packed| !packed.is_empty()) {
        Some(packed) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer(asked, StatusCode::OK, headers, Body::full(packed))
        }
        None => answer(asked, StatusCode::OK, headers, Body::full(text)),
    }
}

/// `Cache-Control` as the origin gave it, but private.
fn private(given: Option<&HeaderValue>) -> HeaderValue {
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept = given.split(',').map(str::trim).filter(|directive| {
        !directive.is_empty() && !directive.eq_ignore_ascii_case("public") && !directive.eq_ignore_ascii_case("private")
    });
    let all: Vec<&str> = std::iter::once("private").chain(kept).collect();
    HeaderValue::from_str(&all.join(", ")).unwrap_or(HeaderValue::from_static("private"))
}

/// What a stored part answers a range with: the fields of the part, for `range` of the whole.
pub(super) enum PartAnswer {
    /// 304, 412 or 416.
    Done(Response),
    /// The range does not count (`If-Range`): the whole is wanted.
    Whole,
    /// 206 with these bytes of the representation.
    Part(ByteRange),
}

/// Holds the request's conditions and range against a part of a representation of `total` bytes.
pub(super) fn judge_part(asked: &Asked, served: &Served, context: &Context<'_>, total: u64) -> PartAnswer {
    let mut headers = base_headers(asked, served, context);
    match conditions(asked, &headers) {
        Condition::Failed => return PartAnswer::Done(failed(&mut headers)),
        Condition::NotModified => {
            headers.remove(header::CONTENT_RANGE);
            return PartAnswer::Done(not_modified(headers));
        }
        Condition::Proceed => {}
    }
    match range(asked, Some(total), &headers, context.now) {
        RangeAnswer::Whole => PartAnswer::Whole,
        RangeAnswer::Part(part) => PartAnswer::Part(part),
        RangeAnswer::Unsatisfiable => PartAnswer::Done(unsatisfiable(&mut headers, total)),
    }
}

/// 206 from a part: `body` is `range` of the whole.
pub(super) fn respond_part(
    asked: &Asked,
    served: &Served,
    context: &Context<'_>,
    range: ByteRange,
    total: u64,
    body: Body,
) -> Response {
    let mut headers = base_headers(asked, served, context);
    for name in OVER_WHOLE_CONTENT.iter().chain(&OVER_PLAIN_BYTES) {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_RANGE, content_range(range, Some(total)));
    answer(asked, StatusCode::PARTIAL_CONTENT, headers, body)
}

/// A range of what is still being made, or all of it: nobody knows its length.
pub(super) fn respond_growing(
    asked: &Asked,
    served: &Served,
    context: &Context<'_>,
    range: Option<ByteRange>,
    body: Body,
) -> Response {
    let mut headers = base_headers(asked, served, context);
    for name in OVER_WHOLE_CONTENT.iter().chain(&OVER_PLAIN_BYTES) {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let Some(range) = range else { return answer(asked, StatusCode::OK, headers, body) };
    headers.insert(header::CONTENT_RANGE, content_range(range, None));
    answer(asked, StatusCode::PARTIAL_CONTENT, headers, body)
}

fn failed(headers: &mut HeaderMap) -> Response {
    let mut response = errors::precondition_failed();
    response.headers.extend(headers.remove(CACHE_STATUS).map(|status| (CACHE_STATUS, status)));
    response
}

fn unsatisfiable(headers: &mut HeaderMap, length: u64) -> Response {
    let mut response = errors::range_not_satisfiable(unsatisfied_range(length));
    response.headers.extend(headers.remove(CACHE_STATUS).map(|status| (CACHE_STATUS, status)));
    response
}

fn base_headers(asked: &Asked, served: &Served, context: &Context<'_>) -> HeaderMap {
    let entry = &*served.entry;
    let mut headers = entry.head.headers.clone();
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    if served.how == How::Collapsed {
        for name in &entry.head.withheld {
            headers.remove(name);
        }
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
        && !asked.request.headers.contains_key(header::RANGE)
        && entry.body.pieces().is_some()
}

/// Whether the body should be there as a whole before its response is made.
pub(super) fn waits_for_whole(kind: ResourceKind, entry: &Entry) -> bool {
    has_two_forms(kind, entry) && worth_compressing(entry) && entry.is_shareable()
}

fn compress(entry: &Entry) -> Option<Bytes> {
    let text = entry.body.joined()?;
    let packed = entry.compressed(|| gzip(&text));
    (!packed.is_empty()).then_some(packed)
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(5));
    // Writing to memory cannot fail; were it to, the empty result is not used.
    encoder.write_all(text).and_then(|()| encoder.finish()).unwrap_or_default().into()
}

/// Whether a session's token is to be written into what is served.
pub(super) fn waits_to_carry(asked: &Asked, served: &Served) -> bool {
    let entry = &served.entry;
    let content_type = entry.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    asked.onward.is_some()
        && entry.head.status == StatusCode::OK
        && !entry.head.headers.contains_key(header::CONTENT_ENCODING)
        && entry.head.length.is_none_or(|length| length <= MAX_CARRIED)
        && ResourceKind::of(&asked.path, content_type) == ResourceKind::Playlist
}

/// The playlist with the session's token in it, when it is whole.
fn carried(asked: &Asked, served: &Served) -> Option<Vec<u8>> {
    if served.how == How::Passed {
        return None;
    }
    let (token, authority) = asked.onward.as_ref().filter(|_| waits_to_carry(asked, served))?;
    let text = served.entry.body.joined().filter(|text| text.len() as u64 <= MAX_CARRIED)?;
    Some(carry(&text, token, authority.as_deref()))
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
    evaluate(&asked.request.headers, validators(headers))
}

fn range(asked: &Asked, length: Option<u64>, headers: &HeaderMap, now: UnixMillis) -> RangeAnswer {
    // RFC 9110 section 14.2: Range is defined for GET alone.
    let (Some(field), Some(length)) = (text(&asked.request.headers, header::RANGE), length) else {
        return RangeAnswer::Whole;
    };
    let date = text(headers, header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.unwrap_or(UNIX_EPOCH + Duration::from_millis(now.0));
    if asked.method != Method::GET || !range_applies(&asked.request.headers, validators(headers), Some(date)) {
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

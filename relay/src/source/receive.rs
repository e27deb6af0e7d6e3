//! From a plain response to a judged one: hop-by-hop fields removed, playlists read whole behind their bound, keys
//! recognised, freshness decided. Both wrappers of raw sources stand on it. Invariant: a live playlist that went
//! backwards never leaves here while the newer one is still good.

use super::{FillRequest, RawBody, RawRequest, RawResponse, RawSource, SourceError};
use crate::{
    clock::Clock,
    freshness::{Judged, judge},
    object::Entry,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::{
    collections::{HashSet, VecDeque},
    io::Read,
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};
use weir_hls::{Bounds, MAX_BYTES, Playlist, ResourceKind, UriRole, read, resolve};
use weir_protocol::{
    freshness::{Freshness, Storage, Validators},
    ids::PublisherId,
    resource::ResourceKey,
    time::UnixMillis,
};

/// Key paths remembered from playlists; the oldest is forgotten first.
const MAX_KEY_PATHS: usize = 4096;
/// Fields over the bytes as they came, which hold no longer once those are unpacked (RFC 9530, RFC 9421).
const OVER_PACKED_BYTES: [&str; 6] =
    ["content-digest", "content-md5", "digest", "repr-digest", "signature", "signature-input"];
/// Length of an AES-128 key.
const KEY_BYTES: u64 = 16;

/// A response without its body.
#[derive(Debug, Clone)]
pub struct ResponseParts {
    /// Status.
    pub status: StatusCode,
    /// End-to-end header fields.
    pub headers: HeaderMap,
    /// Length in bytes of the body as it is now (a playlist that came compressed has been unpacked), when known.
    pub length: Option<u64>,
    /// The verdict.
    pub freshness: Freshness,
    /// Validators.
    pub validators: Validators,
    /// Age in milliseconds on arrival.
    pub age_ms: u64,
}

/// A body on its way in.
pub enum ReceivedBody {
    /// All there: playlists, whose freshness depends on what they say.
    Whole(Bytes),
    /// Arriving.
    Stream(RawBody),
}

/// A judged response.
pub enum Received {
    /// What the node holds is still right.
    NotModified(ResponseParts),
    /// A response.
    Response(ResponseParts, ReceivedBody),
}

/// Receives from one raw source.
pub struct Receiver<S> {
    source: S,
    clock: Clock,
    max_object_bytes: u64,
    keys: Mutex<KeyPaths>,
}

#[derive(Default)]
struct KeyPaths {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl<S: RawSource> Receiver<S> {
    /// Receives from `source`; bodies longer than `max_object_bytes` are passed through and never kept.
    pub fn new(source: S, clock: Clock, max_object_bytes: u64) -> Self {
        Self { source, clock, max_object_bytes, keys: Mutex::default() }
    }

    /// The clock that judges.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks the source and judges what it answers.
    pub async fn receive(&self, request: &FillRequest) -> Result<Received, SourceError> {
        let path = request.key.path_and_query();
        let mut asked = self.clock.now();
        let mut raw = RawRequest { path_and_query: path.clone(), validators: conditions(request.have.as_deref()) };
        let mut response = self.source.fetch(&raw).await?;
        if response.status == StatusCode::NOT_MODIFIED && !confirms(&raw, &response) {
            raw.validators = None;
            asked = self.clock.now();
            response = self.source.fetch(&raw).await?;
        }
        let received = self.clock.now();
        stamp(&mut response.headers, received);
        if response.status == StatusCode::NOT_MODIFIED {
            let have = request.have.as_deref().filter(|_| raw.validators.is_some());
            return self.not_modified(have, &path, &response, asked, received);
        }
        if response.status == StatusCode::PARTIAL_CONTENT {
            return Err(SourceError::BadResponse("206 to a request without Range".into()));
        }
        let mut kind = self.kind(&path, &response.headers, response.length);
        if kind == ResourceKind::Other && response.length.is_none() {
            (response.body, response.length) = measure(response.body).await?;
            kind = self.kind(&path, &response.headers, response.length);
        }
        if kind == ResourceKind::Playlist && response.status.is_success() {
            return self.playlist(request, &path, response, asked, received).await;
        }
        let headers = end_to_end(&response.headers);
        let verdict = judge(&Judged {
            kind,
            status: response.status,
            headers: &response.headers,
            asked,
            received,
            playlist: None,
            advanced: received,
        });
        let mut freshness = verdict.freshness;
        if response.length.is_some_and(|length| length > self.max_object_bytes) {
            freshness.store = Storage::Pass;
        }
        let parts = ResponseParts {
            status: response.status,
            headers,
            length: response.length,
            age_ms: freshness.initial_age_ms,
            freshness,
            validators: verdict.validators,
        };
        Ok(Received::Response(parts, ReceivedBody::Stream(response.body)))
    }

    fn kind(&self, path: &str, headers: &HeaderMap, length: Option<u64>) -> ResourceKind {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = ResourceKind::of(path, content_type);
        let listed = self.keys.lock().unwrap_or_else(PoisonError::into_inner).known.contains(path);
        // An AES-128 key is 16 bytes. A relay that asks for one before its playlist passed here must not get to keep
        // it, so anything of that length that is not plainly something else is taken for a key.
        if listed || (length == Some(KEY_BYTES) && kind == ResourceKind::Other) { ResourceKind::Key } else { kind }
    }

    async fn playlist(
        &self,
        request: &FillRequest,
        path: &str,
        response: RawResponse,
        asked: UnixMillis,
        received: UnixMillis,
    ) -> Result<Received, SourceError> {
        let RawResponse { status, mut headers, body, .. } = response;
        let packed = collect(body).await?;
        let text = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => packed,
            Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => {
                let text = unpack(&packed)?;
                for name in OVER_PACKED_BYTES {
                    headers.remove(name);
                }
                text
            }
            Some(_) => return Err(SourceError::BadResponse("playlist in a content coding nobody asked for".into())),
        };
        headers.remove(header::CONTENT_ENCODING);
        let playlist = read(&text, &Bounds::default()).ok();
        if let Some(playlist) = &playlist {
            self.learn_keys(request.key.publisher, path, playlist);
        }
        let held = request.have.as_deref().and_then(|have| Some((have, have.body.joined()?)));
        if let (Some(Playlist::Media(new)), Some((have, old))) = (&playlist, &held)
            && let Ok(Playlist::Media(old)) = read(old, &Bounds::default())
            && have.usable_on_error(received)
            && new.position() < old.position()
        {
            return Err(SourceError::BadResponse("the playlist went backwards".into()));
        }
        let same = held.as_ref().is_some_and(|(_, old)| *old == text);
        let verdict = judge(&Judged {
            kind: ResourceKind::Playlist,
            status,
            headers: &headers,
            asked,
            received,
            playlist: playlist.as_ref(),
            advanced: if same { advanced(held.as_ref().map(|(have, _)| *have), received) } else { received },
        });
        let parts = ResponseParts {
            status,
            headers: end_to_end(&headers),
            length: Some(text.len() as u64),
            age_ms: verdict.freshness.initial_age_ms,
            freshness: verdict.freshness,
            validators: verdict.validators,
        };
        Ok(if same { Received::NotModified(parts) } else { Received::Response(parts, ReceivedBody::Whole(text)) })
    }

    fn not_modified(
        &self,
        have: Option<&Entry>,
        path: &str,
        response: &RawResponse,
        asked: UnixMillis,
        received: UnixMillis,
    ) -> Result<Received, SourceError> {
        let Some(have) = have else {
            return Err(SourceError::BadResponse("304 to an unconditional request".into()));
        };
        // RFC 9111 section 3.2: fields of the 304 replace stored ones, except the coding, of which the held body was
        // freed when it came.
        let newer = |name: &HeaderName| *name != header::CONTENT_ENCODING;
        let mut headers = have.head.headers.clone();
        for name in response.headers.keys().filter(|name| newer(name)) {
            headers.remove(name);
        }
        for (name, value) in response.headers.iter().filter(|(name, _)| newer(name)) {
            headers.append(name.clone(), value.clone());
        }
        let kind = self.kind(path, &headers, have.head.length);
        let playlist = (kind == ResourceKind::Playlist)
            .then(|| have.body.joined().and_then(|text| read(&text, &Bounds::default()).ok()))
            .flatten();
        let verdict = judge(&Judged {
            kind,
            status: have.head.status,
            headers: &headers,
            asked,
            received,
            playlist: playlist.as_ref(),
            advanced: advanced(Some(have), received),
        });
        Ok(Received::NotModified(ResponseParts {
            status: have.head.status,
            headers: end_to_end(&headers),
            length: have.head.length,
            age_ms: verdict.freshness.initial_age_ms,
            freshness: verdict.freshness,
            validators: verdict.validators,
        }))
    }

    fn learn_keys(&self, publisher: PublisherId, playlist_path: &str, playlist: &Playlist) {
        let found = playlist.uris().iter().filter(|uri| matches!(uri.role, UriRole::Key | UriRole::SessionKey));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for uri in found {
            // A key that is named with a host may be this origin's own: then it is asked for here by its path.
            let Some(key) = resolve(playlist_path, &uri.uri) else { continue };
            let target = match key.query() {
                Some(query) => format!("{}?{query}", key.path()),
                None => key.path().to_owned(),
            };
            // In the form that requests are brought to, whatever spelling the playlist uses.
            let Ok(key) = ResourceKey::parse(publisher, &target) else { continue };
            let path = key.path_and_query();
            if keys.known.insert(path.clone()) {
                keys.order.push_back(path);
            }
            if keys.order.len() > MAX_KEY_PATHS
                && let Some(oldest) = keys.order.pop_front()
            {
                keys.known.remove(&oldest);
            }
        }
    }
}

/// A generation is named by the millisecond in which its body first appeared.
fn advanced(have: Option<&Entry>, now: UnixMillis) -> UnixMillis {
    have.map_or(now, |have| UnixMillis(have.head.generation.0.min(now.0)))
}

/// What to ask with: only a response that was a representation can be confirmed by a 304.
fn conditions(have: Option<&Entry>) -> Option<Validators> {
    let held = have.filter(|have| have.head.status.is_success())?;
    Some(held.head.validators.clone()).filter(|validators| !validators.is_empty())
}

/// RFC 9111 section 4.3.4: a 304 that names another body than the one asked about confirms nothing.
fn confirms(asked: &RawRequest, response: &RawResponse) -> bool {
    let Some(validators) = &asked.validators else { return false };
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let named = response.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(opaque);
    match (named, validators.etag.as_deref().map(opaque)) {
        (Some(named), Some(held)) => named == held,
        _ => true,
    }
}

/// RFC 9110 section 6.6.1: a response without `Date` gets the time it was received.
fn stamp(headers: &mut HeaderMap, received: UnixMillis) {
    if headers.contains_key(header::DATE) {
        return;
    }
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(received.0));
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.insert(header::DATE, date);
    }
}

/// Reads just far enough to know whether a body of unannounced length is as short as a key.
async fn measure(mut body: RawBody) -> Result<(RawBody, Option<u64>), SourceError> {
    let mut pieces = Vec::new();
    let mut length = 0;
    while length <= KEY_BYTES {
        let Some(piece) = body.next().await.transpose()? else {
            return Ok((stream::iter(pieces.into_iter().map(Ok)).boxed(), Some(length)));
        };
        length += piece.len() as u64;
        // Empty pieces are not kept, so that their number is bounded.
        pieces.extend((!piece.is_empty()).then_some(piece));
    }
    Ok((stream::iter(pieces.into_iter().map(Ok)).chain(body).boxed(), None))
}

async fn collect(mut body: RawBody) -> Result<Bytes, SourceError> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if all.len() + piece.len() > MAX_BYTES {
            return Err(SourceError::BadResponse(format!("playlist longer than {MAX_BYTES} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

fn unpack(packed: &[u8]) -> Result<Bytes, SourceError> {
    let mut text = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    flate2::read::MultiGzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|error| SourceError::BadResponse(format!("broken gzip: {error}")))?;
    if text.len() > MAX_BYTES {
        return Err(SourceError::BadResponse(format!("playlist unpacks to more than {MAX_BYTES} bytes")));
    }
    Ok(text.into())
}

/// Fields that do not travel end to end (RFC 9110 section 7.6.1), that describe one message's framing, or that each
/// hop computes anew.
const NOT_END_TO_END: [HeaderName; 11] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::AGE,
    header::ALT_SVC,
];

/// The fields of a response that travel on.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let keep = |name: &HeaderName| {
        !NOT_END_TO_END.contains(name)
            && !matches!(name.as_str(), "keep-alive" | "proxy-connection" | "cache-status" | "via" | "set-cookie")
            && !named.iter().any(|other| other == name.as_str())
    };
    headers.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

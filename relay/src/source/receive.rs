//! From a plain response to a judged one: hop-by-hop fields removed, playlists read whole behind their bound, keys
//! recognised, freshness decided. Both wrappers of raw sources stand on it. Invariant: a live playlist that went
//! backwards never leaves here while the newer one is still good.

use super::{
    Asked, FillRequest, RawBody, RawRequest, RawResponse, RawSource, SourceError,
    bodies::{KEY_BYTES, collect, measure, unpack},
    fields::{end_to_end, header_text, stamp, strong_etag},
};
use crate::{
    clock::Clock,
    freshness::{Judged, Judgement, Rules, judge},
    live,
    object::Entry,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};
use weir_hls::{Bounds, Directives, Playlist, ResourceKind, UriRole, read, resolve};
use weir_protocol::{
    freshness::{Freshness, Storage, Validators},
    ids::PublisherId,
    part::{Part, Place},
    resource::ResourceKey,
    time::UnixMillis,
    wire::Awaits,
};

/// Key paths remembered from playlists; the oldest is forgotten first.
const MAX_KEY_PATHS: usize = 4096;
/// Fields over the bytes as they came, which hold no longer once those are unpacked (RFC 9530, RFC 9421).
const OVER_PACKED_BYTES: [&str; 6] =
    ["content-digest", "content-md5", "digest", "repr-digest", "signature", "signature-input"];

/// A response without its body.
#[derive(Debug, Clone)]
pub struct ResponseParts {
    /// Which resource it is: the one that was asked for, and of what varies the variant that it selected.
    pub key: ResourceKey,
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
    /// Fields that only whoever asked may see (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
    pub withheld: Vec<HeaderName>,
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
    rules: Rules,
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
        Self { source, clock, max_object_bytes, rules: Rules::default(), keys: Mutex::default() }
    }

    /// Judges by these rules.
    #[must_use]
    pub fn judging_by(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// The clock that judges.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks the source and judges what it answers.
    pub async fn receive(&self, request: &FillRequest) -> Result<Received, SourceError> {
        let path = request.key.path_and_query();
        let mut times = Times { asked: self.clock.now(), received: self.clock.now() };
        let mut raw = RawRequest {
            path_and_query: target(&request.key, request.asked.awaits()),
            // Those of the playlist are not those of what its URL answers with directives.
            validators: conditions(request.have.as_deref()).filter(|_| request.asked.awaits().is_none()),
            range: range_of(request),
            asked: request.asked.clone(),
        };
        let mut response = self.source.fetch(&raw).await?;
        let begun = request.beginning.as_deref().filter(|_| response.status == StatusCode::PARTIAL_CONTENT);
        if let Some(beginning) = begun {
            match continued(beginning, response) {
                Some(whole) => response = whole,
                None => {
                    // Nothing tells that the two belong together (RFC 9111 section 3.4).
                    raw.range = None;
                    times.asked = self.clock.now();
                    response = self.source.fetch(&raw).await?;
                }
            }
        }
        if response.status == StatusCode::NOT_MODIFIED && !request.asked.is_passed() && !confirms(&raw, &response) {
            raw.validators = None;
            times.asked = self.clock.now();
            response = self.source.fetch(&raw).await?;
        }
        times.received = self.clock.now();
        stamp(&mut response.headers, times.received);
        if request.asked.is_passed() {
            return Ok(self.passed(request, response, times));
        }
        if response.status == StatusCode::NOT_MODIFIED {
            let have = request.have.as_deref().filter(|_| raw.validators.is_some());
            return self.not_modified(have, &path, &response, request, times);
        }
        if response.status == StatusCode::PARTIAL_CONTENT {
            return self.part(request, response, times);
        }
        let mut kind = self.kind(&path, &response.headers, response.length);
        if kind == ResourceKind::Other && response.length.is_none() {
            (response.body, response.length) = measure(response.body).await?;
            kind = self.kind(&path, &response.headers, response.length);
        }
        if kind == ResourceKind::Playlist && response.status.is_success() {
            return self.playlist(request, &path, response, times).await;
        }
        let verdict = self.judge(kind, response.status, &response.headers, None, times.received, &request.asked, times);
        let mut parts = parts(request, response.status, &response.headers, response.length, verdict);
        if response.length.is_some_and(|length| length > self.max_object_bytes) {
            parts.freshness.store = Storage::Pass;
        }
        Ok(Received::Response(parts, ReceivedBody::Stream(response.body)))
    }

    /// A part of a representation. One that is everything is the whole; one whose `Content-Range` and length contradict
    /// each other, or that is not what was asked for, is passed on and never kept.
    fn part(&self, request: &FillRequest, mut response: RawResponse, times: Times) -> Result<Received, SourceError> {
        let Some(part) = request.key.variant.as_ref().and_then(Part::of) else {
            return Err(SourceError::BadResponse("206 to a request without Range".into()));
        };
        let place = header_text(&response.headers, &header::CONTENT_RANGE).and_then(Place::parse);
        let place = place.filter(|place| response.length == Some(place.length()));
        let whole = place.is_some_and(|place| place.is_whole());
        if whole {
            response.headers.remove(header::CONTENT_RANGE);
            response.status = StatusCode::OK;
        }
        let length = place.map(|place| place.total);
        let kind = self.kind(request.key.path.as_str(), &response.headers, length);
        let received = times.received;
        let verdict = self.judge(kind, response.status, &response.headers, None, received, &request.asked, times);
        let one = verdict.vary.is_none();
        let mut parts = parts(request, response.status, &response.headers, response.length, verdict);
        if !whole {
            parts.key = request.key.clone();
        }
        // A part of one of several representations has no name.
        let fit = whole || (one && place.is_some_and(|place| place.answers(part)));
        if !fit
            || kind == ResourceKind::Playlist
            || response.length.is_some_and(|length| length > self.max_object_bytes)
        {
            parts.freshness.store = Storage::Pass;
        }
        Ok(Received::Response(parts, ReceivedBody::Stream(response.body)))
    }

    /// What answers a request that only the origin could answer. Of all of them only the answer to a POST that says
    /// that it is what a GET would bring, and for how long, may be kept (RFC 9110 section 9.3.3).
    fn passed(&self, request: &FillRequest, response: RawResponse, times: Times) -> Received {
        let RawResponse { status, headers, length, body } = response;
        let kind = self.kind(request.key.path.as_str(), &headers, length);
        let verdict = self.judge(kind, status, &headers, None, times.received, &request.asked, times);
        let names_itself = header_text(&headers, &header::CONTENT_LOCATION).is_some_and(|location| {
            let Some(found) = resolve(request.key.path.as_str(), location) else { return false };
            let target = match found.query() {
                Some(query) => format!("{}?{query}", found.path()),
                None => found.path().to_owned(),
            };
            let named = ResourceKey::parse(request.key.publisher, &target);
            named.is_ok_and(|named| named.path_and_query() == request.key.path_and_query())
        });
        let keeps = request.asked.method == Method::POST
            && status == StatusCode::OK
            && verdict.explicit
            && names_itself
            && length.is_some_and(|length| length <= self.max_object_bytes);
        let mut parts = parts(request, status, &headers, length, verdict);
        if !keeps {
            parts.freshness.store = Storage::Pass;
            parts.key = request.key.clone();
        }
        Received::Response(parts, ReceivedBody::Stream(body))
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one response")]
    fn judge(
        &self,
        kind: ResourceKind,
        status: StatusCode,
        headers: &HeaderMap,
        playlist: Option<&Playlist>,
        advanced: UnixMillis,
        asked: &Asked,
        times: Times,
    ) -> Judgement {
        judge(&Judged {
            kind,
            status,
            headers,
            asked: times.asked,
            received: times.received,
            playlist,
            advanced,
            authorized: asked.is_authorized(),
            rules: self.rules,
        })
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
        times: Times,
    ) -> Result<Received, SourceError> {
        let received = times.received;
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
        if request.asked.awaits().is_some() {
            live::as_plain(&mut headers);
        }
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
        let advanced = if same { advanced(held.as_ref().map(|(have, _)| *have), received) } else { received };
        let kind = ResourceKind::Playlist;
        let verdict = self.judge(kind, status, &headers, playlist.as_ref(), advanced, &request.asked, times);
        let mut parts = parts(request, status, &headers, Some(text.len() as u64), verdict);
        if let (true, Some((have, _))) = (same, &held) {
            parts.key = have.head.key.clone();
            return Ok(Received::NotModified(parts));
        }
        Ok(Received::Response(parts, ReceivedBody::Whole(text)))
    }

    fn not_modified(
        &self,
        have: Option<&Entry>,
        path: &str,
        response: &RawResponse,
        request: &FillRequest,
        times: Times,
    ) -> Result<Received, SourceError> {
        let Some(have) = have else {
            return Err(SourceError::BadResponse("304 to an unconditional request".into()));
        };
        // RFC 9111 section 3.2: fields of the 304 replace stored ones, except the coding, of which the held body was
        // freed when it came.
        let part = have.head.status == StatusCode::PARTIAL_CONTENT;
        // And of a part its place.
        let newer = |name: &HeaderName| *name != header::CONTENT_ENCODING && !(part && *name == header::CONTENT_RANGE);
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
        let advanced = advanced(Some(have), times.received);
        let status = have.head.status;
        let verdict = self.judge(kind, status, &headers, playlist.as_ref(), advanced, &request.asked, times);
        let mut parts = parts(request, status, &headers, have.head.length, verdict);
        parts.key = have.head.key.clone();
        Ok(Received::NotModified(parts))
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

/// When a request left and its answer's head arrived.
#[derive(Clone, Copy)]
struct Times {
    asked: UnixMillis,
    received: UnixMillis,
}

fn parts(
    request: &FillRequest,
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
    verdict: Judgement,
) -> ResponseParts {
    let Judgement { freshness, validators, vary, withheld, explicit: _ } = verdict;
    let mut key = request.key.clone();
    if freshness.store == Storage::Store {
        key = key.with_variant(request.asked.variant(&vary));
    }
    ResponseParts {
        key,
        status,
        headers: end_to_end(headers),
        length,
        age_ms: freshness.initial_age_ms,
        freshness,
        validators,
        withheld,
    }
}

/// What to ask the source for: with `awaits`, the playlist once it lists that.
fn target(key: &ResourceKey, awaits: Option<Awaits>) -> String {
    let mut target = key.path_and_query();
    if let Some(Awaits { sequence, part }) = awaits {
        let directives = Directives { sequence: Some(sequence), part, skip: None };
        target.push(if key.query.is_some() { '&' } else { '?' });
        target.push_str(&directives.query());
    }
    target
}

/// The range to ask for: of a part its own, and of a body whose beginning is held the rest.
fn range_of(request: &FillRequest) -> Option<(String, Option<String>)> {
    if let Some(part) = request.key.variant.as_ref().and_then(Part::of) {
        return Some((part.range(), None));
    }
    let beginning = request.beginning.as_ref()?;
    Some((format!("bytes={}-", beginning.body.length()), strong_etag(&beginning.head.headers).map(str::to_owned)))
}

/// The whole response that a beginning and its continuation make, with the newer fields (RFC 9111 section 3.4); `None`
/// unless they have one strong validator, and the second begins where the first ends and goes to the end.
fn continued(beginning: &Entry, response: RawResponse) -> Option<RawResponse> {
    let place = header_text(&response.headers, &header::CONTENT_RANGE).and_then(Place::parse)?;
    let held = header_text(&beginning.head.headers, &header::CONTENT_RANGE).and_then(Place::parse)?;
    let same = strong_etag(&response.headers)? == strong_etag(&beginning.head.headers)?;
    let joins = held.first == 0 && place.first == held.last + 1 && place.last + 1 == place.total;
    if !same || !joins || place.total != held.total || response.length.is_some_and(|length| length != place.length()) {
        return None;
    }
    let mut headers = beginning.head.headers.clone();
    for name in response.headers.keys() {
        headers.remove(name);
    }
    headers.extend(response.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    headers.remove(header::CONTENT_RANGE);
    let first = stream::iter(beginning.body.pieces()?.into_iter().map(Ok));
    Some(RawResponse {
        status: StatusCode::OK,
        headers,
        length: Some(place.total),
        body: first.chain(response.body).boxed(),
    })
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

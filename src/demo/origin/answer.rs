//! From a request and an instant to a response: routes, headers, statuses. No I/O.
//!
//! Invariant: an error is never cacheable, and only live playlists depend on the instant beyond existing or not.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::demo::origin::clip::{Clip, PARTS, Rendition, fnv1a};
use crate::demo::origin::conditions::{Validators, Verdict, judge};
use crate::demo::origin::error::ClipError;
use crate::demo::origin::low_latency::{self, Answer};
use crate::demo::origin::playlist;
use crate::demo::origin::programme::{Channel, Film};
use crate::demo::origin::stats::OriginStats;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const VIDEO: &str = "video/mp4";
/// Media never changes under its name.
const CACHE_MEDIA: &str = "public, max-age=3600, immutable";
/// The film's playlists change only with a new build of the clip.
const CACHE_FILM: &str = "public, max-age=60";
/// Half a target duration: a cache asks again once for each segment.
const CACHE_LIVE: &str = "public, max-age=1";
/// A blocking answer is good for six target durations (draft-pantos-hls-rfc8216bis appendix B.1).
const CACHE_BLOCKING: &str = "public, max-age=12";
const CACHE_ERROR: &str = "no-store";
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The origin: the clip, its two programmes and the counters.
#[derive(Debug)]
pub(crate) struct Origin {
    clip: Clip,
    channel: Channel,
    film: Film,
    stats: Arc<OriginStats>,
}

/// A resource as it is at one instant.
struct Resource {
    body: Bytes,
    kind: &'static str,
    cache: &'static str,
    validators: Validators,
    is_segment: bool,
}

impl Origin {
    /// Reads the embedded clip.
    ///
    /// # Errors
    /// When the clip is not fit for looping, which is a fault of the build.
    pub(crate) fn new(stats: Arc<OriginStats>) -> Result<Self, ClipError> {
        Ok(Self { clip: Clip::embedded()?, channel: Channel::new(), film: Film, stats })
    }

    /// Until when a request is held, because what it asks for is not made yet.
    pub(crate) fn holds<B>(&self, request: &Request<B>, now: SystemTime) -> Option<SystemTime> {
        let (rendition, file) = self.low_latency(request.uri().path())?;
        let answer = match file {
            "index.m3u8" => {
                let query = request.uri().query().unwrap_or_default();
                low_latency::directed(&self.clip, rendition, &self.channel, query, now)
            }
            _ => low_latency::fetchable(&self.channel, low_latency::place_of(file)?, now)?,
        };
        match answer {
            Answer::At(instant) => Some(instant),
            Answer::Now | Answer::Bad(_) => None,
        }
    }

    /// Rendition and file of a path below the low-latency channel.
    fn low_latency<'a>(&self, path: &'a str) -> Option<(&Rendition, &'a str)> {
        let (name, file) = path.strip_prefix("/ll/")?.split_once('/')?;
        Some((self.clip.rendition(name)?, file))
    }

    /// Answers a request as of `now`. The response to HEAD carries the length and no body.
    pub(crate) fn answer<B>(&self, request: &Request<B>, now: SystemTime) -> Response<Bytes> {
        let (mut response, is_segment) = match *request.method() {
            Method::GET | Method::HEAD => self.retrieve(request, now),
            Method::OPTIONS => (refuse(StatusCode::NO_CONTENT, ""), false),
            _ => (refuse(StatusCode::METHOD_NOT_ALLOWED, "this origin only serves\n"), false),
        };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Content-Length, Content-Range"));
        headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if request.method() == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        let length = response.body().len() as u64;
        self.stats.answered(length, is_segment && length > 0 && response.status().is_success());
        response
    }

    /// The answer to GET, and whether it is about a segment.
    fn retrieve<B>(&self, request: &Request<B>, now: SystemTime) -> (Response<Bytes>, bool) {
        let query = request.uri().query().unwrap_or_default();
        if let Some((rendition, "index.m3u8")) = self.low_latency(request.uri().path()) {
            let answer = low_latency::directed(&self.clip, rendition, &self.channel, query, now);
            if let Answer::Bad(why) = answer {
                return (bad(why), false);
            }
        }
        let Some(resource) = self.resource(request.uri().path(), query, now) else {
            return (refuse(StatusCode::NOT_FOUND, "no such resource, or not yet, or no longer\n"), false);
        };
        let verdict = judge(request.headers(), &resource.validators, resource.body.len());
        (respond(&resource, verdict), resource.is_segment)
    }

    fn resource(&self, path: &str, query: &str, now: SystemTime) -> Option<Resource> {
        if let Some((rendition, file)) = self.low_latency(path)
            && file != "init.mp4"
        {
            return self.low_latency_resource(rendition, file, query, now);
        }
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (programme, second, third) = (parts.next()?, parts.next()?, parts.next());
        let is_live = match programme {
            "live" | "ll" | "chunked" => true,
            "film" => false,
            _ => return None,
        };
        let Some(file) = third else {
            let text = (second == "master.m3u8").then(|| playlist::master(&self.clip))?;
            return Some(self.fixed(text.into(), PLAYLIST, CACHE_FILM));
        };
        let rendition = self.clip.rendition(second)?;
        match (file, is_live) {
            (_, true) if programme == "chunked" && file != "init.mp4" => self.parted(rendition, file, now),
            ("index.m3u8", true) => Some(self.live_playlist(now)),
            ("index.m3u8", false) => {
                Some(self.fixed(playlist::film(self.film.segments()).into(), PLAYLIST, CACHE_FILM))
            }
            ("init.mp4", _) => Some(self.fixed(rendition.init.clone(), VIDEO, CACHE_MEDIA)),
            _ => self.segment(rendition, segment_number(file)?, is_live, now),
        }
    }

    fn parted(&self, rendition: &Rendition, file: &str, now: SystemTime) -> Option<Resource> {
        if file == "index.m3u8" {
            let window = self.channel.window(now);
            let text = playlist::live(&self.channel, low_latency::first(window.end)..window.end);
            return Some(tagged(text.into(), PLAYLIST, CACHE_LIVE, self.channel.moved(now)));
        }
        let number = segment_number(file)?;
        let modified = self.channel.starts(number.checked_add(1)?);
        low_latency::has_segment(&self.channel, number, now).then(|| Resource {
            body: rendition.parted(number),
            kind: VIDEO,
            cache: CACHE_MEDIA,
            validators: Validators { etag: format!("\"{:016x}-{number}.parted\"", rendition.checksum), modified },
            is_segment: true,
        })
    }

    /// The chunked segment that is being made: its parts, and when each is there.
    pub(crate) fn growing<B>(&self, request: &Request<B>, now: SystemTime) -> Option<Vec<(SystemTime, Bytes)>> {
        let (name, file) = request.uri().path().strip_prefix("/chunked/")?.split_once('/')?;
        let (rendition, number) = (self.clip.rendition(name)?, segment_number(file)?);
        if request.method() != Method::GET || number != self.channel.window(now).end {
            return None;
        }
        let parts: Vec<(SystemTime, Bytes)> = (0..PARTS)
            .map(|part| (low_latency::made(&self.channel, (number, part)), rendition.part(number, part)))
            .collect();
        self.stats.answered(parts.iter().map(|(_, bytes)| bytes.len() as u64).sum(), true);
        Some(parts)
    }

    fn low_latency_resource(
        &self,
        rendition: &Rendition,
        file: &str,
        query: &str,
        now: SystemTime,
    ) -> Option<Resource> {
        let media = |body, name: String, modified| Resource {
            body,
            kind: VIDEO,
            cache: CACHE_MEDIA,
            validators: Validators { etag: format!("\"{:016x}-{name}\"", rendition.checksum), modified },
            is_segment: true,
        };
        if file == "index.m3u8" {
            let text = low_latency::answer(&self.clip, rendition, &self.channel, query, now);
            let cache = if query.contains("_HLS_msn=") { CACHE_BLOCKING } else { CACHE_LIVE };
            return Some(tagged(text.into(), PLAYLIST, cache, now));
        }
        if let Some((number, part)) = low_latency::place_of(file) {
            let there = low_latency::fetchable(&self.channel, (number, part), now)? == Answer::Now;
            let made = low_latency::made(&self.channel, (number, part));
            return there.then(|| media(rendition.part(number, part), format!("{number}.{part}"), made));
        }
        self.parted(rendition, file, now)
    }

    fn segment(&self, rendition: &Rendition, number: u64, is_live: bool, now: SystemTime) -> Option<Resource> {
        let known = if is_live { self.channel.fetchable(now) } else { self.film.segments() };
        let modified = if is_live { self.channel.starts(number.checked_add(1)?) } else { self.channel.starts(0) };
        known.contains(&number).then(|| Resource {
            body: rendition.segment(number),
            kind: VIDEO,
            cache: CACHE_MEDIA,
            validators: Validators { etag: format!("\"{:016x}-{number}\"", rendition.checksum), modified },
            is_segment: true,
        })
    }

    fn live_playlist(&self, now: SystemTime) -> Resource {
        let text = playlist::live(&self.channel, self.channel.window(now));
        tagged(text.into(), PLAYLIST, CACHE_LIVE, self.channel.moved(now))
    }

    fn fixed(&self, body: Bytes, kind: &'static str, cache: &'static str) -> Resource {
        tagged(body, kind, cache, self.channel.starts(0))
    }
}

/// A resource whose entity tag is the checksum of its bytes.
fn tagged(body: Bytes, kind: &'static str, cache: &'static str, modified: SystemTime) -> Resource {
    let etag = format!("\"{:016x}\"", fnv1a(&body));
    Resource { body, kind, cache, validators: Validators { etag, modified }, is_segment: false }
}

/// N of `seg-N.m4s`, in its one spelling: other spellings of the same number are other, unknown names.
fn segment_number(file: &str) -> Option<u64> {
    let digits = file.strip_prefix("seg-")?.strip_suffix(".m4s")?;
    digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
}

fn respond(resource: &Resource, verdict: Verdict) -> Response<Bytes> {
    let total = resource.body.len();
    let (status, body, range) = match verdict {
        Verdict::Whole => (StatusCode::OK, resource.body.clone(), None),
        Verdict::NotModified => (StatusCode::NOT_MODIFIED, Bytes::new(), None),
        Verdict::Part(first, last) => {
            let range = format!("bytes {first}-{last}/{total}");
            (StatusCode::PARTIAL_CONTENT, resource.body.slice(first..=last), Some(range))
        }
        Verdict::Unsatisfiable => {
            let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "");
            response.headers_mut().insert(CONTENT_RANGE, ascii(format!("bytes */{total}")));
            return response;
        }
    };
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(resource.cache));
    headers.insert(ETAG, ascii(resource.validators.etag.clone()));
    headers.insert(LAST_MODIFIED, ascii(httpdate::fmt_http_date(resource.validators.modified)));
    if verdict != Verdict::NotModified {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(resource.kind));
        // Said here because the body of an answer to HEAD is taken out later.
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if let Some(range) = range {
        headers.insert(CONTENT_RANGE, ascii(range));
    }
    response
}

/// A request that cannot be meant.
fn bad(why: String) -> Response<Bytes> {
    let mut response = refuse(StatusCode::BAD_REQUEST, "");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let text = Bytes::from(why + "\n");
    headers.insert(CONTENT_LENGTH, text.len().into());
    *response.body_mut() = text;
    response
}

/// An answer without a resource; `text` says why.
fn refuse(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE_ERROR));
    if status == StatusCode::NO_CONTENT || status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    }
    if !text.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, text.len().into());
    }
    response
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("numbers, dates and checksums are visible ASCII")
}

#[cfg(test)]
mod tests;

//! What the adapter answers itself under `/weir/`, in front of the platform's origin. It stands where the origin stands,
//! so that relays get it as they get content: signed, coalesced, and from what they hold while the adapter is away.

use crate::{
    ranges::{RangeError, Ranges},
    reports::{Reports, Taken},
    steering::{Asked as Question, Desk},
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::{future::poll_fn, sync::Arc, time::Duration};
use tokio::time::timeout;
use weir_hls::{MAX_BYTES, ResourceKind, cmcd::MAX_EVENTS_BYTES, steering::MEDIA_TYPE};
use weir_relay::{
    http::Body,
    source::{RawRequest, RawResponse, RawSource, SourceError},
};

/// Where steering lists are.
pub const STEER_PATH: &str = "/weir/steer";
/// Where players send reports.
pub const CMCD_PATH: &str = "/weir/cmcd";
/// Where digests of ranges are.
pub const RECORD_PATH: &str = "/weir/record";
/// A range's digest holds as long as its resource is the same, which its tag says.
const DIGEST_LIFE: &str = "max-age=600, stale-if-error=86400";
/// Longest wait for a report's body.
pub(crate) const REPORT_PATIENCE: Duration = Duration::from_secs(5);
/// Longest playlist that is read for its variants, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// A list is the same for a second, and better than none for an hour.
const LIST_LIFE: &str = "max-age=1, stale-if-error=3600";

/// A source with the adapter's own pages in front.
pub struct Own<S> {
    inner: S,
    desk: Option<Arc<Desk>>,
    reports: Arc<Reports>,
    ranges: Arc<Ranges>,
}

impl<S: RawSource> Own<S> {
    /// Pages before `inner`; without a desk every steering list names the playlist's own pathways.
    pub fn new(inner: S, desk: Option<Arc<Desk>>, reports: Arc<Reports>, ranges: Arc<Ranges>) -> Self {
        Self { inner, desk, reports, ranges }
    }

    async fn answer(&self, request: &RawRequest) -> Result<RawResponse, SourceError> {
        let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
        let method = &request.asked.method;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match path {
            STEER_PATH if reads => Ok(self.steer(query).await),
            STEER_PATH => Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are served here", "GET, HEAD")),
            CMCD_PATH if *method == Method::POST => Ok(self.report(request).await),
            CMCD_PATH => Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "POST reports here", "POST")),
            RECORD_PATH if reads => Ok(self.record(query).await),
            _ => self.inner.fetch(request).await,
        }
    }

    async fn steer(&self, query: &str) -> RawResponse {
        let asked = Question::parse(query);
        let json = match &self.desk {
            Some(desk) => desk.answer(&asked, &self.inner).await.list.to_json().ok(),
            None => None,
        };
        let json = json.unwrap_or_else(|| DEFAULT_LIST.as_bytes().to_vec());
        page(StatusCode::OK, MEDIA_TYPE, LIST_LIFE, json)
    }

    async fn record(&self, query: &str) -> RawResponse {
        match self.ranges.answer(query).await {
            Ok(json) => page(StatusCode::OK, "application/json", DIGEST_LIFE, json),
            Err(why @ RangeError::BadQuestion) => text(StatusCode::BAD_REQUEST, &why.to_string()),
            Err(why @ RangeError::Unavailable) => text(StatusCode::BAD_GATEWAY, &why.to_string()),
            Err(why @ (RangeError::NotListed | RangeError::TooLong)) => text(StatusCode::NOT_FOUND, &why.to_string()),
        }
    }

    /// What the origin answers; a playlist is looked at for the ranges that it lists.
    async fn pass(&self, request: &RawRequest) -> Result<RawResponse, SourceError> {
        let mut response = self.inner.fetch(request).await?;
        let said = response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let playlist = ResourceKind::of(request.path_and_query.split('?').next().unwrap_or_default(), said);
        let plain = !response.headers.contains_key(header::CONTENT_ENCODING);
        if playlist != ResourceKind::Playlist || response.status != StatusCode::OK || !plain {
            return Ok(response);
        }
        // Whoever reads playlists behind this collects them as well, and refuses what is longer.
        let mut body = response.body.fuse();
        let mut all = BytesMut::new();
        while all.len() <= MAX_BYTES
            && let Some(piece) = body.next().await
        {
            all.extend_from_slice(&piece?);
        }
        let text = all.freeze();
        self.ranges.learn(&request.path_and_query, &text);
        response.body = stream::iter([Ok(text)]).chain(body).boxed();
        Ok(response)
    }

    async fn report(&self, request: &RawRequest) -> RawResponse {
        let body = request.asked.take_body().unwrap_or_else(Body::empty);
        let Ok(Some(body)) = timeout(REPORT_PATIENCE, whole(body)).await else {
            return text(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("reports are at most {MAX_EVENTS_BYTES} bytes, sent at once"),
            );
        };
        match self.reports.take(&body) {
            Taken::Counted => page(StatusCode::NO_CONTENT, "text/plain", "no-store", Vec::new()),
            Taken::Refused(why) => text(StatusCode::BAD_REQUEST, &why.to_string()),
        }
    }
}

/// The list when nothing is known: both pathways that an injected playlist has.
pub const DEFAULT_LIST: &str = r#"{"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["A","B"]}"#;

impl<S: RawSource> RawSource for Own<S> {
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
        if request.path_and_query.starts_with("/weir/") {
            self.answer(request).boxed()
        } else {
            self.pass(request).boxed()
        }
    }
}

/// The body, unless it is too long or breaks off.
pub(crate) async fn whole(mut body: Body) -> Option<Bytes> {
    if body.length().is_some_and(|length| length > MAX_EVENTS_BYTES as u64) {
        return None;
    }
    let mut all = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        all.extend_from_slice(&piece.ok()?);
        if all.len() > MAX_EVENTS_BYTES {
            return None;
        }
    }
    Some(all.freeze())
}

/// A response's text, unless it is too long or breaks off.
pub(crate) async fn text_of(response: RawResponse) -> Option<Bytes> {
    let mut body = response.body;
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece.ok()?);
        if all.len() > MAX_TEXT {
            return None;
        }
    }
    Some(all.freeze())
}

fn page(status: StatusCode, media_type: &'static str, life: &'static str, body: Vec<u8>) -> RawResponse {
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, life)];
    let headers: HeaderMap =
        headers.map(|(name, value): (HeaderName, _)| (name, HeaderValue::from_static(value))).into_iter().collect();
    let body = Bytes::from(body);
    RawResponse { status, headers, length: Some(body.len() as u64), body: stream::iter([Ok(body)]).boxed() }
}

fn text(status: StatusCode, why: &str) -> RawResponse {
    page(status, "text/plain; charset=utf-8", "no-store", format!("{why}\n").into_bytes())
}

fn refusal(status: StatusCode, why: &str, allow: &'static str) -> RawResponse {
    let mut response = text(status, why);
    response.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

//! How requests for what is made here are answered (sections 6.2.2 and 6.2.5). Invariants: a part leaves when it is
//! whole; nobody is held longer than three target durations.

use super::{
    channel::{Channel, Verdict, Version},
    held::segment_of,
    inner::Inner,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use weir_hls::{Directives, Reload, ResourceKind, delta, reload};
use weir_relay::source::RawResponse;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const VIDEO: &str = "video/mp4";
/// Media never changes under its name.
const MEDIA_AGE: u64 = 300;
/// Target durations that a blocking answer is good for (appendix B.1), and that a request is held.
const BLOCKING: u64 = 6;
const HELD: u32 = 3;
/// How long a playlist that is looked at for the first time may take, before it passes through.
const FIRST: Duration = Duration::from_secs(3);
/// What was found to be no such playlist is looked at again after so long.
const AGAIN: Duration = Duration::from_secs(30);

impl<S> Inner<S> {
    /// The answer, when it is made here.
    pub(super) async fn answer(&self, target: &str) -> Option<RawResponse> {
        if let Some((segment, _)) = segment_of(target)
            && let Some(channel) = self.segments.get(&segment).map(|channel| channel.clone())
        {
            return Some(part(&channel, target).await);
        }
        if let Some(channel) = self.segments.get(target).map(|channel| channel.clone()) {
            return channel.shown()?.segments.get(target).map(|pieces| response(VIDEO, MEDIA_AGE, pieces.clone()));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if ResourceKind::of(path, None) != ResourceKind::Playlist {
            return None;
        }
        let own: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("_HLS_")).collect();
        let playlist = if own.is_empty() { path.to_owned() } else { format!("{path}?{}", own.join("&")) };
        let channel = self.channel(&playlist)?;
        channel.touch();
        match verdict(&channel).await {
            Verdict::Unknown => None,
            Verdict::Plain(since) => {
                if since.elapsed() > AGAIN {
                    self.channels.remove_if(&playlist, |_, known| Arc::ptr_eq(known, &channel));
                }
                None
            }
            Verdict::Shown(_) => Some(self.playlist(&channel, query).await),
        }
    }

    async fn playlist(&self, channel: &Channel, query: &str) -> RawResponse {
        let directives = match Directives::of(query) {
            Ok(directives) => directives.unwrap_or_default(),
            Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let mut versions = channel.listen();
        let mut deadline = None;
        loop {
            let Verdict::Shown(version) = versions.borrow_and_update().clone() else {
                return failure(StatusCode::NOT_FOUND, "the channel has ended");
            };
            match reload(&version.media, &directives) {
                Reload::Now => return shown(&version, &directives),
                Reload::TooFar => return failure(StatusCode::BAD_REQUEST, "that lies too far ahead"),
                Reload::Later => {
                    let until = *deadline.get_or_insert_with(|| Instant::now() + hold(&version));
                    // The sender lives in the channel, which is held here.
                    if timeout_at(until, versions.changed()).await.is_err() {
                        let mut response = failure(StatusCode::SERVICE_UNAVAILABLE, "the channel stands still");
                        let after = HeaderValue::from(version.media.target_duration.as_secs().max(1));
                        response.headers.insert(header::RETRY_AFTER, after);
                        return response;
                    }
                }
            }
            channel.touch();
        }
    }
}

fn hold(version: &Version) -> Duration {
    version.media.target_duration.max(Duration::from_secs(1)) * HELD
}

/// What is known of the playlist, once it has been looked at.
async fn verdict(channel: &Channel) -> Verdict {
    let mut verdicts = channel.listen();
    let known = verdicts.wait_for(|verdict| !matches!(verdict, Verdict::Unknown));
    match tokio::time::timeout(FIRST, known).await {
        Ok(Ok(verdict)) => verdict.clone(),
        _ => Verdict::Unknown,
    }
}

fn shown(version: &Version, directives: &Directives) -> RawResponse {
    let blocking = directives.sequence.is_some();
    let age = if blocking { version.media.target_duration.as_secs() * BLOCKING } else { 1 };
    let short = directives.skip.and_then(|_| delta(&version.text, &version.media)).map(Bytes::from);
    response(PLAYLIST, age, vec![short.unwrap_or_else(|| version.text.clone())])
}

/// A part, which may still be made.
async fn part(channel: &Channel, target: &str) -> RawResponse {
    channel.touch();
    let mut versions = channel.listen();
    let mut deadline = None;
    loop {
        let Verdict::Shown(version) = versions.borrow_and_update().clone() else { break };
        if let Some(bytes) = version.parts.get(target) {
            return response(VIDEO, MEDIA_AGE, vec![bytes.clone()]);
        }
        if version.hint.as_deref() != Some(target) {
            break;
        }
        let until = *deadline.get_or_insert_with(|| Instant::now() + hold(&version));
        if timeout_at(until, versions.changed()).await.is_err() {
            break;
        }
    }
    failure(StatusCode::NOT_FOUND, "no such part, or no longer")
}

fn response(kind: &'static str, age: u64, pieces: Vec<Bytes>) -> RawResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(value) = HeaderValue::try_from(format!("max-age={age}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    let length = pieces.iter().map(|piece| piece.len() as u64).sum();
    let body = stream::iter(pieces.into_iter().map(Ok)).boxed();
    RawResponse { status: StatusCode::OK, headers, length: Some(length), body }
}

fn failure(status: StatusCode, why: &str) -> RawResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let text = Bytes::from(format!("{why}\n"));
    RawResponse { status, headers, length: Some(text.len() as u64), body: stream::iter([Ok(text)]).boxed() }
}

//! One request of a viewer: sent on a shared connection, measured, counted. What failed is told to the caller, who decides
//! what to do about it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use url::Url;
use weir_hls::ByteRange;

use super::pool::authority;
use super::viewer::Viewer;
use crate::client::{Error, Exchange, Get, Protocol};
use crate::run::player::cmcd::{self, Facts, Object};
use crate::run::player::pathway::set_parameter;
use crate::run::scenario::TokenWay;

/// Connections that may turn out to have been closed meanwhile, before that counts as a failure.
const STALE: u32 = 2;

/// What to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) url: &'a Url,
    pub(super) range: Option<ByteRange>,
    /// Longest body, in bytes.
    pub(super) max: u64,
    /// Keep the body.
    pub(super) keep: bool,
    /// Wait so much longer for the head: the request blocks by design.
    pub(super) patience: Duration,
    pub(super) object: Object,
    /// What it lasts.
    pub(super) duration: Option<Duration>,
    /// The object after it.
    pub(super) next: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// A text of at most so many bytes.
    pub(super) fn text(url: &'a Url, max: u64) -> Self {
        let object = Object::Manifest;
        Self { url, range: None, max, keep: true, patience: Duration::ZERO, object, duration: None, next: None }
    }
}

/// What came.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) exchange: Exchange,
    pub(super) host: String,
    /// The body, or of a range the part that was asked for, where it was to be kept.
    pub(super) body: Bytes,
    /// The version of HTTP it came by.
    pub(super) version: &'static str,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) detail: String,
}

impl Viewer {
    /// Sends a request and waits for its end. Failures are counted here.
    pub(super) async fn request(&mut self, asked: Asked<'_>) -> Result<Got, Trouble> {
        let host = authority(asked.url);
        let (url, headers) = self.dress(asked);
        self.starved = false;
        let mut body = Vec::new();
        let mut received = 0;
        let outcome = self.exchange(&url, &headers, asked, &mut body, &mut received).await;
        let now = self.stage.now();
        let failed = |class: &str, detail: String| {
            self.stage.write(&self.seat, |tally| tally.failed(now, &host, class, &detail));
            tracing::debug!(class, detail, "a viewer's request failed");
            Trouble { detail }
        };
        self.stage.write(&self.seat, |tally| tally.received(now, &host, received));
        let exchange = match outcome {
            Ok(exchange) => exchange,
            Err(error) => return Err(failed(error.class(), format!("{host}: {error}"))),
        };
        let status = exchange.status;
        if status != StatusCode::OK && !(asked.range.is_some() && status == StatusCode::PARTIAL_CONTENT) {
            let detail = format!("{}: {status}", asked.url);
            return Err(failed(&format!("status-{}", status.as_u16()), detail));
        }
        let mut body = Bytes::from(body);
        // A server may ignore Range and send everything (RFC 9110 section 14.2).
        if let Some(range) = asked.range
            && status == StatusCode::OK
            && let (Ok(begin), Ok(end)) = (usize::try_from(range.offset), usize::try_from(range.end()))
            && end <= body.len()
        {
            body = body.slice(begin..end);
        }
        let version = match exchange.version {
            Version::HTTP_3 => "h3",
            Version::HTTP_2 => "h2",
            Version::HTTP_11 => "h1",
            _ => "h1.0",
        };
        Ok(Got { exchange, host, body, version })
    }

    async fn exchange(
        &mut self,
        url: &Url,
        headers: &HeaderMap,
        asked: Asked<'_>,
        body: &mut Vec<u8>,
        received: &mut u64,
    ) -> Result<Exchange, Error> {
        let get = Get { url, headers, max_body: asked.max };
        let mut stale = 0;
        loop {
            let way = self.stage.pool.way(url, self.seat.protocol, self.seat.group).await?;
            if let Some(took) = way.connected {
                self.stage.write(&self.seat, |tally| tally.connect.record(took));
            }
            let patience = Duration::from_secs_f64(self.stage.player.first_byte_seconds) + asked.patience;
            let mut sink = |chunk: Bytes| {
                *received += chunk.len() as u64;
                if asked.keep {
                    body.extend_from_slice(&chunk);
                }
            };
            match way.requester.patient(patience).get(&get, &mut sink).await {
                Ok(exchange) => return Ok(exchange),
                // Servers may close a connection between two requests; nothing was sent, so nothing failed.
                Err(Error::Closed) if way.connected.is_none() && stale < STALE => {
                    stale += 1;
                    way.line.retire(way.generation).await;
                }
                Err(error) => {
                    // A shared connection survives the failure of one stream, but not a silence.
                    let alone = self.seat.protocol == Protocol::H1;
                    if alone || matches!(error, Error::Closed | Error::Timeout(_)) {
                        way.line.retire(way.generation).await;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The URL and request fields with all that the player adds.
    fn dress(&mut self, asked: Asked<'_>) -> (Url, HeaderMap) {
        let (mut url, mut headers) = (asked.url.clone(), HeaderMap::new());
        let player = &self.stage.player;
        if let Some(token) = &self.seat.token {
            match player.token_way {
                TokenWay::Query => set_parameter(&mut url, &player.token_parameter, token),
                TokenWay::Bearer => {
                    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
                        value.set_sensitive(true);
                        headers.insert(AUTHORIZATION, value);
                    }
                }
            }
        }
        if let Some(range) = asked.range
            && let Ok(value) =
                HeaderValue::from_str(&format!("bytes={}-{}", range.offset, range.end().saturating_sub(1)))
        {
            headers.insert(RANGE, value);
        }
        if let Some(config) = &player.cmcd {
            let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let is_media = matches!(asked.object, Object::Muxed | Object::Video | Object::Audio);
            let facts = Facts {
                object: asked.object,
                bitrate: self.bitrate.filter(|_| matches!(asked.object, Object::Muxed | Object::Video)),
                top_bitrate: self.top_bitrate.filter(|_| matches!(asked.object, Object::Muxed | Object::Video)),
                buffer_ms: is_media.then(|| ms(self.playback.level())),
                starved: self.starved,
                duration_ms: asked.duration.map(ms),
                throughput: self.abr.throughput().map(|rate| rate as u64),
                next: asked.next,
                startup: self.playback.started().is_none() || self.playback.is_stalled(),
                live: self.live,
                low_latency: player.low_latency,
                session: &self.session,
            };
            cmcd::tell(config, &facts, &mut url, &mut headers);
        }
        (url, headers)
    }
}

//! Fetches resources from the viewer's hosts: who is asked, how often, and what is told about it.
//!
//! Invariant: this file alone retries. A failed host is left at once while another is not under penalty; with none left
//! the host whose penalty ends first is asked after a growing wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{HeaderMap, HeaderName, HeaderValue, RANGE};
use http::{StatusCode, Version};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use tokio::time::{Instant, sleep};
use url::Url;
use weir_hls::ByteRange;

use super::config::Config;
use super::event::{Event, Fetched};
use super::place::{Place, authority};
use super::summary::Log;
use crate::client::{Client, Connection, Error, Exchange, Get};

/// Connections kept open, over all hosts.
const MAX_OPEN: usize = 8;
/// Doublings of the wait between attempts.
const MAX_DOUBLINGS: u32 = 3;

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) place: &'a Place,
    pub(super) range: Option<ByteRange>,
    /// Longest body, in bytes.
    pub(super) max: u64,
}

/// A resource.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) fetched: Fetched,
    pub(super) body: Vec<u8>,
    /// From sending the request to its end.
    pub(super) took: Duration,
}

/// Every attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{url} given up after {attempts} attempts, the last: {reason}")]
pub(super) struct GaveUp {
    url: String,
    attempts: u32,
    reason: String,
}

/// The viewer's hosts and its connections to them.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    hosts: Vec<Url>,
    penalties: Vec<Option<Instant>>,
    current: usize,
    open: BTreeMap<String, Connection>,
    observe: Vec<HeaderName>,
    headers: HeaderMap,
    last_request: Option<Duration>,
    started: Instant,
    busy: Arc<AtomicBool>,
    attempts: u32,
    backoff: Duration,
    penalty: Duration,
    jitter: Xoshiro256PlusPlus,
    /// The host that a request is under way to, and the bytes that have come.
    under_way: Option<(String, u64)>,
}

impl Fetcher {
    pub(super) fn new(config: &Config, jitter: Xoshiro256PlusPlus) -> Result<Self, Error> {
        let hosts: Vec<Url> = std::iter::once(&config.url).chain(&config.alternatives).cloned().collect();
        Ok(Self {
            client: Client::new(config.client.clone())?,
            penalties: vec![None; hosts.len()],
            hosts,
            current: 0,
            open: BTreeMap::new(),
            observe: config.observe.clone(),
            headers: config.headers.clone(),
            last_request: config.last_request,
            started: Instant::now(),
            busy: Arc::default(),
            attempts: config.attempts.max(1),
            backoff: config.backoff,
            penalty: config.penalty,
            jitter,
            under_way: None,
        })
    }

    /// The request that did not come to its end, if one is: its host, and the bytes that came.
    pub(super) fn cut(&mut self) -> Option<(String, u64)> {
        self.under_way.take()
    }

    /// Whether a request is under way.
    pub(super) fn busy(&self) -> Arc<AtomicBool> {
        self.busy.clone()
    }

    pub(super) fn hosts(&self) -> &[Url] {
        &self.hosts
    }

    /// The URL of a place on the current host, for people.
    pub(super) fn url(&self, place: &Place) -> String {
        place.on(&self.hosts[self.current]).into()
    }

    /// Fetches, retrying as often as configured.
    pub(super) async fn get(&mut self, wanted: Wanted<'_>, log: &mut Log) -> Result<Got, GaveUp> {
        let mut attempt = 1;
        loop {
            if self.last_request.is_some_and(|last| self.started.elapsed() >= last) {
                // The viewing ends, with nothing under way.
                std::future::pending::<()>().await;
            }
            let url = wanted.place.on(&self.hosts[self.current]);
            let relay = authority(&url);
            self.busy.store(true, Ordering::Relaxed);
            let answered = self.once(&url, &relay, wanted).await;
            self.busy.store(false, Ordering::Relaxed);
            let (class, reason) = match answered {
                Ok((exchange, body, connect)) if served(exchange.status, wanted.range) => {
                    return Ok(self.got(url, relay, &exchange, body, connect, wanted.range));
                }
                Ok((exchange, ..)) => (format!("status-{}", exchange.status.as_u16()), exchange.status.to_string()),
                Err(error) => {
                    if let Some((relay, bytes)) = self.cut() {
                        log.cut(&relay, bytes, true);
                    }
                    (error.class().to_owned(), error.to_string())
                }
            };
            log.tell(Event::Failure {
                url: url.to_string(),
                relay: relay.clone(),
                class: class.clone(),
                reason: reason.clone(),
            });
            if attempt >= self.attempts {
                return Err(GaveUp { url: url.to_string(), attempts: attempt, reason });
            }
            let left = self.current;
            let wait = match wanted.place {
                Place::Shared(_) => self.leave(attempt),
                Place::Elsewhere(_) => Some(self.wait(attempt)),
            };
            if self.current != left {
                let to = authority(&self.hosts[self.current]);
                log.tell(Event::Failover { from: relay, to, class });
            }
            if let Some(wait) = wait {
                sleep(wait).await;
            }
            attempt += 1;
        }
    }

    /// Puts the current host under penalty and chooses another, with a wait when all are.
    fn leave(&mut self, attempt: u32) -> Option<Duration> {
        let now = Instant::now();
        self.penalties[self.current] = Some(now + self.penalty);
        let count = self.hosts.len();
        let others = (1..count).map(|step| (self.current + step) % count);
        if let Some(free) = others.clone().find(|&host| self.penalties[host].is_none_or(|until| until <= now)) {
            self.current = free;
            return None;
        }
        self.current = others.min_by_key(|&host| self.penalties[host]).unwrap_or(self.current);
        Some(self.wait(attempt))
    }

    fn wait(&mut self, attempt: u32) -> Duration {
        let longest = self.backoff * (1 << (attempt - 1).min(MAX_DOUBLINGS));
        longest.mul_f64(self.jitter.random_range(0.5..=1.0))
    }

    async fn once(
        &mut self,
        url: &Url,
        relay: &str,
        wanted: Wanted<'_>,
    ) -> Result<(Exchange, Vec<u8>, Option<Duration>), Error> {
        let mut headers = self.headers.clone();
        if let Some(range) = wanted.range
            && let Ok(value) =
                HeaderValue::from_str(&format!("bytes={}-{}", range.offset, range.end().saturating_sub(1)))
        {
            headers.insert(RANGE, value);
        }
        let get = Get { url, headers: &headers, max_body: wanted.max };
        loop {
            let reused = self.open.get(relay).filter(|connection| !connection.is_closed()).map(Connection::requester);
            let was_open = reused.is_some();
            let (requester, connect) = match reused {
                Some(requester) => (requester, None),
                None => {
                    self.forget(relay).await;
                    let started = Instant::now();
                    let connection = self.client.connect(url).await?;
                    let requester = connection.requester();
                    if self.open.len() >= MAX_OPEN
                        && let Some((_, oldest)) = self.open.pop_first()
                    {
                        oldest.close().await;
                    }
                    self.open.insert(relay.to_owned(), connection);
                    (requester, Some(started.elapsed()))
                }
            };
            let mut body = Vec::new();
            let under_way = self.under_way.insert((relay.to_owned(), 0));
            let mut sink = |chunk: Bytes| {
                under_way.1 += chunk.len() as u64;
                body.extend_from_slice(&chunk);
            };
            match requester.get(&get, &mut sink).await {
                Ok(exchange) => {
                    self.under_way = None;
                    return Ok((exchange, body, connect));
                }
                // The server had closed the idle connection, as it may; nothing was sent.
                Err(Error::Closed) if was_open => self.forget(relay).await,
                Err(error) => {
                    self.forget(relay).await;
                    return Err(error);
                }
            }
        }
    }

    async fn forget(&mut self, relay: &str) {
        if let Some(connection) = self.open.remove(relay) {
            connection.close().await;
        }
    }

    /// Closes all connections.
    pub(super) async fn close(self) {
        join_all(self.open.into_values().map(Connection::close)).await;
    }

    fn got(
        &self,
        url: Url,
        relay: String,
        exchange: &Exchange,
        mut body: Vec<u8>,
        connect: Option<Duration>,
        range: Option<ByteRange>,
    ) -> Got {
        // A server may ignore Range and send everything (RFC 9110 section 14.2).
        if let Some(range) = range
            && exchange.status == StatusCode::OK
            && let (Ok(begin), Ok(end)) = (usize::try_from(range.offset), usize::try_from(range.end()))
            && let Some(part) = body.get(begin..end)
        {
            body = part.to_vec();
        }
        let lines = |name: &str| {
            let values: Vec<_> = exchange.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            (!values.is_empty()).then(|| values.join(", "))
        };
        let observed = self.observe.iter().filter_map(|name| Some((name.to_string(), lines(name.as_str())?))).collect();
        let fetched = Fetched {
            url: url.into(),
            relay,
            status: exchange.status.as_u16(),
            version: version(exchange.version),
            bytes: exchange.body_bytes,
            connect_us: connect.map(micros),
            first_byte_us: micros(exchange.first_byte),
            total_us: micros(exchange.total),
            cache_status: lines("cache-status"),
            server_timing: lines("server-timing"),
            via: lines("via"),
            observed,
        };
        Got { fetched, body, took: exchange.total }
    }
}

fn served(status: StatusCode, range: Option<ByteRange>) -> bool {
    status == StatusCode::OK || (range.is_some() && status == StatusCode::PARTIAL_CONTENT)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_3 => "h3",
        Version::HTTP_2 => "h2",
        Version::HTTP_11 => "h1",
        _ => "h1.0",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

//! From requests and reports to sightings.
//!
//! Invariant: nothing counts without a token that the publisher signed for a viewer and that has not expired; a token is
//! verified once and remembered by its hash, and strangers make the adapter verify at most [`CHECKS`] a second. Neither
//! token nor session leaves this file but as a hash.

use super::{
    book::{Book, From, MAX_SESSIONS, Place, Sighting},
    rate::Bucket,
    whom::Whom,
};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use weir_hls::cmcd::Cmcd;
use weir_protocol::{
    UnixMillis,
    ids::TokenHash,
    keys::KeyRing,
    time::CLOCK_SKEW_MS,
    token::{TokenUse, UnverifiedToken},
};
use weir_relay::clock::Clock;

/// Tokens that are verified in a second, and at once.
const CHECKS: (u64, u64) = (2_000, 8_000);
/// Bodies of reports in a second, and at once, of all players together.
const BODIES: (u64, u64) = (2_000, 8_000);
/// The same of one session.
const OWN_BODIES: (u64, u64) = (2, 60);
/// A report may tell of so long ago; what is older is taken as so old.
const MAX_AGE_MS: u64 = 5 * 60_000;

/// What has been observed since the start, for status pages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ObservedTotals {
    /// Sessions that are followed now.
    pub sessions: u64,
    /// Sightings that counted.
    pub sightings: u64,
    /// Statements that went into the ledger.
    pub logged: u64,
    /// Sessions and sums that there was no room for.
    pub dropped: u64,
}

/// A token that was verified.
struct Known {
    issued: Option<UnixMillis>,
    expires: UnixMillis,
    sid: String,
    bodies: Bucket,
}

struct State {
    book: Book,
    tokens: HashMap<TokenHash, Known>,
    sids: HashMap<String, TokenHash>,
    checks: Bucket,
    bodies: Bucket,
    counted_drops: u64,
}

struct Counters {
    sightings: IntCounterVec,
    logged: IntCounter,
    dropped: IntCounter,
    sessions: IntGauge,
}

/// Keeps what the adapter's doors see.
pub struct Observer {
    ring: Arc<RwLock<KeyRing>>,
    clock: Clock,
    whom: Whom,
    state: Mutex<State>,
    counters: Counters,
}

/// What a sighting came from; a label of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Steering,
    Request,
    Report,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Steering => "steering",
            Self::Request => "request",
            Self::Report => "report",
        }
    }
}

impl Observer {
    /// With epochs of `epoch_ms`; `ring` holds the publisher's keys in force.
    ///
    /// # Errors
    /// The counters' names are taken in `registry`.
    pub fn new(
        ring: Arc<RwLock<KeyRing>>,
        whom: Whom,
        epoch_ms: u64,
        clock: Clock,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let opts = Opts::new("weir_sightings_total", "Requests and reports of sessions that the publisher saw itself");
        let sightings = IntCounterVec::new(opts, &["kind"])?;
        registry.register(Box::new(sightings.clone()))?;
        let sessions = IntGauge::new("weir_observed_sessions", "Sessions that are followed")?;
        registry.register(Box::new(sessions.clone()))?;
        let counters = Counters {
            sightings,
            sessions,
            logged: counter("weir_observations_total", "Observations that went into the ledger")?,
            dropped: counter("weir_observations_dropped_total", "Sessions and sums that there was no room for")?,
        };
        let state = State {
            book: Book::new(epoch_ms, MAX_SESSIONS, clock.now()),
            tokens: HashMap::new(),
            sids: HashMap::new(),
            checks: Bucket::new(CHECKS.0, CHECKS.1),
            bodies: Bucket::new(BODIES.0, BODIES.1),
            counted_drops: 0,
        };
        Ok(Self { ring, clock, whom, state: Mutex::new(state), counters })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// A viewer's session, if its token is good.
    pub(super) fn session(&self, compact: &str) -> Option<TokenHash> {
        let (hash, now) = (TokenHash::of(compact), self.now());
        {
            let mut state = self.state();
            if let Some(known) = state.tokens.get(&hash) {
                return (now < known.expires).then_some(hash);
            }
            if !state.checks.take(now) {
                state.book.was_blind(now);
                return None;
            }
        }
        let token = UnverifiedToken::parse(compact).ok()?;
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        if *token.issuer() != ring.publisher() {
            return None;
        }
        let key = *ring.key_around(token.kid(), now)?;
        let claims = token.verify(&key, now, CLOCK_SKEW_MS).ok()?;
        // What a service pulls is told by its own log.
        if claims.usage != TokenUse::Viewer {
            return None;
        }
        let expires = UnixMillis::from_secs(claims.exp).plus_ms(CLOCK_SKEW_MS);
        let issued = claims.iat.or(claims.nbf).map(UnixMillis::from_secs);
        let mut state = self.state();
        if state.tokens.len() >= MAX_SESSIONS {
            state.tokens.retain(|_, known| now < known.expires);
            if state.tokens.len() >= MAX_SESSIONS {
                state.tokens.clear();
            }
            let State { tokens, sids, .. } = &mut *state;
            sids.retain(|_, hash| tokens.contains_key(hash));
        }
        state.sids.insert(claims.sid.clone(), hash);
        let bodies = Bucket::new(OWN_BODIES.0, OWN_BODIES.1);
        state.tokens.insert(hash, Known { issued, expires, sid: claims.sid, bodies });
        Some(hash)
    }

    /// Whether another body of reports is read, of this session or of nobody known.
    pub(super) fn admits(&self, session: Option<&TokenHash>) -> bool {
        let now = self.now();
        let mut state = self.state();
        let own = session.and_then(|hash| state.tokens.get_mut(hash)).is_none_or(|known| known.bodies.take(now));
        own && state.bodies.take(now)
    }

    /// A steering poll.
    pub(super) fn steered(&self, token: &str, pathway: Option<&str>, base: Option<&str>, throughput: Option<u64>) {
        let Some(token) = self.session(token) else { return };
        let from = self.whom.plays(pathway, base);
        self.see(Kind::Steering, Sighting { token, from, issued: None, throughput, at: self.now() });
    }

    /// A request for a playlist or key: the session is there, wherever it has its segments from.
    pub(super) fn requested(&self, token: &str) {
        let Some(token) = self.session(token) else { return };
        self.see(Kind::Request, Sighting { token, from: From::Unsaid, issued: None, throughput: None, at: self.now() });
    }

    /// Reports of one body. A report is of the session that posted it, else of the one whose token is in the URL that it
    /// tells of, else of the one that it names by the token's `sid`.
    pub(super) fn reported(&self, poster: Option<TokenHash>, reports: &[Cmcd]) {
        let now = self.now();
        // Players' clocks are wrong; how far their reports lie apart is right.
        let newest = reports.iter().filter_map(|report| report.at_ms).max().unwrap_or(0);
        let mut sightings: Vec<Sighting> = reports
            .iter()
            .filter_map(|report| {
                let url = report.url.as_ref().map(weir_hls::cmcd::Opaque::as_str);
                let token = poster.or_else(|| self.session(&token_in(url?)?)).or_else(|| {
                    let sid = report.session.as_ref()?.as_str();
                    let state = self.state();
                    let hash = *state.sids.get(sid)?;
                    state.tokens.get(&hash).filter(|known| known.sid == sid && now < known.expires).map(|_| hash)
                })?;
                let age = report.at_ms.map_or(0, |at| (newest - at).min(MAX_AGE_MS));
                let from = url.and_then(|url| self.whom.at(url)).map_or(From::Unsaid, From::Relay);
                let throughput = report.throughput_kbps.map(|kbps| kbps.saturating_mul(1000));
                Some(Sighting { token, from, issued: None, throughput, at: now.minus_ms(age) })
            })
            .collect();
        sightings.sort_by_key(|sighting| sighting.at);
        sightings.into_iter().for_each(|sighting| self.see(Kind::Report, sighting));
    }

    fn see(&self, kind: Kind, sighting: Sighting) {
        self.counters.sightings.with_label_values(&[kind.label()]).inc();
        let mut state = self.state();
        let issued = state.tokens.get(&sighting.token).and_then(|known| known.issued);
        state.book.see(Sighting { issued, ..sighting });
    }

    /// Takes back what was stated before a restart.
    pub(super) fn restore(&self, place: Place, bytes: u64, at: UnixMillis) {
        self.state().book.restore(place, bytes, at);
    }

    /// What is to be stated.
    pub(super) fn changed(&self) -> Vec<(Place, u64)> {
        let now = self.now();
        let mut state = self.state();
        let changed = state.book.changed(now);
        state.book.tidy(now);
        self.counters.sessions.set(i64::try_from(state.book.sessions()).unwrap_or(i64::MAX));
        let dropped = state.book.dropped();
        self.counters.dropped.inc_by(dropped - state.counted_drops);
        state.counted_drops = dropped;
        changed
    }

    /// These are in the ledger.
    pub(super) fn logged(&self, stated: &[(Place, u64)]) {
        let mut state = self.state();
        stated.iter().for_each(|(place, bytes)| state.book.stated(*place, *bytes));
        self.counters.logged.inc_by(stated.len() as u64);
    }

    /// Sums for status pages.
    pub fn totals(&self) -> ObservedTotals {
        let labels = [Kind::Steering, Kind::Request, Kind::Report].map(Kind::label);
        let sightings = labels.map(|label| self.counters.sightings.with_label_values(&[label]).get());
        let state = self.state();
        ObservedTotals {
            sessions: state.book.sessions() as u64,
            sightings: sightings.iter().sum(),
            logged: self.counters.logged.get(),
            dropped: state.book.dropped(),
        }
    }
}

/// The token in a URL's query.
pub(super) fn token_in(url: &str) -> Option<String> {
    let query = url.split('#').next()?.split_once('?')?.1;
    parameter(query, "weir_token")
}

/// The decoded value of a query's parameter.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
    (!value.is_empty() && value.len() <= MAX_VALUE).then(|| value.into_owned())
}

/// Longest value of a parameter, in bytes: a token's.
const MAX_VALUE: usize = 4096;

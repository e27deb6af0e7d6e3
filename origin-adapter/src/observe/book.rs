//! How much each relay can have delivered to each session, as far as the publisher saw it. No I/O, no clock.
//!
//! A sighting says: the session was there, it played from this relay, and its player measures so many bit/s. The time
//! between two sightings counts for the relay that the later one names, and for the one before too when they differ;
//! times the highest throughput that was told, it bounds what can have been delivered.
//!
//! Invariant: the sums of a session at a relay in an epoch never fall, so the latest statement is the largest; every doubt
//! is the relay's: [`LEAD_MS`] before the first sighting and [`TAIL_MS`] after the last count, a player's estimate is
//! taken by [`MARGIN`] higher, time in which the adapter did not look counts, and nothing is stated of a session that told
//! its throughput only once.

use std::collections::{BTreeMap, HashMap};
use weir_protocol::{
    Epoch, UnixMillis,
    ids::{RelayId, TokenHash},
};

/// Sessions that are followed at a time.
pub(super) const MAX_SESSIONS: usize = 65_536;
/// Sums that are kept at a time: a session has one for each relay and epoch.
pub(super) const MAX_SUMS: usize = 4 * MAX_SESSIONS;
/// What may have been played before the first sighting: a player polls after it has begun.
const LEAD_MS: u64 = 15_000;
/// What may be played after the last one: three times a steering list's life.
const TAIL_MS: u64 = 30_000;
/// Longest time between two sightings that counts: browsers let a hidden page's timers run once a minute.
const MAX_GAP_MS: u64 = 90_000;
/// A session that is not seen for so long has ended.
const IDLE_MS: u64 = 10 * 60_000;
/// Sums of an epoch that has ended are kept so long: a sighting reaches back [`MAX_GAP_MS`].
const KEEP_MS: u64 = 5 * 60_000;
/// Players' estimates follow the truth from below: they are taken by a quarter higher.
const MARGIN: (u128, u128) = (5, 4);
/// Throughputs that say something: a player's first one is its default.
const LEAST_TOLD: u32 = 2;
/// Highest throughput that is believed, in bit/s.
const MAX_BITS: u64 = 10_000_000_000;

/// Where a session has its segments from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Nobody said: from where it had them before.
    Unsaid,
    /// This relay.
    Relay(RelayId),
    /// No relay: the fall-back.
    Elsewhere,
}

/// The publisher saw a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) token: TokenHash,
    pub(super) from: From,
    /// When its token was issued, if it says so: it did not play before.
    pub(super) issued: Option<UnixMillis>,
    /// What its player measures, in bit/s, if it says so.
    pub(super) throughput: Option<u64>,
    pub(super) at: UnixMillis,
}

/// Which sum: of a session (its token) at a relay in an epoch.
pub type Place = (Epoch, RelayId, TokenHash);

impl From {
    fn relay(self, before: Option<RelayId>) -> Option<RelayId> {
        match self {
            Self::Unsaid => before,
            Self::Relay(relay) => Some(relay),
            Self::Elsewhere => None,
        }
    }
}

#[derive(Debug)]
struct Session {
    /// The relay that it plays from, if it is one.
    relay: Option<RelayId>,
    /// Since when it may have played from a relay that is not known yet.
    begun: UnixMillis,
    seen: UnixMillis,
    /// Highest throughput told, in bit/s.
    top: u64,
    told: u32,
    /// When sums were read back, the adapter may have been away: that time counts whole.
    restored: bool,
}

#[derive(Debug, Default)]
struct Sum {
    /// Bytes that were stated before a restart.
    base: u64,
    covered_ms: u64,
    /// Highest throughput that any of it was told with, in bit/s.
    top: u64,
    /// How often the session had told its throughput by then.
    told: u32,
    stated: u64,
}

impl Sum {
    fn bytes(&self, more_ms: u64, top: u64) -> u64 {
        let top = u128::from(self.top.max(top));
        let new = u128::from(self.covered_ms + more_ms) * top * MARGIN.0 / (8000 * MARGIN.1);
        self.base.saturating_add(u64::try_from(new).unwrap_or(u64::MAX))
    }
}

/// All sums.
#[derive(Debug)]
pub(super) struct Book {
    epoch_ms: u64,
    max_sessions: usize,
    /// Until then not everything was seen: the process was not there, or had no room or time for everybody.
    blind: UnixMillis,
    sessions: HashMap<TokenHash, Session>,
    sums: BTreeMap<(Epoch, TokenHash, Vec<u8>), (RelayId, Sum)>,
    dropped: u64,
}

impl Book {
    /// With epochs of `epoch_ms` milliseconds, by a process that begins at `blind`.
    pub(super) fn new(epoch_ms: u64, max_sessions: usize, blind: UnixMillis) -> Self {
        Self { epoch_ms, max_sessions, blind, sessions: HashMap::new(), sums: BTreeMap::new(), dropped: 0 }
    }

    /// Sessions that are followed.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions and sums that there was no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Until now not everything was seen.
    pub(super) fn was_blind(&mut self, now: UnixMillis) {
        self.blind = self.blind.max(now);
    }

    /// Sums that were stated before this process began.
    pub(super) fn restore(&mut self, (epoch, relay, token): Place, bytes: u64, at: UnixMillis) {
        if let Some(sum) = self.sum(epoch, relay, token) {
            sum.base = sum.base.max(bytes);
            // What was stated had been told of often enough.
            sum.told = LEAST_TOLD;
            sum.stated = sum.stated.max(bytes);
        }
        self.room(at);
        let session = self.sessions.entry(token).or_insert(Session {
            relay: None,
            begun: at,
            seen: at,
            top: 0,
            told: LEAST_TOLD,
            restored: true,
        });
        if session.seen <= at {
            (session.relay, session.seen) = (Some(relay), at);
        }
    }

    /// Takes a sighting in.
    pub(super) fn see(&mut self, sighting: Sighting) {
        let Sighting { token, from, issued, throughput, at } = sighting;
        let told = throughput.filter(|bits| *bits > 0).map(|bits| bits.min(MAX_BITS));
        let (blind, whole) = (self.blind, MAX_GAP_MS + self.epoch_ms);
        let Some(session) = self.sessions.get_mut(&token) else {
            self.room(at);
            // What a session played while nobody looked counts for its relay: it may have begun with its token.
            let unseen = issued.unwrap_or_default().max(blind.minus_ms(whole)).min(blind);
            let lead = at.minus_ms(LEAD_MS);
            let (top, told) = (told.unwrap_or(0), u32::from(told.is_some()));
            let (relay, begun) = (from.relay(None), if unseen < blind { unseen.min(lead) } else { lead });
            self.sessions.insert(token, Session { relay, begun, seen: at, top, told, restored: false });
            if let Some(relay) = relay {
                // Between the two it was looked for and not there.
                let until = blind.min(lead).max(unseen);
                self.cover(relay, token, (unseen, until), (top, told));
                self.cover(relay, token, (lead, at), (top, told));
            }
            return;
        };
        let at = at.max(session.seen);
        let before = session.relay;
        let gap = at.since(session.seen);
        let counts = if session.restored { gap.min(whole) } else { gap.min(MAX_GAP_MS) };
        let since = at.minus_ms(counts);
        let left_at = session.seen;
        session.relay = from.relay(before);
        session.seen = at;
        session.restored = false;
        if from == From::Elsewhere {
            session.begun = at;
        }
        let begun = session.begun.max(at.minus_ms(whole));
        session.top = session.top.max(told.unwrap_or(0));
        session.told = session.told.saturating_add(u32::from(told.is_some()));
        let (now, said) = (session.relay, (session.top, session.told));
        if let Some(relay) = now {
            let since = if before.is_none() { since.min(begun) } else { since };
            self.cover(relay, token, (since, at), said);
        }
        if let Some(left) = before.filter(|left| now != Some(*left)) {
            // It may have gone on with what it had asked for; its tail stays as it was stated.
            self.cover(left, token, (since, at.max(left_at.plus_ms(TAIL_MS))), said);
        }
    }

    /// Time that a relay may have served a session in; the highest throughput told by then, and how often one was told.
    fn cover(
        &mut self,
        relay: RelayId,
        token: TokenHash,
        (from, to): (UnixMillis, UnixMillis),
        (top, told): (u64, u32),
    ) {
        for (epoch, ms) in parts(from, to, self.epoch_ms) {
            if let Some(sum) = self.sum(epoch, relay, token) {
                sum.covered_ms = sum.covered_ms.saturating_add(ms);
                sum.top = sum.top.max(top);
                sum.told = sum.told.max(told);
            }
        }
    }

    fn sum(&mut self, epoch: Epoch, relay: RelayId, token: TokenHash) -> Option<&mut Sum> {
        let place = (epoch, token, relay.0.to_bytes());
        if self.sums.len() >= MAX_SUMS && !self.sums.contains_key(&place) {
            self.dropped += 1;
            return None;
        }
        Some(&mut self.sums.entry(place).or_insert_with(|| (relay, Sum::default())).1)
    }

    /// Makes room for a session: those not seen for the longest time go, a sixteenth of all at once.
    fn room(&mut self, now: UnixMillis) {
        if self.sessions.len() < self.max_sessions {
            return;
        }
        let mut seen: Vec<UnixMillis> = self.sessions.values().map(|session| session.seen).collect();
        let nth = (seen.len() / 16).min(seen.len() - 1);
        let limit = *seen.select_nth_unstable(nth).1;
        let before = self.sessions.len();
        self.end(|session| session.seen <= limit);
        self.dropped += (before - self.sessions.len()) as u64;
        // They may go on, and are then seen as if they began.
        self.was_blind(now);
    }

    /// Ends sessions; what their tails were stated as stays.
    fn end(&mut self, over: impl Fn(&Session) -> bool) {
        let ended: Vec<TokenHash> =
            self.sessions.iter().filter(|(_, session)| over(session)).map(|(token, _)| *token).collect();
        for token in ended {
            let Some(session) = self.sessions.remove(&token) else { continue };
            if let Some(relay) = session.relay {
                let tail = (session.seen, session.seen.plus_ms(TAIL_MS));
                self.cover(relay, token, tail, (session.top, session.told));
            }
        }
    }

    /// What is to be stated: sums that say more than when they were stated last. They count as stated when
    /// [`stated`](Self::stated) says so.
    pub(super) fn changed(&self, now: UnixMillis) -> Vec<(Place, u64)> {
        let begun = Epoch::of(now, self.epoch_ms);
        let mut changed = Vec::new();
        for ((epoch, token, _), (relay, sum)) in self.sums.range(..(Epoch(begun.0 + 1), TokenHash([0; 32]), Vec::new()))
        {
            let session = self.sessions.get(token);
            let told = sum.told.max(session.map_or(0, |session| session.told));
            let tail = session.filter(|session| session.relay == Some(*relay)).map_or((0, 0), |session| {
                let tail = parts(session.seen, session.seen.plus_ms(TAIL_MS), self.epoch_ms);
                (tail.filter(|(part, _)| part == epoch).map(|(_, ms)| ms).sum(), session.top)
            });
            let bytes = sum.bytes(tail.0, tail.1);
            if told >= LEAST_TOLD && bytes > sum.stated {
                changed.push(((*epoch, *relay, *token), bytes));
            }
        }
        changed
    }

    /// These bytes are in the ledger.
    pub(super) fn stated(&mut self, (epoch, relay, token): Place, bytes: u64) {
        if let Some((_, sum)) = self.sums.get_mut(&(epoch, token, relay.0.to_bytes())) {
            sum.stated = sum.stated.max(bytes);
        }
    }

    /// Forgets sessions that have ended, and sums that nothing will change any more.
    pub(super) fn tidy(&mut self, now: UnixMillis) {
        self.end(|session| now.since(session.seen) > IDLE_MS);
        let past = Epoch::of(now.minus_ms(KEEP_MS), self.epoch_ms);
        self.sums = self.sums.split_off(&(past, TokenHash([0; 32]), Vec::new()));
    }
}

/// A time cut where epochs end.
fn parts(from: UnixMillis, to: UnixMillis, epoch_ms: u64) -> impl Iterator<Item = (Epoch, u64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        if at >= to {
            return None;
        }
        let epoch = Epoch::of(at, epoch_ms);
        let end = epoch.end(epoch_ms).min(to);
        let part = (epoch, end.since(at));
        at = end;
        Some(part)
    })
}

#[cfg(test)]
mod tests;

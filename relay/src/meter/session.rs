//! One session at this edge: what its token allows, what was delivered, and what of that is not claimed yet.
//!
//! Invariants: a session never gets more than its token's `max_bytes` from this edge, also while several responses are
//! under way; a delivery is counted once, in the epoch in which it ended; sums never fall.

use super::delivery::Outcome;
use crate::http::Protocol;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use weir_protocol::{
    CanonicalPath, EdgeClaim, Epoch, KeyId, PublisherId, TokenHash, UnixMillis,
    statement::{ClaimClass, HttpVersion, MAX_CLAIM_PATH},
    token::{SessionClaims, TokenUse},
};

/// Paths of one session that are claimed apart; what lies elsewhere is claimed under the token's prefix.
const MAX_PATHS: usize = 16;

/// The token allows no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

/// Deliveries below one path in one epoch.
#[derive(Debug, Clone)]
struct Book {
    epoch: Epoch,
    path: String,
    bytes: u64,
    objects: u64,
    aborted: u64,
    first: UnixMillis,
    last: UnixMillis,
    /// Bytes by version of HTTP: 1, 2, 3.
    by_version: [u64; 3],
    /// Says more than the last claim.
    changed: bool,
}

#[derive(Debug, Default)]
struct State {
    books: Vec<Book>,
    /// Delivered in all epochs.
    delivered: u64,
    /// Of responses under way.
    reserved: u64,
    /// Deliveries that ended before it was known how long an epoch is.
    undated: Vec<Ended>,
}

/// A delivery that ended.
#[derive(Debug)]
struct Ended {
    path: String,
    protocol: Protocol,
    bytes: u64,
    completed: bool,
    at: UnixMillis,
}

/// Deliveries that wait for the length of an epoch; it is known moments after a relay has joined.
const MAX_UNDATED: usize = 1024;

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Whose content.
    pub publisher: PublisherId,
    /// What the token states.
    pub claims: SessionClaims,
    /// The token's hash.
    pub token: TokenHash,
    /// The key that signed the token: a publisher may revoke it.
    pub kid: KeyId,
    /// Its compact form, which goes to the ledger.
    pub(super) compact: Arc<str>,
    /// Length of the publisher's epochs in milliseconds; 0 until the publisher has granted something.
    epoch_ms: Arc<AtomicU64>,
    state: Mutex<State>,
    /// When it was last used, in milliseconds.
    used: AtomicU64,
    /// Its token waits to be sent to the ledger.
    pub(super) announced: std::sync::atomic::AtomicBool,
}

/// A response that is charged to a session. Settles once; dropped unsettled, it gives back what it reserved.
#[derive(Debug)]
pub struct Charge {
    session: Arc<Session>,
    path: String,
    protocol: Protocol,
    reserved: u64,
}

/// What one claim says, apart from who claims and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) epoch: Epoch,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) objects: u64,
    pub(super) aborted: u64,
    pub(super) first: UnixMillis,
    pub(super) last: UnixMillis,
    pub(super) http: HttpVersion,
}

impl Session {
    /// A session that goes on from what it claimed before a restart.
    pub(super) fn new(
        publisher: PublisherId,
        compact: &str,
        kid: KeyId,
        claims: SessionClaims,
        epoch_ms: Arc<AtomicU64>,
        claimed: &[EdgeClaim],
    ) -> Self {
        let books = claimed.iter().map(|claim| {
            let mut by_version = [0; 3];
            by_version[version_at(claim.http)] = claim.claimed();
            Book {
                epoch: claim.epoch,
                path: claim.path.clone(),
                bytes: claim.bytes,
                objects: claim.objects,
                aborted: claim.aborted_bytes,
                first: claim.first,
                last: claim.last,
                by_version,
                changed: false,
            }
        });
        let delivered = claimed.iter().map(EdgeClaim::claimed).sum();
        Self {
            publisher,
            token: TokenHash::of(compact),
            compact: compact.into(),
            kid,
            claims,
            epoch_ms,
            state: Mutex::new(State { books: books.collect(), delivered, reserved: 0, undated: Vec::new() }),
            used: AtomicU64::new(0),
            announced: std::sync::atomic::AtomicBool::new(!claimed.is_empty()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Viewer or service.
    pub fn class(&self) -> ClaimClass {
        match self.claims.usage {
            TokenUse::Viewer => ClaimClass::Viewer,
            TokenUse::Service => ClaimClass::Service,
        }
    }

    /// Charges a response with this resource's bytes; `length` is its body's, where that is known.
    ///
    /// # Errors
    /// [`Exhausted`] if the token does not allow so much.
    pub fn charge(
        self: &Arc<Self>,
        path: &CanonicalPath,
        protocol: Protocol,
        length: Option<u64>,
        now: UnixMillis,
    ) -> Result<Charge, Exhausted> {
        let reserved = length.unwrap_or(0);
        {
            let mut state = self.lock();
            let after = state.delivered.saturating_add(state.reserved).saturating_add(reserved.max(1));
            if self.claims.max_bytes.is_some_and(|most| after > most) {
                return Err(Exhausted);
            }
            state.reserved += reserved;
        }
        self.used.store(now.0, Ordering::Relaxed);
        Ok(Charge { session: self.clone(), path: claim_path(&self.claims.prefix, path), protocol, reserved })
    }

    /// Bytes that it was sent by this edge, as far as the responses are over.
    pub fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    /// Length of the publisher's epochs, once it is known.
    pub(super) fn epoch_ms(&self) -> Option<u64> {
        Some(self.epoch_ms.load(Ordering::Relaxed)).filter(|length| *length > 0)
    }

    /// When it was last used.
    pub(super) fn used(&self) -> UnixMillis {
        UnixMillis(self.used.load(Ordering::Relaxed))
    }

    pub(super) fn touch(&self, now: UnixMillis) {
        self.used.store(now.0, Ordering::Relaxed);
    }

    /// Everything that no claim says yet. From now on it counts as claimed; books of epochs that are over are closed.
    pub(super) fn unclaimed(&self, now: UnixMillis) -> Vec<Sum> {
        let Some(epoch_ms) = self.epoch_ms() else { return Vec::new() };
        let mut state = self.lock();
        for ended in std::mem::take(&mut state.undated) {
            state.add(&ended, Epoch::of(ended.at, epoch_ms), &self.claims.prefix);
        }
        let current = Epoch::of(now, epoch_ms);
        let mut sums = Vec::new();
        for book in state.books.iter_mut().filter(|book| book.changed) {
            book.changed = false;
            let most = (0..3).max_by_key(|at| (book.by_version[*at], *at)).unwrap_or(0);
            sums.push(Sum {
                epoch: book.epoch,
                path: book.path.clone(),
                bytes: book.bytes,
                objects: book.objects,
                aborted: book.aborted,
                first: book.first,
                last: book.last,
                http: [HttpVersion::Http1, HttpVersion::Http2, HttpVersion::Http3][most],
            });
        }
        state.books.retain(|book| book.changed || book.epoch.0 + 1 >= current.0);
        sums
    }

    /// True when nothing is under way and nothing waits to be claimed.
    pub(super) fn is_idle(self: &Arc<Self>) -> bool {
        let state = self.lock();
        Arc::strong_count(self) == 1 && state.undated.is_empty() && !state.books.iter().any(|book| book.changed)
    }

    fn settle(&self, charge: &Charge, outcome: &Outcome, now: UnixMillis) {
        let mut state = self.lock();
        state.reserved -= charge.reserved;
        // What a receiver did not acknowledge it may not have; where a door cannot tell, what was handed over counts, which
        // exceeds the truth by no more than the door's send buffer and flow-control window.
        let bytes = if outcome.completed { outcome.handed } else { outcome.acked.unwrap_or(outcome.handed) };
        state.delivered += bytes;
        if bytes == 0 && !outcome.completed {
            return;
        }
        let ended = Ended {
            path: charge.path.clone(),
            protocol: charge.protocol,
            bytes,
            completed: outcome.completed,
            at: now,
        };
        match self.epoch_ms() {
            Some(length) => state.add(&ended, Epoch::of(now, length), &self.claims.prefix),
            None if state.undated.len() < MAX_UNDATED => state.undated.push(ended),
            None => {}
        }
    }
}

impl State {
    fn add(&mut self, ended: &Ended, epoch: Epoch, prefix: &str) {
        let at = self.book(epoch, &ended.path, prefix, ended.at);
        let book = &mut self.books[at];
        if ended.completed {
            book.bytes += ended.bytes;
            book.objects += 1;
        } else {
            book.aborted += ended.bytes;
        }
        book.last = book.last.max(ended.at);
        book.by_version[protocol_at(ended.protocol)] += ended.bytes;
        book.changed = true;
    }

    fn book(&mut self, epoch: Epoch, path: &str, prefix: &str, now: UnixMillis) -> usize {
        let find = |books: &[Book], path: &str| books.iter().position(|book| book.epoch == epoch && book.path == path);
        if let Some(at) = find(&self.books, path) {
            return at;
        }
        let of_epoch = self.books.iter().filter(|book| book.epoch == epoch).count();
        let path = if of_epoch >= MAX_PATHS { prefix } else { path };
        if let Some(at) = find(&self.books, path) {
            return at;
        }
        self.books.push(Book {
            epoch,
            path: path.to_owned(),
            bytes: 0,
            objects: 0,
            aborted: 0,
            first: now,
            last: now,
            by_version: [0; 3],
            changed: false,
        });
        self.books.len() - 1
    }
}

impl Charge {
    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The response is over. Whole or not, it is counted now.
    pub fn settle(mut self, outcome: &Outcome, now: UnixMillis) {
        let session = self.session.clone();
        session.settle(&self, outcome, now);
        self.reserved = 0;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.reserved > 0 {
            self.session.lock().reserved -= self.reserved;
        }
    }
}

/// What a delivery is claimed under: the token's prefix and, where that is a directory, the next directory below it, since
/// a publisher's creators have directories of their own.
fn claim_path(prefix: &str, path: &CanonicalPath) -> String {
    if prefix.len() > MAX_CLAIM_PATH {
        return "/".into();
    }
    let below = path.as_str().strip_prefix(prefix).filter(|_| prefix.ends_with('/')).unwrap_or_default();
    match below.find('/') {
        Some(end) if prefix.len() + end < MAX_CLAIM_PATH => format!("{prefix}{}", &below[..=end]),
        _ => prefix.to_owned(),
    }
}

fn protocol_at(protocol: Protocol) -> usize {
    match protocol {
        Protocol::H1 => 0,
        Protocol::H2 => 1,
        Protocol::H3 => 2,
    }
}

fn version_at(version: HttpVersion) -> usize {
    match version {
        HttpVersion::Http1 => 0,
        HttpVersion::Http2 => 1,
        HttpVersion::Http3 => 2,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn session(prefix: &str, max_bytes: Option<u64>) -> Arc<Session> {
        let claims = SessionClaims {
            iss: PublisherId([1; 32]),
            sid: "s".into(),
            prefix: prefix.into(),
            exp: 2_000_000_000,
            nbf: None,
            iat: None,
            max_bytes,
            cnf: None,
            relays: Vec::new(),
            usage: TokenUse::Viewer,
        };
        Arc::new(Session::new(
            PublisherId([1; 32]),
            "a.b.c",
            KeyId([0; 8]),
            claims,
            Arc::new(AtomicU64::new(1000)),
            &[],
        ))
    }

    fn path(text: &str) -> CanonicalPath {
        CanonicalPath::parse(text).unwrap()
    }

    fn whole(handed: u64) -> Outcome {
        Outcome { handed, acked: None, completed: true }
    }

    #[test]
    fn whole_and_broken_responses_are_told_apart() {
        let session = session("/", None);
        let charge = |length| session.charge(&path("/ada/a.ts"), Protocol::H3, Some(length), NOW).unwrap();
        charge(10).settle(&whole(10), NOW);
        charge(0).settle(&whole(0), NOW);
        charge(9).settle(&Outcome { handed: 7, acked: Some(4), completed: false }, NOW.plus_ms(1));
        charge(9).settle(&Outcome { handed: 5, acked: None, completed: false }, NOW.plus_ms(2));
        let sums = session.unclaimed(NOW.plus_ms(3));
        let expected = Sum {
            epoch: Epoch(1_800_000_000),
            path: "/ada/".into(),
            bytes: 10,
            objects: 2,
            aborted: 9,
            first: NOW,
            last: NOW.plus_ms(2),
            http: HttpVersion::Http3,
        };
        assert_eq!(sums, [expected]);
        assert!(session.unclaimed(NOW.plus_ms(3)).is_empty());
    }

    #[test]
    fn a_limit_holds_for_all_responses_together() {
        let session = session("/film", Some(100));
        let first = session.charge(&path("/film/a"), Protocol::H1, Some(60), NOW).unwrap();
        assert!(session.charge(&path("/film/b"), Protocol::H1, Some(60), NOW).is_err());
        drop(first);
        let second = session.charge(&path("/film/b"), Protocol::H1, Some(60), NOW).unwrap();
        second.settle(&Outcome { handed: 40, acked: None, completed: false }, NOW);
        assert!(session.charge(&path("/film/b"), Protocol::H1, Some(61), NOW).is_err());
        session.charge(&path("/film/b"), Protocol::H1, Some(60), NOW).unwrap().settle(&whole(60), NOW);
        assert!(session.charge(&path("/film/b"), Protocol::H1, None, NOW).is_err());
        assert_eq!(session.unclaimed(NOW)[0].path, "/film");
    }

    #[test]
    fn each_creators_directory_is_claimed_apart_up_to_a_number() {
        let session = session("/", None);
        for n in 0..MAX_PATHS + 5 {
            let charge = session.charge(&path(&format!("/c{n}/x/a.ts")), Protocol::H2, Some(1), NOW).unwrap();
            charge.settle(&whole(1), NOW);
        }
        let sums = session.unclaimed(NOW);
        assert_eq!(sums.len(), MAX_PATHS + 1);
        assert_eq!(sums.iter().map(|sum| sum.bytes).sum::<u64>(), (MAX_PATHS + 5) as u64);
        assert!(sums.iter().any(|sum| sum.path == "/c3/") && sums.iter().any(|sum| sum.path == "/" && sum.bytes == 5));
        assert_eq!(claim_path("/a/", &path("/a/b.ts")), "/a/");
        assert_eq!(claim_path("/a", &path("/a/b/c.ts")), "/a");
    }

    #[test]
    fn what_ends_before_the_epochs_are_known_is_claimed_when_they_are() {
        let session = session("/", None);
        session.epoch_ms.store(0, Ordering::Relaxed);
        session.charge(&path("/a.ts"), Protocol::H2, Some(7), NOW).unwrap().settle(&whole(7), NOW);
        assert!(session.unclaimed(NOW).is_empty());
        session.epoch_ms.store(1000, Ordering::Relaxed);
        let sums = session.unclaimed(NOW.plus_ms(500));
        assert_eq!((sums[0].bytes, sums[0].epoch, sums[0].first), (7, Epoch(1_800_000_000), NOW));
    }

    #[test]
    fn epochs_are_claimed_apart_and_closed() {
        let session = session("/", None);
        let charge = || session.charge(&path("/a.ts"), Protocol::H2, Some(1), NOW).unwrap();
        charge().settle(&whole(1), NOW);
        charge().settle(&whole(2), NOW.plus_ms(1000));
        let later = NOW.plus_ms(5000);
        let sums = session.unclaimed(later);
        assert_eq!(sums.iter().map(|sum| sum.bytes).collect::<Vec<_>>(), [1, 2]);
        charge().settle(&whole(4), later);
        assert_eq!(session.unclaimed(later)[0].bytes, 4, "the closed books are gone");
    }
}

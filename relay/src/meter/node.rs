//! The node's meter: what other parts call while bytes flow. Invariant: nothing here waits for the disk or for another
//! node; durable work is [`Books`](super::Books)', which is told through a bounded queue.

use super::{
    books::{Books, Event},
    credit::{Credit, Took},
    journal::{Journal, Name},
    lines::{Line, Lines},
    received::{Arrived, Origin, Received},
    session::Session,
    totals::Totals,
};
use crate::clock::Clock;
use bytes::Bytes;
use dashmap::DashMap;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};
use weir_protocol::{
    Epoch, EvidenceKey, Generation, KeyId, PayeeChange, PeerReceipt, PublisherId, RelayId, ResourceHash, TokenHash,
    UnixMillis, ViewerReceipt,
    statement::{Unverified, Verified},
    token::SessionClaims,
    wire::Answered,
};

/// Events that wait for the books. What finds no room comes again: receipts and answers are repeated.
const QUEUE: usize = 4096;
/// Sessions that are open at once.
const MAX_SESSIONS: usize = 100_000;
/// A session that was not used for so long makes room for another, in milliseconds.
const IDLE_MS: u64 = 600_000;
/// Peers whose credit is kept apart from nothing: beyond, those who owe nothing are forgotten.
const MAX_CREDITS: usize = 16_384;

/// How the meter works.
#[derive(Debug, Clone)]
pub struct MeterConfig {
    /// How often claims are made.
    pub claim_every: Duration,
}

impl Default for MeterConfig {
    fn default() -> Self {
        Self { claim_every: Duration::from_secs(60) }
    }
}

/// There is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySessions;

/// What a receipt from a peer led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It covers so many more bytes.
    More(u64),
    /// It says nothing new, or is not for this relay.
    Nothing,
    /// It does not verify, or contradicts an earlier one.
    Bad,
}

pub(super) struct Inner {
    pub(super) me: RelayId,
    pub(super) key: EvidenceKey,
    pub(super) clock: Clock,
    pub(super) config: MeterConfig,
    pub(super) journal: Arc<Journal>,
    pub(super) lines: Arc<Lines>,
    received: Mutex<Received>,
    pub(super) due: Notify,
    credits: DashMap<(RelayId, PublisherId), Arc<Credit>>,
    pub(super) sessions: DashMap<(PublisherId, TokenHash), Arc<Session>>,
    epochs: DashMap<PublisherId, Arc<AtomicU64>>,
    events: mpsc::Sender<Event>,
    pub(super) totals: Totals,
}

/// The node's meter. Cheap to clone.
#[derive(Clone)]
pub struct Meter(pub(super) Arc<Inner>);

impl Meter {
    /// A meter over its journal, and the books that must run beside it.
    pub fn new(journal: Journal, key: EvidenceKey, clock: Clock, config: MeterConfig) -> (Self, Books) {
        let (events, queue) = mpsc::channel(QUEUE);
        let inner = Arc::new(Inner {
            me: key.relay_id(),
            key,
            clock,
            config,
            journal: Arc::new(journal),
            lines: Arc::default(),
            received: Mutex::default(),
            due: Notify::new(),
            credits: DashMap::new(),
            sessions: DashMap::new(),
            epochs: DashMap::new(),
            events,
            totals: Totals::default(),
        });
        (Self(inner.clone()), Books::new(inner, queue))
    }

    /// Who signs.
    pub fn me(&self) -> RelayId {
        self.0.me
    }

    /// The journal, for what is shown of it.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.0.journal
    }

    /// Sums for status pages.
    pub fn totals(&self) -> &Totals {
        &self.0.totals
    }

    /// The time by which bytes are counted.
    pub fn now(&self) -> UnixMillis {
        self.0.clock.now()
    }

    /// A transfer of one body from another node begins.
    pub(crate) fn receiving(
        &self,
        publisher: PublisherId,
        sender: RelayId,
        is_adapter: bool,
        epoch_ms: u64,
        resource: ResourceHash,
        generation: Generation,
    ) -> Receiving {
        Receiving { meter: self.clone(), publisher, sender, is_adapter, epoch_ms, resource, generation }
    }

    /// A peer's credit for a publisher's content.
    pub fn credit(&self, peer: RelayId, publisher: PublisherId) -> Arc<Credit> {
        if let Some(credit) = self.0.credits.get(&(peer, publisher)) {
            return credit.clone();
        }
        if self.0.credits.len() >= MAX_CREDITS {
            self.0.credits.retain(|_, credit| Arc::strong_count(credit) > 1 || credit.owed() > 0);
        }
        self.0.credits.entry((peer, publisher)).or_default().clone()
    }

    /// The publisher's epochs have this length, in milliseconds.
    pub fn counts_by(&self, publisher: PublisherId, epoch_ms: u64) {
        self.epoch_length(publisher).store(epoch_ms, Ordering::Relaxed);
    }

    /// Length of a publisher's epochs; 0 while it is not known.
    fn epoch_length(&self, publisher: PublisherId) -> Arc<AtomicU64> {
        self.0.epochs.entry(publisher).or_default().clone()
    }

    /// What a peer owes for a publisher's content.
    pub(crate) fn owed(&self, peer: &RelayId, publisher: &PublisherId) -> u64 {
        self.0.credits.get(&(*peer, *publisher)).map_or(0, |credit| credit.owed())
    }

    /// A control stream with a node has begun; `feeds` are the publishers whose adapter it is.
    pub(crate) fn attach(&self, peer: RelayId, feeds: Vec<PublisherId>) -> Line {
        let line = self.0.lines.attach(peer);
        self.0.tell(Event::Attached { peer, feeds });
        line
    }

    /// A receipt has come from a peer, for what was sent to it.
    pub(crate) fn heard(&self, peer: &RelayId, bytes: Bytes, epoch_ms: u64) -> Heard {
        let receipt = Unverified::<PeerReceipt>::new(bytes);
        let Ok(claimed) = receipt.claimed() else { return Heard::Bad };
        if claimed.sender != self.0.me || claimed.receiver != *peer {
            return Heard::Nothing;
        }
        let current = Epoch::of(self.0.clock.now(), epoch_ms).0;
        // Two clocks may differ by a turn of the epoch; a receipt for a distant one would take the place of good ones.
        let skew = weir_protocol::time::CLOCK_SKEW_MS / epoch_ms.max(1) + 1;
        if claimed.epoch.0.abs_diff(current) > skew {
            return Heard::Nothing;
        }
        // Strictly: credit is extended for it (a batch would accept what a settlement refuses).
        let Ok(verified) = receipt.verify() else { return Heard::Bad };
        let credit = self.credit(*peer, claimed.publisher);
        if credit.epoch() != Some(claimed.epoch)
            && let Some(last) = self.0.last_receipt(&Name::of_receipt(&claimed))
        {
            credit.resume(last);
        }
        let owed = credit.owed();
        match credit.receipt(&claimed) {
            Took::Old => Heard::Nothing,
            Took::More => {
                self.0.totals.received(&claimed);
                self.0.tell(Event::Receipt { receipt: verified, epoch_ms, contradicts: false });
                Heard::More(owed.saturating_sub(credit.owed()))
            }
            Took::Contradicts => {
                tracing::warn!(peer = %peer.short(), "a peer contradicts its own receipts; both go to the ledger");
                self.0.tell(Event::Receipt { receipt: verified, epoch_ms, contradicts: true });
                Heard::Bad
            }
        }
    }

    /// The publisher's collector has answered; `kept` are the promised leaves of what it keeps, whose promise was verified.
    pub(crate) fn answered(&self, answer: Answered) {
        self.0.tell(Event::Answered(answer));
    }

    /// The session of a token whose signature, time and use were verified.
    ///
    /// # Errors
    /// [`TooManySessions`].
    pub fn session(
        &self,
        publisher: PublisherId,
        compact: &str,
        kid: KeyId,
        claims: &SessionClaims,
    ) -> Result<Arc<Session>, TooManySessions> {
        let place = (publisher, TokenHash::of(compact));
        if let Some(session) = self.0.sessions.get(&place) {
            return Ok(session.clone());
        }
        let now = self.0.clock.now();
        if self.0.sessions.len() >= MAX_SESSIONS {
            self.0.sessions.retain(|_, session| now.since(session.used()) < IDLE_MS || !session.is_idle());
        }
        if self.0.sessions.len() >= MAX_SESSIONS {
            return Err(TooManySessions);
        }
        // Once in a session's life here, and a small read.
        let claimed = self.0.journal.claims_with(&publisher, &place.1).unwrap_or_else(|error| {
            tracing::error!(%error, "a session begins anew");
            Vec::new()
        });
        let session = Session::new(publisher, compact, kid, claims.clone(), self.epoch_length(publisher), &claimed);
        session.touch(now);
        Ok(self.0.sessions.entry(place).or_insert_with(|| Arc::new(session)).clone())
    }

    /// The open session of a token.
    pub fn open_session(&self, publisher: &PublisherId, token: &TokenHash) -> Option<Arc<Session>> {
        self.0.sessions.get(&(*publisher, *token)).map(|session| session.clone())
    }

    /// A player's receipt, verified and confirmed by the session's token.
    pub fn viewer_receipt(&self, receipt: Verified<ViewerReceipt>, session: Arc<Session>) {
        self.0.totals.viewer_receipt();
        self.0.tell(Event::Viewer { receipt, session });
    }

    /// Where this relay wants to be paid, for a publisher's ledger.
    pub fn payee(&self, change: Verified<PayeeChange>) {
        self.0.tell(Event::Payee(change));
    }
}

impl Inner {
    pub(super) fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("the meter's books do not keep up");
        }
    }

    pub(super) fn last_receipt(&self, name: &Name) -> Option<PeerReceipt> {
        match self.journal.latest(name) {
            Ok(last) => last.and_then(|bytes| Unverified::<PeerReceipt>::new(bytes).claimed().ok()),
            Err(error) => {
                tracing::error!(%error, "a receipt's sums are not found");
                None
            }
        }
    }

    /// The books of an origin, which go on from what was signed before a restart.
    fn opened(&self, origin: &Origin, epoch_ms: u64) -> MutexGuard<'_, Received> {
        let received = self.received();
        if !received.is_new(origin) {
            return received;
        }
        drop(received);
        let last = self.last_receipt(&Name::receipts(&origin.publisher, &origin.sender, &self.me, origin.epoch));
        let mut received = self.received();
        received.resume(*origin, epoch_ms, last);
        received.forget(&origin.publisher, origin.epoch);
        received
    }
}

/// One transfer from another node, as it is counted.
pub(crate) struct Receiving {
    meter: Meter,
    publisher: PublisherId,
    sender: RelayId,
    /// The adapter sends without being paid, and gets no receipts.
    is_adapter: bool,
    epoch_ms: u64,
    resource: ResourceHash,
    generation: Generation,
}

impl Receiving {
    fn origin(&self, now: UnixMillis) -> Origin {
        Origin { publisher: self.publisher, sender: self.sender, epoch: Epoch::of(now, self.epoch_ms) }
    }

    /// Bytes have arrived and verified.
    pub(crate) fn took(&self, offset: u64, length: u64) {
        let inner = &self.meter.0;
        let now = inner.clock.now();
        let arrived = Arrived { resource: self.resource, generation: self.generation, offset, length };
        let origin = self.origin(now);
        if self.is_adapter {
            inner.received().fetched(&origin, &arrived);
        } else if inner.opened(&origin, self.epoch_ms).took(origin, &arrived, now) {
            inner.due.notify_one();
        }
    }

    /// The body is whole.
    pub(crate) fn whole(&self) {
        if !self.is_adapter {
            let inner = &self.meter.0;
            let now = inner.clock.now();
            let origin = self.origin(now);
            inner.opened(&origin, self.epoch_ms).whole(origin, now);
        }
    }
}

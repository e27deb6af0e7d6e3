//! Everything that a tree's openings say.
//!
//! Invariant: what is in the book was verified strictly, and depends on nothing but the leaves, their order, and how
//! long evidence is accepted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use weir_protocol::statement::{
    Kind, LogIdentity, Observation, PayeeChange, ProbeCommitment, ProbeReveal, PublisherSigned, Unverified, Verified,
    Why,
};
use weir_protocol::{
    EdgeClaim, Epoch, PeerReceipt, PolicyHash, PublisherId, RelayId, TokenHash, UnixMillis, ViewerReceipt,
};

use crate::evidence::keys::KeyHistory;
use crate::evidence::series::{Collector, Found, Latest};
use crate::evidence::source::{LeafSource, SourceError};
use crate::evidence::terms::{Grants, Terms};
use crate::evidence::tokens::{Token, TokenFault, Tokens};
use crate::merkle::TreeSize;

/// Why there is no book.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The openings cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A relay contradicted itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Misconduct {
    /// Who.
    pub relay: RelayId,
    /// In which epoch.
    pub epoch: Epoch,
    /// The kind of statement.
    pub kind: Kind,
    /// How.
    pub why: Why,
    /// The two leaves: whoever has their openings has the proof.
    pub leaves: [u64; 2],
}

/// What the publisher observed of a session at a relay, at its latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The observation.
    pub observation: Observation,
    /// Its leaf.
    pub leaf: u64,
}

/// A list of probes that was committed to in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) reveal: ProbeReveal,
    pub(crate) revealed: UnixMillis,
}

/// What a tree's openings say.
pub struct Book {
    /// The tree.
    pub size: TreeSize,
    /// The latest time of receipt: what time it is, for the settlement.
    pub now: UnixMillis,
    /// Which log it is.
    pub identity: Option<LogIdentity>,
    /// The claims that count, by epoch.
    pub claims: BTreeMap<Epoch, Vec<Latest<EdgeClaim>>>,
    /// Late claims, by epoch.
    pub late_claims: BTreeMap<Epoch, Vec<EdgeClaim>>,
    /// The peer receipts that count, by epoch.
    pub receipts: BTreeMap<Epoch, Vec<Latest<PeerReceipt>>>,
    /// Relays that contradicted themselves.
    pub misconduct: Vec<Misconduct>,
    /// Policies that the log contains, with their leaves.
    pub policies: BTreeMap<PolicyHash, u64>,
    /// Leaves without opening.
    pub unopened: Vec<u64>,
    /// Leaves whose message is none of its kind, or not signed as it must be, by kind.
    pub unusable: BTreeMap<Kind, u64>,
    viewers: BTreeMap<(Epoch, TokenHash), Vec<ViewerReceipt>>,
    payees: BTreeMap<RelayId, Vec<(UnixMillis, PayeeChange)>>,
    observations: HashMap<(Epoch, RelayId, TokenHash), Seen>,
    pub(crate) probed: Vec<Probed>,
    pub(crate) totals: Vec<(u64, Vec<u8>)>,
    keys: KeyHistory,
    tokens: Tokens,
    grants: Grants,
}

/// How long evidence counts.
pub(crate) trait Deadlines {
    /// When the last evidence for an epoch can arrive.
    fn closes(&self, epoch: Epoch) -> UnixMillis;
    /// Length of an epoch in milliseconds.
    fn epoch_ms(&self) -> u64;
}

/// An observation that was not verified yet.
struct Observed {
    counter: u64,
    leaf: u64,
    received: UnixMillis,
    bytes: Bytes,
}

/// Messages by the publisher, which are verified when all key lists are known.
#[derive(Default)]
struct Pending {
    identities: Vec<(UnixMillis, Bytes)>,
    grants: Vec<(UnixMillis, Vec<u8>)>,
    observations: HashMap<(Epoch, RelayId, TokenHash), Vec<Observed>>,
    commitments: Vec<(UnixMillis, Bytes)>,
    reveals: Vec<(UnixMillis, Bytes)>,
}

impl Book {
    /// Reads a tree's openings.
    ///
    /// # Errors
    /// [`BookError`].
    pub(crate) fn read(
        source: &dyn LeafSource,
        publisher: PublisherId,
        deadlines: &dyn Deadlines,
    ) -> Result<Self, BookError> {
        let mut book = Self::empty(source.size());
        let mut pending = Pending::default();
        let (mut claims, mut receipts, mut viewers) =
            (Collector::default(), Collector::default(), Collector::default());
        source.for_each(&mut |leaf, opening| {
            let Some(opening) = opening else {
                book.unopened.push(leaf);
                return;
            };
            let (received, kind, message) = (opening.received, opening.kind, opening.message);
            book.now = book.now.max(received);
            let in_time = |epoch| received <= deadlines.closes(epoch);
            let usable = match kind {
                Kind::KeyList => book.keys.add(publisher, &message, received),
                Kind::Token => book.tokens.add(message, received),
                Kind::EdgeClaim => claims.add(
                    leaf,
                    received,
                    message,
                    |claim: &EdgeClaim| in_time(claim.epoch),
                    |claim| claim.publisher == publisher,
                ),
                Kind::PeerReceipt => receipts.add(
                    leaf,
                    received,
                    message,
                    |receipt: &PeerReceipt| in_time(receipt.epoch),
                    |receipt| receipt.publisher == publisher,
                ),
                Kind::ViewerReceipt => viewers.add(
                    leaf,
                    received,
                    message,
                    |receipt: &ViewerReceipt| in_time(receipt.epoch),
                    |receipt| receipt.publisher == publisher,
                ),
                Kind::PayeeChange => book.payee_change(received, message, publisher),
                Kind::Policy => {
                    book.policies.entry(PolicyHash::of(&message)).or_insert(leaf);
                    true
                }
                Kind::EpochTotals => {
                    book.totals.push((leaf, message));
                    true
                }
                Kind::Mark => true,
                Kind::LogIdentity | Kind::Grant | Kind::Observation | Kind::ProbeCommitment | Kind::ProbeReveal => {
                    pending.add(kind, leaf, received, message, in_time)
                }
            };
            if !usable {
                *book.unusable.entry(kind).or_insert(0) += 1;
            }
        })?;
        book.conclude(pending, deadlines);
        let claims = claims.finish(source)?;
        let receipts = receipts.finish(source)?;
        for viewer in viewers.finish(source)?.latest {
            let receipt = viewer.statement;
            book.viewers.entry((receipt.epoch, receipt.token)).or_default().push(receipt);
        }
        let of_claims =
            claims.contradictions.iter().map(|found| misconduct(found, Kind::EdgeClaim, |s| (s.edge, s.epoch)));
        let of_receipts =
            receipts.contradictions.iter().map(|found| misconduct(found, Kind::PeerReceipt, |s| (s.receiver, s.epoch)));
        book.misconduct = of_claims.chain(of_receipts).collect();
        book.misconduct.sort_unstable();
        book.claims = by_epoch(claims.latest, |claim| claim.statement.epoch);
        book.late_claims = by_epoch(claims.late, |claim| claim.epoch);
        book.receipts = by_epoch(receipts.latest, |receipt| receipt.statement.epoch);
        Ok(book)
    }

    fn empty(size: TreeSize) -> Self {
        Self {
            size,
            now: UnixMillis(0),
            identity: None,
            claims: BTreeMap::new(),
            late_claims: BTreeMap::new(),
            receipts: BTreeMap::new(),
            misconduct: Vec::new(),
            policies: BTreeMap::new(),
            unopened: Vec::new(),
            unusable: BTreeMap::new(),
            viewers: BTreeMap::new(),
            payees: BTreeMap::new(),
            observations: HashMap::new(),
            probed: Vec::new(),
            totals: Vec::new(),
            keys: KeyHistory::default(),
            tokens: Tokens::default(),
            grants: Grants::default(),
        }
    }

    /// Verifies what the publisher signed.
    fn conclude(&mut self, pending: Pending, deadlines: &dyn Deadlines) {
        let mut unusable = |kind| *self.unusable.entry(kind).or_insert(0) += 1;
        for (received, bytes) in pending.identities {
            match verify::<LogIdentity>(&self.keys, bytes, received) {
                Some(identity) => self.identity = Some(identity.statement().clone()),
                None => unusable(Kind::LogIdentity),
            }
        }
        for (received, message) in pending.grants {
            if !self.grants.add(message, received, &self.keys) {
                unusable(Kind::Grant);
            }
        }
        for (place, mut observed) in pending.observations {
            // Of two with one counter the first stands.
            observed.sort_unstable_by_key(|one| (std::cmp::Reverse(one.counter), one.leaf));
            let best = observed.into_iter().find_map(|one| {
                let verified = verify::<Observation>(&self.keys, one.bytes, one.received)?;
                Some(Seen { observation: verified.statement().clone(), leaf: one.leaf })
            });
            match best {
                Some(seen) => {
                    self.observations.insert(place, seen);
                }
                None => unusable(Kind::Observation),
            }
        }
        let mut commitments: HashMap<(Epoch, u64), ProbeCommitment> = HashMap::new();
        for (received, bytes) in pending.commitments {
            match verify::<ProbeCommitment>(&self.keys, bytes, received) {
                // The first commitment to a list stands, and only one that was made before the epoch began.
                Some(commitment) if received <= commitment.statement().epoch.start(deadlines.epoch_ms()) => {
                    let statement = commitment.statement().clone();
                    commitments.entry((statement.epoch, statement.list)).or_insert(statement);
                }
                _ => unusable(Kind::ProbeCommitment),
            }
        }
        let mut lists = BTreeSet::new();
        for (received, bytes) in pending.reveals {
            let verified = verify::<ProbeReveal>(&self.keys, bytes, received);
            let reveal = verified.map(|verified| verified.statement().clone()).filter(|reveal| {
                let committed = commitments.get(&(reveal.epoch, reveal.list));
                let after = received >= reveal.epoch.end(deadlines.epoch_ms());
                after && committed.is_some_and(|commitment| reveal.opens(commitment))
            });
            match reveal {
                Some(reveal) if lists.insert((reveal.epoch, reveal.list)) => {
                    self.probed.push(Probed { reveal, revealed: received });
                }
                _ => unusable(Kind::ProbeReveal),
            }
        }
    }

    /// The token of a session.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub fn token(&self, hash: &TokenHash) -> Result<Token, TokenFault> {
        self.tokens.judge(hash, &self.keys)
    }

    /// A relay's grants for an epoch, the latest first.
    #[must_use]
    pub fn terms(&self, relay: &RelayId, epoch: Epoch, epoch_ms: u64) -> Vec<&Terms> {
        self.grants.of(relay, epoch, epoch_ms)
    }

    /// What the publisher saw of a session at a relay.
    #[must_use]
    pub fn seen(&self, epoch: Epoch, relay: &RelayId, token: &TokenHash) -> Option<&Seen> {
        self.observations.get(&(epoch, *relay, *token))
    }

    /// Bytes that a session's viewer confirmed of a relay, if its player signs receipts. A token confirms one key, so
    /// there is one series of receipts; others are ignored.
    #[must_use]
    pub fn confirmed(&self, epoch: Epoch, relay: &RelayId, hash: &TokenHash, token: &Token) -> Option<u64> {
        let receipts = self.viewers.get(&(epoch, *hash))?;
        let receipt = receipts.iter().find(|receipt| receipt.is_confirmed_by(&token.claims))?;
        Some(receipt.from_relay(relay).map_or(0, |share| share.bytes))
    }

    /// Where a relay wants what was released at a time to be paid: as its message of the highest serial says that had
    /// been received by then, or, if that names nothing, the first one received later that names something. So an
    /// amount has one payee for ever, however often the relay changes it.
    #[must_use]
    pub fn payee(&self, relay: &RelayId, released: UnixMillis) -> Option<&PayeeChange> {
        let changes = self.payees.get(relay)?;
        let split = changes.partition_point(|(received, _)| *received <= released);
        let current = changes[..split].iter().map(|(_, payee)| payee).max_by_key(|payee| payee.serial);
        let later = || changes[split..].iter().map(|(_, payee)| payee).find(|payee| payee.names_payee());
        current.filter(|payee| payee.names_payee()).or_else(later)
    }

    fn payee_change(&mut self, received: UnixMillis, message: Vec<u8>, publisher: PublisherId) -> bool {
        let verified = Unverified::<PayeeChange>::new(message.into()).verify();
        let Some(payee) = verified.ok().map(|verified| verified.statement().clone()) else { return false };
        if payee.publisher != publisher {
            return false;
        }
        let changes = self.payees.entry(payee.relay).or_default();
        // Leaves come in the order of the log, and times of receipt nearly so; equal times keep that order.
        let at = changes.partition_point(|(other, _)| *other <= received);
        changes.insert(at, (received, payee));
        true
    }
}

impl Pending {
    fn add(
        &mut self,
        kind: Kind,
        leaf: u64,
        received: UnixMillis,
        message: Vec<u8>,
        in_time: impl FnOnce(Epoch) -> bool,
    ) -> bool {
        match kind {
            Kind::LogIdentity => self.identities.push((received, message.into())),
            Kind::Grant => self.grants.push((received, message)),
            Kind::ProbeCommitment => self.commitments.push((received, message.into())),
            Kind::ProbeReveal => self.reveals.push((received, message.into())),
            _ => {
                let bytes = Bytes::from(message);
                let Ok(claimed) = Unverified::<Observation>::new(bytes.clone()).claimed() else { return false };
                if !in_time(claimed.epoch) {
                    return false;
                }
                let place = (claimed.epoch, claimed.relay, claimed.token);
                let observed = Observed { counter: claimed.counter, leaf, received, bytes };
                self.observations.entry(place).or_default().push(observed);
            }
        }
        true
    }
}

fn verify<S: PublisherSigned>(keys: &KeyHistory, bytes: Bytes, received: UnixMillis) -> Option<Verified<S>> {
    let message = Unverified::<S>::new(bytes);
    keys.rings_at(received).find_map(|ring| message.verify_with(ring).ok())
}

fn by_epoch<T>(items: Vec<T>, epoch: impl Fn(&T) -> Epoch) -> BTreeMap<Epoch, Vec<T>> {
    let mut sorted: BTreeMap<Epoch, Vec<T>> = BTreeMap::new();
    items.into_iter().for_each(|item| sorted.entry(epoch(&item)).or_default().push(item));
    sorted
}

fn misconduct<S>(found: &Found<S>, kind: Kind, of: impl Fn(&S) -> (RelayId, Epoch)) -> Misconduct {
    let (relay, epoch) = of(&found.statement);
    Misconduct { relay, epoch, kind, why: found.why, leaves: found.leaves }
}

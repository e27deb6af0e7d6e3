//! All epochs of a tree, and who gets what.
//!
//! Invariant: nothing but the tree's openings and the policy has an influence: no clock, no random number, no order of a
//! hash map. Time is the latest time of receipt in the tree. An amount that was released once is in every later
//! settlement again, with the same payee, so pay-outs are cumulative sums that only grow.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use serde::Serialize;
use weir_protocol::statement::Why;
use weir_protocol::{Epoch, PolicyHash, PublisherId, RelayId, TokenHash, UnixMillis};

use crate::evidence::{Book, BookError, Deadlines as _, Inflation, LeafSource, ProbeSample};
use crate::merkle::RootHash;
use crate::settle::claims::Sessions;
use crate::settle::csv::csv;
use crate::settle::epoch::lines;
use crate::settle::json::{JsonError, canonical};
use crate::settle::line::Line;
use crate::settle::policy::{HashedPolicy, Policy};
use crate::settle::totals::{Totals, TotalsError};

/// Why there is no settlement.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The openings cannot be read.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The log has epochs of another length than the policy.
    #[error("the policy has epochs of {policy} ms, the log of {log} ms: set epoch_ms to the log's")]
    EpochLength {
        /// The policy's.
        policy: u64,
        /// The log's.
        log: u64,
    },
    /// The log's identity is another publisher's, or missing.
    #[error("the tree holds no identity of a log of {0}: its first leaf must be one")]
    Identity(PublisherId),
    /// An epoch's totals in the log are not what its openings come to.
    #[error(transparent)]
    Totals(#[from] TotalsError),
    /// A number is too large for the format.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// What is settled.
#[derive(Clone, Copy)]
pub struct SettleInput<'a> {
    /// The openings of the tree.
    pub source: &'a dyn LeafSource,
    /// The tree's root.
    pub root: RootHash,
    /// Whose log it is.
    pub publisher: PublisherId,
    /// The policy.
    pub policy: &'a HashedPolicy,
}

/// Sums of one relay over all lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelayTotal {
    /// Which relay.
    pub relay: RelayId,
    /// Bytes claimed.
    pub claimed: u64,
    /// Bytes accepted.
    pub accepted: u64,
    /// Amount held.
    pub held: u64,
    /// Amount released so far.
    pub paid: u64,
}

/// Sums of one creator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreatorTotal {
    /// Who.
    pub creator: String,
    /// Amount held.
    pub held: u64,
    /// Amount released so far.
    pub paid: u64,
}

/// Sums of the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PlatformTotal {
    /// Amount held.
    pub held: u64,
    /// Amount released so far.
    pub paid: u64,
}

/// Whether a cumulative amount is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PayStatus {
    /// The difference to what was paid before is due.
    Due,
    /// Less than the policy's minimum.
    BelowMinimum,
    /// The relay has not said where to.
    NoPayee,
}

/// What a payee has been due in all, since the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payable {
    /// Which relay earned it.
    pub relay: RelayId,
    /// `0x` and 40 hexadecimal digits.
    pub address: Option<String>,
    /// Account text.
    pub account: Option<String>,
    /// Millionths, cumulative: pay the difference to what was paid before.
    pub cumulative: u64,
    /// Whether to pay.
    pub status: PayStatus,
}

/// What probes measured of a relay in the policy's latest window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbeNote {
    /// Which relay.
    pub relay: RelayId,
    /// Probes.
    pub probes: u64,
    /// Those that were claimed for more than they received.
    pub inflated: u64,
    /// Bytes claimed for them.
    pub claimed: u64,
    /// Bytes that they received.
    pub measured: u64,
    /// Estimate, in millionths of what the relay claims.
    pub estimate_ppm: u64,
    /// Lower end of the 95 % interval.
    pub low_ppm: u64,
    /// Upper end.
    pub high_ppm: u64,
}

/// A relay contradicted itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MisconductNote {
    /// Which relay.
    pub relay: RelayId,
    /// In which epoch.
    pub epoch: Epoch,
    /// `edge claim` or `peer receipt`.
    pub kind: &'static str,
    /// `same_counter` or `rollback`.
    pub why: &'static str,
    /// The two leaves.
    pub leaves: [u64; 2],
}

/// An epoch that is not settled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ParkedEpoch {
    /// Which.
    pub epoch: Epoch,
    /// It is settled in a tree that received something after this time.
    pub closes_ms: u64,
}

/// A settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// 1.
    pub version: u64,
    /// Whose.
    pub publisher: PublisherId,
    /// The log's origin.
    pub origin: String,
    /// Leaves that it is computed from.
    pub tree_size: u64,
    /// Root over them.
    pub root: String,
    /// Hash of the policy file.
    pub policy: PolicyHash,
    /// Currency; amounts are millionths of its unit.
    pub currency: String,
    /// Length of an epoch.
    pub epoch_ms: u64,
    /// Latest time of receipt.
    pub time_ms: u64,
    /// All lines of settled epochs.
    pub lines: Vec<Line>,
    /// Epochs with evidence that are not closed yet.
    pub open_epochs: Vec<ParkedEpoch>,
    /// Epochs whose lines come from totals in the log, since openings were deleted.
    pub from_totals: Vec<Epoch>,
    /// Leaves without opening that no totals stand for: withheld evidence.
    pub withheld: Vec<u64>,
    /// Sums by relay.
    pub relays: Vec<RelayTotal>,
    /// Sums by creator.
    pub creators: Vec<CreatorTotal>,
    /// Sum of the platform.
    pub platform: PlatformTotal,
    /// Cumulative amounts by payee.
    pub payouts: Vec<Payable>,
    /// Probes.
    pub probes: Vec<ProbeNote>,
    /// Contradictions.
    pub misconduct: Vec<MisconductNote>,
    /// Which lines are released.
    #[serde(skip)]
    released: Vec<bool>,
}

impl Settlement {
    /// The canonical JSON, with a line feed at its end.
    ///
    /// # Errors
    /// [`SettleError::Json`] if a number exceeds what JSON carries exactly.
    pub fn json(&self) -> Result<String, SettleError> {
        Ok(canonical(self)? + "\n")
    }

    /// The lines as CSV.
    #[must_use]
    pub fn csv(&self) -> String {
        csv(self.lines_with_state())
    }

    /// The lines, and whether each is released.
    pub fn lines_with_state(&self) -> impl Iterator<Item = (&Line, bool)> {
        self.lines.iter().zip(self.released.iter().copied())
    }
}

/// Computes a settlement.
///
/// # Errors
/// [`SettleError`].
pub fn settle(input: SettleInput<'_>) -> Result<Settlement, SettleError> {
    let policy = &input.policy.policy;
    let book = Book::read(input.source, input.publisher, policy)?;
    let identity = book.identity.clone().filter(|identity| identity.publisher == input.publisher);
    let identity = identity.ok_or(SettleError::Identity(input.publisher))?;
    if identity.epoch_ms != policy.epoch_ms {
        return Err(SettleError::EpochLength { policy: policy.epoch_ms, log: identity.epoch_ms });
    }
    let totals = Totals::read(&book)?;
    let mut settled = Settlement {
        version: 1,
        publisher: input.publisher,
        origin: identity.origin,
        tree_size: book.size.get(),
        root: input.root.to_string(),
        policy: input.policy.hash,
        currency: policy.currency.clone(),
        epoch_ms: policy.epoch_ms,
        time_ms: book.now.0,
        lines: Vec::new(),
        open_epochs: Vec::new(),
        from_totals: Vec::new(),
        withheld: book.unopened.iter().copied().filter(|leaf| *leaf >= totals.covers()).collect(),
        relays: Vec::new(),
        creators: Vec::new(),
        platform: PlatformTotal::default(),
        payouts: Vec::new(),
        probes: Vec::new(),
        misconduct: book.misconduct.iter().map(note).collect(),
        released: Vec::new(),
    };
    let samples = Samples::of(&book);
    let mut sessions = Sessions::new();
    for epoch in epochs(&book, &totals) {
        if book.now <= policy.closes(epoch) && totals.epoch(epoch).is_none() {
            settled.open_epochs.push(ParkedEpoch { epoch, closes_ms: policy.closes(epoch).0 });
            continue;
        }
        let kept = totals.epoch(epoch);
        let stands = kept.is_some_and(|kept| !book.unopened.is_empty() || kept.policy != input.policy.hash);
        if let (true, Some(kept)) = (stands, kept) {
            settled.from_totals.push(epoch);
            settled.lines.extend(kept.lines.iter().cloned());
            continue;
        }
        let inflation = |relay: &RelayId, release: Epoch| {
            samples.measure(relay, epoch, released_at(policy, epoch, release), policy)
        };
        let computed = lines(&book, policy, epoch, &mut sessions, &inflation);
        totals.compare(epoch, &computed)?;
        settled.lines.extend(computed);
    }
    settled.probes = samples.notes(&book, policy);
    sum(&mut settled, &book, policy);
    Ok(settled)
}

/// Every epoch that there is evidence or a total for.
fn epochs(book: &Book, totals: &Totals) -> BTreeSet<Epoch> {
    let evidence = book.claims.keys().chain(book.late_claims.keys()).chain(book.receipts.keys());
    evidence.copied().chain(totals.epochs()).collect()
}

/// When a line is released: not before its epoch is closed.
fn released_at(policy: &Policy, epoch: Epoch, release: Epoch) -> UnixMillis {
    release.start(policy.epoch_ms).max(policy.closes(epoch))
}

fn sum(settled: &mut Settlement, book: &Book, policy: &Policy) {
    let mut relays: BTreeMap<String, RelayTotal> = BTreeMap::new();
    let mut creators: BTreeMap<String, CreatorTotal> = BTreeMap::new();
    let mut payouts: BTreeMap<(String, Option<String>, Option<String>), Payable> = BTreeMap::new();
    for line in &settled.lines {
        let released_at = released_at(policy, line.epoch, line.release_epoch);
        // Not at that very moment: more could still be received in it.
        let released = book.now > released_at;
        settled.released.push(released);
        let pick = |amount: u64| if released { (0, amount) } else { (amount, 0) };
        let none = || RelayTotal { relay: line.relay, claimed: 0, accepted: 0, held: 0, paid: 0 };
        let relay = relays.entry(line.relay.to_string()).or_insert_with(none);
        let (held, paid) = pick(line.relay_amount);
        relay.claimed += line.claimed;
        relay.accepted += line.accepted;
        relay.held += held;
        relay.paid += paid;
        if let Some(name) = &line.creator {
            let none = || CreatorTotal { creator: name.clone(), held: 0, paid: 0 };
            let creator = creators.entry(name.clone()).or_insert_with(none);
            let (held, paid) = pick(line.creator_amount);
            creator.held += held;
            creator.paid += paid;
        }
        let (held, paid) = pick(line.platform_amount);
        settled.platform.held += held;
        settled.platform.paid += paid;
        if released && line.relay_amount > 0 {
            let payee = book.payee(&line.relay, released_at);
            let address =
                payee.and_then(|payee| payee.address).map(|address| format!("0x{}", HEXLOWER.encode(&address)));
            let account = payee.and_then(|payee| payee.account.clone());
            let payable = payouts
                .entry((line.relay.to_string(), address.clone(), account.clone()))
                .or_insert(Payable { relay: line.relay, address, account, cumulative: 0, status: PayStatus::Due });
            payable.cumulative += line.relay_amount;
        }
    }
    settled.relays = relays.into_values().collect();
    settled.creators = creators.into_values().collect();
    settled.payouts = payouts.into_values().collect();
    for payable in &mut settled.payouts {
        payable.status = match payable {
            Payable { address: None, account: None, .. } => PayStatus::NoPayee,
            Payable { cumulative, .. } if *cumulative < policy.payout.minimum_micro => PayStatus::BelowMinimum,
            _ => PayStatus::Due,
        };
    }
}

fn note(at: &crate::evidence::Misconduct) -> MisconductNote {
    let why = match at.why {
        Why::SameCounter => "same_counter",
        Why::Rollback => "rollback",
    };
    MisconductNote { relay: at.relay, epoch: at.epoch, kind: at.kind.name(), why, leaves: at.leaves }
}

/// One probe with what was claimed for it, by the epoch that it was claimed in.
struct Probe {
    epoch: Epoch,
    revealed: UnixMillis,
    measured: u64,
    claims: Vec<(Epoch, u64)>,
}

/// Probes with what was claimed for them.
struct Samples {
    probes: BTreeMap<RelayId, Vec<Probe>>,
}

impl Samples {
    fn of(book: &Book) -> Self {
        let mut sessions: BTreeMap<(RelayId, TokenHash), BTreeMap<Epoch, Probe>> = BTreeMap::new();
        for probed in &book.probed {
            let (epoch, revealed) = (probed.reveal.epoch, probed.revealed);
            for probe in &probed.reveal.probes {
                let epochs = sessions.entry((probe.relay, probe.token)).or_default();
                epochs.entry(epoch).or_insert(Probe { epoch, revealed, measured: probe.bytes, claims: Vec::new() });
            }
        }
        for claim in book.claims.values().flatten().map(|latest| &latest.statement) {
            let Some(epochs) = sessions.get_mut(&(claim.edge, claim.token)) else { continue };
            // A probe's session took place in its epochs alone: what is claimed for it in another one, by a clock that is
            // wrong or to hide it, counts with the nearest.
            if let Some(probe) = epochs.values_mut().min_by_key(|probe| probe.epoch.0.abs_diff(claim.epoch.0)) {
                probe.claims.push((claim.epoch, claim.claimed()));
            }
        }
        let mut probes: BTreeMap<RelayId, Vec<Probe>> = BTreeMap::new();
        for ((relay, _), epochs) in sessions {
            probes.entry(relay).or_default().extend(epochs.into_values());
        }
        Self { probes }
    }

    /// What is known of a relay when a line of an epoch is released: by probes that were revealed then, and by claims of
    /// epochs that were closed then, so that nothing which comes later changes the line.
    fn measure(&self, relay: &RelayId, epoch: Epoch, released: UnixMillis, policy: &Policy) -> Inflation {
        let first = epoch.0.saturating_sub(policy.probes.window_epochs);
        let closed = |epoch: Epoch| policy.closes(epoch) <= released;
        let counts = |probe: &&Probe| probe.epoch.0 >= first && probe.revealed <= released && closed(probe.epoch);
        let sample = |probe: &Probe| {
            let claims = probe.claims.iter().filter(|(epoch, _)| closed(*epoch));
            let claimed = claims.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
            ProbeSample { claimed, measured: probe.measured }
        };
        // A relay that claims nothing for a session claims nothing too much; a probe that received nothing and for which
        // nothing was claimed did not take place, and measures nothing.
        let took_place = |sample: &ProbeSample| sample.claimed > 0 || sample.measured > 0;
        let probes = self.probes.get(relay).into_iter().flatten().filter(counts);
        let samples: Vec<ProbeSample> = probes.map(sample).filter(took_place).collect();
        Inflation::estimate(&samples, policy.probes.slack_bytes)
    }

    fn notes(&self, book: &Book, policy: &Policy) -> Vec<ProbeNote> {
        let now = Epoch::of(book.now, policy.epoch_ms);
        let mut notes: Vec<ProbeNote> = self
            .probes
            .keys()
            .map(|relay| {
                let measured = self.measure(relay, now, book.now, policy);
                ProbeNote {
                    relay: *relay,
                    probes: measured.probes,
                    inflated: measured.inflated,
                    claimed: measured.claimed,
                    measured: measured.measured,
                    estimate_ppm: measured.estimate_ppm,
                    low_ppm: measured.low_ppm,
                    high_ppm: measured.high_ppm,
                }
            })
            .filter(|note| note.probes > 0)
            .collect();
        notes.sort_by_key(|note| note.relay.to_string());
        notes
    }
}

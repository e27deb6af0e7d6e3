//! The one task that signs, writes and submits. In rounds: whatever came since the last one is signed, written in one
//! commit, and only then sent.
//!
//! Invariant: a message leaves this relay, or a counter is used, after the commit that keeps it. When the disk takes
//! nothing, nothing is signed: peers stop sending at the credit window, and sums wait in memory.

use super::{
    chain::Chain,
    journal::{Acknowledged, Batch, Kept, MAX_WAITING, Name, Out, Stand},
    node::Inner,
    outbound::Outbound,
    session::{Session, Sum},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    InclusionPromise, PayeeChange, PeerReceipt, PublisherId, RelayId, UnixMillis, ViewerReceipt,
    epoch::MAX_EPOCH_MS,
    statement::{Kind, Unverified, Verified},
    wire::{Answered, ControlFrame, MAX_SUBMITTED, MAX_SUBMITTED_BYTES, Submit, Submitted, Verdict},
};

/// How often it is looked whether a receipt is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often expired rows are pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// Between two attempts to write.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// At the end, the ledger's answers are waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(4);
/// What was said last is given so long to leave this relay.
const LINGER: Duration = Duration::from_millis(200);
/// Attempts to write at the end.
const LAST_WRITES: usize = 3;
/// Claims in one commit.
const CLAIMS_AT_ONCE: usize = 1024;
/// Events of one round.
const EVENTS_AT_ONCE: usize = 1024;
/// Sums of an epoch are kept so long behind its end, for a late transfer and a late restart.
const KEEP_MS: u64 = 48 * 3_600_000;
/// A collector that answers what nobody can read is left alone for so long, in milliseconds.
const NONSENSE_PAUSE_MS: u64 = 30_000;
/// A collector that says "later" without saying when.
const USUAL_PAUSE_MS: u64 = 1_000;
/// Stands before what a leaf's commitment hashes.
const LEAF_CONTEXT: &[u8] = b"weir/leaf/1";

/// What the books are told.
pub(super) enum Event {
    Receipt { receipt: Verified<PeerReceipt>, epoch_ms: u64, contradicts: bool },
    Viewer { receipt: Verified<ViewerReceipt>, session: Arc<Session> },
    Payee(Verified<PayeeChange>),
    Answered(Answered),
    Attached { peer: RelayId, feeds: Vec<PublisherId> },
}

/// The books of a meter; they must run for anything to be signed.
pub struct Books {
    inner: Arc<Inner>,
    queue: mpsc::Receiver<Event>,
    chains: HashMap<PublisherId, Chain>,
    outbound: HashMap<PublisherId, Outbound>,
    adapters: HashMap<PublisherId, RelayId>,
    next_claims: Instant,
    next_prune: Instant,
    ending: bool,
    /// When something was sent to a node last.
    spoke: Option<Instant>,
}

/// One round's work.
#[derive(Default)]
struct Round {
    batch: Batch,
    frames: Vec<(RelayId, ControlFrame)>,
}

impl Books {
    pub(super) fn new(inner: Arc<Inner>, queue: mpsc::Receiver<Event>) -> Self {
        let now = Instant::now();
        Self {
            next_claims: now + inner.config.claim_every,
            next_prune: now,
            inner,
            queue,
            chains: HashMap::new(),
            outbound: HashMap::new(),
            adapters: HashMap::new(),
            ending: false,
            spoke: None,
        }
    }

    /// Runs until `cancel`; then everything that is left is signed and written, and submitted as far as an adapter that is
    /// connected takes it within a few seconds.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = self.queue.recv_many(&mut events, EVENTS_AT_ONCE) => {}
                () = self.inner.due.notified() => {}
                _ = look.tick() => {}
            }
            self.round(&mut events).await;
        }
        self.ending = true;
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            self.round(&mut events).await;
            // What was said last is still on its way: whoever ends this relay's connections next would cut it off.
            let on_its_way = self.spoke.is_some_and(|at| at.elapsed() < LINGER);
            if !on_its_way && self.has_nothing_left() || Instant::now() >= deadline {
                return;
            }
            tokio::select! {
                _ = self.queue.recv_many(&mut events, EVENTS_AT_ONCE) => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Nothing waits for an adapter that is there.
    fn has_nothing_left(&self) -> bool {
        let reachable = self.adapters.values().any(|adapter| self.inner.lines.is_open(adapter));
        !reachable || self.inner.journal.waiting_count() == 0
    }

    async fn round(&mut self, events: &mut Vec<Event>) {
        let (now, instant) = (self.inner.clock.now(), Instant::now());
        let mut round = Round::default();
        for event in events.drain(..) {
            self.take(event, instant, &mut round);
        }
        self.receipts(now, &mut round);
        if instant >= self.next_prune {
            self.next_prune = instant + PRUNE_EVERY;
            round.batch.prune = Some(now);
        }
        if !self.keep(round).await {
            return;
        }
        if self.ending || instant >= self.next_claims {
            self.next_claims = instant + self.inner.config.claim_every;
            self.claim(now).await;
        }
        self.submit().await;
    }

    fn take(&mut self, event: Event, instant: Instant, round: &mut Round) {
        match event {
            Event::Receipt { receipt, epoch_ms, contradicts } => {
                let statement = receipt.statement();
                round.batch.out.push(Out {
                    publisher: statement.publisher,
                    kind: Kind::PeerReceipt,
                    name: Name::of_receipt(statement),
                    message: receipt.bytes().clone(),
                    // Of two that contradict each other both are evidence.
                    replaces: !contradicts,
                    expires: statement.epoch.end(epoch_ms).plus_ms(KEEP_MS),
                });
            }
            Event::Viewer { receipt, session } => {
                self.announce(&session, &mut round.batch);
                let statement = receipt.statement();
                round.batch.out.push(Out {
                    publisher: statement.publisher,
                    kind: Kind::ViewerReceipt,
                    name: Name::of_viewer(statement),
                    message: receipt.bytes().clone(),
                    replaces: true,
                    expires: statement.epoch.end(session.epoch_ms().unwrap_or(MAX_EPOCH_MS)).plus_ms(KEEP_MS),
                });
            }
            Event::Payee(change) => {
                let publisher = change.statement().publisher;
                round.batch.out.push(Out {
                    publisher,
                    kind: Kind::PayeeChange,
                    name: Name::of_payee(&publisher),
                    message: change.bytes().clone(),
                    replaces: true,
                    expires: UnixMillis(u64::MAX),
                });
            }
            Event::Answered(answer) => self.judge(answer, instant, &mut round.batch),
            Event::Attached { peer, feeds } => {
                for publisher in feeds {
                    self.adapters.insert(publisher, peer);
                    self.outbound.entry(publisher).or_default().begin_anew();
                }
                // The last receipts may have found no line.
                let origins = self.inner.received().from(&peer);
                for origin in origins {
                    let name = Name::receipts(&origin.publisher, &origin.sender, &self.inner.me, origin.epoch);
                    if let Ok(Some(bytes)) = self.inner.journal.latest(&name) {
                        round.frames.push((peer, ControlFrame::Receipt { bytes }));
                    }
                }
            }
        }
    }

    /// Signs the receipts that are due.
    fn receipts(&self, now: UnixMillis, round: &mut Round) {
        let due = self.inner.received().due(self.inner.me, now, self.ending);
        for (receipt, epoch_ms) in due {
            let (name, sender) = (Name::of_receipt(&receipt), receipt.sender);
            let expires = receipt.epoch.end(epoch_ms).plus_ms(KEEP_MS);
            match Verified::sign(receipt, &self.inner.key) {
                Ok(signed) => {
                    let message = signed.bytes().clone();
                    round.batch.stands.push(Stand { name, message: message.clone(), expires });
                    round.frames.push((sender, ControlFrame::Receipt { bytes: message }));
                }
                Err(error) => tracing::error!(%error, "a receipt cannot be signed"),
            }
        }
    }

    /// Writes a round and sends what it may send then; false when the disk took nothing until the end.
    async fn keep(&mut self, round: Round) -> bool {
        let Round { batch, frames } = round;
        let signed = batch.stands.len();
        if !batch.is_empty() && !self.write(batch).await {
            return false;
        }
        self.inner.totals.signed(signed, 0);
        for (peer, frame) in frames {
            self.spoke = Some(Instant::now());
            // Without a line, or without room, a later receipt says the same and more.
            self.inner.lines.send(&peer, frame);
        }
        true
    }

    /// Writes until it is written: the same bytes again, since a commit that failed may have been kept.
    async fn write(&self, batch: Batch) -> bool {
        let batch = Arc::new(batch);
        let mut failures = 0;
        loop {
            let (journal, written) = (self.inner.journal.clone(), batch.clone());
            match tokio::task::spawn_blocking(move || journal.write(&written)).await {
                Ok(Ok(())) if failures > 0 => {
                    tracing::info!("the journal is written again");
                    return true;
                }
                Ok(Ok(())) => return true,
                Ok(Err(error)) if failures % 60 == 0 => {
                    tracing::error!(%error, "nothing is signed until it is written")
                }
                Ok(Err(_)) => {}
                Err(error) => tracing::error!(%error, "the journal's writer failed"),
            }
            failures += 1;
            if self.ending && failures >= LAST_WRITES {
                return false;
            }
            sleep(WRITE_AGAIN).await;
        }
    }

    /// The token goes to the ledger before what counts with it: it is the publisher's own word, and worth nothing there to
    /// anybody but whoever served its session.
    fn announce(&self, session: &Session, batch: &mut Batch) {
        if session.announced.swap(true, Ordering::Relaxed) {
            return;
        }
        batch.out.push(Out {
            publisher: session.publisher,
            kind: Kind::Token,
            name: Name::of_token(&session.publisher, &session.token),
            message: Bytes::copy_from_slice(session.compact.as_bytes()),
            replaces: false,
            expires: UnixMillis::from_secs(session.claims.exp).plus_ms(KEEP_MS),
        });
    }

    /// Claims everything that no claim says yet.
    async fn claim(&mut self, now: UnixMillis) {
        let mut sums: Vec<(Arc<Session>, Sum)> = Vec::new();
        let waiting = self.inner.journal.waiting_count();
        if waiting >= MAX_WAITING {
            tracing::warn!(waiting, "too much waits for the ledger: nothing is claimed until it takes some");
            return;
        }
        let sessions: Vec<Arc<Session>> = self.inner.sessions.iter().map(|session| session.clone()).collect();
        for session in sessions {
            let unclaimed = session.unclaimed(now);
            sums.extend(unclaimed.into_iter().map(|sum| (session.clone(), sum)));
        }
        sums.sort_by_key(|(session, sum)| (session.publisher, sum.epoch, session.token));
        while !sums.is_empty() {
            let rest = sums.split_off(sums.len().min(CLAIMS_AT_ONCE));
            let some = std::mem::replace(&mut sums, rest);
            let claims = some.len();
            let batch = self.sign(some);
            if !self.write(batch).await {
                return;
            }
            self.inner.totals.signed(0, claims);
        }
    }

    fn sign(&mut self, sums: Vec<(Arc<Session>, Sum)>) -> Batch {
        let mut batch = Batch::default();
        let mut touched = BTreeSet::new();
        for (session, sum) in sums {
            self.announce(&session, &mut batch);
            let expires = sum.epoch.end(session.epoch_ms().unwrap_or(MAX_EPOCH_MS)).plus_ms(KEEP_MS);
            let chain = match self.chains.entry(session.publisher) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let end = self.inner.journal.latest(&Name::of_chain(&session.publisher));
                    let end = end.inspect_err(|error| tracing::error!(%error, "the chain of claims is not found"));
                    new.insert(end.ok().flatten().and_then(|bytes| Chain::decode(&bytes)).unwrap_or_default())
                }
            };
            match chain.sign(self.inner.me, &self.inner.key, &session, sum) {
                Ok(signed) => batch.out.push(Out {
                    publisher: session.publisher,
                    kind: Kind::EdgeClaim,
                    name: Name::of_claim(signed.statement()),
                    message: signed.bytes().clone(),
                    // Each claim names its predecessor: none may be left out.
                    replaces: false,
                    expires,
                }),
                Err(error) => tracing::error!(%error, "a claim cannot be signed"),
            }
            touched.insert(session.publisher);
        }
        for publisher in touched {
            let message = self.chains.get(&publisher).map_or_else(Vec::new, Chain::encode).into();
            let expires = UnixMillis(u64::MAX);
            batch.stands.push(Stand { name: Name::of_chain(&publisher), message, expires });
        }
        batch
    }

    /// Submits what waits, as far as the window goes.
    async fn submit(&mut self) {
        if self.inner.journal.waiting_count() == 0 {
            return;
        }
        let now = Instant::now();
        for (publisher, adapter) in &self.adapters {
            if !self.inner.lines.is_open(adapter) {
                continue;
            }
            let outbound = self.outbound.entry(*publisher).or_default();
            outbound.tend(now);
            while outbound.may_submit(now) {
                let (journal, of, after) = (self.inner.journal.clone(), *publisher, outbound.reached);
                let read = move || journal.waiting(&of, after, MAX_SUBMITTED, MAX_SUBMITTED_BYTES);
                let waiting = match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(waiting)) => waiting,
                    Ok(Err(error)) => {
                        tracing::error!(%error, "nothing is submitted");
                        return;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the journal's reader failed");
                        return;
                    }
                };
                if waiting.is_empty() {
                    break;
                }
                let messages =
                    waiting.iter().map(|one| Submitted { kind: one.kind as u8, message: one.message.to_vec().into() });
                let messages = messages.collect();
                let number = outbound.submitted(waiting, now);
                let submit = ControlFrame::Submit(Submit { publisher: *publisher, number, messages });
                if !self.inner.lines.send(adapter, submit) {
                    outbound.begin_anew();
                    break;
                }
            }
        }
    }

    /// Takes an answer in.
    fn judge(&mut self, answer: Answered, now: Instant, batch: &mut Batch) {
        let Some(outbound) = self.outbound.get_mut(&answer.publisher) else { return };
        if answer.outcomes.is_empty() {
            return outbound.pause(answer.retry_ms.unwrap_or(USUAL_PAUSE_MS), now);
        }
        let Some(messages) = outbound.answered(answer.number) else { return };
        let promise: Option<Bytes> = answer.promise.map(|promise| promise.to_vec().into());
        let claimed = promise.clone().and_then(|bytes| Unverified::<InclusionPromise>::new(bytes).claimed().ok());
        let mut leaves = claimed.map(|promise| promise.leaves).unwrap_or_default().into_iter();
        let mut acknowledged = Acknowledged { promise, ..Acknowledged::default() };
        if messages.len() != answer.outcomes.len() {
            tracing::error!(publisher = %answer.publisher.short(), "the collector's answer is for something else");
            return outbound.pause(NONSENSE_PAUSE_MS, now);
        }
        let mut verdicts = Vec::with_capacity(messages.len());
        for (message, outcome) in messages.into_iter().zip(answer.outcomes) {
            let verdict = Verdict::from_number(outcome.verdict);
            if verdict == Verdict::Kept {
                let leaf = leaves.next();
                let salt = outcome.salt.map(|salt| *salt);
                let kept = leaf.zip(salt).map(|(leaf, salt)| {
                    let kept = Kept {
                        publisher: answer.publisher,
                        kind: message.kind,
                        index: leaf.index,
                        received: leaf.received,
                        salt,
                        message: message.message.clone(),
                    };
                    (commitment(&kept) == leaf.commitment).then_some(kept)
                });
                let Some(Some(kept)) = kept else {
                    tracing::error!(
                        publisher = %answer.publisher.short(),
                        "the publisher's promise is not about what was submitted: it is submitted again"
                    );
                    return outbound.pause(NONSENSE_PAUSE_MS, now);
                };
                acknowledged.kept.push(kept);
            } else {
                tracing::warn!(
                    publisher = %answer.publisher.short(), kind = %message.kind, reason = verdict.label(),
                    "the publisher's ledger refuses a message"
                );
            }
            acknowledged.numbers.push(message.number);
            verdicts.push(verdict);
        }
        verdicts.into_iter().for_each(|verdict| self.inner.totals.judged(verdict));
        batch.acknowledged.push(acknowledged);
    }
}

/// What the publisher's promise must commit to (docs/protocol.md, section 13).
fn commitment(kept: &Kept) -> [u8; 32] {
    let hash = Sha256::new().chain_update(LEAF_CONTEXT).chain_update(kept.salt);
    let hash = hash.chain_update(kept.received.0.to_be_bytes()).chain_update([kept.kind as u8]);
    hash.chain_update(&kept.message).finalize().into()
}

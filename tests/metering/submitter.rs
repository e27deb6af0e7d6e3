//! A relay that submits receipts and claims without end, and holds the ledger to each promise that it was given.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use weir_ledger::Log;
use weir_protocol::{
    Epoch, PublisherId, RelayId,
    keys::KeyRing,
    statement::{Kind, PromisedLeaf},
};

use crate::{
    crook::{Crook, brought, judged},
    harness::wait::{PATIENCE, within},
    publisher::{AT_ONCE, Publisher, now},
};

/// Bytes that each further claim of a session says.
const STEP: u64 = 1000;
/// A ledger that cannot write is asked again after so long.
const AGAIN: Duration = Duration::from_millis(20);

/// Without a promise for so long, there comes none.
const STILL: Duration = Duration::from_secs(1);

/// A relay that submits without end, and what it was promised.
pub(crate) struct Submitter {
    pub(crate) crook: Crook,
    publisher: PublisherId,
    ring: Arc<KeyRing>,
    token: String,
    random: StdRng,
    receipts: u64,
    /// Of each epoch: what the last claim said that was signed, and that was promised a place.
    sums: BTreeMap<Epoch, (u64, u64)>,
    /// By message.
    promised: BTreeMap<Vec<u8>, (Kind, PromisedLeaf)>,
}

impl Submitter {
    pub(crate) async fn of(publisher: &Publisher, seed: u64) -> Self {
        let mut crook = Crook::join(publisher).await;
        let token = publisher.token("s", |claims| claims.exp += 24 * 3600);
        crook.submit(publisher, &[brought(&token)]).await;
        Self {
            crook,
            publisher: publisher.id,
            ring: Arc::new(publisher.keys().ring(now().0).unwrap()),
            token,
            random: StdRng::seed_from_u64(seed),
            receipts: 0,
            sums: BTreeMap::new(),
            promised: BTreeMap::new(),
        }
    }

    /// Receipts and claims, most of them new.
    fn batch(&mut self) -> Vec<(Kind, bytes::Bytes, u64)> {
        let count = self.random.random_range(1..32);
        let mut batch = Vec::new();
        for _ in 0..count {
            if !self.promised.is_empty() && self.random.random_range(0..4) == 0 {
                let at = self.random.random_range(0..self.promised.len());
                let (message, (kind, _)) = self.promised.iter().nth(at).unwrap();
                batch.push((*kind, message.clone().into(), 0));
                continue;
            }
            let (kind, message, sum) = if self.random.random_bool(0.5) {
                self.receipts += 1;
                let receipt = self.crook.receipt(self.publisher, self.stranger(), self.receipts, self.receipts * STEP);
                let (kind, message) = self.crook.signed_receipt(receipt);
                (kind, message, 0)
            } else {
                let signed = &mut self.sums.entry(self.crook.epoch).or_default().0;
                *signed += STEP;
                let sum = *signed;
                let claim = self.crook.claim(self.publisher, &self.token.clone(), sum);
                let (kind, message) = self.crook.signed(claim);
                (kind, message, sum)
            };
            batch.push((kind, message, sum));
        }
        batch
    }

    /// Who is said to have sent what the receipts are for.
    fn stranger(&self) -> RelayId {
        weir_protocol::EvidenceKey::from_bytes(&[0xee; 32]).relay_id()
    }

    /// Submits until `killed`; each promise that has arrived by then is told of.
    async fn submit(&mut self, told: &mpsc::UnboundedSender<usize>, killed: &CancellationToken) {
        self.crook.epoch = now().1;
        loop {
            let batch = self.batch();
            let messages: Vec<_> = batch.iter().map(|(kind, message, _)| (*kind, message.clone())).collect();
            // QUIC notices only after its idle time that nobody is there any more.
            let answered = tokio::select! {
                biased;
                answered = self.crook.try_submit(self.publisher, &messages) => answered,
                () = killed.cancelled() => None,
            };
            let Some(answered) = answered else { return };
            let Some(judged) = judged(&answered, &self.ring) else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            assert_eq!(judged.leaves.len(), batch.len(), "all of it is good");
            for ((kind, message, sum), leaf) in batch.into_iter().zip(judged.leaves) {
                let acknowledged = &mut self.sums.entry(self.crook.epoch).or_default().1;
                *acknowledged = sum.max(*acknowledged);
                let before = self.promised.insert(message.to_vec(), (kind, leaf.clone()));
                let same = before.is_none_or(|(_, before)| before == leaf);
                assert!(same, "a message was promised two places");
            }
            let _ = told.send(self.promised.len());
        }
    }

    /// The same as a task.
    pub(crate) fn start(mut self) -> Submitting {
        let (told, heard) = mpsc::unbounded_channel();
        let killed = CancellationToken::new();
        let until = killed.clone();
        let task = tokio::spawn(async move {
            self.submit(&told, &until).await;
            self
        });
        Submitting { task, heard, killed }
    }

    /// Each message that was promised a place is there, and nowhere else; with a proof under a signed root.
    pub(crate) async fn check(&self, log: &Log) {
        let checkpoint = log.sign_checkpoint().await.unwrap();
        let size = checkpoint.checkpoint().size.get();
        let mut places: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for first in (0..size).step_by(4096) {
            let openings = log.store().openings(first..size.min(first + 4096)).await.unwrap();
            for (at, opening) in (first..).zip(openings) {
                places.entry(opening.unwrap().message).or_default().push(at);
            }
        }
        assert!(places.values().all(|places| places.len() == 1), "a message has two leaves");
        for (message, (_, leaf)) in &self.promised {
            assert_eq!(places.get(message), Some(&vec![leaf.index]), "a promise is broken");
            let proof = log.prove(leaf.index, &checkpoint).await.unwrap();
            assert_eq!(proof.verify_opening().unwrap().commitment().0, leaf.commitment);
        }
    }

    /// What the settlement makes of it: nothing twice, and nothing less than what was acknowledged.
    pub(crate) async fn settle(&self, publisher: &mut Publisher) -> String {
        let settled = publisher.settle(AT_ONCE).await;
        assert!(settled.settlement.misconduct.is_empty(), "{:?}", settled.settlement.misconduct);
        for (epoch, (signed, acknowledged)) in &self.sums {
            let of_epoch = settled.lines(self.crook.id).filter(|line| line.epoch == *epoch);
            let accepted: u64 = of_epoch.map(|line| line.accepted).sum();
            assert!((*acknowledged..=*signed).contains(&accepted), "{acknowledged} <= {accepted} <= {signed}");
        }
        let accepted = settled.accepted(self.crook.id);
        format!("{} promises, {} leaves, {accepted} bytes paid for", self.promised.len(), settled.settlement.tree_size)
    }
}

/// A submitter at work.
pub(crate) struct Submitting {
    task: JoinHandle<Submitter>,
    heard: mpsc::UnboundedReceiver<usize>,
    killed: CancellationToken,
}

impl Submitting {
    /// Waits for some further promises, and a moment more.
    pub(crate) async fn goes_on(&mut self, random: &mut StdRng) {
        // What was promised before does not count.
        while self.heard.try_recv().is_ok() {}
        for _ in 0..random.random_range(1..10) {
            within(PATIENCE, "a promise", self.heard.recv()).await.expect("the adapter lives");
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
    }

    /// Waits until no promise comes any more.
    pub(crate) async fn stands_still(&mut self) {
        loop {
            while self.heard.try_recv().is_ok() {}
            tokio::time::sleep(STILL).await;
            if self.heard.is_empty() {
                return;
            }
        }
    }

    /// The adapter is dead.
    pub(crate) async fn end(self) -> Submitter {
        self.killed.cancel();
        within(PATIENCE, "the submitter to end", self.task).await.unwrap()
    }
}

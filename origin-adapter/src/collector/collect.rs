//! The way of a submission into the log.

use super::{judge::judge, rate::Share};
use dashmap::DashMap;
use futures_util::{FutureExt, future::BoxFuture};
use sha2::{Digest as _, Sha256};
use std::sync::{
    Arc, Mutex, PoisonError, RwLock, Weak,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Semaphore;
use weir_ledger::{Submission, Submitter};
use weir_protocol::{
    RelayId,
    keys::KeyRing,
    statement::MessageHash,
    wire::{Outcome, Submit, Verdict},
};
use weir_relay::{
    clock::Clock,
    meter::{Collect, Collected},
    peer::Directory,
};

/// Batches that are verified at once.
const VERIFYING: usize = 4;
/// Relays whose share is remembered.
const MAX_RELAYS: usize = 32_768;
/// When the ledger fails, a relay comes again after so long, in milliseconds.
const AGAIN_MS: u64 = 2_000;

/// What the collector has done since it started.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct CollectorTotals {
    /// Messages that became leaves, or were there already.
    pub kept: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Submissions that were sent away for now.
    pub put_off: u64,
}

/// One relay as the collector knows it.
#[derive(Debug, Default)]
struct Known {
    share: Share,
    /// The last of its grants that is in the log.
    granted: Option<MessageHash>,
}

struct Inner {
    ring: Arc<RwLock<KeyRing>>,
    submitter: Submitter,
    directory: Weak<Directory>,
    clock: Clock,
    known: DashMap<RelayId, Arc<Mutex<Known>>>,
    verifying: Semaphore,
    kept: AtomicU64,
    refused: AtomicU64,
    put_off: AtomicU64,
}

/// Takes what relays submit into a ledger. Cheap to clone.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

impl Collector {
    /// A collector in front of a ledger's writer. `ring` holds the publisher's keys in force.
    pub fn new(ring: Arc<RwLock<KeyRing>>, submitter: Submitter, directory: &Arc<Directory>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            ring,
            submitter,
            directory: Arc::downgrade(directory),
            clock,
            known: DashMap::new(),
            verifying: Semaphore::new(VERIFYING),
            kept: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
        }))
    }

    /// Sums for status pages.
    pub fn totals(&self) -> CollectorTotals {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        CollectorTotals { kept: read(&self.0.kept), refused: read(&self.0.refused), put_off: read(&self.0.put_off) }
    }
}

impl Inner {
    fn known(&self, relay: RelayId) -> Arc<Mutex<Known>> {
        if self.known.len() >= MAX_RELAYS {
            self.known.retain(|_, known| Arc::strong_count(known) > 1);
        }
        self.known.entry(relay).or_default().clone()
    }

    fn later(&self, ms: u64) -> Collected {
        self.put_off.fetch_add(1, Ordering::Relaxed);
        Collected::Later(ms)
    }

    async fn collect(self: Arc<Self>, relay: RelayId, submit: Submit) -> Collected {
        let known = self.known(relay);
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = lock().share.take(submit.messages.len() as u64, self.clock.now());
        if let Err(wait) = taken {
            return self.later(wait);
        }
        // Its grant first: without it nothing that it delivered is worth anything.
        let grant = self.directory.upgrade().and_then(|directory| directory.grant_of(&relay));
        if let Some(grant) = grant {
            let hash = MessageHash(Sha256::digest(grant.bytes()).into());
            if lock().granted != Some(hash) {
                if self.submitter.submit(vec![Submission::grant(&grant)]).await.is_err() {
                    return self.later(AGAIN_MS);
                }
                lock().granted = Some(hash);
            }
        }
        let verdicts = {
            let Ok(_place) = self.verifying.acquire().await else { return self.later(AGAIN_MS) };
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
            let judging = tokio::task::spawn_blocking(move || judge(relay, &ring, &submit.messages));
            match judging.await {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    tracing::error!(%error, "a submission was not verified");
                    return self.later(AGAIN_MS);
                }
            }
        };
        self.keep(verdicts).await
    }

    async fn keep(&self, verdicts: Vec<Result<Submission, Verdict>>) -> Collected {
        let good: Vec<Submission> = verdicts.iter().filter_map(|verdict| verdict.as_ref().ok().cloned()).collect();
        let refused = verdicts.len() - good.len();
        let kept = good.len();
        let (mut placed, promise) = if good.is_empty() {
            (Vec::new().into_iter(), None)
        } else {
            match self.submitter.submit(good).await {
                Ok(acknowledged) => (acknowledged.placed.into_iter(), Some(acknowledged.promise.bytes().to_vec())),
                // The writer has told of it.
                Err(_) => return self.later(AGAIN_MS),
            }
        };
        self.kept.fetch_add(kept as u64, Ordering::Relaxed);
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
        let outcomes = verdicts.into_iter().map(|verdict| match verdict {
            Ok(_) => {
                Outcome { verdict: Verdict::Kept as u8, salt: placed.next().map(|placed| placed.opening.salt.0.into()) }
            }
            Err(verdict) => Outcome { verdict: verdict as u8, salt: None },
        });
        Collected::Judged { outcomes: outcomes.collect(), promise }
    }
}

impl Collect for Collector {
    fn collect(&self, relay: RelayId, submit: Submit) -> BoxFuture<'static, Collected> {
        self.0.clone().collect(relay, submit).boxed()
    }
}

//! A fill under way as those see it who might join it. Invariant: its stage only rises, so that whoever may wait for it
//! now may do so until it ends.

use super::served::Outcome;
use crate::{
    mesh::{LAST_STAGE, may_wait},
    object::Ended,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How far a fill has come. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress(Arc<Inner>);

struct Inner {
    stage: AtomicU8,
    /// Somebody waits for it; a background fill gives way as long as nobody does.
    awaited: AtomicBool,
    overtaken: CancellationToken,
}

impl Progress {
    pub(super) fn new(stage: u8, awaited: bool) -> Self {
        Self(Arc::new(Inner {
            stage: AtomicU8::new(stage),
            awaited: AtomicBool::new(awaited),
            overtaken: CancellationToken::new(),
        }))
    }

    pub(super) fn stage(&self) -> u8 {
        self.0.stage.load(Ordering::Acquire)
    }

    /// A plan made anew has this stage.
    pub(super) fn at_least(&self, stage: u8) {
        self.0.stage.fetch_max(stage, Ordering::AcqRel);
    }

    /// It asks somebody who waits for no relay: from now on it asks no owner any more.
    pub(super) fn asks_the_source(&self) {
        self.at_least(LAST_STAGE);
    }

    /// That one has begun to answer: also owners that have lost it may wait for this fill.
    pub(super) fn is_fed(&self) {
        self.at_least(LAST_STAGE + 1);
    }

    /// What it is for comes by itself.
    pub(super) fn overtake(&self) {
        self.0.overtaken.cancel();
    }

    pub(super) async fn overtaken(&self) {
        self.0.overtaken.cancelled().await;
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.0.awaited.load(Ordering::Acquire)
    }
}

/// A fill in the register.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) outcome: watch::Receiver<Outcome>,
    pub(super) progress: Progress,
}

impl Running {
    /// True when a request of this stage may wait for it.
    pub(super) fn admits(&self, hops: u8) -> bool {
        may_wait(self.progress.stage(), hops)
    }

    /// True when what it has begun to bring will not come to its end.
    pub(super) fn is_broken(&self) -> bool {
        match &*self.outcome.borrow() {
            Some(Ok(served)) => matches!(served.entry.body.ended(), Some(Ended::Failed(_))),
            _ => false,
        }
    }

    /// Somebody has joined.
    pub(super) fn join(&self) -> watch::Receiver<Outcome> {
        self.progress.0.awaited.store(true, Ordering::Release);
        self.outcome.clone()
    }
}

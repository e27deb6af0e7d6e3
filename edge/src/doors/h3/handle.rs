//! What a request task needs of its stream and the `h3` crate hides. Invariant: a budget never grows past its ceiling
//! nor below zero.

use bytes::Bytes;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes that may still be read.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    /// A budget of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Takes `bytes`, or says that so many are not left.
    pub(super) fn take(&self, bytes: u64) -> bool {
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    /// Adds `bytes`, up to `ceiling` together.
    pub(super) fn add(&self, bytes: u64, ceiling: u64) {
        let _ = self
            .0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_add(bytes).min(ceiling)));
    }
}

/// The chunk that is being sent, so that the stream can take it by reference count instead of by copy, and how urgent the
/// stream is.
#[derive(Clone, Default)]
pub(super) struct Outgoing(Arc<Mutex<(Option<Bytes>, Option<u8>)>>);

impl Outgoing {
    /// The next DATA frame's payload.
    pub(super) fn offer(&self, bytes: Bytes) {
        self.0.lock().expect("no panic holds the lock").0 = Some(bytes);
    }

    /// How urgent everything is that follows: 0, the most urgent, to 7.
    pub(super) fn prefer(&self, urgency: u8) {
        self.0.lock().expect("no panic holds the lock").1 = Some(urgency);
    }

    /// The urgency told last, once.
    pub(super) fn take_urgency(&self) -> Option<u8> {
        self.0.lock().expect("no panic holds the lock").1.take()
    }

    /// The payload offered last, once.
    pub(super) fn take(&self) -> Option<Bytes> {
        self.0.lock().expect("no panic holds the lock").0.take()
    }
}

/// What the `h3` crate hides of a request stream.
pub(super) struct StreamHandle {
    /// Completes when the client stops the stream, has all of it, or is gone.
    pub(super) stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Where body chunks are offered.
    pub(super) outgoing: Outgoing,
    /// What the stream may still bring.
    pub(super) budget: Budget,
}

impl StreamHandle {
    /// Lets the stream bring `bytes` more.
    pub(super) fn allow(&self, bytes: u64) {
        self.budget.add(bytes, u64::MAX);
    }
}

/// The handle of the stream that was accepted last.
#[derive(Clone, Default)]
pub(super) struct Handles(Arc<Mutex<Option<StreamHandle>>>);

impl Handles {
    /// Takes the handle that belongs to the stream just accepted.
    pub(super) fn take(&self) -> Option<StreamHandle> {
        self.0.lock().expect("no panic holds the lock").take()
    }

    /// Leaves the handle of a stream that is being accepted.
    pub(super) fn put(&self, handle: StreamHandle) {
        *self.0.lock().expect("no panic holds the lock") = Some(handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_whole_or_not_at_all() {
        let budget = Budget::new(10);
        assert!(budget.take(7));
        assert!(!budget.take(4));
        assert!(budget.take(3));
        budget.add(100, 20);
        assert!(!budget.take(21));
        assert!(budget.take(20));
        budget.add(u64::MAX, u64::MAX);
        budget.add(u64::MAX, u64::MAX);
        assert!(budget.take(u64::MAX));
    }
}

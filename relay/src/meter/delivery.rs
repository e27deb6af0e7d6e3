//! The guard a body carries on its way out. Invariant: each guard settles exactly once, at completion or when dropped.

use std::sync::Arc;

/// What became of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Body bytes handed to the transport.
    pub handed: u64,
    /// Body bytes the receiver acknowledged, where the transport can see that.
    pub acked: Option<u64>,
    /// True when the whole body was handed over; false when the receiver left or the body failed.
    pub completed: bool,
}

/// Where outcomes are booked. Implementations are called on the hot path and must not block.
pub trait Account: Send + Sync + 'static {
    /// Books one finished delivery. Called exactly once for each guard.
    fn settle(&self, outcome: Outcome);
}

/// Counts one body on its way out. The per-chunk work is an addition; the account is touched once, at the end.
pub struct Delivery {
    account: Option<Arc<dyn Account>>,
    handed: u64,
    acked: Option<u64>,
}

impl Delivery {
    /// A guard that books into `account`.
    pub fn new(account: Arc<dyn Account>) -> Self {
        Self { account: Some(account), handed: 0, acked: None }
    }

    /// A guard for bytes that are nobody's delivery: error pages, admin answers.
    pub fn unmetered() -> Self {
        Self { account: None, handed: 0, acked: None }
    }

    /// `bytes` more were handed to the transport.
    pub fn handed(&mut self, bytes: u64) {
        self.handed += bytes;
    }

    /// The receiver has acknowledged `bytes` so far, cumulatively.
    pub fn acked(&mut self, bytes: u64) {
        self.acked = Some(bytes);
    }

    /// The whole body was handed over. Later calls do nothing.
    pub fn complete(&mut self) {
        self.settle(true);
    }

    fn settle(&mut self, completed: bool) {
        if let Some(account) = self.account.take() {
            account.settle(Outcome { handed: self.handed, acked: self.acked, completed });
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Book(Mutex<Vec<Outcome>>);
    impl Account for Book {
        fn settle(&self, outcome: Outcome) {
            self.0.lock().expect("no panic holds the lock").push(outcome);
        }
    }

    #[test]
    fn a_guard_settles_once_and_a_dropped_one_is_aborted() {
        let book = Arc::new(Book::default());
        let mut whole = Delivery::new(book.clone());
        whole.handed(3);
        whole.complete();
        drop(whole);
        let mut torn = Delivery::new(book.clone());
        torn.handed(2);
        torn.acked(1);
        drop(torn);
        let seen = book.0.lock().expect("no panic holds the lock").clone();
        assert_eq!(
            seen,
            [
                Outcome { handed: 3, acked: None, completed: true },
                Outcome { handed: 2, acked: Some(1), completed: false }
            ]
        );
    }
}

//! A resource of which a live playlist lists byte ranges as parts, while it is still being made. Invariant: what may leave
//! only grows, and it grows by whole parts.

use tokio::sync::watch;

/// How far its parts have been listed.
pub struct Growth {
    released: watch::Sender<u64>,
}

impl Growth {
    pub(super) fn new(released: u64) -> Self {
        Self { released: watch::Sender::new(released) }
    }

    /// A part that ends before `end` is listed.
    pub(super) fn release(&self, end: u64) {
        self.released.send_if_modified(|released| {
            let more = end > *released;
            *released = end.max(*released);
            more
        });
    }

    /// Bytes that may leave, and news of more; `u64::MAX` when no more parts will come.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }

    /// True when it is an ordinary resource by now.
    pub fn is_whole(&self) -> bool {
        *self.released.borrow() == u64::MAX
    }
}

//! The publisher's end of a submission, as the adapter's control streams see it.

use futures_util::future::BoxFuture;
use weir_protocol::{
    RelayId,
    wire::{Outcome, Submit},
};

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collected {
    /// Each message has an outcome; the promise is for what is kept.
    Judged {
        /// In the order of the messages.
        outcomes: Vec<Outcome>,
        /// The signed promise's bytes, if anything is kept.
        promise: Option<Vec<u8>>,
    },
    /// Nothing was looked at: it is to be submitted again after so many milliseconds.
    Later(u64),
}

/// Takes what relays submit.
pub trait Collect: Send + Sync + 'static {
    /// Verifies and keeps what `relay`, whose key the connection has proven, submits. Durable when it is ready. A connection
    /// has a few of these under way at once and is read no further meanwhile: that is the back-pressure.
    fn collect(&self, relay: RelayId, submit: Submit) -> BoxFuture<'static, Collected>;
}

//! A publisher's word that messages will be in its log: what a submitter holds until it has the inclusion proofs.

use minicbor::{Decode, Encode};

use crate::ids::PublisherId;
use crate::statement::error::StatementError;
use crate::statement::signed::{PublisherSigned, Statement};
use crate::time::UnixMillis;

/// A message is in a published checkpoint at most this long after it was received, in milliseconds.
pub const INCLUSION_WITHIN_MS: u64 = 60_000;

/// Most leaves in one promise.
pub const MAX_PROMISED: usize = 256;

/// A leaf that is promised.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PromisedLeaf {
    /// The leaf's number in the log.
    #[n(0)]
    pub index: u64,
    /// The leaf's commitment; the submitter has the salt that opens it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub commitment: [u8; 32],
    /// When the message was received, by the publisher's clock; part of the commitment.
    #[n(2)]
    pub received: UnixMillis,
}

/// The promise. A checkpoint made after `include_by` without one of the leaves, and this message, are proof of a broken
/// promise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InclusionPromise {
    /// Who promises.
    #[n(0)]
    pub publisher: PublisherId,
    /// What one submission brought, in its order: 1 to [`MAX_PROMISED`].
    #[n(1)]
    pub leaves: Vec<PromisedLeaf>,
    /// When a published checkpoint will cover them.
    #[n(2)]
    pub include_by: UnixMillis,
    /// When the promise was signed.
    #[n(3)]
    pub time: UnixMillis,
}

impl Statement for InclusionPromise {
    const CONTEXT: &'static str = "weir/promise/1";
    const MAX: usize = 20 * 1024;

    fn check(&self) -> Result<(), StatementError> {
        if !(1..=MAX_PROMISED).contains(&self.leaves.len()) {
            return Err(StatementError::Unfit("leaves"));
        }
        Ok(())
    }
}

impl PublisherSigned for InclusionPromise {
    fn publisher(&self) -> PublisherId {
        self.publisher
    }

    fn signed_at(&self) -> UnixMillis {
        self.time
    }
}

//! What a relay received from another: signed by the receiver after the bytes verified.
//!
//! Invariant: every counter is cumulative within (publisher, sender, receiver, epoch), so only the latest receipt
//! counts.

use minicbor::{Decode, Encode};

use crate::epoch::Epoch;
use crate::ids::{Generation, PublisherId, RelayId, ResourceHash};
use crate::statement::cumulative::Cumulative;
use crate::statement::error::StatementError;
use crate::statement::kind::Kind;
use crate::statement::signed::{SelfSigned, Statement};
use crate::time::UnixMillis;

/// BLAKE3 context of the running digest.
const RECEIVED_CONTEXT: &str = "weir/received/1";

/// What a receiver states about a sender.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PeerReceipt {
    /// Whose content it was.
    #[n(0)]
    pub publisher: PublisherId,
    /// Who sent.
    #[n(1)]
    pub sender: RelayId,
    /// Who received, and signs.
    #[n(2)]
    pub receiver: RelayId,
    /// When, in the publisher's epochs.
    #[n(3)]
    pub epoch: Epoch,
    /// Number of this receipt, from 1; each new one of the same four fields above is larger.
    #[n(4)]
    pub counter: u64,
    /// Verified body bytes received so far in this epoch.
    #[n(5)]
    pub bytes: u64,
    /// Those of `bytes` that belonged to no object which the receiver had already received from anybody in this epoch:
    /// what a settlement pays for.
    #[n(6)]
    pub unique_bytes: u64,
    /// Objects received whole so far in this epoch.
    #[n(7)]
    pub objects: u64,
    /// [`ReceivedDigest`] over what was received, in order.
    #[n(8)]
    pub received: ReceivedDigest,
    /// When it was signed.
    #[n(9)]
    pub time: UnixMillis,
}

impl Statement for PeerReceipt {
    const CONTEXT: &'static str = "weir/peer-receipt/1";
    const MAX: usize = 512;

    fn check(&self) -> Result<(), StatementError> {
        if self.sender == self.receiver {
            return Err(StatementError::Unfit("sender"));
        }
        if self.counter == 0 {
            return Err(StatementError::Unfit("counter"));
        }
        if self.unique_bytes > self.bytes {
            return Err(StatementError::Unfit("unique bytes"));
        }
        Ok(())
    }
}

impl SelfSigned for PeerReceipt {
    fn signer(&self) -> Option<[u8; 32]> {
        self.receiver.public_bytes()
    }
}

impl Cumulative for PeerReceipt {
    type Series = (PublisherId, RelayId, RelayId, Epoch);
    const KIND: Kind = Kind::PeerReceipt;

    fn numbering(&self) -> Self::Series {
        self.series()
    }

    fn series(&self) -> Self::Series {
        (self.publisher, self.sender, self.receiver, self.epoch)
    }

    fn counter(&self) -> u64 {
        self.counter
    }

    fn falls_behind(&self, earlier: &Self) -> bool {
        self.bytes < earlier.bytes || self.unique_bytes < earlier.unique_bytes || self.objects < earlier.objects
    }
}

/// A running hash over every range of bytes received in an epoch from one sender: both sides can compute it, and a
/// receipt with it says *what* was received, not only how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct ReceivedDigest(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl ReceivedDigest {
    /// The digest after `length` bytes from `offset` of this body were received: BLAKE3 `derive_key` with the context
    /// `weir/received/1` over the digest so far, the resource hash, and generation, offset and length as 8 big-endian
    /// bytes each. It begins as 32 zero bytes.
    #[must_use]
    pub fn and(self, resource: &ResourceHash, generation: Generation, offset: u64, length: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(RECEIVED_CONTEXT);
        hasher.update(&self.0).update(&resource.0);
        for number in [generation.0, offset, length] {
            hasher.update(&number.to_be_bytes());
        }
        Self(hasher.finalize().into())
    }
}

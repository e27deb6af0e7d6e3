//! Which log is a publisher's: ties the log's checkpoint key to the publisher's signing keys.

use minicbor::{Decode, Encode};

use crate::epoch::{MAX_EPOCH_MS, MIN_EPOCH_MS};
use crate::ids::PublisherId;
use crate::statement::error::StatementError;
use crate::statement::signed::{PublisherSigned, Statement};
use crate::time::UnixMillis;

/// Longest origin line of a log, in bytes.
pub const MAX_ORIGIN: usize = 256;

/// The identity of a publisher's log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogIdentity {
    /// Whose log it is.
    #[n(0)]
    pub publisher: PublisherId,
    /// Origin line of the log's checkpoints (C2SP tlog-checkpoint): visible ASCII without `+`, at most [`MAX_ORIGIN`].
    #[n(1)]
    pub origin: String,
    /// The Ed25519 public key that signs the checkpoints.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// Length of the publisher's epochs in milliseconds.
    #[n(3)]
    pub epoch_ms: u64,
    /// When it was signed.
    #[n(4)]
    pub time: UnixMillis,
}

impl Statement for LogIdentity {
    const CONTEXT: &'static str = "weir/log/1";
    const MAX: usize = 1024;

    fn check(&self) -> Result<(), StatementError> {
        let visible = self.origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
        if self.origin.is_empty() || self.origin.len() > MAX_ORIGIN || !visible {
            return Err(StatementError::Unfit("origin"));
        }
        if !(MIN_EPOCH_MS..=MAX_EPOCH_MS).contains(&self.epoch_ms) {
            return Err(StatementError::Unfit("epoch length"));
        }
        Ok(())
    }
}

impl PublisherSigned for LogIdentity {
    fn publisher(&self) -> PublisherId {
        self.publisher
    }

    fn signed_at(&self) -> UnixMillis {
        self.time
    }
}

//! What a publisher sees of a session by itself: an upper bound on what a relay can have delivered.
//!
//! Invariant: it is the publisher's own word and only ever lowers a claim, so it is signed, logged with everything else,
//! and shown beside the line that it reduced.

use minicbor::{Decode, Encode};

use crate::epoch::Epoch;
use crate::ids::{PublisherId, RelayId, TokenHash};
use crate::statement::error::StatementError;
use crate::statement::signed::{PublisherSigned, Statement};
use crate::time::UnixMillis;

/// What a publisher observed about one session at one relay in one epoch. The highest counter counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Observation {
    /// Who observed, and signs.
    #[n(0)]
    pub publisher: PublisherId,
    /// When, in the publisher's epochs.
    #[n(1)]
    pub epoch: Epoch,
    /// Which relay served the session.
    #[n(2)]
    pub relay: RelayId,
    /// The session's token.
    #[n(3)]
    pub token: TokenHash,
    /// Number of this observation of the same four fields above, from 1.
    #[n(4)]
    pub counter: u64,
    /// Bytes of the segments that playlists served to the session listed, at most as fast as the top bitrate plays.
    #[n(5)]
    pub listed_bytes: Option<u64>,
    /// Bytes that steering polls, playlist and key requests and the player's own CMCD reports account for: reported
    /// throughput times time.
    #[n(6)]
    pub reported_bytes: Option<u64>,
    /// Bytes that an imported log of the pulling CDN names, for sessions of a service.
    #[n(7)]
    pub imported_bytes: Option<u64>,
    /// When it was signed.
    #[n(8)]
    pub time: UnixMillis,
}

impl Statement for Observation {
    const CONTEXT: &'static str = "weir/observation/1";
    const MAX: usize = 512;

    fn check(&self) -> Result<(), StatementError> {
        if self.counter == 0 { Err(StatementError::Unfit("counter")) } else { Ok(()) }
    }
}

impl PublisherSigned for Observation {
    fn publisher(&self) -> PublisherId {
        self.publisher
    }

    fn signed_at(&self) -> UnixMillis {
        self.time
    }
}

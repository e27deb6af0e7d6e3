//! What an edge says it delivered in one session: signed by the edge.
//!
//! Invariant: counters are cumulative within (publisher, edge, epoch, class, token, path). Claims of an edge are numbered
//! through all sessions of an epoch and each names its predecessor's hash, so neither side can leave one out of the
//! middle or add one afterwards without contradicting a signature.

use minicbor::{Decode, Encode};

use crate::epoch::Epoch;
use crate::ids::{PublisherId, RelayId, TokenHash};
use crate::resource::CanonicalPath;
use crate::statement::cumulative::Cumulative;
use crate::statement::error::StatementError;
use crate::statement::kind::Kind;
use crate::statement::signed::{MessageHash, SelfSigned, Statement};
use crate::time::UnixMillis;

/// Longest path in a claim, in bytes.
pub const MAX_CLAIM_PATH: usize = 512;

/// Who fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ClaimClass {
    /// A viewer with a session token.
    #[n(0)]
    Viewer,
    /// Another CDN that pulls with a service token: a class of its own, since its evidence are that CDN's logs and
    /// probes instead of what a viewer does.
    #[n(1)]
    Service,
}

/// The version of HTTP that most of the bytes went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum HttpVersion {
    /// HTTP/1.0 and HTTP/1.1.
    #[n(1)]
    Http1,
    /// HTTP/2.
    #[n(2)]
    Http2,
    /// HTTP/3.
    #[n(3)]
    Http3,
}

/// What an edge states about one session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EdgeClaim {
    /// Whose content it was.
    #[n(0)]
    pub publisher: PublisherId,
    /// Who delivered, and signs.
    #[n(1)]
    pub edge: RelayId,
    /// When, in the publisher's epochs.
    #[n(2)]
    pub epoch: Epoch,
    /// Viewer or service.
    #[n(3)]
    pub class: ClaimClass,
    /// The session's token.
    #[n(4)]
    pub token: TokenHash,
    /// Canonical path prefix that everything counted here lies below: at most [`MAX_CLAIM_PATH`] bytes, within the
    /// token's prefix. Creators' shares go by it.
    #[n(5)]
    pub path: String,
    /// Number of this claim among the edge's claims to this publisher in this epoch, from 1 without gaps.
    #[n(6)]
    pub counter: u64,
    /// Body bytes of completed responses.
    #[n(7)]
    pub bytes: u64,
    /// Completed responses.
    #[n(8)]
    pub objects: u64,
    /// Body bytes of aborted responses: handed to the transport minus those not acknowledged.
    #[n(9)]
    pub aborted_bytes: u64,
    /// First response of the session in this epoch.
    #[n(10)]
    pub first: UnixMillis,
    /// Latest response of the session in this epoch.
    #[n(11)]
    pub last: UnixMillis,
    /// Version of HTTP.
    #[n(12)]
    pub http: HttpVersion,
    /// Hash of the edge's previous claim to this publisher; zeros for the first one ever.
    #[cbor(n(13), with = "minicbor::bytes")]
    pub previous: [u8; 32],
}

impl EdgeClaim {
    /// All bytes it claims.
    #[must_use]
    pub fn claimed(&self) -> u64 {
        self.bytes.saturating_add(self.aborted_bytes)
    }

    /// Whether this claim follows the one with that hash.
    #[must_use]
    pub fn follows(&self, previous: MessageHash) -> bool {
        self.previous == previous.0
    }
}

impl Statement for EdgeClaim {
    const CONTEXT: &'static str = "weir/edge-claim/1";
    const MAX: usize = 1024;

    fn check(&self) -> Result<(), StatementError> {
        let path = self.path.len() <= MAX_CLAIM_PATH
            && CanonicalPath::parse(&self.path).is_ok_and(|path| path.as_str() == self.path);
        if !path {
            return Err(StatementError::Unfit("path"));
        }
        if self.counter == 0 {
            return Err(StatementError::Unfit("counter"));
        }
        if self.first > self.last {
            return Err(StatementError::Unfit("first"));
        }
        Ok(())
    }
}

impl SelfSigned for EdgeClaim {
    fn signer(&self) -> Option<[u8; 32]> {
        self.edge.public_bytes()
    }
}

impl Cumulative for EdgeClaim {
    type Series = (PublisherId, RelayId, Epoch, Option<(ClaimClass, TokenHash, String)>);
    const KIND: Kind = Kind::EdgeClaim;

    fn numbering(&self) -> Self::Series {
        (self.publisher, self.edge, self.epoch, None)
    }

    fn series(&self) -> Self::Series {
        (self.publisher, self.edge, self.epoch, Some((self.class, self.token, self.path.clone())))
    }

    fn counter(&self) -> u64 {
        self.counter
    }

    fn falls_behind(&self, earlier: &Self) -> bool {
        self.bytes < earlier.bytes
            || self.objects < earlier.objects
            || self.aborted_bytes < earlier.aborted_bytes
            || self.last < earlier.last
    }
}

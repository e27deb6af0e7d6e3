//! Ids, keys, signed records, tokens and wire messages of Weir.
//!
//! What is paid for is stated in `statement`: receipts, claims and what else becomes a leaf of a publisher's ledger.
//!
//! Nothing here performs I/O, reads a clock or draws randomness: bytes, times and keys arrive as arguments, so the same
//! code runs in a node, in a property test and in a simulation. Everything that came from a network has a type whose
//! name starts with `Unverified`; the only way from there to a `Signed…` type is a `verify` that checks the publisher's
//! signature. `docs/protocol.md` is the specification for implementers in other languages, and `tests/vectors` holds
//! its test vectors.

pub mod cbor;
pub mod cose;
pub mod epoch;
pub mod freshness;
pub mod gossip;
pub mod grant;
pub mod growing;
pub mod ids;
pub mod keys;
pub mod part;
pub mod reach;
pub mod record;
pub mod resource;
pub mod statement;
pub mod takedown;
pub mod time;
pub mod token;
pub mod vary;
pub mod wellknown;
pub mod wire;

pub use epoch::Epoch;
pub use freshness::{Freshness, Storage, Validators};
pub use gossip::{Announcement, RelayStatus, Topic, TopicKind};
pub use grant::{Grant, SignedGrant, UnverifiedGrant};
pub use growing::{
    Chunk, HeadBody, InterimBody, SignedChunk, SignedHead, SignedInterim, UnverifiedChunk, UnverifiedHead,
    UnverifiedInterim,
};
pub use ids::{Generation, KeyId, PolicyHash, PublisherId, RelayId, ResourceHash, TokenHash};
pub use keys::{EvidenceKey, KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList};
pub use part::{Part, Place};
pub use reach::{Reach, ReachClass};
pub use record::{HeaderBlock, RecordBody, RecordFields, SignedRecord, UnverifiedRecord};
pub use resource::{CanonicalPath, ResourceKey, RetainedQuery, VariantKey};
pub use statement::{
    EdgeClaim, InclusionPromise, LogIdentity, Observation, PayeeChange, PeerReceipt, ProbeCommitment, ProbeReveal,
    Unverified, Verified, ViewerReceipt,
};
pub use takedown::{SignedTakedown, Takedown, Target, UnverifiedTakedown};
pub use time::UnixMillis;
pub use vary::Vary;

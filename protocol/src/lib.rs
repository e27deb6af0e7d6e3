//! Ids, keys, signed records, tokens and wire messages of Weir.
//!
//! Nothing here performs I/O, reads a clock or draws randomness: bytes, times and keys arrive as arguments, so the same
//! code runs in a node, in a property test and in a simulation. Everything that came from a network has a type whose
//! name starts with `Unverified`; the only way from there to a `Signed…` type is a `verify` that checks the publisher's
//! signature. `docs/protocol.md` is the specification for implementers in other languages, and `tests/vectors` holds
//! its test vectors.

pub mod cbor;
pub mod cose;
pub mod freshness;
pub mod growing;
pub mod ids;
pub mod keys;
pub mod record;
pub mod resource;
pub mod time;
pub mod token;
pub mod wellknown;
pub mod wire;

pub use freshness::{Freshness, Storage, Validators};
pub use growing::{Chunk, HeadBody, SignedChunk, SignedHead, UnverifiedChunk, UnverifiedHead};
pub use ids::{Generation, KeyId, PublisherId, RelayId, ResourceHash};
pub use keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList};
pub use record::{HeaderBlock, RecordBody, RecordFields, SignedRecord, UnverifiedRecord};
pub use resource::{CanonicalPath, ResourceKey, RetainedQuery, VariantKey};
pub use time::UnixMillis;

//! Why a record is refused.
//!
//! Invariant: an error says which field or member is at fault, never what it holds.

use crate::cbor::CborError;
use crate::ids::KeyId;
use crate::keys::KeyError;
use crate::resource::ResourceKey;

/// Why a record is refused, at signing or at verifying.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The wire form is no record.
    #[error("record: {0}")]
    Wire(#[from] CborError),
    /// A field value is not what RFC 9421, 9530 or 9651 and this protocol prescribe.
    #[error("field `{0}` of the record is malformed")]
    BadField(&'static str),
    /// A member of `weir-record` or `repr-digest` is missing.
    #[error("the record lacks `{0}`")]
    Missing(&'static str),
    /// A member has the wrong type or value.
    #[error("`{0}` of the record is malformed")]
    BadMember(&'static str),
    /// A record of another version.
    #[error("unknown record version")]
    Version,
    /// A number outside its range; integers have at most 15 decimal digits.
    #[error("`{0}` of the record is out of range")]
    OutOfRange(&'static str),
    /// A text that is not printable ASCII within its bound, so that not every hop would carry it unchanged.
    #[error("`{0}` is not printable ASCII or too long")]
    UnfitText(&'static str),
    /// The record is another resource's.
    #[error("the record belongs to {0}")]
    WrongResource(Box<ResourceKey>),
    /// The header block is not the one that was signed.
    #[error("the header block does not match the record")]
    WrongHeaders,
    /// The publisher's key list does not let this key sign at that time.
    #[error("key {0} may not sign this record")]
    UnknownKey(KeyId),
    /// The key list itself has expired or belongs to another publisher.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Signed further ahead of our clock than [`CLOCK_SKEW_MS`](crate::time::CLOCK_SKEW_MS).
    #[error("the record was signed in the future")]
    FromTheFuture,
    /// The signature does not verify.
    #[error("the record's signature does not verify")]
    BadSignature,
}

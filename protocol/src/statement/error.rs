//! Why a statement is refused.

use crate::cbor::CborError;
use crate::cose::CoseError;
use crate::ids::{KeyId, PublisherId};

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not a signed message, or its signature does not verify.
    #[error("{0}")]
    Cose(#[from] CoseError),
    /// The signed payload is no such statement.
    #[error("statement: {0}")]
    Payload(#[from] CborError),
    /// A field outside its bounds.
    #[error("`{0}` of the statement is out of bounds")]
    Unfit(&'static str),
    /// The key that signed, or is about to sign, is not the one that the statement names.
    #[error("the statement is not by key {0}")]
    WrongKey(KeyId),
    /// The key list belongs to another publisher.
    #[error("the statement is by {0}")]
    WrongPublisher(PublisherId),
    /// The publisher's key list does not let this key sign at the statement's time.
    #[error("key {0} may not sign at the time of the statement")]
    UnknownKey(KeyId),
    /// Nobody but its own maker can verify this kind of input: it has no signature.
    #[error("this kind of input is not verified by a signature of its own")]
    NotSelfSigned,
}

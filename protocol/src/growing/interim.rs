//! What an origin says before its answer: 102 (Processing), 103 (Early Hints) and their like, signed by the adapter
//! like a head, so that no relay can put words into a publisher's mouth.
//!
//! Invariant: a [`SignedInterim`] exists only where its signature was made or verified here, for the resource that was
//! asked for.

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::cose::{self, CoseError, UnverifiedSign1};
use crate::ids::{KeyId, ResourceHash};
use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::record::HeaderBlock;
use crate::time::{CLOCK_SKEW_MS, UnixMillis};

/// COSE context of an interim response.
pub const INTERIM_CONTEXT: &str = "weir/interim/1";
/// Longest COSE message of an interim response, in bytes.
pub const MAX_INTERIM: usize = 20 * 1024;

/// Why an interim response is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterimError {
    /// Not an interim response, or its signature does not verify.
    #[error("interim response: {0}")]
    Cose(#[from] CoseError),
    /// The signed payload is none.
    #[error("interim response body: {0}")]
    Body(#[from] CborError),
    /// Not a status from 102 to 199: 100 and 101 belong to one connection.
    #[error("{0} is no interim status that travels")]
    Status(u16),
    /// It was said about another resource.
    #[error("the interim response belongs to resource {0}")]
    WrongResource(ResourceHash),
    /// It was said long ago, or ahead of our clock.
    #[error("the interim response is of another time")]
    WrongTime,
    /// The publisher's key list does not let this key sign now.
    #[error("key {0} may not sign this interim response")]
    UnknownKey(KeyId),
    /// The key list itself has expired.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// An interim response.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InterimBody {
    /// Hash of the resource key that was asked for.
    #[n(0)]
    pub resource: ResourceHash,
    /// Status, 102 to 199.
    #[n(1)]
    pub status: u16,
    /// When the adapter received it: it counts only as long as two clocks may differ.
    #[n(2)]
    pub at: UnixMillis,
    /// Its end-to-end fields.
    #[n(3)]
    pub headers: HeaderBlock,
}

impl InterimBody {
    fn check(&self) -> Result<(), InterimError> {
        if (102..=199).contains(&self.status) { Ok(()) } else { Err(InterimError::Status(self.status)) }
    }
}

/// An interim response whose signature was made or verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInterim {
    body: InterimBody,
    bytes: Vec<u8>,
}

impl SignedInterim {
    /// Signs an interim response.
    ///
    /// # Errors
    /// [`InterimError::Status`], or [`InterimError::Body`] when it is longer than [`MAX_INTERIM`].
    pub fn sign(body: InterimBody, key: &SigningKey) -> Result<Self, InterimError> {
        body.check()?;
        let bytes = cose::sign(key.dalek(), INTERIM_CONTEXT, &cbor::to_vec(&body));
        cbor::check_length(&bytes, MAX_INTERIM)?;
        Ok(Self { body, bytes })
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> &InterimBody {
        &self.body
    }

    /// The form that travels between relays.
    #[must_use]
    pub fn to_wire(&self) -> UnverifiedInterim {
        UnverifiedInterim(self.bytes.clone())
    }
}

/// An interim response as received: a COSE message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedInterim(pub Vec<u8>);

impl UnverifiedInterim {
    /// Verifies that the publisher said this about `resource` just now.
    ///
    /// # Errors
    /// [`InterimError`].
    pub fn verify(
        self,
        ring: &KeyRing,
        resource: &ResourceHash,
        now: UnixMillis,
    ) -> Result<SignedInterim, InterimError> {
        cbor::check_length(&self.0, MAX_INTERIM)?;
        ring.check_expiry(now)?;
        let message = UnverifiedSign1::parse(&self.0)?;
        let key = ring.key_around(&message.kid, now).ok_or(InterimError::UnknownKey(message.kid))?;
        let body: InterimBody = cbor::decode_canonical(message.verify(key, INTERIM_CONTEXT)?)?;
        body.check()?;
        if body.resource != *resource {
            return Err(InterimError::WrongResource(body.resource));
        }
        if now.since(body.at) > CLOCK_SKEW_MS || body.at.since(now) > CLOCK_SKEW_MS {
            return Err(InterimError::WrongTime);
        }
        Ok(SignedInterim { body, bytes: self.0 })
    }
}

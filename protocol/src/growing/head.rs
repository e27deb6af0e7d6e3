//! The signed head of a growing object: its record without length, digest and root.
//!
//! Invariant: a [`SignedHead`] exists only where its signature was made or verified here, for the resource that was
//! asked for, and its header block is the signed one.

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::cose::{self, CoseError, UnverifiedSign1};
use crate::freshness::{Freshness, Validators};
use crate::ids::{Generation, KeyId};
use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::record::{HeaderBlock, unfit_type};
use crate::resource::ResourceKey;
use crate::time::UnixMillis;

/// COSE context of a head.
pub const HEAD_CONTEXT: &str = "weir/head/1";
/// Longest wire form of a head with its header block, in bytes.
pub const MAX_HEAD: usize = 48 * 1024;

/// Why a head is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not a head, or its signature does not verify.
    #[error("head: {0}")]
    Cose(#[from] CoseError),
    /// The wire form or the signed payload is no head.
    #[error("head body: {0}")]
    Body(#[from] CborError),
    /// A text or number that a record could not carry either.
    #[error("`{0}` of the head is unfit")]
    Unfit(&'static str),
    /// The head is another resource's.
    #[error("the head belongs to {0}")]
    WrongResource(Box<ResourceKey>),
    /// The header block is not the one that was signed.
    #[error("the header block does not match the head")]
    WrongHeaders,
    /// The publisher's key list does not let this key sign now.
    #[error("key {0} may not sign this head")]
    UnknownKey(KeyId),
    /// The key list itself has expired or belongs to another publisher.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// What is known of a response before its body is whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HeadBody {
    /// What was asked for.
    #[n(0)]
    pub key: ResourceKey,
    /// HTTP status, 200 to 599.
    #[n(1)]
    pub status: u16,
    /// `Content-Type`.
    #[n(2)]
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    #[n(3)]
    pub content_encoding: Option<String>,
    /// Length of the body in bytes, where the origin announced it.
    #[n(4)]
    pub length: Option<u64>,
    /// How long the response may be used.
    #[n(5)]
    pub freshness: Freshness,
    /// How to ask whether it changed.
    #[n(6)]
    pub validators: Validators,
    /// Which body this is; chunks and the final record carry the same.
    #[n(7)]
    pub generation: Generation,
    /// SHA-256 of the header block; signing sets it.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub headers_sha256: [u8; 32],
}

impl HeadBody {
    fn check(&self) -> Result<(), HeadError> {
        if !(200..=599).contains(&self.status) {
            return Err(HeadError::Unfit("status"));
        }
        if self.generation > Generation::MAX {
            return Err(HeadError::Unfit("generation"));
        }
        let text = unfit_type(self.content_type.as_deref(), self.content_encoding.as_deref());
        text.or_else(|| self.validators.unfit()).map_or(Ok(()), |field| Err(HeadError::Unfit(field)))
    }
}

/// A head whose signature was made or verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    body: HeadBody,
    headers: HeaderBlock,
    bytes: Vec<u8>,
}

impl SignedHead {
    /// Signs what is known so far. `body.headers_sha256` is set from `headers`.
    ///
    /// # Errors
    /// [`HeadError::Unfit`].
    pub fn sign(mut body: HeadBody, headers: HeaderBlock, key: &SigningKey) -> Result<Self, HeadError> {
        body.headers_sha256 = headers.sha256();
        body.check()?;
        let bytes = cose::sign(key.dalek(), HEAD_CONTEXT, &cbor::to_vec(&body));
        Ok(Self { body, headers, bytes })
    }

    /// What the head states.
    #[must_use]
    pub fn body(&self) -> &HeadBody {
        &self.body
    }

    /// The origin's end-to-end headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderBlock {
        &self.headers
    }

    /// The form that travels between relays.
    #[must_use]
    pub fn to_wire(&self) -> UnverifiedHead {
        UnverifiedHead { cose: self.bytes.clone(), headers: self.headers.clone() }
    }
}

/// A head as received.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnverifiedHead {
    /// The COSE message.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub cose: Vec<u8>,
    /// The header block, bound by its hash inside.
    #[n(1)]
    pub headers: HeaderBlock,
}

impl UnverifiedHead {
    /// CBOR wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the CBOR wire form.
    ///
    /// # Errors
    /// [`HeadError::Body`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        cbor::check_length(bytes, MAX_HEAD)?;
        Ok(cbor::decode_exact(bytes)?)
    }

    /// Verifies the head as one of `expected`.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn verify(self, ring: &KeyRing, expected: &ResourceKey, now: UnixMillis) -> Result<SignedHead, HeadError> {
        if ring.publisher() != expected.publisher {
            return Err(KeyError::WrongPublisher(ring.publisher()).into());
        }
        cbor::check_length(&self.cose, MAX_HEAD)?;
        ring.check_expiry(now)?;
        let message = UnverifiedSign1::parse(&self.cose)?;
        let key = ring.key_around(&message.kid, now).ok_or(HeadError::UnknownKey(message.kid))?;
        let body: HeadBody = cbor::decode_canonical(message.verify(key, HEAD_CONTEXT)?)?;
        body.check()?;
        if body.key != *expected {
            return Err(HeadError::WrongResource(Box::new(body.key)));
        }
        let Self { cose, headers } = self;
        if body.headers_sha256 != headers.sha256() {
            return Err(HeadError::WrongHeaders);
        }
        Ok(SignedHead { body, headers, bytes: cose })
    }
}

//! Chunks of a growing object.
//!
//! Invariant: a [`SignedChunk`] states resource, generation, offset and hash of a payload that was at hand when it was
//! signed or verified.

use std::time::Duration;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::cose::{self, CoseError, UnverifiedSign1};
use crate::ids::{Generation, KeyId, ResourceHash};
use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::time::UnixMillis;

/// COSE context of a chunk.
pub const CHUNK_CONTEXT: &str = "weir/chunk/1";
/// Longest payload of a chunk, in bytes.
pub const MAX_CHUNK: usize = 256 * 1024;
/// Longest payload of an object's first chunk, in bytes: the first bytes leave soon.
pub const FIRST_CHUNK: usize = 16 * 1024;
/// A chunk closes this long after its first byte even if more could follow.
pub const CHUNK_CLOSES_AFTER: Duration = Duration::from_millis(5);
/// Longest COSE message of a chunk, in bytes.
pub const MAX_CHUNK_SIGNATURE: usize = 512;

/// Why a chunk is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not a chunk, or its signature does not verify.
    #[error("chunk: {0}")]
    Cose(#[from] CoseError),
    /// The signed payload is no chunk description.
    #[error("chunk description: {0}")]
    Description(#[from] CborError),
    /// Empty, or longer than [`MAX_CHUNK`].
    #[error("a chunk of {0} bytes; 1 to 262144 are allowed")]
    BadLength(usize),
    /// A chunk of another resource.
    #[error("the chunk belongs to resource {0}")]
    WrongResource(ResourceHash),
    /// A chunk of another body.
    #[error("the chunk belongs to generation {0}")]
    WrongGeneration(Generation),
    /// A chunk for another place.
    #[error("the chunk starts at {actual}, expected {expected}")]
    WrongOffset {
        /// Where the chunk belongs.
        actual: u64,
        /// Where it was received.
        expected: u64,
    },
    /// The bytes are not the ones that were signed.
    #[error("the chunk's bytes do not match its signature")]
    WrongBytes,
    /// The publisher's key list does not let this key sign now.
    #[error("key {0} may not sign this chunk")]
    UnknownKey(KeyId),
    /// The key list itself has expired.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// What is signed about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Chunk {
    /// Hash of the resource key.
    #[n(0)]
    pub resource: ResourceHash,
    /// Which body.
    #[n(1)]
    pub generation: Generation,
    /// Absolute offset of the first byte in the body.
    #[n(2)]
    pub offset: u64,
    /// Bytes in the payload, 1 to [`MAX_CHUNK`].
    #[n(3)]
    pub length: u32,
    /// BLAKE3 hash of the payload alone.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub blake3: [u8; 32],
}

/// A chunk whose signature was made or verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedChunk {
    bytes: Bytes,
    chunk: Chunk,
}

impl SignedChunk {
    /// Signs `payload` as the bytes at `offset`.
    ///
    /// # Errors
    /// [`ChunkError::BadLength`].
    pub fn sign(
        resource: ResourceHash,
        generation: Generation,
        offset: u64,
        payload: &[u8],
        key: &SigningKey,
    ) -> Result<Self, ChunkError> {
        let length = chunk_length(payload)?;
        let chunk = Chunk { resource, generation, offset, length, blake3: blake3::hash(payload).into() };
        let bytes = cose::sign(key.dalek(), CHUNK_CONTEXT, &cbor::to_vec(&chunk)).into();
        Ok(Self { bytes, chunk })
    }

    /// The COSE message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it states.
    #[must_use]
    pub fn chunk(&self) -> &Chunk {
        &self.chunk
    }
}

/// The COSE message of a chunk as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedChunk(pub Bytes);

impl UnverifiedChunk {
    /// Verifies that `payload` stands at `expected_offset` of this body.
    ///
    /// # Errors
    /// [`ChunkError`].
    pub fn verify(
        &self,
        ring: &KeyRing,
        resource: &ResourceHash,
        generation: Generation,
        expected_offset: u64,
        payload: &[u8],
        now: UnixMillis,
    ) -> Result<SignedChunk, ChunkError> {
        let length = chunk_length(payload)?;
        cbor::check_length(&self.0, MAX_CHUNK_SIGNATURE)?;
        ring.check_expiry(now)?;
        let message = UnverifiedSign1::parse(&self.0)?;
        let key = ring.key_around(&message.kid, now).ok_or(ChunkError::UnknownKey(message.kid))?;
        let chunk: Chunk = cbor::decode_canonical(message.verify(key, CHUNK_CONTEXT)?)?;
        if chunk.resource != *resource {
            return Err(ChunkError::WrongResource(chunk.resource));
        }
        if chunk.generation != generation {
            return Err(ChunkError::WrongGeneration(chunk.generation));
        }
        if chunk.offset != expected_offset {
            return Err(ChunkError::WrongOffset { actual: chunk.offset, expected: expected_offset });
        }
        if chunk.length != length || blake3::hash(payload) != chunk.blake3 {
            return Err(ChunkError::WrongBytes);
        }
        Ok(SignedChunk { bytes: self.0.clone(), chunk })
    }
}

fn chunk_length(payload: &[u8]) -> Result<u32, ChunkError> {
    match u32::try_from(payload.len()) {
        Ok(length) if length > 0 && payload.len() <= MAX_CHUNK => Ok(length),
        _ => Err(ChunkError::BadLength(payload.len())),
    }
}

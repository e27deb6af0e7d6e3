//! Bytes that may be stored. Invariant: a [`VerifiedChunk`] exists only for bytes that were verified against the
//! publisher's signature (or that come from an upstream whose TLS a plain pull-through cache trusts).

use bytes::Bytes;
use weir_protocol::growing::SignedChunk;

/// Verified bytes at an absolute offset of a body.
#[derive(Debug, Clone)]
pub struct VerifiedChunk {
    pub(super) offset: u64,
    pub(super) piece: Piece,
}

/// Body bytes as kept: with the chunk signature they came under, if any, so that they can be passed on under it.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// The COSE_Sign1 message over exactly these bytes, when they came as a signed chunk.
    pub signature: Option<Bytes>,
}

impl VerifiedChunk {
    /// A chunk whose signature was made or checked here. `payload` must be the bytes the signature is over; the type
    /// `SignedChunk` exists only after signing or verifying.
    pub fn signed(chunk: &SignedChunk, payload: Bytes) -> Option<Self> {
        (payload.len() == chunk.chunk().length as usize).then(|| Self {
            offset: chunk.chunk().offset,
            piece: Piece { bytes: payload, signature: Some(chunk.bytes().clone()) },
        })
    }

    /// A leaf of a verified BLAKE3 tree.
    pub(crate) fn leaf(offset: u64, bytes: Bytes) -> Self {
        Self { offset, piece: Piece { bytes, signature: None } }
    }

    /// Bytes from an upstream that is trusted by its TLS alone, or that this process made itself.
    pub(crate) fn trusted(offset: u64, bytes: Bytes) -> Self {
        Self { offset, piece: Piece { bytes, signature: None } }
    }

    /// Absolute offset of the first byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.piece.bytes
    }
}

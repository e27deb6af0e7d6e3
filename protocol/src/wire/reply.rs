//! Frames that answer a request: u32 length, u8 type, then what the type says.
//!
//! A growing object is `Head`, `Chunk`…, `Record`; a whole one is `Whole`, then `Parent` and `Leaf` frames in bao
//! pre-order; `Wait` may stand before either. Invariant: payload bytes are never copied into a frame: writers send
//! [`ReplyFrame::encode_header`], then [`ReplyFrame::payload`]; readers get slices of what they received.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::cbor;
use crate::growing::{MAX_CHUNK, MAX_CHUNK_SIGNATURE, MAX_HEAD, UnverifiedHead};
use crate::record::{MAX_RECORD, UnverifiedRecord};
use crate::wire::reason::RefusalReason;
use crate::wire::{LENGTH_PREFIX, WireError, bounded, check_frame, prefix};

/// Longest reply frame of any type, in bytes, without its length prefix.
pub const MAX_REPLY_FRAME: usize = 320 * 1024;
/// Bytes in a bao chunk group (block size log 4) and the most in a `Leaf`.
pub const GROUP_SIZE: usize = 16 * 1024;
/// Longest `detail`, in bytes.
pub const MAX_DETAIL: usize = 256;

/// Bytes of the type.
pub(super) const TYPE: usize = 1;
/// Bytes of the signature length in a `Chunk`.
pub(super) const SIGNATURE_LENGTH: usize = 2;
/// Two BLAKE3 chaining values.
pub(super) const PARENT: usize = 64;
/// Room for the numbers beside a record or head.
const SLACK: usize = 1024;

pub(super) const WAIT: u8 = 1;
pub(super) const HEAD: u8 = 2;
pub(super) const CHUNK: u8 = 3;
pub(super) const RECORD: u8 = 4;
pub(super) const WHOLE: u8 = 5;
pub(super) const PARENT_TYPE: u8 = 6;
pub(super) const LEAF: u8 = 7;
pub(super) const NOT_MODIFIED: u8 = 8;
pub(super) const REFUSED: u8 = 9;
pub(super) const FAILED: u8 = 10;

/// A frame of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyFrame {
    /// Type 1: the peer is alive and still waiting for its own source.
    Wait,
    /// Type 2: starts a growing object.
    Head {
        /// To be verified before anything else is believed.
        head: UnverifiedHead,
        /// Age of the response at the sender, in milliseconds.
        age_ms: u64,
    },
    /// Type 3: the next bytes of a growing object.
    Chunk {
        /// COSE message ([`UnverifiedChunk`](crate::growing::UnverifiedChunk)).
        signature: Bytes,
        /// The bytes, 1 to [`MAX_CHUNK`].
        payload: Bytes,
    },
    /// Type 4: ends a growing object.
    Record(UnverifiedRecord),
    /// Type 5: starts a whole object.
    Whole {
        /// To be verified before anything else is believed.
        record: UnverifiedRecord,
        /// Age of the response at the sender, in milliseconds.
        age_ms: u64,
        /// Where the bao items start: the requested offset, rounded down to a group.
        offset: u64,
    },
    /// Type 6: a parent node of the bao tree.
    Parent([u8; 64]),
    /// Type 7: a chunk group of the bao tree, at most [`GROUP_SIZE`].
    Leaf(Bytes),
    /// Type 8: the asker's body is current; here is the newest record of it.
    NotModified {
        /// Of the generation the asker holds.
        record: UnverifiedRecord,
        /// Age of the response at the sender, in milliseconds.
        age_ms: u64,
    },
    /// Type 9: no answer from here.
    Refused {
        /// What the asker can react to.
        reason: RefusalReason,
        /// For logs, at most [`MAX_DETAIL`] bytes.
        detail: String,
    },
    /// Type 10: the answer that had begun ends here, incomplete.
    Failed {
        /// What the asker can react to.
        reason: RefusalReason,
        /// For logs, at most [`MAX_DETAIL`] bytes.
        detail: String,
    },
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct HeadFrame {
    #[n(0)]
    head: UnverifiedHead,
    #[n(1)]
    age_ms: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WholeFrame {
    #[n(0)]
    record: UnverifiedRecord,
    #[n(1)]
    age_ms: u64,
    #[n(2)]
    offset: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct NotModifiedFrame {
    #[n(0)]
    record: UnverifiedRecord,
    #[n(1)]
    age_ms: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct EndFrame {
    #[n(0)]
    reason: RefusalReason,
    #[n(1)]
    detail: String,
}

impl ReplyFrame {
    /// Everything of the frame but its payload. Send this, then [`Self::payload`] if there is one.
    ///
    /// # Errors
    /// [`WireError::BadLength`] or [`WireError::OutOfBounds`] if a bound is exceeded.
    pub fn encode_header(&self) -> Result<Bytes, WireError> {
        match self {
            Self::Wait => header(WAIT, &[], 0),
            Self::Head { head, age_ms } => {
                header(HEAD, &cbor::to_vec(&HeadFrame { head: head.clone(), age_ms: *age_ms }), 0)
            }
            Self::Chunk { signature, payload } => {
                let length = u16::try_from(signature.len()).map_err(|_| WireError::OutOfBounds("signature"))?;
                check_chunk(signature.len(), payload.len())?;
                let mut own = Vec::with_capacity(SIGNATURE_LENGTH + signature.len());
                own.extend_from_slice(&length.to_be_bytes());
                own.extend_from_slice(signature);
                header(CHUNK, &own, payload.len())
            }
            Self::Record(record) => header(RECORD, &cbor::to_vec(record), 0),
            Self::Whole { record, age_ms, offset } => {
                let frame = WholeFrame { record: record.clone(), age_ms: *age_ms, offset: *offset };
                header(WHOLE, &cbor::to_vec(&frame), 0)
            }
            Self::Parent(pair) => header(PARENT_TYPE, pair, 0),
            Self::Leaf(payload) => header(LEAF, &[], payload.len()),
            Self::NotModified { record, age_ms } => {
                let frame = NotModifiedFrame { record: record.clone(), age_ms: *age_ms };
                header(NOT_MODIFIED, &cbor::to_vec(&frame), 0)
            }
            Self::Refused { reason, detail } => header(REFUSED, &end(*reason, detail)?, 0),
            Self::Failed { reason, detail } => header(FAILED, &end(*reason, detail)?, 0),
        }
    }

    /// The bytes that follow [`Self::encode_header`] as they are.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::Chunk { payload, .. } | Self::Leaf(payload) => Some(payload),
            _ => None,
        }
    }

    /// Reads the body of a frame that carries no payload.
    pub(super) fn decode_body(kind: u8, body: &[u8]) -> Result<Self, WireError> {
        let frame = match kind {
            WAIT => Self::Wait,
            HEAD => {
                let HeadFrame { head, age_ms } = cbor::decode_exact(body)?;
                Self::Head { head, age_ms }
            }
            RECORD => Self::Record(cbor::decode_exact(body)?),
            WHOLE => {
                let WholeFrame { record, age_ms, offset } = cbor::decode_exact(body)?;
                Self::Whole { record, age_ms, offset }
            }
            PARENT_TYPE => Self::Parent(body.try_into().map_err(|_| WireError::OutOfBounds("parent"))?),
            NOT_MODIFIED => {
                let NotModifiedFrame { record, age_ms } = cbor::decode_exact(body)?;
                Self::NotModified { record, age_ms }
            }
            REFUSED | FAILED => {
                let EndFrame { reason, detail } = cbor::decode_exact(body)?;
                bounded(&detail, MAX_DETAIL, "detail")?;
                if kind == REFUSED { Self::Refused { reason, detail } } else { Self::Failed { reason, detail } }
            }
            kind => return Err(WireError::UnknownFrame(u16::from(kind))),
        };
        Ok(frame)
    }
}

/// Holds a frame's length (type included) against the bounds of its type.
pub(super) fn check_length(kind: u8, length: usize) -> Result<(), WireError> {
    let (min, max) = match kind {
        WAIT => (TYPE, TYPE),
        HEAD => (TYPE + 1, MAX_HEAD + SLACK),
        CHUNK => (TYPE + SIGNATURE_LENGTH + 2, TYPE + SIGNATURE_LENGTH + MAX_CHUNK_SIGNATURE + MAX_CHUNK),
        RECORD | WHOLE | NOT_MODIFIED => (TYPE + 1, MAX_RECORD + SLACK),
        PARENT_TYPE => (TYPE + PARENT, TYPE + PARENT),
        LEAF => (TYPE, TYPE + GROUP_SIZE),
        REFUSED | FAILED => (TYPE + 1, SLACK),
        kind => return Err(WireError::UnknownFrame(u16::from(kind))),
    };
    check_frame(length, min, max).map(drop)
}

/// Holds the two parts of a chunk against their bounds.
pub(super) fn check_chunk(signature: usize, payload: usize) -> Result<(), WireError> {
    check_frame(signature, 1, MAX_CHUNK_SIGNATURE)?;
    check_frame(payload, 1, MAX_CHUNK).map(drop)
}

fn end(reason: RefusalReason, detail: &str) -> Result<Vec<u8>, WireError> {
    bounded(detail, MAX_DETAIL, "detail")?;
    Ok(cbor::to_vec(&EndFrame { reason, detail: detail.to_owned() }))
}

fn header(kind: u8, own: &[u8], payload: usize) -> Result<Bytes, WireError> {
    let length = TYPE + own.len() + payload;
    check_length(kind, length)?;
    let mut out = Vec::with_capacity(LENGTH_PREFIX + TYPE + own.len());
    out.extend_from_slice(&prefix(length));
    out.push(kind);
    out.extend_from_slice(own);
    Ok(out.into())
}

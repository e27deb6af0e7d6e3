//! Frames that answer a request: u32 length, u8 type, then what the type says.
//!
//! A growing object is `Head`, `Chunk`…, `Record`; a whole one is `Whole`, then `Parent` and `Leaf` frames in bao
//! pre-order; `Wait` may stand before either. Subscriptions and places in trees have frames of their own. Invariant: payload bytes are never copied into a frame: writers send
//! [`ReplyFrame::encode_header`], then [`ReplyFrame::payload`]; readers get slices of what they received.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::cbor;
use crate::growing::{MAX_CHUNK, MAX_CHUNK_SIGNATURE, MAX_HEAD, MAX_INTERIM, UnverifiedHead, UnverifiedInterim};
use crate::ids::RelayId;
use crate::record::{MAX_RECORD, UnverifiedRecord};
use crate::wire::members::{Found, MAX_FOUND, MAX_MEMBER_ADDRESSES};
use crate::wire::push::{Accepted, MAX_ANCESTORS, MAX_CANDIDATES, Placed, Tick, bounded_list};
use crate::wire::reason::RefusalReason;
use crate::wire::{LENGTH_PREFIX, WireError, bounded, check_frame, prefix};

/// Longest reply frame of any type, in bytes, without its length prefix.
pub const MAX_REPLY_FRAME: usize = 320 * 1024;
/// Bytes in a bao chunk group (block size log 4) and the most in a `Leaf`.
pub const GROUP_SIZE: usize = 16 * 1024;
/// Most groups in a `Groups` frame.
pub const MAX_GROUPS: usize = 16;
/// Most nodes in a `Groups` frame: those that 16 groups have between them, and as many as stand above one group of the
/// longest body there can be.
pub const MAX_NODES: usize = MAX_GROUPS - 1 + 50;
/// Longest `detail`, in bytes.
pub const MAX_DETAIL: usize = 256;

/// Bytes of the type.
pub(super) const TYPE: usize = 1;
/// Bytes of the signature length in a `Chunk`.
pub(super) const SIGNATURE_LENGTH: usize = 2;
/// Bytes of the number of nodes in a `Groups`.
pub(super) const COUNT: usize = 2;
/// Two BLAKE3 chaining values.
pub(super) const PARENT: usize = 64;
/// Room for the numbers beside a record or head.
const SLACK: usize = 1024;
/// Longest frame of a subscription or a place: the most ancestors with their ids of at most 64 bytes, and numbers.
const MAX_TREE_FRAME: usize = MAX_ANCESTORS * 66 + 64;
/// Longest frame that names relays: their ids, and socket addresses of at most 58 bytes as text.
const MAX_ELSEWHERE: usize = MAX_FOUND * (70 + MAX_MEMBER_ADDRESSES * 60) + 16;

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
pub(super) const GROUPS: u8 = 11;
pub(super) const INTERIM: u8 = 12;
pub(super) const ACCEPTED: u8 = 16;
pub(super) const TICK: u8 = 17;
pub(super) const REDIRECT: u8 = 18;
pub(super) const PLACED: u8 = 19;
pub(super) const ELSEWHERE: u8 = 20;

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
    /// Type 11: a run of the bao tree: up to [`MAX_GROUPS`] groups that follow one another, and before them all nodes
    /// that stand in pre-order between the group before them and the last of them. A decoder may hand it out in parts.
    Groups {
        /// The nodes in pre-order, 64 bytes each, at most [`MAX_NODES`].
        nodes: Bytes,
        /// The groups; each but a body's last is [`GROUP_SIZE`] bytes.
        payload: Bytes,
    },
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
    /// Type 12: the origin said something before its answer (RFC 9110 section 15.2). To be verified like a head.
    Interim(UnverifiedInterim),
    /// Type 16: a subscription begins, or its way from the adapter has changed.
    Accepted(Accepted),
    /// Type 17: the parent lives.
    Tick(Tick),
    /// Type 18: no room for another subscriber; these are fed here and may have some. At most [`MAX_CANDIDATES`].
    Redirect(Vec<RelayId>),
    /// Type 19: a place in a tree.
    Placed(Placed),
    /// Type 20: these relays have it, or are about to; from the adapter, to whoever follows ([`Follows`]). At most
    /// [`MAX_FOUND`], the best first.
    ///
    /// [`Follows`]: super::Follows
    Elsewhere(Vec<Found>),
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
struct RedirectFrame {
    #[cbor(n(0), decode_with = "bounded_list::<_, _, MAX_CANDIDATES>")]
    relays: Vec<RelayId>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ElsewhereFrame {
    #[cbor(n(0), decode_with = "bounded_list::<_, _, MAX_FOUND>")]
    relays: Vec<Found>,
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
            Self::Groups { nodes, payload } => {
                let count = u16::try_from(nodes.len() / PARENT).map_err(|_| WireError::OutOfBounds("nodes"))?;
                check_groups(nodes.len(), COUNT + nodes.len() + payload.len())?;
                let mut own = Vec::with_capacity(COUNT + nodes.len());
                own.extend_from_slice(&count.to_be_bytes());
                own.extend_from_slice(nodes);
                header(GROUPS, &own, payload.len())
            }
            Self::NotModified { record, age_ms } => {
                let frame = NotModifiedFrame { record: record.clone(), age_ms: *age_ms };
                header(NOT_MODIFIED, &cbor::to_vec(&frame), 0)
            }
            Self::Refused { reason, detail } => header(REFUSED, &end(*reason, detail)?, 0),
            Self::Failed { reason, detail } => header(FAILED, &end(*reason, detail)?, 0),
            Self::Interim(interim) => header(INTERIM, &interim.0, 0),
            Self::Accepted(accepted) => {
                at_most(accepted.ancestors.len(), MAX_ANCESTORS, "ancestors")?;
                header(ACCEPTED, &cbor::to_vec(accepted), 0)
            }
            Self::Tick(tick) => header(TICK, &cbor::to_vec(tick), 0),
            Self::Redirect(relays) => {
                at_most(relays.len(), MAX_CANDIDATES, "redirect")?;
                header(REDIRECT, &cbor::to_vec(&RedirectFrame { relays: relays.clone() }), 0)
            }
            Self::Placed(placed) => {
                at_most(placed.backups.len(), MAX_CANDIDATES, "backups")?;
                header(PLACED, &cbor::to_vec(placed), 0)
            }
            Self::Elsewhere(relays) => {
                check_found(relays)?;
                header(ELSEWHERE, &cbor::to_vec(&ElsewhereFrame { relays: relays.clone() }), 0)
            }
        }
    }

    /// The bytes that follow [`Self::encode_header`] as they are.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::Chunk { payload, .. } | Self::Leaf(payload) | Self::Groups { payload, .. } => Some(payload),
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
            INTERIM => Self::Interim(UnverifiedInterim(body.to_vec())),
            ACCEPTED => Self::Accepted(cbor::decode_exact(body)?),
            TICK => Self::Tick(cbor::decode_exact(body)?),
            REDIRECT => Self::Redirect(cbor::decode_exact::<RedirectFrame>(body)?.relays),
            PLACED => Self::Placed(cbor::decode_exact(body)?),
            ELSEWHERE => {
                let ElsewhereFrame { relays } = cbor::decode_exact(body)?;
                check_found(&relays)?;
                Self::Elsewhere(relays)
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
        GROUPS => (TYPE + COUNT + 1, TYPE + COUNT + MAX_NODES * PARENT + MAX_GROUPS * GROUP_SIZE),
        REFUSED | FAILED => (TYPE + 1, SLACK),
        INTERIM => (TYPE + 1, TYPE + MAX_INTERIM),
        ACCEPTED | TICK | REDIRECT | PLACED => (TYPE + 1, TYPE + MAX_TREE_FRAME),
        ELSEWHERE => (TYPE + 1, TYPE + MAX_ELSEWHERE),
        kind => return Err(WireError::UnknownFrame(u16::from(kind))),
    };
    check_frame(length, min, max).map(drop)
}

/// Holds the two parts of a chunk against their bounds.
pub(super) fn check_chunk(signature: usize, payload: usize) -> Result<(), WireError> {
    check_frame(signature, 1, MAX_CHUNK_SIGNATURE)?;
    check_frame(payload, 1, MAX_CHUNK).map(drop)
}

/// Holds the nodes of a `Groups` (their bytes, and what they leave of `length`) against their bounds; returns the bytes
/// of its groups.
pub(super) fn check_groups(nodes: usize, length: usize) -> Result<usize, WireError> {
    if !nodes.is_multiple_of(PARENT) || nodes > MAX_NODES * PARENT {
        return Err(WireError::OutOfBounds("nodes"));
    }
    check_frame(length.saturating_sub(COUNT + nodes), 1, MAX_GROUPS * GROUP_SIZE)
}

fn at_most(length: usize, most: usize, field: &'static str) -> Result<(), WireError> {
    if length > most { Err(WireError::OutOfBounds(field)) } else { Ok(()) }
}

fn check_found(relays: &[Found]) -> Result<(), WireError> {
    at_most(relays.len(), MAX_FOUND, "elsewhere")?;
    relays.iter().try_for_each(Found::check)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{ELSEWHERE, ElsewhereFrame, ReplyFrame};
    use crate::cbor;
    use crate::ids::RelayId;
    use crate::wire::members::{Found, MAX_FOUND, MAX_MEMBER_ADDRESSES};
    use crate::wire::{LENGTH_PREFIX, WireError};
    use libp2p_identity::Keypair;

    fn found(addresses: usize) -> Found {
        let relay = RelayId::from_public_key(&Keypair::ed25519_from_bytes([7; 32]).unwrap().public());
        let longest = "[2001:db8:1111:2222:3333:4444:5555:6666%4294967295]:65535";
        Found { relay, addresses: vec![longest.to_owned(); addresses] }
    }

    #[test]
    fn as_many_relays_are_named_as_fit_and_each_at_an_address() {
        let frame = ReplyFrame::Elsewhere(vec![found(MAX_MEMBER_ADDRESSES); MAX_FOUND]);
        let wire = frame.encode_header().unwrap();
        assert_eq!(ReplyFrame::decode_body(ELSEWHERE, &wire[LENGTH_PREFIX + 1..]), Ok(frame));
        let nowhere = Found { addresses: vec!["weir.example:7444".into()], ..found(0) };
        for bad in [vec![found(0); MAX_FOUND + 1], vec![found(MAX_MEMBER_ADDRESSES + 1)], vec![nowhere]] {
            let body = cbor::to_vec(&ElsewhereFrame { relays: bad.clone() });
            assert!(ReplyFrame::decode_body(ELSEWHERE, &body).is_err(), "{bad:?}");
            assert!(matches!(ReplyFrame::Elsewhere(bad).encode_header(), Err(WireError::OutOfBounds(_))));
        }
    }
}

//! What trees of live renditions say: a relay asks the adapter for a place and reports how it fares, subscribes at its
//! parent with what it has, and is pushed objects, each on a stream of its own.
//!
//! Invariant: every list is bounded before it is built, and nothing here is believed about content: what is pushed is
//! verified like any reply.

use bytes::Bytes;
use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};

use crate::cbor;
use crate::ids::RelayId;
use crate::wire::{WireError, framed};

/// Most objects of a [`SubscribeRequest`] that are not whole yet.
pub const MAX_RUNNING: usize = 16;
/// Most ancestors that an [`Accepted`] names; a longer way from the adapter is no tree.
pub const MAX_ANCESTORS: usize = 32;
/// Most backups of a [`Placed`], and most relays of a redirection.
pub const MAX_CANDIDATES: usize = 8;
/// Longest [`Report`], in bytes, without its length prefix.
pub const MAX_REPORT: usize = 1024;

/// With [`RequestKind::Place`](super::RequestKind::Place): a relay asks the adapter for a place in the tree of the
/// rendition whose playlist the request names. The stream stays open as long as the relay wants the rendition: the
/// relay sends [`Report`]s on it, and the adapter [`Placed`] frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PlaceRequest {
    /// Relays it can feed; below 2 it feeds nobody.
    #[n(0)]
    pub children: u16,
}

/// With [`RequestKind::Subscribe`](super::RequestKind::Subscribe): a relay wants to be pushed the rendition whose
/// playlist the request names, from where it is. The stream stays open as long as it does: ended by the subscriber, the
/// objects that are under way come to their end; reset, they stop.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SubscribeRequest {
    /// The subscriber's number for this subscription, repeated in each [`PushRequest`].
    #[n(0)]
    pub id: u64,
    /// The numbering that the rest is about; 0 when the subscriber has nothing.
    #[n(1)]
    pub epoch: u64,
    /// The first object it has heard nothing of.
    #[n(2)]
    pub next: u64,
    /// Number and bytes of objects before `next` that are not whole yet; at most [`MAX_RUNNING`].
    #[cbor(n(3), decode_with = "bounded_list::<_, _, MAX_RUNNING>")]
    pub running: Vec<(u64, u64)>,
}

/// How urgent a pushed object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum PushClass {
    /// A playlist: it goes before the bytes it lists.
    #[n(0)]
    Playlist,
    /// A part of a segment that is still being made.
    #[n(1)]
    Part,
    /// A segment.
    #[n(2)]
    Segment,
}

/// With [`RequestKind::Push`](super::RequestKind::Push), from parent to child: the request names the object, its
/// generation and the offset of the first byte that follows, and reply frames follow the request on the same stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PushRequest {
    /// The subscription.
    #[n(0)]
    pub id: u64,
    /// The numbering.
    #[n(1)]
    pub epoch: u64,
    /// The object's number; numbers of one epoch have no gap.
    #[n(2)]
    pub number: u64,
    /// How urgent it is.
    #[n(3)]
    pub class: PushClass,
    /// When the adapter had the object's head, by its clock, ms; for measuring only.
    #[n(4)]
    pub begun_ms: u64,
}

/// A subscription begins, or the sender hangs elsewhere in the tree now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Accepted {
    /// The numbering of what follows.
    #[n(0)]
    pub epoch: u64,
    /// Who feeds the sender, who feeds that one, and so on; at most [`MAX_ANCESTORS`]. Who finds itself here is in a
    /// circle.
    #[cbor(n(1), decode_with = "bounded_list::<_, _, MAX_ANCESTORS>")]
    pub ancestors: Vec<RelayId>,
    /// The number of the first object that follows, unless the subscriber was further already.
    #[n(2)]
    pub first: u64,
}

/// Said several times a second: the sender lives, and this is how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Tick {
    /// Since the adapter was last heard of, ms.
    #[n(0)]
    pub root_age_ms: u64,
    /// The number that the next object will have.
    #[n(1)]
    pub next: u64,
    /// Since the adapter last had the origin's word that the newest playlist is current, ms.
    #[n(2)]
    pub looked_ms: u64,
}

/// A relay's place in a tree, from the adapter.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Placed {
    /// Steps from the adapter; 0 when there is no room, and the relay pulls.
    #[n(0)]
    pub depth: u32,
    /// Who feeds it; absent: the adapter.
    #[n(1)]
    pub parent: Option<RelayId>,
    /// Whom to turn to when the parent fails, best first; the adapter is always the last one. At most
    /// [`MAX_CANDIDATES`].
    #[cbor(n(2), decode_with = "bounded_list::<_, _, MAX_CANDIDATES>")]
    pub backups: Vec<RelayId>,
}

/// Why a relay has left its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LostReason {
    /// The connection or the subscription ended.
    #[n(0)]
    Gone,
    /// Nothing was heard for too long.
    #[n(1)]
    Silent,
    /// It lives, but what the playlist lists did not arrive.
    #[n(2)]
    Late,
    /// It sent what does not verify.
    #[n(3)]
    Corrupt,
}

/// A relay's word to the adapter on the stream of its [`PlaceRequest`], and to its parent on the stream of its
/// [`SubscribeRequest`], at least once a second. A parent only needs to hear that the relay lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// True while somebody feeds it.
    #[n(0)]
    pub fed: bool,
    /// Who; absent: the adapter.
    #[n(1)]
    pub parent: Option<RelayId>,
    /// A parent that it has left since the last report, and why.
    #[n(2)]
    pub lost: Option<RelayId>,
    /// With `lost`.
    #[n(3)]
    pub why: Option<LostReason>,
}

impl Report {
    /// The report with its length prefix.
    ///
    /// # Errors
    /// [`WireError::BadLength`] if the bound is exceeded.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        framed(&cbor::to_vec(self), MAX_REPORT)
    }

    /// Reads a report without its length prefix.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        cbor::check_length(frame, MAX_REPORT)?;
        Ok(cbor::decode_exact(frame)?)
    }
}

/// Holds a list against its bound before anything is kept of it.
pub(super) fn bounded_list<'b, Ctx, T: Decode<'b, Ctx>, const MAX: usize>(
    d: &mut Decoder<'b>,
    context: &mut Ctx,
) -> Result<Vec<T>, DecodeError> {
    let length = d.array()?.ok_or_else(|| DecodeError::message("a list of unknown length"))?;
    if length > MAX as u64 {
        return Err(DecodeError::message("a list longer than allowed"));
    }
    (0..length).map(|_| d.decode_with(context)).collect()
}

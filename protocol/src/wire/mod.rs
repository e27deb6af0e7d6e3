//! What travels between relays over ALPN `weir/1`: control frames, requests and replies.
//!
//! One bidirectional control stream for each connection starts with a Hello; then typed frames follow in both
//! directions. Each request has a bidirectional stream of its own: one [`Request`], then [`ReplyFrame`]s. Every frame
//! starts with its length (u32, big endian). Invariant: a length is compared with its bound before anything is
//! buffered for it.

mod buffer;
mod class;
mod control;
mod decoder;
mod door;
mod hello;
mod members;
mod purge;
mod push;
mod reason;
mod reply;
mod request;
mod submit;

pub use class::Class;
pub use control::{
    ControlDecoder, ControlFrame, MAX_CONTROL_FRAME, MAX_REFUSAL, MAX_TAKEDOWNS, OPTIONAL_FRAMES, Refusal, Resync,
};
pub use decoder::FrameDecoder;
pub use door::{DoorReport, MAX_DOOR_URL, is_door_url};
pub use hello::{FEATURE_CHANGES, Hello, HelloNetwork, MAX_FEATURES, MAX_HELLO_NETWORKS};
pub use members::{Changes, Found, MAX_FOUND, MAX_MEMBER_ADDRESSES, MAX_MEMBERS, MAX_REVOKED, Member, Members};
pub use purge::{PURGE_FEATURE, Purge, PurgeScope, Purged};
pub use push::{
    Accepted, LostReason, MAX_ANCESTORS, MAX_CANDIDATES, MAX_REPORT, MAX_RUNNING, PlaceRequest, Placed, PushClass,
    PushRequest, Report, SubscribeRequest, Tick,
};
pub use reason::RefusalReason;
pub use reply::{GROUP_SIZE, MAX_DETAIL, MAX_GROUPS, MAX_NODES, MAX_REPLY_FRAME, ReplyFrame};
pub use request::{Awaits, Follows, MAX_HOPS, MAX_PASS_BODY, MAX_REQUEST, PassRequest, Request, RequestKind};
pub use submit::{Answered, MAX_SUBMITTED, MAX_SUBMITTED_BYTES, Outcome, Submit, Submitted, Verdict};

use crate::cbor::CborError;

/// The TLS application protocol of segment streams.
pub const ALPN: &[u8] = b"weir/1";
/// Protocol version in Hello and in every request: the newest that this crate speaks.
pub const VERSION: u16 = 1;
/// The oldest version that this crate speaks.
pub const OLDEST_VERSION: u16 = 1;
/// Bytes of the length in front of every frame.
pub const LENGTH_PREFIX: usize = 4;

/// Why bytes are no frames. None of these heals: close the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame's length exceeds the bound for its kind, or is too short for it.
    #[error("a frame of {length} bytes, allowed are {min} to {max}")]
    BadLength {
        /// Length in the prefix, or of the frame to encode.
        length: usize,
        /// Least for this kind.
        min: usize,
        /// Most for this kind.
        max: usize,
    },
    /// A frame type that is neither known nor optional.
    #[error("unknown frame type {0}")]
    UnknownFrame(u16),
    /// The frame's CBOR is malformed.
    #[error("frame: {0}")]
    Cbor(#[from] CborError),
    /// A field exceeds its bound or has an impossible value.
    #[error("`{0}` in the frame is out of bounds")]
    OutOfBounds(&'static str),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// An earlier error already ended this stream.
    #[error("the stream has failed before")]
    Failed,
}

/// Reads a length prefix and holds it against a bound, before any buffer grows.
///
/// # Errors
/// [`WireError::BadLength`].
pub fn frame_length(prefix: [u8; LENGTH_PREFIX], max: usize) -> Result<usize, WireError> {
    let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    check_frame(length, 1, max)
}

fn check_frame(length: usize, min: usize, max: usize) -> Result<usize, WireError> {
    if (min..=max).contains(&length) { Ok(length) } else { Err(WireError::BadLength { length, min, max }) }
}

/// The prefix of a frame whose length has been checked against its bound.
fn prefix(length: usize) -> [u8; LENGTH_PREFIX] {
    u32::try_from(length).expect("every frame bound fits 32 bits").to_be_bytes()
}

/// A CBOR payload behind its length prefix.
fn framed(payload: &[u8], max: usize) -> Result<bytes::Bytes, WireError> {
    let length = check_frame(payload.len(), 1, max)?;
    let mut out = Vec::with_capacity(LENGTH_PREFIX + length);
    out.extend_from_slice(&prefix(length));
    out.extend_from_slice(payload);
    Ok(out.into())
}

/// Longest name of a feature, region or program, in bytes.
const MAX_NAME: usize = 128;

fn bounded(text: &str, max: usize, field: &'static str) -> Result<(), WireError> {
    if text.len() > max { Err(WireError::OutOfBounds(field)) } else { Ok(()) }
}

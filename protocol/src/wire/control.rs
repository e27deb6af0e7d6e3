//! Frames of the control stream: `[type, payload]` in CBOR behind a length.
//!
//! Invariant: a frame type from [`OPTIONAL_FRAMES`] on may be ignored by who does not know it; any other unknown type is
//! an error. So the protocol grows without a new version where it may, and never silently where it may not.

use std::net::SocketAddr;

use bytes::Bytes;
use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{self, CborError};
use crate::ids::{PublisherId, RelayId};
use crate::keys::MAX_KEY_LIST;
use crate::wire::buffer::ChunkBuffer;
use crate::wire::{LENGTH_PREFIX, WireError, bounded, frame_length, framed};

/// Longest control frame, in bytes, without its length prefix.
pub const MAX_CONTROL_FRAME: usize = 256 * 1024;
/// Most features in a Hello.
pub const MAX_FEATURES: usize = 32;
/// Most members in one Members frame.
pub const MAX_MEMBERS: usize = 1024;
/// Most addresses of one member.
pub const MAX_MEMBER_ADDRESSES: usize = 8;
/// First of the frame types that an old peer may ignore.
pub const OPTIONAL_FRAMES: u16 = 0x8000;

const MAX_NAME: usize = 128;
const MAX_REASON: usize = 256;

const HELLO: u16 = 1;
const MEMBERS: u16 = 2;
const KEYS: u16 = 3;
const PING: u16 = 4;
const PONG: u16 = 5;
const GOODBYE: u16 = 6;

/// First frame in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// [`VERSION`](crate::wire::VERSION) of the sender.
    #[n(0)]
    pub version: u16,
    /// What it can do beyond the version; unknown names are ignored. At most [`MAX_FEATURES`] of 128 bytes.
    #[n(1)]
    pub features: Vec<String>,
    /// Program and version, for logs; at most 128 bytes.
    #[n(2)]
    pub agent: String,
}

/// One relay of a publisher's network.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Member {
    /// Who it is.
    #[n(0)]
    pub relay: RelayId,
    /// UDP socket addresses, `ip:port`; at most [`MAX_MEMBER_ADDRESSES`].
    #[n(1)]
    pub addresses: Vec<String>,
    /// Its region, at most 128 bytes; empty if unknown.
    #[n(2)]
    pub region: String,
}

/// Who belongs to a publisher's network, from the adapter. The list with the highest epoch counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Members {
    /// Whose network.
    #[n(0)]
    pub publisher: PublisherId,
    /// Grows with each change.
    #[n(1)]
    pub epoch: u64,
    /// At most [`MAX_MEMBERS`].
    #[n(2)]
    pub members: Vec<Member>,
}

/// A frame of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlFrame {
    /// Type 1.
    Hello(Hello),
    /// Type 2.
    Members(Members),
    /// Type 3: a signed key list ([`KeyRing::verify`](crate::keys::KeyRing::verify)).
    Keys {
        /// The COSE message.
        bytes: Vec<u8>,
    },
    /// Type 4: to be answered by a Pong with the same number.
    Ping(u64),
    /// Type 5.
    Pong(u64),
    /// Type 6: the sender will close; no new requests.
    Goodbye {
        /// For logs, at most 256 bytes.
        reason: String,
    },
    /// An optional frame that this version does not know, to be ignored.
    Unknown {
        /// Its type, at least [`OPTIONAL_FRAMES`].
        kind: u16,
    },
}

impl ControlFrame {
    /// The frame with its length prefix.
    ///
    /// # Errors
    /// [`WireError::OutOfBounds`] or [`WireError::BadLength`] if a bound is exceeded.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        self.check()?;
        framed(&cbor::to_vec(self), MAX_CONTROL_FRAME)
    }

    /// Reads a frame without its length prefix.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        if frame.len() > MAX_CONTROL_FRAME {
            return Err(WireError::BadLength { length: frame.len(), min: 1, max: MAX_CONTROL_FRAME });
        }
        let mut d = Decoder::new(frame);
        let kind = header(&mut d)?;
        let decoded = match kind {
            HELLO => Self::Hello(d.decode().map_err(CborError::from)?),
            MEMBERS => Self::Members(d.decode().map_err(CborError::from)?),
            KEYS => Self::Keys { bytes: d.bytes().map_err(CborError::from)?.to_vec() },
            PING => Self::Ping(d.u64().map_err(CborError::from)?),
            PONG => Self::Pong(d.u64().map_err(CborError::from)?),
            GOODBYE => Self::Goodbye { reason: d.str().map_err(CborError::from)?.to_owned() },
            // Whatever an optional frame holds, its length alone says where the next one starts.
            kind if kind >= OPTIONAL_FRAMES => return Ok(Self::Unknown { kind }),
            kind => return Err(WireError::UnknownFrame(kind)),
        };
        if d.position() != frame.len() {
            return Err(CborError::Trailing.into());
        }
        decoded.check()?;
        Ok(decoded)
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Hello(hello) => hello.check(),
            Self::Members(members) => members.check(),
            Self::Keys { bytes } if bytes.len() > MAX_KEY_LIST => Err(WireError::OutOfBounds("keys")),
            Self::Goodbye { reason } => bounded(reason, MAX_REASON, "reason"),
            Self::Unknown { kind } if *kind < OPTIONAL_FRAMES => Err(WireError::UnknownFrame(*kind)),
            _ => Ok(()),
        }
    }
}

impl Hello {
    fn check(&self) -> Result<(), WireError> {
        if self.features.len() > MAX_FEATURES {
            return Err(WireError::OutOfBounds("features"));
        }
        self.features.iter().try_for_each(|feature| bounded(feature, MAX_NAME, "features"))?;
        bounded(&self.agent, MAX_NAME, "agent")
    }
}

impl Members {
    fn check(&self) -> Result<(), WireError> {
        if self.members.len() > MAX_MEMBERS {
            return Err(WireError::OutOfBounds("members"));
        }
        for member in &self.members {
            let parse = |address: &String| address.len() <= MAX_NAME && address.parse::<SocketAddr>().is_ok();
            if member.addresses.len() > MAX_MEMBER_ADDRESSES || !member.addresses.iter().all(parse) {
                return Err(WireError::OutOfBounds("addresses"));
            }
            bounded(&member.region, MAX_NAME, "region")?;
        }
        Ok(())
    }
}

impl<C> Encode<C> for ControlFrame {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?;
        match self {
            Self::Hello(hello) => hello.encode(e.u16(HELLO)?, c),
            Self::Members(members) => members.encode(e.u16(MEMBERS)?, c),
            Self::Keys { bytes } => e.u16(KEYS)?.bytes(bytes)?.ok(),
            Self::Ping(number) => e.u16(PING)?.u64(*number)?.ok(),
            Self::Pong(number) => e.u16(PONG)?.u64(*number)?.ok(),
            Self::Goodbye { reason } => e.u16(GOODBYE)?.str(reason)?.ok(),
            Self::Unknown { kind } => e.u16(*kind)?.null()?.ok(),
        }
    }
}

fn header(d: &mut Decoder<'_>) -> Result<u16, CborError> {
    if d.array()? != Some(2) {
        return Err(CborError::Malformed("a control frame is an array of two".to_owned()));
    }
    Ok(d.u16()?)
}

/// Cuts a control stream into frames.
#[derive(Debug, Default)]
pub struct ControlDecoder {
    buffer: ChunkBuffer,
    expected: Option<usize>,
    failed: bool,
}

impl ControlDecoder {
    /// Adds received bytes. Call [`Self::next`] until it returns `None` before adding more: then at most one frame and
    /// one chunk are held.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.failed {
            self.buffer.push(chunk);
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// [`WireError`]; the decoder stays failed.
    #[expect(clippy::should_implement_trait, reason = "a fallible step over pushed input, not an iterator")]
    pub fn next(&mut self) -> Result<Option<ControlFrame>, WireError> {
        if self.failed {
            return Err(WireError::Failed);
        }
        self.step().inspect_err(|_| {
            self.failed = true;
            self.buffer.clear();
        })
    }

    /// Checks that the stream ended between two frames.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn finish(&self) -> Result<(), WireError> {
        if self.expected.is_some() || self.buffer.len() > 0 { Err(WireError::Truncated) } else { Ok(()) }
    }

    fn step(&mut self) -> Result<Option<ControlFrame>, WireError> {
        let length = match self.expected {
            Some(length) => length,
            None => {
                let Some(prefix) = self.buffer.take_array::<LENGTH_PREFIX>() else {
                    return Ok(None);
                };
                *self.expected.insert(frame_length(prefix, MAX_CONTROL_FRAME)?)
            }
        };
        let Some(frame) = self.buffer.take(length) else {
            return Ok(None);
        };
        self.expected = None;
        ControlFrame::decode(&frame).map(Some)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{ControlDecoder, ControlFrame, Hello, Member, Members, OPTIONAL_FRAMES};
    use crate::ids::{PublisherId, RelayId};
    use crate::wire::WireError;
    use bytes::Bytes;

    fn frames() -> Vec<ControlFrame> {
        let key = libp2p_identity::Keypair::ed25519_from_bytes([3; 32]).unwrap();
        let relay = RelayId::from_public_key(&key.public());
        let member =
            Member { relay, addresses: vec!["127.0.0.1:4433".into(), "[::1]:4433".into()], region: "eu".into() };
        vec![
            ControlFrame::Hello(Hello { version: 1, features: vec!["push".into()], agent: "weir/0.1".into() }),
            ControlFrame::Members(Members { publisher: PublisherId([1; 32]), epoch: 7, members: vec![member] }),
            ControlFrame::Keys { bytes: vec![1, 2, 3] },
            ControlFrame::Ping(1),
            ControlFrame::Pong(u64::MAX),
            ControlFrame::Goodbye { reason: "draining".into() },
            ControlFrame::Unknown { kind: OPTIONAL_FRAMES },
        ]
    }

    #[test]
    fn frames_survive_any_cut() {
        let bytes: Vec<u8> = frames().iter().flat_map(|frame| frame.encode().unwrap()).collect();
        for cut in 0..bytes.len() {
            let mut decoder = ControlDecoder::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(Bytes::copy_from_slice(part));
                while let Some(frame) = decoder.next().unwrap() {
                    seen.push(frame);
                }
            }
            decoder.finish().unwrap();
            assert_eq!(seen, frames(), "cut at {cut}");
        }
    }

    #[test]
    fn what_may_not_be_ignored_is_refused() {
        assert_eq!(ControlFrame::decode(&[0x82, 0x18, 99, 0xf6]), Err(WireError::UnknownFrame(99)));
        let mut decoder = ControlDecoder::default();
        decoder.push(Bytes::from_static(&[0xff; 4]));
        assert!(matches!(decoder.next(), Err(WireError::BadLength { .. })));
        assert_eq!(decoder.next(), Err(WireError::Failed));
        let mut frames = frames();
        let ControlFrame::Members(members) = &mut frames[1] else { unreachable!("the second frame is Members") };
        members.members[0].addresses.push("example.org:1".into());
        assert_eq!(frames[1].encode(), Err(WireError::OutOfBounds("addresses")));
    }
}

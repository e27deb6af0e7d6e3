//! Frames of the control stream: `[type, payload]` in CBOR behind a length.
//!
//! Invariant: a frame type from [`OPTIONAL_FRAMES`] on may be ignored by who does not know it; any other unknown type is
//! an error. So the protocol grows without a new version where it may, and never silently where it may not.

use bytes::Bytes;
use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{self, CborError};
use crate::grant::MAX_GRANT;
use crate::ids::PublisherId;
use crate::keys::MAX_KEY_LIST;
use crate::reach::Reach;
use crate::statement::{PeerReceipt, Statement as _};
use crate::takedown::MAX_TAKEDOWN;
use crate::wire::buffer::ChunkBuffer;
use crate::wire::door::DoorReport;
use crate::wire::hello::Hello;
use crate::wire::members::{Changes, Members};
use crate::wire::purge::{Purge, Purged};
use crate::wire::reason::RefusalReason;
use crate::wire::submit::{Answered, Submit};
use crate::wire::{LENGTH_PREFIX, WireError, bounded, frame_length, framed};

/// Longest control frame, in bytes, without its length prefix.
pub const MAX_CONTROL_FRAME: usize = 256 * 1024;
/// First of the frame types that an old peer may ignore.
pub const OPTIONAL_FRAMES: u16 = 0x8000;

const MAX_REASON: usize = 256;
/// Longest text of a refusal, in bytes.
pub const MAX_REFUSAL: usize = 512;

const HELLO: u16 = 1;
const MEMBERS: u16 = 2;
const KEYS: u16 = 3;
const PING: u16 = 4;
const PONG: u16 = 5;
const GOODBYE: u16 = 6;
const REACH: u16 = 0x8020;
const GRANT: u16 = 0x8001;
const CHANGES: u16 = 0x8002;
const TAKEDOWNS: u16 = 0x8003;
const REFUSAL: u16 = 0x8004;
const RESYNC: u16 = 0x8005;
const PURGE: u16 = 0x8006;
const PURGED: u16 = 0x8007;
const DOOR: u16 = 0x8040;
const RECEIPT: u16 = 0x8030;
const SUBMIT: u16 = 0x8031;
const ANSWERED: u16 = 0x8032;

/// Signed takedowns in one frame.
pub const MAX_TAKEDOWNS: usize = 512;

/// Why the other side of a connection gets nothing of a network, and what its operator can do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refusal {
    /// Whose network; absent: any.
    #[n(0)]
    pub publisher: Option<PublisherId>,
    /// What the receiver can react to.
    #[n(1)]
    pub reason: RefusalReason,
    /// For its operator; at most 512 bytes.
    #[n(2)]
    pub detail: String,
}

/// A node that holds another list than the one that changes were sent for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resync {
    /// Whose network.
    #[n(0)]
    pub publisher: PublisherId,
    /// Epoch of the list it holds; 0 for none.
    #[n(1)]
    pub epoch: u64,
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
    /// Type 0x8020, from a relay to the adapter: how others can come to it.
    Reach(Reach),
    /// Type 0x8001: a signed grant ([`UnverifiedGrant`](crate::grant::UnverifiedGrant)), from the adapter to the relay
    /// it is for, or from that relay to others.
    Grant {
        /// The COSE message.
        bytes: Bytes,
    },
    /// Type 0x8002.
    Changes(Changes),
    /// Type 0x8003: signed takedowns ([`UnverifiedTakedown`](crate::takedown::UnverifiedTakedown)), at most
    /// [`MAX_TAKEDOWNS`].
    Takedowns(Vec<Bytes>),
    /// Type 0x8004.
    Refusal(Refusal),
    /// Type 0x8005.
    Resync(Resync),
    /// Type 0x8030: a signed peer receipt ([`PeerReceipt`]), from the receiver of bytes to their sender.
    Receipt {
        /// The COSE message.
        bytes: Bytes,
    },
    /// Type 0x8031, from a relay to the adapter.
    Submit(Submit),
    /// Type 0x8032, the answer to a Submit.
    Answered(Answered),
    /// Type 7, from an adapter, to relays whose Hello names [`PURGE_FEATURE`](crate::wire::PURGE_FEATURE).
    Purge(Purge),
    /// Type 8, the answer to a Purge.
    Purged(Purged),
    /// Type 0x8040, from a relay to the adapter: where viewers come to it, and how busy it is.
    Door(DoorReport),
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
            REACH => Self::Reach(d.decode().map_err(CborError::from)?),
            GRANT => Self::Grant { bytes: Bytes::copy_from_slice(d.bytes().map_err(CborError::from)?) },
            CHANGES => Self::Changes(d.decode().map_err(CborError::from)?),
            TAKEDOWNS => Self::Takedowns(takedowns(&mut d)?),
            REFUSAL => Self::Refusal(d.decode().map_err(CborError::from)?),
            RESYNC => Self::Resync(d.decode().map_err(CborError::from)?),
            PURGE => Self::Purge(d.decode().map_err(CborError::from)?),
            PURGED => Self::Purged(d.decode().map_err(CborError::from)?),
            DOOR => Self::Door(d.decode().map_err(CborError::from)?),
            RECEIPT => Self::Receipt { bytes: Bytes::copy_from_slice(d.bytes().map_err(CborError::from)?) },
            SUBMIT => Self::Submit(d.decode().map_err(CborError::from)?),
            ANSWERED => Self::Answered(d.decode().map_err(CborError::from)?),
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
            Self::Reach(reach) => reach.check(),
            Self::Grant { bytes } if bytes.len() > MAX_GRANT => Err(WireError::OutOfBounds("grant")),
            Self::Changes(changes) => changes.check(),
            Self::Takedowns(signed) => check_takedowns(signed),
            Self::Refusal(refusal) => bounded(&refusal.detail, MAX_REFUSAL, "detail"),
            Self::Purge(purge) => purge.check(),
            Self::Door(report) => report.check(),
            Self::Receipt { bytes } if bytes.len() > PeerReceipt::MAX => Err(WireError::OutOfBounds("receipt")),
            Self::Submit(submit) => submit.check(),
            Self::Answered(answered) => answered.check(),
            Self::Unknown { kind } if *kind < OPTIONAL_FRAMES => Err(WireError::UnknownFrame(*kind)),
            _ => Ok(()),
        }
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
            Self::Reach(reach) => reach.encode(e.u16(REACH)?, c),
            Self::Grant { bytes } => e.u16(GRANT)?.bytes(bytes)?.ok(),
            Self::Changes(changes) => changes.encode(e.u16(CHANGES)?, c),
            Self::Takedowns(signed) => {
                e.u16(TAKEDOWNS)?.array(signed.len() as u64)?;
                signed.iter().try_for_each(|bytes| e.bytes(bytes).map(drop))
            }
            Self::Refusal(refusal) => refusal.encode(e.u16(REFUSAL)?, c),
            Self::Resync(resync) => resync.encode(e.u16(RESYNC)?, c),
            Self::Purge(purge) => purge.encode(e.u16(PURGE)?, c),
            Self::Purged(purged) => purged.encode(e.u16(PURGED)?, c),
            Self::Door(report) => report.encode(e.u16(DOOR)?, c),
            Self::Receipt { bytes } => e.u16(RECEIPT)?.bytes(bytes)?.ok(),
            Self::Submit(submit) => submit.encode(e.u16(SUBMIT)?, c),
            Self::Answered(answered) => answered.encode(e.u16(ANSWERED)?, c),
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

/// The number is held against its bound before anything is read for it.
fn takedowns(d: &mut Decoder<'_>) -> Result<Vec<Bytes>, WireError> {
    let count = d.array().map_err(CborError::from)?.and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count <= MAX_TAKEDOWNS).ok_or(WireError::OutOfBounds("takedowns"))?;
    (0..count).map(|_| Ok(Bytes::copy_from_slice(d.bytes().map_err(CborError::from)?))).collect()
}

fn check_takedowns(signed: &[Bytes]) -> Result<(), WireError> {
    if signed.len() > MAX_TAKEDOWNS || signed.iter().any(|bytes| bytes.len() > MAX_TAKEDOWN) {
        return Err(WireError::OutOfBounds("takedowns"));
    }
    Ok(())
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
    use super::{ControlDecoder, ControlFrame, MAX_TAKEDOWNS, OPTIONAL_FRAMES, Refusal, Resync};
    use crate::ids::{PublisherId, RelayId};
    use crate::reach::{Reach, ReachClass};
    use crate::takedown::MAX_TAKEDOWN;
    use crate::wire::{
        Changes, DoorReport, Hello, Member, Members, Purge, PurgeScope, Purged, RefusalReason, WireError,
    };
    use bytes::Bytes;

    fn frames() -> Vec<ControlFrame> {
        let key = libp2p_identity::Keypair::ed25519_from_bytes([3; 32]).unwrap();
        let relay = RelayId::from_public_key(&key.public());
        let publisher = PublisherId([1; 32]);
        let member = Member {
            relay,
            addresses: vec!["127.0.0.1:4433".into(), "[::1]:4433".into()],
            region: "eu".into(),
            weight: Some(4),
            since: None,
            scoped: None,
        };
        vec![
            ControlFrame::Hello(Hello::new("weir/0.1")),
            ControlFrame::Members(Members { publisher, epoch: 7, members: vec![member.clone()], revoked: None }),
            ControlFrame::Changes(Changes {
                publisher,
                since: 7,
                epoch: 9,
                joined: vec![member],
                left: vec![relay],
                revoked: Some(vec![relay]),
            }),
            ControlFrame::Grant { bytes: Bytes::from_static(&[1, 2]) },
            ControlFrame::Takedowns(vec![Bytes::from_static(&[3; 200]), Bytes::new()]),
            ControlFrame::Refusal(Refusal {
                publisher: Some(publisher),
                reason: RefusalReason::NotMember,
                detail: "ask the publisher".into(),
            }),
            ControlFrame::Resync(Resync { publisher, epoch: 7 }),
            ControlFrame::Keys { bytes: vec![1, 2, 3] },
            ControlFrame::Ping(1),
            ControlFrame::Pong(u64::MAX),
            ControlFrame::Goodbye { reason: "draining".into() },
            ControlFrame::Purge(Purge {
                publisher: PublisherId([1; 32]),
                number: 9,
                scope: PurgeScope::Prefix,
                target: "/film/".into(),
                soft: true,
            }),
            ControlFrame::Purged(Purged { number: 9, count: 3 }),
            ControlFrame::Reach(Reach::new(ReachClass::Mapped, ["203.0.113.9:7444".parse().unwrap()])),
            ControlFrame::Door(DoorReport {
                publisher,
                url: "https://r.example:7443".into(),
                since: 5,
                load: 1000,
                requests: 7,
                draining: true,
            }),
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
        let many = ControlFrame::Takedowns(vec![Bytes::new(); MAX_TAKEDOWNS + 1]);
        assert_eq!(many.encode(), Err(WireError::OutOfBounds("takedowns")));
        let long = ControlFrame::Takedowns(vec![vec![0; MAX_TAKEDOWN + 1].into()]);
        assert_eq!(long.encode(), Err(WireError::OutOfBounds("takedowns")));
        // [0x8003, an array that claims to have four thousand million members]
        let claims = [0x82, 0x19, 0x80, 0x03, 0x9a, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(ControlFrame::decode(&claims), Err(WireError::OutOfBounds("takedowns")));
    }
}

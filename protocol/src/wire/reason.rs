//! Why a peer does not answer, or stops answering.
//!
//! Invariant: codes are stable; an unknown code stays what it is, so that newer peers can say more.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// Reason of a refusal before the first byte or of a failure after it. A missing object is no refusal: a 404 is an
/// ordinary signed response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The asking relay is no member of this publisher's network.
    NotMember,
    /// This relay does not serve that publisher.
    UnknownPublisher,
    /// No room for another request; ask another relay or come back later.
    Overloaded,
    /// The request has passed too many relays, or this one already.
    LoopDetected,
    /// The request's version is not spoken here.
    VersionMismatch,
    /// The body of the generation that was asked for is no longer held.
    GenerationGone,
    /// The request makes no sense; repeating it will not help.
    BadRequest,
    /// The origin could not be reached or answered nonsense.
    UpstreamFailed,
    /// The origin did not answer in time.
    UpstreamTimeout,
    /// The object exceeds what this relay handles.
    TooLarge,
    /// Bytes from further up did not verify.
    Integrity,
    /// The relay is shutting down.
    GoingAway,
    /// The asking relay's grant does not cover that path.
    OutOfScope,
    /// Taken down by its publisher, or refused by this relay's operator.
    Withheld,
    /// A code of a newer version.
    Other(u16),
}

impl RefusalReason {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NotMember => 1,
            Self::UnknownPublisher => 2,
            Self::Overloaded => 3,
            Self::LoopDetected => 4,
            Self::VersionMismatch => 5,
            Self::GenerationGone => 6,
            Self::BadRequest => 7,
            Self::UpstreamFailed => 8,
            Self::UpstreamTimeout => 9,
            Self::TooLarge => 10,
            Self::Integrity => 11,
            Self::GoingAway => 12,
            Self::OutOfScope => 13,
            Self::Withheld => 14,
            Self::Other(code) => code,
        }
    }

    /// The reason of a code.
    #[must_use]
    pub fn from_code(code: u16) -> Self {
        match code {
            1 => Self::NotMember,
            2 => Self::UnknownPublisher,
            3 => Self::Overloaded,
            4 => Self::LoopDetected,
            5 => Self::VersionMismatch,
            6 => Self::GenerationGone,
            7 => Self::BadRequest,
            8 => Self::UpstreamFailed,
            9 => Self::UpstreamTimeout,
            10 => Self::TooLarge,
            11 => Self::Integrity,
            12 => Self::GoingAway,
            13 => Self::OutOfScope,
            14 => Self::Withheld,
            other => Self::Other(other),
        }
    }
}

impl<C> Encode<C> for RefusalReason {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.u16(self.code())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for RefusalReason {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        d.u16().map(Self::from_code)
    }
}

//! How urgent a transfer is.
//!
//! Invariant: classes are ordered, most urgent first, and a code that is not known means on-demand content: a newer
//! relay that names finer classes is neither refused nor preferred.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// How urgent a transfer is; an earlier class goes before a later one on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// A part at the live edge, or a playlist: a player waits for it with almost nothing in its buffer.
    LivePart,
    /// A whole segment at the live edge.
    LiveSegment,
    /// On-demand content that somebody waits for.
    #[default]
    Vod,
    /// Nobody waits: replication, prefetching, repair.
    Background,
}

impl Class {
    /// Every class, most urgent first.
    pub const ALL: [Self; 4] = [Self::LivePart, Self::LiveSegment, Self::Vod, Self::Background];

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::LivePart => 0,
            Self::LiveSegment => 1,
            Self::Vod => 2,
            Self::Background => 3,
        }
    }

    /// The class of a code; an unknown one is [`Class::Vod`].
    #[must_use]
    pub fn from_code(code: u64) -> Self {
        match code {
            0 => Self::LivePart,
            1 => Self::LiveSegment,
            3 => Self::Background,
            _ => Self::Vod,
        }
    }
}

impl<C> Encode<C> for Class {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.u8(self.code())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Class {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        d.u64().map(Self::from_code)
    }
}

#[cfg(test)]
mod tests {
    use super::Class;

    #[test]
    fn codes_round_trip_and_unknown_ones_are_on_demand() {
        for class in Class::ALL {
            assert_eq!(Class::from_code(class.code().into()), class);
        }
        for code in [4, 255, u64::MAX] {
            assert_eq!(Class::from_code(code), Class::Vod);
        }
        assert!(Class::ALL.is_sorted());
    }
}

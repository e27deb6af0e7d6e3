//! How a relay brings evidence to the publisher's ledger, and what it hears back.
//!
//! Invariant: every message of a submission has one outcome, in the same order; what is kept has a salt, without which
//! the relay could not show later which leaf is its own.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::ids::PublisherId;
use crate::statement::{InclusionPromise, Statement as _};
use crate::token::MAX_TOKEN;
use crate::wire::WireError;

/// Most messages in one submission.
pub const MAX_SUBMITTED: usize = 64;
/// Most bytes of messages in one submission.
pub const MAX_SUBMITTED_BYTES: usize = 96 * 1024;

/// A message for the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Submitted {
    /// [`Kind`](crate::statement::Kind) as a number.
    #[n(0)]
    pub kind: u8,
    /// The message: a COSE message, or a compact token.
    #[n(1)]
    pub message: ByteVec,
}

/// Messages for a publisher's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Submit {
    /// Whose ledger.
    #[n(0)]
    pub publisher: PublisherId,
    /// Told again in the answer.
    #[n(1)]
    pub number: u64,
    /// 1 to [`MAX_SUBMITTED`], together at most [`MAX_SUBMITTED_BYTES`].
    #[n(2)]
    pub messages: Vec<Submitted>,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Outcome {
    /// [`Verdict`] as a number; an unknown one is a refusal.
    #[n(0)]
    pub verdict: u8,
    /// Of what is kept: the salt of its leaf's commitment.
    #[n(1)]
    pub salt: Option<ByteArray<16>>,
}

/// What a publisher's collector says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// It is in the ledger.
    Kept = 0,
    /// It is no message of its kind, or its signature does not verify.
    Invalid = 1,
    /// It is not for this relay to submit.
    NotYours = 2,
    /// Relays submit nothing of this kind.
    WrongKind = 3,
}

impl Verdict {
    /// The verdict with this number; an unknown one says no more than `Invalid`.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Kept,
            2 => Self::NotYours,
            3 => Self::WrongKind,
            _ => Self::Invalid,
        }
    }

    /// For status pages and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Invalid => "invalid",
            Self::NotYours => "not_yours",
            Self::WrongKind => "wrong_kind",
        }
    }
}

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answered {
    /// Whose ledger.
    #[n(0)]
    pub publisher: PublisherId,
    /// The submission's number.
    #[n(1)]
    pub number: u64,
    /// One for each message; none when the submission is to be made again.
    #[n(2)]
    pub outcomes: Vec<Outcome>,
    /// A signed [`InclusionPromise`] for what is kept, in its order.
    #[n(3)]
    pub promise: Option<ByteVec>,
    /// Without outcomes: to be submitted again after so many milliseconds.
    #[n(4)]
    pub retry_ms: Option<u64>,
}

impl Submit {
    pub(super) fn check(&self) -> Result<(), WireError> {
        let bytes: usize = self.messages.iter().map(|one| one.message.len()).sum();
        let each = self.messages.iter().all(|one| one.message.len() <= MAX_TOKEN);
        let count = (1..=MAX_SUBMITTED).contains(&self.messages.len());
        if count && each && bytes <= MAX_SUBMITTED_BYTES { Ok(()) } else { Err(WireError::OutOfBounds("messages")) }
    }
}

impl Answered {
    pub(super) fn check(&self) -> Result<(), WireError> {
        if self.outcomes.len() > MAX_SUBMITTED {
            return Err(WireError::OutOfBounds("outcomes"));
        }
        match &self.promise {
            Some(promise) if promise.len() > InclusionPromise::MAX => Err(WireError::OutOfBounds("promise")),
            _ => Ok(()),
        }
    }
}

//! Proofs that a signer contradicted itself: two messages that anybody can check, without a log or a witness.
//!
//! Invariant: an honest signer never makes such a pair. It numbers its messages, changes none of them, and its sums only
//! grow, also across a restart.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::statement::cumulative::Cumulative;
use crate::statement::edge_claim::EdgeClaim;
use crate::statement::error::StatementError;
use crate::statement::kind::Kind;
use crate::statement::payee::PayeeChange;
use crate::statement::peer_receipt::PeerReceipt;
use crate::statement::signed::{Unverified, Verified};
use crate::statement::viewer_receipt::ViewerReceipt;

/// Longest encoded proof, in bytes: two messages and what holds them together.
const MAX_PROOF: usize = 2 * 2048 + 64;

/// How two statements contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The same counter, different content.
    SameCounter,
    /// A later counter, smaller sums.
    Rollback,
}

/// Two signed messages of one signer that cannot both be honest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    kind: Kind,
    first: Bytes,
    second: Bytes,
}

/// What a proof proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// The Ed25519 public key that signed both.
    pub signer: [u8; 32],
    /// The kind of the messages.
    pub kind: Kind,
    /// What is wrong with them.
    pub why: Why,
}

/// Compares two verified statements.
#[must_use]
pub fn contradiction<S: Cumulative>(a: &Verified<S>, b: &Verified<S>) -> Option<(Why, Contradiction)> {
    let (first, second) = if order(a) <= order(b) { (a, b) } else { (b, a) };
    let why = compare(first, second)?;
    Some((why, Contradiction { kind: S::KIND, first: first.bytes().clone(), second: second.bytes().clone() }))
}

fn order<S: Cumulative>(message: &Verified<S>) -> (u64, &Bytes) {
    (message.statement().counter(), message.bytes())
}

fn compare<S: Cumulative>(first: &Verified<S>, second: &Verified<S>) -> Option<Why> {
    let (earlier, later) = (first.statement(), second.statement());
    if earlier.signer() != later.signer() || first.bytes() == second.bytes() {
        return None;
    }
    if earlier.counter() == later.counter() {
        return (earlier.numbering() == later.numbering()).then_some(Why::SameCounter);
    }
    (earlier.series() == later.series() && later.falls_behind(earlier)).then_some(Why::Rollback)
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Wire {
    #[n(0)]
    kind: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    first: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    second: Vec<u8>,
}

impl Contradiction {
    /// The proof as one CBOR value, to store and to pass on.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire { kind: self.kind.number(), first: self.first.to_vec(), second: self.second.to_vec() };
        cbor::to_vec(&wire)
    }

    /// Reads a proof; whether it proves anything shows in [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        cbor::check_length(bytes, MAX_PROOF)?;
        let wire: Wire = cbor::decode_canonical(bytes)?;
        let kind = Kind::from_number(wire.kind).ok_or(StatementError::Unfit("kind"))?;
        Ok(Self { kind, first: wire.first.into(), second: wire.second.into() })
    }

    /// Verifies both signatures and that the two contradict each other.
    ///
    /// # Errors
    /// [`StatementError`]; [`StatementError::Unfit`] with `contradiction` if both can be honest.
    pub fn verify(&self) -> Result<Proven, StatementError> {
        match self.kind {
            Kind::PeerReceipt => self.verify_as::<PeerReceipt>(),
            Kind::EdgeClaim => self.verify_as::<EdgeClaim>(),
            Kind::ViewerReceipt => self.verify_as::<ViewerReceipt>(),
            Kind::PayeeChange => self.verify_as::<PayeeChange>(),
            _ => Err(StatementError::NotSelfSigned),
        }
    }

    fn verify_as<S: Cumulative>(&self) -> Result<Proven, StatementError> {
        let first = Unverified::<S>::new(self.first.clone()).verify()?;
        let second = Unverified::<S>::new(self.second.clone()).verify()?;
        if order(&first) > order(&second) {
            return Err(CborError::NotCanonical.into());
        }
        let why = compare(&first, &second).ok_or(StatementError::Unfit("contradiction"))?;
        let signer = first.statement().signer().ok_or(StatementError::Unfit("signer"))?;
        Ok(Proven { signer, kind: self.kind, why })
    }
}

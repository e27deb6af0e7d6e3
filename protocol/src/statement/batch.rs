//! Many signatures at once.
//!
//! A batch costs about half of what its signatures cost one by one. What it accepts beyond a strict check are only
//! messages whose own signer put a component of small order into key or signature on purpose: such a message passes a
//! batch now and then and never a strict check. So a batch is good enough to let evidence into a ledger, which promises
//! no more than to keep it; settlements verify strictly and pay nothing for such a message, and so does whoever extends
//! credit for a receipt.

use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::cose::CoseError;
use crate::ids::KeyId;
use crate::statement::edge_claim::EdgeClaim;
use crate::statement::error::StatementError;
use crate::statement::kind::Kind;
use crate::statement::payee::PayeeChange;
use crate::statement::peer_receipt::PeerReceipt;
use crate::statement::signed::{SelfSigned, Unverified, Verified};
use crate::statement::viewer_receipt::ViewerReceipt;

/// Signatures in one equation: more gain little and make a bad one dearer to find.
const EQUATION: usize = 128;
/// At this many or fewer, a failed batch is verified one by one.
const ONE_BY_ONE: usize = 4;

/// Evidence by relays and viewers, whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// By the receiver of bytes.
    PeerReceipt(Verified<PeerReceipt>),
    /// By the edge that delivered.
    EdgeClaim(Verified<EdgeClaim>),
    /// By a player.
    ViewerReceipt(Verified<ViewerReceipt>),
    /// By a relay about itself.
    PayeeChange(Verified<PayeeChange>),
}

impl Evidence {
    /// Its kind in a ledger.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::PeerReceipt(_) => Kind::PeerReceipt,
            Self::EdgeClaim(_) => Kind::EdgeClaim,
            Self::ViewerReceipt(_) => Kind::ViewerReceipt,
            Self::PayeeChange(_) => Kind::PayeeChange,
        }
    }

    /// The COSE message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::PeerReceipt(message) => message.bytes(),
            Self::EdgeClaim(message) => message.bytes(),
            Self::ViewerReceipt(message) => message.bytes(),
            Self::PayeeChange(message) => message.bytes(),
        }
    }
}

/// Verifies messages together, whatever their kinds. The answers stand in the order of the questions; one bad message
/// refuses no other.
#[must_use]
pub fn verify_batch(messages: &[(Kind, Bytes)]) -> Vec<Result<Evidence, StatementError>> {
    let mut answers: Vec<Result<Evidence, StatementError>> = Vec::with_capacity(messages.len());
    let mut equations = Vec::with_capacity(messages.len());
    for (kind, bytes) in messages {
        let read = match kind {
            Kind::PeerReceipt => read(bytes, Evidence::PeerReceipt),
            Kind::EdgeClaim => read(bytes, Evidence::EdgeClaim),
            Kind::ViewerReceipt => read(bytes, Evidence::ViewerReceipt),
            Kind::PayeeChange => read(bytes, Evidence::PayeeChange),
            _ => Err(StatementError::NotSelfSigned),
        };
        answers.push(read.map(|(evidence, mut equation)| {
            equation.answer = answers.len();
            equations.push(equation);
            evidence
        }));
    }
    for group in equations.chunks(EQUATION) {
        settle(group, &mut answers);
    }
    answers
}

/// One signature to be checked.
struct Equation {
    answer: usize,
    message: Vec<u8>,
    signature: Signature,
    key: VerifyingKey,
}

fn read<S: SelfSigned>(
    bytes: &Bytes,
    evidence: impl FnOnce(Verified<S>) -> Evidence,
) -> Result<(Evidence, Equation), StatementError> {
    let unverified = Unverified::<S>::new(bytes.clone());
    let read = unverified.read()?;
    let message = read.message.signed_bytes(S::CONTEXT);
    let equation = Equation { answer: 0, message, signature: read.message.signature(), key: read.key };
    Ok((evidence(Verified::new(read.statement, bytes.clone())), equation))
}

/// Halves a group until the bad signatures stand alone.
fn settle(group: &[Equation], answers: &mut [Result<Evidence, StatementError>]) {
    if group.len() > ONE_BY_ONE {
        if holds(group) {
            return;
        }
        let (left, right) = group.split_at(group.len() / 2);
        settle(left, answers);
        settle(right, answers);
        return;
    }
    for equation in group {
        if equation.key.verify_strict(&equation.message, &equation.signature).is_err() {
            let kid = KeyId::of(equation.key.as_bytes());
            answers[equation.answer] = Err(CoseError::BadSignature(kid).into());
        }
    }
}

fn holds(group: &[Equation]) -> bool {
    let messages: Vec<&[u8]> = group.iter().map(|equation| equation.message.as_slice()).collect();
    let signatures: Vec<Signature> = group.iter().map(|equation| equation.signature).collect();
    let keys: Vec<VerifyingKey> = group.iter().map(|equation| equation.key).collect();
    ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
}

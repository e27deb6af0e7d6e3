//! What may become a leaf.
//!
//! Invariant: a [`Submission`] was verified, by signature or by being the publisher's own.

use weir_protocol::PublisherId;
use weir_protocol::grant::SignedGrant;
use weir_protocol::keys::KeyRing;
use weir_protocol::statement::{
    Evidence, Kind, LogIdentity, Observation, ProbeCommitment, ProbeReveal, PublisherSigned, Verified,
};
use weir_protocol::token::SessionClaims;

use crate::leaf::MAX_MESSAGE;

/// Why something cannot become a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// Longer than a leaf may be.
    #[error("a message of {0} bytes; at most 65536 are allowed")]
    TooLong(usize),
    /// Only what somebody signed and somebody verified becomes a leaf of this kind.
    #[error("a {0} is submitted as what was verified, not as bytes")]
    Unverified(Kind),
    /// The token is another publisher's.
    #[error("the token was issued by {0}")]
    Foreign(PublisherId),
}

/// A kind of statement that a publisher makes in its own log.
pub trait PublishersOwn: PublisherSigned {
    /// The kind in the ledger.
    const KIND: Kind;
}

impl PublishersOwn for Observation {
    const KIND: Kind = Kind::Observation;
}

impl PublishersOwn for ProbeCommitment {
    const KIND: Kind = Kind::ProbeCommitment;
}

impl PublishersOwn for ProbeReveal {
    const KIND: Kind = Kind::ProbeReveal;
}

impl PublishersOwn for LogIdentity {
    const KIND: Kind = Kind::LogIdentity;
}

/// A verified message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    kind: Kind,
    message: Vec<u8>,
}

impl Submission {
    fn new(kind: Kind, message: &[u8]) -> Result<Self, SubmissionError> {
        if message.len() > MAX_MESSAGE {
            return Err(SubmissionError::TooLong(message.len()));
        }
        Ok(Self { kind, message: message.to_vec() })
    }

    /// Evidence by a relay or a viewer.
    #[must_use]
    pub fn evidence(evidence: &Evidence) -> Self {
        // Every kind of evidence is bounded far below a leaf's length.
        Self { kind: evidence.kind(), message: evidence.bytes().to_vec() }
    }

    /// A statement by the publisher.
    ///
    /// # Errors
    /// [`SubmissionError::TooLong`].
    pub fn statement<S: PublishersOwn>(statement: &Verified<S>) -> Result<Self, SubmissionError> {
        Self::new(S::KIND, statement.bytes())
    }

    /// A session token, whose claims were verified by the caller.
    ///
    /// # Errors
    /// [`SubmissionError`].
    pub fn token(publisher: PublisherId, token: &str, claims: &SessionClaims) -> Result<Self, SubmissionError> {
        if claims.iss != publisher {
            return Err(SubmissionError::Foreign(claims.iss));
        }
        Self::new(Kind::Token, token.as_bytes())
    }

    /// The key list that the publisher's signatures are verified with.
    ///
    /// # Errors
    /// [`SubmissionError::TooLong`].
    pub fn key_list(ring: &KeyRing) -> Result<Self, SubmissionError> {
        Self::new(Kind::KeyList, ring.encoded())
    }

    /// A grant that the publisher signed.
    #[must_use]
    pub fn grant(grant: &SignedGrant) -> Self {
        Self { kind: Kind::Grant, message: grant.bytes().to_vec() }
    }

    /// What the publisher itself adds and nobody signs: a policy file, an epoch's totals, a mark.
    ///
    /// # Errors
    /// [`SubmissionError`]; [`SubmissionError::Unverified`] for every other kind.
    pub fn own(kind: Kind, message: &[u8]) -> Result<Self, SubmissionError> {
        match kind {
            Kind::Policy | Kind::EpochTotals | Kind::Mark => Self::new(kind, message),
            _ => Err(SubmissionError::Unverified(kind)),
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn into_parts(self) -> (Kind, Vec<u8>) {
        (self.kind, self.message)
    }
}

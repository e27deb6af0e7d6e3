//! The kinds of input that a ledger keeps.
//!
//! Invariant: a number is never used again for another kind; it is part of every leaf's commitment.

/// What a leaf of a ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The publisher's signed list of signing keys ([`KeyRing`](crate::keys::KeyRing)).
    KeyList = 1,
    /// Which log this is ([`LogIdentity`](crate::statement::LogIdentity)).
    LogIdentity = 2,
    /// What a relay may serve, signed by the publisher.
    Grant = 3,
    /// A session token in its compact form.
    Token = 4,
    /// [`PeerReceipt`](crate::statement::PeerReceipt).
    PeerReceipt = 5,
    /// [`EdgeClaim`](crate::statement::EdgeClaim).
    EdgeClaim = 6,
    /// [`ViewerReceipt`](crate::statement::ViewerReceipt).
    ViewerReceipt = 7,
    /// [`PayeeChange`](crate::statement::PayeeChange).
    PayeeChange = 8,
    /// [`Observation`](crate::statement::Observation).
    Observation = 9,
    /// [`ProbeCommitment`](crate::statement::ProbeCommitment).
    ProbeCommitment = 10,
    /// [`ProbeReveal`](crate::statement::ProbeReveal).
    ProbeReveal = 11,
    /// A settlement policy file, byte by byte.
    Policy = 12,
    /// What an epoch came to, kept when the epoch's openings are deleted.
    EpochTotals = 13,
    /// A point in time, so that a log tells how late it is even when nothing else happens.
    Mark = 14,
}

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Self; 14] = [
        Self::KeyList,
        Self::LogIdentity,
        Self::Grant,
        Self::Token,
        Self::PeerReceipt,
        Self::EdgeClaim,
        Self::ViewerReceipt,
        Self::PayeeChange,
        Self::Observation,
        Self::ProbeCommitment,
        Self::ProbeReveal,
        Self::Policy,
        Self::EpochTotals,
        Self::Mark,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The kind's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind's name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyList => "key list",
            Self::LogIdentity => "log identity",
            Self::Grant => "grant",
            Self::Token => "token",
            Self::PeerReceipt => "peer receipt",
            Self::EdgeClaim => "edge claim",
            Self::ViewerReceipt => "viewer receipt",
            Self::PayeeChange => "payee change",
            Self::Observation => "observation",
            Self::ProbeCommitment => "probe commitment",
            Self::ProbeReveal => "probe reveal",
            Self::Policy => "policy",
            Self::EpochTotals => "epoch totals",
            Self::Mark => "mark",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

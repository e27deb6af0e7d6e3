//! Why a byte is not paid.
//!
//! Invariant: every byte that was claimed is either accepted or stands under one of these codes. Codes are part of the
//! settlement's format and are never used for something else.

use serde::{Deserialize, Serialize};

/// A reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Received later than the claim window after the epoch.
    Late,
    /// Times in the statement lie outside its epoch.
    OutsideEpoch,
    /// The relay signed statements that contradict each other in this epoch: nothing of it is believed.
    Contradiction,
    /// The relay had no grant for the epoch or the path.
    NoGrant,
    /// The token is not in the log.
    NoToken,
    /// The token was not signed by the publisher.
    BadToken,
    /// The token had expired before the session began, or before its last byte and the grace.
    ExpiredToken,
    /// The token assigns other relays.
    NotAssigned,
    /// The token does not cover the path, or is for the other class.
    OutsideToken,
    /// More than the playlists listed in the time.
    NotListed,
    /// More than the publisher saw reported.
    NotReported,
    /// More than the pulling CDN's log names.
    NotImported,
    /// More than the viewer confirmed.
    NotConfirmed,
    /// More than the session may fetch over all relays.
    SessionLimit,
    /// More than one relay is paid for in one epoch.
    RelayCap,
    /// More than the relays of one account are paid for in one epoch.
    GroupCap,
    /// The epoch's budget is spent.
    Budget,
    /// Probes measured that the relay claims too much.
    Inflation,
    /// The receiver's share that pays for fills is spent.
    ReceiverShare,
    /// The policy has no price for it.
    NoPrice,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 20] = [
        Self::Late,
        Self::OutsideEpoch,
        Self::Contradiction,
        Self::NoGrant,
        Self::NoToken,
        Self::BadToken,
        Self::ExpiredToken,
        Self::NotAssigned,
        Self::OutsideToken,
        Self::NotListed,
        Self::NotReported,
        Self::NotImported,
        Self::NotConfirmed,
        Self::SessionLimit,
        Self::RelayCap,
        Self::GroupCap,
        Self::Budget,
        Self::Inflation,
        Self::ReceiverShare,
        Self::NoPrice,
    ];

    /// The code in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::OutsideEpoch => "outside_epoch",
            Self::Contradiction => "contradiction",
            Self::NoGrant => "no_grant",
            Self::NoToken => "no_token",
            Self::BadToken => "bad_token",
            Self::ExpiredToken => "expired_token",
            Self::NotAssigned => "not_assigned",
            Self::OutsideToken => "outside_token",
            Self::NotListed => "not_listed",
            Self::NotReported => "not_reported",
            Self::NotImported => "not_imported",
            Self::NotConfirmed => "not_confirmed",
            Self::SessionLimit => "session_limit",
            Self::RelayCap => "relay_cap",
            Self::GroupCap => "group_cap",
            Self::Budget => "budget",
            Self::Inflation => "inflation",
            Self::ReceiverShare => "receiver_share",
            Self::NoPrice => "no_price",
        }
    }

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// What it means to the person who is paid less, and what to do about it.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Late => "it reached the ledger after the claim window; check the relay's connection to the adapter",
            Self::OutsideEpoch => "its times lie outside the epoch; check the relay's clock",
            Self::Contradiction => "the relay signed two statements that contradict each other; see misconduct",
            Self::NoGrant => "the relay had no grant for this time or path; ask the publisher",
            Self::NoToken => "the session's token is not in the log; the relay submits it with its first claim",
            Self::BadToken => "the publisher did not sign the session's token",
            Self::ExpiredToken => "the session's token had expired",
            Self::NotAssigned => "the session's token assigns other relays",
            Self::OutsideToken => "the session's token does not cover this path or class",
            Self::NotListed => "playlists listed fewer bytes for that session in that time",
            Self::NotReported => "the publisher saw the player report fewer bytes",
            Self::NotImported => "the pulling CDN's log names fewer bytes",
            Self::NotConfirmed => "the viewer's player confirmed fewer bytes",
            Self::SessionLimit => "the session's relays together claimed more than its token allows",
            Self::RelayCap => "the relay's cap for one epoch",
            Self::GroupCap => "the cap for all relays of one account in one epoch",
            Self::Budget => "the publisher's budget for the epoch",
            Self::Inflation => "blind probes measured that this relay claims more than it delivers",
            Self::ReceiverShare => "the share of the receiver's earnings that pays for fills is spent",
            Self::NoPrice => "the policy has no price for this kind and region",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn codes_in_files_are_the_codes_in_the_program() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).ok(), Some(reason.code().into()));
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code("because"), None);
    }
}

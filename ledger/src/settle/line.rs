//! A line of a settlement.
//!
//! Invariant: `claimed` is `accepted` plus everything in `rejected`; `amount` is the creator's, the platform's and the
//! relay's share plus what the relay's peers get of it. A line never changes once it is released.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_protocol::{Epoch, RelayId};

use crate::settle::policy::{Hold, PriceKind};
use crate::settle::reason::Reason;

/// How well a claim is backed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// A valid token only.
    E0,
    /// And what the publisher saw by itself.
    E1,
    /// And the viewer's receipts.
    E2,
    /// At least E1, and blind probes measured the relay.
    E3,
}

impl Grade {
    /// All, the weakest first.
    pub const ALL: [Self; 4] = [Self::E0, Self::E1, Self::E2, Self::E3];

    /// How many epochs a line of this grade is held.
    #[must_use]
    pub const fn hold(self, hold: &Hold) -> u64 {
        match self {
            Self::E0 => hold.e0,
            Self::E1 => hold.e1,
            Self::E2 => hold.e2,
            Self::E3 => hold.e3,
        }
    }
}

/// What one relay gets for one kind of delivery of one content, with one grade of evidence, in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The epoch.
    pub epoch: Epoch,
    /// Who delivered.
    pub relay: RelayId,
    /// To whom.
    pub kind: PriceKind,
    /// Path of the policy's split that covers it; empty if none does.
    pub path: String,
    /// How well it is backed.
    pub grade: Grade,
    /// Bytes claimed.
    pub claimed: u64,
    /// Bytes accepted.
    pub accepted: u64,
    /// Bytes not accepted, by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// Millionths of the claim that probes clawed back.
    pub inflation_ppm: u64,
    /// Millionths of the currency's unit for the accepted bytes, all shares together.
    pub amount: u64,
    /// Whose content it is.
    pub creator: Option<String>,
    /// The creator's share.
    pub creator_amount: u64,
    /// The platform's share.
    pub platform_amount: u64,
    /// What the relays get that filled this one.
    pub to_peers: u64,
    /// What is left for the relay.
    pub relay_amount: u64,
    /// From the beginning of this epoch on it is paid; until then it is held.
    pub release_epoch: Epoch,
}

impl Line {
    /// What identifies the line within a settlement, in the order in which lines are sorted.
    #[must_use]
    pub fn key(&self) -> (Epoch, String, PriceKind, &str, Grade) {
        (self.epoch, self.relay.to_string(), self.kind, &self.path, self.grade)
    }

    /// Bytes not accepted.
    #[must_use]
    pub fn rejected_bytes(&self) -> u64 {
        self.rejected.values().sum()
    }
}

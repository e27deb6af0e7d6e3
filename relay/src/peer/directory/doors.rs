//! Where viewers come to the relays of this network, as these report it. Invariant: one report for each connected relay,
//! the newest; it counts for [`REPORT_HOLDS`] after it came, so a relay that has died is out after that long at most.

use std::collections::HashMap;
use weir_protocol::{ids::RelayId, resource::CanonicalPath, time::UnixMillis, wire::DoorReport};

/// How often a relay reports.
pub const REPORT_EVERY: std::time::Duration = std::time::Duration::from_secs(2);
/// How long a report counts: one may be late without harm. With the second that a list is cached for, a relay that has
/// died is in no list after five seconds.
pub const REPORT_HOLDS: std::time::Duration = std::time::Duration::from_secs(4);

/// A relay's door that has been reported lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Whose.
    pub relay: RelayId,
    /// What it said.
    pub report: DoorReport,
    /// The region it is assigned to.
    pub region: String,
    /// Its share, as granted.
    pub weight: u32,
    /// Paths that its grant covers.
    pub scopes: Vec<CanonicalPath>,
}

#[derive(Debug, Default)]
pub(super) struct Doors(HashMap<RelayId, Heard>);

#[derive(Debug)]
struct Heard {
    session: u64,
    at: UnixMillis,
    report: DoorReport,
}

impl Doors {
    pub(super) fn note(&mut self, relay: RelayId, session: u64, report: DoorReport, at: UnixMillis) {
        self.0.insert(relay, Heard { session, at, report });
    }

    pub(super) fn gone(&mut self, relay: &RelayId) {
        self.0.remove(relay);
    }

    /// What the relay of that session has said in time.
    pub(super) fn of(&self, relay: &RelayId, session: u64, now: UnixMillis) -> Option<&DoorReport> {
        let heard = self.0.get(relay).filter(|heard| heard.session == session)?;
        let holds = u64::try_from(REPORT_HOLDS.as_millis()).unwrap_or(u64::MAX);
        (now.since(heard.at) < holds).then_some(&heard.report)
    }
}

//! What status pages, metrics and start-up lines are told.

use super::{class::Conclusion, portmap::Mapped};
use serde::Serialize;
use serde_json::{Value, json};
use weir_protocol::reach::ReachClass;

/// How this node can be reached, as far as it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReachReport {
    /// What follows from the evidence.
    pub conclusion: Conclusion,
    /// What the router has granted.
    pub mapped: Mapped,
    /// Nodes over which this one can be called, in short form.
    pub carriers: Vec<String>,
    /// Seconds from the start until the class was first known.
    pub known_after_ms: Option<u64>,
}

impl ReachReport {
    /// For status pages.
    pub fn to_json(&self) -> Value {
        let Conclusion { class, confirmed, local, behind_nat } = &self.conclusion;
        json!({
            "class": class.label(),
            "addresses": confirmed,
            "local_addresses": local,
            "behind_nat": behind_nat,
            "port_mappings": self.mapped,
            "carriers": self.carriers,
            "known_after_ms": self.known_after_ms,
        })
    }

    /// One line for the operator.
    pub fn sentence(&self) -> String {
        let addresses = || self.conclusion.confirmed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" · ");
        let mut line = match self.conclusion.class {
            ReachClass::Unknown => "not known yet".to_owned(),
            ReachClass::Direct => format!("{} ok → DIRECT", addresses()),
            ReachClass::Mapped => format!("router forwards {} → MAPPED", addresses()),
            ReachClass::Punched => {
                "behind a router that lets peers in when both sides call → PUNCHED, nothing to change".to_owned()
            }
            ReachClass::PeerOnly => {
                "not reachable from outside → PEER-ONLY: helps other relays, nothing to change".to_owned()
            }
        };
        if let Some(doors) = self.mapped.doors_tcp {
            line.push_str(&format!("; doors at {doors}"));
        }
        line
    }
}

impl Serialize for ReachReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

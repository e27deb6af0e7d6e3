//! What an epoch came to, as leaves of the log: what stays when the epoch's openings are deleted.
//!
//! Invariant: totals are the epoch's lines and nothing else. While the openings are there, totals that differ from what
//! they come to are an error that names the line; afterwards the totals stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_protocol::{Epoch, PolicyHash};

use crate::evidence::Book;
use crate::settle::line::Line;

/// Why totals in the log are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TotalsError {
    /// Not totals.
    #[error("leaf {leaf} is no epoch totals: {why}")]
    Malformed {
        /// Which leaf.
        leaf: u64,
        /// What is wrong.
        why: String,
    },
    /// The openings come to something else.
    #[error("the totals of epoch {epoch} in leaf {leaf} differ from what its openings come to: {line}")]
    Differ {
        /// Which epoch.
        epoch: Epoch,
        /// The first leaf of the totals.
        leaf: u64,
        /// The first line that differs.
        line: String,
    },
}

/// One leaf of totals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) version: u64,
    pub(super) epoch: Epoch,
    pub(super) part: u64,
    pub(super) parts: u64,
    /// Leaves below this number without opening are accounted for by totals.
    pub(super) size: u64,
    pub(super) policy: PolicyHash,
    pub(super) lines: Vec<Line>,
}

/// An epoch's totals.
#[derive(Debug, Clone)]
pub(super) struct EpochTotals {
    leaf: u64,
    size: u64,
    pub(super) policy: PolicyHash,
    pub(super) lines: Vec<Line>,
}

/// The totals in a log.
#[derive(Debug, Default)]
pub(super) struct Totals {
    epochs: BTreeMap<Epoch, EpochTotals>,
}

impl Totals {
    pub(super) fn read(book: &Book) -> Result<Self, TotalsError> {
        let mut parts: BTreeMap<(Epoch, u64), (u64, Part)> = BTreeMap::new();
        for (leaf, message) in &book.totals {
            let malformed = |why: String| TotalsError::Malformed { leaf: *leaf, why };
            let part: Part = serde_json::from_slice(message).map_err(|error| malformed(error.to_string()))?;
            if part.version != 1 || part.part >= part.parts || part.size > *leaf {
                return Err(malformed("its numbers do not fit together".into()));
            }
            // The first totals of an epoch stand: nobody replaces them later.
            parts.entry((part.epoch, part.part)).or_insert((*leaf, part));
        }
        let mut epochs: BTreeMap<Epoch, EpochTotals> = BTreeMap::new();
        let mut seen: BTreeMap<Epoch, (u64, u64)> = BTreeMap::new();
        for ((epoch, number), (leaf, part)) in parts {
            let (parts, next) = seen.entry(epoch).or_insert((part.parts, 0));
            if *parts != part.parts || *next != number {
                continue;
            }
            *next += 1;
            let totals = epochs.entry(epoch).or_insert(EpochTotals {
                leaf,
                size: part.size,
                policy: part.policy,
                lines: Vec::new(),
            });
            totals.lines.extend(part.lines);
        }
        // A part that is missing leaves the epoch without totals.
        epochs.retain(|epoch, _| seen.get(epoch).is_some_and(|(parts, next)| parts == next));
        Ok(Self { epochs })
    }

    pub(super) fn epoch(&self, epoch: Epoch) -> Option<&EpochTotals> {
        self.epochs.get(&epoch)
    }

    pub(super) fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.epochs.keys().copied()
    }

    /// Leaves below this number may be without opening.
    pub(super) fn covers(&self) -> u64 {
        self.epochs.values().map(|totals| totals.size).max().unwrap_or(0)
    }

    pub(super) fn compare(&self, epoch: Epoch, lines: &[Line]) -> Result<(), TotalsError> {
        let Some(totals) = self.epochs.get(&epoch) else { return Ok(()) };
        if totals.lines == lines {
            return Ok(());
        }
        let differs = totals.lines.iter().zip(lines).find(|(kept, computed)| kept != computed).map(|(_, line)| line);
        let line = differs.or_else(|| lines.get(totals.lines.len())).or_else(|| totals.lines.get(lines.len()));
        let line = line.map_or_else(String::new, |line| format!("relay {} {}", line.relay, line.kind.name()));
        Err(TotalsError::Differ { epoch, leaf: totals.leaf, line })
    }
}

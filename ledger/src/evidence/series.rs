//! The latest statement of each series.
//!
//! Only what was received in time takes part; what came later is kept apart, to show what it would have been. Signatures
//! are verified strictly and only where they matter: of the statement that counts, and of both sides of a contradiction.
//! If the one that counts turns out to be badly signed, the next lower one does, so nobody can undo an honest statement
//! with a bad one of a higher number.

use std::collections::HashMap;

use bytes::Bytes;
use weir_protocol::UnixMillis;
use weir_protocol::statement::{Cumulative, Unverified, Verified, Why, contradiction};

use crate::evidence::source::{LeafSource, SourceError};

/// The statement of a series that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest<S> {
    /// Its leaf.
    pub leaf: u64,
    /// When it was received.
    pub received: UnixMillis,
    /// What it states.
    pub statement: S,
}

/// Two leaves whose statements contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found<S> {
    pub(super) why: Why,
    pub(super) leaves: [u64; 2],
    /// One of them, for epoch and signer.
    pub(super) statement: S,
}

struct Candidate<S> {
    latest: Latest<S>,
    bytes: Bytes,
    /// The series has statements of lower counters too.
    others: bool,
}

/// Where a statement stands among those of its numbering.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    numbering: u32,
    counter: u64,
    leaf: u64,
}

pub(super) struct Collector<S: Cumulative> {
    numberings: HashMap<S::Series, u32>,
    rows: Vec<Row>,
    best: HashMap<S::Series, Candidate<S>>,
    late: HashMap<S::Series, S>,
    suspects: Vec<[u64; 2]>,
}

/// What a collector came to.
pub(super) struct Collected<S: Cumulative> {
    /// In the order of the series.
    pub(super) latest: Vec<Latest<S>>,
    /// The highest late statement of each series.
    pub(super) late: Vec<S>,
    pub(super) contradictions: Vec<Found<S>>,
}

impl<S: Cumulative> Default for Collector<S> {
    fn default() -> Self {
        Self {
            numberings: HashMap::new(),
            rows: Vec::new(),
            best: HashMap::new(),
            late: HashMap::new(),
            suspects: Vec::new(),
        }
    }
}

impl<S> Collector<S>
where
    S: Cumulative,
    S::Series: std::hash::Hash + Clone,
{
    /// Takes a leaf's message; false if it is no such statement.
    pub(super) fn add(
        &mut self,
        leaf: u64,
        received: UnixMillis,
        message: Vec<u8>,
        in_time: impl FnOnce(&S) -> bool,
        ours: impl FnOnce(&S) -> bool,
    ) -> bool {
        let bytes = Bytes::from(message);
        let Ok(statement) = Unverified::<S>::new(bytes.clone()).claimed() else { return false };
        if !ours(&statement) {
            return false;
        }
        let series = statement.series();
        if !in_time(&statement) {
            let higher = self.late.get(&series).is_none_or(|late| late.counter() < statement.counter());
            if higher {
                self.late.insert(series, statement);
            }
            return true;
        }
        let next = u32::try_from(self.numberings.len()).unwrap_or(u32::MAX);
        let numbering = *self.numberings.entry(statement.numbering()).or_insert(next);
        self.rows.push(Row { numbering, counter: statement.counter(), leaf });
        let latest = Latest { leaf, received, statement };
        match self.best.get_mut(&series) {
            None => {
                self.best.insert(series, Candidate { latest, bytes, others: false });
            }
            Some(best) => {
                best.others = true;
                let (lower, higher) = if best.latest.statement.counter() <= latest.statement.counter() {
                    (&best.latest, &latest)
                } else {
                    (&latest, &best.latest)
                };
                let rolled_back = higher.statement.counter() > lower.statement.counter()
                    && higher.statement.falls_behind(&lower.statement);
                if rolled_back {
                    self.suspects.push([lower.leaf, higher.leaf]);
                }
                if latest.statement.counter() > best.latest.statement.counter() {
                    *best = Candidate { latest, bytes, others: true };
                }
            }
        }
        true
    }

    /// Verifies what counts.
    pub(super) fn finish(mut self, source: &dyn LeafSource) -> Result<Collected<S>, SourceError> {
        self.rows.sort_unstable();
        let twins = self
            .rows
            .windows(2)
            .filter(|pair| (pair[0].numbering, pair[0].counter) == (pair[1].numbering, pair[1].counter));
        let twins: Vec<[u64; 2]> = twins.map(|pair| [pair[0].leaf, pair[1].leaf]).collect();
        let mut contradictions = Vec::new();
        for leaves in self.suspects.iter().copied().chain(twins) {
            let (first, second) = (verified::<S>(source, leaves[0])?, verified::<S>(source, leaves[1])?);
            let (Some(first), Some(second)) = (first, second) else { continue };
            if let Some((why, _)) = contradiction(&first, &second) {
                contradictions.push(Found { why, leaves, statement: first.statement().clone() });
            }
        }
        let mut latest = Vec::with_capacity(self.best.len());
        let mut bad = Vec::new();
        for (series, best) in self.best {
            match Unverified::<S>::new(best.bytes).verify() {
                Ok(verified) => latest.push(Latest { statement: verified.statement().clone(), ..best.latest }),
                Err(_) if best.others => bad.push((series, best.latest.statement)),
                Err(_) => {}
            }
        }
        for (series, statement) in bad {
            latest.extend(next_lower(&self.rows, &self.numberings, &series, &statement, source)?);
        }
        latest.sort_by_cached_key(|latest| latest.statement.series());
        let mut late: Vec<S> = self.late.into_values().collect();
        late.sort_by_cached_key(Cumulative::series);
        contradictions.sort_by_key(|found| found.leaves);
        contradictions.dedup_by_key(|found| found.leaves);
        Ok(Collected { latest, late, contradictions })
    }
}

/// The highest statement of a series below one that was badly signed.
fn next_lower<S: Cumulative>(
    rows: &[Row],
    numberings: &HashMap<S::Series, u32>,
    series: &S::Series,
    bad: &S,
    source: &dyn LeafSource,
) -> Result<Option<Latest<S>>, SourceError>
where
    S::Series: std::hash::Hash,
{
    let Some(numbering) = numberings.get(&bad.numbering()) else { return Ok(None) };
    let end = rows.partition_point(|row| (row.numbering, row.counter) < (*numbering, bad.counter()));
    for row in rows[..end].iter().rev().take_while(|row| row.numbering == *numbering) {
        let Some(opening) = source.opening(row.leaf)? else { continue };
        let verified = Unverified::<S>::new(opening.message.into()).verify();
        let verified = verified.ok().filter(|verified| verified.statement().series() == *series);
        if let Some(verified) = verified {
            let (leaf, received) = (row.leaf, opening.received);
            return Ok(Some(Latest { leaf, received, statement: verified.statement().clone() }));
        }
    }
    Ok(None)
}

fn verified<S: Cumulative>(source: &dyn LeafSource, leaf: u64) -> Result<Option<Verified<S>>, SourceError> {
    let opening = source.opening(leaf)?;
    Ok(opening.and_then(|opening| Unverified::<S>::new(opening.message.into()).verify().ok()))
}

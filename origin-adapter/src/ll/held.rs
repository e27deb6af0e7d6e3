//! Media that a channel holds: the parts of its newest segments, counted against one bound for all channels.

use super::cut::Cut;
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Bytes that all channels hold together, and may.
#[derive(Clone)]
pub(super) struct Budget {
    held: Arc<AtomicU64>,
    most: u64,
}

/// Bytes that count as long as this lives.
pub(super) struct Held {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self { held: Arc::default(), most }
    }

    /// `None` when there is no room for so many more.
    pub(super) fn take(&self, bytes: u64) -> Option<Held> {
        let before = self.held.fetch_add(bytes, Ordering::AcqRel);
        let held = Held { budget: self.clone(), bytes };
        (before.saturating_add(bytes) <= self.most).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A segment in parts.
pub(super) struct Segment {
    pub(super) sequence: u64,
    /// As the playlist writes it.
    pub(super) uri: String,
    /// What the origin is asked for.
    pub(super) path: String,
    pub(super) parts: Vec<Cut>,
    /// No more parts will come.
    pub(super) whole: bool,
    /// The parts are all of its bytes.
    pub(super) exact: bool,
    pub(super) held: Vec<Held>,
}

impl Segment {
    pub(super) fn new(sequence: u64, uri: String, path: String) -> Self {
        Self { sequence, uri, path, parts: Vec::new(), whole: false, exact: true, held: Vec::new() }
    }

    pub(super) fn duration(&self) -> Duration {
        self.parts.iter().map(|part| part.duration).sum()
    }

    /// The whole segment, when it is all here.
    pub(super) fn body(&self) -> Option<Vec<Bytes>> {
        (self.whole && self.exact).then(|| self.parts.iter().map(|part| part.bytes.clone()).collect())
    }
}

/// The reference to part `index` of the segment that `reference` names: beside it, under a name of its own.
pub(super) fn part_of(reference: &str, index: usize) -> String {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    format!("{path}{MARK}{index}.m4s{query}")
}

const MARK: &str = ".part";

/// The segment that a part's path names, and the part's index.
pub(super) fn segment_of(reference: &str) -> Option<(String, usize)> {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (segment, index) = path.strip_suffix(".m4s")?.rsplit_once(MARK)?;
    let segment = query.map_or(segment.to_owned(), |query| format!("{segment}?{query}"));
    let index = index.parse().ok()?;
    (part_of(&segment, index) == reference).then_some((segment, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_after_their_segment() {
        for segment in ["a/seg-7.m4s", "/x/t.mp4?v=1&w=2", "s.part3.m4s"] {
            let part = part_of(segment, 12);
            assert_eq!(segment_of(&part), Some((segment.to_owned(), 12)), "{part}");
        }
        assert_eq!(part_of("a.m4s?b", 0), "a.m4s.part0.m4s?b");
        for other in ["a.m4s", "a.m4s.part.m4s", "a.m4s.part01.m4s", "a.part1"] {
            assert_eq!(segment_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let budget = Budget::new(10);
        let one = budget.take(7);
        assert!(one.is_some() && budget.take(4).is_none());
        drop(one);
        assert!(budget.take(10).is_some());
    }
}

//! What a relay remembers of the objects it has passed on, and what a relay says it has, so that a new parent sends
//! exactly what is missing.
//!
//! Invariant: objects are numbered without a gap by the feed's root; whoever subscribes with its position is sent every
//! object it lacks as long as the window reaches back to it. Objects may become known in any order, since each travels
//! on a stream of its own.

use std::collections::{BTreeSet, VecDeque};

/// Objects that a relay may have running when it names its position.
const MAX_RUNNING: usize = 16;

/// What a subscriber has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The numbering this is about; a root that starts anew counts anew. 0 is nothing at all.
    pub epoch: u64,
    /// The first object it has heard nothing of.
    pub next: u64,
    /// Objects before `next` that are not whole yet, with the bytes there are. At most 16.
    pub running: Vec<(u64, u64)>,
}

/// The newest objects of one feed, in the order in which they became known.
#[derive(Debug)]
pub struct Window<T> {
    epoch: u64,
    /// The first object that is not known.
    next: u64,
    /// Known objects behind `next`: something before them is late.
    ahead: BTreeSet<u64>,
    objects: VecDeque<(u64, T)>,
    /// Objects that have left the front.
    dropped: u64,
    /// Number of the newest object that newcomers begin with.
    start: u64,
    /// Before this, something is not here.
    base: u64,
    capacity: usize,
}

impl<T> Window<T> {
    /// An empty window over so many objects, whose first object has the number `first`.
    pub fn new(epoch: u64, first: u64, capacity: usize) -> Self {
        Self {
            epoch,
            next: first,
            ahead: BTreeSet::new(),
            objects: VecDeque::new(),
            dropped: 0,
            start: first,
            base: first,
            capacity: capacity.max(1),
        }
    }

    /// The numbering.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The first object that is not known.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Where newcomers begin.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The first object that a subscriber at `position` is sent or will be: later than its own next one when this window
    /// cannot fill the gap.
    pub fn first_for(&self, position: &Position) -> u64 {
        if position.epoch == self.epoch { position.next.max(self.base) } else { self.start }
    }

    /// What comes before `first` will never come, and nobody who lacks it can be filled from here.
    pub fn advance_to(&mut self, first: u64) {
        if self.next < first {
            self.base = self.base.max(first);
        }
        while self.next < first {
            self.skip(self.next);
        }
    }

    /// True when this object is or was known, or is too far ahead to be believed.
    pub fn has(&self, number: u64) -> bool {
        number < self.next || self.ahead.contains(&number) || number - self.next > self.capacity as u64
    }

    /// Remembers an object. `starts` marks one that newcomers begin with: a playlist. False when it was known.
    pub fn insert(&mut self, number: u64, object: T, starts: bool) -> bool {
        if self.has(number) {
            return false;
        }
        self.ahead.insert(number);
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
        if starts {
            self.start = self.start.max(number);
        }
        self.objects.push_back((number, object));
        if self.objects.len() > self.capacity {
            // Objects become known nearly in order: what has left the front is not far from the least that is left.
            if let Some((number, _)) = self.objects.pop_front() {
                self.base = self.base.max(number + 1);
            }
            self.dropped += 1;
        }
        true
    }

    /// An object that will never come: whoever waits for it goes on behind it.
    pub fn skip(&mut self, number: u64) {
        if number == self.next {
            self.next += 1;
        } else if !self.has(number) {
            self.ahead.insert(number);
        }
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
    }

    /// A mark behind everything that is known now, for [`Window::since`].
    pub fn mark(&self) -> u64 {
        self.dropped + self.objects.len() as u64
    }

    /// What became known after a mark, as far as it is remembered.
    pub fn since(&self, mark: u64) -> impl Iterator<Item = (u64, &T)> {
        let skip = usize::try_from(mark.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        self.objects.iter().skip(skip).map(|(number, object)| (*number, object))
    }

    /// What to send to a subscriber at `position`: number, offset to start at, object; oldest first.
    pub fn missing(&self, position: &Position) -> Vec<(u64, u64, &T)> {
        let known = position.epoch == self.epoch && position.epoch != 0;
        let from = if known { position.next } else { self.start };
        let running = |number: u64| {
            let found = position.running.iter().take(MAX_RUNNING).find(|(running, _)| *running == number);
            found.filter(|_| known).map(|(_, offset)| *offset)
        };
        let wanted = self.objects.iter().filter_map(|(number, object)| {
            let offset = if *number >= from { Some(0) } else { running(*number) };
            offset.map(|offset| (*number, offset, object))
        });
        let mut missing: Vec<_> = wanted.collect();
        missing.sort_unstable_by_key(|(number, ..)| *number);
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_missing_and_nothing_comes_twice(count in 0u64..100, next in 0u64..120, running in prop::collection::vec((0u64..120, 1u64..9), 0..6), swap in any::<bool>()) {
            let mut window = Window::new(7, 1, 32);
            for at in 1..=count {
                // In pairs, the second first.
                let number = if swap && at + (at % 2) <= count { at + (at % 2) * 2 - 1 } else { at };
                prop_assert!(window.insert(number, (), at % 2 == 0));
                prop_assert!(!window.insert(number, (), false));
            }
            prop_assert_eq!(window.next(), count + 1);
            let position = Position { epoch: 7, next, running: running.clone() };
            let missing = window.missing(&position);
            for number in (count + 2).saturating_sub(32).max(1)..=count {
                let sent: Vec<_> = missing.iter().filter(|(sent, ..)| *sent == number).collect();
                let lacks = number >= next || running.iter().any(|(running, _)| *running == number);
                prop_assert_eq!(sent.len(), usize::from(lacks), "{}", number);
            }
            prop_assert!(missing.iter().all(|(number, ..)| *number <= count));
            prop_assert!(missing.is_sorted_by_key(|(number, ..)| *number));
        }
    }

    #[test]
    fn newcomers_begin_with_the_newest_playlist() {
        let mut window = Window::new(9, 1, 32);
        for (number, starts) in (1..).zip([true, false, true, false, false]) {
            window.insert(number, (), starts);
        }
        let missing = vec![(3, 0, &()), (4, 0, &()), (5, 0, &())];
        assert_eq!(window.missing(&Position::default()), missing);
        let elsewhere = Position { epoch: 8, next: 5, running: vec![(4, 100)] };
        assert_eq!(window.missing(&elsewhere), missing);
        let here = Position { epoch: 9, next: 5, running: vec![(4, 100)] };
        assert_eq!(window.missing(&here), vec![(4, 100, &()), (5, 0, &())]);
    }

    #[test]
    fn marks_outlive_what_leaves_the_front() {
        let mut window = Window::new(9, 1, 2);
        window.insert(1, 'a', true);
        let mark = window.mark();
        for (number, object) in [(2, 'b'), (3, 'c'), (4, 'd')] {
            window.insert(number, object, false);
        }
        assert_eq!(window.since(mark).collect::<Vec<_>>(), [(3, &'c'), (4, &'d')]);
        assert_eq!(window.since(window.mark()).count(), 0);
        assert!(window.has(1) && !window.has(5) && window.has(100), "far ahead is not believed");
        window.skip(5);
        assert_eq!(window.next(), 6);
        let behind = Position { epoch: 9, next: 4, running: Vec::new() };
        assert_eq!(window.first_for(&behind), 4);
        assert_eq!(Window::<char>::new(9, 8, 2).first_for(&behind), 8, "the gap cannot be filled from here");
        window.advance_to(8);
        assert_eq!(window.next(), 8);
    }
}

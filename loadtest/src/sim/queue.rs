//! What happens next. Invariant: events come out by time, and those of one time in the order they were put in, so that
//! a run depends on nothing but its scenario and seed.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Simulated time in microseconds since the run began.
pub(super) type Micros = u64;

/// A millisecond.
pub(super) const MILLI: Micros = 1_000;
/// A second.
pub(super) const SECOND: Micros = 1_000_000;

/// Microseconds of this many milliseconds; negative ones count as none.
pub(super) fn millis(value: f64) -> Micros {
    (value * 1e3).max(0.0).round() as Micros
}

struct Entry<E> {
    at: Micros,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    // The heap yields the greatest, and the earliest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Width of a slot of the wheel, and slots: what happens in the next eight seconds costs the same however much there is.
const WIDTH: Micros = 1_024;
const SLOTS: usize = 8_192;

/// The events to come: those of the present slot sorted, those of the next slots in heaps of their own unsorted, and
/// later ones apart (a calendar queue, Brown 1988).
pub(super) struct Queue<E> {
    present: BinaryHeap<Entry<E>>,
    slot: u64,
    wheel: Vec<Vec<Entry<E>>>,
    in_wheel: usize,
    later: BinaryHeap<Entry<E>>,
    order: u64,
    now: Micros,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self {
            present: BinaryHeap::new(),
            slot: 0,
            wheel: (0..SLOTS).map(|_| Vec::new()).collect(),
            in_wheel: 0,
            later: BinaryHeap::new(),
            order: 0,
            now: 0,
        }
    }

    /// The time of the event taken last.
    pub(super) fn now(&self) -> Micros {
        self.now
    }

    /// Puts in an event. One for the past happens now.
    pub(super) fn at(&mut self, at: Micros, event: E) {
        self.order += 1;
        self.put(Entry { at: at.max(self.now), order: self.order, event });
    }

    fn put(&mut self, entry: Entry<E>) {
        let slot = entry.at / WIDTH;
        if slot <= self.slot {
            self.present.push(entry);
        } else if slot < self.slot + SLOTS as u64 {
            self.wheel[place(slot)].push(entry);
            self.in_wheel += 1;
        } else {
            self.later.push(entry);
        }
    }

    /// Takes the next event that is due by `until`.
    pub(super) fn next(&mut self, until: Micros) -> Option<E> {
        while self.present.is_empty() {
            if !self.turn() {
                return None;
            }
        }
        if self.present.peek()?.at > until {
            return None;
        }
        let entry = self.present.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }

    /// Goes on to the next slot that may have events; false when there are no more.
    fn turn(&mut self) -> bool {
        if self.in_wheel > 0 {
            self.slot += 1;
        } else if let Some(first) = self.later.peek() {
            self.slot = first.at / WIDTH;
        } else {
            return false;
        }
        while self.later.peek().is_some_and(|first| first.at / WIDTH < self.slot + SLOTS as u64) {
            let entry = self.later.pop().expect("it was just looked at");
            self.put(entry);
        }
        let slot = place(self.slot);
        self.in_wheel -= self.wheel[slot].len();
        self.present.extend(self.wheel[slot].drain(..));
        true
    }
}

fn place(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_order() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.at(at, event);
        }
        let mut seen = String::new();
        while let Some(event) = queue.next(5) {
            seen.push(event);
            if event == 'a' {
                queue.at(1, 'x');
            }
        }
        assert_eq!((seen.as_str(), queue.now()), ("abxcd", 5));
        assert_eq!((queue.next(9), queue.next(99)), (Some('e'), None));
    }

    #[test]
    fn far_and_near_events_keep_their_order() {
        let mut random = crate::sim::random::Random::new(1, "queue");
        let mut queue = Queue::new();
        let mut expected = Vec::new();
        let mut seen = Vec::new();
        for round in 0..50u64 {
            for index in 0..40 {
                // From the same slot to half a minute ahead.
                let at = queue.now() + random.bits() % (1 << (random.below(25) + 1));
                expected.push((at, round * 40 + index));
                queue.at(at, (at, round * 40 + index));
            }
            seen.extend(std::iter::from_fn(|| queue.next(Micros::MAX)).take(30));
        }
        seen.extend(std::iter::from_fn(|| queue.next(Micros::MAX)));
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }
}

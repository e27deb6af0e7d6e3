//! The way out of a node: its upload rate is shared by the transfers that run, in proportion to their weights. Exact
//! fluid sharing by virtual time (Parekh and Gallager 1993): work is spared by keeping for each transfer the *virtual*
//! moment it ends at, which does not change when others come and go.

use super::{queue::Micros, slab::Key};
use std::{cmp::Ordering, collections::BinaryHeap};

/// When a transfer ends, in virtual time.
#[derive(Debug, Clone, Copy)]
struct Finish {
    virtual_at: f64,
    flow: Key,
}

impl PartialEq for Finish {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Finish {}

impl PartialOrd for Finish {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finish {
    fn cmp(&self, other: &Self) -> Ordering {
        other.virtual_at.total_cmp(&self.virtual_at).then_with(|| other.flow.cmp(&self.flow))
    }
}

/// What a transfer needs to know of itself to be taken off again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    virtual_end: f64,
    weight: f64,
}

/// A node's upload.
#[derive(Debug)]
pub(super) struct Uplink {
    /// Bytes per microsecond.
    rate: f64,
    virtual_now: f64,
    at: Micros,
    weights: f64,
    running: u32,
    finishes: BinaryHeap<Finish>,
    /// The time of the event that looks at this uplink next.
    pub(super) look: Micros,
}

impl Uplink {
    /// An idle uplink of so many bits per second.
    pub(super) fn new(megabits: f64) -> Self {
        Self {
            rate: megabits / 8.0,
            virtual_now: 0.0,
            at: 0,
            weights: 0.0,
            running: 0,
            finishes: BinaryHeap::new(),
            look: Micros::MAX,
        }
    }

    /// Bytes per microsecond.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// The transfers that run, and some that were called off.
    pub(super) fn flows(&self) -> impl Iterator<Item = Key> {
        self.finishes.iter().map(|finish| finish.flow)
    }

    fn advance(&mut self, now: Micros) {
        if self.running > 0 {
            self.virtual_now += self.rate * (now - self.at) as f64 / self.weights;
        }
        self.at = now;
    }

    /// A transfer of so many bytes begins.
    pub(super) fn add(&mut self, now: Micros, flow: Key, bytes: f64, weight: f64) -> Share {
        self.advance(now);
        let share = Share { virtual_end: self.virtual_now + bytes / weight, weight };
        self.finishes.push(Finish { virtual_at: share.virtual_end, flow });
        self.weights += weight;
        self.running += 1;
        share
    }

    /// A transfer ends or is called off; the bytes it had still to send.
    pub(super) fn remove(&mut self, now: Micros, share: Share) -> f64 {
        self.advance(now);
        let left = ((share.virtual_end - self.virtual_now) * share.weight).max(0.0);
        self.weights -= share.weight;
        self.running -= 1;
        if self.running == 0 {
            // What is still in the heap was called off. Time begins anew, so that no rounding error ever adds up.
            self.finishes.clear();
            self.weights = 0.0;
            self.virtual_now = 0.0;
        }
        left
    }

    /// When the first transfer ends if nothing changes; `is_running` tells those that were called off.
    pub(super) fn next(&mut self, is_running: impl Fn(Key) -> bool) -> Option<Micros> {
        loop {
            let first = self.finishes.peek()?;
            if is_running(first.flow) {
                let left = ((first.virtual_at - self.virtual_now) * self.weights / self.rate).max(0.0);
                return Some(self.at + left.ceil() as Micros);
            }
            self.finishes.pop();
        }
    }

    /// Takes a transfer that has ended by `now` out of the line; its share is still to be removed.
    pub(super) fn ended(&mut self, now: Micros, is_running: impl Fn(Key) -> bool) -> Option<Key> {
        self.advance(now);
        loop {
            let first = *self.finishes.peek()?;
            if is_running(first.flow) {
                // A microsecond's worth of bytes is what rounding the time up may have left.
                if first.virtual_at > self.virtual_now + self.rate / self.weights.max(1e-9) {
                    return None;
                }
                self.finishes.pop();
                return Some(first.flow);
            }
            self.finishes.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::slab::Slab;

    #[test]
    fn two_share_and_the_longer_one_takes_what_the_shorter_leaves() {
        let mut names = Slab::new();
        let (a, b) = (names.insert(()), names.insert(()));
        let mut uplink = Uplink::new(8.0); // one byte per microsecond
        let first = uplink.add(0, a, 1000.0, 1.0);
        let second = uplink.add(0, b, 3000.0, 1.0);
        assert_eq!(uplink.next(|_| true), Some(2000));
        assert_eq!((uplink.ended(1998, |_| true), uplink.ended(2000, |_| true)), (None, Some(a)));
        assert!(uplink.remove(2000, first) < 1.0);
        assert_eq!(uplink.next(|_| true), Some(4000));
        assert_eq!(uplink.ended(4000, |_| true), Some(b));
        assert!(uplink.remove(4000, second) < 1.0);
        assert_eq!((uplink.running, uplink.next(|_| true)), (0, None));
    }

    #[test]
    fn weights_count_and_what_is_called_off_frees_its_share() {
        let mut names = Slab::new();
        let (a, b) = (names.insert(()), names.insert(()));
        let mut uplink = Uplink::new(8.0);
        let heavy = uplink.add(0, a, 3000.0, 3.0);
        let light = uplink.add(0, b, 3000.0, 1.0);
        // After 2000 µs the heavy one has had 1500 bytes, the light one 500.
        let left = uplink.remove(2000, light);
        assert!((left - 2500.0).abs() < 1.0, "{left}");
        assert_eq!(uplink.next(|flow| flow == a), Some(3500));
        assert!((uplink.remove(3000, heavy) - 500.0).abs() < 1.0);
    }
}

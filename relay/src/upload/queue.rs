//! Who may send next under an upload limit, decided without clock or I/O: the most urgent class first, within a class
//! whoever came first. Invariants: background pieces stay within their share and go only while nobody else waits;
//! whatever waits is in the queue once, until it is granted or leaves.

use super::bucket::Bucket;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use weir_protocol::wire::Class;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(Class, u64);

/// What becomes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes now, and its place is free.
    Granted,
    /// It is the next one, after so long.
    Next(Duration),
    /// Others go first.
    Behind,
}

#[derive(Debug)]
pub(super) struct Queue {
    total: Bucket,
    background: Bucket,
    waiting: BTreeSet<Ticket>,
    tickets: u64,
}

impl Queue {
    /// `background` is that class's share of the rate, from 0 to 1.
    pub(super) fn new(bytes_per_second: f64, background: f64, now: Instant) -> Self {
        Self {
            total: Bucket::new(bytes_per_second, now),
            background: Bucket::new(bytes_per_second * background, now),
            waiting: BTreeSet::new(),
            tickets: 0,
        }
    }

    /// A place behind those of the same class.
    pub(super) fn enter(&mut self, class: Class) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(class, self.tickets);
        self.waiting.insert(ticket);
        ticket
    }

    /// Looks whether the piece of `bytes` with this place may go.
    pub(super) fn ask(&mut self, ticket: Ticket, bytes: u64, now: Instant) -> Verdict {
        if self.waiting.first() != Some(&ticket) {
            return Verdict::Behind;
        }
        let background = ticket.0 == Class::Background;
        let mut wait = self.total.wait(now);
        if background {
            wait = wait.max(self.background.wait(now));
        }
        if !wait.is_zero() {
            return Verdict::Next(wait);
        }
        self.total.take(bytes);
        if background {
            self.background.take(bytes);
        }
        self.waiting.remove(&ticket);
        Verdict::Granted
    }

    /// Gives a place up.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const PIECE: u64 = 10_000;

    /// Runs a queue of 1 MB/s with these many never-ending senders for ten seconds; bytes sent by class.
    fn share(senders: &[Class]) -> BTreeMap<Class, u64> {
        let start = Instant::now();
        let mut queue = Queue::new(1e6, 0.2, start);
        let mut places: Vec<(Class, Ticket)> = senders.iter().map(|class| (*class, queue.enter(*class))).collect();
        let mut sent = BTreeMap::new();
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            for (class, place) in &mut places {
                if queue.ask(*place, PIECE, now) == Verdict::Granted {
                    *sent.entry(*class).or_default() += PIECE;
                    *place = queue.enter(*class);
                }
            }
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_and_used() {
        let sent: u64 = share(&[Class::Vod; 5]).values().sum();
        assert!((9_900_000..=10_100_000).contains(&sent), "{sent}");
    }

    #[test]
    fn background_has_its_share_alone_and_nothing_beside_others() {
        let alone = share(&[Class::Background; 3])[&Class::Background];
        assert!((1_950_000..=2_050_000).contains(&alone), "{alone}");
        let mixed = share(&[Class::Background, Class::Vod]);
        assert!(mixed.get(&Class::Background).is_none_or(|sent| *sent <= PIECE), "{mixed:?}");
        let urgent = share(&[Class::Vod, Class::LivePart, Class::LiveSegment]);
        assert!(urgent[&Class::LivePart] > 9_900_000, "{urgent:?}");
    }

    #[test]
    fn places_that_are_given_up_hold_nobody_up() {
        let now = Instant::now();
        let mut queue = Queue::new(1e6, 0.2, now);
        let (first, second) = (queue.enter(Class::Vod), queue.enter(Class::Vod));
        assert_eq!(queue.ask(second, PIECE, now), Verdict::Behind);
        queue.leave(first);
        assert_eq!(queue.ask(second, 200_000, now), Verdict::Granted);
        // 50 KB were there; the debt of 150 KB takes as long as it does.
        let third = queue.enter(Class::LivePart);
        let Verdict::Next(wait) = queue.ask(third, PIECE, now) else { panic!("in debt") };
        assert!((Duration::from_millis(150)..Duration::from_millis(151)).contains(&wait), "{wait:?}");
        assert_eq!(queue.ask(third, PIECE, now + wait), Verdict::Granted);
    }
}

//! What the members were a while ago, so that a relay which owns an object only since then knows who has it. Invariant:
//! what is remembered is bounded, ages about double from one list to the next, and of a network that has just begun
//! nothing is remembered.

use super::membership::Membership;
use std::{collections::VecDeque, sync::Arc};
use weir_protocol::{ids::RelayId, time::UnixMillis};

/// Lists are remembered at least this far apart, in milliseconds: nobody comes to own much in less.
const APART_MS: u64 = 30_000;
/// After so long a list says nothing any more.
const OLDEST_MS: u64 = 30 * 60_000;
/// Lists that are remembered.
const MOST: usize = 12;

/// Former lists of members with the time at which they ended, the newest first.
#[derive(Debug, Default)]
pub(super) struct Formers {
    lists: VecDeque<(UnixMillis, Arc<Membership>)>,
    /// When the last one was remembered, or when the first one began.
    last: Option<UnixMillis>,
}

impl Formers {
    /// At `now` another list has taken the place of `list`.
    pub(super) fn remember(&mut self, list: Arc<Membership>, now: UnixMillis) {
        let last = *self.last.get_or_insert(now);
        if now.since(last) < APART_MS || list.members().is_empty() {
            return;
        }
        self.last = Some(now);
        self.lists.push_front((now, list));
        self.lists.retain(|(ended, _)| now.since(*ended) <= OLDEST_MS);
        let age = |(ended, _): &(UnixMillis, Arc<Membership>)| now.since(*ended) + APART_MS;
        let mut at = 1;
        while at + 1 < self.lists.len() {
            if age(&self.lists[at + 1]) <= 2 * age(&self.lists[at - 1]) {
                self.lists.remove(at);
            } else {
                at += 1;
            }
        }
        self.lists.truncate(MOST);
    }

    /// The first answer that the lists give, the newest first.
    pub(super) fn find(&self, owner: impl FnMut(&Membership) -> Option<RelayId>) -> Option<RelayId> {
        self.lists.iter().map(|(_, list)| &**list).find_map(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Member, testing::relay};

    fn list(n: u32) -> Arc<Membership> {
        Arc::new(Membership::new([Member::new(relay(n), "r".into(), 1, UnixMillis(0))], UnixMillis(0)))
    }

    #[test]
    fn a_network_that_begins_remembers_nothing_and_one_that_goes_on_remembers_ever_less() {
        let mut formers = Formers::default();
        let start = 1_000_000;
        for second in 0..APART_MS / 1_000 {
            formers.remember(list(0), UnixMillis(start + second * 1_000));
        }
        assert!(formers.lists.is_empty());
        let mut most = 0;
        for second in 0..7_200 {
            let now = UnixMillis(start + APART_MS + second * 1_000);
            formers.remember(list(second as u32), now);
            most = most.max(formers.lists.len());
            let ages: Vec<_> = formers.lists.iter().map(|(ended, _)| now.since(*ended)).collect();
            assert!(
                ages.is_sorted() && ages[0] < APART_MS && ages.last().is_some_and(|age| *age <= OLDEST_MS + APART_MS)
            );
            assert!(second < 3_600 || ages.last().is_some_and(|age| *age >= OLDEST_MS / 4), "{ages:?}");
        }
        assert!((5..=MOST).contains(&most), "{most}");
    }
}

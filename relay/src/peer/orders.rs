//! Purges on their way from the adapter to its relays, and the relays' word that they are done. Invariant: whoever waits
//! for a purge waits a bounded time, and a relay that leaves is not waited for.

use crate::fetch::Spreading;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use weir_protocol::wire::{Purge, Purged};

/// Relays have this long to say that a purge is done.
const PATIENCE: Duration = Duration::from_secs(5);
/// Purges that may wait for one relay's control stream; one that does not take them counts as not done.
const MAX_WAITING: usize = 256;
/// Purges whose relays are waited for at once; the oldest is given up for one more.
const MAX_OPEN: usize = 256;

#[derive(Default)]
struct State {
    listeners: HashMap<u64, mpsc::Sender<Purge>>,
    open: VecDeque<Open>,
    last: u64,
}

/// A purge that relays are still at.
struct Open {
    number: u64,
    missing: HashSet<u64>,
    result: Spreading,
    finished: Arc<Notify>,
}

impl Open {
    fn without(&mut self, session: u64) {
        if self.missing.remove(&session) && self.missing.is_empty() {
            self.finished.notify_one();
        }
    }
}

/// Hands purges out and counts who has done them.
#[derive(Default)]
pub(super) struct PurgeOrders(Mutex<State>);

/// One relay's orders. Dropping it means that the relay is gone.
pub(super) struct Orders<'a> {
    desk: &'a PurgeOrders,
    session: u64,
    queue: Option<mpsc::Receiver<Purge>>,
}

impl Orders<'_> {
    /// The next purge; never, for a relay that takes none.
    pub(super) async fn next(&mut self) -> Option<Purge> {
        match &mut self.queue {
            Some(queue) => queue.recv().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Orders<'_> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.listeners.remove(&self.session);
        for open in &mut state.open {
            open.without(self.session);
        }
    }
}

impl PurgeOrders {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves only plain data behind, each field valid by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orders of a relay's session; `purges` when it has said that it takes them.
    pub(super) fn listen(&self, session: u64, purges: bool) -> Orders<'_> {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        if purges {
            self.lock().listeners.insert(session, sender);
        }
        Orders { desk: self, session, queue: purges.then_some(queue) }
    }

    /// Tells every relay, and waits until they are done or have been waited for long enough.
    pub(super) async fn tell(&self, mut purge: Purge) -> Spreading {
        let (number, finished) = {
            let mut state = self.lock();
            state.last += 1;
            purge.number = state.last;
            let told = state.listeners.iter();
            let reached = told.filter(|(_, listener)| listener.try_send(purge.clone()).is_ok());
            let missing: HashSet<u64> = reached.map(|(session, _)| *session).collect();
            let result = Spreading { told: state.listeners.len(), done: 0, count: 0 };
            if missing.is_empty() {
                return result;
            }
            let finished = Arc::new(Notify::new());
            if state.open.len() == MAX_OPEN
                && let Some(oldest) = state.open.pop_front()
            {
                oldest.finished.notify_one();
            }
            state.open.push_back(Open { number: purge.number, missing, result, finished: finished.clone() });
            (purge.number, finished)
        };
        if timeout(PATIENCE, finished.notified()).await.is_err() {
            tracing::warn!(number, "some relays have not said that a purge is done");
        }
        let mut state = self.lock();
        let at = state.open.iter().position(|open| open.number == number);
        at.and_then(|at| state.open.remove(at)).map_or_else(Spreading::default, |open| open.result)
    }

    /// A relay has purged.
    pub(super) fn done(&self, session: u64, purged: Purged) {
        let mut state = self.lock();
        if let Some(open) = state.open.iter_mut().find(|open| open.number == purged.number)
            && open.missing.contains(&session)
        {
            open.result.done += 1;
            open.result.count = open.result.count.saturating_add(purged.count);
            open.without(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::{ids::PublisherId, wire::PurgeScope};

    fn purge() -> Purge {
        Purge { publisher: PublisherId([1; 32]), number: 0, scope: PurgeScope::All, target: String::new(), soft: false }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_have_done_it_are_counted_and_those_who_leave_are_not_waited_for() {
        let desk = PurgeOrders::default();
        let (mut one, two, three) = (desk.listen(1, true), desk.listen(2, true), desk.listen(3, false));
        let (told, ()) = tokio::join!(desk.tell(purge()), async {
            let number = one.next().await.map_or(0, |purge| purge.number);
            desk.done(1, Purged { number, count: 7 });
            desk.done(1, Purged { number, count: 7 });
            drop(two);
        });
        assert_eq!(told, Spreading { told: 2, done: 1, count: 7 });
        drop((one, three));
        assert_eq!(desk.tell(purge()).await, Spreading::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_says_nothing_is_waited_for_a_bounded_time() {
        let desk = PurgeOrders::default();
        let _silent = desk.listen(1, true);
        assert_eq!(desk.tell(purge()).await, Spreading { told: 1, done: 0, count: 0 });
        assert!(desk.lock().open.is_empty());
    }
}

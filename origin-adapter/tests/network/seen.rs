//! What a node did, counted. Invariant: counts only grow.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use weir_protocol::ids::{PublisherId, RelayId};
use weir_relay::{
    fetch::{Hedge, Observer},
    meter::{Account, Outcome},
    peer::PeerObserver,
    push::{PushEvent, PushObserver, Stage},
    source::SourceError,
};

/// Far beyond what anything here takes; reached only by a bug.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits for `future`, which must be done soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: should have happened long ago"),
    }
}

/// Waits until `holds`; for effects that arrive over the network and that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Bytes of memory that this process holds (Linux; elsewhere 0).
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Counts of one node.
#[derive(Default)]
pub(crate) struct Seen {
    asked: Mutex<HashMap<(&'static str, &'static str), u64>>,
    filled: Mutex<HashMap<&'static str, u64>>,
    failovers: Mutex<Vec<&'static str>>,
    hedges: Mutex<Vec<Hedge>>,
    sent: Arc<Sent>,
    pushed: Mutex<HashMap<&'static str, u64>>,
}

#[derive(Default)]
struct Sent(AtomicU64);

impl Account for Sent {
    fn settle(&self, outcome: Outcome) {
        self.0.fetch_add(outcome.handed, Ordering::Relaxed);
    }
}

impl Seen {
    /// How often sources of this kind were asked, with any result.
    pub(crate) fn asked(&self, label: &str) -> u64 {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|((of, _), _)| *of == label).map(|(_, count)| count).sum()
    }

    /// How often sources of this kind answered so: `ok` or the error's label.
    pub(crate) fn answered(&self, label: &'static str, result: &'static str) -> u64 {
        self.asked.lock().unwrap().get(&(label, result)).copied().unwrap_or(0)
    }

    /// Body bytes from sources of this kind.
    pub(crate) fn filled(&self, label: &str) -> u64 {
        self.filled.lock().unwrap().get(label).copied().unwrap_or(0)
    }

    /// Why transfers went on from another source.
    pub(crate) fn failovers(&self) -> Vec<&'static str> {
        self.failovers.lock().unwrap().clone()
    }

    /// What became of second requests beside late ones.
    pub(crate) fn hedges(&self) -> Vec<Hedge> {
        self.hedges.lock().unwrap().clone()
    }

    /// How often this happened in trees, or how many objects were pushed here `whole`.
    pub(crate) fn pushed(&self, label: &str) -> u64 {
        self.pushed.lock().unwrap().get(label).copied().unwrap_or(0)
    }

    /// Body bytes sent to peers in replies that are over.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.0.load(Ordering::Relaxed)
    }
}

/// The observer that a fetcher and a peer server share.
#[derive(Clone, Default)]
pub(crate) struct Watch(pub(crate) Arc<Seen>);

impl Observer for Watch {
    fn asked(&self, label: &'static str, result: Result<(), &SourceError>, _: Duration) {
        let result = result.map_or_else(SourceError::label, |()| "ok");
        *self.0.asked.lock().unwrap().entry((label, result)).or_default() += 1;
    }

    fn filled(&self, label: &'static str, bytes: u64) {
        *self.0.filled.lock().unwrap().entry(label).or_default() += bytes;
    }

    fn hedged(&self, how: Hedge) {
        self.0.hedges.lock().unwrap().push(how);
    }

    fn failed_over(&self, why: &SourceError) {
        self.0.failovers.lock().unwrap().push(why.label());
    }
}

impl PeerObserver for Watch {
    fn delivery(&self, _: RelayId, _: PublisherId) -> Arc<dyn Account> {
        self.0.sent.clone()
    }
}

impl PushObserver for Watch {
    fn arrived(&self, stage: Stage, _: Duration) {
        *self.0.pushed.lock().unwrap().entry(stage.label()).or_default() += 1;
    }

    fn happened(&self, event: PushEvent) {
        *self.0.pushed.lock().unwrap().entry(event.label()).or_default() += 1;
    }
}

//! One live playlist: its newest version, who waits for the next, and who brings it. Invariant: at most one request for
//! the next version is under way to a source, however many wait.

use super::Version;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::watch;

/// A live playlist that offers what low-latency players use.
pub struct Rendition {
    versions: watch::Sender<Option<Arc<Version>>>,
    pulled: AtomicBool,
    fed: AtomicBool,
}

/// As long as this lives, its holder asks a source for the next version, and nobody else does.
pub(crate) struct Pulling(Arc<Rendition>);

impl Drop for Pulling {
    fn drop(&mut self) {
        self.0.pulled.store(false, Ordering::Release);
    }
}

impl Rendition {
    pub(super) fn new() -> Self {
        Self { versions: watch::Sender::new(None), pulled: AtomicBool::new(false), fed: AtomicBool::new(false) }
    }

    /// The newest version.
    pub fn newest(&self) -> Option<Arc<Version>> {
        self.versions.borrow().clone()
    }

    /// Hears of newer versions; while it lives, somebody waits.
    pub fn listen(&self) -> watch::Receiver<Option<Arc<Version>>> {
        self.versions.subscribe()
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.versions.receiver_count() > 0
    }

    /// `None` when somebody pulls already.
    pub(crate) fn pull(self: &Arc<Self>) -> Option<Pulling> {
        (!self.pulled.swap(true, Ordering::AcqRel)).then(|| Pulling(self.clone()))
    }

    /// Versions are pushed here, so nobody needs to ask for them.
    pub fn set_fed(&self, fed: bool) {
        self.fed.store(fed, Ordering::Release);
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.fed.load(Ordering::Acquire)
    }

    /// A version, unless a newer one is known; the same one again is younger than before. True when it is new.
    pub(super) fn publish(&self, version: Version) -> bool {
        let mut new = false;
        self.versions.send_if_modified(|newest| {
            let of = |version: &Version| version.entry.head.generation;
            let known = newest.as_ref().map(|known| of(known));
            if known.is_some_and(|known| known > of(&version)) {
                return false;
            }
            new = known != Some(of(&version));
            *newest = Some(Arc::new(version));
            new
        });
        new
    }
}

//! One publisher's takedowns, shared by everything that serves. Invariant: a look-up never waits for whoever takes
//! takedowns in.

use super::{Rules, TakedownBook, Verdict};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_protocol::{
    ids::PublisherId,
    keys::KeyRing,
    resource::ResourceKey,
    takedown::{SignedTakedown, Takedown},
    time::UnixMillis,
};

/// What became of takedowns that came together.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    /// Those that were new: to be passed on, and what they cover to be purged.
    pub new: Vec<Takedown>,
    /// Those that needed a signature check.
    pub judged: usize,
    /// Why the sender is not to be trusted, if one was forged; nothing behind that one was looked at.
    pub forged: Option<String>,
    /// The book's sequence before and after.
    pub sequence: (u64, u64),
}

/// The takedowns of one publisher.
pub struct Withdrawn {
    book: Mutex<TakedownBook>,
    rules: ArcSwap<Rules>,
}

impl Withdrawn {
    /// Nothing is taken down.
    pub fn new(publisher: PublisherId) -> Self {
        Self { book: Mutex::new(TakedownBook::new(publisher)), rules: ArcSwap::from_pointee(Rules::default()) }
    }

    /// What was kept over a restart.
    pub fn restore(&self, book: TakedownBook) {
        self.rules.store(Arc::new(book.rules()));
        *self.book() = book;
    }

    /// Takes takedowns in that came from a node.
    pub fn offer(&self, all: &[Bytes], ring: &KeyRing, now: UnixMillis) -> Offered {
        let mut book = self.book();
        let mut offered = Offered { sequence: (book.sequence(), 0), ..Offered::default() };
        for bytes in all {
            match book.offer(bytes, ring, now) {
                Verdict::New(takedown) => {
                    offered.judged += 1;
                    offered.new.push(takedown);
                }
                Verdict::Known | Verdict::Older => {}
                Verdict::Full => {
                    offered.judged += 1;
                    tracing::warn!(publisher = %ring.publisher().short(), "too many takedowns are in force: one was not taken");
                }
                Verdict::Unjudged => offered.judged += 1,
                Verdict::Forged(why) => {
                    offered.judged += 1;
                    offered.forged = Some(why.to_string());
                    break;
                }
            }
        }
        offered.sequence.1 = book.sequence();
        if !offered.new.is_empty() {
            self.rules.store(Arc::new(book.rules()));
        }
        offered
    }

    /// Takes a takedown that was signed here.
    pub fn accept(&self, signed: &SignedTakedown, now: UnixMillis) -> Verdict {
        let mut book = self.book();
        let verdict = book.accept(signed, now);
        self.rules.store(Arc::new(book.rules()));
        verdict
    }

    /// Whether a resource is taken down.
    pub fn covers(&self, key: &ResourceKey, now: UnixMillis) -> bool {
        self.rules.load().cover(key, now)
    }

    /// What is taken down now, compiled.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// The book itself; not to be held across a wait.
    pub fn book(&self) -> MutexGuard<'_, TakedownBook> {
        // Nothing panics between related changes of a book.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

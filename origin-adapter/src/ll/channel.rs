//! One media playlist of the origin and what is shown of it. Invariant: what is shown only goes forward, and a part is
//! shown from when it is whole.

use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use weir_hls::Media;

/// What is known of a playlist.
#[derive(Clone)]
pub(super) enum Verdict {
    /// It has not been looked at yet.
    Unknown,
    /// Low latency cannot be made of it: it passes through. Since when that is known.
    Plain(Instant),
    /// This is shown.
    Shown(Arc<Version>),
}

/// What is shown at one time.
pub(super) struct Version {
    pub(super) text: Bytes,
    pub(super) media: Media,
    /// Parts and whole segments by their path.
    pub(super) parts: HashMap<String, Bytes>,
    pub(super) segments: HashMap<String, Vec<Bytes>>,
    /// The path of the part that is made next.
    pub(super) hint: Option<String>,
}

/// One playlist.
pub(super) struct Channel {
    /// Path and query at the origin.
    pub(super) path: String,
    verdict: watch::Sender<Verdict>,
    asked: Mutex<Instant>,
    /// Media sequence number and part of the last part, for the reports of others: 0 is none.
    last: AtomicU64,
}

/// Bits of `last` that name the part.
const PART_BITS: u32 = 16;

impl Channel {
    pub(super) fn new(path: String) -> Self {
        Self {
            path,
            verdict: watch::Sender::new(Verdict::Unknown),
            asked: Mutex::new(Instant::now()),
            last: AtomicU64::new(0),
        }
    }

    /// Somebody wants it.
    pub(super) fn touch(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Since when nobody has.
    pub(super) fn idle(&self) -> Duration {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(super) fn listen(&self) -> watch::Receiver<Verdict> {
        self.verdict.subscribe()
    }

    pub(super) fn shown(&self) -> Option<Arc<Version>> {
        match &*self.verdict.borrow() {
            Verdict::Shown(version) => Some(version.clone()),
            Verdict::Unknown | Verdict::Plain(_) => None,
        }
    }

    /// Shows a version.
    pub(super) fn show(&self, version: Version) {
        let position = version.media.position();
        let last = match (position.last_part(), position.next_sequence.checked_sub(1)) {
            (Some(part), _) => Some((position.next_sequence, part)),
            (None, Some(before)) => {
                let parts = version.media.segments.last().map_or(0, |segment| segment.parts.len() as u64);
                parts.checked_sub(1).map(|part| (before, part))
            }
            (None, None) => None,
        };
        if let Some((sequence, part)) = last {
            self.last.store(sequence << PART_BITS | (part + 1), Ordering::Release);
        }
        self.verdict.send_replace(Verdict::Shown(Arc::new(version)));
    }

    /// Nothing can be made of it.
    pub(super) fn pass(&self) {
        self.last.store(0, Ordering::Release);
        self.verdict.send_replace(Verdict::Plain(Instant::now()));
    }

    /// The last part: its segment's media sequence number and its index.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        let last = self.last.load(Ordering::Acquire);
        let part = (last & ((1 << PART_BITS) - 1)).checked_sub(1)?;
        Some((last >> PART_BITS, part))
    }
}

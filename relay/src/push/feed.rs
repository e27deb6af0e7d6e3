//! One live rendition on this node: its newest objects and how far it is, for children that are fed from here.
//! Invariant: what is in a feed was verified here, and its body is in the fetcher's hands.

use crate::{
    mesh::tree::{Position, Window},
    object::Entry,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use weir_protocol::{
    ids::{Generation, RelayId},
    resource::ResourceKey,
    wire::{MAX_ANCESTORS, PushClass, Tick},
};

/// Objects remembered: several target durations of playlists, segments and parts.
const WINDOW: usize = 64;

/// An object of a feed. Its bytes are the fetcher's.
#[derive(Clone)]
pub struct Object {
    /// The resource.
    pub key: ResourceKey,
    /// Which body.
    pub generation: Generation,
    /// How urgent it is.
    pub class: PushClass,
    /// When the adapter had its head, by its clock, ms.
    pub begun_ms: u64,
    /// Playlists are held here as well: the store keeps only the newest one.
    pub playlist: Option<Arc<Entry>>,
}

struct State {
    window: Window<Object>,
    /// Who feeds this node, who feeds that one, and so on.
    ancestors: Vec<RelayId>,
    /// When the adapter was last heard of, and when it last had the origin's word.
    root: Instant,
    looked: Instant,
    children: Vec<RelayId>,
    closed: bool,
}

/// One live rendition.
pub struct Feed {
    /// Its playlist.
    pub playlist: ResourceKey,
    /// This node is the adapter.
    leads: bool,
    /// Children that this node has offered to feed.
    offered: AtomicU16,
    state: Mutex<State>,
    news: watch::Sender<()>,
}

/// What a child must be told at first, and again when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) epoch: u64,
    pub(super) ancestors: Vec<RelayId>,
}

/// A place among a feed's children, given up when it is dropped.
pub(super) struct Seat<'a> {
    feed: &'a Feed,
    child: RelayId,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.feed.state();
        if let Some(at) = state.children.iter().position(|child| *child == self.child) {
            state.children.remove(at);
        }
    }
}

impl Feed {
    /// A feed without objects. The adapter's own counts from 1 in a numbering of its own; a relay's takes up that of
    /// its parent.
    pub(super) fn new(playlist: ResourceKey, epoch: u64, leads: bool) -> Self {
        let now = Instant::now();
        let state = State {
            window: Window::new(epoch, 1, WINDOW),
            ancestors: Vec::new(),
            root: now,
            looked: now,
            children: Vec::new(),
            closed: false,
        };
        Self { playlist, leads, offered: AtomicU16::new(0), state: Mutex::new(state), news: watch::Sender::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A parent counts otherwise: everything known is forgotten.
    pub(super) fn begin(&self, epoch: u64, first: u64) {
        self.state().window = Window::new(epoch, first, WINDOW);
        self.news.send_replace(());
    }

    /// This node hangs elsewhere now.
    pub(super) fn set_ancestors(&self, mut ancestors: Vec<RelayId>) {
        ancestors.truncate(MAX_ANCESTORS);
        let mut state = self.state();
        if state.ancestors != ancestors {
            state.ancestors = ancestors;
            drop(state);
            self.news.send_replace(());
        }
    }

    /// The parent has said how old its own word is.
    pub(super) fn heard(&self, tick: &Tick) {
        let now = Instant::now();
        let ago = |ms: u64| now.checked_sub(Duration::from_millis(ms)).unwrap_or(now);
        let mut state = self.state();
        // Two parents may both be heard while one follows the other: the better word counts.
        state.root = state.root.max(ago(tick.root_age_ms));
        state.looked = state.looked.max(ago(tick.looked_ms));
    }

    /// The origin has just confirmed the newest playlist.
    pub(super) fn looked(&self) {
        self.state().looked = Instant::now();
    }

    /// An object is known now, and its head is here. False when it was known.
    pub(super) fn insert(&self, epoch: u64, number: u64, object: Object) -> bool {
        let starts = object.class == PushClass::Playlist;
        let mut state = self.state();
        let inserted = state.window.epoch() == epoch && state.window.insert(number, object, starts);
        drop(state);
        if inserted {
            self.news.send_replace(());
        }
        inserted
    }

    /// The next object of the adapter's own feed.
    pub(super) fn append(&self, object: Object) {
        let (epoch, number) = {
            let state = self.state();
            (state.window.epoch(), state.window.next())
        };
        self.insert(epoch, number, object);
    }

    /// An object that cannot be had.
    pub(super) fn skip(&self, epoch: u64, number: u64) {
        let mut state = self.state();
        if state.window.epoch() == epoch {
            state.window.skip(number);
        }
    }

    /// True when this object was known, or cannot be of this feed.
    pub(super) fn has(&self, epoch: u64, number: u64) -> bool {
        let state = self.state();
        state.window.epoch() != epoch || state.window.has(number)
    }

    /// The numbering, and the first object that is not known.
    pub(super) fn next(&self) -> (u64, u64) {
        let state = self.state();
        (state.window.epoch(), state.window.next())
    }

    /// Wakes when there is something new for children.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// What a child at `position` lacks, and a mark for what comes after.
    pub(super) fn missing(&self, position: &Position) -> (Vec<(u64, u64, Object)>, u64) {
        let state = self.state();
        let missing = state.window.missing(position);
        let missing = missing.into_iter().map(|(number, offset, object)| (number, offset, object.clone())).collect();
        (missing, state.window.mark())
    }

    /// The first object that a child at `position` is sent or will be.
    pub(super) fn first_for(&self, position: &Position) -> u64 {
        self.state().window.first_for(position)
    }

    /// What comes before `first` will never come.
    pub(super) fn advance_to(&self, first: u64) {
        self.state().window.advance_to(first);
    }

    /// What became known after a mark, and the next mark.
    pub(super) fn since(&self, mark: u64) -> (Vec<(u64, Object)>, u64) {
        let state = self.state();
        let since = state.window.since(mark).map(|(number, object)| (number, object.clone())).collect();
        (since, state.window.mark())
    }

    pub(super) fn way(&self) -> Way {
        let state = self.state();
        Way { epoch: state.window.epoch(), ancestors: state.ancestors.clone() }
    }

    pub(super) fn tick(&self) -> Tick {
        let state = self.state();
        let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Tick {
            root_age_ms: if self.leads { 0 } else { ms(state.root) },
            next: state.window.next(),
            looked_ms: ms(state.looked),
        }
    }

    /// This node can feed so many children.
    pub(super) fn offer(&self, children: u16) {
        self.offered.store(children, Ordering::Relaxed);
    }

    /// Children that this node has offered to feed.
    pub(super) fn offered(&self) -> usize {
        self.offered.load(Ordering::Relaxed).into()
    }

    /// Takes a seat for a child, unless there are `most` already; then who sits there. A child that comes again while
    /// its former subscription has not ended yet has a seat.
    pub(super) fn seat(&self, child: RelayId, most: usize) -> Result<Seat<'_>, Vec<RelayId>> {
        let mut state = self.state();
        if state.children.len() >= most && !state.children.contains(&child) {
            return Err(state.children.clone());
        }
        state.children.push(child);
        Ok(Seat { feed: self, child })
    }

    /// Children fed now.
    pub fn children(&self) -> usize {
        self.state().children.len()
    }

    /// Nobody is fed from here any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.news.send_replace(());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }
}

//! The adapter's trees: one for each rendition and region. Relays come on streams, are told their places, report, and
//! are gone when their streams are. Invariant: a relay is in a tree exactly as long as its newest stream lives and it
//! reports.

use super::place::{moved_of, placed};
use crate::{
    mesh::tree::{Coordinator, Place, TreeConfig},
    peer::{Directory, FrameError, read_frame, refuse, write_reply},
};
use quinn::{RecvStream, SendStream};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    resource::ResourceKey,
    wire::{MAX_REPORT, RefusalReason, ReplyFrame, Report},
};

/// Trees at a time; relays of further ones pull.
const MAX_TREES: usize = 4096;
/// How often silence is looked for.
const TEND_EVERY: Duration = Duration::from_millis(500);
/// Reports that may wait to be heard.
const REPORTS: usize = 8;

type Name = (ResourceHash, Arc<str>);
type Told = Option<Option<Place<RelayId>>>;

struct Member {
    session: u64,
    children: usize,
    place: watch::Sender<Told>,
}

struct Tree {
    coordinator: Coordinator<RelayId>,
    members: HashMap<RelayId, Member>,
}

/// All trees of an adapter.
pub(super) struct Trees {
    trees: Mutex<HashMap<Name, Tree>>,
    directory: Arc<Directory>,
    wanted: mpsc::Sender<ResourceKey>,
    started: Instant,
}

/// A relay in a tree; it leaves when this is dropped.
struct Membership<'a> {
    trees: &'a Trees,
    name: Name,
    relay: RelayId,
    session: u64,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut trees = self.trees.lock();
        let Some(tree) = trees.get_mut(&self.name) else { return };
        if tree.members.get(&self.relay).is_none_or(|member| member.session != self.session) {
            return;
        }
        tree.members.remove(&self.relay);
        tree.leave(&self.relay);
        if tree.members.is_empty() {
            trees.remove(&self.name);
        }
    }
}

impl Tree {
    fn tell(&self, changes: Vec<(RelayId, Option<Place<RelayId>>)>) {
        for (relay, place) in changes {
            if let Some(member) = self.members.get(&relay) {
                member.place.send_replace(Some(place));
            }
        }
    }

    fn leave(&mut self, relay: &RelayId) {
        let changes = self.coordinator.leave(relay);
        self.tell(changes);
    }
}

impl Trees {
    /// No tree yet. Renditions that relays ask for go to `wanted`.
    pub(super) fn new(directory: Arc<Directory>, wanted: mpsc::Sender<ResourceKey>) -> Self {
        Self { trees: Mutex::default(), directory, wanted, started: Instant::now() }
    }

    /// The network that the trees are in.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Tree>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// True while a relay is in a tree of this rendition.
    pub(super) fn has(&self, playlist: &ResourceHash) -> bool {
        self.lock().keys().any(|(of, _)| of == playlist)
    }

    /// Regions with a tree of this rendition.
    pub(super) fn regions(&self, playlist: &ResourceHash) -> usize {
        self.lock().keys().filter(|(of, _)| of == playlist).count()
    }

    /// Relays in trees of this rendition.
    pub(super) fn relays(&self, playlist: &ResourceHash) -> usize {
        self.lock().iter().filter(|((of, _), _)| of == playlist).map(|(_, tree)| tree.members.len()).sum()
    }

    /// Looks for silence until `cancel`.
    pub(super) async fn tend(&self, cancel: CancellationToken) {
        let mut every = interval(TEND_EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = every.tick() => {
                    let now_ms = self.now_ms();
                    for tree in self.lock().values_mut() {
                        let changes = tree.coordinator.poll(now_ms);
                        tree.tell(changes);
                    }
                }
            }
        }
    }

    /// Serves one relay's stream.
    pub(super) async fn serve(
        &self,
        relay: RelayId,
        playlist: ResourceKey,
        children: u16,
        mut send: SendStream,
        receive: RecvStream,
    ) -> Result<(), FrameError> {
        let hash = playlist.hash();
        let Some((membership, mut place)) = self.join(relay, hash, children) else {
            return refuse(&mut send, RefusalReason::Overloaded, "too many trees".into()).await;
        };
        // A full queue has others before it, and the relay asks again when nothing is pushed.
        let _ = self.wanted.try_send(playlist);
        let (heard, mut reports) = mpsc::channel(REPORTS);
        let reading = read_reports(receive, heard);
        tokio::pin!(reading);
        loop {
            tokio::select! {
                ended = &mut reading => return ended,
                Some(report) = reports.recv() => self.heard(&membership, &report),
                changed = place.changed() => {
                    // The sender is gone when a newer stream of the same relay has come.
                    if changed.is_err() { return Ok(()) }
                    let told = place.borrow_and_update().clone();
                    if let Some(told) = told {
                        write_reply(&mut send, &ReplyFrame::Placed(placed(told.as_ref()))).await?;
                    }
                }
            }
        }
    }

    fn join(
        &self,
        relay: RelayId,
        playlist: ResourceHash,
        children: u16,
    ) -> Option<(Membership<'_>, watch::Receiver<Told>)> {
        let name = (playlist, self.directory.region_of(&relay));
        let now_ms = self.now_ms();
        let mut trees = self.lock();
        if trees.len() >= MAX_TREES && !trees.contains_key(&name) {
            return None;
        }
        let tree = trees
            .entry(name.clone())
            .or_insert_with(|| Tree { coordinator: Coordinator::new(TreeConfig::default()), members: HashMap::new() });
        let session = tree.members.get(&relay).map_or(0, |member| member.session + 1);
        let (place, told) = watch::channel(None);
        let children = usize::from(children);
        tree.members.insert(relay, Member { session, children, place });
        let changes = tree.coordinator.join(relay, children, now_ms);
        tree.tell(changes);
        // One that was in the tree already may have kept its place, and has not heard of it on this stream.
        if let Some(member) = tree.members.get(&relay).filter(|member| member.place.borrow().is_none()) {
            member.place.send_replace(Some(tree.coordinator.place(&relay)));
        }
        Some((Membership { trees: self, name, relay, session }, told))
    }

    fn heard(&self, membership: &Membership<'_>, report: &Report) {
        let now_ms = self.now_ms();
        let (relay, mut trees) = (membership.relay, self.lock());
        let Some(tree) = trees.get_mut(&membership.name) else { return };
        if !tree.coordinator.contains(&relay)
            && let Some(member) = tree.members.get(&relay)
        {
            // It was silent for too long, and is back.
            let changes = tree.coordinator.join(relay, member.children, now_ms);
            tree.tell(changes);
        }
        let changes = tree.coordinator.heard(relay, moved_of(report), now_ms);
        tree.tell(changes);
    }
}

async fn read_reports(mut receive: RecvStream, heard: mpsc::Sender<Report>) -> Result<(), FrameError> {
    loop {
        let frame = read_frame(&mut receive, MAX_REPORT).await?;
        let report = Report::decode(&frame)?;
        if heard.send(report).await.is_err() {
            return Ok(());
        }
    }
}

//! One fill: the disk first, then source after source until a head is there, then byte after byte, going on from the
//! next source at the same offset when one breaks. Invariant: what is stored is whole and, inside a publisher's
//! network, its tree hashes to the root in the publisher's record.

use super::{
    Ask, Candidate, FetchError, How, Served,
    ask::Asking,
    keep::keep,
    parts::{is_short_whole, other_form, place},
    running::Progress,
    served::Outcome,
    shared::{Core, InFlight, Place},
};
use crate::{
    object::{Ended, Entry, Evidence, Growing, Head, Tree},
    source::{Event, FillRequest, Incoming, Opened, Resume, SourceError},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use weir_protocol::{freshness::Storage, part::Part, record::SignedRecord, resource::ResourceKey};

/// Sources opened for one fill, first tries and continuations together.
const MAX_OPENS: usize = 6;
/// How long a private body waits for its reader to make room before the fill is given up.
const PRIVATE_PATIENCE: Duration = Duration::from_secs(30);

/// What a fill is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A response: a fresh one that is held will do.
    Response,
    /// A source's word, even when what is held is fresh.
    Refresh,
}

/// What a fill has to do.
pub(super) struct Errand {
    /// What is asked for; its key is the representation that it selects, as far as is known.
    pub(super) ask: Ask,
    pub(super) wanted: Wanted,
    /// Whom to ask, best first.
    pub(super) candidates: Vec<Candidate>,
}

pub(super) async fn run(
    core: &Core,
    Errand { ask, wanted, mut candidates }: Errand,
    progress: &Progress,
    publish: watch::Sender<Outcome>,
    registered: &impl Place,
) {
    let then = core.purges.count();
    let Ask { key, hops: _, class, asked, behind } = ask;
    let hash = key.hash();
    let (held, how) = match core.store.get(&hash) {
        _ if asked.is_passed() => (None, How::Passed),
        // The fill that was running when this one was asked for has ended in between.
        Some(entry) => (Some(entry), How::Hit),
        None => (core.store.load(&hash, core.clock.now()).await, How::DiskHit),
    };
    if wanted == Wanted::Response
        && let Some(entry) = held.as_ref().filter(|held| held.is_fresh(core.clock.now()))
    {
        publish.send_replace(Some(Ok(Served { entry: entry.clone(), how })));
        return;
    }
    if wanted == Wanted::Response
        && held.is_none()
        && key.variant.is_some()
        && let Some(whole) = whole_of(core, &key).await
    {
        publish.send_replace(Some(Ok(Served { entry: whole, how })));
        return;
    }
    let beginning = match &held {
        None if !asked.is_passed() => beginning(core, &key).await,
        _ => None,
    };
    if asked.is_passed() {
        // A source that broke off may have done what was asked.
        candidates.truncate(1);
    }
    let hops = progress.stage();
    let mut request =
        FillRequest { key, have: held.clone(), resume: None, hops, class, asked, beginning, behind, insists: false };
    let mut asking = Asking::new(core, progress.clone(), candidates);
    let mut last = FetchError::Nobody;
    while let Some((candidate, opened)) = asking.next(&mut request).await {
        match opened {
            Ok(Opened::NotModified { head, age_ms }) => {
                if let Some(held) = &held {
                    let entry = renewed(core, *head, held, age_ms);
                    if entry.is_shareable() {
                        keep(core, entry.clone(), then);
                    } else {
                        // The body is unchanged, but it may no longer be kept: those who joined ask for themselves.
                        core.store.remove(&hash);
                        registered.leave();
                    }
                    publish.send_replace(Some(Ok(Served { entry, how: How::Revalidated })));
                    return;
                }
                last = FetchError::NoSource(SourceError::BadResponse("not modified, but nothing is held".into()));
            }
            Ok(Opened::Response(incoming)) => {
                if incoming.head.status.is_server_error() && stale_on_error(core, held.as_ref(), &publish) {
                    return;
                }
                transfer(core, request, candidate, asking, *incoming, progress, &publish, registered, then).await;
                return;
            }
            Err(error) => {
                tracing::debug!(source = candidate.label, err.kind = error.label(), %error, "source failed");
                last = FetchError::NoSource(error);
            }
        }
    }
    if !stale_on_error(core, held.as_ref(), &publish) {
        // Whoever hears of the failure competes again, and must not find this fill still running.
        registered.leave();
        publish.send_replace(Some(Err(last)));
    }
}

/// The whole, held and fresh, of a short resource of which `key` is a part.
async fn whole_of(core: &Core, key: &ResourceKey) -> Option<Arc<Entry>> {
    let hash = other_form(key)?.hash();
    let now = core.clock.now();
    let entry = match core.store.get(&hash) {
        Some(entry) => entry,
        None => core.store.load(&hash, now).await?,
    };
    (entry.is_fresh(now) && is_short_whole(&entry)).then_some(entry)
}

/// The beginning of a body that is held, fresh, while the whole is not: only the rest needs to be asked for.
async fn beginning(core: &Core, key: &ResourceKey) -> Option<Arc<Entry>> {
    let part = core.parts.of(key)?.beginning?;
    let now = core.clock.now();
    let entry = match core.store.get(&part.hash()) {
        Some(entry) => entry,
        None => core.store.load(&part.hash(), now).await?,
    };
    (key.variant.is_none() && entry.is_fresh(now) && place(&entry).is_some_and(|place| place.first == 0))
        .then_some(entry)
}

/// How a response was come by that no copy could answer.
fn how_missed(request: &FillRequest) -> How {
    if request.asked.is_passed() {
        How::Passed
    } else if request.have.is_some() {
        How::Replaced
    } else if request.key.variant.as_ref().is_some_and(|variant| Part::of(variant).is_none()) {
        How::VariantMiss
    } else {
        How::Miss
    }
}

fn stale_on_error(core: &Core, held: Option<&Arc<Entry>>, publish: &watch::Sender<Outcome>) -> bool {
    let usable = held.filter(|held| held.usable_on_error(core.clock.now()));
    if let Some(held) = usable {
        publish.send_replace(Some(Ok(Served { entry: held.clone(), how: How::StaleIfError })));
    }
    usable.is_some()
}

fn renewed(core: &Core, head: Head, held: &Arc<Entry>, age_ms: u64) -> Arc<Entry> {
    Arc::new(Entry::new(head.shared(), held.body.clone(), core.clock.now(), age_ms, held.source))
}

#[expect(clippy::too_many_arguments, reason = "one call, and each is another part's")]
async fn transfer(
    core: &Core,
    mut request: FillRequest,
    first: Candidate,
    mut asking: Asking<'_>,
    incoming: Incoming,
    progress: &Progress,
    publish: &watch::Sender<Outcome>,
    registered: &impl Place,
    then: u64,
) {
    let how = how_missed(&request);
    let mut head = incoming.head.clone();
    if head.length.is_some_and(|length| length > core.config.max_object_bytes) {
        // The publisher lets it be kept, but it is longer than this node keeps.
        head.freshness.store = Storage::Pass;
    }
    let shareable = head.freshness.store == Storage::Store;
    let body = if shareable { Growing::shared() } else { Growing::private(core.config.private_window_bytes) };
    let entry = Arc::new(Entry::new(head, body, core.clock.now(), incoming.age_ms, first.label));
    core.parts.learn(&entry, core.config.max_object_bytes);
    if shareable {
        if entry.hash != request.key.hash() {
            registered.also(entry.hash);
        }
        if let Some(surplus) = core.variants.learn(&entry, &request.asked) {
            core.store.remove(&surplus.hash());
        }
    } else {
        let speaks_for_all = !request.asked.is_passed() && !request.asked.is_authorized();
        if speaks_for_all && !entry.head.status.is_server_error() {
            // What is held was superseded by something that may not be kept.
            core.store.remove(&request.key.hash());
        }
        registered.leave();
        if publish.is_closed() {
            return;
        }
    }
    publish.send_replace(Some(Ok(Served { entry: entry.clone(), how })));
    request.have = None;
    request.beginning = None;
    // Whoever goes on must have this representation.
    request.key = entry.head.key.clone();
    let mut in_flight = InFlight::new(core);
    let mut source = (first, incoming);
    let mut opens = 1;
    loop {
        let error = match pump(core, &entry, source.1, source.0.label, progress, &mut in_flight).await {
            Ok(whole) if entry.is_shareable() && !completed(&entry.body) => {
                // Every piece was signed, so no other source has better ones.
                tracing::error!(resource = %whole.hash.short(), "signed pieces do not make up the signed whole");
                registered.leave();
                entry.body.end(Ended::Failed("the pieces do not make up the signed whole".into()));
                return;
            }
            Ok(whole) => {
                entry.body.end(Ended::Whole);
                if entry.is_shareable() {
                    keep(core, whole, then);
                }
                return;
            }
            Err(error) => error,
        };
        tracing::debug!(source = source.0.label, err.kind = error.label(), %error, "transfer broke off");
        request.resume = Some(Resume { generation: entry.head.generation, offset: entry.body.length() });
        match resume(&mut request, &mut asking, &mut opens, &error).await {
            Some(next) => {
                core.observer.failed_over(&error);
                source = next;
            }
            None => {
                // Whoever sees the failure and asks again must not find this fill still running.
                registered.leave();
                entry.body.end(Ended::Failed(error.to_string().into()));
                return;
            }
        }
    }
}

/// The next source that has exactly this body, from the offset on.
async fn resume(
    request: &mut FillRequest,
    asking: &mut Asking<'_>,
    opens: &mut usize,
    why: &SourceError,
) -> Option<(Candidate, Incoming)> {
    if matches!(why, SourceError::TooLarge(_)) || request.asked.is_passed() {
        return None;
    }
    let mut refilled = false;
    while *opens < MAX_OPENS {
        let Some(candidate) = asking.pop() else {
            if std::mem::replace(&mut refilled, true) {
                return None;
            }
            asking.start_over(request);
            continue;
        };
        *opens += 1;
        let opened = asking.alone(request, &candidate).await;
        if let Ok(Opened::Response(incoming)) = opened
            && request.resume.is_some_and(|resume| resume.generation == incoming.head.generation)
        {
            return Some((candidate, *incoming));
        }
    }
    None
}

/// Fills in the inner nodes that a transfer lacks which went on from another source: they come only for the part that
/// is sent, and whoever asks this node from the start needs all. False when they do not lead to the signed root.
fn completed(body: &Growing) -> bool {
    let Some(tree) = body.tree().filter(|tree| !tree.is_complete()) else { return true };
    let whole = Tree::compute(tree.length, |offset, size| gather(body, offset, size));
    let proven = whole.root == tree.root;
    body.set_tree(whole);
    proven
}

/// Moves pieces from one source into the body. Returns the entry to store once the body is whole and proven.
async fn pump(
    core: &Core,
    entry: &Arc<Entry>,
    incoming: Incoming,
    label: &'static str,
    progress: &Progress,
    in_flight: &mut InFlight<'_>,
) -> Result<Arc<Entry>, SourceError> {
    let Incoming { head, age_ms: _, tree, mut events } = incoming;
    let body = &entry.body;
    let signed = match &head.evidence {
        Evidence::Record(record) => Some(record.clone()),
        Evidence::Head(_) | Evidence::Trusted => None,
    };
    let announced = tree.as_ref().map(|tree| tree.length);
    if let Some(tree) = tree {
        body.set_tree(tree);
    }
    while announced.is_none_or(|length| body.length() < length) {
        core.way.give(progress).await;
        let Some(event) = events.next().await else {
            return Err(SourceError::Unreachable("the source stopped in the middle".into()));
        };
        match event? {
            Event::Parent(node, pair) => body.learn(node, pair),
            Event::Data(chunk) => {
                let bytes = chunk.bytes().len() as u64;
                if !entry.is_shareable() && !tokio::time::timeout(PRIVATE_PATIENCE, body.room()).await.unwrap_or(false)
                {
                    return Err(SourceError::Refused("nobody reads it any more".into()));
                }
                if entry.is_shareable() && !in_flight.grow(bytes) {
                    return Err(SourceError::TooLarge(core.config.max_in_flight_bytes));
                }
                let length = body.push(chunk).ok_or_else(|| SourceError::Corrupt("a gap in the body".into()))?;
                core.observer.filled(label, bytes);
                let most = if entry.is_shareable() { core.config.max_object_bytes } else { u64::MAX };
                let most = entry.head.length.map_or(most, |announced| most.min(announced));
                if length > most {
                    return Err(SourceError::TooLarge(most));
                }
            }
            Event::Finished { tree, record } => return finish(entry, tree, record),
        }
    }
    Ok(whole(entry, signed))
}

fn finish(
    entry: &Arc<Entry>,
    tree: Option<Tree>,
    record: Option<Arc<SignedRecord>>,
) -> Result<Arc<Entry>, SourceError> {
    let body = &entry.body;
    let length = body.length();
    if entry.head.length.is_some_and(|announced| announced != length) {
        return Err(SourceError::BadResponse(format!("{length} bytes instead of {:?}", entry.head.length)));
    }
    let tree = match tree {
        Some(tree) => Some(tree),
        // A private body has forgotten its bytes, and is neither stored nor passed on.
        None if !entry.is_shareable() => None,
        None => Some(Tree::compute(length, |offset, size| gather(body, offset, size))),
    };
    match (&entry.head.evidence, &record) {
        (Evidence::Trusted, _) => {}
        (_, Some(record)) => {
            let said = record.body();
            let matches = tree.as_ref().is_none_or(|tree| *tree.root.as_bytes() == said.root);
            if said.generation != entry.head.generation || said.length != length || !matches {
                return Err(SourceError::Corrupt("the finished record is of another body".into()));
            }
        }
        (_, None) => return Err(SourceError::Corrupt("no finished record".into())),
    }
    if let Some(tree) = tree {
        body.set_tree(tree);
    }
    Ok(whole(entry, record))
}

/// The entry as stored: its length known, under the record instead of the head.
fn whole(entry: &Arc<Entry>, record: Option<Arc<SignedRecord>>) -> Arc<Entry> {
    let mut head = entry.head.clone().shared();
    head.length = Some(entry.body.length());
    if let Some(record) = record {
        entry.set_record(record.clone());
        head.evidence = Evidence::Record(record);
    }
    Arc::new(Entry::new(head, entry.body.clone(), entry.received, entry.age_then_ms, entry.source))
}

fn gather(body: &Growing, offset: u64, size: usize) -> Bytes {
    match body.slice(offset, size) {
        Some(bytes) if bytes.len() == size => bytes,
        _ => {
            let mut joined = BytesMut::with_capacity(size);
            while joined.len() < size {
                let Some(bytes) = body.slice(offset + joined.len() as u64, size - joined.len()) else { break };
                joined.extend_from_slice(&bytes);
            }
            joined.freeze()
        }
    }
}

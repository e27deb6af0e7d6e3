//! A relay or the adapter as a source. Invariant: every event that leaves here was verified: the head or record
//! against the publisher's keys, each chunk against its signature, each group against the signed root.

use super::{
    Links, Network,
    frames::{LEAST_RATE, ReplyReader},
};
use crate::{
    clock::Clock,
    mesh::Failure,
    object::{Head, Tree, TreeBuilder, TreeVerifier, VerifiedChunk},
    source::{Event, FillRequest, Incoming, Opened, Source, SourceError},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};
use weir_protocol::{
    growing::{ChunkError, HeadError, UnverifiedChunk},
    ids::{Generation, RelayId, ResourceHash},
    record::{RecordError, SignedRecord, UnverifiedRecord},
    wire::{RefusalReason, ReplyFrame, Request, RequestKind},
};

/// Silence after which a node is given up: it says `Wait` several times a second while it waits itself.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a relay may take for a head or for the next frame, however often it says `Wait`. Shorter than an edge lets
/// a player wait (2.5 s), so that a relay that is stuck is passed over before the viewer gives up.
const RELAY_PATIENCE: Duration = Duration::from_secs(2);
/// The adapter may be waiting for a slow origin.
const ADAPTER_PATIENCE: Duration = Duration::from_secs(15);
/// How far a record's own clock may disagree before its age is corrected: against replayed old records that claim to
/// be new.
const AGE_TOLERANCE_MS: u64 = 5_000;

/// One node of a publisher's network as a source.
#[derive(Clone)]
pub(super) struct PeerSource {
    pub(super) network: Arc<Network>,
    pub(super) links: Arc<Links>,
    pub(super) clock: Clock,
    pub(super) relay: RelayId,
    /// Ask only for what it holds already.
    pub(super) held_only: bool,
}

impl Source for PeerSource {
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>> {
        async move { self.ask(request).await.inspect_err(|error| self.mark(error)) }.boxed()
    }
}

impl PeerSource {
    fn mark(&self, error: &SourceError) {
        let failure = match error {
            SourceError::Corrupt(_) => Failure::Corrupt,
            SourceError::Unreachable(_) => Failure::Unreachable,
            SourceError::Timeout(_) => Failure::Stalled,
            // It answered, and honestly.
            _ => return,
        };
        if failure == Failure::Corrupt {
            tracing::warn!(relay = %self.relay.short(), %error, "a peer sent what does not verify");
        }
        self.network.failed(&self.relay, failure, self.clock.now());
    }

    fn patience(&self) -> Duration {
        if self.relay == self.network.adapter { ADAPTER_PATIENCE } else { RELAY_PATIENCE }
    }

    async fn ask(&self, request: &FillRequest) -> Result<Opened, SourceError> {
        let unreachable = |error: &dyn std::fmt::Display| SourceError::Unreachable(error.to_string());
        let addresses = self.network.addresses_of(&self.relay);
        let link = self.links.get(self.relay, &addresses).await.map_err(|error| unreachable(&error))?;
        let (mut send, receive) = timeout(SILENCE, link.open_bi())
            .await
            .map_err(|_| SourceError::Timeout("no room for another stream".into()))?
            .map_err(|error| unreachable(&error))?;
        let mut asked = Request::get(&request.key);
        asked.kind = if self.held_only { RequestKind::Held } else { RequestKind::Get };
        asked.hops = request.hops.saturating_add(1);
        asked.have = request.have.as_ref().map(|have| have.head.generation);
        if let Some(resume) = request.resume {
            asked.offset = resume.offset;
            asked.generation = Some(resume.generation);
        }
        let frame = asked.encode().map_err(|error| SourceError::BadResponse(error.to_string()))?;
        send.write_chunk(frame).await.map_err(|error| unreachable(&error))?;
        // Finishing cannot fail on a stream nobody has reset yet; a reset shows when the reply is read.
        let _ = send.finish();
        let mut reply = Reply::new(ReplyReader::new(receive), self.patience());
        let first = reply.next().await?;
        self.opened(request, first, reply)
    }

    fn opened(&self, request: &FillRequest, first: ReplyFrame, reply: Reply) -> Result<Opened, SourceError> {
        let (ring, now) = (self.network.ring(), self.clock.now());
        match first {
            ReplyFrame::Refused { reason, detail } => Err(refusal(reason, &detail)),
            ReplyFrame::NotModified { record, age_ms } => {
                let record = self.verify(record, request)?;
                let head = Head::of_record(record);
                if request.have.as_ref().is_none_or(|have| have.head.generation != head.generation) {
                    return Err(SourceError::Corrupt("not modified, but of another body".into()));
                }
                self.check_age(&head)?;
                let age_ms = self.age(&head, age_ms);
                self.network.succeeded(&self.relay);
                Ok(Opened::NotModified { head: Box::new(head), age_ms })
            }
            ReplyFrame::Whole { record, age_ms, offset } => {
                let record = self.verify(record, request)?;
                let root = blake3::Hash::from(record.body().root);
                let head = Head::of_record(record);
                check_generation(request, &head)?;
                self.check_age(&head)?;
                let length = head.length.unwrap_or(0);
                let wanted = request.resume.map_or(0, |resume| resume.offset);
                if offset > wanted {
                    return Err(SourceError::Corrupt("the transfer starts behind what was asked for".into()));
                }
                let state = TreeTransfer {
                    source: self.clone(),
                    reply,
                    verifier: TreeVerifier::new(length, root, offset),
                    from: offset,
                    at: offset,
                    length,
                };
                Ok(Opened::Response(Box::new(Incoming {
                    age_ms: self.age(&head, age_ms),
                    tree: Some(Tree::rooted(length, root)),
                    events: stream::try_unfold(state, TreeTransfer::step).boxed(),
                    head,
                })))
            }
            ReplyFrame::Head { head, age_ms } => {
                let signed = head.verify(&ring, &request.key, now).map_err(|error| match error {
                    HeadError::UnknownKey(_) | HeadError::Keys(_) => SourceError::Refused(error.to_string()),
                    _ => SourceError::Corrupt(error.to_string()),
                })?;
                let head = Head::of_signed(Arc::new(signed));
                check_generation(request, &head)?;
                self.check_age(&head)?;
                let at = request.resume.map_or(0, |resume| resume.offset);
                let state = ChunkTransfer {
                    source: self.clone(),
                    request: request.clone(),
                    reply,
                    resource: request.key.hash(),
                    generation: head.generation,
                    at,
                    builder: (at == 0).then(TreeBuilder::default),
                    finished: false,
                };
                Ok(Opened::Response(Box::new(Incoming {
                    age_ms: self.age(&head, age_ms),
                    tree: None,
                    events: stream::try_unfold(state, ChunkTransfer::step).boxed(),
                    head,
                })))
            }
            _ => Err(SourceError::Corrupt("a reply that starts in the middle".into())),
        }
    }

    fn verify(&self, record: UnverifiedRecord, request: &FillRequest) -> Result<Arc<SignedRecord>, SourceError> {
        record.verify(&self.network.ring(), &request.key, self.clock.now()).map(Arc::new).map_err(|error| match error {
            // Ours may be the older key list: no reason to distrust the sender.
            RecordError::UnknownKey(_) | RecordError::Keys(_) | RecordError::FromTheFuture => {
                SourceError::Refused(error.to_string())
            }
            _ => SourceError::Corrupt(error.to_string()),
        })
    }

    /// The age the sender claims, but not much less than the record's own clock says.
    fn age(&self, head: &Head, claimed_ms: u64) -> u64 {
        let by_clock = head.freshness.age_at(self.clock.now()).saturating_sub(AGE_TOLERANCE_MS);
        claimed_ms.max(by_clock)
    }

    /// Refuses from a relay what has been stale for so long that nobody may serve it: a signature does not expire, so
    /// a relay could replay an old playlist for ever. What was stale when the adapter received it is no replay.
    fn check_age(&self, head: &Head) -> Result<(), SourceError> {
        let freshness = &head.freshness;
        let usable = freshness.ttl_ms.saturating_add(freshness.stale_if_error_ms);
        let left = usable.saturating_sub(freshness.initial_age_ms).saturating_add(AGE_TOLERANCE_MS);
        if self.relay != self.network.adapter && self.clock.now().since(freshness.created) > left {
            return Err(SourceError::BadResponse("older than anybody may serve it".into()));
        }
        Ok(())
    }
}

fn check_generation(request: &FillRequest, head: &Head) -> Result<(), SourceError> {
    if request.resume.is_some_and(|resume| resume.generation != head.generation) {
        return Err(SourceError::GenerationGone);
    }
    // A playlist never goes backwards: an older body than the one held is a stale copy or a replay.
    if request.have.as_ref().is_some_and(|have| have.head.generation > head.generation) {
        return Err(SourceError::BadResponse("older than what is held".into()));
    }
    Ok(())
}

fn refusal(reason: RefusalReason, detail: &str) -> SourceError {
    match reason {
        RefusalReason::GenerationGone => SourceError::GenerationGone,
        RefusalReason::UpstreamTimeout => SourceError::UpstreamTimeout(detail.to_owned()),
        _ => SourceError::Refused(format!("{reason:?} {detail}")),
    }
}

/// Reply frames with the waits bounded.
struct Reply {
    reader: ReplyReader,
    patience: Duration,
    /// Time spent waiting for the peer, apart from what our own readers take.
    waited: Duration,
}

impl Reply {
    fn new(reader: ReplyReader, patience: Duration) -> Self {
        Self { reader, patience, waited: Duration::ZERO }
    }

    /// The next frame that is not `Wait`. Any byte breaks the silence; a whole frame ends the patience.
    async fn next(&mut self) -> Result<ReplyFrame, SourceError> {
        let begun = Instant::now();
        let frame = self.wait().await;
        self.waited += begun.elapsed();
        frame
    }

    async fn wait(&mut self) -> Result<ReplyFrame, SourceError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.reader.buffered() {
                Err(error) => return Err(SourceError::Corrupt(error.to_string())),
                Ok(Some(ReplyFrame::Failed { reason, detail })) => return Err(refusal(reason, &detail)),
                Ok(Some(ReplyFrame::Wait)) => {}
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {
                    let silent = Instant::now() + SILENCE;
                    match timeout_at(silent.min(deadline), self.reader.read()).await {
                        Err(_) => return Err(SourceError::Timeout("the peer is silent".into())),
                        // A node that goes away ends its streams wherever they are: that is no forgery.
                        Ok(Ok(false)) => return Err(SourceError::Unreachable("the reply ended early".into())),
                        Ok(Ok(true)) => {}
                        Ok(Err(error)) => return Err(SourceError::Unreachable(error.to_string())),
                    }
                }
            }
            // Looked at here too: a time limit never fires while bytes are always there to be read.
            if Instant::now() >= deadline {
                return Err(SourceError::Timeout("the peer says `Wait` for ever".into()));
            }
        }
    }
}

/// A whole object arriving under its tree.
struct TreeTransfer {
    source: PeerSource,
    reply: Reply,
    verifier: TreeVerifier,
    from: u64,
    at: u64,
    length: u64,
}

type Step<S> = Result<Option<(Event, S)>, SourceError>;

impl TreeTransfer {
    async fn step(mut self) -> Step<Self> {
        if self.at >= self.length {
            return Ok(None);
        }
        let event = self.event().await.inspect_err(|error| self.source.mark(error))?;
        if let Event::Data(chunk) = &event {
            self.at = chunk.offset() + chunk.bytes().len() as u64;
        }
        self.keeps_pace().inspect_err(|error| self.source.mark(error))?;
        if self.at >= self.length {
            self.source.network.succeeded(&self.source.relay);
        }
        Ok(Some((event, self)))
    }

    /// A relay that has the whole object sends at the least rate, after its patience: one that drips would keep a fill,
    /// and whoever waits for it, for hours. The adapter is not held to it: it may be waiting for a slow origin.
    fn keeps_pace(&self) -> Result<(), SourceError> {
        let due = self.reply.waited.saturating_sub(RELAY_PATIENCE).as_secs().saturating_mul(LEAST_RATE);
        if self.source.relay != self.source.network.adapter && self.at - self.from < due {
            return Err(SourceError::Timeout(format!("the peer sends less than {LEAST_RATE} bytes a second")));
        }
        Ok(())
    }

    async fn event(&mut self) -> Result<Event, SourceError> {
        let corrupt = |error: crate::object::TreeError| SourceError::Corrupt(error.to_string());
        match self.reply.next().await? {
            ReplyFrame::Parent(pair) => {
                let node = self.verifier.parent(&pair).map_err(corrupt)?;
                Ok(Event::Parent(node, pair))
            }
            ReplyFrame::Leaf(bytes) => Ok(Event::Data(self.verifier.leaf(bytes).map_err(corrupt)?)),
            _ => Err(SourceError::Corrupt("a frame that does not belong in a whole object".into())),
        }
    }
}

/// A growing object arriving in signed chunks.
struct ChunkTransfer {
    source: PeerSource,
    request: FillRequest,
    reply: Reply,
    resource: ResourceHash,
    generation: Generation,
    at: u64,
    /// Hashes along, when the transfer starts at the first byte.
    builder: Option<TreeBuilder>,
    finished: bool,
}

impl ChunkTransfer {
    async fn step(mut self) -> Step<Self> {
        if self.finished {
            return Ok(None);
        }
        let event = self.event().await.inspect_err(|error| self.source.mark(error))?;
        Ok(Some((event, self)))
    }

    async fn event(&mut self) -> Result<Event, SourceError> {
        match self.reply.next().await? {
            ReplyFrame::Chunk { signature, payload } => {
                let chunk = UnverifiedChunk(signature)
                    .verify(
                        &self.source.network.ring(),
                        &self.resource,
                        self.generation,
                        self.at,
                        &payload,
                        self.source.clock.now(),
                    )
                    .map_err(|error| match error {
                        ChunkError::UnknownKey(_) | ChunkError::Keys(_) => SourceError::Refused(error.to_string()),
                        _ => SourceError::Corrupt(error.to_string()),
                    })?;
                if let Some(builder) = &mut self.builder {
                    builder.update(&payload);
                }
                self.at += payload.len() as u64;
                let chunk = VerifiedChunk::signed(&chunk, payload)
                    .ok_or_else(|| SourceError::Corrupt("a chunk of another length than signed".into()))?;
                Ok(Event::Data(chunk))
            }
            ReplyFrame::Record(record) => {
                let record = self.source.verify(record, &self.request)?;
                let tree = self.builder.take().map(TreeBuilder::finish);
                let said = record.body();
                let matches = tree.as_ref().is_none_or(|tree| *tree.root.as_bytes() == said.root);
                // Checked here, so that whoever ends a body early or under another body's record is marked.
                if said.generation != self.generation || said.length != self.at || !matches {
                    return Err(SourceError::Corrupt("the finished record is of another body".into()));
                }
                self.finished = true;
                self.source.network.succeeded(&self.source.relay);
                Ok(Event::Finished { tree, record: Some(record) })
            }
            _ => Err(SourceError::Corrupt("a frame that does not belong in a growing object".into())),
        }
    }
}

//! Replies as they arrive: frames with bounded waits, a whole object under its tree, a growing one in signed chunks.
//! Invariant: every event that leaves here was verified.

use super::{
    client::{PeerSource, RELAY_PATIENCE, SILENCE, refusal},
    frames::ReplyReader,
};
use crate::{
    mesh::Failure,
    meter::Receiving,
    object::{TreeBuilder, TreeError, TreeVerifier, VerifiedChunk},
    source::{Event, FillRequest, SourceError},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, timeout_at};
use weir_protocol::{
    growing::{ChunkError, UnverifiedChunk},
    ids::{Generation, ResourceHash},
    wire::ReplyFrame,
};

/// A request that a relay is busy with: counted as long as this lives.
pub(super) struct Load(PeerSource);

impl Load {
    pub(super) fn of(source: &PeerSource) -> Self {
        source.network.mesh().asked(&source.relay, source.clock.now());
        Self(source.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.network.mesh().ended(&self.0.relay, self.0.clock.now());
    }
}

/// Reply frames with the waits bounded.
pub(crate) struct Reply {
    pub(super) reader: ReplyReader,
    pub(super) patience: Duration,
    /// Time spent waiting for the peer, apart from what our own readers take.
    waited: Duration,
    /// It has said that it waits itself.
    waits: bool,
    pub(super) load: Option<Load>,
}

impl Reply {
    pub(crate) fn new(reader: ReplyReader, patience: Duration) -> Self {
        Self { reader, patience, waited: Duration::ZERO, waits: false, load: None }
    }

    /// The next frame that is not `Wait`. Any byte breaks the silence; a whole frame ends the patience.
    pub(crate) async fn next(&mut self) -> Result<ReplyFrame, SourceError> {
        // What is here needs no clock.
        match self.reader.buffered() {
            Ok(Some(ReplyFrame::Failed { reason, detail })) => return Err(refusal(reason, &detail)),
            Ok(Some(ReplyFrame::Wait)) => self.waits = true,
            Ok(None) => {}
            Ok(Some(frame)) => return Ok(frame),
            Err(error) => return Err(SourceError::Corrupt(error.to_string())),
        }
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
                Ok(Some(ReplyFrame::Wait)) => self.waits = true,
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
pub(super) struct TreeTransfer {
    pub(super) source: PeerSource,
    pub(super) receiving: Option<Receiving>,
    pub(super) reply: Reply,
    /// Slower than this many bytes a second is a drip.
    pub(super) least_rate: u64,
    pub(super) verifier: TreeVerifier,
    pub(super) from: u64,
    pub(super) at: u64,
    pub(super) length: u64,
    /// Verified and not yet handed over.
    pub(super) ready: VecDeque<Event>,
    /// Comes behind what is ready.
    pub(super) failed: Option<SourceError>,
}

pub(super) type Step<S> = Result<Option<(Event, S)>, SourceError>;

impl TreeTransfer {
    pub(super) async fn step(mut self: Box<Self>) -> Step<Box<Self>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            let more = match self.failed.take() {
                Some(error) => Err(error),
                None if self.at >= self.length => return Ok(None),
                None => self.frame().await.and_then(|()| self.keeps_pace()),
            };
            more.inspect_err(|error| self.mark(error))?;
            if self.at >= self.length {
                let source = &self.source;
                source.network.succeeded(&source.relay, self.at - self.from, self.reply.waited, source.clock.now());
                if let Some(receiving) = &self.receiving {
                    receiving.whole();
                }
            }
        }
    }

    /// It said that it has the whole object. A delay that it explains by waiting itself may not be its own fault.
    fn mark(&self, error: &SourceError) {
        self.source.mark_as(error, if self.reply.waits { Failure::Stalled } else { Failure::Withheld });
    }

    /// A relay that has the whole object sends at the least rate, after its patience: one that drips would keep a fill,
    /// and whoever waits for it, for hours. The adapter is not held to it: it may be waiting for a slow origin.
    fn keeps_pace(&self) -> Result<(), SourceError> {
        let due = self.reply.waited.saturating_sub(RELAY_PATIENCE).as_secs().saturating_mul(self.least_rate);
        if self.source.is_relay() && self.at - self.from < due {
            return Err(SourceError::Timeout(format!("the peer sends less than {} bytes a second", self.least_rate)));
        }
        Ok(())
    }

    /// Verifies the next frame. Of a run, what stands before the first bad group is good.
    async fn frame(&mut self) -> Result<(), SourceError> {
        let corrupt = |error: TreeError| SourceError::Corrupt(error.to_string());
        match self.reply.next().await? {
            ReplyFrame::Parent(pair) => {
                let node = self.verifier.parent(&pair).map_err(corrupt)?;
                self.ready.push_back(Event::Parent(node, pair));
            }
            ReplyFrame::Leaf(bytes) => {
                let chunk = self.verifier.leaf(bytes).map_err(corrupt)?;
                self.took(chunk);
            }
            ReplyFrame::Groups { nodes, payload } => {
                if !nodes.is_empty() {
                    self.verifier.nodes(nodes).map_err(corrupt)?;
                }
                let (good, result) = self.verifier.groups(payload);
                self.ready.extend(good.nodes.into_iter().map(|(node, pair)| Event::Parent(node, pair)));
                if let Some(chunk) = good.chunk {
                    self.took(chunk);
                }
                self.failed = result.map_err(corrupt).err();
            }
            _ => return Err(SourceError::Corrupt("a frame that does not belong in a whole object".into())),
        }
        Ok(())
    }

    fn took(&mut self, chunk: VerifiedChunk) {
        if let Some(receiving) = &self.receiving {
            receiving.took(chunk.offset(), chunk.bytes().len() as u64);
        }
        self.at = chunk.offset() + chunk.bytes().len() as u64;
        self.ready.push_back(Event::Data(chunk));
    }
}

/// A growing object arriving in signed chunks.
pub(super) struct ChunkTransfer {
    pub(super) source: PeerSource,
    pub(super) receiving: Option<Receiving>,
    pub(super) request: FillRequest,
    pub(super) reply: Reply,
    pub(super) resource: ResourceHash,
    pub(super) generation: Generation,
    pub(super) at: u64,
    /// Hashes along, when the transfer starts at the first byte.
    pub(super) builder: Option<TreeBuilder>,
    pub(super) finished: bool,
}

impl ChunkTransfer {
    pub(super) async fn step(mut self: Box<Self>) -> Step<Box<Self>> {
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
                if let Some(receiving) = &self.receiving {
                    receiving.took(self.at, payload.len() as u64);
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
                if let Some(receiving) = &self.receiving {
                    receiving.whole();
                }
                self.source.network.succeeded(&self.source.relay, 0, Duration::ZERO, self.source.clock.now());
                Ok(Event::Finished { tree, record: Some(record) })
            }
            _ => Err(SourceError::Corrupt("a frame that does not belong in a growing object".into())),
        }
    }
}

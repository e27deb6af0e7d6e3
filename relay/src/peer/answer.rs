//! The answer to one peer's request: the head or record first, then chunks as they come in, or the verified tree of
//! what is whole. Invariant: bytes leave only under the evidence they were verified with.

use super::{
    Directory, Networks, PeerObserver,
    frames::{FrameError, Pace, read_frame, write_reply},
};
use crate::{
    fetch::{Fetch, FetchError, Served},
    meter::Delivery,
    object::{Ended, Entry, Evidence, Growing, TreeItem, plan},
    source::SourceError,
};
use quinn::{RecvStream, SendStream};
use std::{future::poll_fn, sync::Arc, time::Duration};
use tokio::time::{interval, timeout};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    wire::{MAX_REQUEST, RefusalReason, ReplyFrame, Request, RequestKind, VERSION},
};

/// A request must be there this soon after its stream opened.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a waiting asker is told that we are alive.
const WAIT_EVERY: Duration = Duration::from_millis(250);
/// How long we wait for our own source before refusing.
const SOURCE_PATIENCE: Duration = Duration::from_secs(15);

/// Stream reset code: the reply broke off.
const BROKEN_OFF: quinn::VarInt = quinn::VarInt::from_u32(1);

/// Who may ask a node for what.
pub(super) enum Gate {
    /// A relay: members of the networks it is in.
    Relay(Arc<Networks>),
    /// An adapter: relays in its directory.
    Adapter(Arc<Directory>),
}

impl Gate {
    /// True when the peer is in some network that is served here.
    pub(super) fn knows(&self, peer: &RelayId) -> bool {
        match self {
            Self::Relay(networks) => networks.all().iter().any(|network| network.may_ask(peer)),
            Self::Adapter(directory) => directory.contains(peer),
        }
    }

    fn refuses(&self, peer: &RelayId, publisher: &PublisherId) -> Option<RefusalReason> {
        let (known, member) = match self {
            Self::Relay(networks) => match networks.get(publisher) {
                Some(network) => (true, network.may_ask(peer)),
                None => (false, false),
            },
            Self::Adapter(directory) => (directory.publisher() == *publisher, directory.contains(peer)),
        };
        if !known {
            Some(RefusalReason::UnknownPublisher)
        } else if !member {
            Some(RefusalReason::NotMember)
        } else {
            None
        }
    }
}

pub(super) struct Answering<'a> {
    pub(super) gate: &'a Gate,
    pub(super) fetch: &'a Fetch,
    pub(super) observer: &'a dyn PeerObserver,
    pub(super) peer: RelayId,
}

impl Answering<'_> {
    /// Reads the request of one stream and answers it. An error means that the asker is gone or does not speak frames.
    pub(super) async fn run(&self, mut send: SendStream, mut receive: RecvStream) -> Result<(), FrameError> {
        let Ok(frame) = timeout(REQUEST_TIMEOUT, read_frame(&mut receive, MAX_REQUEST)).await else {
            return Ok(());
        };
        let answered = self.answer(&mut send, &frame?).await;
        // The asker may have gone meanwhile, which the stream's own acknowledgement tells it. A reply that broke off
        // is reset, so that nothing of it waits for somebody who does not read.
        let _ = match &answered {
            Ok(()) => send.finish(),
            Err(_) => send.reset(BROKEN_OFF),
        };
        answered
    }

    async fn answer(&self, send: &mut SendStream, frame: &[u8]) -> Result<(), FrameError> {
        match self.served(send, frame).await? {
            Ok((request, served)) => self.send(send, &request, &served).await,
            Err((reason, detail)) => refuse(send, reason, detail).await,
        }
    }

    async fn served(
        &self,
        send: &mut SendStream,
        frame: &[u8],
    ) -> Result<Result<(Request, Served), (RefusalReason, String)>, FrameError> {
        let refused = |reason, detail: &str| Ok(Err((reason, detail.to_owned())));
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) => return refused(RefusalReason::BadRequest, &error.to_string()),
        };
        if request.version != VERSION {
            return refused(RefusalReason::VersionMismatch, "this node speaks version 1");
        }
        if let Some(reason) = self.gate.refuses(&self.peer, &request.publisher) {
            return refused(reason, "");
        }
        if request.hops > weir_protocol::wire::MAX_HOPS {
            return refused(RefusalReason::LoopDetected, "");
        }
        let key = match request.resource_key() {
            Ok(key) => key,
            Err(error) => return refused(RefusalReason::BadRequest, &error.to_string()),
        };
        let fetched = match request.kind {
            RequestKind::Pass => return refused(RefusalReason::BadRequest, "this node passes no requests on"),
            RequestKind::Held => match self.fetch.held(&key).await {
                Some(served) if has_beyond(&served.entry, request.offset) => Ok(served),
                _ => return refused(RefusalReason::UpstreamFailed, "not held"),
            },
            RequestKind::Get => match request.generation {
                // A transfer goes on with the body it began with. A fill would bring a newer one, and cost the origin
                // a request for each relay whose source broke.
                Some(wanted) => match self.fetch.body(&key, wanted).await {
                    Some(served) => Ok(served),
                    None => return refused(RefusalReason::GenerationGone, ""),
                },
                None => {
                    let work = timeout(SOURCE_PATIENCE, self.fetch.get(&key, request.hops.max(1)));
                    match waiting(send, work).await? {
                        Ok(fetched) => fetched,
                        Err(_) => return refused(RefusalReason::UpstreamTimeout, "no source answered in time"),
                    }
                }
            },
        };
        Ok(match fetched {
            Ok(served) if request.generation.is_none_or(|wanted| wanted == served.entry.head.generation) => {
                Ok((request, served))
            }
            Ok(_) => Err((RefusalReason::GenerationGone, String::new())),
            Err(error) => Err(explain(&error)),
        })
    }

    async fn send(&self, send: &mut SendStream, request: &Request, served: &Served) -> Result<(), FrameError> {
        let entry = &served.entry;
        let age_ms = entry.age_ms(self.fetch.clock().now());
        let mut delivery = Delivery::new(self.observer.delivery(self.peer, request.publisher));
        if let Some(record) = entry.record() {
            if request.have == Some(entry.head.generation) {
                return write_reply(send, &ReplyFrame::NotModified { record: record.to_wire(), age_ms }).await;
            }
            if entry.is_shareable() {
                let record = record.clone();
                return self.send_tree(send, request, entry, &record, age_ms, &mut delivery).await;
            }
            if let Evidence::Record(record) = &entry.head.evidence {
                return self.send_passing(send, request, &entry.body, record, age_ms, &mut delivery).await;
            }
        }
        match &entry.head.evidence {
            Evidence::Head(head) => {
                let begins = ReplyFrame::Head { head: head.to_wire(), age_ms };
                self.send_chunks(send, request, entry, begins, &mut delivery).await
            }
            Evidence::Record(_) | Evidence::Trusted => {
                refuse(send, RefusalReason::UpstreamFailed, "nothing signed to send".into()).await
            }
        }
    }

    async fn send_tree(
        &self,
        send: &mut SendStream,
        request: &Request,
        entry: &Entry,
        record: &weir_protocol::record::SignedRecord,
        age_ms: u64,
        delivery: &mut Delivery,
    ) -> Result<(), FrameError> {
        let (body, length) = (&entry.body, record.body().length);
        if request.offset > length {
            return refuse(send, RefusalReason::BadRequest, "offset behind the end".into()).await;
        }
        let start = first_leaf(length, request.offset);
        write_reply(send, &ReplyFrame::Whole { record: record.to_wire(), age_ms, offset: start }).await?;
        // A body that is still arriving has its leaves after their parents, so waiting for the next leaf waits for all.
        let mut pace = Pace::default();
        let items: Vec<TreeItem> = plan(length, request.offset).collect();
        for (at, item) in items.iter().enumerate() {
            let needs = items[at..].iter().find_map(|item| match item {
                TreeItem::Leaf { offset, length } => Some(offset + *length as u64),
                TreeItem::Parent(_) => None,
            });
            if let Some(ended) = wait_for(send, body, needs.unwrap_or(0)).await? {
                return fail(send, &ended).await;
            }
            let frame = match item {
                TreeItem::Parent(node) => match body.parent(*node) {
                    Some(pair) => ReplyFrame::Parent(pair),
                    // A transfer that was resumed here has its left side's nodes only when it is whole.
                    None => return fail(send, "an inner node is not known yet").await,
                },
                TreeItem::Leaf { length: 0, .. } => break,
                TreeItem::Leaf { offset, length } => {
                    let Some(bytes) = whole_slice(body, *offset, *length) else {
                        return fail(send, "the body is gone").await;
                    };
                    ReplyFrame::Leaf(bytes)
                }
            };
            pace.write(send, &frame).await?;
            delivery.handed(frame.payload().map_or(0, |payload| payload.len() as u64));
        }
        delivery.complete();
        Ok(())
    }

    /// The tree of a body that is passed on and forgotten, group by group, as fast as the asker reads.
    async fn send_passing(
        &self,
        send: &mut SendStream,
        request: &Request,
        body: &Growing,
        record: &weir_protocol::record::SignedRecord,
        age_ms: u64,
        delivery: &mut Delivery,
    ) -> Result<(), FrameError> {
        if request.offset > 0 {
            return refuse(send, RefusalReason::GenerationGone, "what is not kept cannot be resumed".into()).await;
        }
        let mut reader = body.reader(0, None);
        write_reply(send, &ReplyFrame::Whole { record: record.to_wire(), age_ms, offset: 0 }).await?;
        // Inner nodes arrive before the leaves below them: with the leaf in hand they are known.
        let mut above = Vec::new();
        for item in plan(record.body().length, 0) {
            let (offset, length) = match item {
                TreeItem::Parent(node) => {
                    above.push(node);
                    continue;
                }
                TreeItem::Leaf { length: 0, .. } => break,
                TreeItem::Leaf { offset, length } => (offset, length),
            };
            let leaf = match waiting(send, poll_fn(|cx| reader.poll_piece(cx))).await? {
                Some(Ok(leaf)) if leaf.offset == offset && leaf.piece.bytes.len() == length => leaf.piece.bytes,
                Some(Err(why)) => return fail(send, &why).await,
                Some(Ok(_)) | None => return fail(send, "the body did not come in groups").await,
            };
            for node in above.drain(..) {
                let Some(pair) = body.parent(node) else { return fail(send, "an inner node is missing").await };
                write_reply(send, &ReplyFrame::Parent(pair)).await?;
            }
            write_reply(send, &ReplyFrame::Leaf(leaf)).await?;
            delivery.handed(length as u64);
        }
        delivery.complete();
        Ok(())
    }

    async fn send_chunks(
        &self,
        send: &mut SendStream,
        request: &Request,
        entry: &Entry,
        begins: ReplyFrame,
        delivery: &mut Delivery,
    ) -> Result<(), FrameError> {
        let mut reader = entry.body.reader(request.offset, None);
        write_reply(send, &begins).await?;
        let mut at = request.offset;
        let mut pace = Pace::default();
        loop {
            let next = waiting(send, poll_fn(|cx| reader.poll_piece(cx))).await?;
            match next {
                Some(Ok(piece)) => {
                    let Some(signature) = piece.piece.signature.filter(|_| piece.offset == at) else {
                        // Part of it came under the tree: the asker gets the rest that way when it asks again.
                        return fail(send, "no signed chunk starts there").await;
                    };
                    let count = piece.piece.bytes.len() as u64;
                    let frame = ReplyFrame::Chunk { signature, payload: piece.piece.bytes };
                    // What is not kept is held in its window only, and its viewer may read as slowly as it likes.
                    if entry.is_shareable() {
                        pace.write(send, &frame).await?;
                    } else {
                        write_reply(send, &frame).await?;
                    }
                    delivery.handed(count);
                    at += count;
                }
                Some(Err(why)) => return fail(send, &why).await,
                None => break,
            }
        }
        let Some(record) = entry.record() else { return fail(send, "no finished record").await };
        write_reply(send, &ReplyFrame::Record(record.to_wire())).await?;
        delivery.complete();
        Ok(())
    }
}

/// True when there is something to send at once. Whoever asks for what is held has lost its own source; waiting for
/// more with it could be waiting for the asker itself, whose bytes may be the ones that arrive here.
fn has_beyond(entry: &Entry, offset: u64) -> bool {
    match entry.body.ended() {
        Some(Ended::Whole) => true,
        Some(Ended::Failed(_)) => false,
        None => entry.body.length() > offset,
    }
}

fn first_leaf(length: u64, offset: u64) -> u64 {
    plan(length, offset)
        .find_map(|item| match item {
            TreeItem::Leaf { offset, .. } => Some(offset),
            TreeItem::Parent(_) => None,
        })
        .unwrap_or(0)
}

fn whole_slice(body: &Growing, offset: u64, length: usize) -> Option<bytes::Bytes> {
    let first = body.slice(offset, length)?;
    if first.len() == length {
        return Some(first);
    }
    let mut joined = bytes::BytesMut::with_capacity(length);
    joined.extend_from_slice(&first);
    while joined.len() < length {
        joined.extend_from_slice(&body.slice(offset + joined.len() as u64, length - joined.len())?);
    }
    Some(joined.freeze())
}

/// Waits until the body reaches `length`; the text says why it never will.
async fn wait_for(send: &mut SendStream, body: &Growing, length: u64) -> Result<Option<Arc<str>>, FrameError> {
    while body.length() < length {
        if let Some(Ended::Failed(why)) = waiting(send, body.beyond(body.length())).await? {
            return Ok(Some(why));
        }
        if body.ended() == Some(Ended::Whole) && body.length() < length {
            return Ok(Some("the body is shorter than its record".into()));
        }
    }
    Ok(None)
}

/// Runs `work` while telling the asker now and then that we are alive.
async fn waiting<T>(send: &mut SendStream, work: impl Future<Output = T>) -> Result<T, FrameError> {
    tokio::pin!(work);
    let mut alive = interval(WAIT_EVERY);
    alive.tick().await;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            _ = alive.tick() => write_reply(send, &ReplyFrame::Wait).await?,
        }
    }
}

fn explain(error: &FetchError) -> (RefusalReason, String) {
    let reason = match error {
        FetchError::Overloaded => RefusalReason::Overloaded,
        FetchError::NoSource(SourceError::Timeout(_) | SourceError::UpstreamTimeout(_)) => {
            RefusalReason::UpstreamTimeout
        }
        FetchError::NoSource(SourceError::TooLarge(_)) => RefusalReason::TooLarge,
        FetchError::NoSource(_) | FetchError::Nobody | FetchError::Abandoned => RefusalReason::UpstreamFailed,
    };
    (reason, error.to_string())
}

fn cut(mut detail: String) -> String {
    let mut end = detail.len().min(weir_protocol::wire::MAX_DETAIL);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.truncate(end);
    detail
}

async fn refuse(send: &mut SendStream, reason: RefusalReason, detail: String) -> Result<(), FrameError> {
    write_reply(send, &ReplyFrame::Refused { reason, detail: cut(detail) }).await
}

async fn fail(send: &mut SendStream, why: &str) -> Result<(), FrameError> {
    write_reply(send, &ReplyFrame::Failed { reason: RefusalReason::UpstreamFailed, detail: cut(why.to_owned()) }).await
}

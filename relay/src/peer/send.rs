//! A response on its way to a peer: the evidence first, then chunks as they come in, or the verified tree of what is
//! whole. Invariant: bytes leave only under the evidence they were verified with.

use super::{
    answer::Answering,
    class::granted,
    frames::{FrameError, Pace, write_reply},
};
use crate::{
    fetch::Served,
    meter::{Credit, Delivery, Meter},
    object::{Ended, Entry, Evidence, GROUP_BYTES, Growing, Runs},
};
use quinn::SendStream;
use std::{future::poll_fn, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, interval_at, timeout},
};
use weir_protocol::{
    growing::UnverifiedInterim,
    ids::{PublisherId, RelayId},
    record::SignedRecord,
    wire::{Class, MAX_DETAIL, MAX_GROUPS, RefusalReason, ReplyFrame, Request},
};

/// How often a waiting asker is told that we are alive.
const WAIT_EVERY: Duration = Duration::from_millis(250);
/// How long a reply waits for receipts before it is given up.
const CREDIT_PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of groups in one frame.
const RUN: usize = MAX_GROUPS * GROUP_BYTES as usize;
/// Stream reset code: the reply broke off.
pub(crate) const BROKEN_OFF: quinn::VarInt = quinn::VarInt::from_u32(1);

/// What every part of a reply needs to know.
#[derive(Clone, Copy)]
struct Terms {
    age_ms: u64,
    class: Class,
}

impl Answering<'_> {
    /// Sends a response from the request's offset on, as it grows.
    pub(crate) async fn send(
        &self,
        send: &mut SendStream,
        request: &Request,
        served: &Served,
    ) -> Result<(), FrameError> {
        let entry = &served.entry;
        let now = self.fetch.clock().now();
        let age_ms = entry.age_ms(now);
        let (class, priority) = granted(request.class, &entry.head, now);
        // Fails only on a stream that the asker has stopped, which the first write tells.
        let _ = send.set_priority(priority);
        let terms = Terms { age_ms, class };
        let account = self.observer.delivery(self.peer, request.publisher);
        let mut delivery = Sent::new(Delivery::new(account), self.meter, self.peer, request.publisher);
        if let Some(record) = entry.record() {
            if request.have == Some(entry.head.generation) {
                return write_reply(send, &ReplyFrame::NotModified { record: record.to_wire(), age_ms }).await;
            }
            if entry.is_shareable() {
                let record = record.clone();
                return self.send_tree(send, request, entry, &record, terms, &mut delivery).await;
            }
            if let Evidence::Record(record) = &entry.head.evidence {
                return self.send_passing(send, request, &entry.body, record, terms, &mut delivery).await;
            }
        }
        match &entry.head.evidence {
            Evidence::Head(head) => {
                let begins = ReplyFrame::Head { head: head.to_wire(), age_ms };
                self.send_chunks(send, request, entry, begins, class, &mut delivery).await
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
        record: &SignedRecord,
        terms: Terms,
        delivery: &mut Sent,
    ) -> Result<(), FrameError> {
        let (body, length) = (&entry.body, record.body().length);
        if request.offset > length {
            return refuse(send, RefusalReason::BadRequest, "offset behind the end".into()).await;
        }
        let mut runs = Runs::new(length, request.offset);
        let start = runs.group().map_or(0, |(offset, _)| offset);
        write_reply(send, &ReplyFrame::Whole { record: record.to_wire(), age_ms: terms.age_ms, offset: start }).await?;
        let mut pace = Pace::new(self.limits);
        while let Some((offset, group)) = runs.group() {
            // A body that is still arriving has its groups after the nodes above them.
            if let Some(ended) = wait_for(send, body, offset + group as u64).await? {
                return fail(send, &ended).await;
            }
            // As many groups as lie in one piece; one that lies across pieces is joined.
            let there = body.slice(offset, self.upload.piece(RUN)).map_or(0, |bytes| bytes.len());
            let Some(run) = runs.run(there) else { break };
            let Some(payload) = whole_slice(body, offset, run.length) else {
                return fail(send, "the body is gone").await;
            };
            // A transfer that was resumed here has its left side's nodes only when it is whole.
            let Some(nodes) = body.parents(&run.nodes) else {
                return fail(send, "an inner node is not known yet").await;
            };
            self.allowed(send, delivery, terms.class, run.length).await?;
            pace.write(send, &ReplyFrame::Groups { nodes, payload }).await?;
            delivery.handed(run.length as u64);
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
        record: &SignedRecord,
        terms: Terms,
        delivery: &mut Sent,
    ) -> Result<(), FrameError> {
        if request.offset > 0 {
            return refuse(send, RefusalReason::GenerationGone, "what is not kept cannot be resumed".into()).await;
        }
        let mut reader = body.reader(0, None);
        write_reply(send, &ReplyFrame::Whole { record: record.to_wire(), age_ms: terms.age_ms, offset: 0 }).await?;
        let mut runs = Runs::new(record.body().length, 0);
        while let Some((offset, _)) = runs.group() {
            let piece = match waiting(send, poll_fn(|cx| reader.poll_piece(cx))).await? {
                Some(Ok(piece)) if piece.offset == offset => piece.piece.bytes,
                Some(Err(why)) => return fail(send, &why).await,
                Some(Ok(_)) | None => return fail(send, "the body did not come in groups").await,
            };
            let mut at = 0;
            while at < piece.len()
                && let Some(run) = runs.run(self.upload.piece(piece.len() - at))
            {
                if run.length > piece.len() - at {
                    return fail(send, "the body did not come in groups").await;
                }
                // Inner nodes arrive before the groups below them: with the groups in hand they are known.
                let Some(nodes) = body.parents(&run.nodes) else { return fail(send, "an inner node is missing").await };
                self.allowed(send, delivery, terms.class, run.length).await?;
                let payload = piece.slice(at..at + run.length);
                write_reply(send, &ReplyFrame::Groups { nodes, payload }).await?;
                delivery.handed(run.length as u64);
                at += run.length;
            }
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
        class: Class,
        delivery: &mut Sent,
    ) -> Result<(), FrameError> {
        let mut reader = entry.body.reader(request.offset, None);
        write_reply(send, &begins).await?;
        let mut at = request.offset;
        let mut pace = Pace::new(self.limits);
        loop {
            let next = waiting(send, poll_fn(|cx| reader.poll_piece(cx))).await?;
            match next {
                Some(Ok(piece)) => {
                    let Some(signature) = piece.piece.signature.filter(|_| piece.offset == at) else {
                        // Part of it came under the tree: the asker gets the rest that way when it asks again.
                        return fail(send, "no signed chunk starts there").await;
                    };
                    let count = piece.piece.bytes.len() as u64;
                    self.allowed(send, delivery, class, piece.piece.bytes.len()).await?;
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

    /// Waits for the asker's credit and the node's upload limit; the asker hears that we are alive meanwhile. The piece is
    /// charged here, before it is written: an asker with many streams open would otherwise get one piece more on each.
    async fn allowed(
        &self,
        send: &mut SendStream,
        sent: &mut Sent,
        class: Class,
        bytes: usize,
    ) -> Result<(), FrameError> {
        if let Some(credit) = sent.credit.clone() {
            let room = credit.charge(bytes as u64)
                || waiting(send, timeout(CREDIT_PATIENCE, credit.charged(bytes as u64))).await?.is_ok();
            if !room {
                tracing::debug!(peer = %self.peer.short(), "a peer owes receipts and gets no more");
                return Err(FrameError::Stuck);
            }
            sent.charged += bytes as u64;
        }
        if self.upload.rate().is_some() {
            waiting(send, self.upload.pass(class, bytes)).await?;
        }
        Ok(())
    }
}

/// One reply's bytes, counted and held against the asker's credit.
struct Sent {
    delivery: Delivery,
    credit: Option<Arc<Credit>>,
    charged: u64,
}

impl Sent {
    fn new(delivery: Delivery, meter: Option<&Meter>, peer: RelayId, publisher: PublisherId) -> Self {
        Self { delivery, credit: meter.map(|meter| meter.credit(peer, publisher)), charged: 0 }
    }

    fn handed(&mut self, bytes: u64) {
        self.delivery.handed(bytes);
    }

    fn complete(&mut self) {
        self.delivery.complete();
        self.credit = None;
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(credit) = &self.credit {
            credit.broke_off(self.charged);
        }
    }
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

/// Ticks for the first time after a while. A tick that is due at once is waited for until the runtime's clock, which counts
/// whole milliseconds, has moved on, and every head and every piece would wait with it.
fn signs_of_life() -> Interval {
    interval_at(Instant::now() + WAIT_EVERY, WAIT_EVERY)
}

/// Runs `work` while telling the asker now and then that we are alive.
async fn waiting<T>(send: &mut SendStream, work: impl Future<Output = T>) -> Result<T, FrameError> {
    tokio::pin!(work);
    let mut alive = signs_of_life();
    loop {
        match done_or_tick(&mut work, &mut alive).await {
            Some(done) => return Ok(done),
            None => write_reply(send, &ReplyFrame::Wait).await?,
        }
    }
}

/// What the work yields, or `None` when it is time to say that we are alive.
async fn done_or_tick<T>(work: &mut (impl Future<Output = T> + Unpin), alive: &mut Interval) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        _ = alive.tick() => None,
    }
}

/// The same, passing on what the origin says meanwhile.
pub(super) async fn hearing<T>(
    send: &mut SendStream,
    heard: &mut mpsc::Receiver<UnverifiedInterim>,
    work: impl Future<Output = T>,
) -> Result<T, FrameError> {
    tokio::pin!(work);
    let mut alive = signs_of_life();
    let done = loop {
        tokio::select! {
            biased;
            Some(said) = heard.recv() => write_reply(send, &ReplyFrame::Interim(said)).await?,
            done = &mut work => break done,
            _ = alive.tick() => write_reply(send, &ReplyFrame::Wait).await?,
        }
    };
    while let Ok(said) = heard.try_recv() {
        write_reply(send, &ReplyFrame::Interim(said)).await?;
    }
    Ok(done)
}

fn cut(mut detail: String) -> String {
    let mut end = detail.len().min(MAX_DETAIL);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.truncate(end);
    detail
}

pub(crate) async fn refuse(send: &mut SendStream, reason: RefusalReason, detail: String) -> Result<(), FrameError> {
    write_reply(send, &ReplyFrame::Refused { reason, detail: cut(detail) }).await
}

async fn fail(send: &mut SendStream, why: &str) -> Result<(), FrameError> {
    write_reply(send, &ReplyFrame::Failed { reason: RefusalReason::UpstreamFailed, detail: cut(why.to_owned()) }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::{pending, ready};

    #[tokio::test(start_paused = true)]
    async fn what_is_there_waits_for_no_clock_and_an_asker_hears_of_what_is_not() {
        let at_once = done_or_tick(&mut ready(7), &mut signs_of_life()).now_or_never();
        assert_eq!(at_once, Some(Some(7)));
        let begun = Instant::now();
        assert_eq!(done_or_tick(&mut pending::<()>(), &mut signs_of_life()).await, None);
        assert_eq!(begun.elapsed().as_millis(), WAIT_EVERY.as_millis());
    }
}

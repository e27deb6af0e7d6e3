//! Ranges of a segment that is still being made and whose parts are byte ranges of it (draft-pantos-hls-rfc8216bis
//! sections 4.4.5.3 and 6.2.6). Invariant: no byte of a part leaves before the playlist lists the part and all of it is
//! here; an open-ended range (RFC 8673) is released part by part.

use super::{
    cache_status::byte_source,
    errors,
    handler::Inner,
    respond::{Asked, Context, respond_growing},
};
use crate::negotiate::{ByteRange, RangeSpec, range_spec};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use http::{Method, StatusCode, header};
use std::{
    sync::Arc,
    task::{Context as Task, Poll},
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{Instant as Deadline, timeout, timeout_at},
};
use weir_relay::{
    fetch::Ask,
    http::{Body, BodyError, BodySource, Response},
    live::Growth,
    object::{Ended, Entry},
};

/// The last position that JavaScript counts exactly: players ask up to it, and answers name it, where "to the end" is
/// meant (section 4.4.5.3, RFC 8673 section 2).
const OPEN_END: u64 = (1 << 53) - 1;
/// Target durations that a request for what is not made yet is held.
const HELD: u32 = 3;
/// Most bytes that leave in one piece.
const PIECE: usize = 256 * 1024;

/// The bytes of a growing body as they may leave.
struct Released(BoxStream<'static, Result<Bytes, BodyError>>);

impl BodySource for Released {
    fn poll_data(&mut self, cx: &mut Task<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.0.poll_next_unpin(cx)
    }
}

/// What is left to send.
struct Rest {
    entry: Arc<Entry>,
    released: watch::Receiver<u64>,
    at: u64,
    /// The byte behind the last one that is wanted.
    end: u64,
    patience: Duration,
}

impl Rest {
    /// The byte behind the last one that may leave now, and whether that is all there will ever be.
    fn ready(&mut self) -> Result<(u64, bool), BodyError> {
        let length = self.entry.body.length();
        let ended = match self.entry.body.ended() {
            Some(Ended::Failed(why)) => return Err(BodyError(why.to_string())),
            ended => ended.is_some(),
        };
        let listed = *self.released.borrow_and_update();
        // A whole body has no part that is not.
        let ready = if ended { length } else { length.min(listed) };
        Ok((ready.min(self.end), ended || ready >= self.end))
    }

    /// Waits until more may leave.
    async fn more(&mut self) -> Result<(), BodyError> {
        let length = self.entry.body.length();
        let waiting = async {
            tokio::select! {
                // The sender may be gone, when the playlist is forgotten: then the body's end counts.
                Ok(()) = self.released.changed() => {}
                _ = self.entry.body.beyond(length) => {}
            }
        };
        timeout(self.patience, waiting).await.map_err(|_| BodyError("no part came in time".into()))
    }

    async fn step(mut self) -> Result<Option<(Bytes, Self)>, BodyError> {
        loop {
            let (ready, all) = self.ready()?;
            if self.at < ready {
                let most = usize::try_from(ready - self.at).unwrap_or(PIECE).min(PIECE);
                let Some(bytes) = self.entry.body.slice(self.at, most) else {
                    return Err(BodyError("the body is gone".into()));
                };
                self.at += bytes.len() as u64;
                return Ok(Some((bytes, self)));
            }
            if all {
                return Ok(None);
            }
            self.more().await?;
        }
    }
}

impl Inner {
    /// The growth of what is asked for, while it lasts.
    pub(super) fn growth(&self, asked: &Asked, ask: &Ask) -> Option<Arc<Growth>> {
        let fit = matches!(asked.method, Method::GET | Method::HEAD) && !asked.request.is_personal();
        self.fetch.growth(&ask.key).filter(|growth| fit && !growth.is_whole())
    }

    pub(super) async fn growing(
        self: Arc<Self>,
        asked: Asked,
        ask: Ask,
        growth: Arc<Growth>,
        started: Instant,
    ) -> Response {
        // Parts come as they are made, and a player waits for them by design.
        let held = self.fetch.listing(&ask.key).map_or(Duration::ZERO, |listing| listing.target * HELD);
        let patience = self.patience(asked.kind).max(held);
        let deadline = Deadline::now() + patience;
        let served = match timeout_at(deadline, self.fetch.get_for(&ask)).await {
            Ok(Ok(served)) => served,
            Ok(Err(error)) => return self.nothing(errors::not_fetched(asked.kind, &error), errors::label(&error)),
            Err(_) => return self.nothing(errors::too_slow(asked.kind), "too_slow"),
        };
        let entry = served.entry.clone();
        let field = asked.request.headers.get(header::RANGE).and_then(|field| field.to_str().ok());
        let spec = field.and_then(range_spec);
        if entry.head.status != StatusCode::OK
            || !entry.is_shareable()
            || entry.body.ended().is_some()
            || matches!(spec, Some(RangeSpec::Last(_)))
        {
            return self.finish(asked, &served, started);
        }
        let (first, last) = match spec {
            Some(RangeSpec::From(first, last)) => (first, last),
            _ => (0, None),
        };
        let open = last.is_none_or(|last| last >= OPEN_END);
        let end = if open { u64::MAX } else { last.map_or(u64::MAX, |last| last + 1) };
        let mut rest = Rest { entry, released: growth.listen(), at: first, end, patience };
        // A range of one part is answered when all of it may leave; an open one when its first part may.
        let wanted = if open { first + 1 } else { end };
        loop {
            match rest.ready() {
                Ok((ready, _)) if ready >= wanted => break,
                // The resource has turned out to be shorter.
                Ok((_, true)) => return self.finish(asked, &served, started),
                Ok(_) => {}
                Err(why) => return self.nothing(errors::broke_off(asked.kind, &why.to_string()), "broke_off"),
            }
            if timeout_at(deadline, rest.more()).await.is_err() {
                return self.nothing(errors::too_slow(asked.kind), "too_slow");
            }
        }
        let range = spec.map(|_| ByteRange { first, last: if open { OPEN_END } else { end - 1 } });
        let length = (!open).then(|| end - first);
        let body = Body::source(Released(stream::try_unfold(rest, Rest::step).boxed()), length);
        let context = Context { name: &self.name, now: self.fetch.clock().now(), took: started.elapsed(), patience };
        let source = byte_source(&served);
        let response = respond_growing(&asked, &served, &context, range, body);
        self.metrics.first_byte(source, started.elapsed());
        self.deliver(&asked, response, source, started)
    }
}

//! A range that reaches over several slices, read one after the other while the next is already on its way. Invariant:
//! bytes of two representations are never joined: every slice has the first one's length and validator, or the body is
//! broken off.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, MaybeDone, maybe_done};
use http::header;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use weir_protocol::part::{Part, Place};
use weir_relay::{
    fetch::{Ask, Fetch, FetchError, Served, place},
    http::{Body, BodyError, BodySource},
    object::{Entry, Reader},
};

type Fetched = Result<Served, FetchError>;

/// Bytes of a representation, from slice after slice.
pub(super) struct Sliced {
    fetch: Fetch,
    ask: Ask,
    /// The next byte and the one behind the last.
    at: u64,
    end: u64,
    total: u64,
    etag: Option<String>,
    reader: Option<Reader>,
    /// First byte that the current slice does not have.
    covered: u64,
    ahead: Option<Pin<Box<MaybeDone<BoxFuture<'static, Fetched>>>>>,
    patience: Duration,
    idle: Pin<Box<Sleep>>,
}

/// The bytes from `first` to `last` of what `ask` names, of which `entry` is the part at `place`.
pub(super) fn body(
    fetch: &Fetch,
    ask: &Ask,
    entry: &Arc<Entry>,
    place: Place,
    (first, last): (u64, u64),
    patience: Duration,
) -> Body {
    let (end, covered) = (last + 1, place.last + 1);
    let reader = entry.body.reader(first - place.first, Some(end.min(covered) - place.first));
    let sliced = Sliced {
        fetch: fetch.clone(),
        ask: ask.clone(),
        at: first,
        end,
        total: place.total,
        etag: etag(entry),
        reader: Some(reader),
        covered,
        ahead: None,
        patience,
        idle: Box::pin(tokio::time::sleep(patience)),
    };
    Body::source(sliced, Some(end - first))
}

fn etag(entry: &Entry) -> Option<String> {
    entry.head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned)
}

impl Sliced {
    /// Asks for the slice behind the current one, once.
    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        if self.covered >= self.end {
            return;
        }
        let (fetch, covered) = (self.fetch.clone(), self.covered);
        let key = self.ask.key.clone().with_variant(Some(Part::at(covered).variant()));
        let ask = Ask { key, ..self.ask.clone() };
        let ahead =
            self.ahead.get_or_insert_with(|| Box::pin(maybe_done(async move { fetch.get_for(&ask).await }.boxed())));
        // Its result is kept until the current slice is read.
        let _ = ahead.as_mut().poll(cx);
    }

    /// The slice that was asked for is there: reads it from `at` on.
    fn turn_to(&mut self, fetched: Fetched) -> Result<(), BodyError> {
        let served = fetched.map_err(|error| BodyError(error.to_string()))?;
        let entry = &served.entry;
        let place = match place(entry) {
            Some(place) => place,
            // By now the whole is here.
            None if entry.head.length == Some(self.total) => {
                Place { first: 0, last: self.total - 1, total: self.total }
            }
            None => return Err(BodyError("a slice is not to be had any more".into())),
        };
        let same = place.total == self.total && etag(entry) == self.etag;
        if !same || !(place.first..=place.last).contains(&self.at) {
            return Err(BodyError("the resource has changed while it was read".into()));
        }
        self.covered = place.last + 1;
        let to = self.end.min(self.covered) - place.first;
        self.reader = Some(entry.body.reader(self.at - place.first, Some(to)));
        Ok(())
    }
}

impl BodySource for Sliced {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            self.look_ahead(cx);
            if let Some(reader) = &mut self.reader {
                match reader.poll_next(cx) {
                    Poll::Ready(Some(Ok(bytes))) => {
                        self.at += bytes.len() as u64;
                        self.idle.as_mut().reset(Instant::now() + self.patience);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    Poll::Ready(Some(Err(why))) => return Poll::Ready(Some(Err(BodyError(why.to_string())))),
                    Poll::Ready(None) => self.reader = None,
                    Poll::Pending => break,
                }
            }
            if self.at >= self.end {
                return Poll::Ready(None);
            }
            let Some(fetched) = self.ahead.as_mut().and_then(|ahead| ahead.as_mut().take_output()) else { break };
            self.ahead = None;
            if let Err(error) = self.turn_to(fetched) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        if self.idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError("no source sent a byte in time".into()))));
        }
        Poll::Pending
    }
}

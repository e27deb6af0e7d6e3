//! A polled body of `Bytes` with its delivery guard. Invariant: every byte polled out has been counted by the guard,
//! and the guard completes exactly when the last byte (or the clean end) has been handed over.

use crate::meter::Delivery;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

/// Why a body ended early. A door answers it by resetting the stream or closing the connection, never by a clean end.
#[derive(Debug, thiserror::Error)]
#[error("body ended early: {0}")]
pub struct BodyError(pub String);

/// Something that yields a body piece by piece.
pub trait BodySource: Send + 'static {
    /// The next piece, `None` at the clean end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;
}

enum Inner {
    Chunks(VecDeque<Bytes>),
    Source(Box<dyn BodySource>),
}

/// A request's or response's body.
pub struct Body {
    inner: Inner,
    length: Option<u64>,
    left: Option<u64>,
    delivery: Delivery,
    metered: bool,
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::chunks(VecDeque::new())
    }

    /// A body that is all there.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::chunks(VecDeque::from([bytes.into()]))
    }

    /// A body that is all there in several pieces, handed out without joining them.
    pub fn chunks(mut chunks: VecDeque<Bytes>) -> Self {
        chunks.retain(|chunk| !chunk.is_empty());
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            inner: Inner::Chunks(chunks),
            length: Some(length),
            left: Some(length),
            delivery: Delivery::unmetered(),
            metered: false,
        }
    }

    /// A body that arrives over time. With a `length`, the source must yield exactly that many bytes; fewer or more
    /// is an error, so that a short body is never mistaken for a whole one.
    pub fn source(source: impl BodySource, length: Option<u64>) -> Self {
        Self {
            inner: Inner::Source(Box::new(source)),
            length,
            left: length,
            delivery: Delivery::unmetered(),
            metered: false,
        }
    }

    /// Books this body into the guard's account.
    #[must_use]
    pub fn metered(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self.metered = true;
        if self.left == Some(0) {
            self.delivery.complete();
        }
        self
    }

    /// True once [`Body::metered`] has been called.
    pub fn is_metered(&self) -> bool {
        self.metered
    }

    /// Total length in bytes, when known beforehand.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// True when nothing is left to hand out.
    pub fn is_finished(&self) -> bool {
        self.left == Some(0)
    }

    /// The guard, for doors that see acknowledgements.
    pub fn delivery(&mut self) -> &mut Delivery {
        &mut self.delivery
    }

    /// The next piece, counted as handed over; `None` at the clean end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let next = match &mut self.inner {
            Inner::Chunks(chunks) => Poll::Ready(chunks.pop_front().map(Ok)),
            Inner::Source(source) if self.left != Some(0) => source.poll_data(cx),
            Inner::Source(_) => Poll::Ready(None),
        };
        Poll::Ready(match std::task::ready!(next) {
            Some(Ok(bytes)) => Some(self.hand_over(bytes)),
            Some(Err(error)) => Some(Err(error)),
            None => match self.left {
                Some(missing) if missing > 0 => Some(Err(BodyError(format!("{missing} bytes missing")))),
                _ => {
                    self.delivery.complete();
                    None
                }
            },
        })
    }

    fn hand_over(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        let count = bytes.len() as u64;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(count).ok_or_else(|| BodyError("longer than declared".into()))?;
        }
        self.delivery.handed(count);
        if self.left == Some(0) {
            self.delivery.complete();
        }
        Ok(bytes)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.poll_data(cx).map(|next| next.map(|piece| piece.map(http_body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_finished()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.left.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

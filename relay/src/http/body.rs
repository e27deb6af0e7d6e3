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

/// A door drops a body as soon as it has taken the last piece, and sees the client's pace only between pieces: a large
/// body that leaves in one would look finished long before a slow client has it.
const PIECE: usize = 128 * 1024;

enum Inner {
    Chunks(VecDeque<Bytes>),
    Source(Box<Cut<dyn BodySource>>),
}

struct Cut<S: ?Sized> {
    /// What is left of the piece that the source yielded last.
    rest: Bytes,
    source: S,
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
            inner: Inner::Source(Box::new(Cut { rest: Bytes::new(), source })),
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

    /// The next piece, of at most 128 KiB, counted as handed over; `None` at the clean end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let next = match &mut self.inner {
            Inner::Chunks(chunks) => chunks.front_mut().map(piece_of),
            Inner::Source(cut) if !cut.rest.is_empty() => Some(piece_of(&mut cut.rest)),
            Inner::Source(..) if self.left == Some(0) => None,
            Inner::Source(cut) => match std::task::ready!(cut.source.poll_data(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                // Judged before any of it leaves, so that a body with a surplus never ends cleanly.
                Some(Ok(bytes)) if self.left.is_some_and(|left| bytes.len() as u64 > left) => {
                    return Poll::Ready(Some(Err(BodyError("longer than declared".into()))));
                }
                Some(Ok(bytes)) => {
                    cut.rest = bytes;
                    Some(piece_of(&mut cut.rest))
                }
                None => None,
            },
        };
        if let Inner::Chunks(chunks) = &mut self.inner
            && chunks.front().is_some_and(Bytes::is_empty)
        {
            chunks.pop_front();
        }
        Poll::Ready(match next {
            Some(piece) => {
                self.hand_over(piece.len() as u64);
                Some(Ok(piece))
            }
            None => match self.left {
                Some(missing) if missing > 0 => Some(Err(BodyError(format!("{missing} bytes missing")))),
                _ => {
                    self.delivery.complete();
                    None
                }
            },
        })
    }

    fn hand_over(&mut self, count: u64) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
        }
        self.delivery.handed(count);
        if self.left == Some(0) {
            self.delivery.complete();
        }
    }
}

/// Takes the next piece off the front.
fn piece_of(bytes: &mut Bytes) -> Bytes {
    bytes.split_to(bytes.len().min(PIECE))
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::meter::{Account, Outcome};
    use std::{
        sync::{Arc, Mutex},
        task::Waker,
    };

    #[derive(Default)]
    struct Book(Mutex<Vec<Outcome>>);
    impl Account for Book {
        fn settle(&self, outcome: Outcome) {
            self.0.lock().unwrap().push(outcome);
        }
    }

    struct Pieces(VecDeque<Bytes>);
    impl BodySource for Pieces {
        fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    /// The lengths of the pieces of a body, and the error that ended it.
    fn lengths(body: &mut Body) -> (Vec<usize>, Option<String>) {
        let (mut cx, mut found) = (Context::from_waker(Waker::noop()), Vec::new());
        loop {
            match body.poll_data(&mut cx) {
                Poll::Ready(Some(Ok(piece))) => found.push(piece.len()),
                Poll::Ready(Some(Err(error))) => return (found, Some(error.to_string())),
                Poll::Ready(None) => return (found, None),
                Poll::Pending => panic!("everything is there"),
            }
        }
    }

    #[test]
    fn a_large_body_leaves_in_pieces_and_completes_once() {
        let whole = Bytes::from(vec![7; 1 << 20]);
        let source = |length| Body::source(Pieces(VecDeque::from([whole.clone()])), length);
        for body in [Body::full(whole.clone()), source(Some(1 << 20)), source(None)] {
            let book = Arc::new(Book::default());
            let mut body = body.metered(Delivery::new(book.clone()));
            assert_eq!(lengths(&mut body), (vec![PIECE; 8], None));
            drop(body);
            let settled = book.0.lock().unwrap();
            assert_eq!((settled.len(), settled[0].handed, settled[0].completed), (1, 1 << 20, true));
        }
    }

    #[test]
    fn a_surplus_or_a_shortage_is_an_error() {
        let source = |bytes: usize, length| {
            lengths(&mut Body::source(Pieces(VecDeque::from([Bytes::from(vec![7; bytes])])), Some(length as u64)))
        };
        assert_eq!(source(PIECE + 1, PIECE), (vec![], Some("body ended early: longer than declared".into())));
        assert_eq!(source(PIECE + 1, PIECE + 2).0, [PIECE, 1]);
        assert!(source(PIECE + 1, PIECE + 2).1.is_some());
    }
}

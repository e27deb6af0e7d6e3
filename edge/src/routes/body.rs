//! An entry's bytes on their way to a viewer. Invariant: a body that stops arriving is broken off, never ended cleanly.

use bytes::Bytes;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use weir_relay::{
    http::{Body, BodyError, BodySource},
    object::{Growing, Reader},
};

/// The bytes from `offset` on, `length` of them (`None`: to the end, wherever that is). `patience` bounds the wait
/// for each next byte of a body that is still arriving, wherever in it the reader stands.
pub(super) fn body_of(growing: &Growing, offset: u64, length: Option<u64>, patience: Duration) -> Body {
    if let Some(pieces) = growing.pieces() {
        return Body::chunks(cut(pieces, offset, length));
    }
    let reader = growing.reader(offset, length.map(|length| offset + length));
    Body::source(Following { reader, growing: growing.clone(), arrived: 0, patience, idle: None }, length)
}

fn cut(pieces: Vec<Bytes>, offset: u64, length: Option<u64>) -> VecDeque<Bytes> {
    let mut skip = offset;
    let mut left = length.unwrap_or(u64::MAX);
    let mut out = VecDeque::with_capacity(pieces.len());
    for piece in pieces {
        let size = piece.len() as u64;
        if skip >= size {
            skip -= size;
            continue;
        }
        if left == 0 {
            break;
        }
        let take = (size - skip).min(left);
        out.push_back(piece.slice(skip as usize..(skip + take) as usize));
        left -= take;
        skip = 0;
    }
    out
}

struct Following {
    reader: Reader,
    growing: Growing,
    /// Bytes that were there when the wait began.
    arrived: u64,
    patience: Duration,
    idle: Option<Pin<Box<Sleep>>>,
}

impl BodySource for Following {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Poll::Ready(next) = self.reader.poll_next(cx) {
            self.idle = None;
            return Poll::Ready(next.map(|bytes| bytes.map_err(|why| BodyError(why.to_string()))));
        }
        let patience = self.patience;
        let idle = self.idle.get_or_insert_with(|| {
            self.arrived = self.growing.length();
            Box::pin(tokio::time::sleep(patience))
        });
        while idle.as_mut().poll(cx).is_ready() {
            let arrived = self.growing.length();
            if arrived == self.arrived {
                return Poll::Ready(Some(Err(BodyError("no source sent a byte in time".into()))));
            }
            // The source sends, but has not come to the range's first byte yet.
            self.arrived = arrived;
            idle.as_mut().reset(Instant::now() + patience);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_to_the_range_without_joining() {
        let pieces = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"defg"), Bytes::from_static(b"h")];
        let text = |offset, length| {
            cut(pieces(), offset, length).iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>()
        };
        for offset in 0..8 {
            assert_eq!(text(offset, None), b"abcdefgh"[offset as usize..]);
            for length in 0..=8 - offset {
                assert_eq!(text(offset, Some(length)), b"abcdefgh"[offset as usize..(offset + length) as usize]);
            }
        }
    }
}

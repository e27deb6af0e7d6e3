//! Received chunks as one sequence of bytes.
//!
//! Invariant: a piece that lies within one received chunk, or wholly behind them in what was read in place, is handed
//! out without copying.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct ChunkBuffer {
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    length: usize,
    /// Bytes behind the chunks, read in place.
    tail: BytesMut,
}

impl ChunkBuffer {
    pub(super) fn push(&mut self, chunk: Bytes) {
        if !self.tail.is_empty() {
            let before = self.tail.split().freeze();
            self.length += before.len();
            self.chunks.push_back(before);
        }
        if !chunk.is_empty() {
            self.length += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Where further bytes are to be appended, with room for at least `least`; a new allocation has room for `wanted`.
    pub(super) fn room(&mut self, least: usize, wanted: usize) -> &mut BytesMut {
        if self.tail.capacity() - self.tail.len() < least {
            self.tail.reserve(wanted.max(least));
        }
        &mut self.tail
    }

    pub(super) fn len(&self) -> usize {
        self.length + self.tail.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes exactly `count` bytes, or nothing if fewer are there.
    pub(super) fn take(&mut self, count: usize) -> Option<Bytes> {
        if count > self.len() {
            return None;
        }
        let Some(front) = self.chunks.front_mut() else {
            return Some(self.tail.split_to(count).freeze());
        };
        if front.len() > count {
            self.length -= count;
            return Some(front.split_to(count));
        }
        if front.len() == count {
            self.length -= count;
            return self.chunks.pop_front();
        }
        let mut gathered = BytesMut::with_capacity(count);
        while gathered.len() < count {
            let missing = count - gathered.len();
            let Some(front) = self.chunks.front_mut() else {
                gathered.extend_from_slice(&self.tail.split_to(missing));
                break;
            };
            self.length -= missing.min(front.len());
            let step = missing.min(front.len());
            gathered.extend_from_slice(&front[..step]);
            front.advance(step);
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
        Some(gathered.freeze())
    }

    pub(super) fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.chunks.is_empty() {
            let array = *self.tail.first_chunk()?;
            self.tail.advance(N);
            return Some(array);
        }
        self.take(N).and_then(|bytes| bytes.as_ref().try_into().ok())
    }

    /// The first bytes, without taking them.
    pub(super) fn peek_array<const N: usize>(&self) -> Option<[u8; N]> {
        if self.len() < N {
            return None;
        }
        let mut bytes = self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(self.tail.iter());
        Some(std::array::from_fn(|_| bytes.next().copied().unwrap_or_default()))
    }
}

//! Received chunks as one sequence of bytes.
//!
//! Invariant: a piece that lies within one received chunk is handed out without copying.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct ChunkBuffer {
    chunks: VecDeque<Bytes>,
    length: usize,
}

impl ChunkBuffer {
    pub(super) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.length += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes exactly `count` bytes, or nothing if fewer are there.
    pub(super) fn take(&mut self, count: usize) -> Option<Bytes> {
        if count > self.length {
            return None;
        }
        self.length -= count;
        let Some(front) = self.chunks.front_mut() else {
            return Some(Bytes::new());
        };
        if front.len() > count {
            return Some(front.split_to(count));
        }
        if front.len() == count {
            return self.chunks.pop_front();
        }
        let mut gathered = BytesMut::with_capacity(count);
        while gathered.len() < count {
            let missing = count - gathered.len();
            let Some(front) = self.chunks.front_mut() else { break };
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
        self.take(N).and_then(|bytes| bytes.as_ref().try_into().ok())
    }
}

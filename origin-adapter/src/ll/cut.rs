//! Gathers chunks into parts of the target duration. Invariants: a part lasts no longer than the target; all but a
//! segment's last last at least 85 % of it, as far as the chunks allow (section 4.4.3.7).

use super::chunks::Chunk;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Least duration of a part, by the target.
const LEAST: f64 = 0.85;

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bytes: Bytes,
    pub(super) duration: Duration,
    pub(super) independent: bool,
}

/// Chunks that are no part yet.
pub(super) struct Cutter {
    target: Duration,
    bytes: BytesMut,
    duration: Duration,
    independent: bool,
}

impl Cutter {
    pub(super) fn new(target: Duration) -> Self {
        Self { target, bytes: BytesMut::new(), duration: Duration::ZERO, independent: false }
    }

    /// Takes a chunk; returns the parts that are whole by it.
    pub(super) fn push(&mut self, chunk: &Chunk) -> Vec<Cut> {
        let mut parts = Vec::new();
        if !self.bytes.is_empty() && self.duration + chunk.fragment.duration > self.target {
            parts.extend(self.finish());
        }
        if self.bytes.is_empty() {
            self.independent = chunk.fragment.independent;
        }
        self.bytes.extend_from_slice(&chunk.bytes);
        self.duration += chunk.fragment.duration;
        if self.duration >= self.target.mul_f64(LEAST) {
            parts.extend(self.finish());
        }
        parts
    }

    /// What is left is a part, too.
    pub(super) fn finish(&mut self) -> Option<Cut> {
        if self.bytes.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes).freeze();
        Some(Cut { bytes, duration: std::mem::take(&mut self.duration), independent: self.independent })
    }
}

/// The target to announce for chunks like these, when parts of `wanted` are wished for: no part of theirs is longer. It is
/// announced once and holds for as long as the channel does, so there is some room above what was seen.
pub(super) fn target_for(chunks: impl Iterator<Item = Duration>, wanted: Duration) -> Duration {
    const ROOM: f64 = 1.05;
    let longest = chunks.max().unwrap_or_default();
    if longest >= wanted {
        return longest.mul_f64(ROOM);
    }
    // As many chunks as fit.
    wanted.mul_f64(ROOM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ll::tracks::Fragment;

    fn chunk(ms: u64, independent: bool) -> Chunk {
        let fragment = Fragment { duration: Duration::from_millis(ms), independent };
        Chunk { bytes: Bytes::from(vec![u8::from(independent); usize::try_from(ms).unwrap_or(0)]), fragment }
    }

    fn durations(target: u64, chunks: &[Chunk]) -> Vec<(u128, bool)> {
        let mut cutter = Cutter::new(Duration::from_millis(target));
        let mut parts: Vec<Cut> = chunks.iter().flat_map(|chunk| cutter.push(chunk)).collect();
        parts.extend(cutter.finish());
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        assert_eq!(bytes, chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>());
        parts.iter().map(|part| (part.duration.as_millis(), part.independent)).collect()
    }

    #[test]
    fn frames_are_gathered_and_long_chunks_are_parts() {
        let frames: Vec<Chunk> = (0..50).map(|n| chunk(40, n == 0)).collect();
        let lasts = |chunks: &[Chunk]| chunks.iter().map(|chunk| chunk.fragment.duration).collect::<Vec<_>>();
        let target = target_for(lasts(&frames).into_iter(), Duration::from_millis(500));
        assert_eq!(target.as_millis(), 525);
        assert_eq!(durations(525, &frames), [(480, true), (480, false), (480, false), (480, false), (80, false)]);
        let halves: Vec<Chunk> = [520, 480, 520, 480].map(|ms| chunk(ms, ms == 520)).into();
        assert_eq!(target_for(lasts(&halves).into_iter(), Duration::from_millis(500)), Duration::from_millis(546));
        assert_eq!(
            durations(546, &halves),
            [(520, true), (480, false), (520, true), (480, false)].map(|(ms, i)| (ms, i))
        );
    }
}

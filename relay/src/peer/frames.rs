//! Frames over QUIC streams: read through the bounded decoders of the protocol, written without copying payloads.

use super::PeerLimits;
use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use std::time::Duration;
use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout},
};
use weir_protocol::wire::{ControlDecoder, ControlFrame, FrameDecoder, ReplyFrame, WireError, frame_length};

/// A peer that takes nothing of a frame for this long is given up, with everything that its reply holds in memory.
const STUCK: Duration = Duration::from_secs(30);
/// Bytes a second that a relay must send of what it has whole.
pub(super) const LEAST_RATE: u64 = 32 * 1024;
/// Bytes taken from a control stream at once.
const READ: usize = 64 * 1024;
/// A reply's buffer is at least this long, and is left when less than a quarter of this is free in it.
const LEAST_BUFFER: usize = 4 * 1024;
/// Longest buffer of a reply: as much as a frame of 16 groups, since what is handed out of it is what bodies keep.
const MOST_BUFFER: usize = 264 * 1024;

/// Why a stream of frames ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The bytes are no frames.
    #[error("bad frame: {0}")]
    Wire(#[from] WireError),
    /// The connection or the stream broke.
    #[error("stream broke: {0}")]
    Read(#[from] ReadError),
    /// Likewise, while reading in place.
    #[error("stream broke: {0}")]
    ReadInPlace(#[from] std::io::Error),
    /// Likewise, while writing.
    #[error("stream broke: {0}")]
    Write(#[from] WriteError),
    /// The other side does not read.
    #[error("the peer does not read, or too slowly")]
    Stuck,
}

/// Reads replies.
///
/// Bytes are read into one long buffer after another, and groups are handed out as slices of them: copied once, from
/// QUIC's packets, and then hashed where they lie.
pub(crate) struct ReplyReader {
    stream: RecvStream,
    decoder: FrameDecoder,
    /// Bytes read so far.
    read: usize,
    /// Bytes that are still to come, where that is known.
    missing: Option<u64>,
}

impl ReplyReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::new(), read: 0, missing: None }
    }

    /// The next frame among the bytes that are here; `None` when it is not whole yet.
    pub(crate) fn buffered(&mut self) -> Result<Option<ReplyFrame>, WireError> {
        self.decoder.next()
    }

    /// So many body bytes are still to come: the next buffers are made to measure, since a body keeps them whole.
    pub(super) fn expect(&mut self, bytes: u64) {
        // The nodes of a tree are one part in 256 of it, and a frame's head is a few bytes.
        self.missing = Some(bytes.saturating_add(bytes / 128));
    }

    /// Waits for more bytes; false at the stream's end.
    pub(crate) async fn read(&mut self) -> Result<bool, FrameError> {
        // Of what is not announced, a buffer is at most as long as what came before it.
        let wanted = self.missing.map_or(self.read, |missing| usize::try_from(missing).unwrap_or(MOST_BUFFER));
        let wanted = wanted.clamp(LEAST_BUFFER, MOST_BUFFER);
        let count = self.stream.read_buf(self.decoder.room(LEAST_BUFFER / 4, wanted)).await?;
        self.read = self.read.saturating_add(count);
        self.missing = self.missing.map(|missing| missing.saturating_sub(count as u64));
        Ok(count > 0)
    }
}

/// Writes one reply frame; the payload goes out as it is.
pub(crate) async fn write_reply(stream: &mut SendStream, frame: &ReplyFrame) -> Result<(), FrameError> {
    let head = frame.encode_header()?;
    let write = async {
        match frame.payload() {
            Some(payload) => stream.write_all_chunks(&mut [head, payload.clone()]).await,
            None => stream.write_chunk(head).await,
        }
    };
    Ok(timeout(STUCK, write).await.map_err(|_| FrameError::Stuck)??)
}

/// Writes the frames of one reply and holds the peer to a least rate, counting only the time it takes to write: as long
/// as a reply runs it holds the body, whatever the memory tier has decided since.
pub(super) struct Pace {
    limits: PeerLimits,
    writing: Duration,
    sent: u64,
}

impl Pace {
    /// Nothing is written yet.
    pub(super) fn new(limits: PeerLimits) -> Self {
        Self { limits, writing: Duration::ZERO, sent: 0 }
    }

    /// Writes one frame.
    pub(super) async fn write(&mut self, stream: &mut SendStream, frame: &ReplyFrame) -> Result<(), FrameError> {
        let begun = Instant::now();
        write_reply(stream, frame).await?;
        self.writing += begun.elapsed();
        self.sent += frame.payload().map_or(0, |payload| payload.len() as u64);
        if self.is_kept() { Ok(()) } else { Err(FrameError::Stuck) }
    }

    fn is_kept(&self) -> bool {
        let counted = self.writing.saturating_sub(self.limits.slow_grace);
        u128::from(self.sent) >= counted.as_millis() * u128::from(self.limits.least_rate) / 1000
    }
}

/// Reads control frames.
pub(super) struct ControlReader {
    stream: RecvStream,
    decoder: ControlDecoder,
    read: u64,
}

impl ControlReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: ControlDecoder::default(), read: 0 }
    }

    /// Whole `unit`s of bytes that were read and not yet told.
    pub(super) fn take_read(&mut self, unit: u64) -> u32 {
        let units = self.read / unit;
        self.read -= units * unit;
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    /// The next frame; `None` at a clean end.
    pub(super) async fn next(&mut self) -> Result<Option<ControlFrame>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ, true).await? {
                Some(chunk) => {
                    self.read += chunk.bytes.len() as u64;
                    self.decoder.push(chunk.bytes);
                }
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Writes one control frame.
pub(super) async fn write_control(stream: &mut SendStream, frame: &ControlFrame) -> Result<(), FrameError> {
    write_bytes(stream, frame.encode()?).await
}

/// Writes an encoded control frame.
pub(super) async fn write_bytes(stream: &mut SendStream, frame: Bytes) -> Result<(), FrameError> {
    Ok(timeout(STUCK, stream.write_chunk(frame)).await.map_err(|_| FrameError::Stuck)??)
}

/// Reads one length-prefixed frame of at most `max` bytes from the start of a stream.
pub(crate) async fn read_frame(stream: &mut RecvStream, max: usize) -> Result<Bytes, FrameError> {
    let mut prefix = [0; 4];
    read_exact(stream, &mut prefix).await?;
    let mut frame = vec![0; frame_length(prefix, max)?];
    read_exact(stream, &mut frame).await?;
    Ok(frame.into())
}

async fn read_exact(stream: &mut RecvStream, buffer: &mut [u8]) -> Result<(), FrameError> {
    stream.read_exact(buffer).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => FrameError::Wire(WireError::Truncated),
        quinn::ReadExactError::ReadError(error) => FrameError::Read(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_held_to_the_rate_after_the_grace() {
        let limits = PeerLimits::default();
        let kept = |seconds, sent| Pace { limits, writing: Duration::from_secs(seconds), sent }.is_kept();
        assert!(kept(10, 0), "the grace");
        assert!(kept(20, 10 * 32 * 1024) && !kept(20, 10 * 32 * 1024 - 1));
        assert!(kept(3600, 1 << 30));
    }
}

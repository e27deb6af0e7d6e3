//! Frames over QUIC streams: read through the bounded decoders of the protocol, written without copying payloads.

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use weir_protocol::wire::{ControlDecoder, ControlFrame, FrameDecoder, ReplyFrame, WireError, frame_length};

/// A peer that takes nothing of a frame for this long is given up, with everything that its reply holds in memory.
const STUCK: Duration = Duration::from_secs(30);
/// A peer that takes a kept body slower than this many bytes a second, after [`SLOW_GRACE`], is given up: as long as a
/// reply runs it holds the body, whatever the memory tier has decided since.
pub(super) const LEAST_RATE: u64 = 32 * 1024;
const SLOW_GRACE: Duration = Duration::from_secs(10);
/// Bytes taken from a stream at once.
const READ: usize = 64 * 1024;

/// Why a stream of frames ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The bytes are no frames.
    #[error("bad frame: {0}")]
    Wire(#[from] WireError),
    /// The connection or the stream broke.
    #[error("stream broke: {0}")]
    Read(#[from] ReadError),
    /// Likewise, while writing.
    #[error("stream broke: {0}")]
    Write(#[from] WriteError),
    /// The other side does not read.
    #[error("the peer does not read, or too slowly")]
    Stuck,
}

/// Reads replies.
pub(super) struct ReplyReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

impl ReplyReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::new() }
    }

    /// The next frame among the bytes that are here; `None` when it is not whole yet.
    pub(super) fn buffered(&mut self) -> Result<Option<ReplyFrame>, WireError> {
        self.decoder.next()
    }

    /// Waits for more bytes; false at the stream's end.
    pub(super) async fn read(&mut self) -> Result<bool, ReadError> {
        let chunk = self.stream.read_chunk(READ, true).await?;
        Ok(chunk.map(|chunk| self.decoder.push(chunk.bytes)).is_some())
    }
}

/// Writes one reply frame; the payload goes out as it is.
pub(super) async fn write_reply(stream: &mut SendStream, frame: &ReplyFrame) -> Result<(), FrameError> {
    let head = frame.encode_header()?;
    let write = async {
        match frame.payload() {
            Some(payload) => stream.write_all_chunks(&mut [head, payload.clone()]).await,
            None => stream.write_chunk(head).await,
        }
    };
    Ok(timeout(STUCK, write).await.map_err(|_| FrameError::Stuck)??)
}

/// Writes the frames of one reply and holds the peer to a least rate, counting only the time it takes to write.
#[derive(Default)]
pub(super) struct Pace {
    writing: Duration,
    sent: u64,
}

impl Pace {
    /// Writes one frame.
    pub(super) async fn write(&mut self, stream: &mut SendStream, frame: &ReplyFrame) -> Result<(), FrameError> {
        let begun = Instant::now();
        write_reply(stream, frame).await?;
        self.writing += begun.elapsed();
        self.sent += frame.payload().map_or(0, |payload| payload.len() as u64);
        let due = self.writing.saturating_sub(SLOW_GRACE).as_secs().saturating_mul(LEAST_RATE);
        if self.sent < due { Err(FrameError::Stuck) } else { Ok(()) }
    }
}

/// Reads control frames.
pub(super) struct ControlReader {
    stream: RecvStream,
    decoder: ControlDecoder,
}

impl ControlReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: ControlDecoder::default() }
    }

    /// The next frame; `None` at a clean end.
    pub(super) async fn next(&mut self) -> Result<Option<ControlFrame>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ, true).await? {
                Some(chunk) => self.decoder.push(chunk.bytes),
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
    stream.write_chunk(frame.encode()?).await?;
    Ok(())
}

/// Reads one length-prefixed frame of at most `max` bytes from the start of a stream.
pub(super) async fn read_frame(stream: &mut RecvStream, max: usize) -> Result<Bytes, FrameError> {
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

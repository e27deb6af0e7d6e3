//! Cuts a reply stream into frames as bytes arrive.
//!
//! Invariant: a frame's length is refused as soon as its five-byte head is there, before its body is buffered; a
//! payload that lies within one received chunk is a slice of it.

use bytes::Bytes;

use crate::wire::buffer::ChunkBuffer;
use crate::wire::reply::{self, MAX_REPLY_FRAME, ReplyFrame, SIGNATURE_LENGTH, TYPE};
use crate::wire::{LENGTH_PREFIX, WireError, check_frame, frame_length};

/// An incremental decoder of [`ReplyFrame`]s.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: ChunkBuffer,
    /// Type and remaining length of the frame whose head has been read.
    current: Option<(u8, usize)>,
    failed: bool,
}

impl FrameDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds received bytes. Call [`Self::next`] until it returns `None` before adding more: then at most one frame and
    /// one chunk are held.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.failed {
            self.buffer.push(chunk);
        }
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`WireError`]; the decoder stays failed and drops what it holds.
    #[expect(clippy::should_implement_trait, reason = "a fallible step over pushed input, not an iterator")]
    pub fn next(&mut self) -> Result<Option<ReplyFrame>, WireError> {
        if self.failed {
            return Err(WireError::Failed);
        }
        self.step().inspect_err(|_| {
            self.failed = true;
            self.buffer.clear();
        })
    }

    /// Checks that the stream ended between two frames.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn finish(&self) -> Result<(), WireError> {
        if self.current.is_some() || self.buffer.len() > 0 { Err(WireError::Truncated) } else { Ok(()) }
    }

    fn step(&mut self) -> Result<Option<ReplyFrame>, WireError> {
        let (kind, length) = match self.current {
            Some(current) => current,
            None => match self.read_head()? {
                Some(current) => current,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.current = None;
        let frame = match kind {
            reply::CHUNK => self.read_chunk(length)?,
            reply::LEAF => ReplyFrame::Leaf(self.take(length)?),
            kind => ReplyFrame::decode_body(kind, &self.take(length)?)?,
        };
        Ok(Some(frame))
    }

    fn read_head(&mut self) -> Result<Option<(u8, usize)>, WireError> {
        let Some(head) = self.buffer.take_array::<{ LENGTH_PREFIX + TYPE }>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind] = head;
        let length = frame_length([a, b, c, d], MAX_REPLY_FRAME)?;
        reply::check_length(kind, length)?;
        let current = (kind, length - TYPE);
        self.current = Some(current);
        Ok(Some(current))
    }

    fn read_chunk(&mut self, length: usize) -> Result<ReplyFrame, WireError> {
        let prefix = self.buffer.take_array::<SIGNATURE_LENGTH>().ok_or(WireError::Truncated)?;
        let signature_length = usize::from(u16::from_be_bytes(prefix));
        let rest = length - SIGNATURE_LENGTH;
        check_frame(signature_length, 1, rest)?;
        reply::check_chunk(signature_length, rest - signature_length)?;
        let signature = self.take(signature_length)?;
        let payload = self.take(rest - signature_length)?;
        Ok(ReplyFrame::Chunk { signature, payload })
    }

    fn take(&mut self, count: usize) -> Result<Bytes, WireError> {
        self.buffer.take(count).ok_or(WireError::Truncated)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::FrameDecoder;
    use crate::wire::{ReplyFrame, WireError};
    use bytes::Bytes;

    #[test]
    fn payload_within_one_chunk_is_not_copied() {
        let frame = ReplyFrame::Leaf(Bytes::from(vec![7; 1000]));
        let mut decoder = FrameDecoder::new();
        decoder.push(frame.encode_header().unwrap());
        assert_eq!(decoder.next().unwrap(), None);
        let payload = frame.payload().unwrap().clone();
        let address = payload.as_ptr();
        decoder.push(payload);
        let Some(ReplyFrame::Leaf(received)) = decoder.next().unwrap() else { unreachable!("a leaf was sent") };
        assert_eq!(received.as_ptr(), address);
    }

    #[test]
    fn oversized_frames_are_refused_by_their_head_alone() {
        for (head, error) in [
            ([0, 5, 0, 1, 3], WireError::BadLength { length: 0x5_0001, min: 1, max: 320 * 1024 }),
            ([0, 0, 0x40, 2, 7], WireError::BadLength { length: 0x4002, min: 1, max: 0x4001 }),
            ([0, 0, 0, 2, 1], WireError::BadLength { length: 2, min: 1, max: 1 }),
            ([0, 0, 0, 2, 99], WireError::UnknownFrame(99)),
        ] {
            let mut decoder = FrameDecoder::new();
            decoder.push(Bytes::copy_from_slice(&head));
            assert_eq!(decoder.next(), Err(error));
            assert_eq!(decoder.next(), Err(WireError::Failed));
        }
    }

    #[test]
    fn chunk_parts_stay_within_the_frame() {
        let mut decoder = FrameDecoder::new();
        decoder.push(Bytes::from_static(&[0, 0, 0, 5, 3, 0, 9, 1, 2]));
        assert!(matches!(decoder.next(), Err(WireError::BadLength { length: 9, .. })));
    }
}

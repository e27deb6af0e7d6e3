//! Cuts a reply stream into frames as bytes arrive.
//!
//! Invariant: a frame's length is refused as soon as its five-byte head is there, before its body is buffered; a
//! payload that lies within one received chunk, or was read in place, is a slice of what was received.

use bytes::{Bytes, BytesMut};

use crate::wire::buffer::ChunkBuffer;
use crate::wire::reply::{self, COUNT, GROUP_SIZE, MAX_REPLY_FRAME, PARENT, ReplyFrame, SIGNATURE_LENGTH, TYPE};
use crate::wire::{LENGTH_PREFIX, WireError, check_frame, frame_length};

/// An incremental decoder of [`ReplyFrame`]s.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: ChunkBuffer,
    /// Type and remaining length of the frame whose head has been read.
    current: Option<(u8, usize)>,
    /// Group bytes that are still to come of a `Groups` frame whose beginning was handed out.
    groups: usize,
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

    /// Where received bytes may be appended instead, without a chunk of their own: at least `least` bytes fit, and when
    /// there must be a new allocation it is for `wanted`. What is handed out shares the allocation.
    pub fn room(&mut self, least: usize, wanted: usize) -> &mut BytesMut {
        self.buffer.room(least, wanted)
    }

    /// The next frame, or `None` until more bytes come. A `Groups` frame is handed out in as many parts as it takes to
    /// let every whole group go as soon as it is there; its nodes come with the first part.
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
        if self.current.is_some() || self.groups > 0 || self.buffer.len() > 0 {
            Err(WireError::Truncated)
        } else {
            Ok(())
        }
    }

    fn step(&mut self) -> Result<Option<ReplyFrame>, WireError> {
        if self.groups > 0 {
            return self.read_groups(Bytes::new());
        }
        let (kind, length) = match self.current {
            Some(current) => current,
            None => match self.read_head()? {
                Some(current) => current,
                None => return Ok(None),
            },
        };
        if kind == reply::GROUPS {
            return self.begin_groups(length);
        }
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

    /// Reads the nodes of a `Groups` frame once they and the first group are there.
    fn begin_groups(&mut self, length: usize) -> Result<Option<ReplyFrame>, WireError> {
        let Some([a, b]) = self.buffer.peek_array::<COUNT>() else { return Ok(None) };
        let nodes = usize::from(u16::from_be_bytes([a, b])) * PARENT;
        let groups = reply::check_groups(nodes, length)?;
        if self.buffer.len() < COUNT + nodes + groups.min(GROUP_SIZE) {
            return Ok(None);
        }
        self.take(COUNT)?;
        let nodes = self.take(nodes)?;
        (self.current, self.groups) = (None, groups);
        self.read_groups(nodes)
    }

    /// The whole groups that are there, at most what is missing of the frame.
    fn read_groups(&mut self, nodes: Bytes) -> Result<Option<ReplyFrame>, WireError> {
        let there = self.buffer.len();
        let count = if there >= self.groups { self.groups } else { there / GROUP_SIZE * GROUP_SIZE };
        if count == 0 {
            return Ok(None);
        }
        self.groups -= count;
        Ok(Some(ReplyFrame::Groups { nodes, payload: self.take(count)? }))
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
    fn groups_are_handed_out_as_they_come_and_where_they_lie() {
        let payload = Bytes::from((0..40_000u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        let frame = ReplyFrame::Groups { nodes: Bytes::from(vec![3; 128]), payload: payload.clone() };
        let mut wire = frame.encode_header().unwrap().to_vec();
        wire.extend_from_slice(&payload);
        for step in [1, 77, 1200, 16 * 1024, 17_000, 100_000] {
            let mut decoder = FrameDecoder::new();
            let (mut got, mut parts) = (Vec::new(), 0);
            for bytes in wire.chunks(step) {
                decoder.room(bytes.len(), 70_000).extend_from_slice(bytes);
                while let Some(part) = decoder.next().unwrap() {
                    let ReplyFrame::Groups { nodes, payload } = part else { unreachable!("only groups were sent") };
                    assert_eq!(nodes.len(), if parts == 0 { 128 } else { 0 });
                    assert!(payload.len() % (16 * 1024) == 0 || got.len() + payload.len() == 40_000);
                    parts += 1;
                    got.extend_from_slice(&payload);
                }
            }
            assert_eq!(got, payload, "steps of {step}");
            assert!(
                if step < 16 * 1024 { parts == 3 } else { parts <= 2 + usize::from(step == 17_000) },
                "{parts} of {step}"
            );
            decoder.finish().unwrap();
        }
        let mut decoder = FrameDecoder::new();
        decoder.room(1, 70_000).extend_from_slice(&wire);
        let address = decoder.room(1, 1).as_ptr();
        let Some(ReplyFrame::Groups { payload, .. }) = decoder.next().unwrap() else {
            unreachable!("groups were sent")
        };
        assert_eq!(payload.as_ptr() as usize, address as usize + wire.len() - payload.len());
    }

    #[test]
    fn oversized_frames_are_refused_by_their_head_alone() {
        for (head, error) in [
            ([0, 5, 0, 1, 3], WireError::BadLength { length: 0x5_0001, min: 1, max: 320 * 1024 }),
            ([0, 0, 0x40, 2, 7], WireError::BadLength { length: 0x4002, min: 1, max: 0x4001 }),
            ([0, 0, 0, 2, 1], WireError::BadLength { length: 2, min: 1, max: 1 }),
            ([0, 4, 0x10, 0x44, 11], WireError::BadLength { length: 0x4_1044, min: 4, max: 0x4_1043 }),
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
        // 200 nodes, but room for none of them.
        let mut decoder = FrameDecoder::new();
        decoder.push(Bytes::from_static(&[0, 0, 0, 100, 11, 0, 200]));
        assert!(decoder.next().is_err());
    }
}

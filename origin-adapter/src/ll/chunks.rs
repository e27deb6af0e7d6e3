//! Splits a segment's bytes, as they come, into chunks: each `moof` with the `mdat` behind it and whatever stands before.
//! Invariant: the chunks together are the bytes that came, in their order; nothing is held beyond the bound.

use super::tracks::{Fragment, MediaError, Tracks};
use bytes::{Bytes, BytesMut};
use mp4_atom::{Atom, Buf, DecodeMaybe, FourCC, Header, Mdat, Moof};
use std::io::Cursor;

/// Longest chunk, in bytes.
pub(super) const MAX_CHUNK: usize = 16 << 20;

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) fragment: Fragment,
}

/// What has come and is no chunk yet.
#[derive(Default)]
pub(super) struct Chunker {
    pending: BytesMut,
    /// Bytes at the front that are whole boxes.
    seen: usize,
    fragment: Option<Fragment>,
}

impl Chunker {
    /// Takes in more; returns the chunks that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8], tracks: &Tracks) -> Result<Vec<Chunk>, MediaError> {
        if self.pending.len() + bytes.len() > MAX_CHUNK {
            return Err(MediaError::TooLarge(MAX_CHUNK));
        }
        self.pending.extend_from_slice(bytes);
        let mut chunks = Vec::new();
        while let Some((kind, header, size)) = self.next_box()? {
            let (from, end) = (self.seen + header, self.seen + header + size);
            if kind == Moof::KIND {
                self.fragment = Some(tracks.fragment(&self.pending[from..end])?);
            }
            self.seen = end;
            if kind == Mdat::KIND {
                let Some(fragment) = self.fragment.take() else {
                    return Err(MediaError::Malformed("media data before its moof".into()));
                };
                chunks.push(Chunk { bytes: self.pending.split_to(end).freeze(), fragment });
                self.seen = 0;
            }
        }
        Ok(chunks)
    }

    /// The next box behind what was seen, if all of it is here: kind, and length of header and body.
    fn next_box(&self) -> Result<Option<(FourCC, usize, usize)>, MediaError> {
        let mut rest = Cursor::new(&self.pending[self.seen..]);
        let header = Header::decode_maybe(&mut rest).map_err(|error| MediaError::Malformed(error.to_string()))?;
        let Some(header) = header else { return Ok(None) };
        let Some(size) = header.size else {
            return Err(MediaError::Malformed("a box without a length in a growing segment".into()));
        };
        if size > MAX_CHUNK {
            return Err(MediaError::TooLarge(MAX_CHUNK));
        }
        let length = self.pending.len() - self.seen - rest.remaining();
        Ok((rest.remaining() >= size).then_some((header.kind, length, size)))
    }

    /// True when nothing is left over.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// What is left over at the end: boxes behind the last chunk, which belong to it.
    pub(super) fn rest(&mut self) -> Bytes {
        self.seen = 0;
        std::mem::take(&mut self.pending).freeze()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// The demo's clip: picture and sound, four fragments of two seconds.
    fn clip() -> (Tracks, Vec<u8>) {
        let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../src/demo/clip/360p.mp4")).unwrap();
        let at = file.windows(4).position(|window| window == b"moof").unwrap() - 4;
        (Tracks::of_init(&file[..at]).unwrap(), file[at..].to_vec())
    }

    fn chunks(media: &[u8], tracks: &Tracks, piece: usize) -> Result<(Vec<Chunk>, bool), MediaError> {
        let (mut chunker, mut chunks) = (Chunker::default(), Vec::new());
        for piece in media.chunks(piece) {
            chunks.extend(chunker.push(piece, tracks)?);
        }
        Ok((chunks, chunker.is_empty()))
    }

    #[test]
    fn fragments_are_found_however_the_bytes_come() {
        let (tracks, media) = clip();
        for piece in [1_461, 65_536, usize::MAX / 2] {
            let (chunks, all) = chunks(&media, &tracks, piece).unwrap();
            assert!(all && chunks.len() == 4);
            assert_eq!(chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect::<Vec<u8>>(), media);
            let two_seconds = Fragment { duration: Duration::from_secs(2), independent: true };
            assert!(chunks.iter().all(|chunk| chunk.fragment == two_seconds));
        }
    }

    #[test]
    fn what_is_no_fragment_is_an_error_and_never_grows() {
        let (tracks, media) = clip();
        assert!(chunks(b"\x47@\0\x10 a transport stream, or anything else", &tracks, 7).is_err());
        let mdat = media.windows(4).position(|window| window == b"mdat").unwrap() - 4;
        assert!(matches!(chunks(&media[mdat..], &tracks, 4096), Err(MediaError::Malformed(_))));
        let endless = [&0xf000_0000_u32.to_be_bytes()[..], b"mdat"].concat();
        assert_eq!(chunks(&endless, &tracks, 8), Err(MediaError::TooLarge(MAX_CHUNK)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A stranger's bytes are refused or cut, and never lost or invented.
        #[test]
        fn mutated_media_is_refused_or_kept(at in 0_usize..4_000, byte: u8, piece in 1_usize..9_000) {
            let (tracks, mut media) = clip();
            media.truncate(60_000);
            media[at] = byte;
            if let Ok((chunks, _)) = chunks(&media, &tracks, piece) {
                let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
                prop_assert!(media.starts_with(&joined));
            }
        }
    }
}

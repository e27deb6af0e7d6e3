//! A walker over ISO base media file format boxes (ISO/IEC 14496-12 §4.2).
//!
//! It yields positions, not copies, because the origin patches fields in place. Invariant: every box it yields lies wholly
//! inside the range that was walked, and every step moves forward, so a walk ends.

use std::ops::Range;

/// A box cannot be read: it is cut off, or its size does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed MP4 box at byte {0}")]
pub(crate) struct BoxError(pub(super) usize);

/// Where a box lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoxAt {
    /// Four-character type.
    pub(super) kind: [u8; 4],
    /// First byte of the box's header.
    pub(super) start: usize,
    /// First byte after the header.
    pub(super) body: usize,
    /// First byte after the box.
    pub(super) end: usize,
}

impl BoxAt {
    /// Bytes after the header.
    pub(super) fn content(&self) -> Range<usize> {
        self.body..self.end
    }
}

/// Walks the boxes that lie side by side in `range` of `file`.
pub(super) fn boxes(file: &[u8], range: Range<usize>) -> impl Iterator<Item = Result<BoxAt, BoxError>> + '_ {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let read = read_header(file, at, range.end);
        // After an error the walk is over: the next box cannot be found.
        at = read.as_ref().map_or(range.end, |found| found.end);
        Some(read)
    })
}

/// The boxes of one type among the children in `range`.
pub(super) fn all(file: &[u8], range: Range<usize>, kind: [u8; 4]) -> Result<Vec<BoxAt>, BoxError> {
    boxes(file, range).filter(|b| b.as_ref().map_or(true, |b| b.kind == kind)).collect()
}

/// The first box at the end of a path of types, each a child of the one before; `None` when there is none.
pub(super) fn find(file: &[u8], range: Range<usize>, path: &[[u8; 4]]) -> Result<Option<BoxAt>, BoxError> {
    let Some((kind, rest)) = path.split_first() else {
        return Ok(None);
    };
    for found in all(file, range, *kind)? {
        if rest.is_empty() {
            return Ok(Some(found));
        }
        if let Some(inner) = find(file, found.content(), rest)? {
            return Ok(Some(inner));
        }
    }
    Ok(None)
}

/// Big-endian 16-bit number at `at`.
pub(super) fn u16_at(file: &[u8], at: usize) -> Result<u16, BoxError> {
    array_at(file, at).map(u16::from_be_bytes)
}

/// Big-endian 32-bit number at `at`.
pub(super) fn u32_at(file: &[u8], at: usize) -> Result<u32, BoxError> {
    array_at(file, at).map(u32::from_be_bytes)
}

/// Big-endian 64-bit number at `at`.
pub(super) fn u64_at(file: &[u8], at: usize) -> Result<u64, BoxError> {
    array_at(file, at).map(u64::from_be_bytes)
}

fn array_at<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], BoxError> {
    file.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(BoxError(at))
}

fn read_header(file: &[u8], start: usize, limit: usize) -> Result<BoxAt, BoxError> {
    let size = u32_at(file, start)?;
    let kind = array_at(file, start + 4)?;
    let (header, size) = match size {
        0 => (8, limit - start),
        1 => (16, usize::try_from(u64_at(file, start + 8)?).map_err(|_| BoxError(start))?),
        size => (8, size as usize),
    };
    let end = start.checked_add(size).filter(|end| *end <= limit).ok_or(BoxError(start))?;
    if size < header {
        return Err(BoxError(start));
    }
    Ok(BoxAt { kind, start, body: start + header, end })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).unwrap();
        [&size.to_be_bytes()[..], kind, content].concat()
    }

    #[test]
    fn siblings_and_children_are_found() {
        let file = [boxed(b"free", b""), boxed(b"moof", &boxed(b"mfhd", b"abcd"))].concat();
        let found = find(&file, 0..file.len(), &[*b"moof", *b"mfhd"]).unwrap().unwrap();
        assert_eq!(&file[found.content()], b"abcd");
        assert_eq!(find(&file, 0..file.len(), &[*b"moof", *b"traf"]).unwrap(), None);
    }

    #[test]
    fn a_box_that_leaves_its_parent_is_refused() {
        let mut file = boxed(b"moof", &boxed(b"mfhd", b"abcd"));
        file[11] = 99;
        assert_eq!(find(&file, 0..file.len(), &[*b"moof", *b"mfhd"]), Err(BoxError(8)));
    }

    #[test]
    fn a_size_smaller_than_the_header_ends_the_walk_with_an_error() {
        let file = [0, 0, 0, 4, b'f', b'r', b'e', b'e'];
        assert_eq!(boxes(&file, 0..8).collect::<Vec<_>>(), [Err(BoxError(0))]);
        assert_eq!(boxes(&file[..6], 0..6).collect::<Vec<_>>(), [Err(BoxError(4))]);
    }

    #[test]
    fn large_and_open_sizes_are_read() {
        let mut large = vec![0, 0, 0, 1];
        large.extend_from_slice(b"mdat");
        large.extend_from_slice(&18u64.to_be_bytes());
        large.extend_from_slice(b"xy");
        assert_eq!(boxes(&large, 0..18).next().unwrap().unwrap().content(), 16..18);
        let open = [0, 0, 0, 0, b'm', b'd', b'a', b't', 7, 7];
        assert_eq!(boxes(&open, 0..10).next().unwrap().unwrap().content(), 8..10);
    }
}

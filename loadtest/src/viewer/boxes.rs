//! Walks the boxes of an ISO base media file (ISO/IEC 14496-12 section 4.2) that is held whole.
//!
//! Invariant: a box never reaches past what holds it; walking takes at most one step for each 8 bytes and never
//! recurses.

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BoxError {
    /// A box, or a field in one, reaches past its end.
    #[error("{kind} cut short at byte {at}")]
    Short {
        /// The box.
        kind: String,
        /// Where in what holds it.
        at: usize,
    },
    /// Something that must be there is not.
    #[error("no {0}")]
    Missing(&'static str),
}

/// A box and what is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Atom<'a> {
    pub(super) kind: [u8; 4],
    pub(super) payload: &'a [u8],
}

/// The boxes directly inside `data`.
#[derive(Debug)]
pub(super) struct Boxes<'a> {
    data: &'a [u8],
    at: usize,
}

pub(super) fn boxes(data: &[u8]) -> Boxes<'_> {
    Boxes { data, at: 0 }
}

impl<'a> Boxes<'a> {
    fn step(&mut self, rest: &'a [u8]) -> Option<Atom<'a>> {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let (kind, mut after) = after.split_first_chunk::<4>()?;
        let size = match u32::from_be_bytes(*size) {
            // To the end of what holds it.
            0 => rest.len(),
            1 => {
                let (large, behind) = after.split_first_chunk::<8>()?;
                after = behind;
                usize::try_from(u64::from_be_bytes(*large)).ok()?
            }
            size => usize::try_from(size).ok()?,
        };
        let header = rest.len() - after.len();
        let payload = after.get(..size.checked_sub(header)?)?;
        self.at += size;
        Some(Atom { kind: *kind, payload })
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<Atom<'a>, BoxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.data.get(at..).filter(|rest| !rest.is_empty())?;
        let atom = self.step(rest);
        Some(atom.ok_or_else(|| {
            self.at = self.data.len();
            let kind = rest.get(4..8).map_or_else(|| "box".to_owned(), |kind| kind.escape_ascii().to_string());
            BoxError::Short { kind, at }
        }))
    }
}

/// The first box of a kind directly inside `data`.
pub(super) fn find<'a>(data: &'a [u8], kind: &'static str) -> Result<&'a [u8], BoxError> {
    for atom in boxes(data) {
        let atom = atom?;
        if atom.kind == kind.as_bytes() {
            return Ok(atom.payload);
        }
    }
    Err(BoxError::Missing(kind))
}

/// Reads big-endian fields one after another.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    kind: &'static str,
    data: &'a [u8],
    length: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(kind: &'static str, data: &'a [u8]) -> Self {
        Self { kind, data, length: data.len() }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BoxError> {
        let at = self.length - self.data.len();
        let (field, rest) =
            self.data.split_first_chunk::<N>().ok_or_else(|| BoxError::Short { kind: self.kind.to_owned(), at })?;
        self.data = rest;
        Ok(*field)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BoxError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, BoxError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box.
    pub(super) fn full(&mut self) -> Result<(u8, u32), BoxError> {
        let word = self.u32()?;
        let [version, ..] = word.to_be_bytes();
        Ok((version, word & 0x00ff_ffff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_all_three_forms() {
        let mut data = b"\0\0\0\x0cfreeabcd".to_vec();
        data.extend_from_slice(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x12xy");
        data.extend_from_slice(b"\0\0\0\0skiprest");
        let walked: Vec<_> = boxes(&data).map(|atom| atom.map(|atom| (atom.kind, atom.payload))).collect();
        assert_eq!(walked, [Ok((*b"free", &b"abcd"[..])), Ok((*b"mdat", &b"xy"[..])), Ok((*b"skip", &b"rest"[..]))]);
    }

    #[test]
    fn a_box_that_reaches_too_far_or_not_past_itself_ends_the_walk() {
        for bad in
            [&b"\0\0\0\x0dfreeabcd"[..], b"\0\0\0\x07free", b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0"]
        {
            let walked: Vec<_> = boxes(bad).collect();
            assert_eq!(walked.len(), 1);
            assert!(matches!(walked[0], Err(BoxError::Short { at: 0, .. })), "{walked:?}");
        }
    }
}

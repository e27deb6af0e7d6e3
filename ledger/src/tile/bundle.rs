//! Bundles of entries and of openings as bytes.
//!
//! Entries stand behind their length in two big-endian bytes, as `tlog-tiles` prescribes. Openings stand behind theirs in
//! four, since a message may be longer; length 0 stands for an opening that was deleted.

use crate::leaf::{Commitment, ENTRY_LEN, LeafError, MAX_MESSAGE, Opening};
use crate::tile::place::TILE_WIDTH;

/// Longest bundle of openings, in bytes.
pub const MAX_OPENINGS_BUNDLE: usize = TILE_WIDTH as usize * (4 + 25 + MAX_MESSAGE);

/// Why bytes are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The lengths in it do not add up, or there is another number of entries.
    #[error("not a bundle of {0} entries")]
    Shape(usize),
    /// An entry or opening in it.
    #[error("entry {at} of the bundle: {source}")]
    Leaf {
        /// Which, from 0.
        at: usize,
        /// What is wrong with it.
        source: LeafError,
    },
}

/// The entries as a bundle.
#[must_use]
pub fn encode_entries(commitments: &[Commitment]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(commitments.len() * (2 + ENTRY_LEN));
    for commitment in commitments {
        bytes.extend_from_slice(&(ENTRY_LEN as u16).to_be_bytes());
        bytes.extend_from_slice(&commitment.entry());
    }
    bytes
}

/// Reads a bundle of `width` entries.
///
/// # Errors
/// [`BundleError`].
pub fn decode_entries(mut bytes: &[u8], width: u16) -> Result<Vec<Commitment>, BundleError> {
    let width = usize::from(width);
    let shape = BundleError::Shape(width);
    let mut commitments = Vec::with_capacity(width);
    for at in 0..width {
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(|| shape.clone())?;
        let (entry, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(|| shape.clone())?;
        commitments.push(Commitment::from_entry(entry).map_err(|source| BundleError::Leaf { at, source })?);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(commitments) } else { Err(shape) }
}

/// The openings as a bundle; `None` for deleted ones.
#[must_use]
pub fn encode_openings(openings: &[Option<Opening>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for opening in openings {
        let encoded = opening.as_ref().map(Opening::encode).unwrap_or_default();
        let length = u32::try_from(encoded.len()).expect("a message has at most 64 KiB");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&encoded);
    }
    bytes
}

/// Reads a bundle of `width` openings. Whether they open anything shows in their commitments.
///
/// # Errors
/// [`BundleError`].
pub fn decode_openings(mut bytes: &[u8], width: u16) -> Result<Vec<Option<Opening>>, BundleError> {
    let width = usize::from(width);
    let shape = BundleError::Shape(width);
    let mut openings = Vec::with_capacity(width);
    for at in 0..width {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| shape.clone())?;
        let (opening, rest) =
            rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(|| shape.clone())?;
        let opened = (!opening.is_empty()).then(|| Opening::decode(opening)).transpose();
        openings.push(opened.map_err(|source| BundleError::Leaf { at, source })?);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(openings) } else { Err(shape) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{BundleError, decode_entries, decode_openings, encode_entries, encode_openings};
    use crate::leaf::{Commitment, Opening, Salt};
    use weir_protocol::statement::Kind;
    use weir_protocol::time::UnixMillis;

    #[test]
    fn bundles_round_trip_and_have_no_slack() {
        let commitments = [Commitment([1; 32]), Commitment([2; 32])];
        let bytes = encode_entries(&commitments);
        assert_eq!(decode_entries(&bytes, 2).unwrap(), commitments);
        assert_eq!(decode_entries(&bytes, 1), Err(BundleError::Shape(1)));
        assert_eq!(decode_entries(&bytes[..69], 2), Err(BundleError::Shape(2)));
        let opening = Opening { salt: Salt([3; 16]), received: UnixMillis(1), kind: Kind::Mark, message: vec![] };
        let openings = [Some(opening), None];
        let bytes = encode_openings(&openings);
        assert_eq!(decode_openings(&bytes, 2).unwrap(), openings);
        assert_eq!(decode_openings(&bytes, 3), Err(BundleError::Shape(3)));
        assert!(matches!(decode_openings(&[0, 0, 0, 1, 9], 1), Err(BundleError::Leaf { at: 0, .. })));
        assert!(decode_openings(&[255; 8], 1).is_err(), "a length beyond the bytes allocates nothing");
    }
}

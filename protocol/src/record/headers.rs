//! The canonical end-to-end header block that travels beside a record or head and is bound to it by its SHA-256.
//!
//! Invariant: one block has one form: lower-case names, sorted, trimmed values, no field that belongs to a hop or that
//! the record states itself, at most [`MAX_HEADER_FIELDS`] fields and [`MAX_HEADER_BYTES`] canonical bytes.

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};
use sha2::{Digest as _, Sha256};

/// Most fields in a block.
pub const MAX_HEADER_FIELDS: usize = 64;
/// Longest canonical form, in bytes.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Fields that never enter a block: hop by hop (RFC 9110 section 7.6.1), made anew by each server, or stated by the
/// record itself, where a second value could only contradict it.
const EXCLUDED: [&str; 24] = [
    "accept-ranges",
    "age",
    "alt-svc",
    "connection",
    "content-digest",
    "content-encoding",
    "content-length",
    "content-type",
    "etag",
    "keep-alive",
    "last-modified",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "repr-digest",
    "signature",
    "signature-input",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "weir-record",
];

/// Why headers make no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// More than [`MAX_HEADER_FIELDS`].
    #[error("more than 64 header fields")]
    TooMany,
    /// More than [`MAX_HEADER_BYTES`].
    #[error("more than 16 KiB of header fields")]
    TooLarge,
    /// The name is no token (RFC 9110 section 5.6.2).
    #[error("`{0}` is no header field name")]
    BadName(String),
    /// The value holds a control character.
    #[error("the value of `{0}` holds a control character")]
    BadValue(String),
}

/// A canonical header block: (name, value) pairs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Encode)]
#[cbor(transparent)]
pub struct HeaderBlock(#[n(0)] Vec<(String, String)>);

impl HeaderBlock {
    /// Builds the block from received fields, leaving out what never enters one. Fields of the same name keep their
    /// order.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn new<N, V>(fields: impl IntoIterator<Item = (N, V)>) -> Result<Self, HeaderError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut kept: Vec<(String, String)> = Vec::new();
        for (name, value) in fields {
            let name = name.as_ref().to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                return Err(HeaderError::BadName(name));
            }
            if EXCLUDED.contains(&name.as_str()) {
                continue;
            }
            let value = value.as_ref().trim_matches([' ', '\t']);
            if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
                return Err(HeaderError::BadValue(name));
            }
            if kept.len() == MAX_HEADER_FIELDS {
                return Err(HeaderError::TooMany);
            }
            kept.push((name, value.to_owned()));
        }
        kept.sort_by(|(a, _), (b, _)| a.cmp(b));
        let block = Self(kept);
        if block.canonical_len() > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLarge);
        }
        Ok(block)
    }

    /// The fields, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of a field, by its lower-case name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is hashed: for each field `name: value` and a line feed, in UTF-8.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.canonical_len());
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// SHA-256 of [`Self::canonical_bytes`].
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.canonical_bytes()).into()
    }

    fn canonical_len(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 3).sum()
    }
}

impl<'b, C> Decode<'b, C> for HeaderBlock {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let mut received = Vec::new();
        for pair in d.array_iter::<(&str, &str)>()? {
            if received.len() == MAX_HEADER_FIELDS {
                return Err(DecodeError::message(HeaderError::TooMany));
            }
            received.push(pair?);
        }
        let block = Self::new(received.iter().copied()).map_err(DecodeError::message)?;
        if !block.iter().eq(received.iter().copied()) {
            return Err(DecodeError::message("header block is not canonical"));
        }
        Ok(block)
    }
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{HeaderBlock, HeaderError};
    use crate::cbor;

    #[test]
    fn one_block_one_form() {
        let block = HeaderBlock::new([
            ("X-B", " two "),
            ("Connection", "close"),
            ("cache-control", "max-age=4"),
            ("x-b", "one"),
            ("Content-Length", "3"),
        ])
        .unwrap();
        assert_eq!(block.canonical_bytes(), b"cache-control: max-age=4\nx-b: two\nx-b: one\n");
        assert_eq!(block.get("x-b"), Some("two"));
        assert_eq!(cbor::decode_canonical::<HeaderBlock>(&cbor::to_vec(&block)).unwrap(), block);
    }

    #[test]
    fn unfit_blocks_are_refused() {
        assert!(matches!(HeaderBlock::new([("a b", "c")]), Err(HeaderError::BadName(_))));
        assert!(matches!(HeaderBlock::new([("a", "c\nd")]), Err(HeaderError::BadValue(_))));
        assert_eq!(HeaderBlock::new([("a", "c"); 65]), Err(HeaderError::TooMany));
        assert_eq!(HeaderBlock::new([("a", "c".repeat(16 * 1024))]), Err(HeaderError::TooLarge));
        for pairs in [vec![("X-A", "b")], vec![("b", ""), ("a", "")], vec![("age", "1")], vec![("a", " b")]] {
            let bytes = minicbor::to_vec(&pairs).unwrap();
            assert!(cbor::decode_exact::<HeaderBlock>(&bytes).is_err(), "{pairs:?}");
        }
    }
}

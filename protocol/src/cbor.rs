//! Whole-input CBOR decoding, and the strict form for everything that is signed.
//!
//! Invariant: a signed value has exactly one encoding (RFC 8949 section 4.2). `decode_canonical` enforces it by encoding
//! what it decoded and comparing, which also refuses unknown map keys: a signed format changes by a new context string.

use minicbor::{Decode, Decoder, Encode};

/// Why bytes are not the CBOR that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Not CBOR, or not of the expected shape.
    #[error("malformed CBOR: {0}")]
    Malformed(String),
    /// Bytes follow the value.
    #[error("bytes after the end of the CBOR value")]
    Trailing,
    /// Valid CBOR, but not the one deterministic encoding (RFC 8949 section 4.2).
    #[error("CBOR is not in its deterministic encoding")]
    NotCanonical,
    /// Longer than the bound for this kind of value, in bytes.
    #[error("CBOR value of {length} bytes exceeds {max}")]
    TooLong {
        /// Bytes received.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl From<minicbor::decode::Error> for CborError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Encodes a value; derived encoders write shortest integers, definite lengths and sorted integer keys.
pub(crate) fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a Vec cannot fail and no encoder of this crate raises an error")
}

/// Decodes a value that must fill `bytes` exactly. Unknown map keys are ignored.
pub(crate) fn decode_exact<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, CborError> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() != bytes.len() {
        return Err(CborError::Trailing);
    }
    Ok(value)
}

/// Decodes a value that must be in its deterministic encoding.
pub(crate) fn decode_canonical<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Result<T, CborError> {
    let value: T = decode_exact(bytes)?;
    if to_vec(&value) != bytes {
        return Err(CborError::NotCanonical);
    }
    Ok(value)
}

/// Refuses inputs that exceed a bound before anything parses them.
pub(crate) fn check_length(bytes: &[u8], max: usize) -> Result<(), CborError> {
    if bytes.len() > max {
        return Err(CborError::TooLong { length: bytes.len(), max });
    }
    Ok(())
}

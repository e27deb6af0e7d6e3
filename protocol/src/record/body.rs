//! What a record states about a resource.
//!
//! Invariant: everything here can be carried by RFC 9651 fields; `check` refuses what cannot before it is signed.

use crate::freshness::{Freshness, Validators, is_field_text};
use crate::ids::Generation;
use crate::record::error::RecordError;
use crate::resource::ResourceKey;

/// Longest `Content-Type` and `Content-Encoding`, in bytes.
pub const MAX_CONTENT_TYPE: usize = 256;
/// RFC 9651 section 3.3.1: 15 decimal digits.
const MAX_SF_INTEGER: u64 = 999_999_999_999_999;

/// A finished response of the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBody {
    /// What was asked for.
    pub key: ResourceKey,
    /// HTTP status of the whole response, 200 to 599.
    pub status: u16,
    /// `Content-Type`: printable ASCII, at most [`MAX_CONTENT_TYPE`] bytes.
    pub content_type: Option<String>,
    /// `Content-Encoding`, likewise.
    pub content_encoding: Option<String>,
    /// Length of the body as it is stored and hashed (with its content encoding), in bytes.
    pub length: u64,
    /// SHA-256 of the body (RFC 9530 representation digest).
    pub sha256: [u8; 32],
    /// BLAKE3 hash of the body: root of its bao tree.
    pub root: [u8; 32],
    /// How long it may be used.
    pub freshness: Freshness,
    /// How to ask whether it changed.
    pub validators: Validators,
    /// Which body this is.
    pub generation: Generation,
    /// SHA-256 of the header block; signing sets it.
    pub headers_sha256: [u8; 32],
}

impl RecordBody {
    pub(super) fn check(&self) -> Result<(), RecordError> {
        if !(200..=599).contains(&self.status) {
            return Err(RecordError::OutOfRange("status"));
        }
        if let Some(field) = unfit_type(self.content_type.as_deref(), self.content_encoding.as_deref()) {
            return Err(RecordError::UnfitText(field));
        }
        if let Some(field) = self.validators.unfit() {
            return Err(RecordError::UnfitText(field));
        }
        for (name, value) in self.integers() {
            if value > MAX_SF_INTEGER {
                return Err(RecordError::OutOfRange(name));
            }
        }
        Ok(())
    }

    fn integers(&self) -> [(&'static str, u64); 7] {
        let f = &self.freshness;
        [
            ("length", self.length),
            ("created", f.created.0),
            ("age", f.initial_age_ms),
            ("ttl", f.ttl_ms),
            ("stale-while-revalidate", f.stale_while_revalidate_ms),
            ("stale-if-error", f.stale_if_error_ms),
            ("generation", self.generation.0),
        ]
    }
}

/// The first of the two fields that is not printable ASCII within its bound.
pub(crate) fn unfit_type(content_type: Option<&str>, content_encoding: Option<&str>) -> Option<&'static str> {
    let fit = |value: Option<&str>| value.is_none_or(|v| is_field_text(v, MAX_CONTENT_TYPE));
    if !fit(content_type) {
        Some("content-type")
    } else if !fit(content_encoding) {
        Some("content-encoding")
    } else {
        None
    }
}

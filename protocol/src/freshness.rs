//! How long a response may be used, and how to ask whether it changed (RFC 9111, RFC 5861), as signed numbers.
//!
//! Invariant: these are the adapter's conclusions about the origin's answer; relays apply them and never reinterpret
//! the origin's headers.

use minicbor::{Decode, Encode};

use crate::time::UnixMillis;

/// Longest validator, in bytes.
pub const MAX_VALIDATOR: usize = 512;

/// Whether a response may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Storage {
    /// May be kept and given to anybody who asks for the same key.
    #[n(0)]
    Store,
    /// `no-store`, private content, encryption keys: handed through, never kept and never shared.
    #[n(1)]
    Pass,
}

/// The life of a response, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Freshness {
    /// When the adapter received the response from the origin.
    #[n(0)]
    pub created: UnixMillis,
    /// Age the response already had at `created` (RFC 9111 section 4.2.3).
    #[n(1)]
    pub initial_age_ms: u64,
    /// Freshness lifetime: fresh while the age is smaller.
    #[n(2)]
    pub ttl_ms: u64,
    /// After the lifetime, how long it may still be served while it is revalidated (RFC 5861 section 3).
    #[n(3)]
    pub stale_while_revalidate_ms: u64,
    /// After the lifetime, how long it may still be served when revalidation fails (RFC 5861 section 4).
    #[n(4)]
    pub stale_if_error_ms: u64,
    /// Whether it may be kept.
    #[n(5)]
    pub store: Storage,
}

impl Freshness {
    /// Whether a copy of this age is fresh.
    #[must_use]
    pub fn is_fresh(&self, age_ms: u64) -> bool {
        age_ms < self.ttl_ms
    }

    /// Whether a copy of this age may be served while it is revalidated in the background.
    #[must_use]
    pub fn usable_while_revalidating(&self, age_ms: u64) -> bool {
        age_ms < self.ttl_ms.saturating_add(self.stale_while_revalidate_ms)
    }

    /// Whether a copy of this age may be served because its source fails.
    #[must_use]
    pub fn usable_on_error(&self, age_ms: u64) -> bool {
        age_ms < self.ttl_ms.saturating_add(self.stale_if_error_ms)
    }

    /// Age at `now` on the clock that wrote `created`. Other machines add their residence time to the age that came
    /// with the response instead, because clocks differ.
    #[must_use]
    pub fn age_at(&self, now: UnixMillis) -> u64 {
        self.initial_age_ms.saturating_add(now.since(self.created))
    }
}

/// What the origin names the body by, for conditional requests (RFC 9110 section 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(map)]
pub struct Validators {
    /// `ETag` exactly as the origin sent it, with quotes and `W/`; printable ASCII, at most [`MAX_VALIDATOR`] bytes.
    #[n(0)]
    pub etag: Option<String>,
    /// `Last-Modified` exactly as the origin sent it; printable ASCII, at most [`MAX_VALIDATOR`] bytes.
    #[n(1)]
    pub last_modified: Option<String>,
}

impl Validators {
    /// Whether there is nothing to ask with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The first field that is not printable ASCII within [`MAX_VALIDATOR`].
    pub(crate) fn unfit(&self) -> Option<&'static str> {
        let fit = |value: &Option<String>| value.as_deref().is_none_or(|v| is_field_text(v, MAX_VALIDATOR));
        if !fit(&self.etag) {
            Some("etag")
        } else if !fit(&self.last_modified) {
            Some("last-modified")
        } else {
            None
        }
    }
}

/// A field value that survives every hop unchanged: printable ASCII, not empty, no space at its ends, bounded.
pub(crate) fn is_field_text(value: &str, max: usize) -> bool {
    !value.is_empty()
        && value.len() <= max
        && value.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && !value.starts_with(' ')
        && !value.ends_with(' ')
}

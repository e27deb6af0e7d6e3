//! `Cache-Control` of a request (RFC 9111 section 5.2.1). A viewer's wish to go round the cache is not granted, since it
//! would let anybody turn a relay against the origin it protects; that it wants no work done for it is.

use super::directives::{split_unquoted, split_value};
use http::{HeaderMap, header};

/// The directives of a request that this cache acts on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `only-if-cached`: answer from what is held, or 504.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads all `Cache-Control` fields of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            for part in split_unquoted(&String::from_utf8_lossy(line.as_bytes())) {
                found.only_if_cached |= split_value(part).0 == "only-if-cached";
            }
        }
        found
    }
}

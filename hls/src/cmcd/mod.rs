//! What players say of themselves with their requests: CMCD (CTA-5004 version 1, CTA-5004-A version 2), in the query
//! (`CMCD=`), in the four request headers, or as reports of their own.
//!
//! Invariant: whatever a stranger writes, reading it ends, costs time linear in at most [`MAX_TEXT`] bytes, and yields
//! values inside the ranges named here; a key that cannot be read is left out and the others count. A session's and a
//! content's identifier are never shown by `Debug`, so they cannot slip into a log.

mod events;
mod item;
mod keys;
mod query;

pub use events::{EventError, MAX_EVENTS, MAX_EVENTS_BYTES, events};
pub use keys::{Cmcd, EventKind, Next, ObjectType, Opaque, PlayerState, StreamType};
pub use query::QUERY_PARAMETER;

/// Longest text of one report, in bytes, percent-encoding removed.
pub const MAX_TEXT: usize = 4096;
/// The request headers, in lower case; their values are one report cut into four.
pub const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];

impl Cmcd {
    /// Reads the report in a query, the part of a URL behind `?`.
    #[must_use]
    pub fn from_query(query: &str) -> Option<Self> {
        Self::parse(&query::find(query)?)
    }

    /// Reads the report in request headers, whose values are given in any order.
    #[must_use]
    pub fn from_headers<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut text = String::new();
        for value in values {
            if text.len() + value.len() >= MAX_TEXT {
                return None;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(value);
        }
        Self::parse(&text)
    }

    /// Reads `key=value,key,…`; `None` where nothing in it can be read.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut out = Self::default();
        let mut any = false;
        for (key, value) in item::members(text) {
            any |= out.set(key, &value);
        }
        any.then_some(out)
    }
}

#[cfg(test)]
mod tests;

//! Collects the URIs of decryption keys (sections 4.4.4.4 and 4.4.6.5).
//!
//! Invariant: each URI once, in the order of the text, in time that stays near linear when a key stands before every
//! segment.

use std::collections::BTreeSet;

use crate::playlist::error::ReadError;
use crate::playlist::fields::Tag;
use crate::uri::is_data;

#[derive(Debug, Default)]
pub(crate) struct Keys<'a> {
    seen: BTreeSet<&'a str>,
    uris: Vec<String>,
}

impl<'a> Keys<'a> {
    /// Adds the key of an `EXT-X-KEY` or `EXT-X-SESSION-KEY`, if it is one that a player fetches: method `NONE` has no
    /// key, and a `data:` URI is one.
    pub(crate) fn add(&mut self, tag: &Tag<'a>) -> Result<(), ReadError> {
        let fields = tag.fields()?;
        if fields.required("METHOD")? == "NONE" {
            return Ok(());
        }
        if let Some(uri) = fields.text("URI").filter(|uri| !uri.is_empty() && !is_data(uri))
            && self.seen.insert(uri)
        {
            self.uris.push(uri.to_owned());
        }
        Ok(())
    }

    pub(crate) fn into_uris(self) -> Vec<String> {
        self.uris
    }
}

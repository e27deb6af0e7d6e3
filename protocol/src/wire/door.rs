//! Where viewers come to a relay, as it tells its adapter again and again: what steering chooses by.
//!
//! Invariant: a report that was decoded or checked names an absolute `http` or `https` URL without user information,
//! query or fragment, and numbers inside their ranges. It is a claim: whoever sends viewers there asks the door first
//! who it is.

use minicbor::{Decode, Encode};

use crate::ids::PublisherId;
use crate::wire::WireError;

/// Longest URL of a door, in bytes.
pub const MAX_DOOR_URL: usize = 255;

/// A relay's word about its door.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DoorReport {
    /// In whose network.
    #[n(0)]
    pub publisher: PublisherId,
    /// What the publisher's paths are appended to: scheme, host, perhaps a port and a path; no slash at its end.
    #[n(1)]
    pub url: String,
    /// When the relay began to serve there, in ms since 1970: another one after a restart.
    #[n(2)]
    pub since: u64,
    /// How much of what it can do is in use, per mille, 0 to 1000.
    #[n(3)]
    pub load: u16,
    /// Requests that are being answered now.
    #[n(4)]
    pub requests: u32,
    /// True while it lets its viewers finish and wants no new ones.
    #[n(5)]
    pub draining: bool,
}

impl DoorReport {
    /// Holds it against its bounds.
    ///
    /// # Errors
    /// [`WireError::OutOfBounds`].
    pub fn check(&self) -> Result<(), WireError> {
        if !is_door_url(&self.url) {
            return Err(WireError::OutOfBounds("url"));
        }
        if self.load > 1000 { Err(WireError::OutOfBounds("load")) } else { Ok(()) }
    }
}

/// Whether a text can be a door's URL.
#[must_use]
pub fn is_door_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>^`{|}@?#".contains(&byte);
    url.len() <= MAX_DOOR_URL
        && !url.ends_with('/')
        && !authority.is_empty()
        && !authority.starts_with(':')
        && url.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_door_url;

    #[test]
    fn doors_are_absolute_and_end_without_a_slash() {
        for url in ["https://r.example", "http://127.0.0.1:7443/name", "https://[2001:db8::1]:7443"] {
            assert!(is_door_url(url), "{url}");
        }
        for url in [
            "",
            "https://",
            "https://r/",
            "ftp://r",
            "https://u@r",
            "https://r?x",
            "https://r#x",
            "https://:1",
            "https://r\"x",
        ] {
            assert!(!is_door_url(url), "{url}");
        }
    }
}

//! What travels by gossip: announcements of at most 256 bytes, and the status that each relay announces of itself.
//!
//! The publishing relay's signature is gossipsub's own, over the whole message; here is only what is inside. Invariant:
//! nothing longer than [`MAX_ANNOUNCEMENT`] is encoded or decoded, and every announcement says when it was made, so
//! that a replay can be told from news.

use minicbor::{Decode, Encode};

use crate::cbor::{self, check_length};
use crate::ids::PublisherId;
use crate::reach::Reach;
use crate::time::UnixMillis;
use crate::wire::WireError;

/// Longest announcement, in bytes, the envelope included.
pub const MAX_ANNOUNCEMENT: usize = 256;
/// Longest body of an announcement, in bytes: what the envelope leaves.
pub const MAX_ANNOUNCEMENT_BODY: usize = MAX_ANNOUNCEMENT - 16;
/// Version of the envelope.
const VERSION: u8 = 1;
/// Addresses in a status: more would not leave room for the rest with IPv6.
const MAX_STATUS_ADDRESSES: usize = 3;

/// What a topic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKind {
    /// Each relay's [`RelayStatus`].
    Status,
    /// Content that must not be served any more, and relays that are shut out.
    Takedown,
    /// Anything else that is short and that everybody should hear.
    Announce,
}

impl TopicKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Status, Self::Takedown, Self::Announce];

    fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Takedown => "takedown",
            Self::Announce => "announce",
        }
    }
}

/// A gossip topic: one publisher's network and a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    /// Whose network.
    pub publisher: PublisherId,
    /// What about.
    pub kind: TopicKind,
}

impl Topic {
    /// Longest text of a topic, in bytes.
    pub const MAX_TEXT: usize = 128;

    /// Reads `weir/1/PUBLISHER/KIND`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_TEXT {
            return None;
        }
        let (publisher, kind) = text.strip_prefix("weir/1/")?.split_once('/')?;
        let kind = TopicKind::ALL.into_iter().find(|known| known.label() == kind)?;
        Some(Self { publisher: publisher.parse().ok()?, kind })
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "weir/1/{}/{}", self.publisher, self.kind.label())
    }
}

/// The envelope of everything on a topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Announcement {
    #[n(0)]
    version: u8,
    /// When it was made, by its author's clock.
    #[n(1)]
    pub at: UnixMillis,
    /// What the topic's kind says; at most [`MAX_ANNOUNCEMENT_BODY`] bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl Announcement {
    /// An announcement made at `at`.
    #[must_use]
    pub fn new(at: UnixMillis, body: Vec<u8>) -> Self {
        Self { version: VERSION, at, body }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`WireError::OutOfBounds`] if the body is too long.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        if self.body.len() > MAX_ANNOUNCEMENT_BODY {
            return Err(WireError::OutOfBounds("body"));
        }
        Ok(cbor::to_vec(self))
    }

    /// Reads an announcement in its one encoding.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_length(bytes, MAX_ANNOUNCEMENT)?;
        let announcement: Self = cbor::decode_canonical(bytes)?;
        if announcement.version != VERSION {
            return Err(WireError::OutOfBounds("version"));
        }
        if announcement.body.len() > MAX_ANNOUNCEMENT_BODY {
            return Err(WireError::OutOfBounds("body"));
        }
        Ok(announcement)
    }
}

/// What a relay says about itself on its networks' status topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct RelayStatus {
    /// How to come to it. At most 3 addresses.
    #[n(0)]
    pub reach: Reach,
    /// Bytes a second that it can send; 0 if it does not know.
    #[n(1)]
    pub capacity: u64,
    /// How much of that is in use, per mille, 0 to 1000.
    #[n(2)]
    pub load: u16,
    /// Grows whenever class or addresses change.
    #[n(3)]
    pub epoch: u64,
}

impl RelayStatus {
    /// Its bytes, for an [`Announcement`]'s body.
    ///
    /// # Errors
    /// [`WireError::OutOfBounds`] if a bound is exceeded.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let bytes = cbor::to_vec(self);
        if bytes.len() > MAX_ANNOUNCEMENT_BODY { Err(WireError::OutOfBounds("status")) } else { Ok(bytes) }
    }

    /// Reads a status; unknown keys are ignored.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_length(bytes, MAX_ANNOUNCEMENT_BODY)?;
        let status: Self = cbor::decode_exact(bytes)?;
        status.check()?;
        Ok(status)
    }

    fn check(&self) -> Result<(), WireError> {
        self.reach.check()?;
        if self.reach.addresses.len() > MAX_STATUS_ADDRESSES {
            return Err(WireError::OutOfBounds("addresses"));
        }
        if self.load > 1000 { Err(WireError::OutOfBounds("load")) } else { Ok(()) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::reach::ReachClass;

    fn status(addresses: &[&str]) -> RelayStatus {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        RelayStatus {
            reach: Reach::new(ReachClass::Mapped, addresses),
            capacity: 5_000_000,
            load: 1000,
            epoch: u64::MAX,
        }
    }

    #[test]
    fn topics_are_read_as_they_are_written() {
        for kind in TopicKind::ALL {
            let topic = Topic { publisher: PublisherId([7; 32]), kind };
            assert!(topic.to_string().len() <= Topic::MAX_TEXT);
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
        let publisher = PublisherId([7; 32]);
        for text in [String::new(), format!("weir/2/{publisher}/status"), format!("weir/1/{publisher}/gossip")] {
            assert_eq!(Topic::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_status_fits_an_announcement() {
        let long = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        let body = status(&[long; 3]).encode().unwrap();
        let bytes = Announcement::new(UnixMillis(u64::MAX), body.clone()).encode().unwrap();
        assert!(bytes.len() <= MAX_ANNOUNCEMENT);
        assert_eq!(Announcement::decode(&bytes).unwrap().body, body);
        assert_eq!(RelayStatus::decode(&body).unwrap(), status(&[long; 3]));
        assert!(status(&[long; 4]).encode().is_err());
    }

    #[test]
    fn bounds_hold_in_both_directions() {
        let longest = Announcement::new(UnixMillis(u64::MAX), vec![0xff; MAX_ANNOUNCEMENT_BODY]);
        assert_eq!(Announcement::decode(&longest.encode().unwrap()).unwrap(), longest);
        assert!(Announcement::new(UnixMillis(0), vec![0; MAX_ANNOUNCEMENT_BODY + 1]).encode().is_err());
        assert!(Announcement::decode(&[0; MAX_ANNOUNCEMENT + 1]).is_err());
        let later = Announcement { version: 2, ..longest };
        assert!(Announcement::decode(&later.encode().unwrap()).is_err());
        let mut loaded = status(&[]);
        loaded.load = 1001;
        assert!(loaded.encode().is_err());
        let portless = RelayStatus {
            reach: Reach { class: ReachClass::Direct, addresses: vec!["192.0.2.1:0".into()] },
            ..RelayStatus::default()
        };
        assert!(RelayStatus::decode(&cbor::to_vec(&portless)).is_err());
    }
}

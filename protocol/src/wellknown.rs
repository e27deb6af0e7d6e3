//! The document at `/.well-known/weir`: everything a relay needs to join a publisher's network.
//!
//! Invariant: unknown members are ignored, so that the document can grow. Nothing in it is trusted but the key list,
//! which the publisher's root key signs; addresses are hints that the PeerIds in them authenticate.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::ids::{PublisherId, RelayId};
use crate::keys::MAX_KEY_LIST;
use crate::wire::is_door_url;

/// Path of the document.
pub const WELL_KNOWN_PATH: &str = "/.well-known/weir";
/// Longest document, in bytes.
pub const MAX_WELL_KNOWN: usize = 64 * 1024;
/// Version of the document.
pub const WELL_KNOWN_VERSION: u16 = 1;

const MAX_HOSTS: usize = 256;
const MAX_PEERS: usize = 256;
const MAX_ADDRESSES: usize = 16;
const MAX_TEXT: usize = 255;

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum WellKnownError {
    /// Longer than [`MAX_WELL_KNOWN`].
    #[error("the document exceeds 64 KiB")]
    TooLarge,
    /// Not the JSON this protocol prescribes.
    #[error("the document is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A version this program does not speak.
    #[error("the document has version {0}, this program speaks 1")]
    Version(u16),
    /// A member outside its bounds.
    #[error("`{0}` in the document is out of bounds")]
    OutOfBounds(&'static str),
}

/// A peer and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its PeerId.
    pub relay: RelayId,
    /// Multiaddr strings, such as `/ip4/192.0.2.1/udp/4433/quic-v1`.
    pub addresses: Vec<String>,
}

/// What the publisher asks of every relay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// Largest object relays shall handle, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_object_bytes: Option<u64>,
    /// Whether viewers need a session token.
    #[serde(default)]
    pub tokens_required: bool,
    /// How players are steered; absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steering: Option<Steering>,
}

/// How multivariant playlists tell players of a steering server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// What the second pathway's paths are appended to: the publisher's CDN, or its adapter. As in
    /// [`DoorReport::url`](crate::wire::DoorReport::url).
    pub fallback: String,
    /// Where players ask for steering lists: the adapter's own address, so that a relay's end does not end steering;
    /// absent: each relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// True: in every multivariant playlist; false: in those that are asked for with `weir_steer=1`.
    #[serde(default)]
    pub always: bool,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WellKnown {
    /// [`WELL_KNOWN_VERSION`].
    pub version: u16,
    /// Who the publisher is.
    pub publisher: PublisherId,
    /// First path component that names the publisher on a relay: 1 to 63 of `a-z`, `0-9`, `-`, `_`, `.`, not starting
    /// with a dot, and not `weir`, under which relays have paths of their own.
    pub name: String,
    /// Host names under which relays serve the publisher.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The signed key list, standard base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub keys: Vec<u8>,
    /// The adapter's PeerId and addresses.
    pub adapter: PeerInfo,
    /// Relays to begin with when the adapter is away.
    #[serde(default)]
    pub bootstrap: Vec<PeerInfo>,
    /// What the publisher asks of every relay.
    #[serde(default)]
    pub policy: Policy,
}

impl WellKnown {
    /// Reads a document.
    ///
    /// # Errors
    /// [`WellKnownError`].
    pub fn parse(json: &[u8]) -> Result<Self, WellKnownError> {
        /// Read first, so that a newer document is recognised by its version whatever else changed.
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u16,
        }
        if json.len() > MAX_WELL_KNOWN {
            return Err(WellKnownError::TooLarge);
        }
        let VersionOnly { version } = serde_json::from_slice(json)?;
        if version != WELL_KNOWN_VERSION {
            return Err(WellKnownError::Version(version));
        }
        let document: Self = serde_json::from_slice(json)?;
        document.check()?;
        Ok(document)
    }

    /// Writes the document.
    ///
    /// # Errors
    /// [`WellKnownError`] if [`Self::parse`] would refuse it.
    pub fn to_json(&self) -> Result<Vec<u8>, WellKnownError> {
        self.check()?;
        let json = serde_json::to_vec_pretty(self)?;
        if json.len() > MAX_WELL_KNOWN { Err(WellKnownError::TooLarge) } else { Ok(json) }
    }

    fn check(&self) -> Result<(), WellKnownError> {
        let fit = |ok: bool, member: &'static str| {
            if ok { Ok(()) } else { Err(WellKnownError::OutOfBounds(member)) }
        };
        fit(is_publisher_name(&self.name), "name")?;
        fit(self.hosts.len() <= MAX_HOSTS && self.hosts.iter().all(|host| is_text(host)), "hosts")?;
        fit(self.keys.len() <= MAX_KEY_LIST, "keys")?;
        let steering = self.policy.steering.as_ref();
        let urls =
            steering.into_iter().flat_map(|steering| std::iter::once(&steering.fallback).chain(&steering.server));
        fit(urls.into_iter().all(|url| is_door_url(url)), "steering")?;
        fit(self.adapter.is_fit(), "adapter")?;
        fit(self.bootstrap.len() <= MAX_PEERS && self.bootstrap.iter().all(PeerInfo::is_fit), "bootstrap")
    }
}

impl PeerInfo {
    fn is_fit(&self) -> bool {
        self.addresses.len() <= MAX_ADDRESSES && self.addresses.iter().all(|address| is_text(address))
    }
}

/// Whether a text can name a publisher in the first component of a path.
#[must_use]
pub fn is_publisher_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=63).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.') && name != "weir"
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && text.bytes().all(|b| b.is_ascii_graphic())
}

mod base64_bytes {
    //! Bytes as standard base64 in JSON.

    use super::{BASE64, Deserialize};

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{PeerInfo, Policy, WellKnown, WellKnownError};
    use crate::ids::{PublisherId, RelayId};

    fn document() -> WellKnown {
        let key = libp2p_identity::Keypair::ed25519_from_bytes([3; 32]).unwrap();
        let relay = RelayId::from_public_key(&key.public());
        WellKnown {
            version: 1,
            publisher: PublisherId([1; 32]),
            name: "demo".into(),
            hosts: vec!["video.example".into()],
            keys: vec![1, 2, 3],
            adapter: PeerInfo { relay, addresses: vec!["/ip4/127.0.0.1/udp/4433/quic-v1".into()] },
            bootstrap: vec![],
            policy: Policy::default(),
        }
    }

    #[test]
    fn documents_round_trip_and_grow() {
        let json = document().to_json().unwrap();
        assert_eq!(WellKnown::parse(&json).unwrap(), document());
        let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        value["later"] = true.into();
        assert_eq!(WellKnown::parse(&serde_json::to_vec(&value).unwrap()).unwrap(), document());
        value["policy"]["steering"] = serde_json::json!({"fallback": "no URL"});
        assert!(WellKnown::parse(&serde_json::to_vec(&value).unwrap()).is_err());
        value["version"] = 2.into();
        let newer = serde_json::to_vec(&value).unwrap();
        assert!(matches!(WellKnown::parse(&newer), Err(WellKnownError::Version(2))));
    }

    #[test]
    fn names_that_could_be_mistaken_for_paths_are_refused() {
        for name in ["", "weir", "..", ".well-known", "a/b", "A", &"a".repeat(64)] {
            let mut document = document();
            document.name = name.to_owned();
            assert!(matches!(document.to_json(), Err(WellKnownError::OutOfBounds("name"))), "{name}");
        }
    }
}

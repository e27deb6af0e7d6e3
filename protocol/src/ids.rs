//! Names of publishers, relays, keys, bodies and resources.
//!
//! Invariant: every id has one text form, `FromStr` accepts exactly what `Display` prints, and CBOR carries the bytes.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ed25519_dalek::VerifyingKey;
use libp2p_identity::{PeerId, PublicKey};
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Prefix of a publisher id's text form.
const PUBLISHER_PREFIX: &str = "pub-";
/// What stands before the key in the PeerId of an Ed25519 key: identity multihash of 36 bytes, then the protobuf of a
/// public key (libp2p peer-ids specification).
const ED25519_PEER_ID: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Characters of a short form.
const SHORT: usize = 6;
/// BLAKE3 key-derivation context of namespaces that nobody signs for.
const UNSIGNED_CONTEXT: &str = "weir/unsigned-publisher/1";

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `pub-` and 52 lowercase base32 characters.
    #[error("a publisher id is `pub-` followed by 52 lowercase base32 characters")]
    Publisher,
    /// Not the base58 form of a libp2p PeerId.
    #[error("a relay id is a libp2p PeerId in base58, like 12D3KooW…")]
    Relay,
    /// Not 16 lowercase hexadecimal digits.
    #[error("a key id is 16 lowercase hexadecimal digits")]
    Key,
    /// Not 64 lowercase hexadecimal digits.
    #[error("a resource hash is 64 lowercase hexadecimal digits")]
    Resource,
    /// Not 64 lowercase hexadecimal digits.
    #[error("a token hash is 64 lowercase hexadecimal digits")]
    Token,
    /// Not 64 lowercase hexadecimal digits.
    #[error("a policy hash is 64 lowercase hexadecimal digits")]
    Policy,
    /// The publisher id is no Ed25519 public key: nothing can be signed in its name.
    #[error("this publisher id is no Ed25519 public key")]
    NotAKey,
}

/// A publisher: the Ed25519 public key of its root key.
///
/// Any 32 bytes are an id; whether they are a key shows in [`PublisherId::verifying_key`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(pub [u8; 32]);

impl PublisherId {
    /// An id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The namespace of a plain pull-through cache of `upstream`, which trusts its upstream instead of signatures.
    ///
    /// It is a hash (BLAKE3 derive_key), not a key: nobody knows a secret key for it, so nothing signed can ever claim
    /// to come from it, and it never collides with a publisher.
    #[must_use]
    pub fn unsigned(upstream: &str) -> Self {
        Self(blake3::derive_key(UNSIGNED_CONTEXT, upstream.as_bytes()))
    }

    /// The root public key.
    ///
    /// # Errors
    /// [`IdError::NotAKey`] if the bytes are no point of the curve, or one of small order.
    pub fn verifying_key(&self) -> Result<VerifyingKey, IdError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| IdError::NotAKey)?;
        if key.is_weak() { Err(IdError::NotAKey) } else { Ok(key) }
    }

    /// A form for logs: `pub-` and six characters.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        format!("{}…", &text[..PUBLISHER_PREFIX.len() + SHORT])
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLISHER_PREFIX}{}", BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl FromStr for PublisherId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix(PUBLISHER_PREFIX).ok_or(IdError::Publisher)?;
        if digits.len() != 52 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(IdError::Publisher);
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| IdError::Publisher)?;
        bytes.try_into().map(Self).map_err(|_| IdError::Publisher)
    }
}

/// A relay (or an adapter, which is one): its libp2p PeerId.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub PeerId);

impl RelayId {
    /// The id of a relay's public key.
    #[must_use]
    pub fn from_public_key(key: &PublicKey) -> Self {
        Self(PeerId::from_public_key(key))
    }

    /// The libp2p PeerId.
    #[must_use]
    pub const fn peer_id(&self) -> &PeerId {
        &self.0
    }

    /// The 32 bytes of the Ed25519 public key that the PeerId embeds; `None` for a key of another kind, which signs
    /// nothing in this protocol.
    #[must_use]
    pub fn public_bytes(&self) -> Option<[u8; 32]> {
        self.0.to_bytes().strip_prefix(&ED25519_PEER_ID)?.try_into().ok()
    }

    /// The id of an Ed25519 public key; `None` if the bytes are no point of the curve.
    #[must_use]
    pub fn from_public_bytes(public: &[u8; 32]) -> Option<Self> {
        let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(public).ok()?;
        Some(Self::from_public_key(&key.into()))
    }

    /// A form for logs: the last six characters, since the first ones are the same for every relay.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        format!("…{}", &text[text.len().saturating_sub(SHORT)..])
    }
}

impl From<PeerId> for RelayId {
    fn from(peer: PeerId) -> Self {
        Self(peer)
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base58())
    }
}

impl FromStr for RelayId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let peer = PeerId::from_str(text).map_err(|_| IdError::Relay)?;
        if peer.to_base58() == text { Ok(Self(peer)) } else { Err(IdError::Relay) }
    }
}

impl<C> Encode<C> for RelayId {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for RelayId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        PeerId::from_bytes(d.bytes()?).map(Self).map_err(|_| DecodeError::message("not a PeerId"))
    }
}

/// A publisher's signing key: the first 8 bytes of SHA-256 of its public key.
///
/// It only selects a key from a root-signed list of at most 16, so a collision is refused there and forges nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// The id of a public key.
    #[must_use]
    pub fn of(public: &[u8; 32]) -> Self {
        let digest = Sha256::digest(public);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self(id)
    }

    /// The 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// Names one body of a resource: a body that changes gets a new generation, a 304 keeps it. At most
/// [`Generation::MAX`], so that it fits an RFC 9651 integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Generation(#[n(0)] pub u64);

impl Generation {
    /// The largest generation a record can carry: 15 decimal digits (RFC 9651 section 3.3.1).
    pub const MAX: Self = Self(999_999_999_999_999);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hash of a [`ResourceKey`](crate::resource::ResourceKey): what caches and owners are chosen by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceHash(pub [u8; 32]);

impl ResourceHash {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A form for logs: six hexadecimal digits.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}…", HEXLOWER.encode(&self.0[..SHORT / 2]))
    }
}

/// A session token: SHA-256 of its compact form. Claims and receipts name a token by it, so that they carry no token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of a compact token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A settlement policy: SHA-256 of its file, byte by byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyHash(pub [u8; 32]);

impl PolicyHash {
    /// The hash of a policy file.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        Self(Sha256::digest(file).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

macro_rules! hex_id {
    ($name:ident, $bytes:literal, $error:ident) => {
        impl $name {
            /// An id from its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| IdError::$error)?;
                bytes.try_into().map(Self).map_err(|_| IdError::$error)
            }
        }
    };
}

hex_id!(KeyId, 8, Key);
hex_id!(ResourceHash, 32, Resource);
hex_id!(TokenHash, 32, Token);
hex_id!(PolicyHash, 32, Policy);

macro_rules! bytes_in_cbor {
    ($name:ident) => {
        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| DecodeError::message("an id of the wrong length"))
            }
        }
    };
}

bytes_in_cbor!(PublisherId);
bytes_in_cbor!(KeyId);
bytes_in_cbor!(ResourceHash);
bytes_in_cbor!(TokenHash);
bytes_in_cbor!(PolicyHash);

macro_rules! text_in_serde_and_debug {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_in_serde_and_debug!(PublisherId);
text_in_serde_and_debug!(RelayId);
text_in_serde_and_debug!(KeyId);
text_in_serde_and_debug!(ResourceHash);
text_in_serde_and_debug!(TokenHash);
text_in_serde_and_debug!(PolicyHash);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{IdError, KeyId, PublisherId, RelayId};

    #[test]
    fn publisher_text_is_canonical() {
        let id = PublisherId::from_bytes([0xa5; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), 56);
        assert_eq!(text.parse::<PublisherId>().unwrap(), id);
        assert_eq!(text.to_uppercase().parse::<PublisherId>(), Err(IdError::Publisher));
        assert_eq!(text[..55].parse::<PublisherId>(), Err(IdError::Publisher));
        // The last character carries one bit; the four below it must be zero.
        let second_encoding = format!("{}r", &text[..55]);
        assert_eq!(second_encoding.parse::<PublisherId>(), Err(IdError::Publisher));
        assert_eq!(id.short(), format!("{}…", &text[..10]));
    }

    #[test]
    fn unsigned_namespaces_differ() {
        assert_ne!(PublisherId::unsigned("https://a.example"), PublisherId::unsigned("https://b.example"));
    }

    #[test]
    fn relay_and_key_text_round_trip() {
        let key = libp2p_identity::Keypair::ed25519_from_bytes([3; 32]).unwrap();
        let relay = RelayId::from_public_key(&key.public());
        assert_eq!(relay.to_string().parse::<RelayId>().unwrap(), relay);
        let public = key.public().try_into_ed25519().unwrap().to_bytes();
        assert_eq!(relay.public_bytes(), Some(public));
        assert_eq!(RelayId::from_public_bytes(&public), Some(relay));
        let id = KeyId::of(&[9; 32]);
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        assert_eq!("00".parse::<KeyId>(), Err(IdError::Key));
    }
}

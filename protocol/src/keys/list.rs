//! The root-signed, expiring list of a publisher's signing keys.
//!
//! Invariant: a [`KeyRing`] exists only for a list whose root signature verified and which had not expired then.

use ed25519_dalek::VerifyingKey;
use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::cose::{self, CoseError, UnverifiedSign1};
use crate::ids::{KeyId, PublisherId};
use crate::keys::secret::{RootKey, SigningKey};
use crate::time::{CLOCK_SKEW_MS, UnixMillis};

/// COSE context of a key list.
pub const KEYS_CONTEXT: &str = "weir/keys/1";
/// Most keys in a list.
pub const MAX_KEYS: usize = 16;
/// Longest signed key list, in bytes.
pub const MAX_KEY_LIST: usize = 4 * 1024;

/// Why a key list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a well-formed key list, or not signed by the publisher's root key.
    #[error("key list: {0}")]
    Cose(#[from] CoseError),
    /// The signed payload is no key list.
    #[error("key list payload: {0}")]
    Payload(#[from] CborError),
    /// The list, or the root key that should sign it, belongs to another publisher.
    #[error("the key list belongs to {0}")]
    WrongPublisher(PublisherId),
    /// The publisher id is no Ed25519 key, so it has no key list.
    #[error("{0} is no signing publisher")]
    UnsignedPublisher(PublisherId),
    /// The list has expired: fetch a newer one.
    #[error("the key list expired at {expires}, now it is {now}")]
    Expired {
        /// The list's expiry.
        expires: UnixMillis,
        /// The time it was checked at.
        now: UnixMillis,
    },
    /// The list was issued in the future: one of the two clocks is wrong.
    #[error("the key list was issued at {issued}, now it is {now}")]
    NotYetIssued {
        /// The list's time of issue.
        issued: UnixMillis,
        /// The time it was checked at.
        now: UnixMillis,
    },
    /// More than [`MAX_KEYS`] keys.
    #[error("{0} keys in the list, at most 16 are allowed")]
    TooManyKeys(usize),
    /// Two keys share an id, or an id does not belong to its key, or the key is no usable Ed25519 key.
    #[error("key {0} in the list is unusable")]
    BadKey(KeyId),
}

/// One signing key and when it may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyEntry {
    /// First 8 bytes of SHA-256 of `public`.
    #[n(0)]
    pub key_id: KeyId,
    /// Ed25519 public key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub public: [u8; 32],
    /// First moment it may sign at, to the second.
    #[n(2)]
    pub not_before: UnixMillis,
    /// From this moment on it may no longer sign.
    #[n(3)]
    pub not_after: UnixMillis,
}

impl KeyEntry {
    /// The entry of a signing key.
    #[must_use]
    pub fn new(key: &SigningKey, not_before: UnixMillis, not_after: UnixMillis) -> Self {
        Self { key_id: key.key_id(), public: key.public_bytes(), not_before, not_after }
    }
}

/// A publisher's signing keys. Leaving a key out of the next list revokes it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SigningKeyList {
    /// Whose keys these are.
    #[n(0)]
    pub publisher: PublisherId,
    /// When the list was made; of two lists the later one counts.
    #[n(1)]
    pub issued: UnixMillis,
    /// When the list must have been replaced.
    #[n(2)]
    pub expires: UnixMillis,
    /// At most [`MAX_KEYS`].
    #[n(3)]
    pub keys: Vec<KeyEntry>,
}

impl SigningKeyList {
    /// Signs the list; the result is what `/.well-known/weir` and the control stream carry.
    ///
    /// # Errors
    /// [`KeyError`] if `root` is another publisher's or a relay would refuse the list.
    pub fn sign(&self, root: &RootKey) -> Result<Vec<u8>, KeyError> {
        if self.publisher != root.publisher_id() {
            return Err(KeyError::WrongPublisher(self.publisher));
        }
        self.usable_keys()?;
        Ok(cose::sign(root.dalek(), KEYS_CONTEXT, &cbor::to_vec(self)))
    }

    fn usable_keys(&self) -> Result<Vec<VerifyingKey>, KeyError> {
        if self.keys.len() > MAX_KEYS {
            return Err(KeyError::TooManyKeys(self.keys.len()));
        }
        let mut usable = Vec::with_capacity(self.keys.len());
        for (index, entry) in self.keys.iter().enumerate() {
            let bad = KeyError::BadKey(entry.key_id);
            let duplicate = self.keys[..index].iter().any(|other| other.key_id == entry.key_id);
            if duplicate || KeyId::of(&entry.public) != entry.key_id {
                return Err(bad);
            }
            match VerifyingKey::from_bytes(&entry.public) {
                Ok(key) if !key.is_weak() => usable.push(key),
                _ => return Err(bad),
            }
        }
        Ok(usable)
    }
}

/// A verified key list, ready to check signatures with.
#[derive(Debug, Clone)]
pub struct KeyRing {
    list: SigningKeyList,
    keys: Vec<VerifyingKey>,
    encoded: Vec<u8>,
}

impl KeyRing {
    /// Verifies a signed list of `publisher` at the time `now`.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::Expired`] asks for a newer list, everything else is a wrong or hostile one.
    pub fn verify(publisher: PublisherId, bytes: &[u8], now: UnixMillis) -> Result<Self, KeyError> {
        cbor::check_length(bytes, MAX_KEY_LIST)?;
        let root = publisher.verifying_key().map_err(|_| KeyError::UnsignedPublisher(publisher))?;
        let payload = UnverifiedSign1::parse(bytes)?.verify(&root, KEYS_CONTEXT)?;
        let list: SigningKeyList = cbor::decode_canonical(payload)?;
        if list.publisher != publisher {
            return Err(KeyError::WrongPublisher(list.publisher));
        }
        if list.issued > now.plus_ms(CLOCK_SKEW_MS) {
            return Err(KeyError::NotYetIssued { issued: list.issued, now });
        }
        let keys = list.usable_keys()?;
        let ring = Self { list, keys, encoded: bytes.to_vec() };
        ring.check_expiry(now)?;
        Ok(ring)
    }

    /// The key with this id, if it may sign at the time `at`. Signatures carry whole seconds, so the start of a key's
    /// life counts from the start of its second.
    #[must_use]
    pub fn key(&self, id: &KeyId, at: UnixMillis) -> Option<&VerifyingKey> {
        self.key_within(id, at, at)
    }

    /// The key with this id, if it may sign now on a clock that differs by at most [`CLOCK_SKEW_MS`] from ours. For
    /// messages that carry no time of their own.
    #[must_use]
    pub fn key_around(&self, id: &KeyId, now: UnixMillis) -> Option<&VerifyingKey> {
        self.key_within(id, now.minus_ms(CLOCK_SKEW_MS), now.plus_ms(CLOCK_SKEW_MS))
    }

    /// The key, if its life overlaps the time from `first` to `last`.
    fn key_within(&self, id: &KeyId, first: UnixMillis, last: UnixMillis) -> Option<&VerifyingKey> {
        let index = self.list.keys.iter().position(|entry| entry.key_id == *id)?;
        let entry = &self.list.keys[index];
        (last.as_secs() >= entry.not_before.as_secs() && first < entry.not_after).then(|| &self.keys[index])
    }

    /// Refuses to go on with an expired list.
    ///
    /// # Errors
    /// [`KeyError::Expired`].
    pub fn check_expiry(&self, now: UnixMillis) -> Result<(), KeyError> {
        if now >= self.list.expires {
            return Err(KeyError::Expired { expires: self.list.expires, now });
        }
        Ok(())
    }

    /// Whose keys these are.
    #[must_use]
    pub fn publisher(&self) -> PublisherId {
        self.list.publisher
    }

    /// When the list was made. A node keeps the ring with the latest one, so that an old list cannot bring back a
    /// revoked key.
    #[must_use]
    pub fn issued(&self) -> UnixMillis {
        self.list.issued
    }

    /// When the list must have been replaced.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.list.expires
    }

    /// The list's entries.
    #[must_use]
    pub fn entries(&self) -> &[KeyEntry] {
        &self.list.keys
    }

    /// The signed bytes, to hand on to others.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{KeyEntry, KeyError, KeyRing, MAX_KEYS, SigningKeyList};
    use crate::cose::CoseError;
    use crate::ids::PublisherId;
    use crate::keys::secret::{RootKey, SigningKey};
    use crate::time::UnixMillis;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_500);

    fn list(root: &RootKey, keys: &[SigningKey]) -> SigningKeyList {
        let keys = keys.iter().map(|key| KeyEntry::new(key, NOW, NOW.plus_ms(10_000))).collect();
        SigningKeyList { publisher: root.publisher_id(), issued: NOW, expires: NOW.plus_ms(20_000), keys }
    }

    #[test]
    fn a_list_is_valid_for_its_time_and_its_publisher() {
        let root = RootKey::from_bytes(&[1; 32]);
        let key = SigningKey::from_bytes(&[2; 32]);
        let id = key.key_id();
        let bytes = list(&root, &[key]).sign(&root).unwrap();
        let ring = KeyRing::verify(root.publisher_id(), &bytes, NOW).unwrap();
        assert!(ring.key(&id, UnixMillis(NOW.0 - 500)).is_some(), "same second");
        assert!(ring.key(&id, UnixMillis(NOW.0 - 501)).is_none());
        assert!(ring.key_around(&id, UnixMillis(NOW.0 - 60_000)).is_some());
        assert!(ring.key(&id, NOW.plus_ms(10_000)).is_none());
        assert!(matches!(
            KeyRing::verify(root.publisher_id(), &bytes, NOW.plus_ms(20_000)),
            Err(KeyError::Expired { .. })
        ));
        assert!(matches!(
            KeyRing::verify(root.publisher_id(), &bytes, UnixMillis(NOW.0 - 600_000)),
            Err(KeyError::NotYetIssued { .. })
        ));
        let other = RootKey::from_bytes(&[3; 32]).publisher_id();
        assert!(matches!(KeyRing::verify(other, &bytes, NOW), Err(KeyError::Cose(CoseError::BadSignature(_)))));
        let unsigned = PublisherId::unsigned("https://example.org");
        assert!(KeyRing::verify(unsigned, &bytes, NOW).is_err());
    }

    #[test]
    fn unusable_lists_are_refused() {
        let root = RootKey::from_bytes(&[1; 32]);
        let many: Vec<_> = (0..=MAX_KEYS).map(|n| SigningKey::from_bytes(&[u8::try_from(n).unwrap(); 32])).collect();
        assert_eq!(list(&root, &many).sign(&root), Err(KeyError::TooManyKeys(MAX_KEYS + 1)));
        let twice = [SigningKey::from_bytes(&[2; 32]), SigningKey::from_bytes(&[2; 32])];
        assert!(matches!(list(&root, &twice).sign(&root), Err(KeyError::BadKey(_))));
    }
}

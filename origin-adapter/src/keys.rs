//! The publisher's keys: the root key, which is the publisher's id and signs only key lists, and the signing key,
//! which signs records. Both lie in the data directory, each in a file of its own, readable by its owner alone.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};
use weir_protocol::{
    ids::PublisherId,
    keys::{KeyEntry, KeyError, KeyRing, RootKey, SigningKey, SigningKeyList},
    time::UnixMillis,
};
use weir_relay::node::{IdentityError, load_or_create_secret};

/// A key list is good for thirty days, so that relays go on exchanging while the adapter is away for weeks.
const LIST_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;
/// The key in use may always have signed: what it signed long before a list was issued must stay good under that list,
/// or every new list would spoil what relays hold.
const SINCE_EVER: UnixMillis = UnixMillis(0);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum PublisherKeysError {
    /// A key file cannot be used.
    #[error(transparent)]
    File(#[from] IdentityError),
    /// The key list cannot be signed.
    #[error("cannot sign the key list: {0}")]
    List(#[from] KeyError),
}

/// The signing key, as sources use it.
pub struct Signer(SigningKey);

impl Signer {
    /// Signs with this key.
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.0
    }
}

/// A publisher's keys.
pub struct PublisherKeys {
    root: RootKey,
    signer: Arc<Signer>,
    /// True when the root key was made just now.
    pub created: bool,
    /// Where the root key lies, for the advice to keep a copy.
    pub root_path: PathBuf,
}

impl PublisherKeys {
    /// Reads the keys from `data`, or makes them there.
    pub fn load_or_create(data: &Path) -> Result<Self, PublisherKeysError> {
        let root_path = data.join("publisher-root.key");
        let (root, created) = load_or_create_secret(&root_path)?;
        let (signing, _) = load_or_create_secret(&data.join("publisher-signing.key"))?;
        Ok(Self {
            root: RootKey::from_bytes(&root),
            signer: Arc::new(Signer::new(SigningKey::from_bytes(&signing))),
            created,
            root_path,
        })
    }

    /// The publisher's id.
    pub fn publisher(&self) -> PublisherId {
        self.root.publisher_id()
    }

    /// The root key, for the directory of relays.
    pub fn root(&self) -> &RootKey {
        &self.root
    }

    /// The signing key in use.
    pub fn signer(&self) -> Arc<Signer> {
        self.signer.clone()
    }

    /// A copy of the signing key in use, for a ledger's promises and statements.
    pub fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(self.signer.key().secret_bytes())
    }

    /// A fresh key list, issued at `now`.
    pub fn list(&self, now: UnixMillis) -> Result<Vec<u8>, PublisherKeysError> {
        let expires = now.plus_ms(LIST_LIFE_MS);
        let entry = KeyEntry::new(self.signer.key(), SINCE_EVER, expires);
        let list = SigningKeyList { publisher: self.publisher(), issued: now, expires, keys: vec![entry] };
        Ok(list.sign(&self.root)?)
    }

    /// A fresh key list, and the ring that verifies by it in place of the former one: a ring is good no longer than its
    /// list.
    pub fn renew(&self, ring: &RwLock<KeyRing>, now: UnixMillis) -> Result<Vec<u8>, PublisherKeysError> {
        let list = self.list(now)?;
        let renewed = KeyRing::verify(self.publisher(), &list, now)?;
        *ring.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(list)
    }

    /// The ring that verifies what the signing key signs.
    pub fn ring(&self, now: UnixMillis) -> Result<KeyRing, PublisherKeysError> {
        Ok(KeyRing::verify(self.publisher(), &self.list(now)?, now)?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::{
        freshness::{Freshness, Storage, Validators},
        ids::Generation,
        record::{HeaderBlock, RecordBody, SignedRecord},
        resource::ResourceKey,
    };

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const WEEK_MS: u64 = 7 * 24 * 3600 * 1000;

    fn record(keys: &PublisherKeys, at: UnixMillis) -> (ResourceKey, SignedRecord) {
        let key = ResourceKey::parse(keys.publisher(), "/film/seg0.ts").unwrap();
        let body = RecordBody {
            key: key.clone(),
            status: 200,
            content_type: None,
            content_encoding: None,
            length: 0,
            sha256: [0; 32],
            root: [0; 32],
            freshness: Freshness {
                created: at,
                initial_age_ms: 0,
                ttl_ms: 1,
                stale_while_revalidate_ms: 0,
                stale_if_error_ms: 0,
                store: Storage::Store,
            },
            validators: Validators::default(),
            generation: Generation(1),
            headers_sha256: [0; 32],
        };
        (key, SignedRecord::sign(body, HeaderBlock::default(), keys.signer().key(), at).unwrap())
    }

    #[test]
    fn what_was_signed_long_ago_stays_good_under_a_new_list() {
        let data = tempfile::tempdir().unwrap();
        let (key, record) = record(&PublisherKeys::load_or_create(data.path()).unwrap(), NOW.minus_ms(WEEK_MS));
        // A restart: the same files, a list issued now.
        let keys = PublisherKeys::load_or_create(data.path()).unwrap();
        record.to_wire().verify(&keys.ring(NOW).unwrap(), &key, NOW).unwrap();
    }

    #[test]
    fn a_ring_outlives_its_first_list_by_being_renewed() {
        let data = tempfile::tempdir().unwrap();
        let keys = PublisherKeys::load_or_create(data.path()).unwrap();
        let (key, record) = record(&keys, NOW);
        let ring = RwLock::new(keys.ring(NOW).unwrap());
        let verifies = |now: UnixMillis| record.to_wire().verify(&ring.read().unwrap(), &key, now).is_ok();
        let late = NOW.plus_ms(5 * WEEK_MS);
        assert!(verifies(NOW.plus_ms(4 * WEEK_MS)) && !verifies(late), "a list is good for thirty days");
        let list = keys.renew(&ring, NOW.plus_ms(3 * WEEK_MS)).unwrap();
        assert!(verifies(late));
        assert_eq!(ring.read().unwrap().encoded(), list);
    }

    #[test]
    fn another_publisher_does_not_verify() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (key, record) = record(&PublisherKeys::load_or_create(one.path()).unwrap(), NOW);
        let other = PublisherKeys::load_or_create(two.path()).unwrap();
        assert!(record.to_wire().verify(&other.ring(NOW).unwrap(), &key, NOW).is_err());
    }
}

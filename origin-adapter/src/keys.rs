//! The publisher's keys: the root key, which is the publisher's id and signs only key lists, and the signing key,
//! which signs records. Both lie in the data directory, each in a file of its own, readable by its owner alone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use weir_protocol::{
    ids::PublisherId,
    keys::{KeyEntry, KeyError, KeyRing, RootKey, SigningKey, SigningKeyList},
    time::UnixMillis,
};
use weir_relay::node::{IdentityError, load_or_create_secret};

/// A key list is good for thirty days, so that relays go on exchanging while the adapter is away for weeks.
const LIST_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;
/// A signing key is listed from an hour before its list on, for relays whose clocks are behind.
const BACKDATE_MS: u64 = 3600 * 1000;

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

    /// A fresh key list, issued at `now`.
    pub fn list(&self, now: UnixMillis) -> Result<Vec<u8>, PublisherKeysError> {
        let expires = now.plus_ms(LIST_LIFE_MS);
        let entry = KeyEntry::new(self.signer.key(), now.minus_ms(BACKDATE_MS), expires);
        let list = SigningKeyList { publisher: self.publisher(), issued: now, expires, keys: vec![entry] };
        Ok(list.sign(&self.root)?)
    }

    /// The ring that verifies what the signing key signs.
    pub fn ring(&self, now: UnixMillis) -> Result<KeyRing, PublisherKeysError> {
        Ok(KeyRing::verify(self.publisher(), &self.list(now)?, now)?)
    }
}

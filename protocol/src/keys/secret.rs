//! The two secret keys of a publisher.
//!
//! Invariant: secrets are wiped when dropped (ed25519-dalek does it) and never printed.

use std::fmt;

use ed25519_dalek::{Signer as _, VerifyingKey};

use crate::ids::{KeyId, PublisherId};

/// The publisher's root key: its public half is the publisher's id. It signs key lists only.
pub struct RootKey(ed25519_dalek::SigningKey);

impl RootKey {
    /// A key from its 32 secret bytes, which the caller draws or reads and wipes.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// The secret bytes, for storing the key.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The publisher that this key is.
    #[must_use]
    pub fn publisher_id(&self) -> PublisherId {
        PublisherId(self.0.verifying_key().to_bytes())
    }

    pub(super) fn dalek(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({}, secret redacted)", self.publisher_id().short())
    }
}

/// A signing key: signs records, heads, chunks and tokens while the publisher's key list names it.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A key from its 32 secret bytes, which the caller draws or reads and wipes.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// The secret bytes, for storing the key.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key's id.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of(self.0.verifying_key().as_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.0.verifying_key()
    }

    /// The public half's 32 bytes.
    #[must_use]
    pub fn public_bytes(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(crate) fn dalek(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }

    /// Signs a message that already names its own context.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret redacted)", self.key_id())
    }
}

//! Keys that sign what their holder saw.
//!
//! Invariant: secrets are wiped when dropped (ed25519-dalek does it) and never printed.

use std::fmt;

use crate::ids::RelayId;

/// The key of a party that states what it received or delivered: a relay's identity key (the one behind its PeerId),
/// or the key that a viewer's token confirms (`cnf`).
pub struct EvidenceKey(ed25519_dalek::SigningKey);

impl EvidenceKey {
    /// A key from its 32 secret bytes.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// The public half's 32 bytes.
    #[must_use]
    pub fn public_bytes(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The relay that this key is.
    #[must_use]
    pub fn relay_id(&self) -> RelayId {
        RelayId::from_public_bytes(&self.public_bytes()).expect("a key's public half is a point of the curve")
    }

    pub(crate) fn dalek(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }
}

impl fmt::Debug for EvidenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EvidenceKey({}, secret redacted)", self.relay_id().short())
    }
}

//! Identities for this folder's tests.

use weir_protocol::ids::{RelayId, ResourceHash};

/// Rankings that `protocol/tests/vectors/owners.py` has made without any code of this project.
pub(super) const VECTORS: &str = include_str!("../../../protocol/tests/vectors/owners.json");

/// The n-th relay.
pub(super) fn relay(n: u32) -> RelayId {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&n.to_le_bytes());
    let key = libp2p::identity::Keypair::ed25519_from_bytes(secret).expect("any 32 bytes are a key");
    RelayId::from(key.public().to_peer_id())
}

/// The n-th object.
pub(super) fn object(n: u32) -> ResourceHash {
    ResourceHash(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

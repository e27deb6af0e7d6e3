//! A publisher's root key, its signing keys, and the root-signed list that joins them.
//!
//! Invariant: the root key signs key lists and nothing else; signing keys sign records, heads, chunks and tokens. A
//! relay's or adapter's PeerId is a third key that signs neither.

mod evidence;
mod list;
mod secret;

pub use evidence::EvidenceKey;
pub use list::{KEYS_CONTEXT, KeyEntry, KeyError, KeyRing, MAX_KEY_LIST, MAX_KEYS, SigningKeyList};
pub use secret::{RootKey, SigningKey};

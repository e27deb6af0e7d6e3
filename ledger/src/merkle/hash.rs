//! The hashes of a tree, told apart by what they stand for.
//!
//! Invariant: SHA-256 sees a leaf only behind 0x00 and a pair of nodes only behind 0x01. A text form is canonical:
//! what `FromStr` accepts is exactly what `Display` writes.

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

/// Bytes of a SHA-256 hash.
const HASH_LEN: usize = 32;
/// Characters of 32 bytes in padded base64.
const TEXT_LEN: usize = 44;
/// Characters that are enough to tell hashes apart in a log line.
const SHORT_LEN: usize = 8;
/// Stands before a leaf's bytes (RFC 6962 section 2.1).
const LEAF_PREFIX: [u8; 1] = [0x00];
/// Stands before the two children of a node (RFC 6962 section 2.1).
const NODE_PREFIX: [u8; 1] = [0x01];

/// Why a text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// 32 bytes make exactly 44 characters.
    #[error("a hash has {TEXT_LEN} characters of base64, this has {0}")]
    Length(usize),
    /// A character outside the alphabet, wrong padding, or non-zero bits behind the last byte.
    #[error("not canonical padded base64 of 32 bytes")]
    Base64,
}

fn parse(text: &str) -> Result<[u8; HASH_LEN], ParseHashError> {
    if text.len() != TEXT_LEN {
        return Err(ParseHashError::Length(text.len()));
    }
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| ParseHashError::Base64)?;
    bytes.try_into().map_err(|_| ParseHashError::Base64)
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Written as padded base64 (RFC 4648 section 4), the form of transparency-log checkpoints.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; HASH_LEN]);

        impl $name {
            /// Takes a hash that was computed or stored elsewhere.
            pub const fn from_bytes(bytes: [u8; HASH_LEN]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; HASH_LEN] {
                &self.0
            }

            /// The first eight characters, for log lines; not enough to identify a hash against an attacker.
            pub fn short(&self) -> String {
                let mut text = BASE64.encode(&self.0);
                text.truncate(SHORT_LEN);
                text
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&BASE64.encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseHashError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }
    };
}

hash_type! {
    /// The hash of one leaf: SHA-256(0x00 ‖ leaf), RFC 6962 section 2.1.
    LeafHash
}
hash_type! {
    /// The hash of a subtree, which a proof carries. A single leaf is the smallest subtree.
    NodeHash
}
hash_type! {
    /// The hash of a whole tree, the Merkle Tree Hash of RFC 6962 section 2.1. It means something only together with
    /// the tree's size.
    RootHash
}

impl LeafHash {
    /// Hashes a leaf's bytes.
    pub fn of(leaf: &[u8]) -> Self {
        Self(Sha256::new().chain_update(LEAF_PREFIX).chain_update(leaf).finalize().into())
    }
}

impl NodeHash {
    /// Hashes two subtrees into the one above them: SHA-256(0x01 ‖ left ‖ right).
    pub fn join(left: &Self, right: &Self) -> Self {
        let hash = Sha256::new().chain_update(NODE_PREFIX).chain_update(left.0).chain_update(right.0);
        Self(hash.finalize().into())
    }
}

impl RootHash {
    /// The root of the tree without leaves: SHA-256 of nothing.
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest([]).into())
    }
}

impl From<LeafHash> for NodeHash {
    fn from(leaf: LeafHash) -> Self {
        Self(leaf.0)
    }
}

impl From<NodeHash> for RootHash {
    fn from(node: NodeHash) -> Self {
        Self(node.0)
    }
}

impl From<RootHash> for NodeHash {
    /// A tree's root is an inner node of every larger tree when its size is a power of two.
    fn from(root: RootHash) -> Self {
        Self(root.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let hash = LeafHash::of(b"weir");
        let text = hash.to_string();
        assert_eq!(text.len(), TEXT_LEN);
        assert_eq!(text.parse::<LeafHash>().unwrap(), hash);
        assert!(text.starts_with(&hash.short()));
        assert_eq!(format!("{hash:?}"), format!("LeafHash({text})"));
    }

    #[test]
    fn text_form_is_canonical() {
        let text = RootHash::of_empty_tree().to_string();
        assert_eq!(text, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        // The last character before the padding holds two bits that no byte owns: a second spelling of one hash.
        let other = text.replace("FU=", "FV=");
        assert_eq!(other.parse::<RootHash>(), Err(ParseHashError::Base64));
        assert_eq!(text.trim_end_matches('=').parse::<RootHash>(), Err(ParseHashError::Length(43)));
        assert_eq!(text.replace('+', "-").parse::<RootHash>(), Err(ParseHashError::Base64));
        assert_eq!("A".repeat(44).parse::<RootHash>(), Err(ParseHashError::Base64));
        assert_eq!("".parse::<RootHash>(), Err(ParseHashError::Length(0)));
    }

    #[test]
    fn a_leaf_of_two_hashes_is_not_their_node() {
        let (left, right) = (NodeHash::from(LeafHash::of(b"a")), NodeHash::from(LeafHash::of(b"b")));
        let forged = LeafHash::of(&[left.as_bytes().as_slice(), right.as_bytes()].concat());
        assert_ne!(NodeHash::join(&left, &right), forged.into());
    }
}

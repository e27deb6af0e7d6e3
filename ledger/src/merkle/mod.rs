//! The Merkle tree of RFC 6962 section 2.1 over SHA-256.
//!
//! A leaf is hashed behind the byte 0x00 and an inner node behind 0x01, so that no leaf can pass for a node (the
//! second-preimage attack of RFC 6962 section 2.1). A tree over `n > 1` leaves splits at the largest power of two
//! smaller than `n`.
//!
//! * `hash`: the three kinds of hash, and the only two places that feed SHA-256.
//! * `size`: how many leaves a tree has.
//! * `frontier`: the tree while it grows, in at most 64 hashes.
//! * `prove`: which subtrees a proof consists of, and the proofs themselves from leaf hashes.
//! * `verify`: the checks that somebody without the leaves can make.

mod frontier;
mod hash;
mod prove;
mod size;
mod verify;

pub use frontier::{Frontier, FrontierError};
pub use hash::{LeafHash, NodeHash, ParseHashError, RootHash};
pub use prove::{ProofError, consistency_ranges, inclusion_ranges, prove_consistency, prove_inclusion};
pub use size::{ParseSizeError, TreeSize};
pub use verify::{MAX_PATH, VerifyError, verify_consistency, verify_inclusion};

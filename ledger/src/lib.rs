//! The transparency log behind Weir's payouts: an append-only Merkle tree after RFC 6962.
//!
//! Every input of a settlement becomes a leaf of one tree per publisher. Whoever keeps a tree's size and root can
//! check that a leaf is in it (an inclusion proof) and that a later tree only added to it (a consistency proof),
//! without trusting the party that keeps the leaves.
//!
//! This crate performs no I/O and reads no clock: it hashes, proves and verifies. Where leaves are kept is its
//! caller's business.

mod merkle;

pub use merkle::{
    Frontier, FrontierError, LeafHash, MAX_PATH, NodeHash, ParseHashError, ParseSizeError, ProofError, RootHash,
    TreeSize, VerifyError, consistency_ranges, inclusion_ranges, prove_consistency, prove_inclusion,
    verify_consistency, verify_inclusion,
};

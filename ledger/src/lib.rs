//! The ledger behind Weir's payouts: a transparency log of everything that a settlement is computed from.
//!
//! Every input of a settlement becomes a leaf of one append-only Merkle tree per publisher (RFC 6962). Whoever keeps a
//! tree's size and root can check that a leaf is in it (an inclusion proof) and that a later tree only added to it (a
//! consistency proof), without trusting the party that keeps the leaves. `merkle`, `leaf` and `note` perform no I/O and
//! read no clock; `store` and `tile` keep the log in a database and in files. `evidence` and `settle` turn its openings into
//! amounts, as a pure function that anybody can repeat.

pub mod evidence;
pub mod export;
pub mod leaf;
pub mod log;
pub mod merkle;
pub mod note;
pub mod settle;
pub mod store;
pub mod tile;
pub mod witness;

pub use leaf::{Commitment, LeafError, MessageId, Opening, Salt};
pub use log::{Acknowledged, InclusionProof, Log, LogKeys, Publisher, Submission, Submitter, Writer};
pub use merkle::{
    Frontier, FrontierError, LeafHash, MAX_PATH, NodeHash, ParseHashError, ParseSizeError, ProofError, RootHash,
    TreeSize, VerifyError, consistency_ranges, inclusion_ranges, prove_consistency, prove_inclusion,
    verify_consistency, verify_inclusion,
};
pub use note::{Checkpoint, NoteKey, NoteVerifier, SignedCheckpoint};
pub use store::{Store, StoreError, StoreUrl};

//! The proof that a message is in the log, as a text that is checked offline (C2SP `tlog-proof`).
//!
//! The extra data of the format are the leaf's opening. Invariant: [`InclusionProof::verify`] believes nothing but the
//! log's key.

use std::fmt;

use data_encoding::BASE64;

use crate::leaf::{Commitment, LeafError, Opening};
use crate::merkle::{MAX_PATH, NodeHash, ParseHashError, VerifyError, verify_inclusion};
use crate::note::{CheckpointError, NoteVerifier, SignedCheckpoint};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Longest proof, in bytes: the opening in base64, hashes, and a note.
const MAX_PROOF: usize = 256 * 1024;

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionProofError {
    /// Not the text form.
    #[error("not a proof in the form {FIRST_LINE}: {0}")]
    Form(&'static str),
    /// A line is no hash.
    #[error("a line of the proof: {0}")]
    Hash(#[from] ParseHashError),
    /// The opening cannot be read.
    #[error("the opening: {0}")]
    Opening(#[from] LeafError),
    /// There is no opening, and none was given.
    #[error("the proof carries no opening, so it does not say what the leaf is")]
    NoOpening,
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the leaf to the root.
    #[error("the leaf is not under the checkpoint: {0}")]
    Path(#[from] VerifyError),
}

/// A leaf, its way to the root, and the signed root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The leaf's number.
    pub index: u64,
    /// Hashes from the leaf's sibling to the root's child.
    pub path: Vec<NodeHash>,
    /// What the leaf commits to.
    pub opening: Option<Opening>,
    /// The signed root.
    pub checkpoint: SignedCheckpoint,
}

impl InclusionProof {
    /// Reads a proof; its checkpoint's signature is checked with the log's key, the path by [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`InclusionProofError`].
    pub fn parse(text: &str, log: &NoteVerifier) -> Result<Self, InclusionProofError> {
        let form = InclusionProofError::Form;
        if text.len() > MAX_PROOF {
            return Err(form("longer than 256 KiB"));
        }
        let (head, note) = text.split_once("\n\n").ok_or(form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("the first line is another"));
        }
        let mut line = lines.next().ok_or(form("no index"))?;
        let mut opening = None;
        if let Some(extra) = line.strip_prefix("extra ") {
            let bytes = BASE64.decode(extra.as_bytes()).map_err(|_| form("the extra data are no base64"))?;
            opening = Some(Opening::decode(&bytes)?);
            line = lines.next().ok_or(form("no index"))?;
        }
        let number = line.strip_prefix("index ").ok_or(form("no index"))?;
        let index = number.parse::<u64>().map_err(|_| form("the index is no number"))?;
        let path: Vec<NodeHash> = lines.by_ref().take(MAX_PATH + 1).map(str::parse).collect::<Result<_, _>>()?;
        if path.len() > MAX_PATH || index.to_string() != number {
            return Err(form("the index or the path is malformed"));
        }
        Ok(Self { index, path, opening, checkpoint: SignedCheckpoint::verify(note, log)? })
    }

    /// Verifies that the leaf with this commitment is under the checkpoint.
    ///
    /// # Errors
    /// [`InclusionProofError::Path`].
    pub fn verify(&self, commitment: &Commitment) -> Result<(), InclusionProofError> {
        let checkpoint = self.checkpoint.checkpoint();
        Ok(verify_inclusion(commitment.leaf_hash(), self.index, checkpoint.size, checkpoint.root, &self.path)?)
    }

    /// Verifies that the leaf with the proof's own opening is under the checkpoint, and returns the opening.
    ///
    /// # Errors
    /// [`InclusionProofError`].
    pub fn verify_opening(&self) -> Result<&Opening, InclusionProofError> {
        let opening = self.opening.as_ref().ok_or(InclusionProofError::NoOpening)?;
        self.verify(&opening.commitment())?;
        Ok(opening)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(opening) = &self.opening {
            writeln!(f, "extra {}", BASE64.encode(&opening.encode()))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

//! A log's signed size and root (C2SP `tlog-checkpoint`).
//!
//! Invariant: a [`SignedCheckpoint`] exists only where the log's signature was made or verified here, and its origin is
//! the name of the key.

use std::fmt;

use crate::merkle::{RootHash, TreeSize};
use crate::note::key::{NoteKey, NoteVerifier};
use crate::note::text::{Note, NoteError, NoteSignature};

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note, or not signed by the log.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The text is not origin, size and root.
    #[error("a checkpoint's text is three lines: origin, size, root; {0}")]
    Text(&'static str),
    /// Another log's checkpoint.
    #[error("the checkpoint is of the log {0}")]
    Origin(String),
}

/// What a log states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Number of leaves.
    pub size: TreeSize,
    /// Root over them.
    pub root: RootHash,
}

impl Checkpoint {
    /// Reads the text of a checkpoint. Extension lines are refused: this log has none, so a note with some is not its.
    ///
    /// # Errors
    /// [`CheckpointError::Text`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Text("no line feed at the end"))?;
        let lines: Vec<&str> = lines.split('\n').collect();
        let [origin, size, root] = lines[..] else {
            return Err(CheckpointError::Text("there are not three"));
        };
        if origin.is_empty() {
            return Err(CheckpointError::Text("the origin is empty"));
        }
        let size = size.parse().map_err(|_| CheckpointError::Text("the size is no number"))?;
        let root = root.parse().map_err(|_| CheckpointError::Text("the root is no hash"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Signs the checkpoint as the log.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] if the key's name is not the origin.
    pub fn sign(self, key: &NoteKey) -> Result<SignedCheckpoint, CheckpointError> {
        if key.verifier().name() != self.origin {
            return Err(CheckpointError::Origin(self.origin));
        }
        let note = Note::sign(self.to_string(), key)?;
        Ok(SignedCheckpoint { checkpoint: self, note })
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A checkpoint whose log signed it, with whatever other signatures it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Reads and verifies a note as a checkpoint of the log with this key.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn verify(note: &str, log: &NoteVerifier) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != log.name() {
            return Err(CheckpointError::Origin(checkpoint.origin));
        }
        note.verify(log)?;
        Ok(Self { checkpoint, note })
    }

    /// What it states.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note with all its signatures.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Adds a witness's signature.
    pub fn add(&mut self, signature: NoteSignature) {
        self.note.add(signature);
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// Proof that a log showed two histories: two checkpoints of one size with different roots, both signed by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// One history.
    pub one: SignedCheckpoint,
    /// The other.
    pub other: SignedCheckpoint,
}

impl Fork {
    /// The proof, if these two are one. Checkpoints of different sizes are compared with a consistency proof instead.
    #[must_use]
    pub fn between(one: &SignedCheckpoint, other: &SignedCheckpoint) -> Option<Self> {
        let (a, b) = (one.checkpoint(), other.checkpoint());
        let forked = a.origin == b.origin && a.size == b.size && a.root != b.root;
        forked.then(|| Self { one: one.clone(), other: other.clone() })
    }

    /// Reads and verifies a proof from two notes.
    ///
    /// # Errors
    /// [`CheckpointError`]; [`CheckpointError::Text`] when the two contradict each other in nothing.
    pub fn verify(one: &str, other: &str, log: &NoteVerifier) -> Result<Self, CheckpointError> {
        let (one, other) = (SignedCheckpoint::verify(one, log)?, SignedCheckpoint::verify(other, log)?);
        Self::between(&one, &other).ok_or(CheckpointError::Text("these two are no fork"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Checkpoint, CheckpointError, Fork, SignedCheckpoint};
    use crate::merkle::{LeafHash, NodeHash, RootHash, TreeSize};
    use crate::note::key::{KeyKind, NoteKey};

    fn key() -> NoteKey {
        NoteKey::new("log.example/weir", KeyKind::Log, &[1; 32]).unwrap()
    }

    fn checkpoint(root: RootHash) -> Checkpoint {
        Checkpoint { origin: "log.example/weir".into(), size: TreeSize::new(1), root }
    }

    fn root(leaf: &[u8]) -> RootHash {
        NodeHash::from(LeafHash::of(leaf)).into()
    }

    #[test]
    fn a_checkpoint_is_its_logs_only() {
        let note = checkpoint(root(b"a")).sign(&key()).unwrap().to_string();
        let read = SignedCheckpoint::verify(&note, key().verifier()).unwrap();
        assert_eq!((read.checkpoint(), read.to_string()), (&checkpoint(root(b"a")), note.clone()));
        let other = NoteKey::new("other.example", KeyKind::Log, &[1; 32]).unwrap();
        assert!(matches!(SignedCheckpoint::verify(&note, other.verifier()), Err(CheckpointError::Origin(_))));
        assert!(matches!(checkpoint(root(b"a")).sign(&other), Err(CheckpointError::Origin(_))));
        let forged = note.replace("\n1\n", "\n2\n");
        assert!(matches!(SignedCheckpoint::verify(&forged, key().verifier()), Err(CheckpointError::Note(_))));
    }

    #[test]
    fn texts_with_more_or_less_are_refused() {
        for text in
            ["", "o\n1\n", "o\n01\nAAAA\n", &format!("o\n1\n{}\nmore\n", root(b"a")), &format!("\n1\n{}\n", root(b"a"))]
        {
            assert!(matches!(Checkpoint::parse(text), Err(CheckpointError::Text(_))), "{text:?}");
        }
    }

    #[test]
    fn two_roots_of_one_size_are_a_fork() {
        let one = checkpoint(root(b"a")).sign(&key()).unwrap();
        let other = checkpoint(root(b"b")).sign(&key()).unwrap();
        assert!(Fork::between(&one, &one).is_none());
        let fork = Fork::between(&one, &other).unwrap();
        assert_eq!(Fork::verify(&one.to_string(), &other.to_string(), key().verifier()), Ok(fork));
        assert!(Fork::verify(&one.to_string(), &one.to_string(), key().verifier()).is_err());
    }
}

//! Signed notes: the texts in which a log states its size and root, and witnesses confirm it.
//!
//! * `key`: Ed25519 keys of logs and witnesses, in the text forms that other tools read.
//! * `text`: the note format, C2SP `signed-note`.
//! * `checkpoint`: a log's statement, C2SP `tlog-checkpoint`.
//! * `cosignature`: a witness's statement, C2SP `tlog-cosignature`, version 1.

mod checkpoint;
mod cosignature;
mod key;
mod text;

pub use checkpoint::{Checkpoint, CheckpointError, Fork, SignedCheckpoint};
pub use cosignature::{Cosigned, cosign, verify_cosignature};
pub use key::{KeyKind, NoteKey, NoteKeyError, NoteVerifier};
pub use text::{MAX_NOTE, MAX_SIGNATURES, Note, NoteError, NoteSignature};

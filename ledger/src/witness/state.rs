//! What a witness signed last, on disk.
//!
//! Invariant: deciding and storing are one step under one lock, and the new state is on disk before a signature is
//! handed out, so a crash or a race never lets a smaller tree be signed after a larger one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use weir_protocol::time::UnixMillis;

use crate::note::{CheckpointError, NoteSignature, NoteVerifier, SignedCheckpoint};
use crate::tile::{Folder, FolderError};
use crate::witness::decide::{Refusal, Witness};
use crate::witness::message::AddCheckpoint;

/// Why a witness cannot answer at all.
#[derive(Debug, thiserror::Error)]
pub enum WitnessStateError {
    /// The state cannot be read or written.
    #[error("the witness's state: {0}")]
    Folder(#[from] FolderError),
    /// What is stored is not what a witness stores.
    #[error(
        "the witness's state for {log} is damaged ({why}); it signs nothing for that log until the file is restored"
    )]
    Damaged {
        /// Which log.
        log: String,
        /// What is wrong.
        why: CheckpointError,
    },
}

/// A witness with its state.
#[derive(Debug)]
pub struct WitnessState {
    witness: Witness,
    folder: Folder,
    latest: Mutex<BTreeMap<String, SignedCheckpoint>>,
}

impl WitnessState {
    /// Reads what was signed before, for each log.
    ///
    /// # Errors
    /// [`WitnessStateError`].
    pub fn open(
        witness: Witness,
        logs: &[NoteVerifier],
        folder: impl Into<PathBuf>,
    ) -> Result<Self, WitnessStateError> {
        let folder = Folder::new(folder);
        let mut latest = BTreeMap::new();
        for log in logs {
            let Some(bytes) = folder.read(&file(log.name()))? else { continue };
            let note = String::from_utf8_lossy(&bytes);
            let checkpoint = SignedCheckpoint::verify(&note, log)
                .map_err(|why| WitnessStateError::Damaged { log: log.name().to_owned(), why })?;
            latest.insert(log.name().to_owned(), checkpoint);
        }
        Ok(Self { witness, folder, latest: Mutex::new(latest) })
    }

    /// The witness.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Decides, stores, and signs.
    ///
    /// # Errors
    /// The outer error is the witness's trouble, the inner one its refusal.
    pub fn add(
        &self,
        request: &AddCheckpoint,
        now: UnixMillis,
    ) -> Result<Result<NoteSignature, Refusal>, WitnessStateError> {
        let log = match self.witness.log(request) {
            Ok(log) => log.name().to_owned(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (checkpoint, signature) = match self.witness.decide(request, latest.get(&log), now) {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.folder.write(&file(&log), checkpoint.to_string().as_bytes())?;
        latest.insert(log, checkpoint);
        Ok(Ok(signature))
    }
}

/// An origin may hold any character, so the file has its hash for a name.
fn file(origin: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(origin)[..16])
}

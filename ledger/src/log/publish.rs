//! Checkpoints at intervals, witnesses' signatures under them, and the files that show the log to the world.
//!
//! Invariant: files lead and the checkpoint follows, so a checkpoint in the folder always has its tiles. A checkpoint is
//! signed at least every [`CHECKPOINT_EVERY`] while there is something new, which keeps the promise of inclusion within
//! a minute with room for a witness that is slow.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::log::record::{Log, LogError};
use crate::merkle::TreeSize;
use crate::note::{Checkpoint, Note, NoteSignature, NoteVerifier, SignedCheckpoint, verify_cosignature};
use crate::store::StoreError;
use crate::tile::{CHECKPOINT_FILE, Folder, FolderError, TileKind, TilePlace, encode_entries, encode_openings};
use crate::witness::{AddCheckpoint, Answer};

/// How often a checkpoint is signed while messages arrive.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for one witness.
const WITNESS_WAIT: Duration = Duration::from_secs(10);
/// How often a witness that knows another size is asked again at once.
const WITNESS_TRIES: usize = 2;

/// A way to a witness's `add-checkpoint` (C2SP `tlog-witness`).
pub trait WitnessClient: Send + Sync {
    /// The witness's key.
    fn key(&self) -> &NoteVerifier;
    /// Posts a request body, and returns status and body of the answer.
    fn post(&self, body: String) -> impl Future<Output = Result<(u16, String), String>> + Send;
}

/// Signs and publishes.
#[derive(Debug)]
pub struct Publisher<W> {
    log: Log,
    folder: Option<Folder>,
    openings: bool,
    witnesses: Vec<(W, TreeSize)>,
    every: Duration,
}

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The folder.
    #[error("cannot publish: {0}")]
    Folder(#[from] FolderError),
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}

impl<W: WitnessClient> Publisher<W> {
    /// A publisher of this log. `openings` says whether the folder also shows what the leaves are.
    pub fn new(log: Log, folder: Option<Folder>, openings: bool, witnesses: Vec<W>, every: Duration) -> Self {
        let witnesses = witnesses.into_iter().map(|witness| (witness, TreeSize::EMPTY)).collect();
        Self { log, folder, openings, witnesses, every }
    }

    /// Publishes at intervals until it is cancelled, and once more then.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut interval = tokio::time::interval(self.every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = cancel.cancelled() => true,
                _ = interval.tick() => false,
            };
            if let Err(error) = self.publish().await {
                tracing::error!(%error, "the ledger's checkpoint is not published");
            }
            if last {
                return;
            }
        }
    }

    /// Signs a checkpoint over everything that is kept, has it cosigned, and writes the files.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&mut self) -> Result<SignedCheckpoint, PublishError> {
        let mut checkpoint = self.log.sign_checkpoint().await?;
        if self.cosign(&mut checkpoint).await {
            self.log.keep(&checkpoint).await?;
        }
        if let Some(folder) = &self.folder {
            write(&self.log, folder, &checkpoint, self.openings).await?;
        }
        Ok(checkpoint)
    }

    /// Asks every witness that has not signed yet; true if one did. A witness that fails is told of in the log and asked
    /// again at the next checkpoint: it delays nothing.
    async fn cosign(&mut self, checkpoint: &mut SignedCheckpoint) -> bool {
        let mut grown = false;
        for (witness, known) in &mut self.witnesses {
            if verify_cosignature(checkpoint.note(), witness.key()).is_ok() {
                continue;
            }
            match tokio::time::timeout(WITNESS_WAIT, ask(&self.log, witness, known, checkpoint)).await {
                Ok(Ok(signature)) => {
                    checkpoint.add(signature);
                    grown = true;
                }
                Ok(Err(why)) => tracing::warn!(witness = witness.key().name(), %why, "no cosignature"),
                Err(_) => tracing::warn!(witness = witness.key().name(), "no cosignature: no answer in time"),
            }
        }
        grown
    }
}

async fn ask<W: WitnessClient>(
    log: &Log,
    witness: &W,
    known: &mut TreeSize,
    checkpoint: &SignedCheckpoint,
) -> Result<NoteSignature, String> {
    let size = checkpoint.checkpoint().size;
    for _ in 0..WITNESS_TRIES {
        let proof = log.prove_consistency(*known, size).await.map_err(|error| error.to_string())?;
        let request = AddCheckpoint { old: *known, proof, note: checkpoint.note().clone() };
        let (status, body) = witness.post(request.to_string()).await?;
        match Answer::read(status, &body)? {
            Answer::Cosigned(lines) => {
                let line =
                    lines.into_iter().find(|line| line.is_of(witness.key())).ok_or("it signed with another key")?;
                let mut note = checkpoint.note().clone();
                note.add(line.clone());
                verify_cosignature(&note, witness.key()).map_err(|error| error.to_string())?;
                *known = size;
                return Ok(line);
            }
            Answer::Conflict(at) if at <= size => *known = at,
            Answer::Conflict(at) => return Err(format!("it has seen a larger tree of this log: {at} leaves")),
        }
    }
    Err("it keeps naming other sizes".into())
}

/// Writes what the folder lacks of a checkpoint's tree, and the checkpoint last.
///
/// # Errors
/// [`PublishError`].
pub(super) async fn write(
    log: &Log,
    folder: &Folder,
    checkpoint: &SignedCheckpoint,
    openings: bool,
) -> Result<(), PublishError> {
    let old = published(folder, log.keys().note.verifier())?;
    let new = checkpoint.checkpoint().size;
    if old <= new {
        for level in TilePlace::levels(new) {
            for place in TilePlace::added(TileKind::Hashes(level), old, new) {
                let hashes = log.store().hashes(&place).await?;
                let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
                put(folder, &place, bytes).await?;
            }
        }
        for place in TilePlace::added(TileKind::Entries, old, new) {
            let entries = log.store().entries(place.range()).await?;
            put(folder, &place, encode_entries(&entries)).await?;
        }
        if openings {
            // A folder that showed none so far gets them all.
            let shown = TilePlace::in_tree(TileKind::Openings, 0, old).is_some_and(|place| folder.has(&place));
            let old = if shown { old } else { TreeSize::EMPTY };
            for place in TilePlace::added(TileKind::Openings, old, new) {
                let openings = log.store().openings(place.range()).await?;
                put(folder, &place, encode_openings(&openings)).await?;
            }
        }
        let (folder, note) = (folder.clone(), checkpoint.to_string());
        file(move || folder.write(CHECKPOINT_FILE, note.as_bytes())).await?;
    }
    Ok(())
}

/// Size of the checkpoint that the folder shows.
fn published(folder: &Folder, key: &NoteVerifier) -> Result<TreeSize, FolderError> {
    let note = folder.read(CHECKPOINT_FILE)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let read = note.and_then(|note| Note::parse(&note).ok()).filter(|note| note.verify(key).is_ok());
    let checkpoint = read.and_then(|note| Checkpoint::parse(note.text()).ok());
    // A folder with something else in it is written from the beginning.
    Ok(checkpoint.map_or(TreeSize::EMPTY, |checkpoint| checkpoint.size))
}

async fn put(folder: &Folder, place: &TilePlace, bytes: Vec<u8>) -> Result<(), FolderError> {
    let (folder, place) = (folder.clone(), *place);
    file(move || {
        folder.write(&place.to_string(), &bytes)?;
        if place.is_full() { folder.remove_partials(&place) } else { Ok(()) }
    })
    .await
}

async fn file(work: impl FnOnce() -> Result<(), FolderError> + Send + 'static) -> Result<(), FolderError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(FolderError::Io { path: "publishing".into(), source: std::io::Error::other(error) }),
    }
}

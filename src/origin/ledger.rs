//! The adapter's ledger: opened or made, its writer, its checkpoints, and the collector in front of it.
//!
//! Order at the end: relays are gone, so nothing more is submitted; then the writer writes what waits, and the last
//! checkpoint covers it.

use super::args::LedgerWish;
use crate::exit::{CONFIGURATION, DATA_DIRECTORY, Failure, RUNTIME};
use crate::ledger::{self, IDENTITY_FILE, Ledger, now};
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_ledger::{
    Salt, Submitter,
    log::{CHECKPOINT_EVERY, Log, Publisher, Submission, WitnessClient, Writer},
    note::NoteVerifier,
    tile::Folder,
};
use weir_protocol::{
    epoch::{DEFAULT_EPOCH_MS, MAX_EPOCH_MS, MIN_EPOCH_MS},
    keys::KeyRing,
};

/// The published log in the data directory: without openings, which tell of sessions.
pub(crate) const FOLDER: &str = "log";
/// Where the adapter's doors show it.
pub(super) const LOG_PATH: &str = "/weir/log/";

/// A ledger at work.
pub(super) struct LedgerSide {
    pub(super) log: Log,
    pub(super) submitter: Submitter,
    pub(super) folder: PathBuf,
    /// For people: name, key, store.
    pub(super) shown: [String; 3],
    pub(super) epoch_ms: u64,
    stop_writer: CancellationToken,
    stop_publisher: CancellationToken,
    writing: JoinHandle<()>,
    publishing: JoinHandle<()>,
}

/// Cosigning is `weir ledger publish --witness`.
enum NoWitness {}

impl WitnessClient for NoWitness {
    fn key(&self) -> &NoteVerifier {
        match *self {}
    }

    async fn post(&self, _body: String) -> Result<(u16, String), String> {
        match *self {}
    }
}

impl LedgerSide {
    /// Opens the ledger that is wanted, or there; `None` if neither.
    pub(super) async fn open(wish: &LedgerWish, data: &Path, name: &str) -> Result<Option<Self>, Failure> {
        let wanted = wish.store.as_deref();
        let ledger = if Ledger::is_in(data) {
            let ledger = Ledger::open_in(data).await?;
            let other = wish.epoch_ms.filter(|wanted| *wanted != ledger.epoch_ms());
            if let Some(other) = other {
                let text = format!("the ledger has epochs of {} ms, not of {other} ms", ledger.epoch_ms());
                return Err(Failure::new(CONFIGURATION, format!("epoch-ms: {text}; an epoch's length never changes")));
            }
            ledger
        } else if let Some(store) = wanted {
            let epoch_ms = wish.epoch_ms.unwrap_or(DEFAULT_EPOCH_MS);
            if !(MIN_EPOCH_MS..=MAX_EPOCH_MS).contains(&epoch_ms) {
                let text = format!("epoch-ms {epoch_ms} is not between {MIN_EPOCH_MS} and {MAX_EPOCH_MS}");
                return Err(Failure::new(CONFIGURATION, text));
            }
            let origin = wish.name.clone().unwrap_or_else(|| format!("{name}/ledger"));
            ledger::make(data, origin, epoch_ms, Some(store.to_owned()).filter(|store| !store.is_empty())).await?
        } else {
            return Ok(None);
        };
        // What is signed from now on is verified with the keys in force now.
        ledger.add_key_list().await?;
        let shown = [ledger.verifier().name().to_owned(), ledger.verifier().to_string(), ledger.store_shown()];
        let (stop_writer, stop_publisher) = (CancellationToken::new(), CancellationToken::new());
        let (writer, submitter) = Writer::new(ledger.log.clone(), now, || Salt(rand::random()));
        let folder = data.join(FOLDER);
        Folder::new(&folder)
            .write(IDENTITY_FILE, &ledger.identity().await?)
            .map_err(|error| Failure::new(DATA_DIRECTORY, error))?;
        let witnesses: Vec<NoWitness> = Vec::new();
        let publisher =
            Publisher::new(ledger.log.clone(), Some(Folder::new(&folder)), false, witnesses, CHECKPOINT_EVERY);
        Ok(Some(Self {
            log: ledger.log.clone(),
            submitter,
            folder,
            shown,
            epoch_ms: ledger.epoch_ms(),
            writing: tokio::spawn(writer.run(stop_writer.clone())),
            publishing: tokio::spawn(publisher.run(stop_publisher.clone())),
            stop_writer,
            stop_publisher,
        }))
    }

    /// Ends it; durable is everything that was acknowledged.
    pub(super) async fn close(self) -> Result<(), Failure> {
        drop(self.submitter);
        self.stop_writer.cancel();
        self.writing.await.map_err(|error| Failure::new(RUNTIME, error))?;
        self.stop_publisher.cancel();
        self.publishing.await.map_err(|error| Failure::new(RUNTIME, error))
    }
}

/// Logs the key list that is in force from now on.
pub(super) async fn log_keys(submitter: &Submitter, ring: &KeyRing) {
    let submission = match Submission::key_list(ring) {
        Ok(submission) => submission,
        Err(error) => return tracing::error!(%error, "the key list does not go to the ledger"),
    };
    if let Err(error) = submitter.submit(vec![submission]).await {
        tracing::error!(%error, "the key list does not go to the ledger");
    }
}

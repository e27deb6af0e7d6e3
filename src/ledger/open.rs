//! The publisher's own ledger: its keys and settings in the adapter's data directory, its store wherever its URL says.
//!
//! Invariant: `ledger.toml` is written last by `weir ledger init`, so a ledger that is named there is whole.

use crate::exit::{CONFIGURATION, DATA_DIRECTORY, Failure, RUNTIME};
use crate::settings;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use weir_ledger::log::{Log, LogError, LogKeys, Submission};
use weir_ledger::note::{KeyKind, NoteKey, NoteVerifier};
use weir_ledger::{Salt, Store, StoreError, StoreUrl};
use weir_origin::keys::PublisherKeys;
use weir_protocol::{PublisherId, UnixMillis, statement::Kind};
use weir_relay::node::load_or_create_secret;

const SETTINGS: &str = "ledger.toml";
const KEY: &str = "ledger.key";
const STORE: &str = "ledger.redb";
/// The log's identity is among the first so many leaves.
const FIRST_LEAVES: u64 = 16;

/// Where a publisher's ledger is.
#[derive(Debug, Args)]
pub(crate) struct LedgerPlace {
    /// The adapter's data directory, with the publisher's keys
    #[arg(long, value_name = "DIR", env = "WEIR_ORIGIN__DATA")]
    data: Option<PathBuf>,
}

impl LedgerPlace {
    /// The directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| settings::data_directory("origin"))
    }
}

/// What `ledger.toml` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerSettings {
    pub(super) origin: String,
    pub(super) epoch_ms: u64,
    pub(super) store: String,
}

impl LedgerSettings {
    fn read(data: &Path) -> Result<Self, Failure> {
        let path = data.join(SETTINGS);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let advice = "make a ledger first: weir ledger init --origin NAME";
            Failure::new(CONFIGURATION, format!("cannot read {}: {error}; {advice}", path.display()))
        })?;
        toml::from_str(&text).map_err(|error| {
            Failure::new(CONFIGURATION, format!("{}: {}", path.display(), error.to_string().trim_end()))
        })
    }
}

/// A publisher's ledger, open.
pub(crate) struct Ledger {
    pub(crate) log: Log,
    pub(crate) keys: PublisherKeys,
    pub(super) settings: LedgerSettings,
}

impl Ledger {
    /// Opens the ledger that `weir ledger init` made.
    pub(crate) async fn open(place: &LedgerPlace) -> Result<Self, Failure> {
        Self::open_in(&place.directory()).await
    }

    /// The same, of a directory.
    pub(crate) async fn open_in(data: &Path) -> Result<Self, Failure> {
        Self::with(data, LedgerSettings::read(data)?).await
    }

    /// Length of the epochs of a directory's ledger, without opening it.
    pub(crate) fn epoch_ms_in(data: &Path) -> Result<u64, Failure> {
        LedgerSettings::read(data).map(|settings| settings.epoch_ms)
    }

    /// Whether `weir ledger init`, or an adapter, has made a ledger in this directory.
    pub(crate) fn is_in(data: &Path) -> bool {
        data.join(SETTINGS).exists()
    }

    /// Opens a ledger with these settings, and makes what is missing.
    pub(super) async fn with(data: &Path, settings: LedgerSettings) -> Result<Self, Failure> {
        let keys = PublisherKeys::load_or_create(data)?;
        let note = note_key(data, &settings.origin)?;
        let url: StoreUrl = settings.store.parse().map_err(|error| Failure::new(CONFIGURATION, error))?;
        let store = Store::open(&url, &settings.origin).await.map_err(|error| store_failure(&url, &error))?;
        let log = Log::new(store, LogKeys { publisher: keys.publisher(), note, promises: keys.signing() });
        Ok(Self { log, keys, settings })
    }

    /// Writes the settings: from now on the ledger is there.
    pub(super) fn keep(&self, data: &Path) -> Result<(), Failure> {
        let text = toml::to_string(&self.settings).map_err(|error| Failure::new(RUNTIME, error))?;
        let path = data.join(SETTINGS);
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(DATA_DIRECTORY, format!("cannot write {}: {error}", path.display())))
    }

    /// The key that checkpoints are verified with.
    pub(crate) fn verifier(&self) -> &NoteVerifier {
        self.log.keys().note.verifier()
    }

    /// The signed message that says which log it is, as it stands in the log.
    pub(crate) async fn identity(&self) -> Result<Vec<u8>, Failure> {
        let store = self.log.store();
        let size = store.head().await.map_err(|error| Failure::new(RUNTIME, error))?.size.get();
        let first = store.openings(0..size.min(FIRST_LEAVES)).await.map_err(|error| Failure::new(RUNTIME, error))?;
        let found = first.into_iter().flatten().find(|opening| opening.kind == Kind::LogIdentity);
        found.map(|opening| opening.message).ok_or_else(|| {
            Failure::new(DATA_DIRECTORY, "the ledger does not say which log it is: make it with weir ledger init")
        })
    }

    /// Length of its epochs, in milliseconds.
    pub(crate) fn epoch_ms(&self) -> u64 {
        self.settings.epoch_ms
    }

    /// Where it is kept, without passwords.
    pub(crate) fn store_shown(&self) -> String {
        self.settings.store.parse::<StoreUrl>().map_or_else(|_| String::new(), |url| url.to_string())
    }

    /// Whose ledger it is.
    pub(crate) fn publisher(&self) -> PublisherId {
        self.keys.publisher()
    }

    /// Adds what the publisher itself says.
    pub(crate) async fn add(&self, submissions: Vec<Submission>) -> Result<(), Failure> {
        self.log.record(submissions, now(), || Salt(rand::random())).await?;
        Ok(())
    }

    /// Adds the key list in force, so that what is signed now can be verified later.
    pub(crate) async fn add_key_list(&self) -> Result<(), Failure> {
        let ring = self.keys.ring(now())?;
        self.add(vec![Submission::key_list(&ring).map_err(|error| Failure::new(RUNTIME, error))?]).await
    }
}

/// The log's key, made at the first use.
fn note_key(data: &Path, origin: &str) -> Result<NoteKey, Failure> {
    let (secret, _) = load_or_create_secret(&data.join(KEY))?;
    NoteKey::new(origin, KeyKind::Log, &secret)
        .map_err(|error| Failure::new(CONFIGURATION, format!("the log's name {origin}: {error}")))
}

/// The store in the data directory, for those who name none.
pub(super) fn default_store(data: &Path) -> String {
    let path = std::path::absolute(data).unwrap_or_else(|_| data.to_owned()).join(STORE);
    StoreUrl::Redb(path).to_string()
}

/// Now, in milliseconds.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn store_failure(url: &StoreUrl, error: &StoreError) -> Failure {
    let code = match error {
        StoreError::Foreign { .. } | StoreError::Format(_) => CONFIGURATION,
        StoreError::InUse(_) | StoreError::Full(_) | StoreError::Damaged(_) => DATA_DIRECTORY,
        _ => RUNTIME,
    };
    Failure::new(code, format!("{url}: {error}"))
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::Store(StoreError::Full(_) | StoreError::Damaged(_)) | LogError::RolledBack { .. } => {
                DATA_DIRECTORY
            }
            _ => RUNTIME,
        };
        Self::new(code, error)
    }
}

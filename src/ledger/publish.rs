//! `weir ledger publish`.

use super::args::PublishArgs;
use super::fetch::Remote;
use super::open::Ledger;
use crate::exit::{CHECK_FAILED, CONFIGURATION, Failure};
use std::process::ExitCode;
use std::time::Duration;
use weir_ledger::log::{PublishError, Publisher, WitnessClient};
use weir_ledger::note::{NoteVerifier, verify_cosignature};
use weir_ledger::tile::Folder;

/// A witness at a URL.
pub(super) struct RemoteWitness {
    key: NoteVerifier,
    remote: Remote,
}

impl RemoteWitness {
    fn parse(text: &str) -> Result<Self, Failure> {
        let bad = |why: String| Failure::new(CONFIGURATION, format!("--witness {text}: {why}"));
        let (url, key) = text.split_once('=').ok_or_else(|| bad("write URL=KEY".into()))?;
        let key: NoteVerifier = key.parse().map_err(|error| bad(format!("{error}")))?;
        Ok(Self { key, remote: Remote::new(url).map_err(bad)? })
    }
}

impl WitnessClient for RemoteWitness {
    fn key(&self) -> &NoteVerifier {
        &self.key
    }

    async fn post(&self, body: String) -> Result<(u16, String), String> {
        self.remote.post("add-checkpoint", body).await
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Log(error) => error.into(),
            PublishError::Folder(error) => Self::new(crate::exit::DATA_DIRECTORY, error),
        }
    }
}

/// Publishes once.
pub(super) async fn run(args: PublishArgs) -> Result<ExitCode, Failure> {
    let witnesses = args.witness.iter().map(|text| RemoteWitness::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<NoteVerifier> = witnesses.iter().map(|witness| witness.key.clone()).collect();
    let ledger = Ledger::open(&args.place).await?;
    let folder = Folder::new(&args.out);
    // The interval is for adapters, which publish again and again.
    let mut publisher =
        Publisher::new(ledger.log.clone(), Some(folder), args.openings, witnesses, Duration::from_secs(1));
    let checkpoint = publisher.publish().await?;
    let state = checkpoint.checkpoint();
    println!("✔ {} leaves, root {}, in {}", state.size, state.root, args.out.display());
    let mut missing = false;
    for key in &keys {
        match verify_cosignature(checkpoint.note(), key) {
            Ok(_) => println!("✔ cosigned by {}", key.name()),
            Err(error) => {
                missing = true;
                println!("✘ {error}");
            }
        }
    }
    Ok(if missing { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}

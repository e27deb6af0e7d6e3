//! `weir ledger init`.

use super::args::InitArgs;
use super::open::{Ledger, LedgerSettings, default_store, now};
use crate::exit::{CONFIGURATION, Failure, RUNTIME};
use crate::serving;
use std::{path::Path, process::ExitCode};
use weir_ledger::log::Submission;
use weir_protocol::LogIdentity;
use weir_protocol::statement::Verified;

/// Makes a ledger, or says which one there is.
pub(super) async fn run(args: InitArgs) -> Result<ExitCode, Failure> {
    let data = args.place.directory();
    serving::prepare(&data)?;
    let ledger = make(&data, args.origin, args.epoch_ms, args.store).await?;
    println!("✔ ledger     {} ({})", ledger.settings.origin, ledger.settings.store);
    println!("✔ publisher  {}", ledger.publisher());
    println!("✔ log key    {}", ledger.verifier());
    println!("  Give publisher and log key to whoever shall check payouts.");
    Ok(ExitCode::SUCCESS)
}

/// Makes a ledger in a data directory, with its first leaves; one that is there already is opened.
pub(crate) async fn make(data: &Path, origin: String, epoch_ms: u64, store: Option<String>) -> Result<Ledger, Failure> {
    let store = store.unwrap_or_else(|| default_store(data));
    let settings = LedgerSettings { origin, epoch_ms, store };
    let ledger = Ledger::with(data, settings).await?;
    let identity = LogIdentity {
        publisher: ledger.publisher(),
        origin: ledger.settings.origin.clone(),
        key: *ledger.verifier().public(),
        epoch_ms: ledger.settings.epoch_ms,
        time: now(),
    };
    let identity = Verified::sign_as_publisher(identity, &ledger.keys.signing())
        .map_err(|error| Failure::new(CONFIGURATION, format!("--origin or --epoch-ms: {error}")))?;
    let head = ledger.log.store().head().await.map_err(|error| Failure::new(RUNTIME, error))?;
    if head.size.get() == 0 {
        ledger.add_key_list().await?;
        let identity = Submission::statement(&identity).map_err(|error| Failure::new(RUNTIME, error))?;
        ledger.add(vec![identity]).await?;
    }
    ledger.keep(data)?;
    Ok(ledger)
}

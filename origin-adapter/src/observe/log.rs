//! Observations into the ledger, and back into the book after a restart.
//!
//! Invariant: what was seen is stated at least four times an epoch, when an epoch ends, and at the end of the process; a
//! statement's number is the time, so it rises over restarts. What was not acknowledged is stated again.

use super::{book::Place, observer::Observer};
use crate::keys::Signer;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use weir_ledger::{Store, StoreError, Submission, Submitter};
use weir_protocol::{
    Epoch, PublisherId, UnixMillis,
    ids::TokenHash,
    statement::{Kind, MAX_PROMISED, Observation, Unverified, Verified},
};

/// Longest time between two statements of a session that goes on.
const STATE_EVERY: Duration = Duration::from_secs(300);
/// Shortest time, for logs whose epochs are seconds.
const LEAST_EVERY: Duration = Duration::from_millis(500);
/// Leaves that are read at a time when sums are read back.
const STEP: u64 = 1024;

/// Sums cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("what was observed before cannot be read from the ledger: {0}")]
pub struct RestoreError(#[from] StoreError);

/// Reads what was stated of the epoch that runs, and of the one before, back into the book.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(observer: &Observer, store: &Store, epoch_ms: u64) -> Result<(), RestoreError> {
    let since = Epoch(Epoch::of(observer.now(), epoch_ms).0.saturating_sub(1));
    visit(store, since.start(epoch_ms), |said| {
        if let Some(bytes) = said.reported_bytes.filter(|_| said.epoch >= since) {
            observer.restore((said.epoch, said.relay, said.token), bytes, said.time);
        }
    })
    .await
}

/// The places for which a log of a pulling CDN was imported before.
///
/// # Errors
/// [`RestoreError`].
pub async fn imported(store: &Store, places: &[Place], epoch_ms: u64) -> Result<Vec<Place>, RestoreError> {
    let places: BTreeSet<(Epoch, TokenHash, Vec<u8>)> =
        places.iter().map(|(epoch, relay, token)| (*epoch, *token, relay.0.to_bytes())).collect();
    let Some((first, ..)) = places.first() else { return Ok(Vec::new()) };
    let mut found = BTreeMap::new();
    visit(store, first.start(epoch_ms), |said| {
        let place = (said.epoch, said.token, said.relay.0.to_bytes());
        if said.imported_bytes.is_some() && places.contains(&place) {
            found.insert(place, (said.epoch, said.relay, said.token));
        }
    })
    .await?;
    Ok(found.into_values().collect())
}

/// Visits the observations that were received since a time, the newest part of the log first.
async fn visit(store: &Store, since: UnixMillis, mut each: impl FnMut(Observation)) -> Result<(), RestoreError> {
    let mut end = store.head().await?.size.get();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let openings = store.openings(start..end).await?;
        end = start;
        let mut before = false;
        for opening in openings.into_iter().flatten() {
            before |= opening.received < since;
            if opening.kind != Kind::Observation {
                continue;
            }
            if let Ok(said) = Unverified::<Observation>::new(opening.message.into()).claimed() {
                each(said);
            }
        }
        // Times of receipt never decrease from leaf to leaf.
        if before {
            break;
        }
    }
    Ok(())
}

impl Observer {
    /// States what was seen until `stop`, and then what is left.
    pub async fn run(
        self: Arc<Self>,
        submitter: Submitter,
        signer: Arc<Signer>,
        publisher: PublisherId,
        epoch_ms: u64,
        stop: CancellationToken,
    ) {
        let every = STATE_EVERY.min(Duration::from_millis(epoch_ms / 4)).max(LEAST_EVERY);
        loop {
            // An epoch's last statement is not left to the next round: evidence has an end.
            let now = self.now();
            let left = Duration::from_millis(Epoch::of(now, epoch_ms).end(epoch_ms).since(now)) + LEAST_EVERY;
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(every.min(left)) => false,
            };
            self.state_all(&submitter, &signer, publisher).await;
            if stopped {
                return;
            }
        }
    }

    async fn state_all(&self, submitter: &Submitter, signer: &Signer, publisher: PublisherId) {
        let changed = self.changed();
        for some in changed.chunks(MAX_PROMISED) {
            let now = self.now();
            let submissions: Vec<Submission> =
                some.iter().filter_map(|(place, bytes)| statement(*place, *bytes, publisher, signer, now)).collect();
            // The writer has told of it; what was seen is stated again with the next round.
            if submissions.is_empty() || submitter.submit(submissions).await.is_err() {
                return;
            }
            self.logged(some);
        }
    }
}

fn statement(
    (epoch, relay, token): Place,
    bytes: u64,
    publisher: PublisherId,
    signer: &Signer,
    now: UnixMillis,
) -> Option<Submission> {
    let observation = Observation {
        publisher,
        epoch,
        relay,
        token,
        counter: now.0.max(1),
        listed_bytes: None,
        reported_bytes: Some(bytes),
        imported_bytes: None,
        time: now,
    };
    let signed = Verified::sign_as_publisher(observation, signer.key());
    let submission = signed.ok().and_then(|signed| Submission::statement(&signed).ok());
    if submission.is_none() {
        tracing::error!("an observation cannot be signed");
    }
    submission
}

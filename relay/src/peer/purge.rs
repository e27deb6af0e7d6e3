//! Purges what was taken down or blocked. Invariant: by the time anything is purged it is refused already, so that
//! nothing of it is served again however long the purge takes.

use super::{Directory, Networks};
use crate::{access::Withheld, fetch::Plan, store::Store};
use futures_util::{FutureExt, future::select_all};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_protocol::resource::ResourceKey;

/// Purges a relay's store until `cancel`.
pub(super) async fn of_relay(networks: Arc<Networks>, store: Arc<Store>, cancel: CancellationToken) {
    let mut changes: Vec<watch::Receiver<u64>> = networks.all().iter().map(|network| network.news()).collect();
    changes.push(networks.blocklists());
    // What was kept over a restart, or was on disk before the blocklist was made, goes too.
    changes.iter_mut().for_each(watch::Receiver::mark_changed);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = select_all(changes.iter_mut().map(|change| change.changed().boxed())) => {}
        }
        changes.iter_mut().for_each(watch::Receiver::mark_unchanged);
        let judge = networks.clone();
        // What is not granted stays: the grant may come back, and it is no secret.
        let goes =
            move |key: &ResourceKey| matches!(judge.withheld(key), Some(Withheld::TakenDown | Withheld::Blocked));
        report(store.purge(goes).await);
    }
}

/// Purges an adapter's store until `cancel`.
pub(super) async fn of_adapter(directory: Arc<Directory>, store: Arc<Store>, cancel: CancellationToken) {
    let mut changes = directory.watch_takedowns();
    changes.mark_changed();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        let (judge, now) = (directory.clone(), directory.clock().now());
        report(store.purge(move |key| judge.withdrawn().covers(key, now)).await);
    }
}

fn report(purged: usize) {
    if purged > 0 {
        tracing::info!(purged, "purged what is not to be served any more");
    }
}

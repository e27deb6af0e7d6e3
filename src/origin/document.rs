//! The join document: who the publisher is, its keys, and with whom a relay begins.

use super::{Ring, args::OriginSettings, ledger::log_keys};
use crate::{exit::Failure, serving};
use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use weir_ledger::Submitter;
use weir_origin::{handler::AdapterHandler, keys::PublisherKeys};
use weir_protocol::{
    ids::RelayId,
    wellknown::{PeerInfo, Policy, WELL_KNOWN_VERSION, WellKnown},
};
use weir_relay::{
    clock::Clock,
    node::{Identity, PeerSideParts},
    peer::Directory,
    quic::multiaddr_of,
};

/// How often a fresh key list is issued; a list is good for thirty days.
const ISSUE_EVERY: Duration = Duration::from_secs(12 * 3600);
/// How often the relays to begin with are looked at, and how many the join document names.
const BOOTSTRAP_EVERY: Duration = Duration::from_secs(10);
const BOOTSTRAP_RELAYS: usize = 8;

/// The document as it is at the start.
pub(super) async fn document(
    settings: &OriginSettings,
    keys: &PublisherKeys,
    identity: &Identity,
    peers: &PeerSideParts,
) -> Result<WellKnown, Failure> {
    let addresses: Vec<_> = if settings.announce.is_empty() {
        // Nobody comes from elsewhere to a loopback address; it counts only where there is no other.
        let mut found = peers.side.local_addresses().announced();
        if !found.iter().all(|address| address.ip().is_loopback()) {
            found.retain(|address| !address.ip().is_loopback());
        }
        found.into_iter().map(multiaddr_of).collect()
    } else {
        settings.announce.iter().copied().map(multiaddr_of).collect()
    };
    let publisher = keys.publisher();
    let adapter = PeerInfo { relay: identity.relay(), addresses: addresses.iter().map(ToString::to_string).collect() };
    let short: String = publisher.to_string().chars().take("pub-".len() + 8).collect();
    Ok(WellKnown {
        version: WELL_KNOWN_VERSION,
        publisher,
        name: settings.name.clone().unwrap_or(short),
        hosts: settings.hosts.clone(),
        keys: keys.list(Clock::System.now())?,
        bootstrap: vec![adapter.clone()],
        adapter,
        policy: Policy {
            max_object_bytes: Some(serving::fetch_config(settings.memory).max_object_bytes),
            steering: settings.steering.clone(),
            tokens_required: settings.require_tokens,
        },
    })
}

/// Issues key lists anew, to relays and in the document, and names there which relays to begin with.
pub(super) async fn issue(
    keys: PublisherKeys,
    ring: Ring,
    mut document: WellKnown,
    handler: Arc<AdapterHandler>,
    directory: Arc<Directory>,
    ledger: Option<Submitter>,
    stop: CancellationToken,
) {
    let (mut ticks, mut looks) = (interval(ISSUE_EVERY), interval(BOOTSTRAP_EVERY));
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => match keys.renew(&ring, Clock::System.now()) {
                Ok(list) => {
                    document.keys.clone_from(&list);
                    directory.set_keys(list);
                    let renewed = ring.read().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Some(ledger) = &ledger {
                        log_keys(ledger, &renewed).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the key list was not renewed");
                    continue;
                }
            },
            _ = looks.tick() => {
                let relays = bootstrap(&document.adapter, &directory);
                if document.bootstrap == relays {
                    continue;
                }
                document.bootstrap = relays;
            }
        }
        if let Err(error) = handler.set_document(&document) {
            tracing::error!(%error, "the join document was not renewed");
        }
    }
}

/// The adapter, and relays that strangers can dial.
fn bootstrap(adapter: &PeerInfo, directory: &Directory) -> Vec<PeerInfo> {
    let info = |(relay, at): (RelayId, Vec<SocketAddr>)| PeerInfo {
        relay,
        addresses: at.into_iter().map(|at| multiaddr_of(at).to_string()).collect(),
    };
    let open = directory.open_relays(BOOTSTRAP_RELAYS).into_iter().map(info);
    std::iter::once(adapter.clone()).chain(open).collect()
}

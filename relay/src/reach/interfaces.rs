//! The machine's addresses and their changes, from the kernel. Invariant: a change is reported once, after things have
//! been quiet for a moment: interfaces come and go in bursts.

use futures_util::StreamExt;
use if_watch::tokio::IfWatcher;
use std::{collections::BTreeSet, io, net::IpAddr, time::Duration};
use tokio::time::timeout;

/// Quiet that ends a burst.
const SETTLE: Duration = Duration::from_millis(50);
/// Longest burst.
const BURST: usize = 64;

/// Longest look at the interfaces when a node starts.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// The machine's addresses now; empty when the kernel does not say in time.
pub async fn machine_addresses() -> BTreeSet<IpAddr> {
    let mut interfaces = Interfaces::watch();
    timeout(FIRST_LOOK, interfaces.changed()).await.unwrap_or_default()
}

/// Watches the interfaces.
pub(super) struct Interfaces {
    watcher: Option<IfWatcher>,
    known: BTreeSet<IpAddr>,
}

impl Interfaces {
    /// Without a watcher (a kernel that refuses) nothing is ever reported.
    pub(super) fn watch() -> Self {
        let opened: io::Result<IfWatcher> = IfWatcher::new();
        let watcher = opened.inspect_err(|error| tracing::warn!(%error, "changes of address are not noticed")).ok();
        Self { watcher, known: BTreeSet::new() }
    }

    /// The addresses, as soon as they differ from those reported last. Safe to drop and call again.
    pub(super) async fn changed(&mut self) -> BTreeSet<IpAddr> {
        let Some(watcher) = &mut self.watcher else { return std::future::pending().await };
        loop {
            match watcher.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "interface watcher");
                    tokio::time::sleep(SETTLE).await;
                }
                None => return std::future::pending().await,
            }
            for _ in 0..BURST {
                if timeout(SETTLE, watcher.next()).await.is_err() {
                    break;
                }
            }
            let now: BTreeSet<IpAddr> = watcher.iter().map(ipnet_address).filter(|ip| !is_link_local(*ip)).collect();
            if now != self.known {
                self.known.clone_from(&now);
                return now;
            }
        }
    }
}

fn ipnet_address(net: &if_watch::IpNet) -> IpAddr {
    net.addr()
}

/// Of no use without naming the interface.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

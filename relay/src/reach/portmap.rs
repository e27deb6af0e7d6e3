//! Port mappings asked of the router: UPnP, NAT-PMP (RFC 6886) and PCP (RFC 6887), by the `portmapper` crate, which
//! renews them.
//!
//! Invariant: nothing is asked for a port that is bound to loopback, and at most one mapping for each port and protocol.

use futures_util::future::join_all;
use portmapper::{Client, Config, Protocol};
use serde::Serialize;
use std::{
    net::{SocketAddr, SocketAddrV4},
    num::NonZeroU16,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// A router that grants nothing, or is not there yet, is asked again after this, then after twice as long, and so on.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(5 * 60);
/// Longest wait for a router that is given its mappings back.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// The ports that should be reachable.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// The peer socket, UDP.
    pub peer: Option<SocketAddr>,
    /// The encrypted doors, TCP and UDP.
    pub doors: Vec<SocketAddr>,
}

/// What the router has granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Mapped {
    /// External address of the peer port.
    pub peer: Option<SocketAddrV4>,
    /// External address of the doors' port for HTTP/1.1 and HTTP/2.
    pub doors_tcp: Option<SocketAddrV4>,
    /// External address of the doors' port for HTTP/3.
    pub doors_udp: Option<SocketAddrV4>,
}

struct Mapping {
    client: Client,
    external: watch::Receiver<Option<SocketAddrV4>>,
    asking: AbortOnDropHandle<()>,
}

/// The mappings under way. Dropped, they are left to the router, which ends them in time.
#[derive(Default)]
pub struct PortMaps {
    peer: Option<Mapping>,
    doors_tcp: Option<Mapping>,
    doors_udp: Option<Mapping>,
}

impl PortMaps {
    /// Asks the router for all `ports`. Must be called within a tokio runtime.
    pub fn ask(ports: &Ports) -> Self {
        let doors = ports.doors.iter().find(|address| !address.ip().is_loopback());
        Self {
            peer: ports.peer.and_then(|address| Mapping::ask(address, Protocol::Udp)),
            doors_tcp: doors.and_then(|address| Mapping::ask(*address, Protocol::Tcp)),
            doors_udp: doors.and_then(|address| Mapping::ask(*address, Protocol::Udp)),
        }
    }

    /// What is granted now.
    pub fn now(&self) -> Mapped {
        let read = |mapping: &Option<Mapping>| mapping.as_ref().and_then(|mapping| *mapping.external.borrow());
        Mapped { peer: read(&self.peer), doors_tcp: read(&self.doors_tcp), doors_udp: read(&self.doors_udp) }
    }

    /// Gives the mappings back to the router; a port of a relay that has ended shall not lead to whoever comes next.
    pub async fn give_back(self) {
        let all = [self.peer, self.doors_tcp, self.doors_udp].into_iter().flatten();
        // A router that does not answer forgets them by itself.
        let _ = timeout(GIVE_BACK, join_all(all.map(Mapping::give_back))).await;
    }

    /// Waits until something changes; for ever when nothing was asked for.
    pub async fn changed(&mut self) {
        async fn one(mapping: &mut Option<Mapping>) {
            match mapping {
                Some(mapping) => {
                    if mapping.external.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.peer) => {}
            () = one(&mut self.doors_tcp) => {}
            () = one(&mut self.doors_udp) => {}
        }
    }
}

impl Mapping {
    fn ask(local: SocketAddr, protocol: Protocol) -> Option<Self> {
        let port = NonZeroU16::new(local.port()).filter(|_| !local.ip().is_loopback())?;
        let client = Client::new(Config { protocol, ..Config::default() });
        let external = client.watch_external_address();
        let asking = AbortOnDropHandle::new(tokio::spawn(keep_asking(client.clone(), port, external.clone())));
        Some(Self { client, external, asking })
    }

    async fn give_back(self) {
        drop(self.asking);
        if self.external.borrow().is_none() {
            return;
        }
        self.client.deactivate();
        // The client takes one order after the other: this is answered when the mapping has been released.
        let _ = self.client.probe().await;
    }
}

/// Asks for a mapping whenever there is none. Each time what the router speaks is found out first: without that the crate
/// would ask by UPnP alone.
async fn keep_asking(client: Client, port: NonZeroU16, mut external: watch::Receiver<Option<SocketAddrV4>>) {
    let mut pause = ASK_AGAIN;
    loop {
        // Without a gateway there is nobody to ask; there may be one later.
        let _ = client.probe().await;
        client.update_local_port(port);
        client.procure_mapping();
        let granted = timeout(pause, external.wait_for(Option::is_some)).await.map(|granted| granted.is_ok());
        match granted {
            Err(_) => pause = (pause * 2).min(ASK_AGAIN_AT_MOST),
            Ok(true) => {
                // The crate renews it, asks once more by itself when that fails, and tells.
                if external.wait_for(Option::is_none).await.is_err() {
                    return;
                }
                pause = ASK_AGAIN;
                sleep(pause).await;
            }
            Ok(false) => return,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_asked_for_loopback() {
        let loopback = "127.0.0.1:7444".parse().unwrap();
        let maps = PortMaps::ask(&Ports { peer: Some(loopback), doors: vec![loopback] });
        assert!(maps.peer.is_none() && maps.doors_tcp.is_none() && maps.doors_udp.is_none());
        assert_eq!(maps.now(), Mapped::default());
    }
}

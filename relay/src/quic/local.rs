//! The socket's view of the machine: which addresses it announces, and that they have changed.
//!
//! Invariant: it never changes the port: mappings and holes in NATs belong to it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::shared::Shared;

/// Tells the peer socket of changes on the machine. Cheap to clone.
#[derive(Clone)]
pub struct LocalAddresses {
    shared: Arc<Shared>,
}

impl LocalAddresses {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Where the socket is bound, with the port that the system chose.
    pub fn bound(&self) -> SocketAddr {
        self.shared.bound
    }

    /// The addresses at which the socket can be reached on this machine's networks.
    pub fn announced(&self) -> Vec<SocketAddr> {
        let port = self.shared.bound.port();
        self.shared.announced.current().into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// Replaces the announced addresses after an interface has changed; the swarm learns of each new and each expired
    /// one. No effect on a socket that is bound to one address.
    pub fn set(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.shared.announced.replace(addresses);
    }

    /// Sends something on every open connection at once, so that peers notice a new address of ours now and not at the
    /// next keep-alive (connection migration, RFC 9000 section 9).
    ///
    /// # Errors
    /// The system's, if the descriptor cannot be duplicated.
    pub fn moved(&self) -> io::Result<()> {
        // The same socket again: what counts is that every connection probes its path.
        self.shared.endpoint.rebind(self.shared.raw.try_clone()?)
    }
}

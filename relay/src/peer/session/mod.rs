//! The control stream of one connection: Hello both ways, then what each role says. Invariants: only the adapter of a
//! network is believed about that network; both sides speak the highest version they share, or part with a reason.

mod adapter;
mod budget;
mod relay;

use super::{
    Directory, Networks,
    class::CONTROL_PRIORITY,
    frames::{ControlReader, FrameError, read_frame, write_control},
};
use crate::fetch::Fetch;
use quinn::{RecvStream, SendStream};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::RelayId,
    wire::{ControlFrame, Hello, HelloNetwork, MAX_CONTROL_FRAME, MAX_HELLO_NETWORKS},
};

/// Both Hellos must be there this soon.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// What the other side of a connection gets to hear.
pub(super) enum Role {
    Relay(Arc<Networks>, Fetch),
    Adapter(Arc<Directory>),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no Hello in {HELLO_TIMEOUT:?}")]
    NoHello,
    #[error("no version in common: it speaks {oldest} to {newest}")]
    Version { oldest: u16, newest: u16 },
    #[error("not let in: {0}")]
    NotLetIn(String),
    #[error("it passed on a forgery: {0}")]
    Forged(String),
}

/// The other side, as it introduced itself.
struct Peer {
    id: RelayId,
    hello: Hello,
}

/// Both directions after the Hellos.
struct Streams {
    send: SendStream,
    reader: ControlReader,
}

impl Role {
    /// Runs the control stream until the connection ends; `address` tells where the other side is now; `entered` is
    /// notified once the other side is known.
    pub(super) async fn run(
        &self,
        peer: RelayId,
        address: impl Fn() -> SocketAddr,
        (mut send, mut receive): (SendStream, RecvStream),
        entered: &Notify,
        stopping: &CancellationToken,
    ) -> Result<(), SessionError> {
        // Fails only on a stream that is gone, which the write below tells.
        let _ = send.set_priority(CONTROL_PRIORITY);
        let ours = self.hello();
        write_control(&mut send, &ControlFrame::Hello(ours.clone())).await?;
        let first = timeout(HELLO_TIMEOUT, read_frame(&mut receive, MAX_CONTROL_FRAME))
            .await
            .map_err(|_| SessionError::NoHello)??;
        let ControlFrame::Hello(hello) = ControlFrame::decode(&first).map_err(FrameError::from)? else {
            return Err(SessionError::NoHello);
        };
        if ours.common_version(&hello).is_none() {
            let (oldest, newest) = (hello.oldest.unwrap_or(hello.version), hello.version);
            let reason = format!("this node speaks version {} only: update the older of the two", ours.version);
            write_control(&mut send, &ControlFrame::Goodbye { reason }).await?;
            return Err(SessionError::Version { oldest, newest });
        }
        let peer = Peer { id: peer, hello };
        let streams = Streams { send, reader: ControlReader::new(receive) };
        match self {
            Self::Relay(networks, fetch) => relay::run(networks, fetch, &peer, streams, entered).await,
            Self::Adapter(directory) => adapter::run(directory, &peer, address, streams, entered, stopping).await,
        }
    }

    fn hello(&self) -> Hello {
        let networks = match self {
            Self::Relay(networks, _) => networks
                .all()
                .iter()
                .take(MAX_HELLO_NETWORKS)
                .map(|network| HelloNetwork {
                    publisher: network.publisher,
                    grant: network.own_grant().map(|grant| grant.bytes().to_vec().into()),
                    takedowns: Some(network.withdrawn().book().digest()),
                })
                .collect(),
            Self::Adapter(directory) => vec![HelloNetwork {
                publisher: directory.publisher(),
                grant: None,
                takedowns: Some(directory.withdrawn().book().digest()),
            }],
        };
        Hello { networks: Some(networks), ..Hello::new(concat!("weir/", env!("CARGO_PKG_VERSION"))) }
    }
}

impl Peer {
    /// How it introduced itself in a network.
    fn network(&self, publisher: &weir_protocol::ids::PublisherId) -> Option<&HelloNetwork> {
        self.hello.networks.as_deref().unwrap_or_default().iter().find(|network| network.publisher == *publisher)
    }
}

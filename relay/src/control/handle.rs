//! Commands to the control swarm.

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::error::ControlError;
use super::peers::PeerInfo;

pub(super) type Reply<T> = oneshot::Sender<T>;

pub(super) enum Command {
    Dial { address: Multiaddr, reply: Reply<Result<PeerId, ControlError>> },
    Disconnect { peer: PeerId, reply: Reply<bool> },
    Listen { address: Multiaddr, reply: Reply<Result<ListenerId, ControlError>> },
    RemoveListener { id: ListenerId, reply: Reply<bool> },
    Listeners { reply: Reply<Vec<Multiaddr>> },
    AddExternal { address: Multiaddr, reply: Reply<()> },
    ExternalAddresses { reply: Reply<Vec<Multiaddr>> },
    Peers { reply: Reply<Vec<PeerInfo>> },
}

/// Gives commands to the control swarm. Cheap to clone; each call waits for room in the command queue.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    commands: mpsc::Sender<Command>,
}

impl ControlHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ControlError::ShutDown)?;
        answer.await.map_err(|_| ControlError::ShutDown)
    }

    /// Connects to an address and answers, when the connection is open, with the peer that was found there. With
    /// `/p2p/…` at its end only that peer will do, and an open connection with it is answer enough.
    ///
    /// The answer needs the event queue to be read meanwhile: do not call this from the only reader of events.
    ///
    /// # Errors
    /// [`ControlError::Dial`], [`ControlError::TooManyDials`], [`ControlError::ShutDown`].
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, ControlError> {
        self.ask(|reply| Command::Dial { address, reply }).await?
    }

    /// Closes all control connections with a peer; `false` if there were none.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<bool, ControlError> {
        self.ask(|reply| Command::Disconnect { peer, reply }).await
    }

    /// Listens; answers when the first address is known.
    ///
    /// # Errors
    /// [`ControlError::Listen`], [`ControlError::ListenerClosed`], [`ControlError::ShutDown`].
    pub async fn listen(&self, address: Multiaddr) -> Result<ListenerId, ControlError> {
        self.ask(|reply| Command::Listen { address, reply }).await?
    }

    /// Stops a listener; open connections stay. `false` if there is no such listener.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn remove_listener(&self, id: ListenerId) -> Result<bool, ControlError> {
        self.ask(|reply| Command::RemoveListener { id, reply }).await
    }

    /// The addresses that this node listens on.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn listeners(&self) -> Result<Vec<Multiaddr>, ControlError> {
        self.ask(|reply| Command::Listeners { reply }).await
    }

    /// Announces an address under which this node is known to be reachable, for example a port mapping.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn add_external_address(&self, address: Multiaddr) -> Result<(), ControlError> {
        self.ask(|reply| Command::AddExternal { address, reply }).await
    }

    /// The addresses under which this node is known to be reachable.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn external_addresses(&self) -> Result<Vec<Multiaddr>, ControlError> {
        self.ask(|reply| Command::ExternalAddresses { reply }).await
    }

    /// Everything remembered about peers, in no order.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, ControlError> {
        self.ask(|reply| Command::Peers { reply }).await
    }
}

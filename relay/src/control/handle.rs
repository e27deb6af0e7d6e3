//! Commands to the control swarm.

use std::net::SocketAddr;

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};
use weir_protocol::gossip::Topic;
use weir_protocol::ids::PublisherId;

use super::admission::Admission;
use super::error::ControlError;
use super::gossip::{Gossiped, Verdict};
use super::peers::PeerInfo;

pub(super) type Reply<T> = oneshot::Sender<T>;

pub(super) enum Command {
    Dial { address: Multiaddr, reply: Reply<Result<PeerId, ControlError>> },
    Disconnect { peer: PeerId, reply: Reply<bool> },
    Listen { address: Multiaddr, reply: Reply<Result<ListenerId, ControlError>> },
    RemoveListener { id: ListenerId, reply: Reply<bool> },
    Listeners { reply: Reply<Vec<Multiaddr>> },
    AddExternal { address: Multiaddr, reply: Reply<()> },
    RemoveExternal { address: Multiaddr, reply: Reply<()> },
    Candidate { address: Multiaddr, reply: Reply<()> },
    Serve { on: bool, vouch: bool, reply: Reply<()> },
    Punch { peer: PeerId, via: Vec<Multiaddr>, reply: Reply<Result<SocketAddr, ControlError>> },
    Subscribe { topic: Topic, reply: Reply<Result<mpsc::Receiver<Gossiped>, ControlError>> },
    Publish { topic: Topic, body: Vec<u8>, reply: Reply<Result<(), ControlError>> },
    Judge { message: Gossiped, verdict: Verdict, reply: Reply<bool> },
    Provide { publisher: PublisherId, reply: Reply<Result<(), ControlError>> },
    Find { publisher: PublisherId, reply: Reply<Result<Vec<PeerId>, ControlError>> },
    ExternalAddresses { reply: Reply<Vec<Multiaddr>> },
    Peers { reply: Reply<Vec<PeerInfo>> },
}

/// Gives commands to the control swarm. Cheap to clone; each call waits for room in the command queue.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    commands: mpsc::Sender<Command>,
    admission: Admission,
}

impl ControlHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>, admission: Admission) -> Self {
        Self { commands, admission }
    }

    /// Who may open control connections here; everybody until something is set.
    pub fn admission(&self) -> &Admission {
        &self.admission
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

    /// Takes an address back that was announced or confirmed.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn remove_external_address(&self, address: Multiaddr) -> Result<(), ControlError> {
        self.ask(|reply| Command::RemoveExternal { address, reply }).await
    }

    /// Names an address under which this node may be reachable: it is tested from outside, and peers that punch towards
    /// this node are told.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn add_candidate(&self, address: Multiaddr) -> Result<(), ControlError> {
        self.ask(|reply| Command::Candidate { address, reply }).await
    }

    /// Switches on or off what only a directly reachable node can do for the others: keep provider records, carry
    /// circuits, and with `vouch` test addresses for those who connect from now on. Off at first.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn serve(&self, on: bool, vouch: bool) -> Result<(), ControlError> {
        self.ask(|reply| Command::Serve { on, vouch, reply }).await
    }

    /// Makes a way to a peer that cannot be dialled: opens a circuit to it over one of `via` (addresses that end in
    /// `/p2p/RELAY/p2p-circuit/p2p/PEER`), punches through both NATs and answers with the address at which the peer is
    /// now directly connected: a bulk connection to the same address goes through the same hole. The circuit is closed.
    /// Ends within 8 seconds.
    ///
    /// # Errors
    /// [`ControlError::Punch`], [`ControlError::TooMany`], [`ControlError::ShutDown`].
    pub async fn punch(&self, peer: PeerId, via: Vec<Multiaddr>) -> Result<SocketAddr, ControlError> {
        self.ask(|reply| Command::Punch { peer, via, reply }).await?
    }

    /// Hears a topic from now on. Each message waits for [`Self::judge`], and is passed on only if that says so. While
    /// 64 messages wait unread, further ones are dropped. A new subscription replaces the former one of the topic.
    ///
    /// # Errors
    /// [`ControlError::TooMany`] beyond 192 topics, [`ControlError::ShutDown`].
    pub async fn subscribe(&self, topic: Topic) -> Result<mpsc::Receiver<Gossiped>, ControlError> {
        self.ask(|reply| Command::Subscribe { topic, reply }).await?
    }

    /// Says something on a topic, at most 240 bytes.
    ///
    /// # Errors
    /// [`ControlError::Announce`] if it is too long or nobody hears the topic, [`ControlError::ShutDown`].
    pub async fn publish(&self, topic: Topic, body: Vec<u8>) -> Result<(), ControlError> {
        self.ask(|reply| Command::Publish { topic, body, reply }).await?
    }

    /// Decides what becomes of a message; `false` if that came too late (after about eight seconds).
    ///
    /// # Errors
    /// [`ControlError::ShutDown`].
    pub async fn judge(&self, message: Gossiped, verdict: Verdict) -> Result<bool, ControlError> {
        self.ask(|reply| Command::Judge { message, verdict, reply }).await
    }

    /// Lets others find this node as one that serves a publisher's network, and keeps such records of others.
    ///
    /// # Errors
    /// [`ControlError::Announce`] when no more fit, [`ControlError::ShutDown`].
    pub async fn provide(&self, publisher: PublisherId) -> Result<(), ControlError> {
        self.ask(|reply| Command::Provide { publisher, reply }).await?
    }

    /// Looks for nodes that serve a publisher's network and dials the first few; connected ones report as any peer.
    /// Ends within about ten seconds.
    ///
    /// # Errors
    /// [`ControlError::TooMany`], [`ControlError::ShutDown`].
    pub async fn find(&self, publisher: PublisherId) -> Result<Vec<PeerId>, ControlError> {
        self.ask(|reply| Command::Find { publisher, reply }).await?
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

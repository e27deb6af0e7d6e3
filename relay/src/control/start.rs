//! Starts and joins the control swarm.

use std::pin::Pin;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::identity::Keypair;
use libp2p::swarm;
use libp2p::{PeerId, Swarm};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::behaviour::Behaviour;
use super::config::{ControlConfig, bound};
use super::driver::Driver;
use super::event::ControlEvent;
use super::handle::ControlHandle;
use super::transport::with_circuits;

/// Owner of the control swarm's tasks.
pub struct Control {
    driver: JoinHandle<()>,
    connections: TaskTracker,
}

impl Control {
    /// Starts the swarm over `transport`, whose certificates must be of the same `identity`. It runs until `cancel`;
    /// then connections are closed. Must be called within a tokio runtime. The receiver is to be read all the time: a
    /// full queue stops the swarm. Dropping the receiver means that nobody wants events.
    pub fn start(
        transport: Boxed<(PeerId, StreamMuxerBox)>,
        identity: &Keypair,
        config: &ControlConfig,
        cancel: CancellationToken,
    ) -> (Self, ControlHandle, mpsc::Receiver<ControlEvent>) {
        let connections = TaskTracker::new();
        let spawner = connections.clone();
        // libp2p runs a task for each connection; through the tracker they are joined like our own.
        let swarm_config = swarm::Config::with_executor(move |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
            spawner.spawn(task);
        })
        .with_idle_connection_timeout(config.idle_timeout());
        let admission = Admission::default();
        let (transport, circuits) = with_circuits(transport, identity);
        let behaviour = Behaviour::new(identity, config, admission.clone(), circuits);
        let swarm = Swarm::new(transport, behaviour, identity.public().to_peer_id(), swarm_config);
        let (command_sender, commands) = mpsc::channel(bound(config.command_queue));
        let (events, event_receiver) = mpsc::channel(bound(config.event_queue));
        let driver = tokio::spawn(Driver::new(swarm, commands, events, config).run(cancel));
        (Self { driver, connections }, ControlHandle::new(command_sender, admission), event_receiver)
    }

    /// Waits until the driver and all connection tasks have ended; `cancel` makes them end.
    pub async fn join(self) {
        if let Err(error) = self.driver.await {
            tracing::error!(%error, "control driver failed");
        }
        // The swarm is gone with its driver, so nothing new is spawned, and connection tasks end without it.
        self.connections.close();
        self.connections.wait().await;
    }
}

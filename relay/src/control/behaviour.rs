//! The protocols of the control swarm: limits, identify, ping, observed addresses.

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, ping};

use super::config::ControlConfig;
use super::limits::Limits;
use super::observed::Observed;

/// Protocol family that identify announces.
const PROTOCOL_VERSION: &str = "weir/1";
/// Program and version that identify announces.
const AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// First, so that a denied connection costs the others nothing.
    limits: Limits,
    pub(super) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) observed: Observed,
}

impl Behaviour {
    pub(super) fn new(identity: &Keypair, config: &ControlConfig) -> Self {
        let identify = identify::Config::new(PROTOCOL_VERSION.to_owned(), identity.public())
            .with_agent_version(AGENT.to_owned())
            // Peers learn at once when a mapping or an interface changes, not minutes later.
            .with_push_listen_addr_updates(true);
        Self {
            limits: Limits::new(config),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(config.ping_interval())),
            observed: Observed::default(),
        }
    }
}

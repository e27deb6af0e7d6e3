//! The protocols of the control swarm: limits, identify, ping, observed addresses; discovery by Kademlia and, if wanted,
//! mDNS; gossip; reachability tests; circuits over other nodes and hole punching through them.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, dcutr, identify, kad, mdns, ping, relay};

use super::admission::Admission;
use super::config::ControlConfig;
use super::gossip::{self, Gossip};
use super::limits::Limits;
use super::observed::Observed;
use super::prober::{Prober, Vouching};

/// Protocol family that identify announces.
const PROTOCOL_VERSION: &str = "weir/1";
/// Program and version that identify announces.
const AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));
/// Our Kademlia is a network of its own.
const KADEMLIA: StreamProtocol = StreamProtocol::new("/weir/kad/1");

/// Bounds of what Kademlia keeps for others: provider records only, one for each relay and publisher.
const STORE: MemoryStoreConfig =
    MemoryStoreConfig { max_records: 0, max_value_bytes: 0, max_providers_per_key: 32, max_provided_keys: 64 };
/// Bytes of one Kademlia message.
const KADEMLIA_MESSAGE: usize = 16 * 1024;
/// Longest search.
const KADEMLIA_QUERY: Duration = Duration::from_secs(10);
/// How long a provider record counts, and how often it is renewed.
const PROVIDER_TTL: Duration = Duration::from_secs(2 * 3600);
const PROVIDER_RENEWAL: Duration = Duration::from_secs(1800);

/// A circuit carries a handshake, identify and the punch's few messages, nothing else.
const CIRCUIT_BYTES: u64 = 64 * 1024;
const CIRCUIT_DURATION: Duration = Duration::from_secs(30);
/// Circuits at once, in all and with one peer.
const CIRCUITS: usize = 64;
const CIRCUITS_PER_PEER: usize = 8;
/// Peers that may be called over this node.
const RESERVATIONS: usize = 512;
/// A reservation is renewed before this is over.
const RESERVATION_DURATION: Duration = Duration::from_secs(1800);
/// Rates: so many at once, and one more in each interval, for one peer and for one address (a carrier's NAT hides many).
const RATE_BURST: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");
const RATE_PER_PEER: Duration = Duration::from_secs(2);
const RATE_PER_ADDRESS: Duration = Duration::from_millis(200);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// First, so that a denied connection costs the others nothing.
    limits: Limits,
    pub(super) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) observed: Observed,
    pub(super) kademlia: kad::Behaviour<MemoryStore>,
    pub(super) gossip: Gossip,
    prober: Prober,
    pub(super) vouching: Vouching,
    circuits: relay::client::Behaviour,
    pub(super) relaying: relay::Behaviour,
    punching: dcutr::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(
        identity: &Keypair,
        config: &ControlConfig,
        admission: Admission,
        circuits: relay::client::Behaviour,
    ) -> Self {
        let me = identity.public().to_peer_id();
        let identify = identify::Config::new(PROTOCOL_VERSION.to_owned(), identity.public())
            .with_agent_version(AGENT.to_owned())
            // Peers learn at once when a mapping or an interface changes, not minutes later.
            .with_push_listen_addr_updates(true);
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me));
        let mdns = mdns.and_then(|made| {
            made.inspect_err(|error| tracing::warn!(%error, "no discovery on the local network")).ok()
        });
        let mut relaying = relay::Behaviour::new(me, relaying());
        relaying.set_status(Some(relay::Status::Disable));
        Self {
            limits: Limits::new(config, admission),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(config.ping_interval())),
            observed: Observed::default(),
            kademlia: kademlia(identity),
            gossip: gossip::behaviour(identity),
            prober: Prober::new(),
            vouching: Vouching::default(),
            circuits,
            relaying,
            punching: dcutr::Behaviour::new(me),
            mdns: mdns.into(),
        }
    }

    /// Whether this node does for others what only a directly reachable one can: keeps provider records, carries
    /// circuits, and with `vouch` tests addresses.
    pub(super) fn serve(&mut self, on: bool, vouch: bool) {
        self.kademlia.set_mode(Some(if on { kad::Mode::Server } else { kad::Mode::Client }));
        self.relaying.set_status(Some(if on { relay::Status::Enable } else { relay::Status::Disable }));
        self.vouching.set(vouch);
    }
}

fn kademlia(identity: &Keypair) -> kad::Behaviour<MemoryStore> {
    let me = identity.public().to_peer_id();
    let mut config = kad::Config::new(KADEMLIA);
    config
        .set_query_timeout(KADEMLIA_QUERY)
        .set_max_packet_size(KADEMLIA_MESSAGE)
        .set_record_ttl(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        .set_provider_publication_interval(Some(PROVIDER_RENEWAL))
        // New entries start it by themselves.
        .set_periodic_bootstrap_interval(None)
        // Values are not stored at all: what relays need to know is signed and travels elsewhere.
        .set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kademlia = kad::Behaviour::with_config(me, MemoryStore::with_config(me, STORE), config);
    kademlia.set_mode(Some(kad::Mode::Client));
    kademlia
}

fn relaying() -> relay::Config {
    relay::Config {
        max_reservations: RESERVATIONS,
        max_reservations_per_peer: 2,
        reservation_duration: RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: CIRCUITS,
        max_circuits_per_peer: CIRCUITS_PER_PEER,
        max_circuit_duration: CIRCUIT_DURATION,
        max_circuit_bytes: CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    }
    .reservation_rate_per_peer(RATE_BURST, RATE_PER_PEER)
    .reservation_rate_per_ip(RATE_BURST, RATE_PER_ADDRESS)
    .circuit_src_per_peer(RATE_BURST, RATE_PER_PEER)
    .circuit_src_per_ip(RATE_BURST, RATE_PER_ADDRESS)
}

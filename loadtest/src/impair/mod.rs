//! A proxy between clients and one server that makes the network worse: delay and loss for UDP, delay for TCP, each
//! per direction. For machines whose kernel has no such thing, and for tests.
//!
//! Invariants: a datagram or byte is never delivered earlier than its direction's delay after it was read; with no
//! delay and no loss the proxy is transparent; flows, connections and queued data are bounded.
//!
//! What happens to a packet is decided by [`LinkModel`] alone, without I/O. Waiting is done on a thread of its own
//! (`timer`) because the runtime's timers tick in whole milliseconds, which would add up over several links.

mod link;
mod tcp;
mod timer;
mod udp;

pub use link::{BadLink, LinkConfig, LinkModel, Verdict};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::sockets;

/// Attempts to find a port that is free for TCP and UDP alike, when the kernel chooses it.
const PORT_ATTEMPTS: u32 = 16;

/// What to put between whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect; port 0 lets the kernel choose, the same for both protocols. Use one concrete address:
    /// replies leave from it.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// Carry UDP.
    pub udp: bool,
    /// Carry TCP.
    pub tcp: bool,
    /// From clients to the server.
    pub up: LinkConfig,
    /// From the server to clients.
    pub down: LinkConfig,
    /// Seed of the random decisions: equal seeds and equal packet order give equal decisions.
    pub seed: u64,
    /// Most UDP flows, and most TCP connections, at a time; further ones are refused.
    pub max_flows: usize,
    /// A UDP flow ends after this long without a datagram in either direction.
    pub flow_idle: Duration,
}

impl Config {
    /// Both protocols, transparent, 1024 flows, 60 s idle, seed 1.
    pub fn new(listen: SocketAddr, to: SocketAddr) -> Self {
        Self {
            listen,
            to,
            udp: true,
            tcp: true,
            up: LinkConfig::default(),
            down: LinkConfig::default(),
            seed: 1,
            max_flows: 1024,
            flow_idle: Duration::from_secs(60),
        }
    }
}

/// Packets of one direction, TCP chunks included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Direction {
    /// Handed to the socket.
    pub forwarded: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Lost for want of room: a full queue or a full socket buffer.
    pub overflowed: u64,
}

/// What a proxy has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// From clients to the server.
    pub up: Direction,
    /// From the server to clients.
    pub down: Direction,
    /// UDP flows opened.
    pub flows: u64,
    /// TCP connections accepted.
    pub connections: u64,
    /// Datagrams and connections refused because `max_flows` were open or the server could not be reached.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct DirectionCounters {
    forwarded: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
}

#[derive(Debug, Default)]
struct Counters {
    up: DirectionCounters,
    down: DirectionCounters,
    flows: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl DirectionCounters {
    fn read(&self) -> Direction {
        Direction {
            forwarded: self.forwarded.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
        }
    }
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What all parts of one proxy share.
#[derive(Debug)]
struct Shared {
    config: Config,
    counters: Counters,
    cancel: CancellationToken,
}

impl Shared {
    /// The model of one direction of the `index`-th flow. Flows draw from generators of their own, so that what one
    /// client loses does not depend on how its packets interleave with another's.
    fn model(&self, way: Way, index: u64) -> LinkModel<Xoshiro256PlusPlus> {
        let (config, side) = match way {
            Way::Up => (self.config.up, 0),
            Way::Down => (self.config.down, 1),
        };
        let seed = self
            .config
            .seed
            .wrapping_add((index * 2 + side).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        LinkModel::new(config, Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn counters(&self, way: Way) -> &DirectionCounters {
        match way {
            Way::Up => &self.counters.up,
            Way::Down => &self.counters.down,
        }
    }
}

/// A running proxy. Dropping it stops it; [`Impairment::shutdown`] also waits.
#[derive(Debug)]
pub struct Impairment {
    local: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    timer: Option<timer::Thread>,
}

impl Impairment {
    /// Binds the listening sockets and starts.
    ///
    /// # Errors
    /// The system's, when a socket cannot be bound or the timer's thread not be started.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let (tcp, udp) = listeners(&config).await?;
        let local = match (&tcp, &udp) {
            (Some(tcp), _) => tcp.local_addr()?,
            (None, Some(udp)) => udp.local_addr()?,
            (None, None) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "neither UDP nor TCP is to be carried",
                ));
            }
        };
        let shared = Arc::new(Shared {
            config,
            counters: Counters::default(),
            cancel: CancellationToken::new(),
        });
        let (timer, thread) = timer::start(Arc::clone(&shared))?;
        let mut tasks = JoinSet::new();
        if let Some(listener) = tcp {
            tasks.spawn(tcp::run(listener, Arc::clone(&shared), timer.clone()));
        }
        if let Some(socket) = udp {
            tasks.spawn(udp::run(socket, Arc::clone(&shared), timer));
        }
        Ok(Self {
            local,
            shared,
            tasks,
            timer: Some(thread),
        })
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            up: counters.up.read(),
            down: counters.down.read(),
            flows: counters.flows.load(Ordering::Relaxed),
            connections: counters.connections.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
        }
    }

    /// Stops, waits for everything that was started, and drops what is still under way.
    pub async fn shutdown(mut self) -> Counts {
        self.shared.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the proxy ended early");
            }
        }
        if let Some(thread) = self.timer.take() {
            thread.join().await;
        }
        self.counts()
    }
}

impl Drop for Impairment {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

async fn listeners(config: &Config) -> io::Result<(Option<TcpListener>, Option<udp::Port>)> {
    let mut attempt = 1;
    loop {
        let tcp = if config.tcp {
            Some(TcpListener::bind(config.listen).await?)
        } else {
            None
        };
        let mut at = config.listen;
        if let Some(listener) = &tcp {
            at.set_port(listener.local_addr()?.port());
        }
        if !config.udp {
            return Ok((tcp, None));
        }
        match sockets::udp(at).and_then(udp::Port::new) {
            Ok(udp) => return Ok((tcp, Some(udp))),
            // The kernel chose a TCP port whose UDP twin is taken.
            Err(_) if config.listen.port() == 0 && attempt < PORT_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

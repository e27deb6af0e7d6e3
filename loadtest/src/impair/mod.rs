//! A proxy between clients and one server that makes the network worse: delay, jitter and a rate for UDP and TCP, loss
//! and reordering for UDP, each per direction and flow. For machines whose kernel has no such thing, and for tests.
//!
//! Invariants: a datagram or byte is never delivered earlier than its direction's delay after it was read; with
//! nothing set the proxy is transparent; flows, connections and queued data are bounded.
//!
//! What happens to a packet is decided by [`LinkModel`] alone, without I/O. Waiting is done on a thread of its own
//! (`timer`) because the runtime's timers tick in whole milliseconds, which would add up over several links.

mod config;
mod counters;
mod link;
mod shared;
mod tcp;
mod timer;
mod udp;

pub use config::Config;
pub use counters::{Counts, Direction};
pub use link::{BadLink, LinkConfig, LinkModel, Verdict};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::shared::Shared;
use crate::sockets;

/// Attempts to find a port that is free for TCP and UDP alike, when the kernel chooses it.
const PORT_ATTEMPTS: u32 = 16;

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
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither UDP nor TCP is to be carried"));
            }
        };
        let shared = Arc::new(Shared::new(config));
        let (timer, thread) = timer::start(Arc::clone(&shared))?;
        let mut tasks = JoinSet::new();
        if let Some(listener) = tcp {
            tasks.spawn(tcp::run(listener, Arc::clone(&shared), timer.clone()));
        }
        if let Some(socket) = udp {
            tasks.spawn(udp::run(socket, Arc::clone(&shared), timer));
        }
        Ok(Self { local, shared, tasks, timer: Some(thread) })
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// From now on does this to packets, also of flows and connections that are open.
    pub fn set(&self, up: LinkConfig, down: LinkConfig) {
        self.shared.links.send_modify(|links| (links.up, links.down) = (up, down));
    }

    /// Lets nothing pass, or everything again: datagrams are lost, bytes of TCP and new connections wait.
    pub fn cut(&self, cut: bool) {
        self.shared.links.send_modify(|links| links.cut = cut);
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
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
        let tcp = if config.tcp { Some(TcpListener::bind(config.listen).await?) } else { None };
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

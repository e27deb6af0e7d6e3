//! A switch that cuts the peer socket off from the network, for whoever wants to see what a partition does.
//!
//! Invariant: while the gate is shut no datagram of the shared socket leaves and none arrives; nobody is told, as with a
//! cable that was pulled. A socket without a gate is not wrapped at all.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// The switch; open to begin with. Clones are one switch.
#[derive(Clone, Default)]
pub struct Gate {
    shut: Arc<AtomicBool>,
}

impl Gate {
    /// Cuts the socket off, or lets it through again.
    pub fn set_shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Release);
    }

    /// Whether the socket is cut off.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// The socket behind this gate.
    pub(super) fn before(self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Gated { gate: self, socket })
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_shut() { "Gate(shut)" } else { "Gate(open)" })
    }
}

#[derive(Debug)]
struct Gated {
    gate: Gate,
    socket: Arc<dyn AsyncUdpSocket>,
}

impl AsyncUdpSocket for Gated {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.gate.is_shut() { Ok(()) } else { self.socket.try_send(transmit) }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // What arrives at a shut gate is taken from the system and forgotten, so the loop ends when nothing is left.
        loop {
            let received = ready!(self.socket.poll_recv(cx, bufs, meta));
            if received.is_err() || !self.gate.is_shut() {
                return Poll::Ready(received);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

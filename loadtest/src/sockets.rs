//! UDP sockets with large kernel buffers. Invariant: a socket is usable even where the kernel grants less than asked.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Kernel buffer asked for per direction, in bytes. Bursts of a congestion window must fit or the tool itself loses
/// packets and blames the network.
const BUFFER_BYTES: usize = 4 << 20;

/// Binds a non-blocking UDP socket; the kernel may grant smaller buffers than [`BUFFER_BYTES`].
pub(crate) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if let Err(error) =
        socket.set_recv_buffer_size(BUFFER_BYTES).and_then(|()| socket.set_send_buffer_size(BUFFER_BYTES))
    {
        tracing::debug!(%error, "kernel refused larger UDP buffers");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The unspecified address of the same family as `peer`, port chosen by the kernel.
pub(crate) fn any_for(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

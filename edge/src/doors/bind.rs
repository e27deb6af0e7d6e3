//! Sockets for doors. Invariant: an encrypted door's TCP and UDP sockets have the same address and port.

use super::config::{DoorError, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;
/// A burst of one round trip at gigabit speed; the kernel may grant less.
const UDP_BUFFER: usize = 4 * 1024 * 1024;
const PAIR_ATTEMPTS: usize = 16;

/// Listens on TCP. Needs a Tokio runtime.
pub(super) fn tcp(address: SocketAddr) -> Result<TcpListener, DoorError> {
    listen(address).map_err(|error| DoorError::listen(address, Transport::Tcp, error))
}

/// Listens on TCP and UDP at the same port. Needs a Tokio runtime.
pub(super) fn pair(address: SocketAddr) -> Result<(TcpListener, std::net::UdpSocket), DoorError> {
    let mut attempts = 1;
    loop {
        let listener = tcp(address)?;
        let bound = listener.local_addr().map_err(|error| DoorError::listen(address, Transport::Tcp, error))?;
        match datagrams(bound) {
            Ok(socket) => return Ok((listener, socket)),
            // The kernel chose a TCP port whose UDP twin is taken: let it choose another.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && attempts < PAIR_ATTEMPTS =>
            {
                attempts += 1;
            }
            Err(error) => return Err(DoorError::listen(bound, Transport::Udp, error)),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old process's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    prepare(&socket, address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn datagrams(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for outcome in [socket.set_recv_buffer_size(UDP_BUFFER), socket.set_send_buffer_size(UDP_BUFFER)] {
        if let Err(error) = outcome {
            tracing::debug!(%address, %error, "udp buffer not enlarged");
        }
    }
    prepare(&socket, address)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pair_shares_its_port_and_a_busy_port_is_told_apart() {
        let (listener, socket) = pair("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = listener.local_addr().unwrap();
        assert_eq!(taken, socket.local_addr().unwrap());
        assert!(matches!(tcp(taken), Err(DoorError::Busy { address, transport: Transport::Tcp }) if address == taken));
        drop(listener);
        assert!(matches!(pair(taken), Err(DoorError::Busy { address, transport: Transport::Udp }) if address == taken));
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_unavailable() {
        let foreign = "192.0.2.1:0".parse().unwrap();
        assert!(matches!(tcp(foreign), Err(DoorError::Unavailable { .. })));
    }
}

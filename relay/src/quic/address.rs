//! Translation between socket addresses and QUIC multiaddresses.
//!
//! Invariant: addresses inside this module are canonical: an IPv4 peer seen through a dual-stack socket is IPv4, never
//! `::ffff:a.b.c.d`, so that one peer has one address whatever the socket is.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The multiaddress `/ip4|ip6/…/udp/…/quic-v1` of a socket address.
pub fn multiaddr_of(address: SocketAddr) -> Multiaddr {
    let address = canonical(address);
    Multiaddr::empty().with(Protocol::from(address.ip())).with(Protocol::Udp(address.port())).with(Protocol::QuicV1)
}

/// Reads `/ip4|ip6/…/udp/…/quic-v1[/p2p/…]`. `None` for everything else: names are resolved before, circuits belong to
/// another transport.
pub fn socket_addr_of(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else {
        return None;
    };
    let Protocol::QuicV1 = parts.next()? else { return None };
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    parts.next().is_none().then_some((canonical(SocketAddr::new(ip, port)), peer))
}

pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        // Flow label and scope of a true IPv6 address are kept.
        IpAddr::V6(_) => address,
        v4 => SocketAddr::new(v4, address.port()),
    }
}

/// Whether a socket bound to `bound` is dual-stack.
pub(super) fn is_dual_stack(bound: SocketAddr) -> bool {
    bound.is_ipv6() && bound.ip().is_unspecified()
}

/// Whether a socket bound to `bound` can send to the family of `ip`.
pub(super) fn same_family(bound: SocketAddr, ip: IpAddr) -> bool {
    bound.is_ipv4() == ip.is_ipv4() || (ip.is_ipv4() && is_dual_stack(bound))
}

/// Whether a connection from `bound` to `remote` makes sense at all.
pub(super) fn reachable(bound: SocketAddr, remote: SocketAddr) -> bool {
    remote.port() != 0 && !remote.ip().is_unspecified() && same_family(bound, remote.ip())
}

/// The form in which the kernel wants `remote` on a socket bound to `bound`.
pub(super) fn for_sending(bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(v4) if bound.is_ipv6() => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
        other => other,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(SocketAddr, Option<PeerId>)> {
        socket_addr_of(&text.parse().unwrap())
    }

    #[test]
    fn both_families_there_and_back() {
        for text in ["127.0.0.1:4001", "[2001:db8::1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(socket_addr_of(&multiaddr_of(address)), Some((address, None)));
        }
    }

    #[test]
    fn peer_is_read() {
        let peer = PeerId::random();
        assert_eq!(
            parse(&format!("/ip4/192.0.2.7/udp/9/quic-v1/p2p/{peer}")),
            Some(("192.0.2.7:9".parse().unwrap(), Some(peer)))
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let peer = PeerId::random();
        for text in [
            "/ip4/192.0.2.7".to_owned(),
            "/ip4/192.0.2.7/tcp/9".to_owned(),
            "/ip4/192.0.2.7/udp/9".to_owned(),
            "/ip4/192.0.2.7/udp/9/quic".to_owned(),
            "/dns4/example.org/udp/9/quic-v1".to_owned(),
            "/ip4/192.0.2.7/udp/9/quic-v1/webtransport".to_owned(),
            format!("/ip4/192.0.2.7/udp/9/quic-v1/p2p/{peer}/p2p-circuit"),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[test]
    fn mapped_addresses_become_ipv4_and_go_back_for_a_dual_stack_socket() {
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:9".parse().unwrap();
        let plain: SocketAddr = "192.0.2.7:9".parse().unwrap();
        assert_eq!(multiaddr_of(mapped), multiaddr_of(plain));
        assert_eq!(for_sending("[::]:1".parse().unwrap(), plain), mapped);
        assert_eq!(for_sending("0.0.0.0:1".parse().unwrap(), plain), plain);
    }

    #[test]
    fn families() {
        let (v4, v6): (SocketAddr, SocketAddr) = ("192.0.2.7:9".parse().unwrap(), "[2001:db8::1]:9".parse().unwrap());
        for (bound, reaches_v4, reaches_v6) in
            [("[::]:1", true, true), ("0.0.0.0:1", true, false), ("[::1]:1", false, true), ("127.0.0.1:1", true, false)]
        {
            let bound = bound.parse().unwrap();
            assert_eq!((reachable(bound, v4), reachable(bound, v6)), (reaches_v4, reaches_v6), "{bound}");
        }
        assert!(!reachable("[::]:1".parse().unwrap(), "0.0.0.0:9".parse().unwrap()));
        assert!(!reachable("[::]:1".parse().unwrap(), "192.0.2.7:0".parse().unwrap()));
    }
}

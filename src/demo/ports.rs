//! Which ports the demo takes. Invariant: a port that is in use is never a reason to fail: that role gets a free one, the
//! same on all three relays where the system has their addresses.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// The names of the relays.
pub(super) const RELAYS: [&str; 3] = ["a", "b", "c"];
/// Usual port of the embedded origin.
pub(super) const ORIGIN: u16 = 7000;
/// Usual port of the player page.
pub(super) const PAGE: u16 = 7080;

const ADAPTER_PEER: Role = Role { usual: 7081, tcp: false, udp: true };
const ADAPTER_HTTP: Role = Role { usual: 7082, tcp: true, udp: false };
const ADAPTER_ADMIN: Role = Role { usual: 7091, tcp: true, udp: false };
const RELAY_HTTP: Role = Role { usual: 7480, tcp: true, udp: false };
const RELAY_TLS: Role = Role { usual: 7443, tcp: true, udp: true };
const RELAY_PEER: Role = Role { usual: 7444, tcp: false, udp: true };
const RELAY_ADMIN: Role = Role { usual: 7090, tcp: true, udp: false };

/// How far apart the relays' usual ports are where they share one address.
const STEP: u16 = 10;
/// How many free ports of one address are tried on the others.
const ATTEMPTS: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Role {
    usual: u16,
    tcp: bool,
    udp: bool,
}

/// Where one relay listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct RelayPlaces {
    pub(super) http: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Where the child processes listen.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    pub(super) adapter_http: SocketAddr,
    pub(super) adapter_peer: SocketAddr,
    pub(super) adapter_admin: SocketAddr,
    pub(super) relays: [RelayPlaces; RELAYS.len()],
    /// Usual ports of the adapter, and of the relays, that were in use.
    pub(super) adapter_busy: Vec<u16>,
    pub(super) relays_busy: Vec<u16>,
}

/// Chooses ports. Nothing is held afterwards, so another program may still be faster.
///
/// # Errors
/// When the system gives out no free ports on loopback.
pub(super) fn plan(usual: bool) -> Result<Ports> {
    let relays = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    // Linux has all of 127.0.0.0/8; other systems have one address unless they were told otherwise.
    let distinct = relays.iter().all(|ip| TcpListener::bind((*ip, 0)).is_ok());
    plan_on(if distinct { relays } else { [Ipv4Addr::LOCALHOST; 3] }, usual)
}

fn plan_on(ips: [Ipv4Addr; 3], usual: bool) -> Result<Ports> {
    let mut adapter = Picker { usual, taken: Vec::new(), busy: Vec::new() };
    let mut on_localhost = |role| {
        let port = adapter.pick(&[Ipv4Addr::LOCALHOST], role)?;
        Ok::<_, Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let (adapter_peer, adapter_http) = (on_localhost(ADAPTER_PEER)?, on_localhost(ADAPTER_HTTP)?);
    let adapter_admin = on_localhost(ADAPTER_ADMIN)?;
    let adapter_busy = std::mem::take(&mut adapter.busy);
    let roles = [RELAY_HTTP, RELAY_TLS, RELAY_PEER, RELAY_ADMIN];
    let mut ports = [[0; 4]; 3];
    if ips[0] == ips[1] {
        for (shift, row) in (0..).step_by(usize::from(STEP)).zip(&mut ports) {
            for (port, role) in row.iter_mut().zip(roles) {
                *port = adapter.pick(&ips[..1], Role { usual: role.usual + shift, ..role })?;
            }
        }
    } else {
        for (column, role) in roles.into_iter().enumerate() {
            let port = adapter.pick(&ips, role)?;
            ports.iter_mut().for_each(|row| row[column] = port);
        }
    }
    let at = |relay: usize, column: usize| SocketAddr::new(IpAddr::V4(ips[relay]), ports[relay][column]);
    let relays = [0, 1, 2].map(|relay| RelayPlaces {
        http: at(relay, 0),
        tls: at(relay, 1),
        peer: at(relay, 2),
        admin: at(relay, 3),
    });
    Ok(Ports { adapter_http, adapter_peer, adapter_admin, relays, adapter_busy, relays_busy: adapter.busy })
}

struct Picker {
    usual: bool,
    taken: Vec<u16>,
    busy: Vec<u16>,
}

impl Picker {
    /// The usual port if it is free on all addresses, or else any that is.
    fn pick(&mut self, ips: &[Ipv4Addr], role: Role) -> Result<u16> {
        let port = if self.usual && is_free(ips, role, role.usual) {
            role.usual
        } else {
            if self.usual {
                self.busy.push(role.usual);
            }
            self.any(ips, role)?
        };
        self.taken.push(port);
        Ok(port)
    }

    fn any(&self, ips: &[Ipv4Addr], role: Role) -> Result<u16> {
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((ips[0], 0))?.local_addr()?.port();
            if !self.taken.contains(&port) && is_free(ips, role, port) {
                return Ok(port);
            }
        }
        Err(Error::new(ErrorKind::AddrInUse, "no port is free on all loopback addresses"))
    }
}

fn is_free(ips: &[Ipv4Addr], role: Role, port: u16) -> bool {
    ips.iter().all(|ip| {
        (!role.tcp || TcpListener::bind((*ip, port)).is_ok()) && (!role.udp || UdpSocket::bind((*ip, port)).is_ok())
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn all(ports: &Ports) -> Vec<SocketAddr> {
        let relays = ports.relays.iter().flat_map(|relay| [relay.http, relay.tls, relay.peer, relay.admin]);
        [ports.adapter_http, ports.adapter_peer, ports.adapter_admin].into_iter().chain(relays).collect()
    }

    #[test]
    fn relays_share_numbers_on_different_addresses() {
        let ports = plan(false).unwrap();
        assert_eq!(all(&ports).iter().collect::<HashSet<_>>().len(), 15, "{ports:?}");
        let [a, b, c] = ports.relays;
        if a.http.ip() != b.http.ip() {
            assert!([b, c].iter().all(|other| other.http.port() == a.http.port() && other.tls.port() == a.tls.port()));
        }
        assert!(ports.adapter_busy.is_empty() && ports.relays_busy.is_empty(), "nothing usual was asked for");
    }

    #[test]
    fn relays_on_one_address_have_different_numbers() {
        let ports = plan_on([Ipv4Addr::LOCALHOST; 3], false).unwrap();
        assert_eq!(all(&ports).iter().collect::<HashSet<_>>().len(), 15, "{ports:?}");
        assert!(all(&ports).iter().all(|address| address.ip() == Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn a_busy_port_is_replaced_on_every_address() {
        let three = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
        // Not every system has the other addresses.
        let Ok(holder) = UdpSocket::bind((three[2], 0)) else {
            return;
        };
        let busy = holder.local_addr().unwrap().port();
        let mut picker = Picker { usual: true, taken: Vec::new(), busy: Vec::new() };
        let found = picker.pick(&three, Role { usual: busy, tcp: true, udp: true }).unwrap();
        assert_ne!(found, busy);
        assert_eq!((picker.busy, picker.taken), (vec![busy], vec![found]));
    }
}

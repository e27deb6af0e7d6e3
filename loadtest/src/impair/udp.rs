//! UDP: one flow for each client address, with an upstream socket of its own so that the server can tell them apart.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::counters::count;
use super::link::{LinkModel, Verdict};
use super::shared::{Shared, Way};
use super::timer::{Job, Timer, send};
use crate::sockets;

/// A socket, received from by the runtime and sent to without it.
pub(super) struct Port {
    receive: UdpSocket,
    send: Arc<std::net::UdpSocket>,
}

impl Port {
    /// Takes a non-blocking socket.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let send = Arc::new(socket.try_clone()?);
        Ok(Self { receive: UdpSocket::from_std(socket)?, send })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.receive.local_addr()
    }
}

/// The largest UDP payload.
const DATAGRAM: usize = 65_535;

/// Reads what clients send until the proxy is cancelled; owns the flows.
pub(super) async fn run(listen: Port, shared: Arc<Shared>, timer: Timer) {
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut replies = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    let started = Instant::now();
    loop {
        tokio::select! {
            // An ended flow is forgotten before its client's next datagram is looked at.
            biased;
            () = shared.cancel.cancelled() => break,
            Some(ended) = replies.join_next() => match ended {
                Ok(client) => drop(flows.remove(&client)),
                Err(error) => tracing::error!(%error, "a flow ended early"),
            },
            received = listen.receive.recv_from(&mut buffer) => {
                let (length, client) = match received {
                    Ok(received) => received,
                    Err(error) => {
                        tracing::debug!(%error, "a datagram was not received");
                        continue;
                    }
                };
                if !flows.contains_key(&client) {
                    match open(client, &listen.send, &shared, flows.len(), started) {
                        Ok((flow, back)) => {
                            replies.spawn(back.run(Arc::clone(&shared), timer.clone()));
                            flows.insert(client, flow);
                        }
                        Err(error) => {
                            tracing::debug!(%client, %error, "flow refused");
                            count(&shared.counters.refused);
                            continue;
                        }
                    }
                }
                if let Some(flow) = flows.get_mut(&client) {
                    touch(&flow.activity, started);
                    flow.model.set(shared.link(Way::Up));
                    let verdict = flow.model.datagram(Instant::now(), length);
                    forward(&shared, &timer, verdict, Way::Up, &flow.send, None, &buffer[..length]);
                }
            }
        }
    }
    while replies.join_next().await.is_some() {}
}

/// Opens the two ways of a new client's flow.
fn open(
    client: SocketAddr,
    listen: &Arc<std::net::UdpSocket>,
    shared: &Shared,
    open: usize,
    started: Instant,
) -> io::Result<(Flow, Back)> {
    if open >= shared.config.max_flows {
        return Err(io::Error::other("too many flows"));
    }
    let upstream = sockets::udp(sockets::any_for(shared.config.to))?;
    upstream.connect(shared.config.to)?;
    let Port { receive, send } = Port::new(upstream)?;
    let index = shared.counters.flows.fetch_add(1, Ordering::Relaxed);
    let activity = Arc::new(AtomicU64::new(0));
    touch(&activity, started);
    let flow = Flow { send, activity: Arc::clone(&activity), model: shared.model(Way::Up, index) };
    let model = shared.model(Way::Down, index);
    Ok((flow, Back { client, listen: Arc::clone(listen), upstream: receive, activity, started, model }))
}

/// The way to the server of one flow.
struct Flow {
    send: Arc<std::net::UdpSocket>,
    /// When a datagram last passed, in milliseconds since the proxy started.
    activity: Arc<AtomicU64>,
    model: LinkModel<Xoshiro256PlusPlus>,
}

/// The way back of one flow.
struct Back {
    client: SocketAddr,
    listen: Arc<std::net::UdpSocket>,
    upstream: UdpSocket,
    activity: Arc<AtomicU64>,
    started: Instant,
    model: LinkModel<Xoshiro256PlusPlus>,
}

impl Back {
    /// Carries replies until the flow idles or the proxy is cancelled, and says whose flow it was.
    async fn run(mut self, shared: Arc<Shared>, timer: Timer) -> SocketAddr {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let last = std::time::Duration::from_millis(self.activity.load(Ordering::Relaxed));
            let expiry = self.started + last + shared.config.flow_idle;
            tokio::select! {
                () = shared.cancel.cancelled() => return self.client,
                () = sleep_until(expiry.into()) => {
                    if last.as_millis() == u128::from(self.activity.load(Ordering::Relaxed)) {
                        return self.client;
                    }
                }
                received = self.upstream.recv(&mut buffer) => match received {
                    Ok(length) => {
                        touch(&self.activity, self.started);
                        self.model.set(shared.link(Way::Down));
                        let verdict = self.model.datagram(Instant::now(), length);
                        let to = Some(self.client);
                        forward(&shared, &timer, verdict, Way::Down, &self.listen, to, &buffer[..length]);
                    }
                    // The server's port is closed for now. Clients of UDP learn nothing of it and try again.
                    Err(error) => tracing::debug!(%error, "nobody receives"),
                },
            }
        }
    }
}

fn touch(activity: &AtomicU64, started: Instant) {
    activity.store(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn forward(
    shared: &Shared,
    timer: &Timer,
    verdict: Verdict,
    way: Way,
    socket: &Arc<std::net::UdpSocket>,
    to: Option<SocketAddr>,
    datagram: &[u8],
) {
    match verdict {
        _ if shared.is_cut() => count(&shared.counters(way).lost),
        Verdict::Drop => count(&shared.counters(way).lost),
        Verdict::Overflow => count(&shared.counters(way).overflowed),
        // Without a delay there is no queue to be overtaken in.
        Verdict::DeliverAt(deadline) if deadline <= Instant::now() => send(shared, way, socket, to, datagram),
        Verdict::DeliverAt(deadline) => {
            let datagram = Bytes::copy_from_slice(datagram);
            if timer.at(deadline, Job::Send { way, socket: Arc::clone(socket), to, datagram }).is_err() {
                count(&shared.counters(way).overflowed);
            }
        }
    }
}

//! Connections that viewers share: for each host, version of HTTP and group of viewers one, replaced when it breaks.
//!
//! Invariants: there are never more groups than viewers, nor more hosts than [`MAX_HOSTS`]; a connection on which somebody
//! waited too long gets no new requests, but those under way may end.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::client::{Client, Config, Connection, Error, Protocol, Requester, Timeouts, Trust};

/// Most hosts: a steering list may name any number.
const MAX_HOSTS: usize = 512;
/// Connections of one line that are still read from after they were replaced.
const MAX_RETIRED: usize = 2;

/// Opens and keeps connections.
#[derive(Debug)]
pub(crate) struct Pool {
    trust: Trust,
    timeouts: Timeouts,
    connect: Option<SocketAddr>,
    /// Where connections to a host go instead, by host and port.
    detours: BTreeMap<SocketAddr, SocketAddr>,
    clients: StdMutex<HashMap<(Protocol, Option<SocketAddr>), Client>>,
    lines: StdMutex<HashMap<Key, Arc<Line>>>,
}

type Key = (String, Protocol, u32);

/// A connection that is there for a group of viewers.
#[derive(Debug, Default)]
pub(crate) struct Line {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Counts connections, so that of several viewers that saw one break only the first replaces it.
    generation: u64,
    connection: Option<Connection>,
    retired: Vec<Connection>,
}

/// A way to send a request.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) line: Arc<Line>,
    pub(crate) generation: u64,
    pub(crate) requester: Requester,
    /// What the handshake took, when there was one.
    pub(crate) connected: Option<Duration>,
}

impl Pool {
    pub(crate) fn new(
        trust: Trust,
        timeouts: Timeouts,
        connect: Option<SocketAddr>,
        detours: BTreeMap<SocketAddr, SocketAddr>,
    ) -> Self {
        Self { trust, timeouts, connect, detours, clients: StdMutex::default(), lines: StdMutex::default() }
    }

    /// The connection of a group of viewers to the URL's host, opened if need be.
    pub(crate) async fn way(&self, url: &Url, protocol: Protocol, group: u32) -> Result<Way, Error> {
        let host = format!("{}://{}", url.scheme(), authority(url));
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if !lines.keys().any(|(known, ..)| *known == host) && distinct(&lines) >= MAX_HOSTS {
                return Err(Error::Url(format!("{url}: more than {MAX_HOSTS} hosts")));
            }
            Arc::clone(lines.entry((host, protocol, group)).or_default())
        };
        let mut open = line.open.lock().await;
        if let Some(connection) = open.connection.take_if(|connection| connection.is_closed()) {
            connection.close().await;
        }
        let mut connected = None;
        if open.connection.is_none() {
            let started = Instant::now();
            let client = self.client(url, protocol)?;
            open.connection = Some(client.connect(url).await?);
            open.generation += 1;
            connected = Some(started.elapsed());
        }
        let requester = open.connection.as_ref().map(Connection::requester).ok_or(Error::Closed)?;
        let generation = open.generation;
        drop(open);
        Ok(Way { line, generation, requester, connected })
    }

    fn client(&self, url: &Url, protocol: Protocol) -> Result<Client, Error> {
        let named = url.socket_addrs(|| None).ok().filter(|_| !self.detours.is_empty());
        let detour = named.iter().flatten().find_map(|address| self.detours.get(address)).copied();
        let connect = detour.or(self.connect);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(protocol, connect)) {
            return Ok(client.clone());
        }
        let client = Client::new(Config { protocol, trust: self.trust.clone(), connect, timeouts: self.timeouts })?;
        clients.insert((protocol, connect), client.clone());
        Ok(client)
    }

    /// Closes everything.
    pub(crate) async fn close(&self) {
        let lines: Vec<Arc<Line>> =
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, line)| line).collect();
        join_all(lines.iter().map(|line| line.close())).await;
    }
}

fn distinct(lines: &HashMap<Key, Arc<Line>>) -> usize {
    let mut hosts: Vec<&str> = lines.keys().map(|(host, ..)| host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.len()
}

impl Line {
    /// Gives up a connection that broke or hangs, unless another viewer already has.
    pub(crate) async fn retire(&self, generation: u64) {
        let mut open = self.open.lock().await;
        if open.generation != generation {
            return;
        }
        let Some(connection) = open.connection.take() else { return };
        let ended: Vec<Connection> = open.retired.extract_if(.., |one| one.is_closed()).collect();
        for one in ended {
            one.close().await;
        }
        if open.retired.len() >= MAX_RETIRED {
            open.retired.remove(0).close().await;
        }
        open.retired.push(connection);
    }

    async fn close(&self) {
        let mut open = self.open.lock().await;
        let all: Vec<Connection> = open.connection.take().into_iter().chain(open.retired.drain(..)).collect();
        drop(open);
        join_all(all.into_iter().map(Connection::close)).await;
    }
}

/// Host and port, the port also where it is the scheme's own.
pub(crate) fn authority(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

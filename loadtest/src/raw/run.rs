//! The closed loop itself: who sends when, on which connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderMap;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::config::Config;
use super::cpu::{CpuError, ServerCpu, Ticks};
use super::report::{Report, Tally};
use super::single::Single;
use crate::client::{self, Client, Connection, Get, Protocol, Requester};

/// Why a run could not start or end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The numbers make no run.
    #[error("{0}")]
    Usage(&'static str),
    /// The client cannot be made.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// A server process cannot be measured.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A thread's runtime cannot be made.
    #[error("no runtime for a thread of the run: {0}")]
    Thread(std::io::Error),
    /// A task of the run panicked.
    #[error("a task of the run ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Makes the requests on the runtime that it is called on, and reports; on cancellation reports what was done until then.
///
/// # Errors
/// See [`RunError`]. Failed requests are no error of the run: [`Report::is_clean`] tells.
pub async fn run(config: &Config, cancel: CancellationToken) -> Result<Report, RunError> {
    measured(config, |client, tickets| async move {
        Work { client, tickets, cancel, connections: config.connections }.run(config).await
    })
    .await
}

/// The same, on so many threads, each with a runtime and its share of the connections. Nothing moves between threads then,
/// which costs the client less, so that it is the server that is measured.
///
/// # Errors
/// See [`run`].
pub async fn run_on_threads(config: &Config, threads: u32, cancel: CancellationToken) -> Result<Report, RunError> {
    let threads = threads.clamp(1, config.connections.max(1));
    measured(config, |client, tickets| async move {
        let mut running = JoinSet::new();
        for index in 0..threads {
            // The first threads take what does not divide.
            let connections = config.connections / threads + u32::from(index < config.connections % threads);
            let (client, tickets, cancel) = (client.clone(), Arc::clone(&tickets), cancel.clone());
            let (config, work) = (config.clone(), Work { client, tickets, cancel, connections });
            running.spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(linger).build();
                runtime.map_err(RunError::Thread)?.block_on(work.run(&config))
            });
        }
        let mut tally = Tally::new();
        while let Some(one) = running.join_next().await {
            tally.add(&one??);
        }
        Ok(tally)
    })
    .await
}

/// Before a thread sleeps, since nothing is to be read: more comes within this time, most likely. To wake a thread for every
/// piece of a body costs the sender, and on the same machine it would be the server that seems slower.
const LINGER: Duration = Duration::from_micros(30);

fn linger() {
    let until = std::time::Instant::now() + LINGER;
    while std::time::Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Checks the numbers and measures what surrounds the work: time and the servers' CPU.
async fn measured<F>(config: &Config, work: impl FnOnce(Client, Arc<AtomicU64>) -> F) -> Result<Report, RunError>
where
    F: Future<Output = Result<Tally, RunError>>,
{
    if config.connections == 0 || config.streams == 0 || config.requests == 0 {
        return Err(RunError::Usage("connections, streams and requests must each be at least 1"));
    }
    if config.client.protocol == Protocol::H1 && config.streams > 1 {
        return Err(RunError::Usage("HTTP/1.1 carries one request at a time: streams must be 1"));
    }
    let client = Client::new(config.client.clone())?;
    let before = Ticks::read(&config.server_pids)?;
    let started = Instant::now();
    let tally = work(client, Arc::new(AtomicU64::new(config.requests))).await?;
    let wall = started.elapsed();
    let server_cpu = match Ticks::read(&config.server_pids) {
        _ if config.server_pids.is_empty() => None,
        Ok(after) => {
            let requests = tally.status.values().sum();
            Some(ServerCpu::between(&config.server_pids, before, after, tally.body_bytes, requests))
        }
        Err(error) => {
            tracing::warn!(%error, "no CPU figures");
            None
        }
    };
    Ok(Report::new(config, &tally, wall, server_cpu))
}

/// Takes one of the requests that are left to be made.
pub(super) fn take(tickets: &AtomicU64) -> bool {
    tickets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// The work of one runtime.
struct Work {
    client: Client,
    tickets: Arc<AtomicU64>,
    cancel: CancellationToken,
    connections: u32,
}

impl Work {
    async fn run(self, config: &Config) -> Result<Tally, RunError> {
        let mut tasks = JoinSet::new();
        let mut lines = Vec::new();
        for _ in 0..self.connections {
            if config.streams == 1 {
                let (client, url) = (self.client.clone(), config.url.clone());
                let (tickets, cancel) = (Arc::clone(&self.tickets), self.cancel.clone());
                tasks.spawn(async move {
                    let (mut line, mut tally) = (Single::new(client, url), Tally::new());
                    // A request cut off by the end of the run is neither success nor failure.
                    let _ = cancel.run_until_cancelled(line.work(&tickets, &mut tally)).await;
                    line.close().await;
                    tally
                });
                continue;
            }
            let line = Arc::new(Line { client: self.client.clone(), url: config.url.clone(), open: Mutex::default() });
            for _ in 0..config.streams {
                let (line, tickets, cancel) = (Arc::clone(&line), Arc::clone(&self.tickets), self.cancel.clone());
                tasks.spawn(async move {
                    let mut tally = Tally::new();
                    // A request cut off by the end of the run is neither success nor failure.
                    let _ = cancel.run_until_cancelled(line.work(&tickets, &mut tally)).await;
                    tally
                });
            }
            lines.push(line);
        }
        let mut tally = Tally::new();
        while let Some(one) = tasks.join_next().await {
            tally.add(&one?);
        }
        join_all(lines.iter().map(|line| line.close())).await;
        Ok(tally)
    }
}

/// One of the connections that several requests share, and its successors when it breaks.
struct Line {
    client: Client,
    url: Url,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Counts connections, so that of several streams that saw one break only the first replaces it.
    generation: u64,
    connection: Option<Connection>,
}

impl Line {
    async fn work(&self, tickets: &AtomicU64, tally: &mut Tally) {
        let headers = HeaderMap::new();
        let get = Get { url: &self.url, headers: &headers, max_body: u64::MAX };
        let mut current: Option<(u64, Requester)> = None;
        while take(tickets) {
            let mut received = 0;
            let outcome = self.request(&get, &mut current, tally, &mut received).await;
            tally.count(outcome, received);
        }
    }

    async fn request(
        &self,
        get: &Get<'_>,
        current: &mut Option<(u64, Requester)>,
        tally: &mut Tally,
        received: &mut u64,
    ) -> Result<client::Exchange, client::Error> {
        let mut sink = |chunk: bytes::Bytes| *received += chunk.len() as u64;
        if let Some((generation, requester)) = current.take() {
            match requester.get(get, &mut sink).await {
                Ok(exchange) => {
                    *current = Some((generation, requester));
                    return Ok(exchange);
                }
                // Servers may close a connection between two requests; nothing was sent, so nothing failed.
                Err(client::Error::Closed) => self.discard(generation).await,
                Err(error) => {
                    self.after(&error, generation).await;
                    return Err(error);
                }
            }
        }
        let (generation, requester) = self.connected(tally).await?;
        let outcome = requester.get(get, &mut sink).await;
        match &outcome {
            Ok(_) => *current = Some((generation, requester)),
            Err(error) => self.after(error, generation).await,
        }
        outcome
    }

    /// After a failed request: the connection survives the failure of one stream, but not a silence, which
    /// the other streams would only meet one by one.
    async fn after(&self, error: &client::Error, generation: u64) {
        if matches!(error, client::Error::Closed | client::Error::Timeout(_)) {
            self.discard(generation).await;
        }
    }

    /// The open connection, or a new one.
    async fn connected(&self, tally: &mut Tally) -> Result<(u64, Requester), client::Error> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.connection.take_if(|connection| connection.is_closed()) {
            connection.close().await;
        }
        if open.connection.is_none() {
            let started = Instant::now();
            let connection = self.client.connect(&self.url).await?;
            tally.handshakes.record(started.elapsed());
            open.generation += 1;
            open.connection = Some(connection);
        }
        let requester = open.connection.as_ref().map(Connection::requester).ok_or(client::Error::Closed)?;
        Ok((open.generation, requester))
    }

    async fn close(&self) {
        if let Some(connection) = self.open.lock().await.connection.take() {
            connection.close().await;
        }
    }

    /// Gives up a connection that broke, unless another stream already has.
    async fn discard(&self, generation: u64) {
        let mut open = self.open.lock().await;
        if open.generation == generation
            && let Some(connection) = open.connection.take()
        {
            connection.close().await;
        }
    }
}

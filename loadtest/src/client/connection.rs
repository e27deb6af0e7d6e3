//! One open connection: the tasks that drive it, and the handles that send requests on it.
//!
//! Invariant: the tasks end with the [`Connection`]; [`Connection::close`] waits for them, dropping aborts them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::config::Timeouts;
use super::error::{Error, Stage};
use super::exchange::{Exchange, Get, Intake, request};
use super::http3;
use super::protocol::Protocol;

/// Longest wait for a connection's tasks after it was closed.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The tasks that hyper asks for beside the driver. They end when this is cancelled.
#[derive(Debug, Clone, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let cancel = self.cancel.clone();
        self.tracker.spawn(async move {
            cancel.run_until_cancelled(future).await;
        });
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    requester: Requester,
    driver: AbortOnDropHandle<()>,
    tasks: TaskTracker,
    cancel: DropGuard,
    quic: Option<http3::Transport>,
}

impl Connection {
    pub(super) fn new(
        sender: Sender,
        timeouts: Timeouts,
        driver: JoinHandle<()>,
        tasks: Tasks,
        quic: Option<http3::Transport>,
    ) -> Self {
        let Tasks { tracker, cancel } = tasks;
        Self {
            requester: Requester { sender, timeouts },
            driver: AbortOnDropHandle::new(driver),
            tasks: tracker,
            cancel: cancel.drop_guard(),
            quic,
        }
    }

    /// A handle that sends requests on this connection. Over HTTP/2 and 3 several handles run side by side; over
    /// HTTP/1.1 they take turns.
    pub fn requester(&self) -> Requester {
        self.requester.clone()
    }

    /// Whether the connection has ended, so that no further request can be sent.
    pub fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }

    /// Closes the connection and waits, at most two seconds, for its tasks.
    pub async fn close(self) {
        let Self { requester, driver, tasks, cancel, quic } = self;
        drop(requester);
        tasks.close();
        match quic {
            Some(transport) => transport.close(CLOSE_WAIT).await,
            // Nothing is left to send: the tasks would otherwise wait for a peer that may never close.
            None => {
                driver.abort();
                drop(cancel);
            }
        }
        if timeout(CLOSE_WAIT, async { (driver.await, tasks.wait().await) }).await.is_err() {
            tracing::debug!("a connection's tasks outlived its close");
        }
    }
}

/// Sends requests on a connection.
#[derive(Debug, Clone)]
pub struct Requester {
    sender: Sender,
    timeouts: Timeouts,
}

/// The protocol's own handle.
#[derive(Clone)]
pub(super) enum Sender {
    H1(Arc<Mutex<http1::SendRequest<Empty<Bytes>>>>),
    H2(http2::SendRequest<Empty<Bytes>>),
    H3(http3::SendRequest),
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::H1(_) => "H1",
            Self::H2(_) => "H2",
            Self::H3(_) => "H3",
        })
    }
}

impl Requester {
    /// Sends one GET and passes each chunk of the answer's body to `sink`, whatever the status.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection was over before the request went out; [`Error::Broken`],
    /// [`Error::Length`], [`Error::TooLarge`] or [`Error::Timeout`] afterwards, when the connection should not be
    /// used again.
    pub async fn get(&self, get: &Get<'_>, sink: &mut (dyn FnMut(Bytes) + Send)) -> Result<Exchange, Error> {
        let exchange = async {
            match &self.sender {
                Sender::H1(sender) => {
                    let request = request(get, Protocol::H1)?;
                    let mut sender = sender.lock().await;
                    sender.ready().await.map_err(|_| Error::Closed)?;
                    let intake = Intake::new(get.max_body, sink);
                    self.receive(sender.send_request(request), intake).await
                }
                Sender::H2(sender) => {
                    let request = request(get, Protocol::H2)?;
                    let mut sender = sender.clone();
                    sender.ready().await.map_err(|_| Error::Closed)?;
                    let intake = Intake::new(get.max_body, sink);
                    self.receive(sender.send_request(request), intake).await
                }
                Sender::H3(sender) => http3::get(sender.clone(), get, sink, self.timeouts).await,
            }
        };
        timeout(self.timeouts.total, exchange).await.map_err(|_| Error::Timeout(Stage::Total))?
    }

    async fn receive(
        &self,
        response: impl Future<Output = hyper::Result<http::Response<Incoming>>>,
        mut intake: Intake<'_>,
    ) -> Result<Exchange, Error> {
        let response = timeout(self.timeouts.head, response).await.map_err(|_| Error::Timeout(Stage::Head))?;
        let (parts, mut body) = response.map_err(|error| not_answered(&error))?.into_parts();
        intake.head();
        loop {
            let frame = timeout(self.timeouts.body_idle, body.frame()).await;
            match frame.map_err(|_| Error::Timeout(Stage::Body))? {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        intake.chunk(chunk)?;
                    }
                }
                Some(Err(error)) => return Err(Error::broken(&error)),
                None => return intake.end(parts.status, parts.version, parts.headers),
            }
        }
    }
}

/// A request that hyper gave back unsent says nothing about the server.
fn not_answered(error: &hyper::Error) -> Error {
    if error.is_canceled() { Error::Closed } else { Error::broken(error) }
}

//! One open connection: what drives it, and the handles that send requests on it.
//!
//! Invariant: a [`Connection`]'s task ends with it: [`Connection::close`] waits for it, dropping aborts it. An [`Attended`]
//! connection has no task: it moves only while a request on it is waited for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FusedFuture, FutureExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::config::Timeouts;
use super::error::{Error, Stage};
use super::exchange::{Exchange, Get, Intake, Prepared};
use super::patience::Patience;
use super::protocol::Protocol;
use super::{http2, http3};

/// Longest wait for a connection's task after it was closed.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A connection whose handshake is over, and that nobody drives yet.
pub(super) struct Opened {
    pub(super) sender: Sender,
    pub(super) driver: BoxFuture<'static, ()>,
    pub(super) quic: Option<http3::Transport>,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    requester: Requester,
    driver: AbortOnDropHandle<()>,
    quic: Option<http3::Transport>,
}

impl Connection {
    pub(super) fn new(opened: Opened, timeouts: Timeouts) -> Self {
        let Opened { sender, driver, quic } = opened;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Self { requester: Requester { sender, timeouts }, driver, quic }
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

    /// Closes the connection and waits, at most two seconds, for its task.
    pub async fn close(self) {
        let Self { requester, driver, quic } = self;
        drop(requester);
        match quic {
            Some(transport) => transport.close(CLOSE_WAIT).await,
            // Nothing is left to send: the task would otherwise wait for a peer that may never close.
            None => driver.abort(),
        }
        if timeout(CLOSE_WAIT, driver).await.is_err() {
            tracing::debug!("a connection's task outlived its close");
        }
    }
}

/// An open connection for one request at a time, driven by whoever waits for its answer. Nothing goes from task to task,
/// which is most of what a short request costs.
pub struct Attended {
    requester: Requester,
    driver: futures_util::future::Fuse<BoxFuture<'static, ()>>,
    quic: Option<http3::Transport>,
}

impl Attended {
    pub(super) fn new(opened: Opened, timeouts: Timeouts) -> Self {
        let Opened { sender, driver, quic } = opened;
        Self { requester: Requester { sender, timeouts }, driver: driver.fuse(), quic }
    }

    /// Sends one GET, as [`Requester::get`] does.
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, get: &Prepared, sink: &mut (dyn FnMut(Bytes) + Send)) -> Result<Exchange, Error> {
        let Self { requester, driver, .. } = self;
        let mut exchange = pin!(requester.send(get, sink));
        poll_fn(|cx| {
            if let Poll::Ready(done) = exchange.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if !driver.is_terminated() && Pin::new(&mut *driver).poll(cx).is_ready() {
                // What it told before it ended counts, and nothing wakes whoever waits for more.
                return match exchange.as_mut().poll(cx) {
                    Poll::Ready(done) => Poll::Ready(done),
                    Poll::Pending => Poll::Ready(Err(Error::Broken("the connection ended".to_owned()))),
                };
            }
            exchange.as_mut().poll(cx)
        })
        .await
    }

    /// Closes the connection; over QUIC it waits, at most a second, until that is said.
    pub async fn close(self) {
        if let Some(transport) = self.quic {
            transport.close(CLOSE_WAIT).await;
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
    H2(http2::SendRequest),
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
    /// The same, with another longest wait for the response head, for requests that block by design.
    #[must_use]
    pub fn patient(mut self, head: Duration) -> Self {
        self.timeouts.head = head;
        self.timeouts.total = self.timeouts.total.max(head + self.timeouts.body_idle);
        self
    }

    /// Sends one GET and passes each chunk of the answer's body to `sink`, whatever the status.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection was over before the request went out; [`Error::Broken`],
    /// [`Error::Length`], [`Error::TooLarge`] or [`Error::Timeout`] afterwards, when the connection should not be
    /// used again.
    pub async fn get(&self, get: &Get<'_>, sink: &mut (dyn FnMut(Bytes) + Send)) -> Result<Exchange, Error> {
        let protocol = match &self.sender {
            Sender::H1(_) => Protocol::H1,
            Sender::H2(_) => Protocol::H2,
            Sender::H3(_) => Protocol::H3,
        };
        self.send(&get.prepare(protocol)?, sink).await
    }

    async fn send(&self, get: &Prepared, sink: &mut (dyn FnMut(Bytes) + Send)) -> Result<Exchange, Error> {
        let patience = &mut Patience::new(self.timeouts);
        match &self.sender {
            Sender::H1(sender) => over_h1(sender, get, sink, patience).await,
            Sender::H2(sender) => http2::get(sender.clone(), get, sink, patience).await,
            Sender::H3(sender) => http3::get(sender.clone(), get, sink, patience).await,
        }
    }
}

async fn over_h1(
    sender: &Mutex<http1::SendRequest<Empty<Bytes>>>,
    get: &Prepared,
    sink: &mut (dyn FnMut(Bytes) + Send),
    patience: &mut Patience,
) -> Result<Exchange, Error> {
    let request = get.request().map(|()| Empty::new());
    let mut sender = patience.wait(Stage::Total, sender.lock()).await?;
    patience.wait(Stage::Total, sender.ready()).await?.map_err(|_| Error::Closed)?;
    let mut intake = Intake::new(get.max_body, sink);
    let response = patience.wait(Stage::Head, sender.send_request(request)).await?;
    let (parts, mut body): (_, Incoming) = response.map_err(|error| not_answered(&error))?.into_parts();
    intake.head();
    loop {
        match patience.wait(Stage::Body, body.frame()).await? {
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

/// A request that hyper gave back unsent says nothing about the server.
fn not_answered(error: &hyper::Error) -> Error {
    if error.is_canceled() { Error::Closed } else { Error::broken(error) }
}

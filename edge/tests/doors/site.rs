//! The site behind the doors under test, and the doors themselves.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_LENGTH};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    doors::{DoorError, Doors, DoorsConfig, Limits},
    metrics::EdgeMetrics,
    tls::{SelfSigned, TlsHolder, TlsMaterial},
};
use weir_relay::http::{Answer, Body, BodyError, BodySource, Handler, Request, Response};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const PIECE: usize = 64 * 1024;
const PRIORITY: HeaderName = HeaderName::from_static("priority");
pub(crate) const PROTO: HeaderName = HeaderName::from_static("x-proto");

/// `PIECE` bytes that differ from piece to piece.
pub(crate) fn piece(number: usize) -> Bytes {
    static BASE: OnceLock<Bytes> = OnceLock::new();
    let base = BASE.get_or_init(|| (0..PIECE * 2).map(|place| (place % 251) as u8).collect());
    base.slice(number % PIECE..number % PIECE + PIECE)
}

/// Pieces in a big body.
pub(crate) const PIECES: usize = 128;

pub(crate) fn big() -> Vec<u8> {
    (0..PIECES).flat_map(piece).collect()
}

/// Says so when it is dropped.
struct Tell(mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

/// Yields pieces, then waits at a gate or fails.
struct Staged {
    left: VecDeque<Bytes>,
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    rest: VecDeque<Bytes>,
    fails: bool,
    _tell: Tell,
}

impl BodySource for Staged {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(bytes) = self.left.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if let Some(gate) = &mut self.gate {
                std::task::ready!(gate.as_mut().poll(cx));
                self.gate = None;
                self.left.append(&mut self.rest);
                continue;
            }
            return Poll::Ready(self.fails.then(|| Err(BodyError("on purpose".into()))));
        }
    }
}

/// Answers the tests' paths.
pub(crate) struct Site {
    pub(crate) gate: Arc<Notify>,
    events: mpsc::UnboundedSender<&'static str>,
}

impl Site {
    fn staged(&self, left: usize, gated: bool, fails: bool, length: Option<u64>) -> Response {
        let gate = self.gate.clone();
        let source = Staged {
            left: (0..left).map(piece).collect(),
            gate: gated.then(|| Box::pin(async move { gate.notified().await }) as Pin<Box<_>>),
            rest: if gated { (left..2 * left).map(piece).collect() } else { VecDeque::new() },
            fails,
            _tell: Tell(self.events.clone(), "body dropped"),
        };
        let _ = self.events.send("body made");
        Response::new(StatusCode::OK).body(Body::source(source, length))
    }
}

impl Handler for Site {
    fn call(&self, request: Request) -> Answer {
        let proto = HeaderValue::from_static(request.protocol.label());
        let response = match request.uri.path() {
            "/hello" => Response::new(StatusCode::OK).body(Body::full("hello")),
            "/authority" => Response::new(StatusCode::OK).body(Body::full(request.authority.unwrap_or_default())),
            "/way" => Response::new(StatusCode::OK).body(Body::full(
                request.link.map_or("not measured".into(), |link| link.round_trip.as_micros().to_string()),
            )),
            "/big" => Response::new(StatusCode::OK).body(Body::chunks((0..PIECES).map(piece).collect())),
            "/urgent" | "/patient" => {
                let urgency = if request.uri.path() == "/urgent" { "u=1" } else { "u=6" };
                let body = Body::chunks((0..PIECES).map(piece).collect());
                Response::new(StatusCode::OK).with(PRIORITY, HeaderValue::from_static(urgency)).body(body)
            }
            "/head" => Response::new(StatusCode::OK).with(CONTENT_LENGTH, HeaderValue::from(77)),
            "/empty" => Response::new(StatusCode::OK),
            "/cached" => Response::new(StatusCode::NOT_MODIFIED),
            "/streamed" => self.staged(2, false, false, None),
            "/broken" => self.staged(4, false, true, None),
            "/short" => self.staged(4, false, false, Some(1_000_000)),
            "/gated" => self.staged(1, true, false, Some(2 * PIECE as u64)),
            "/late" => {
                return Answer::Pending(Box::pin(async {
                    tokio::task::yield_now().await;
                    Response::new(StatusCode::OK).body(Body::full("late"))
                }));
            }
            "/never" => {
                let tell = Tell(self.events.clone(), "answer dropped");
                let _ = self.events.send("answer awaited");
                return Answer::Pending(Box::pin(async move {
                    let _tell = tell;
                    std::future::pending().await
                }));
            }
            "/echo" => return Answer::Pending(Box::pin(echo(request.body))),
            _ => Response::text(StatusCode::NOT_FOUND, "no"),
        };
        Answer::Ready(response.with(PROTO, proto))
    }
}

async fn echo(mut body: Body) -> Response {
    let mut pieces = VecDeque::new();
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        match piece {
            Ok(piece) => pieces.push_back(piece),
            Err(_) => return Response::text(StatusCode::PAYLOAD_TOO_LARGE, "too much"),
        }
    }
    Response::new(StatusCode::OK).body(Body::chunks(pieces))
}

/// Doors that are open.
pub(crate) struct Open {
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) material: TlsMaterial,
    pub(crate) holder: Arc<TlsHolder>,
    pub(crate) metrics: Arc<EdgeMetrics>,
    pub(crate) gate: Arc<Notify>,
    pub(crate) cancel: CancellationToken,
    events: mpsc::UnboundedReceiver<&'static str>,
    running: JoinHandle<Result<(), DoorError>>,
}

pub(crate) fn material() -> TlsMaterial {
    let dir = tempfile::tempdir().expect("a temporary directory");
    SelfSigned::new(dir.path(), []).load_or_create(SystemTime::now()).expect("a certificate")
}

impl Open {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::at("127.0.0.1:0", limits)
    }

    pub(crate) fn at(address: &str, limits: Limits) -> Self {
        let material = material();
        let holder = TlsHolder::new(&material).expect("a usable certificate");
        let metrics = EdgeMetrics::register(&prometheus::Registry::new(), "0", "0").expect("a fresh registry");
        let loopback: SocketAddr = address.parse().expect("an address");
        let doors = Doors::bind(DoorsConfig {
            tls: vec![loopback],
            plain: vec![loopback],
            certificate: Some(holder.clone()),
            limits,
            metrics: Some(metrics.clone()),
        })
        .expect("free ports");
        let addresses = doors.local_addrs().clone();
        let cancel = CancellationToken::new();
        let gate = Arc::new(Notify::new());
        let (sender, events) = mpsc::unbounded_channel();
        let site = Site { gate: gate.clone(), events: sender };
        let running = tokio::spawn(doors.run(Arc::new(site), cancel.clone()));
        Self {
            tls: addresses.tls[0],
            plain: addresses.plain[0],
            material,
            holder,
            metrics,
            gate,
            cancel,
            events,
            running,
        }
    }

    /// The next thing the site tells.
    pub(crate) async fn event(&mut self) -> &'static str {
        within(self.events.recv()).await.expect("the site lives")
    }

    /// Waits until the doors have drained.
    pub(crate) async fn drained(self) -> Result<(), DoorError> {
        within(self.running).await.expect("no panic")
    }

    /// Drains and expects that to go well.
    pub(crate) async fn close(self) {
        self.cancel.cancel();
        self.drained().await.expect("a clean end");
    }
}

/// Bounds a wait in a test.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

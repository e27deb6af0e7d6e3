//! One request stream. Invariant: the stream ends with FIN only after the whole body; every other way out resets it
//! (the port does so for streams dropped unfinished), and a client that leaves cancels the answer at once.

use super::{
    super::{
        activity::{Activity, RequestGuard},
        exchange::Exchange,
        service::bound,
        urgency::{self, Turns},
    },
    handle::StreamHandle,
    port::{Port, RecvHalf},
};
use bytes::{Buf, Bytes};
use h3::{
    error::{Code, StreamError},
    server::{RequestResolver, RequestStream},
};
use http::{Method, header::CONTENT_LENGTH};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, timeout};
use weir_relay::http::{Answer, Body, BodyError, BodySource, Link, Protocol};

/// DATA frame headers and unknown frames that a request body may bring beside its bytes.
const FRAMING_ALLOWANCE: u64 = 64 * 1024;
/// What a request without a body may still send before its FIN (reserved frames, RFC 9114 section 7.2.8).
const TAIL_ALLOWANCE: u64 = 4 * 1024;
/// How often acknowledgements are looked at while the last of a response is on its way.
const ACKNOWLEDGEMENT_LOOK: Duration = Duration::from_secs(1);

/// A congestion window of this size is where a connection starts (RFC 9002 section 7.2).
const FIRST_WINDOW: u64 = 14_720;

type Receiving = RequestStream<RecvHalf, Bytes>;

/// The connection, and in what order its responses leave.
pub(super) struct Way {
    pub(super) quic: quinn::Connection,
    pub(super) turns: Arc<Turns>,
}

/// Reads one request, has it answered, sends the response, and waits until the client has it.
pub(super) async fn serve(
    resolver: RequestResolver<Port, Bytes>,
    handle: StreamHandle,
    exchange: Arc<Exchange>,
    activity: Arc<Activity>,
    Way { quic, turns }: Way,
) {
    let resolved = timeout(exchange.limits.header_read_timeout, resolver.resolve_request()).await;
    let (request, stream) = match resolved {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => return tracing::debug!(%error, "malformed request"),
        Err(_) => return tracing::debug!("request head too slow"),
    };
    let guard = activity.request();
    let (parts, ()) = request.into_parts();
    let (mut send, recv) = stream.split();
    let head_only = parts.method == Method::HEAD;
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let bodiless = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) && declared.unwrap_or(0) == 0;
    let (body, tail) = if bodiless {
        handle.allow(TAIL_ALLOWANCE);
        (Body::empty(), Some(recv))
    } else {
        let limits = &exchange.limits;
        handle.allow(limits.max_request_body.saturating_mul(2).saturating_add(FRAMING_ALLOWANCE));
        (Body::source(Upload::new(recv, limits.max_request_body, limits.idle_timeout), declared), None)
    };
    let patience = exchange.limits.header_read_timeout;
    let respond = async {
        let StreamHandle { stopped, outgoing, .. } = handle;
        let mut stopped = pin!(stopped);
        let response = match exchange.call(parts, Protocol::H3, body, None, Some(link(&quic))) {
            Answer::Ready(response) => response,
            Answer::Pending(answer) => tokio::select! {
                biased;
                response = answer => response,
                () = &mut stopped => return send.stop_stream(Code::H3_REQUEST_CANCELLED),
            },
        };
        let (head, mut body) = exchange.finish(head_only, Protocol::H3, response);
        let urgency = urgency::of(head.headers());
        outgoing.prefer(urgency);
        if send.send_response(head).await.is_err() {
            return;
        }
        // QUIC orders what it has been given; all streams share the window for that, so a body waits its turn before.
        let mut turn = turns.enter(urgency);
        loop {
            let next = tokio::select! {
                biased;
                next = poll_fn(|cx| turn.poll_data(&mut body, cx)) => next,
                () = &mut stopped => return send.stop_stream(Code::H3_REQUEST_CANCELLED),
            };
            guard.advanced();
            match next {
                None => break,
                Some(Ok(bytes)) => {
                    outgoing.offer(bytes.clone());
                    if send.send_data(bytes).await.is_err() {
                        return;
                    }
                    turn.moved();
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "response cut off");
                    return send.stop_stream(Code::H3_INTERNAL_ERROR);
                }
            }
        }
        drop((body, turn));
        if send.finish().await.is_ok() {
            // The connection must outlive the last retransmission.
            acknowledged(stopped, &guard, &quic).await;
        }
    };
    tokio::join!(respond, drain(tail, patience));
}

/// The way as QUIC's congestion controller sees it. Before the window has grown it says more of our start than of the way.
fn link(quic: &quinn::Connection) -> Link {
    let path = quic.stats().path;
    let grown = path.congestion_events > 0 || path.cwnd > 2 * FIRST_WINDOW;
    let bits = path.cwnd.saturating_mul(8000).checked_div(u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX));
    Link { round_trip: path.rtt, kbit_per_second: bits.filter(|_| grown) }
}

/// Waits until the client has all of the response. Up to a send window of it has not left yet, so the client's
/// acknowledgements are progress; when they stop coming, the connection is overdue after the stall time-out.
async fn acknowledged(mut stopped: Pin<&mut impl Future<Output = ()>>, guard: &RequestGuard, quic: &quinn::Connection) {
    let mut seen = quic.stats().frame_rx.acks;
    while timeout(ACKNOWLEDGEMENT_LOOK, stopped.as_mut()).await.is_err() {
        let acks = quic.stats().frame_rx.acks;
        if acks != seen {
            seen = acks;
            guard.advanced();
        }
    }
}

/// Reads the rest of a request without a body: dropping it before its FIN would send STOP_SENDING, which clients
/// count as an error.
async fn drain(tail: Option<Receiving>, patience: Duration) {
    if let Some(mut recv) = tail {
        let rest = async { while let Ok(Some(_)) = recv.recv_data().await {} };
        if timeout(patience, rest).await.is_err() {
            recv.stop_sending(Code::H3_NO_ERROR);
        }
    }
}

/// A request body as it arrives, bounded in size and in the wait for its next piece.
struct Upload {
    recv: Receiving,
    left: u64,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl Upload {
    fn new(recv: Receiving, left: u64, patience: Duration) -> Self {
        Self { recv, left, patience, deadline: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl BodySource for Upload {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let next: Result<Option<Bytes>, StreamError> = match self.recv.poll_recv_data(cx) {
            Poll::Ready(next) => next.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining()))),
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyError("the client stopped sending".into()))));
            }
        };
        self.deadline.as_mut().reset(Instant::now() + self.patience);
        Poll::Ready(match next {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(bound(&mut self.left, bytes)),
            Err(error) => Some(Err(BodyError(error.to_string()))),
        })
    }
}

//! The hyper side of an exchange: HTTP/1.1 and HTTP/2 requests in, responses whose bodies keep the connection's life
//! signs. Invariant: a ready answer allocates no future.

use super::{
    activity::{Activity, RequestGuard},
    exchange::Exchange,
    interim::Interims,
    urgency::{self, Turn, Turns},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use weir_relay::http::{Answer, Body, BodyError, BodySource, InterimSender, Link, Protocol};

/// Serves one connection's requests.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) exchange: Arc<Exchange>,
    pub(super) activity: Arc<Activity>,
    pub(super) interims: Arc<Interims>,
    pub(super) turns: Arc<Turns>,
    /// The way to the client as the handshake has shown it.
    pub(super) link: Option<Link>,
}

impl Service<Request<Incoming>> for Served {
    type Response = Response<ServedBody>;
    type Error = Infallible;
    type Future = Reply;

    fn call(&self, request: Request<Incoming>) -> Reply {
        let (parts, incoming) = request.into_parts();
        let protocol = if parts.version == Version::HTTP_2 { Protocol::H2 } else { Protocol::H1 };
        self.activity.speaks(protocol);
        let guard = self.activity.request();
        let head_only = parts.method == Method::HEAD;
        let body = if incoming.is_end_stream() {
            Body::empty()
        } else {
            let length = incoming.size_hint().exact();
            let limits = &self.exchange.limits;
            Body::source(Upload::new(incoming, limits.max_request_body, limits.idle_timeout), length)
        };
        // HTTP/1.0 has none, and hyper sends none on HTTP/2.
        let interims = (parts.version == Version::HTTP_11).then(|| self.interims.clone());
        let sender: Option<InterimSender> = interims.clone().map(|interims| {
            let send = move |status, headers: HeaderMap| interims.send(status, &headers);
            Arc::new(send) as InterimSender
        });
        let answer = self.exchange.call(parts, protocol, body, sender, self.link);
        let exchange = self.exchange.clone();
        // On HTTP/1.1 there is one response at a time.
        let turns = (protocol == Protocol::H2).then(|| self.turns.clone());
        Reply { answer: Some(answer), ready: None, exchange, guard: Some(guard), head_only, protocol, interims, turns }
    }
}

/// A response on its way.
pub(super) struct Reply {
    answer: Option<Answer>,
    /// It is there, but what precedes it is not written yet.
    ready: Option<weir_relay::http::Response>,
    exchange: Arc<Exchange>,
    guard: Option<RequestGuard>,
    head_only: bool,
    protocol: Protocol,
    interims: Option<Arc<Interims>>,
    turns: Option<Arc<Turns>>,
}

impl Future for Reply {
    type Output = Result<Response<ServedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.answer.take() {
            Some(Answer::Ready(response)) => response,
            None if self.ready.is_some() => match self.ready.take() {
                Some(response) => response,
                None => return Poll::Pending,
            },
            Some(Answer::Pending(mut future)) => match future.as_mut().poll(cx) {
                Poll::Ready(response) => response,
                Poll::Pending => {
                    self.answer = Some(Answer::Pending(future));
                    if let Some(interims) = &self.interims {
                        interims.watch(cx);
                    }
                    return Poll::Pending;
                }
            },
            // Polled after completion, which hyper never does.
            None => return Poll::Pending,
        };
        if self.interims.as_ref().is_some_and(|interims| !interims.is_written(cx)) {
            self.ready = Some(response);
            return Poll::Pending;
        }
        let (head, body) = self.exchange.finish(self.head_only, self.protocol, response);
        let guard = self.guard.take();
        let turn =
            self.turns.as_ref().filter(|_| !body.is_finished()).map(|turns| turns.enter(urgency::of(head.headers())));
        Poll::Ready(Ok(head.map(|()| ServedBody { body, guard, turn })))
    }
}

/// A response body whose progress counts as the connection's.
pub(super) struct ServedBody {
    body: Body,
    guard: Option<RequestGuard>,
    /// Its place among the bodies of an HTTP/2 connection.
    turn: Option<Turn>,
}

impl http_body::Body for ServedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, turn, .. } = &mut *self;
        let next = ready!(match turn {
            Some(turn) => turn.poll_data(body, cx),
            None => body.poll_data(cx),
        });
        if self.body.is_finished() {
            self.turn = None;
        } else if let Some(turn) = &self.turn {
            turn.moved();
        }
        if let Some(guard) = &self.guard {
            guard.advanced();
        }
        if let Some(Err(error)) = &next {
            tracing::debug!(%error, "response cut off");
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

/// A request body as it arrives, bounded in size and in the wait for its next piece.
struct Upload {
    incoming: Incoming,
    left: u64,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl Upload {
    fn new(incoming: Incoming, left: u64, patience: Duration) -> Self {
        Self { incoming, left, patience, deadline: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl BodySource for Upload {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                ready!(self.deadline.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyError("the client stopped sending".into()))));
            };
            self.deadline.as_mut().reset(Instant::now() + self.patience);
            return Poll::Ready(match next {
                None => None,
                Some(Err(error)) => Some(Err(BodyError(error.to_string()))),
                Some(Ok(frame)) => match frame.into_data() {
                    // Trailers mean nothing to any route.
                    Err(_) => continue,
                    Ok(bytes) => Some(bound(&mut self.left, bytes)),
                },
            });
        }
    }
}

/// Passes `bytes` while they fit into what is `left` of the bound.
pub(super) fn bound(left: &mut u64, bytes: Bytes) -> Result<Bytes, BodyError> {
    *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| BodyError("request body too large".into()))?;
    Ok(bytes)
}

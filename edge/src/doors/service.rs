//! The hyper side of an exchange: HTTP/1.1 and HTTP/2 requests in, responses whose bodies keep the connection's life
//! signs. Invariant: a ready answer allocates no future.

use super::{
    activity::{Activity, RequestGuard},
    exchange::Exchange,
};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
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
use weir_relay::http::{Answer, Body, BodyError, BodySource, Protocol};

/// Serves one connection's requests.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) exchange: Arc<Exchange>,
    pub(super) activity: Arc<Activity>,
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
        let answer = self.exchange.call(parts, protocol, body);
        Reply { answer: Some(answer), exchange: self.exchange.clone(), guard: Some(guard), head_only, protocol }
    }
}

/// A response on its way.
pub(super) struct Reply {
    answer: Option<Answer>,
    exchange: Arc<Exchange>,
    guard: Option<RequestGuard>,
    head_only: bool,
    protocol: Protocol,
}

impl Future for Reply {
    type Output = Result<Response<ServedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.answer.take() {
            Some(Answer::Ready(response)) => response,
            Some(Answer::Pending(mut future)) => match future.as_mut().poll(cx) {
                Poll::Ready(response) => response,
                Poll::Pending => {
                    self.answer = Some(Answer::Pending(future));
                    return Poll::Pending;
                }
            },
            // Polled after completion, which hyper never does.
            None => return Poll::Pending,
        };
        let (head, body) = self.exchange.finish(self.head_only, self.protocol, response);
        let guard = self.guard.take();
        Poll::Ready(Ok(head.map(|()| ServedBody { body, guard })))
    }
}

/// A response body whose progress counts as the connection's.
pub(super) struct ServedBody {
    body: Body,
    guard: Option<RequestGuard>,
}

impl http_body::Body for ServedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = ready!(self.body.poll_data(cx));
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

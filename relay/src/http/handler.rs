//! The interface between doors and routes. A cache hit answers [`Answer::Ready`], so the hot path allocates no future.

use super::{Request, Response};
use http::StatusCode;
use std::{future::Future, pin::Pin, sync::Arc};

/// A response that is there, or one that will be.
pub enum Answer {
    /// The response is ready: no await on the way.
    Ready(Response),
    /// The response needs work first. Dropping the future cancels it.
    Pending(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Answer {
    /// Waits for the response.
    pub async fn wait(self) -> Response {
        match self {
            Self::Ready(response) => response,
            Self::Pending(future) => future.await,
        }
    }
}

/// Answers requests. Handlers are shared by all doors of a process.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Never panics on a client's input and never fails: errors are responses.
    fn call(&self, request: Request) -> Answer;

    /// The response to a request that a door refuses before any handler sees it (400, 413, 414, 431, 501).
    fn refuse(&self, status: StatusCode, why: &str) -> Response {
        Response::text(status, why)
    }
}

impl<H: Handler + ?Sized> Handler for Arc<H> {
    fn call(&self, request: Request) -> Answer {
        (**self).call(request)
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response {
        (**self).refuse(status, why)
    }
}

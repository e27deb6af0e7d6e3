//! Between the doors and the routes. Invariant: while the relay is fair, a response passes untouched.

use super::body::spoilt;
use super::order::Faults;
use http::StatusCode;
use std::sync::Arc;
use weir_hls::ResourceKind;
use weir_relay::http::{Answer, Handler, Request, Response};

/// The routes as the doors see them.
pub(super) struct FaultyDoor {
    pub(super) routes: Arc<dyn Handler>,
    pub(super) faults: Arc<Faults>,
}

impl Handler for FaultyDoor {
    fn call(&self, request: Request) -> Answer {
        let is_media = ResourceKind::of(request.uri.path(), None) == ResourceKind::Segment;
        match self.routes.call(request) {
            Answer::Ready(response) => Answer::Ready(pass(response, &self.faults, is_media)),
            Answer::Pending(work) => {
                let faults = self.faults.clone();
                Answer::Pending(Box::pin(async move { pass(work.await, &faults, is_media) }))
            }
        }
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response {
        self.routes.refuse(status, why)
    }
}

fn pass(response: Response, faults: &Arc<Faults>, is_media: bool) -> Response {
    if faults.is_fair() || response.body.is_finished() {
        return response;
    }
    let Response { status, headers, body } = response;
    Response { status, headers, body: spoilt(body, faults, is_media) }
}

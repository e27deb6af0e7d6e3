//! The adapter's own pages in front of its content: `/.well-known/weir`, from which relays join.

use http::{HeaderValue, Method, StatusCode, header};
use std::sync::{Arc, Mutex, PoisonError};
use weir_protocol::wellknown::{WELL_KNOWN_PATH, WellKnown, WellKnownError};
use weir_relay::http::{Answer, Body, Handler, Request, Response};

/// The adapter's handler; what is not its own goes to `content`.
pub struct AdapterHandler {
    document: Mutex<Arc<[u8]>>,
    /// Further pages, by the beginning of their paths.
    pages: Vec<(&'static str, Arc<dyn Handler>)>,
    content: Arc<dyn Handler>,
}

impl AdapterHandler {
    /// Serves `document`, and everything else from `content`.
    pub fn new(document: &WellKnown, content: Arc<dyn Handler>) -> Result<Self, WellKnownError> {
        Ok(Self { document: Mutex::new(document.to_json()?.into()), pages: Vec::new(), content })
    }

    /// Paths that begin so are answered by `handler`.
    #[must_use]
    pub fn with_pages(mut self, beginning: &'static str, handler: Arc<dyn Handler>) -> Self {
        self.pages.push((beginning, handler));
        self
    }

    /// The document has changed: new keys or addresses.
    pub fn set_document(&self, document: &WellKnown) -> Result<(), WellKnownError> {
        let json = document.to_json()?.into();
        *self.document.lock().unwrap_or_else(PoisonError::into_inner) = json;
        Ok(())
    }
}

impl Handler for AdapterHandler {
    fn call(&self, request: Request) -> Answer {
        if request.uri.path() != WELL_KNOWN_PATH {
            let path = request.uri.path();
            let found = self.pages.iter().find(|(beginning, _)| path.starts_with(beginning));
            return found.map_or(&self.content, |(_, pages)| pages).call(request);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Answer::Ready(
                Response::text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are served here")
                    .with(header::ALLOW, HeaderValue::from_static("GET, HEAD")),
            );
        }
        let json = self.document.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let response = Response::new(StatusCode::OK)
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            // Relays look again every ten minutes; a rotated key must reach them soon.
            .with(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"))
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let length = HeaderValue::from(json.len());
        Answer::Ready(if request.method == Method::HEAD {
            response.with(header::CONTENT_LENGTH, length)
        } else {
            response.body(Body::full(json.to_vec()))
        })
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response {
        self.content.refuse(status, why)
    }
}

//! A scripted origin. Invariant: it answers exactly what the test has put at a path, as fast as the test lets it.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;
use weir_relay::source::{RawRequest, RawResponse, RawSource, SourceError};

/// Bytes in one piece of a body.
const PIECE: usize = 32 * 1024;

/// What is at a path.
#[derive(Clone)]
pub(crate) struct Page {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    announced: bool,
    /// How many bytes may leave; the body waits there.
    gate: Option<watch::Receiver<usize>>,
    /// The connection breaks here.
    breaks_at: Option<usize>,
    etag: Option<String>,
}

impl Page {
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
            announced: true,
            gate: None,
            breaks_at: None,
            etag: None,
        }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// Conditional requests with this tag are answered with 304.
    pub(crate) fn etag(mut self, tag: &str) -> Self {
        self.etag = Some(tag.to_owned());
        self.header(header::ETAG, tag)
    }

    /// Without Content-Length.
    pub(crate) fn unannounced(mut self) -> Self {
        self.announced = false;
        self
    }

    /// Only `bytes` leave until the sender says more.
    pub(crate) fn gated(mut self, bytes: usize) -> (Self, watch::Sender<usize>) {
        let (open, gate) = watch::channel(bytes);
        self.gate = Some(gate);
        (self, open)
    }

    pub(crate) fn breaks_at(mut self, bytes: usize) -> Self {
        self.breaks_at = Some(bytes);
        self
    }
}

/// The origin. Clones are the same origin.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    requests: Arc<Mutex<HashMap<String, usize>>>,
}

impl Origin {
    pub(crate) fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub(crate) fn requests(&self, path: &str) -> usize {
        self.requests.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    fn answer(&self, request: &RawRequest) -> RawResponse {
        *self.requests.lock().unwrap().entry(request.path_and_query.clone()).or_default() += 1;
        let missing = || Page::new("nothing here").status(404);
        let page = self.pages.lock().unwrap().get(&request.path_and_query).cloned().unwrap_or_else(missing);
        let known = request.validators.as_ref().and_then(|validators| validators.etag.clone());
        if page.etag.is_some() && known == page.etag {
            let body = stream::empty().boxed();
            return RawResponse { status: StatusCode::NOT_MODIFIED, headers: page.headers, length: None, body };
        }
        let length = page.announced.then_some(page.body.len() as u64);
        RawResponse { status: page.status, headers: page.headers.clone(), length, body: send(page).boxed() }
    }
}

fn send(page: Page) -> impl futures_util::Stream<Item = Result<Bytes, SourceError>> + Send {
    stream::try_unfold((page, 0), |(mut page, at)| async move {
        if page.breaks_at.is_some_and(|breaks| at >= breaks) {
            return Err(SourceError::Unreachable("the origin's connection broke".into()));
        }
        if at >= page.body.len() {
            return Ok(None);
        }
        let mut most = page.body.len().min(page.breaks_at.unwrap_or(usize::MAX));
        if let Some(gate) = &mut page.gate {
            // A test that is over lets go of its gate.
            most = most.min(gate.wait_for(|open| *open > at).await.map_or(usize::MAX, |open| *open));
        }
        let end = most.min(at + PIECE);
        Ok(Some((page.body.slice(at..end), (page, end))))
    })
}

impl RawSource for Origin {
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
        async move { Ok(self.answer(request)) }.boxed()
    }
}

/// `length` bytes in which no two groups are alike.
pub(crate) fn bytes(length: usize, seed: u8) -> Bytes {
    let mut state = u64::from(seed) | 1 << 32;
    let mut next = || {
        // xorshift64: no two pieces of its period of 2^64 - 1 are alike.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    };
    (0..length).map(|_| next()).collect()
}

//! The edge's handler: the order in which a request is looked at, and the limits on how long it may take.

use super::{
    cache_status::byte_source,
    errors, own,
    respond::{Asked, Context, respond, waits_for_whole},
    sites::Sites,
};
use crate::{
    metrics::{ByteSource, EdgeMetrics, Kind},
    negotiate::preflight,
};
use arc_swap::ArcSwap;
use http::{HeaderName, Method, StatusCode};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{Instant as Deadline, timeout_at};
use weir_hls::ResourceKind;
use weir_protocol::resource::ResourceKey;
use weir_relay::{
    fetch::{Fetch, Served},
    http::{Answer, Handler, Protocol, Request, Response},
    meter::{Account, Delivery, Outcome},
    object::{Ended, Entry},
};

/// Waits of the edge.
#[derive(Debug, Clone, Copy)]
pub struct RoutesConfig {
    /// For playlists, segments and subtitles: limit for the first byte, and between two bytes, from any source.
    pub player_patience: Duration,
    /// For everything else.
    pub patience: Duration,
}

impl Default for RoutesConfig {
    fn default() -> Self {
        Self { player_patience: Duration::from_millis(2500), patience: Duration::from_secs(15) }
    }
}

/// The edge's routes.
pub struct Routes(Arc<Inner>);

struct Inner {
    fetch: Fetch,
    sites: ArcSwap<Sites>,
    name: String,
    metrics: Arc<EdgeMetrics>,
    config: RoutesConfig,
}

impl Routes {
    /// Routes over a fetcher. `name` is this cache's name in `Cache-Status` and `Via`: a token (RFC 9110 section
    /// 5.6.2) that no other relay has.
    pub fn new(fetch: Fetch, sites: Sites, name: String, metrics: Arc<EdgeMetrics>, config: RoutesConfig) -> Self {
        Self(Arc::new(Inner { fetch, sites: ArcSwap::from_pointee(sites), name, metrics, config }))
    }

    /// Other publishers are served from now on.
    pub fn set_sites(&self, sites: Sites) {
        self.0.sites.store(Arc::new(sites));
    }
}

impl Handler for Routes {
    fn call(&self, request: Request) -> Answer {
        let started = Instant::now();
        let (protocol, kind) = (request.protocol, kind_of(request.uri.path()));
        // Content is booked where its source is known; what is left was made here.
        let book = move |inner: &Arc<Inner>, response: Response| {
            if response.body.is_metered() {
                return response;
            }
            inner.book(response, Booking { protocol, kind, source: ByteSource::Own, started })
        };
        match self.0.clone().route(request, started) {
            Answer::Ready(response) => Answer::Ready(book(&self.0, response)),
            Answer::Pending(work) => {
                let inner = self.0.clone();
                Answer::Pending(Box::pin(async move { book(&inner, work.await) }))
            }
        }
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response {
        errors::refused(status, why)
    }
}

impl Inner {
    fn route(self: Arc<Self>, request: Request, started: Instant) -> Answer {
        if request.method == Method::OPTIONS {
            return Answer::Ready(preflight());
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Answer::Ready(errors::method_not_allowed());
        }
        if self.looped(&request) {
            return Answer::Ready(errors::looped(&HeaderName::from_static("via")));
        }
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        if request.uri.path().starts_with("/weir/") || request.uri.path() == "/weir" {
            return self.own(&request);
        }
        let Ok((publisher, path)) = self.sites.load().resolve(request.authority.as_deref(), target) else {
            return Answer::Ready(errors::misdirected());
        };
        let key = match ResourceKey::parse(publisher, path) {
            Ok(key) => key,
            Err(error) => return Answer::Ready(errors::bad_path(&error)),
        };
        let asked = Asked {
            method: request.method,
            headers: request.headers,
            protocol: request.protocol,
            kind: ResourceKind::of(key.path.as_str(), None),
            path: key.path.as_str().to_owned(),
        };
        if let Some(served) = self.fetch.hit(&key) {
            return Answer::Ready(self.finish(asked, &served, started));
        }
        Answer::Pending(Box::pin(async move { self.fill(asked, key, started).await }))
    }

    async fn fill(self: Arc<Self>, asked: Asked, key: ResourceKey, started: Instant) -> Response {
        let deadline = Deadline::now() + self.patience(asked.kind);
        let failure = match timeout_at(deadline, self.fetch.get(&key, 0)).await {
            Ok(Ok(served)) => {
                // While it is held, a body that is nobody else's knows that it is wanted.
                let _wanted = served.entry.body.reader(0, None);
                match self.first_byte(&asked, &served, deadline).await {
                    Ok(()) => return self.finish(asked, &served, started),
                    Err(failure) => failure,
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(err.kind = %error, "not served");
                errors::not_fetched(asked.kind, &error)
            }
            Err(_) => errors::too_slow(asked.kind),
        };
        // A viewer is better off with what is stale and still allowed (RFC 5861 section 4) than with an error.
        match self.fetch.stale(&key) {
            Some(stale) => self.finish(asked, &stale, started),
            None => failure,
        }
    }

    /// A head without a byte behind it is no answer yet: once headers have left, all that is left is a reset. Text is
    /// waited for as a whole where it is short, because only then can it be sent compressed.
    async fn first_byte(&self, asked: &Asked, served: &Served, deadline: Deadline) -> Result<(), Response> {
        let entry = &served.entry;
        if waits_for_whole(kind_of_entry(asked, served), entry) {
            let _ = timeout_at(deadline, whole(entry)).await;
        }
        if entry.head.length == Some(0) || asked.method == Method::HEAD {
            return Ok(());
        }
        match timeout_at(deadline, entry.body.beyond(0)).await {
            Err(_) => Err(errors::too_slow(asked.kind)),
            Ok(Some(Ended::Failed(why))) if entry.body.length() == 0 => Err(errors::broke_off(asked.kind, &why)),
            Ok(_) => Ok(()),
        }
    }

    fn finish(&self, mut asked: Asked, served: &Served, started: Instant) -> Response {
        asked.kind = kind_of_entry(&asked, served);
        let context = Context {
            name: &self.name,
            now: self.fetch.clock().now(),
            took: started.elapsed(),
            patience: self.patience(asked.kind),
        };
        let source = byte_source(served);
        let response = respond(&asked, served, &context);
        self.metrics.first_byte(source, started.elapsed());
        let kind = kind_of(&asked.path);
        self.book(response, Booking { protocol: asked.protocol, kind, source, started })
    }

    /// The request is over when its body is: then bytes, status and duration are counted together.
    fn book(&self, mut response: Response, booking: Booking) -> Response {
        let booked = Booked { metrics: self.metrics.clone(), status: response.status, booking };
        response.body = response.body.metered(Delivery::new(Arc::new(booked)));
        response
    }

    fn own(&self, request: &Request) -> Answer {
        let query = request.uri.query().unwrap_or_default();
        if request.uri.path() != "/weir/record" {
            return Answer::Ready(errors::not_found("nothing of Weir's own is served at this path"));
        }
        let Some(target) = own::parameter(query, "key") else {
            return Answer::Ready(errors::bad_request(
                "name the resource: /weir/record?key=<path and query, percent-encoded>",
            ));
        };
        let Ok((publisher, path)) = self.sites.load().resolve(request.authority.as_deref(), &target) else {
            return Answer::Ready(errors::misdirected());
        };
        match ResourceKey::parse(publisher, path) {
            Ok(key) => Answer::Pending(Box::pin(own::record(self.fetch.clone(), key))),
            Err(error) => Answer::Ready(errors::bad_path(&error)),
        }
    }

    /// RFC 9110 section 7.6.3: our own name in `Via` means that the request has come in a circle.
    fn looped(&self, request: &Request) -> bool {
        request.headers.get_all(http::header::VIA).iter().any(|via| {
            via.to_str().is_ok_and(|hops| hops.split(',').any(|hop| hop.split_whitespace().nth(1) == Some(&self.name)))
        })
    }

    fn patience(&self, kind: ResourceKind) -> Duration {
        if errors::fails_fast(kind) { self.config.player_patience } else { self.config.patience }
    }
}

/// What of a request is counted.
struct Booking {
    protocol: Protocol,
    kind: Kind,
    source: ByteSource,
    started: Instant,
}

struct Booked {
    metrics: Arc<EdgeMetrics>,
    status: StatusCode,
    booking: Booking,
}

impl Account for Booked {
    fn settle(&self, outcome: Outcome) {
        let Booking { protocol, kind, source, started } = self.booking;
        self.metrics.response_bytes(protocol, source, outcome.handed);
        self.metrics.request_finished(protocol, self.status, kind, started.elapsed());
    }
}

/// What it is, now that its type is known.
fn kind_of_entry(asked: &Asked, served: &Served) -> ResourceKind {
    let content_type = served.entry.head.headers.get(http::header::CONTENT_TYPE);
    ResourceKind::of(&asked.path, content_type.and_then(|value| value.to_str().ok()))
}

/// Waits until the body has ended.
async fn whole(entry: &Entry) {
    while entry.body.ended().is_none() {
        entry.body.beyond(entry.body.length()).await;
    }
}

fn kind_of(path: &str) -> Kind {
    if path.starts_with("/weir/") {
        return Kind::Own;
    }
    match ResourceKind::of(path, None) {
        ResourceKind::Playlist => Kind::Playlist,
        ResourceKind::Segment => Kind::Segment,
        ResourceKind::Key => Kind::Key,
        ResourceKind::Subtitle | ResourceKind::Other => Kind::Other,
    }
}

//! An edge over one upstream, and what it answers.

use crate::upstream::Upstream as Origin;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::{
    future::{Future, poll_fn},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_edge::{
    metrics::EdgeMetrics,
    routes::{Routes, RoutesConfig, Site, Sites},
    tokens::Gate,
};
use weir_protocol::{ids::PublisherId, resource::ResourceKey, time::UnixMillis};
use weir_relay::{
    clock::Clock,
    fetch::{Candidate, Fetch, FetchConfig, Observer, Plan},
    http::{Body, Handler, Protocol, Request, Response},
    source::{Source, Trusted, Upstream, UpstreamConfig},
    store::{DiskConfig, Store, StoreConfig, StoreError},
};

/// When the tests begin: a whole second, so that dates are exact.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(1_800_000_000_000)
}

/// The edge's name in `Via` and `Cache-Status`.
pub(crate) const NAME: &str = "edge-1";
pub(crate) const MIB: usize = 1 << 20;
/// No wait of a test is longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

struct OneUpstream(Arc<dyn Source>);

impl Plan for OneUpstream {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        vec![Candidate { source: self.0.clone(), label: "origin" }]
    }
}

struct Unobserved;
impl Observer for Unobserved {}

/// What may differ between edges.
pub(crate) struct Setup {
    pub(crate) fetch: FetchConfig,
    pub(crate) routes: RoutesConfig,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) sites: Option<Vec<Site>>,
    pub(crate) disk: Option<std::path::PathBuf>,
    pub(crate) url: Option<String>,
    pub(crate) ca: Option<std::path::PathBuf>,
    pub(crate) gate: Option<Gate>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            fetch: FetchConfig::default(),
            // Long enough never to matter where a test does not ask for it.
            routes: RoutesConfig { player_patience: LIMIT, patience: LIMIT, prefetch: 0, ..RoutesConfig::default() },
            head_timeout: LIMIT,
            idle_timeout: LIMIT,
            sites: None,
            disk: None,
            url: None,
            ca: None,
            gate: None,
        }
    }
}

impl Setup {
    /// Everybody loses patience after so many milliseconds.
    pub(crate) fn patience(milliseconds: u64) -> Self {
        let patience = Duration::from_millis(milliseconds);
        let routes = RoutesConfig { player_patience: patience, patience, prefetch: 0, ..RoutesConfig::default() };
        Self { routes, ..Self::default() }
    }

    pub(crate) fn on_disk(directory: &Path) -> Self {
        Self { disk: Some(directory.to_owned()), ..Self::default() }
    }
}

/// An edge and its upstream.
pub(crate) struct Edge {
    pub(crate) origin: Arc<Origin>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) fetch: Fetch,
    pub(crate) store: Arc<Store>,
    time: Arc<AtomicU64>,
    stop: CancellationToken,
    writer: JoinHandle<Result<(), StoreError>>,
}

pub(crate) fn manual() -> (Arc<AtomicU64>, Clock) {
    let time = Arc::new(AtomicU64::new(now().0));
    (time.clone(), Clock::Manual(time))
}

impl Edge {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let (time, clock) = manual();
        let origin = Arc::new(Origin::start(clock).await);
        Self::over(origin, time, setup)
    }

    pub(crate) fn over(origin: Arc<Origin>, time: Arc<AtomicU64>, setup: Setup) -> Self {
        let clock = Clock::Manual(time.clone());
        let url = setup.url.unwrap_or_else(|| origin.url("http", ""));
        let mut config = UpstreamConfig::new(Url::parse(&url).unwrap());
        config.head_timeout = setup.head_timeout;
        config.idle_timeout = setup.idle_timeout;
        config.name = NAME.into();
        config.ca = setup.ca;
        let source = Trusted::new(Upstream::new(config).unwrap(), clock.clone(), setup.fetch.max_object_bytes);
        let store_config = StoreConfig {
            memory_bytes: 128 * MIB as u64,
            max_object_bytes: setup.fetch.max_object_bytes,
            disk: setup.disk.map(|dir| DiskConfig { dir, bytes: 64 * MIB as u64 }),
        };
        let store = Arc::new(Store::open(store_config, Arc::new(|_, _| None), Arc::new(())).unwrap());
        let stop = CancellationToken::new();
        let writer = tokio::spawn(store.clone().run(stop.clone()));
        let plan = Arc::new(OneUpstream(Arc::new(source)));
        let fetch = Fetch::new(store.clone(), plan, Arc::new(Unobserved), clock, setup.fetch);
        let sites = setup.sites.unwrap_or_else(|| vec![site(1, None, &[])]);
        let metrics = EdgeMetrics::register(&prometheus::Registry::new(), "0", "0").unwrap();
        let mut routes = Routes::new(fetch.clone(), Sites::new(sites).unwrap(), NAME.into(), metrics, setup.routes);
        if let Some(gate) = setup.gate {
            routes = routes.behind(gate);
        }
        Self { origin, routes: Arc::new(routes), fetch, store, time, stop, writer }
    }

    /// Ends the edge as a process does; the upstream and the time go on.
    pub(crate) async fn stop(self) -> (Arc<Origin>, Arc<AtomicU64>) {
        within(self.fetch.drain()).await;
        self.stop.cancel();
        within(self.writer).await.unwrap().unwrap();
        (self.origin, self.time)
    }

    pub(crate) fn advance(&self, milliseconds: u64) {
        self.time.fetch_add(milliseconds, Ordering::SeqCst);
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.ask(path, &[]).await
    }

    pub(crate) async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Got {
        self.send(request(Method::GET, path, fields)).await
    }

    pub(crate) async fn head(&self, path: &str, fields: &[(&str, &str)]) -> Got {
        self.send(request(Method::HEAD, path, fields)).await
    }

    pub(crate) async fn send(&self, request: Request) -> Got {
        within(async { Got::read(self.begin(request).await).await }).await
    }

    /// The response, its body not read yet.
    pub(crate) async fn begin(&self, request: Request) -> Response {
        within(self.routes.call(request).wait()).await
    }

    /// Waits until no fill runs any more.
    pub(crate) async fn idle(&self) {
        self.idle_but(0).await;
    }

    /// Waits until only so many fills run.
    pub(crate) async fn idle_but(&self, fills: usize) {
        until(|| self.fetch.fills() == fills).await;
    }
}

pub(crate) fn site(publisher: u8, name: Option<&str>, hosts: &[&str]) -> Site {
    Site {
        publisher: PublisherId([publisher; 32]),
        name: name.map(Into::into),
        hosts: hosts.iter().map(|host| (*host).into()).collect(),
    }
}

pub(crate) fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request {
    let headers =
        fields.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
    Request {
        method,
        uri: path.parse().unwrap(),
        authority: Some("edge.example:7443".into()),
        headers: headers.collect(),
        protocol: Protocol::H1,
        secure: false,
        interim: None,
        link: None,
        body: Body::empty(),
    }
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Why the body was cut off, when it was.
    pub(crate) cut: Option<String>,
}

impl Got {
    pub(crate) async fn read(mut response: Response) -> Self {
        let mut body = Vec::new();
        let mut cut = None;
        while let Some(piece) = next(&mut response.body).await {
            match piece {
                Ok(bytes) => body.extend_from_slice(&bytes),
                Err(why) => {
                    cut = Some(why);
                    break;
                }
            }
        }
        Self { status: response.status, headers: response.headers, body, cut }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// `Cache-Status` without the name.
    pub(crate) fn cache(&self) -> &str {
        self.field("cache-status").strip_prefix("edge-1; ").unwrap_or_else(|| panic!("{self:?}"))
    }

    /// Asserts a whole 200 with this body, and that `Cache-Status` begins so.
    #[track_caller]
    pub(crate) fn is(&self, cache: &str, body: impl AsRef<[u8]>) {
        assert_eq!((self.status.as_u16(), self.cut.as_deref()), (200, None), "{}", self.text());
        assert!(self.cache().starts_with(cache), "{} instead of {cache}", self.cache());
        assert!(self.body == body.as_ref(), "another body");
    }

    #[track_caller]
    pub(crate) fn is_status(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
    }
}

/// The next piece of a body.
pub(crate) async fn next(body: &mut Body) -> Option<Result<Bytes, String>> {
    let piece = within(poll_fn(|cx| body.poll_data(cx))).await?;
    Some(piece.map_err(|error| error.to_string()))
}

/// Bounds a wait.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

/// Waits for something that other tasks are about to do.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    within(async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Bytes that differ from place to place.
pub(crate) fn noise(length: usize) -> Bytes {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

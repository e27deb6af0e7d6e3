//! Sources that answer as they are told, and a fetcher over them.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::yield_now,
    time::timeout,
};
use weir_protocol::{ids::PublisherId, resource::ResourceKey};
use weir_relay::{
    clock::Clock,
    fetch::{Candidate, Fetch, FetchConfig, FetchError, How, Observer, Plan, Route, Served},
    object::Reader,
    source::{FillRequest, Opened, RawRequest, RawResponse, RawSource, Source, SourceError, Trusted},
    store::{Store, StoreConfig},
};

pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const KIB: u64 = 1024;

/// What one answer is made of.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    /// The body: so many pieces of one KiB.
    pub(crate) pieces: u64,
    /// Ends with an error behind its pieces.
    pub(crate) breaks: bool,
    pub(crate) announced: bool,
    pub(crate) gate: Option<Arc<Semaphore>>,
}

impl Answer {
    pub(crate) fn new(pieces: u64) -> Self {
        Self { status: 200, fields: Vec::new(), pieces, breaks: false, announced: true, gate: None }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(crate) fn private(self) -> Self {
        self.with("cache-control", "private")
    }

    pub(crate) fn breaking(mut self) -> Self {
        self.breaks = true;
        self
    }

    pub(crate) fn unannounced(mut self) -> Self {
        self.announced = false;
        self
    }

    /// Its head comes when the gate lets it through.
    pub(crate) fn behind(mut self, gate: &Arc<Semaphore>) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

pub(crate) type Script = Box<dyn Fn(usize) -> Result<Answer, SourceError> + Send + Sync>;

/// A source that does as it is told and counts.
pub(crate) struct Scripted {
    pub(crate) script: Script,
    pub(crate) asked: AtomicUsize,
    pub(crate) conditional: AtomicUsize,
    pub(crate) pulled: Arc<AtomicU64>,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) closed: Arc<Notify>,
}

impl Scripted {
    pub(crate) fn new(script: Script) -> Arc<Self> {
        Arc::new(Self {
            script,
            asked: AtomicUsize::new(0),
            conditional: AtomicUsize::new(0),
            pulled: Arc::default(),
            open: Arc::default(),
            closed: Arc::default(),
        })
    }

    pub(crate) fn trusted(self: &Arc<Self>, clock: &Clock, config: &FetchConfig) -> Arc<dyn Source> {
        Arc::new(Trusted::new(Shared(self.clone()), clock.clone(), config.max_object_bytes))
    }
}

/// Counts bodies that somebody still reads.
pub(crate) struct OpenBody(Arc<AtomicUsize>, Arc<Notify>);

impl Drop for OpenBody {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.notify_one();
    }
}

pub(crate) fn piece(at: u64) -> Bytes {
    vec![at as u8; KIB as usize].into()
}

pub(crate) fn bytes(pieces: u64) -> Vec<u8> {
    (0..pieces).flat_map(piece).collect()
}

pub(crate) struct Shared(Arc<Scripted>);

impl RawSource for Shared {
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
        async move {
            let n = self.0.asked.fetch_add(1, Ordering::SeqCst);
            self.0.conditional.fetch_add(usize::from(request.validators.is_some()), Ordering::SeqCst);
            let answer = (self.0.script)(n)?;
            if let Some(gate) = &answer.gate {
                gate.acquire().await.unwrap().forget();
            }
            self.0.open.fetch_add(1, Ordering::SeqCst);
            let guard = OpenBody(self.0.open.clone(), self.0.closed.clone());
            let pulled = self.0.pulled.clone();
            let last = answer.breaks.then(|| Err(SourceError::Unreachable("broken off".into())));
            let body = stream::iter((0..answer.pieces).map(|at| Ok(piece(at))).chain(last)).map(move |piece| {
                let _ = &guard;
                pulled.fetch_add(KIB, Ordering::SeqCst);
                piece
            });
            let fields = answer.fields.iter();
            Ok(RawResponse {
                status: StatusCode::from_u16(answer.status).unwrap(),
                headers: fields
                    .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
                    .collect::<HeaderMap>(),
                length: answer.announced.then_some(answer.pieces * KIB),
                body: body.boxed(),
            })
        }
        .boxed()
    }
}

/// A source that may wait for others, as relays do.
struct Waiting(Arc<dyn Source>);

impl Source for Waiting {
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>> {
        self.0.open(request)
    }

    fn is_root(&self) -> bool {
        false
    }
}

pub(crate) struct Sources {
    sources: Vec<Arc<dyn Source>>,
    /// Relays, which wait for others themselves.
    relays: bool,
}

impl Plan for Sources {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        self.sources.iter().map(|source| Candidate { source: source.clone(), label: "origin" }).collect()
    }

    fn route(&self, key: &ResourceKey, hops: u8) -> Route {
        let stage = if self.relays { hops } else { u8::MAX };
        Route { stage, candidates: self.candidates(key, hops) }
    }
}

#[derive(Default)]
pub(crate) struct Seen(pub(crate) Mutex<Vec<How>>);

impl Observer for Seen {
    fn served(&self, _: &Arc<weir_relay::object::Entry>, how: How) {
        self.0.lock().unwrap().push(how);
    }
}

pub(crate) struct Node {
    pub(crate) fetch: Fetch,
    pub(crate) sources: Vec<Arc<Scripted>>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) time: Arc<AtomicU64>,
}

impl Node {
    pub(crate) fn new(script: impl Fn(usize) -> Result<Answer, SourceError> + Send + Sync + 'static) -> Self {
        Self::with(FetchConfig::default(), vec![Box::new(script)])
    }

    pub(crate) fn with(config: FetchConfig, scripts: Vec<Script>) -> Self {
        Self::over(config, scripts, false)
    }

    /// Of relays that are asked before anybody else.
    pub(crate) fn of_relays(script: impl Fn(usize) -> Result<Answer, SourceError> + Send + Sync + 'static) -> Self {
        Self::over(FetchConfig::default(), vec![Box::new(script)], true)
    }

    fn over(config: FetchConfig, scripts: Vec<Script>, relays: bool) -> Self {
        let time = Arc::new(AtomicU64::new(NOW));
        let clock = Clock::Manual(time.clone());
        let sources: Vec<_> = scripts.into_iter().map(Scripted::new).collect();
        let asked = sources.iter().map(|source| match (source.trusted(&clock, &config), relays) {
            (source, true) => Arc::new(Waiting(source)) as Arc<dyn Source>,
            (source, false) => source,
        });
        let plan = Arc::new(Sources { sources: asked.collect(), relays });
        let store = Arc::new(Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap());
        let seen = Arc::new(Seen::default());
        Self { fetch: Fetch::new(store, plan, seen.clone(), clock, config), sources, seen, time }
    }

    pub(crate) async fn get(&self) -> Result<Served, FetchError> {
        timeout(Duration::from_secs(3600), self.fetch.get(&key(), 0)).await.unwrap()
    }

    /// The whole of what is served now, and how it was come by.
    pub(crate) async fn read(&self) -> (How, Result<Vec<u8>, String>) {
        let served = self.get().await.unwrap();
        (served.how, read(served.entry.body.reader(0, None)).await)
    }

    pub(crate) fn asked(&self) -> usize {
        self.sources[0].asked.load(Ordering::SeqCst)
    }

    pub(crate) fn pulled(&self) -> u64 {
        self.sources[0].pulled.load(Ordering::SeqCst)
    }

    pub(crate) async fn idle(&self) {
        while self.fetch.fills() > 0 {
            yield_now().await;
        }
    }

    /// Waits until the source's bodies are given up: at once, not when somebody's patience ends.
    pub(crate) async fn closed(&self) {
        let given_up = async {
            while self.sources[0].open.load(Ordering::SeqCst) > 0 {
                self.sources[0].closed.notified().await;
            }
        };
        timeout(Duration::from_secs(10), given_up).await.unwrap();
    }
}

pub(crate) fn key() -> ResourceKey {
    ResourceKey::parse(PublisherId::unsigned("https://upstream.example"), "/1.ts").unwrap()
}

pub(crate) async fn read(mut reader: Reader) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    while let Some(bytes) = poll_fn(|cx| reader.poll_next(cx)).await {
        out.extend_from_slice(&bytes.map_err(|why| why.to_string())?);
    }
    Ok(out)
}

pub(crate) fn down() -> SourceError {
    SourceError::Unreachable("down".into())
}

pub(crate) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

pub(crate) fn small_window() -> FetchConfig {
    FetchConfig { private_window_bytes: 8 * KIB, ..FetchConfig::default() }
}

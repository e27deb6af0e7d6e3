//! The edge's handler: the order in which a request is looked at, and the limits on how long it may take.

use super::{
    about::About,
    ahead::Ahead,
    booking::Booking,
    cache_status::{byte_source, nothing_served},
    cmsd, errors, own, player, receipt,
    reload::directed,
    respond::{Asked, CACHE_STATUS, Context, respond, waits_for_whole, waits_to_carry},
    sites::Sites,
    steer::Steers,
    told::{Told, mark},
};
use crate::{
    metrics::{ByteSource, EdgeMetrics, Kind},
    negotiate::preflight,
    tokens::{Admission, Gate},
};
use arc_swap::ArcSwap;
use http::{HeaderName, Method, StatusCode};
use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{Instant as Deadline, timeout_at};
use weir_hls::ResourceKind;
use weir_protocol::{resource::ResourceKey, wellknown::WELL_KNOWN_PATH, wire::Class};
use weir_relay::{
    fetch::{Ask, Fetch, How, Served},
    freshness::RequestDirectives,
    http::{Answer, Handler, Request, Response},
    meter::Delivery,
    object::{Ended, Entry},
    source::{self, Hold, Interim, InterimListener},
};

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Waits of the edge.
#[derive(Debug, Clone, Copy)]
pub struct RoutesConfig {
    /// For playlists, segments and subtitles: limit for the first byte, and between two bytes, from any source.
    pub player_patience: Duration,
    /// For everything else.
    pub patience: Duration,
    /// Segments that are fetched before a player asks for them, by the playlist it was given; 0 fetches none.
    pub prefetch: usize,
    /// Tell players of the object and the way to it in every response (CMSD), not only when they ask.
    pub cmsd: bool,
    /// Bytes a second for all viewers together, of which each is told its share.
    pub capacity: Option<NonZeroU64>,
}

impl Default for RoutesConfig {
    fn default() -> Self {
        Self {
            player_patience: Duration::from_millis(2500),
            patience: Duration::from_secs(15),
            prefetch: 2,
            cmsd: false,
            capacity: None,
        }
    }
}

/// The edge's routes.
pub struct Routes(Arc<Inner>);

pub(super) struct Inner {
    pub(super) fetch: Fetch,
    sites: ArcSwap<Sites>,
    pub(super) name: String,
    pub(super) metrics: Arc<EdgeMetrics>,
    config: RoutesConfig,
    pub(super) steers: Steers,
    ahead: Ahead,
    about: Option<About>,
    gate: Option<Gate>,
}

impl Routes {
    /// Routes over a fetcher. `name` is this cache's name in `Cache-Status` and `Via`: a token (RFC 9110 section
    /// 5.6.2) that no other relay has.
    pub fn new(fetch: Fetch, sites: Sites, name: String, metrics: Arc<EdgeMetrics>, config: RoutesConfig) -> Self {
        let (sites, steers, ahead) = (ArcSwap::from_pointee(sites), Steers::default(), Ahead::default());
        Self(Arc::new(Inner { fetch, sites, name, metrics, config, steers, ahead, about: None, gate: None }))
    }

    /// Whose door this is and how its publishers steer players; before the first request.
    #[must_use]
    pub fn steering(mut self, steers: Steers) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.steers = steers;
        }
        self
    }

    /// Asks for session tokens, and charges what is delivered to them; before the first request.
    #[must_use]
    pub fn behind(mut self, gate: Gate) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.gate = Some(gate);
        }
        self
    }

    /// Answers `/.well-known/weir` with this instead of asking a source for it.
    ///
    /// # Panics
    /// If the routes serve already.
    #[must_use]
    pub fn telling(mut self, about: About) -> Self {
        Arc::get_mut(&mut self.0).expect("routes are told about before they serve").about = Some(about);
        self
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
            inner.book(response, Booking { protocol, kind, source: ByteSource::Own, started, charge: None })
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
        if let Some(field) = self.looped(&request) {
            return Answer::Ready(errors::looped(&field));
        }
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        if request.uri.path().starts_with("/weir/") || request.uri.path() == "/weir" {
            return self.own(request, started);
        }
        let Ok((publisher, path)) = self.sites.load().resolve(request.authority.as_deref(), target) else {
            return Answer::Ready(errors::misdirected());
        };
        let key = match ResourceKey::parse(publisher, path) {
            Ok(key) => key,
            Err(error) => return Answer::Ready(errors::bad_path(&error)),
        };
        if key.path.as_str() == WELL_KNOWN_PATH
            && let Some(said) = self.about.as_ref().and_then(|about| about.say(&request.method, &publisher))
        {
            return Answer::Ready(said);
        }
        let wish = self.steers.wish(&request, &key);
        let (told, link) = (Told::of(&request.uri, &request.headers), request.link);
        let asks_cmsd = |query: &str| query.split('&').any(|pair| pair.split_once('=') == Some((cmsd::PARAMETER, "1")));
        let cmsd = self.config.cmsd || request.uri.query().is_some_and(asks_cmsd);
        let Request { method, uri, authority, mut headers, protocol, body, interim, .. } = request;
        let admission = match &self.gate {
            None => Ok(Admission::default()),
            Some(gate) => gate.admit(&publisher, &key.path, uri.query(), &mut headers, self.fetch.clock().now()),
        };
        let Admission { session, onward } = match admission {
            Ok(admission) => admission,
            Err(why) => return Answer::Ready(errors::not_admitted(why)),
        };
        let wants = RequestDirectives::of(&headers);
        let listener = interim.map(|send| {
            let listen = move |said: Interim| send(said.status, said.headers);
            Arc::new(listen) as InterimListener
        });
        let passed = method != Method::GET && method != Method::HEAD;
        let fields =
            if passed { source::Asked::pass(method.clone(), headers, body) } else { source::Asked::get(headers) };
        // What a live playlist announces is not made yet: its request waits, here and at the source.
        let patience = self.fetch.listing(&key).and_then(|listing| listing.patience());
        let fields = fields.holding(patience.map(|patience| Hold { awaits: None, patience }));
        let asked = Asked {
            method,
            request: Arc::new(fields.heard_by(listener)),
            protocol,
            kind: ResourceKind::of(key.path.as_str(), None),
            path: key.path.as_str().to_owned(),
            wish,
            told,
            link,
            cmsd,
            session: session.map(|session| (session, key.path.clone())),
            onward: onward.map(|token| (token, authority)),
        };
        let mut ask = Ask::viewer(key, asked.request.clone());
        if self.fetch.listing(&ask.key).is_some() {
            ask.class = Class::LivePart;
        }
        if passed {
            return Answer::Pending(Box::pin(async move { self.pass(asked, ask, started).await }));
        }
        if !wants.only_if_cached
            && let Some((plain, directives)) = directed(&ask)
        {
            return Answer::Pending(Box::pin(async move { self.reload(asked, ask, plain, directives, started).await }));
        }
        if let Some(served) = self.fetch.hit_for(&ask) {
            if waits_to_carry(&asked, &served) && served.entry.body.ended().is_none() {
                return Answer::Pending(Box::pin(async move { self.carried(asked, served, started).await }));
            }
            return Answer::Ready(self.finish(asked, &served, started));
        }
        if wants.only_if_cached {
            return Answer::Pending(Box::pin(async move { self.held(asked, ask, started).await }));
        }
        if let Some(growth) = self.growth(&asked, &ask) {
            return Answer::Pending(Box::pin(async move { self.growing(asked, ask, growth, started).await }));
        }
        if let Some(spec) = self.by_parts(&asked, &ask) {
            return Answer::Pending(Box::pin(async move { self.ranged(asked, ask, spec, started).await }));
        }
        Answer::Pending(Box::pin(async move { self.fill(asked, ask, started).await }))
    }

    /// A playlist that must be whole before the session's token can be written into it.
    async fn carried(self: Arc<Self>, asked: Asked, served: Served, started: Instant) -> Response {
        let deadline = Deadline::now() + self.patience(asked.kind);
        match self.first_byte(&asked, &served, deadline).await {
            Ok(()) => self.finish(asked, &served, started),
            Err(failure) => self.nothing(failure, "broke_off"),
        }
    }

    /// What only the origin can do.
    pub(super) async fn pass(self: Arc<Self>, mut asked: Asked, ask: Ask, started: Instant) -> Response {
        // No player waits for it in the middle of a film.
        asked.kind = ResourceKind::Other;
        let deadline = Deadline::now() + self.patience(asked.kind);
        match timeout_at(deadline, self.fetch.pass(&ask)).await {
            Ok(Ok(served)) => {
                let _wanted = served.entry.body.reader(0, None);
                match self.first_byte(&asked, &served, deadline).await {
                    Ok(()) => self.finish(asked, &served, started),
                    Err(failure) => self.nothing(failure, "broke_off"),
                }
            }
            Ok(Err(error)) => self.nothing(errors::not_fetched(asked.kind, &error), errors::label(&error)),
            Err(_) => self.nothing(errors::too_slow(asked.kind), "too_slow"),
        }
    }

    /// What is held, for who wants nobody asked.
    async fn held(self: Arc<Self>, asked: Asked, ask: Ask, started: Instant) -> Response {
        match self.fetch.held_for(&ask).await {
            Some(served) => self.finish(asked, &served, started),
            None => self.nothing(errors::only_if_cached(), "only-if-cached"),
        }
    }

    pub(super) async fn fill(self: Arc<Self>, asked: Asked, ask: Ask, started: Instant) -> Response {
        let held = asked.request.hold.map_or(Duration::ZERO, |hold| hold.patience);
        let deadline = Deadline::now() + self.patience(asked.kind).max(held);
        let failure = match timeout_at(deadline, self.fetch.get_for(&ask)).await {
            Ok(Ok(served)) => {
                // While it is held, a body that is nobody else's knows that it is wanted.
                let _wanted = served.entry.body.reader(0, None);
                match self.first_byte(&asked, &served, deadline).await {
                    Ok(()) => return self.finish(asked, &served, started),
                    Err(failure) => self.nothing(failure, "broke_off"),
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(err.kind = %error, "not served");
                self.nothing(errors::not_fetched(asked.kind, &error), errors::label(&error))
            }
            Err(_) => self.nothing(errors::too_slow(asked.kind), "too_slow"),
        };
        // A viewer is better off with what is stale and still allowed (RFC 5861 section 4) than with an error.
        match self.fetch.stale_for(&ask) {
            Some(stale) => self.finish(asked, &stale, started),
            None => failure,
        }
    }

    /// Says in `Cache-Status` why there is nothing but an error of our own.
    pub(super) fn nothing(&self, mut response: Response, why: &str) -> Response {
        response.headers.extend(nothing_served(&self.name, why).map(|status| (CACHE_STATUS, status)));
        response
    }

    /// A head without a byte behind it is no answer yet: once headers have left, all that is left is a reset. Text is
    /// waited for as a whole where it is short, because only then can it be sent compressed.
    pub(super) async fn first_byte(&self, asked: &Asked, served: &Served, deadline: Deadline) -> Result<(), Response> {
        let entry = &served.entry;
        let rewritten = asked.wish.is_some() || waits_to_carry(asked, served);
        if rewritten || waits_for_whole(kind_of_entry(asked, served), entry) {
            let _ = timeout_at(deadline, whole(entry)).await;
        }
        // A part leaves at the speed of the viewer's line or not at all (draft-pantos-hls-rfc8216bis section 6.2.6).
        if self.fetch.listing(&entry.head.key).is_some_and(|listing| listing.whole)
            && timeout_at(deadline, whole(entry)).await.is_err()
        {
            return Err(errors::too_slow(asked.kind));
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

    pub(super) fn finish(&self, mut asked: Asked, served: &Served, started: Instant) -> Response {
        asked.kind = kind_of_entry(&asked, served);
        let context = Context {
            name: &self.name,
            now: self.fetch.clock().now(),
            took: started.elapsed(),
            patience: self.patience(asked.kind),
        };
        let source = byte_source(served);
        let mut response = respond(&asked, served, &context);
        self.dress(&asked, served, &mut response);
        self.metrics.first_byte(source, started.elapsed());
        self.deliver(&asked, response, source, started)
    }

    /// Content goes out: charged to its session, if there is one.
    pub(super) fn deliver(&self, asked: &Asked, response: Response, source: ByteSource, started: Instant) -> Response {
        let kind = kind_of(&asked.path);
        let mut booking = Booking { protocol: asked.protocol, kind, source, started, charge: None };
        let (Some((session, path)), true) = (&asked.session, response.status.is_success()) else {
            return self.book(response, booking);
        };
        if asked.method == Method::HEAD {
            return self.book(response, booking);
        }
        let clock = self.fetch.clock();
        match session.charge(path, asked.protocol, response.body.length(), clock.now()) {
            Ok(charge) => {
                booking.charge = Some((charge, clock.clone()));
                self.book(response, booking)
            }
            Err(_) => self.book(errors::exhausted(), Booking { source: ByteSource::Own, ..booking }),
        }
    }

    /// What a player may know beside the object, and what follows from its asking for it.
    pub(super) fn dress(&self, asked: &Asked, served: &Served, response: &mut Response) {
        mark(&mut response.headers, asked.told.urgency(asked.kind));
        let (entry, good) = (&served.entry, response.status.is_success() && served.how != How::Passed);
        let key = entry.head.key.clone().with_variant(None);
        if asked.cmsd && good {
            let facts = cmsd::Facts {
                name: &self.name,
                kind: asked.kind,
                place: self.ahead.place(&key, 1),
                link: asked.link,
                share: self
                    .config
                    .capacity
                    .map(|capacity| (capacity, u64::try_from(self.metrics.open_connections()).unwrap_or_default())),
            };
            cmsd::add(&mut response.headers, &key, &facts);
        }
        if !good || asked.method != Method::GET {
            return;
        }
        match asked.kind {
            ResourceKind::Playlist if entry.is_shareable() && entry.head.status == StatusCode::OK => {
                self.ahead.learn(entry);
            }
            ResourceKind::Segment => self.ahead.prefetch(&self.fetch, &key, &asked.told, self.config.prefetch),
            _ => {}
        }
    }

    /// The request is over when its body is: then bytes, status and duration are counted together.
    pub(super) fn book(&self, mut response: Response, booking: Booking) -> Response {
        let booking = booking.begin(self.metrics.clone(), response.status);
        response.body = response.body.metered(Delivery::new(Arc::new(booking)));
        response
    }

    pub(super) fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    pub(super) fn sites(&self) -> Arc<Sites> {
        self.sites.load_full()
    }

    fn own(self: &Arc<Self>, request: Request, started: Instant) -> Answer {
        if request.uri.path() == "/weir/cmcd" {
            return self.reports(request, started);
        }
        if request.uri.path() == "/weir/receipt" && request.method == Method::POST {
            return match self.gate.as_ref().and_then(Gate::meter) {
                Some(meter) => Answer::Pending(Box::pin(receipt::take(meter.clone(), request.body))),
                None => Answer::Ready(errors::not_found("nothing is counted here")),
            };
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Answer::Ready(errors::method_not_allowed());
        }
        if let Some(page) = player::page(request.uri.path(), request.uri.query(), request.method == Method::HEAD) {
            return Answer::Ready(page);
        }
        let query = request.uri.query().unwrap_or_default();
        match request.uri.path() {
            "/weir/steer" => return self.steer(&request, started),
            "/weir/door" => return Answer::Ready(self.door()),
            _ => {}
        }
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
            Ok(key) if own::parameter(query, "range").is_some() => self.range_record(&request, &key, started),
            Ok(key) => Answer::Pending(Box::pin(own::record(self.fetch.clone(), key))),
            Err(error) => Answer::Ready(errors::bad_path(&error)),
        }
    }

    /// Our own name in `Via` (RFC 9110 section 7.6.3) or `CDN-Loop` (RFC 8586) means that the request has come in a
    /// circle. The second is looked at as well because nobody on the way may take it out.
    fn looped(&self, request: &Request) -> Option<HeaderName> {
        let named = |field: &HeaderName, is_ours: &dyn Fn(&str) -> bool| {
            let mut lines = request.headers.get_all(field).iter().filter_map(|line| line.to_str().ok());
            lines.any(|line| line.split(',').any(is_ours))
        };
        let node = format!("node={}", self.name);
        let in_via = |hop: &str| hop.split_whitespace().nth(1) == Some(self.name.as_str());
        let in_loop = |hop: &str| hop.split(';').skip(1).any(|parameter| parameter.trim() == node);
        if named(&http::header::VIA, &in_via) {
            Some(http::header::VIA)
        } else {
            named(&CDN_LOOP, &in_loop).then_some(CDN_LOOP)
        }
    }

    pub(super) fn patience(&self, kind: ResourceKind) -> Duration {
        if errors::fails_fast(kind) { self.config.player_patience } else { self.config.patience }
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

pub(super) fn kind_of(path: &str) -> Kind {
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

//! What the adapter's doors see of sessions, and its way into the ledger.

use super::{
    adapter::Adapter,
    metering::Ledger,
    origin::Origin,
    relay::Relay,
    seen::{soon, until},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use prometheus::Registry;
use std::sync::{
    Arc, RwLock,
    atomic::{AtomicU64, Ordering},
};
use tokio_util::sync::CancellationToken;
use weir_origin::{
    keys::Signer,
    observe::{ObservedDoors, Observer, Whom, restore},
    reports::Reports,
    steering::Proofs,
};
use weir_protocol::{
    Epoch, Observation, PublisherId, RelayId, TokenHash,
    keys::SigningKey,
    statement::{Kind, Unverified},
    token::{SessionClaims, TokenUse},
};
use weir_relay::{
    clock::Clock,
    http::{Answer, Body, Handler, Protocol, Request, Response},
};

const HOUR: u64 = 3_600_000;

struct Content;

impl Handler for Content {
    fn call(&self, _: Request) -> Answer {
        Answer::Ready(Response::text(StatusCode::OK, "content"))
    }
}

/// Observed doors in front of an adapter's ledger.
struct Site<'a> {
    adapter: &'a Adapter,
    ledger: &'a Ledger,
    time: Arc<AtomicU64>,
    observer: Arc<Observer>,
    doors: ObservedDoors,
}

impl<'a> Site<'a> {
    async fn open(adapter: &'a Adapter, ledger: &'a Ledger, at: u64) -> Self {
        let time = Arc::new(AtomicU64::new(at));
        let registry = Registry::new();
        let ring = Arc::new(RwLock::new(adapter.publisher.ring()));
        let whom = Whom::new(adapter.directory.clone(), Arc::new(Proofs::default()));
        let clock = Clock::Manual(time.clone());
        let observer = Arc::new(Observer::new(ring, whom, HOUR, clock, &registry).unwrap());
        restore(&observer, ledger.log.store(), HOUR).await.unwrap();
        let reports = Reports::register(&registry).unwrap();
        let doors = ObservedDoors::new(Arc::new(Content), reports, Some(observer.clone()));
        Self { adapter, ledger, time, observer, doors }
    }

    fn claims(&self) -> SessionClaims {
        SessionClaims {
            iss: self.adapter.publisher.root.publisher_id(),
            sid: "a-session".into(),
            prefix: "/".into(),
            exp: self.time.load(Ordering::Relaxed) / 1000 + 600,
            nbf: None,
            iat: Some(self.time.load(Ordering::Relaxed) / 1000),
            max_bytes: None,
            cnf: None,
            relays: Vec::new(),
            usage: TokenUse::Viewer,
        }
    }

    fn token(&self, change: impl FnOnce(SessionClaims) -> SessionClaims) -> String {
        change(self.claims()).sign(&self.adapter.publisher.signing).unwrap()
    }

    async fn ask(&self, method: Method, target: &str, body: impl Into<bytes::Bytes>) -> Response {
        let request = Request {
            method,
            uri: target.parse().unwrap(),
            authority: Some("adapter.example".into()),
            headers: HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static("https://page.example"))]),
            protocol: Protocol::H2,
            secure: true,
            body: Body::full(body.into()),
            interim: None,
            link: None,
        };
        soon("an answer", self.doors.call(request).wait()).await
    }

    async fn poll(&self, token: &str, relay: RelayId, bits: u64) {
        let name = relay.to_string();
        let name = &name[name.len() - 8..];
        let target = format!("/weir/steer?weir_token={token}&_HLS_pathway=R{name}-e0123abcd&_HLS_throughput={bits}");
        assert_eq!(self.ask(Method::GET, &target, "").await.status, StatusCode::OK);
    }

    fn later(&self, ms: u64) {
        self.time.fetch_add(ms, Ordering::Relaxed);
    }

    /// States what was seen, as the end of the process does.
    async fn end(&self) -> Vec<Observation> {
        let signer = Signer::new(SigningKey::from_bytes(self.adapter.publisher.signing.secret_bytes()));
        let publisher = self.adapter.publisher.root.publisher_id();
        let stop = CancellationToken::new();
        stop.cancel();
        let submitter = self.ledger.submitter.clone();
        soon("the last statement", self.observer.clone().run(submitter, Arc::new(signer), publisher, HOUR, stop)).await;
        let ring = self.adapter.publisher.ring();
        let all = self.ledger.messages(Kind::Observation).await.into_iter();
        all.map(|bytes| Unverified::<Observation>::new(bytes).verify_with(&ring).unwrap().statement().clone()).collect()
    }
}

/// The middle of the hour that runs, for keys that are good now.
fn middle() -> u64 {
    Clock::System.now().0 / HOUR * HOUR + HOUR / 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_become_an_observation_that_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    adapter.knows(1).await;
    until("a grant", || adapter.directory.grants().len() == 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let start = middle();
    let site = Site::open(&adapter, &ledger, start).await;
    let token = site.token(|claims| claims);
    for _ in 0..3 {
        site.poll(&token, relay.id, 8_000_000).await;
        site.later(10);
    }
    let stated = site.end().await;
    let [one] = &stated[..] else { panic!("{stated:?}") };
    assert_eq!((one.epoch, one.relay, one.token), (Epoch(start / HOUR), relay.id, TokenHash::of(&token)));
    let first = one.reported_bytes.unwrap();
    assert!(first > 0 && one.listed_bytes.is_none() && one.imported_bytes.is_none());
    assert_eq!(site.end().await.len(), 1, "what is stated is not stated again");

    // Another process: its sums go on, its numbers rise.
    let again = Site::open(&adapter, &ledger, start + 60_000).await;
    again.poll(&token, relay.id, 8_000_000).await;
    let stated = again.end().await;
    let last = stated.iter().filter(|said| said.epoch == one.epoch).max_by_key(|said| said.counter).unwrap();
    assert!(last.counter > one.counter && last.reported_bytes.unwrap() > first, "{last:?}");
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_viewers_good_token_is_a_sighting() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    until("a grant", || adapter.directory.grants().len() == 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let site = Site::open(&adapter, &ledger, middle()).await;
    let forged = site.claims().sign(&SigningKey::from_bytes(&[77; 32])).unwrap();
    let foreign = site.token(|claims| SessionClaims { iss: PublisherId([7; 32]), ..claims });
    let expired = site.token(|claims| SessionClaims { exp: claims.exp - 3600, ..claims });
    let service = site.token(|claims| SessionClaims { usage: TokenUse::Service, ..claims });
    for bad in [&forged, &foreign, &expired, &service, "nonsense"] {
        for _ in 0..2 {
            site.poll(bad, relay.id, 8_000_000).await;
        }
    }
    assert_eq!(site.observer.totals().sightings, 0);
    assert_eq!(site.end().await, []);
    // Without a token, and for a segment that the adapter serves itself, there is nothing to see.
    let good = site.token(|claims| claims);
    for target in ["/weir/steer?_HLS_pathway=A".to_owned(), format!("/film/seg0.ts?weir_token={good}")] {
        site.ask(Method::GET, &target, "").await;
    }
    assert_eq!(site.observer.totals().sightings, 0);
    site.ask(Method::GET, &format!("/film/m.m3u8?weir_token={good}"), "").await;
    assert_eq!((site.observer.totals().sightings, site.observer.totals().sessions), (1, 1));
    // A report names its session by the token's sid too, once the token is known.
    let sid = "e=t,sid=\"a-session\",mtp=5000,ts=1\n";
    assert_eq!(site.ask(Method::POST, "/cmcd", sid).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        site.ask(Method::POST, "/cmcd", sid.replace("a-session", "another")).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(site.observer.totals().sightings, 2);
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_bounded_and_open_to_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let site = Site::open(&adapter, &ledger, middle()).await;
    let preflight = site.ask(Method::OPTIONS, "/cmcd", "").await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Authorization"),
    ] {
        assert_eq!(preflight.headers[name], value);
    }
    assert_eq!(site.ask(Method::GET, "/cmcd", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let refused = site.ask(Method::POST, "/cmcd", "e=t").await;
    assert_eq!(
        (refused.status, &refused.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]),
        (StatusCode::BAD_REQUEST, &HeaderValue::from_static("*"))
    );
    assert_eq!(site.ask(Method::POST, "/cmcd", vec![b'x'; (64 << 10) + 1]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let target = format!("/weir/cmcd?weir_token={}", site.token(|claims| claims));
    let mut answers = Vec::new();
    for _ in 0..61 {
        answers.push(site.ask(Method::POST, &target, "e=t,ts=1,mtp=1000\n").await.status);
    }
    assert!(answers[..60].iter().all(|status| *status == StatusCode::NO_CONTENT));
    let over = site.ask(Method::POST, &target, "e=t,ts=1\n").await;
    assert_eq!((answers[60], over.status), (StatusCode::TOO_MANY_REQUESTS, StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(over.headers[header::RETRY_AFTER], "1");
    site.later(1_000);
    assert_eq!(site.ask(Method::POST, &target, "e=t,ts=1\n").await.status, StatusCode::NO_CONTENT);
    ledger.close().await;
}

//! The adapter's doors as an observer: what players ask of the publisher itself passes by here before it is answered.
//!
//! Invariant: an answer is the same whether it was observed or not; only reports are answered here, since a relay passes
//! them on like any request and what it passes on is not the player's own word.

use super::observer::{Observer, parameter};
use crate::{
    own::{CMCD_PATH, REPORT_PATIENCE, STEER_PATH, whole},
    reports::Reports,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;
use tokio::time::timeout;
use weir_hls::{ResourceKind, cmcd::MAX_EVENTS_BYTES};
use weir_relay::http::{Answer, Handler, Request, Response};

/// The same page under a short name, for players' configurations.
const SHORT_CMCD_PATH: &str = "/cmcd";
/// Seconds that a browser may remember what is allowed, and that a player waits when it sends too much.
const PREFLIGHT_LIFE: &str = "86400";
const AGAIN: &str = "1";

/// Doors whose requests are observed.
pub struct ObservedDoors {
    inner: Arc<dyn Handler>,
    reports: Arc<Reports>,
    observer: Option<Arc<Observer>>,
}

impl ObservedDoors {
    /// Observes what goes to `inner`. Without an observer reports are counted and nothing else.
    pub fn new(inner: Arc<dyn Handler>, reports: Arc<Reports>, observer: Option<Arc<Observer>>) -> Self {
        Self { inner, reports, observer }
    }

    fn cmcd(&self, request: Request) -> Answer {
        match request.method {
            Method::POST => {}
            Method::OPTIONS => return Answer::Ready(open(Response::new(StatusCode::NO_CONTENT))),
            _ => {
                let response = Response::text(StatusCode::METHOD_NOT_ALLOWED, "POST reports here");
                return Answer::Ready(open(response).with(header::ALLOW, HeaderValue::from_static("POST, OPTIONS")));
            }
        }
        let (reports, observer) = (self.reports.clone(), self.observer.clone());
        Answer::Pending(Box::pin(async move { open(take(request, &reports, observer.as_deref()).await) }))
    }
}

async fn take(request: Request, reports: &Reports, observer: Option<&Observer>) -> Response {
    let token = token(&request.headers, request.uri.query());
    let poster = observer.zip(token).and_then(|(observer, token)| observer.session(&token));
    if observer.is_some_and(|observer| !observer.admits(poster.as_ref())) {
        return Response::text(StatusCode::TOO_MANY_REQUESTS, "too many reports: send several in one body")
            .with(header::RETRY_AFTER, HeaderValue::from_static(AGAIN));
    }
    let Ok(Some(body)) = timeout(REPORT_PATIENCE, whole(request.body)).await else {
        let why = format!("reports are at most {MAX_EVENTS_BYTES} bytes, sent at once");
        return Response::text(StatusCode::PAYLOAD_TOO_LARGE, why);
    };
    match reports.read(&body) {
        Ok(found) => {
            if let Some(observer) = observer {
                observer.reported(poster, &found);
            }
            Response::new(StatusCode::NO_CONTENT).with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
        }
        Err(why) => Response::text(StatusCode::BAD_REQUEST, why.to_string()),
    }
}

impl Handler for ObservedDoors {
    fn call(&self, request: Request) -> Answer {
        let path = request.uri.path();
        if path == CMCD_PATH || path == SHORT_CMCD_PATH {
            return self.cmcd(request);
        }
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        if let Some(observer) = self.observer.as_ref().filter(|_| reads)
            && let Some(token) = token(&request.headers, request.uri.query())
        {
            if path == STEER_PATH {
                let said = |name| parameter(request.uri.query().unwrap_or_default(), name);
                let throughput = said("_HLS_throughput").and_then(|bits| bits.parse().ok());
                observer.steered(&token, said("_HLS_pathway").as_deref(), said("base").as_deref(), throughput);
            } else if matches!(ResourceKind::of(path, None), ResourceKind::Playlist | ResourceKind::Key) {
                observer.requested(&token);
            }
        }
        self.inner.call(request)
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response {
        self.inner.refuse(status, why)
    }
}

/// The token that a request carries: in its query, or as a Bearer token.
fn token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    query.and_then(|query| parameter(query, "weir_token")).or_else(|| {
        let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' ').to_owned())
    })
}

/// Any page's player may send reports and read the answer; no credentials are used.
fn open(mut response: Response) -> Response {
    let fields: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Authorization"),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_LIFE),
    ];
    response.headers.extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

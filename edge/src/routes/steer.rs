//! Content steering at a door: what of a request makes a playlist tell of a steering server, and `/weir/steer` itself.
//!
//! Invariant: `/weir/steer` answers 200 with a list that no player stops at, whether the adapter answers, has answered
//! once, or is not there at all; an injected playlist goes out without the signature of what it was.

use super::{errors, handler::Inner, respond::Asked, told::Told};
use crate::negotiate::cors_headers;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{Instant as Deadline, timeout_at};
use weir_hls::{
    ResourceKind,
    steering::{Injection, MAX_LIST_BYTES, MEDIA_TYPE, SteeringList, inject, is_pathway_id},
};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    resource::{ResourceKey, STEER_PARAMETER, TOKEN_PARAMETER},
    wellknown::Steering,
};
use weir_relay::{
    fetch::Ask,
    http::{Answer, Body, Request, Response},
    object::Entry,
    source,
};

/// Where lists are asked for.
const STEER_PATH: &str = "/weir/steer";
/// Says whose door this is.
const RELAY_FIELD: HeaderName = HeaderName::from_static("weir-relay");
/// Says that a response is not what the publisher signed.
const TRANSFORMED: HeaderName = HeaderName::from_static("weir-transformed");
/// The pathways that injected playlists have.
const PATHWAYS: [&str; 2] = ["A", "B"];
/// When a list is too long to be written.
const DEFAULT_LIST: &str = r#"{"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["A","B"]}"#;
/// Longest wait for the adapter's list: a player that waits for one plays on, but learns nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// A list of our own names its time to live in seconds; the adapter may be back sooner.
const OWN_TTL: u32 = 10;
/// Numbers that draw relays: each makes a list of its own.
const SPREAD: u64 = 16;
/// Longest value that is passed on, in bytes.
const MAX_VALUE: usize = 1024;
/// Longest session token that is passed on, in bytes.
const MAX_TOKEN: usize = 4096;
/// What stands as it is in a parameter's value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The region that this relay is assigned to in a publisher's network; empty when nobody has said.
type RegionOf = Arc<dyn Fn(&PublisherId) -> String + Send + Sync>;

/// What a door knows of steering.
#[derive(Clone)]
pub struct Steers {
    /// This relay; `None` at a door that is nobody's, such as an adapter's.
    pub relay: Option<RelayId>,
    /// How each publisher's playlists tell of a steering server.
    pub policies: HashMap<PublisherId, Steering>,
    /// Where this relay is.
    pub region: RegionOf,
}

impl Default for Steers {
    fn default() -> Self {
        Self { relay: None, policies: HashMap::new(), region: Arc::new(|_| String::new()) }
    }
}

/// What is put into a playlist for one requester.
pub(super) struct Wish {
    server_uri: String,
    base: String,
}

impl Steers {
    /// Whether this request's playlist tells of a steering server, and of which.
    pub(super) fn wish(&self, request: &Request, key: &ResourceKey) -> Option<Wish> {
        let policy = self.policies.get(&key.publisher)?;
        let query = request.uri.query().unwrap_or_default();
        let asked = query.split('&').any(|pair| pair.split_once('=') == Some((STEER_PARAMETER, "1")));
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let playlist = ResourceKind::of(key.path.as_str(), None) == ResourceKind::Playlist;
        if !(reads && playlist && (policy.always || asked)) {
            return None;
        }
        let scheme = if request.secure { "https" } else { "http" };
        let host = request.authority.as_deref().filter(|host| host.bytes().all(|byte| byte.is_ascii_graphic()));
        // What stands before the publisher's own path: its name, at a relay of several.
        let prefix = request.uri.path().strip_suffix(key.path.as_str()).unwrap_or_default();
        let target = request.uri.path();
        let base = host.map(|host| format!("{scheme}://{host}{prefix}"));
        let region = (self.region)(&key.publisher);
        let parameters = [
            // At an adapter of one publisher its own path is enough; a relay of several finds the publisher by the rest.
            ("for", Some(if policy.server.is_some() { key.path.as_str().to_owned() } else { target.to_owned() })),
            ("base", base),
            ("region", Some(region).filter(|region| !region.is_empty())),
            ("spread", Some((rand::random::<u64>() % SPREAD).to_string())),
            // A poll at the publisher's own server tells whose it is: that is how the publisher sees the session itself.
            // The token is its own; at a relay's address the playlist carries it onward like any other.
            (
                TOKEN_PARAMETER,
                super::own::parameter(query, TOKEN_PARAMETER)
                    .filter(|token| policy.server.is_some() && !token.is_empty() && token.len() <= MAX_TOKEN),
            ),
        ];
        let server = policy.server.as_deref().unwrap_or_default();
        let server_uri = format!("{server}{STEER_PATH}?{}", written(&parameters));
        Some(Wish { server_uri, base: policy.fallback.clone() })
    }
}

impl Wish {
    /// The playlist with the steering server in it; `None` where it stays as it is.
    pub(super) fn fulfil(&self, path: &str, entry: &Entry) -> Option<Bytes> {
        let told = entry.head.headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let fixed = told.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case("no-transform"));
        let text = entry.body.joined().filter(|_| !fixed && entry.head.status == StatusCode::OK)?;
        let [first, second] = PATHWAYS;
        let injection = Injection { server_uri: &self.server_uri, first, second, path, base: &self.base };
        inject(&text, &injection).ok().map(Bytes::from)
    }
}

/// What an injected playlist is no longer: itself under its validators.
pub(super) fn mark_transformed(headers: &mut HeaderMap) {
    for name in [header::ETAG, header::LAST_MODIFIED] {
        headers.remove(name);
    }
    headers.insert(TRANSFORMED, HeaderValue::from_static("steering"));
}

/// A query of these parameters.
pub(super) fn written(parameters: &[(&str, Option<String>)]) -> String {
    let said = parameters.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let pairs: Vec<String> =
        said.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, PLAIN))).collect();
    pairs.join("&")
}

/// The decoded value of a parameter that is not too long.
fn value(query: &str, name: &str) -> Option<String> {
    super::own::parameter(query, name).filter(|value| value.len() <= MAX_VALUE)
}

impl Inner {
    /// Whose door this is.
    pub(super) fn door(&self) -> Response {
        let Some(relay) = self.steers.relay else {
            return errors::not_found("this door is no relay's");
        };
        let name = relay.to_string();
        let mut response = Response::new(StatusCode::OK)
            .with(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .body(Body::full(format!("{name}\n")));
        response.headers.extend(HeaderValue::from_str(&name).ok().map(|name| (RELAY_FIELD, name)));
        cors_headers(&mut response.headers);
        response
    }

    /// Answers `/weir/steer`: the adapter's list, which is content like any other, or one of our own.
    pub(super) fn steer(self: &Arc<Self>, request: &Request, started: Instant) -> Answer {
        let query = request.uri.query().unwrap_or_default().to_owned();
        let target = value(&query, "for");
        let meant = target.as_deref().filter(|target| target.starts_with('/')).unwrap_or("/");
        let sites = self.sites();
        let Ok((publisher, path)) = sites.resolve(request.authority.as_deref(), meant) else {
            return Answer::Ready(own_list(&query));
        };
        let at = value(&query, "_HLS_pathway").filter(|id| is_pathway_id(id));
        let region = value(&query, "region").unwrap_or_else(|| (self.steers.region)(&publisher));
        let spread =
            value(&query, "spread").and_then(|spread| spread.parse::<u64>().ok()).map(|spread| spread % SPREAD);
        let path = path.split('?').next().map(str::to_owned).filter(|_| target.is_some());
        let parameters = [
            ("for", path),
            ("base", value(&query, "base")),
            ("region", Some(region).filter(|region| !region.is_empty())),
            ("spread", spread.map(|spread| spread.to_string())),
            ("at", at),
        ];
        let Ok(key) = ResourceKey::parse(publisher, &format!("{STEER_PATH}?{}", written(&parameters))) else {
            return Answer::Ready(own_list(&query));
        };
        let asked = Asked {
            method: request.method.clone(),
            request: Arc::new(source::Asked::get(HeaderMap::new())),
            protocol: request.protocol,
            kind: ResourceKind::Other,
            path: key.path.as_str().to_owned(),
            wish: None,
            session: None,
            onward: None,
            told: Told::default(),
            link: None,
            cmsd: false,
        };
        // Clones that are spelt out know nothing of the token that the playlist's own URIs carry.
        let token = super::own::parameter(&query, TOKEN_PARAMETER).filter(|token| token.len() <= MAX_TOKEN);
        let inner = self.clone();
        Answer::Pending(Box::pin(async move {
            let ask = Ask::viewer(key, asked.request.clone());
            inner.list(asked, &ask, token, started).await.unwrap_or_else(|| own_list(&query))
        }))
    }

    async fn list(&self, asked: Asked, ask: &Ask, token: Option<String>, started: Instant) -> Option<Response> {
        let deadline = Deadline::now() + PATIENCE;
        let fetched = timeout_at(deadline, async {
            let served = self.fetch().get_for(ask).await.ok()?;
            while served.entry.body.ended().is_none() {
                served.entry.body.beyond(served.entry.body.length()).await;
            }
            Some(served)
        });
        let served = match fetched.await {
            Ok(Some(served)) => served,
            _ => self.fetch().stale_for(ask)?,
        };
        let entry = &served.entry;
        let short = entry.body.length() <= MAX_LIST_BYTES as u64;
        let list = entry.body.joined().filter(|_| entry.head.status == StatusCode::OK && short)?;
        let list = SteeringList::parse(&list).ok()?;
        match token {
            Some(token) if !list.clones().is_empty() => Some(answer(&list.with_parameter(TOKEN_PARAMETER, &token))),
            _ => Some(self.finish(asked, &served, started)),
        }
    }
}

/// A list that keeps a player where it is, for when nobody else has one.
fn own_list(query: &str) -> Response {
    let at = value(query, "_HLS_pathway").filter(|id| is_pathway_id(id));
    let mut priority: Vec<String> = at.into_iter().collect();
    for id in PATHWAYS {
        if !priority.iter().any(|known| known == id) {
            priority.push(id.to_owned());
        }
    }
    answer(&SteeringList::new(OWN_TTL, priority, Vec::new()).expect("two or three unlike pathway IDs"))
}

/// A list that is made here, for one player.
fn answer(list: &SteeringList) -> Response {
    let list = list.to_json().unwrap_or_else(|_| DEFAULT_LIST.as_bytes().to_vec());
    let mut response = Response::new(StatusCode::OK)
        .with(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .body(Body::full(list));
    cors_headers(&mut response.headers);
    response
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_relay::http::Protocol;

    fn request(target: &str) -> Request {
        Request {
            method: Method::GET,
            uri: target.parse().unwrap(),
            authority: Some("relay.example:7443".into()),
            headers: HeaderMap::new(),
            protocol: Protocol::H1,
            secure: true,
            body: Body::empty(),
            interim: None,
            link: None,
        }
    }

    fn steers(always: bool, server: Option<&str>) -> Steers {
        let publisher = PublisherId([1; 32]);
        let policy = Steering { fallback: "https://cdn.example".into(), server: server.map(str::to_owned), always };
        Steers {
            policies: HashMap::from([(publisher, policy)]),
            region: Arc::new(|_| "eu".into()),
            ..Steers::default()
        }
    }

    fn wish(steers: &Steers, target: &str, path: &str) -> Option<String> {
        let key = ResourceKey::parse(PublisherId([1; 32]), path).unwrap();
        let found = steers.wish(&request(target), &key)?;
        let (uri, spread) = found.server_uri.split_once("&spread=").unwrap();
        assert!(spread.parse::<u64>().unwrap() < SPREAD);
        Some(uri.to_owned())
    }

    #[test]
    fn playlists_are_injected_on_request_or_always() {
        let asked = steers(false, None);
        let uri = "/weir/steer?for=%2Fname%2Fa%2Fm.m3u8&base=https%3A%2F%2Frelay.example%3A7443%2Fname&region=eu";
        assert_eq!(wish(&asked, "/name/a/m.m3u8?weir_steer=1", "/a/m.m3u8").as_deref(), Some(uri));
        assert_eq!(wish(&asked, "/name/a/m.m3u8?weir_steer=0", "/a/m.m3u8"), None);
        assert_eq!(wish(&asked, "/name/a/m.m3u8", "/a/m.m3u8"), None);
        let always = steers(true, Some("https://adapter.example"));
        let uri =
            "https://adapter.example/weir/steer?for=%2Fa%2Fm.m3u8&base=https%3A%2F%2Frelay.example%3A7443&region=eu";
        assert_eq!(wish(&always, "/a/m.m3u8", "/a/m.m3u8").as_deref(), Some(uri));
        assert_eq!(wish(&always, "/a/s.m4s", "/a/s.m4s"), None);
    }

    /// The publisher's own server learns whose poll it is; a relay's address is written without, and gets it like any
    /// other reference.
    #[test]
    fn the_token_goes_to_the_publishers_own_server() {
        let key = ResourceKey::parse(PublisherId([1; 32]), "/a/m.m3u8").unwrap();
        let carried = |server| {
            let asked = request("/a/m.m3u8?weir_token=x.y.z");
            steers(true, server).wish(&asked, &key).unwrap().server_uri.contains("&weir_token=x.y.z")
        };
        assert!(carried(Some("https://adapter.example")) && !carried(None));
    }

    #[test]
    fn our_own_list_keeps_a_player_where_it_is() {
        let list = |query| {
            let mut body = own_list(query).body;
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            match body.poll_data(&mut cx) {
                std::task::Poll::Ready(Some(Ok(json))) => SteeringList::parse(&json).unwrap().priority().to_vec(),
                _ => Vec::new(),
            }
        };
        assert_eq!(list(""), ["A", "B"]);
        assert_eq!(list("_HLS_pathway=B&_HLS_throughput=5"), ["B", "A"]);
        assert_eq!(list("_HLS_pathway=R1-e2"), ["R1-e2", "A", "B"]);
        assert_eq!(list("_HLS_pathway=%22"), ["A", "B"]);
    }
}

//! The player page: the one that every edge has, `/api/demo`, which tells the page what runs where and how it is, and
//! `/api/control`, which changes that.
//!
//! Invariant: nothing is read from the disk, and nothing but an admitted command changes anything.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use weir_edge::routes::player_file;
use weir_relay::http::{Answer, Body, Handler, Request, Response};

use super::control::{Control, Desk, is_for_this_machine, is_from_elsewhere};
use super::network::{Network, Relay};

/// Where the page learns what runs where.
const DESCRIPTION: &str = "/api/demo";
/// Where commands are posted.
const CONTROL: &str = "/api/control";
/// Where the page gets a session token for its key.
const SESSION: &str = "/api/session";

/// Answers the page's requests.
pub(super) struct Page {
    /// What stays the same while the demo runs.
    fixed: Value,
    control: Control,
}

impl Page {
    pub(super) fn new(fixed: Value, control: Control) -> Self {
        Self { fixed, control }
    }

    /// What runs where and how it is, with the token that controls it.
    fn description(&self) -> Value {
        let mut all = self.fixed.clone();
        all["relays"] = self.control.relays().iter().map(relay).collect();
        all["session"] = SESSION.into();
        all["control"] = json!({ "path": CONTROL, "token": self.control.token() });
        all
    }

    fn answer(&self, request: &Request) -> Response {
        // Only pages of the demo's own may read the token: see the module on control.
        let is_api = request.uri.path().starts_with("/api/");
        if is_api && !is_for_this_machine(request.authority.as_deref()) {
            return Response::text(StatusCode::MISDIRECTED_REQUEST, "ask by the loopback address");
        }
        if is_api && is_from_elsewhere(&request.headers) {
            return Response::text(StatusCode::FORBIDDEN, "only the demo's own page may ask");
        }
        let is_head = request.method == Method::HEAD;
        if !is_head && request.method != Method::GET {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        let path = request.uri.path();
        if path == DESCRIPTION {
            let text = self.description().to_string();
            let response = Response::new(StatusCode::OK)
                .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
                .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            return if is_head {
                response.with(CONTENT_LENGTH, text.len().into())
            } else {
                response.body(Body::full(text))
            };
        }
        let file = path.strip_prefix('/').and_then(|name| player_file(name, is_head));
        file.unwrap_or_else(|| Response::text(StatusCode::NOT_FOUND, "the player page is at /"))
    }
}

impl Handler for Page {
    fn call(&self, request: Request) -> Answer {
        match request.uri.path() {
            CONTROL => return self.control.answer(Desk::Command, request),
            SESSION => return self.control.answer(Desk::Session, request),
            _ => {}
        }
        Answer::Ready(self.answer(&request))
    }
}

/// What `/api/demo` says that stays the same: where the programmes are, whether the demo was asked to show HTTP/3, and
/// who signs.
pub(super) fn description(network: &Network, h3: bool) -> Value {
    json!({
        "live": "/live/master.m3u8", "low_latency": "/ll/master.m3u8", "film": "/film/master.m3u8", "h3": h3, "spki_sha256": network.spki,
        "publisher": network.publisher,
        "adapter": {
            "pid": network.adapter.pid(), "http": format!("http://{}", network.ports.adapter_http),
            "admin": format!("http://{}", network.ports.adapter_admin),
        },
    })
}

/// One relay: its addresses, and how it is.
fn relay(relay: &Relay) -> Value {
    let condition = relay.ward.condition();
    json!({
        "name": relay.name, "peer": relay.peer, "pid": condition.pid,
        "http": format!("http://{}", relay.places.http), "https": format!("https://{}", relay.places.tls),
        "admin": format!("http://{}", relay.places.admin), "condition": condition,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::demo::control::{Token, Tokens};
    use http::HeaderMap;
    use std::sync::Arc;
    use weir_relay::http::Protocol;

    fn ask(method: Method, path: &str, authority: Option<&str>, site: Option<&'static str>) -> Response {
        let adapter = tempfile::tempdir().unwrap();
        let tokens = Arc::new(Tokens::of(adapter.path()).unwrap());
        let page = Page::new(json!({ "h3": true }), Control::new(Token::random(), [].into(), tokens));
        let mut headers = HeaderMap::new();
        if let Some(site) = site {
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
        }
        page.answer(&Request {
            method,
            uri: path.parse().unwrap(),
            authority: authority.map(str::to_owned),
            headers,
            protocol: Protocol::H1,
            secure: false,
            interim: None,
            link: None,
            body: Body::empty(),
        })
    }

    const HERE: Option<&str> = Some("127.0.0.1:7080");

    #[test]
    fn the_page_and_its_description_are_there_and_nothing_else() {
        assert_eq!(ask(Method::GET, "/?content=live", HERE, None).status, StatusCode::OK);
        assert_eq!(ask(Method::GET, "/app.js", HERE, Some("cross-site")).status, StatusCode::OK, "it holds no secret");
        let told = ask(Method::GET, DESCRIPTION, HERE, Some("same-origin"));
        assert_eq!(
            (told.status, &told.headers[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("application/json"))
        );
        assert!(!told.headers.contains_key("access-control-allow-origin"), "no other site may read the token");
        for path in ["/..%2fCargo.toml", "/tests/play.mjs", "/api", "//index.html"] {
            assert_eq!(ask(Method::GET, path, HERE, None).status, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask(Method::POST, "/", HERE, None).status, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn the_token_is_for_pages_of_the_demo_alone() {
        assert_eq!(ask(Method::GET, DESCRIPTION, HERE, Some("cross-site")).status, StatusCode::FORBIDDEN);
        for elsewhere in [None, Some("evil.example:7080")] {
            assert_eq!(ask(Method::GET, DESCRIPTION, elsewhere, None).status, StatusCode::MISDIRECTED_REQUEST);
        }
    }
}

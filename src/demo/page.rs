//! The player page: files embedded in the program, and `/api/demo`, which tells the page what runs where.
//!
//! Invariant: nothing is read from the disk and nothing a client sends changes anything.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use weir_relay::http::{Answer, Body, Handler, Request, Response};

use super::network::Network;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

macro_rules! file {
    ($path:literal, $kind:expr) => {
        (concat!("/", $path), $kind, include_bytes!(concat!("../../player-demo/", $path)))
    };
}

/// Path, type and bytes of every file of the page.
const FILES: [(&str, &str, &[u8]); 9] = [
    file!("index.html", HTML),
    file!("style.css", CSS),
    file!("icon.svg", SVG),
    file!("app.js", SCRIPT),
    file!("measure.js", SCRIPT),
    file!("player.js", SCRIPT),
    file!("view.js", SCRIPT),
    file!("vendor/hls.min.js", SCRIPT),
    file!("vendor/hls.LICENSE.txt", TEXT),
];

/// Answers the page's requests.
#[derive(Debug)]
pub(super) struct Page {
    description: Bytes,
}

impl Page {
    pub(super) fn new(description: &Value) -> Self {
        Self { description: description.to_string().into() }
    }

    fn find(&self, path: &str) -> Option<(&'static str, Bytes)> {
        let path = if path == "/" { "/index.html" } else { path };
        if path == "/api/demo" {
            return Some((JSON, self.description.clone()));
        }
        let (_, kind, bytes) = FILES.into_iter().find(|(known, _, _)| *known == path)?;
        Some((kind, Bytes::from_static(bytes)))
    }

    fn answer(&self, request: &Request) -> Response {
        let is_head = request.method == Method::HEAD;
        if !is_head && request.method != Method::GET {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        let Some((kind, bytes)) = self.find(request.uri.path()) else {
            return Response::text(StatusCode::NOT_FOUND, "the player page is at /");
        };
        let fixed = |response: Response, name: HeaderName, value| response.with(name, HeaderValue::from_static(value));
        let mut response = fixed(Response::new(StatusCode::OK), CONTENT_TYPE, kind);
        // Another build of the demo answers at the same address.
        response = fixed(response, CACHE_CONTROL, "no-cache");
        response = fixed(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
        if is_head { response.with(CONTENT_LENGTH, bytes.len().into()) } else { response.body(Body::full(bytes)) }
    }
}

impl Handler for Page {
    fn call(&self, request: Request) -> Answer {
        Answer::Ready(self.answer(&request))
    }
}

/// What `/api/demo` says: where the programmes and relays are, whether the demo was asked to show HTTP/3, and the
/// process ids, for those who want to kill or pause one.
pub(super) fn description(network: &Network, h3: bool) -> Value {
    let relays: Vec<Value> = network
        .relays
        .iter()
        .map(|relay| {
            json!({
                "name": relay.name, "peer": relay.peer, "pid": relay.child.pid(),
                "http": format!("http://{}", relay.places.http), "https": format!("https://{}", relay.places.tls),
                "admin": format!("http://{}", relay.places.admin),
            })
        })
        .collect();
    json!({
        "live": "/live/master.m3u8", "film": "/film/master.m3u8", "h3": h3, "spki_sha256": network.spki,
        "adapter": {
            "pid": network.adapter.pid(), "http": format!("http://{}", network.ports.adapter_http),
            "admin": format!("http://{}", network.ports.adapter_admin),
        },
        "relays": relays,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::HeaderMap;
    use weir_relay::http::Protocol;

    fn ask(method: Method, path: &str) -> Response {
        let page = Page::new(&json!({ "h3": true }));
        page.answer(&Request {
            method,
            uri: path.parse().unwrap(),
            authority: None,
            headers: HeaderMap::new(),
            protocol: Protocol::H1,
            secure: false,
            body: Body::empty(),
        })
    }

    #[test]
    fn every_file_that_the_page_names_is_embedded() {
        let (_, _, html) = FILES[0];
        let html = std::str::from_utf8(html).unwrap();
        let mut named: Vec<String> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|attribute| html.split(attribute).skip(1))
            .map(|rest| format!("/{}", rest.split('"').next().unwrap()))
            .collect();
        for (_, kind, script) in FILES.iter().filter(|(path, kind, _)| *kind == SCRIPT && !path.contains("vendor")) {
            let script = std::str::from_utf8(script).unwrap();
            assert_eq!(*kind, SCRIPT);
            named.extend(script.split("from \"./").skip(1).map(|rest| format!("/{}", rest.split('"').next().unwrap())));
        }
        assert!(named.len() > 5, "{named:?}");
        for path in named {
            assert_eq!(ask(Method::GET, &path).status, StatusCode::OK, "{path}");
        }
    }

    #[test]
    fn files_have_their_types_and_nothing_else_is_there() {
        let index = ask(Method::GET, "/?content=live");
        assert_eq!(index.headers[CONTENT_TYPE], HTML);
        assert_eq!(index.body.length(), Some(FILES[0].2.len() as u64));
        let head = ask(Method::HEAD, "/app.js");
        assert_eq!((head.headers[CONTENT_TYPE].to_str().unwrap(), head.body.length()), (SCRIPT, Some(0)));
        assert_eq!(head.headers[CONTENT_LENGTH], FILES[3].2.len().to_string());
        assert_eq!(ask(Method::GET, "/api/demo").headers[CONTENT_TYPE], JSON);
        for path in ["/..%2fCargo.toml", "/tests/play.mjs", "/api", "//index.html"] {
            assert_eq!(ask(Method::GET, path).status, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask(Method::POST, "/").status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

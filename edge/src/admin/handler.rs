//! The admin endpoints as a [`Handler`], served by doors of their own so that they stay open while the public doors
//! drain.

use super::{Readiness, StatusSource};
use http::{
    HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    uri::Authority,
};
use prometheus::{Registry, TextEncoder};
use std::{net::IpAddr, sync::Arc};
use weir_relay::http::{Answer, Body, Handler, Request, Response};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Prometheus text exposition format.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers the admin endpoints.
pub struct Admin {
    registry: Registry,
    readiness: Readiness,
    status: Arc<dyn StatusSource>,
    names: Vec<String>,
}

impl Admin {
    /// Admin endpoints over these sources, reachable by address, as `localhost`, and by `names`.
    pub fn new(registry: Registry, readiness: Readiness, status: Arc<dyn StatusSource>, names: Vec<String>) -> Self {
        Self { registry, readiness, status, names }
    }

    fn answer(&self, request: &Request) -> Response {
        // An HTTP/1.0 probe sends no Host; a browser, which alone can be rebound, always does.
        if request.authority.as_deref().is_some_and(|authority| !self.is_own(authority)) {
            return Response::text(
                StatusCode::MISDIRECTED_REQUEST,
                "use this address by its number or a configured name",
            );
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        match request.uri.path() {
            "/livez" => Response::text(StatusCode::OK, "alive"),
            "/readyz" => self.readyz(request.uri.query()),
            "/metrics" => self.metrics(),
            "/api/v1/status" => document(JSON, self.status.status().to_string()),
            _ => Response::text(StatusCode::NOT_FOUND, "try /livez /readyz /metrics /api/v1/status"),
        }
    }

    fn readyz(&self, query: Option<&str>) -> Response {
        let ready = self.readiness.is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let verdict = match (ready, self.readiness.is_draining()) {
            (true, _) => "ready",
            (false, true) => "draining",
            (false, false) => "not ready",
        };
        let verbose = query.into_iter().flat_map(|query| query.split('&')).any(|part| {
            part == "verbose" || part.strip_prefix("verbose=").is_some_and(|value| value != "0" && value != "false")
        });
        let report = if verbose { self.readiness.report() } else { String::new() };
        Response::text(status, format!("{report}{verdict}"))
    }

    fn metrics(&self) -> Response {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => document(EXPOSITION, text),
            Err(error) => {
                tracing::error!(%error, "metrics not encoded");
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded")
            }
        }
    }

    /// DNS rebinding: a page at evil.example whose name is made to resolve to this address is same-origin with it for
    /// the browser, which still sends the name in `Host`.
    fn is_own(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else {
            return false;
        };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

fn document(content_type: HeaderValue, text: String) -> Response {
    Response::new(StatusCode::OK)
        .with(CONTENT_TYPE, content_type)
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .body(Body::full(text))
}

impl Handler for Admin {
    fn call(&self, request: Request) -> Answer {
        Answer::Ready(self.answer(&request))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::HeaderMap;
    use serde_json::{Value, json};
    use weir_relay::http::Protocol;

    struct Fixed;
    impl StatusSource for Fixed {
        fn status(&self) -> Value {
            json!({"viewers": 3})
        }
    }

    async fn ask(admin: &Admin, method: Method, path: &str, authority: Option<&str>) -> (StatusCode, String) {
        let Answer::Ready(mut response) = admin.call(Request {
            method,
            uri: path.parse().unwrap(),
            authority: authority.map(str::to_owned),
            headers: HeaderMap::new(),
            protocol: Protocol::H1,
            secure: false,
            body: Body::empty(),
        }) else {
            panic!("admin answers at once")
        };
        let mut text = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| response.body.poll_data(cx)).await {
            text.extend_from_slice(&piece.unwrap());
        }
        (response.status, String::from_utf8(text).unwrap())
    }

    #[tokio::test]
    async fn endpoints_tell_the_state() {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::IntGauge::new("weir_test", "A gauge.").unwrap())).unwrap();
        let readiness = Readiness::new();
        let store = readiness.check("store");
        let admin = Admin::new(registry, readiness.clone(), Arc::new(Fixed), vec!["relay.lan".into()]);
        let local = Some("127.0.0.1:7090");
        let get = |path| ask(&admin, Method::GET, path, local);
        assert_eq!(get("/livez").await, (StatusCode::OK, "alive\n".into()));
        assert_eq!(get("/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".into()));
        store.set(true);
        assert_eq!(get("/readyz?verbose").await, (StatusCode::OK, "[+] store\nready\n".into()));
        readiness.drain();
        assert_eq!(get("/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()));
        assert!(get("/metrics").await.1.contains("weir_test 0"));
        assert_eq!(get("/api/v1/status").await, (StatusCode::OK, r#"{"viewers":3}"#.into()));
        assert_eq!(get("/").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&admin, Method::HEAD, "/livez", local).await.0, StatusCode::OK);
        assert_eq!(ask(&admin, Method::POST, "/livez", local).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn foreign_names_are_refused() {
        let admin = Admin::new(Registry::new(), Readiness::new(), Arc::new(Fixed), vec!["relay.lan".into()]);
        for own in ["127.0.0.1", "127.0.0.1:1", "[::1]:80", "10.0.0.3:7090", "localhost:80", "LOCALHOST", "relay.lan"] {
            assert_eq!(ask(&admin, Method::GET, "/livez", Some(own)).await.0, StatusCode::OK, "{own}");
        }
        for foreign in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "a b"] {
            assert_eq!(ask(&admin, Method::GET, "/livez", Some(foreign)).await.0, StatusCode::MISDIRECTED_REQUEST);
        }
        assert_eq!(ask(&admin, Method::GET, "/livez", None).await.0, StatusCode::OK, "HTTP/1.0 without Host");
    }
}

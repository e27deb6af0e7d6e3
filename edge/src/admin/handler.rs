//! The admin endpoints as a [`Handler`], served by doors of their own so that they stay open while the public doors
//! drain.

use super::{Command, PurgeDesk, Readiness, StatusSource};
use http::{
    HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN},
    uri::Authority,
};
use prometheus::{Registry, TextEncoder};
use serde_json::Value;
use std::{future::poll_fn, net::IpAddr, sync::Arc};
use weir_relay::http::{Answer, Body, Handler, Request, Response};

/// Longest command, in bytes.
const MAX_COMMAND: usize = 64 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Prometheus text exposition format.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers the admin endpoints.
pub struct Admin {
    registry: Registry,
    readiness: Readiness,
    status: Arc<dyn StatusSource>,
    names: Vec<String>,
    purges: Option<Arc<PurgeDesk>>,
    commands: Vec<Arc<dyn Command>>,
}

const PURGE_PATH: &str = "/api/v1/purge";

impl Admin {
    /// Admin endpoints over these sources, reachable by address, as `localhost`, and by `names`.
    pub fn new(registry: Registry, readiness: Readiness, status: Arc<dyn StatusSource>, names: Vec<String>) -> Self {
        Self { registry, readiness, status, names, commands: Vec::new(), purges: None }
    }

    /// The same with purges.
    #[must_use]
    pub fn purging(mut self, purges: PurgeDesk) -> Self {
        self.purges = Some(Arc::new(purges));
        self
    }

    /// Also answers a command. Only for an address that nobody but this machine reaches.
    #[must_use]
    pub fn with_command(mut self, command: Arc<dyn Command>) -> Self {
        self.commands.push(command);
        self
    }

    /// Changes come as JSON and without `Origin`: a browser asks before it sends such a request across origins, and the
    /// question is answered with 405.
    fn command(&self, command: Arc<dyn Command>, request: Request) -> Answer {
        let is_json = request.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == b"application/json");
        if !is_json || request.headers.contains_key(ORIGIN) {
            return Answer::Ready(Response::text(
                StatusCode::FORBIDDEN,
                "changes are sent with content-type: application/json, and not from a web page",
            ));
        }
        Answer::Pending(Box::pin(async move {
            let wanted = match json(request.body).await {
                Ok(wanted) => wanted,
                Err(why) => return Response::text(StatusCode::BAD_REQUEST, why),
            };
            match tokio::task::spawn_blocking(move || command.change(wanted)).await {
                Ok(Ok(done)) => document(JSON, done.to_string()),
                Ok(Err((status, why))) => Response::text(status, why),
                Err(error) => {
                    tracing::error!(%error, "a command failed");
                    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "the command failed")
                }
            }
        }))
    }

    fn answer(&self, request: &Request) -> Response {
        if request.uri.path() == PURGE_PATH && self.purges.is_some() {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "POST an order to purge")
                .with(ALLOW, HeaderValue::from_static("POST"));
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Some(command) = self.commands.iter().find(|command| command.path() == request.uri.path()) {
            return document(JSON, command.state().to_string());
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

/// A request's body as JSON.
async fn json(mut body: Body) -> Result<Value, String> {
    let mut text = Vec::new();
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        text.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        if text.len() > MAX_COMMAND {
            return Err(format!("at most {MAX_COMMAND} bytes"));
        }
    }
    serde_json::from_slice(&text).map_err(|error| format!("not JSON: {error}"))
}

fn document(content_type: HeaderValue, text: String) -> Response {
    Response::new(StatusCode::OK)
        .with(CONTENT_TYPE, content_type)
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .body(Body::full(text))
}

impl Handler for Admin {
    fn call(&self, request: Request) -> Answer {
        // An HTTP/1.0 probe sends no Host; a browser, which alone can be rebound, always does.
        if request.authority.as_deref().is_some_and(|authority| !self.is_own(authority)) {
            return Answer::Ready(Response::text(
                StatusCode::MISDIRECTED_REQUEST,
                "use this address by its number or a configured name",
            ));
        }
        let posted = request.method == Method::POST;
        if let Some(purges) = self.purges.as_ref().filter(|_| posted && request.uri.path() == PURGE_PATH) {
            return Answer::Pending(Box::pin(purges.clone().answer(request.headers, request.body)));
        }
        let command = self.commands.iter().find(|command| command.path() == request.uri.path());
        match command.filter(|_| posted) {
            Some(command) => self.command(command.clone(), request),
            None => Answer::Ready(self.answer(&request)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName};
    use serde_json::json;
    use std::sync::Mutex;
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
            interim: None,
            link: None,
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

    struct Switch(Mutex<bool>);
    impl Command for Switch {
        fn path(&self) -> &'static str {
            "/api/v1/switch"
        }
        fn state(&self) -> Value {
            json!(*self.0.lock().unwrap())
        }
        fn change(&self, wanted: Value) -> Result<Value, (StatusCode, String)> {
            let wanted = wanted.as_bool().ok_or((StatusCode::UNPROCESSABLE_ENTITY, "true or false".to_owned()))?;
            *self.0.lock().unwrap() = wanted;
            Ok(json!("done"))
        }
    }

    /// A web page can send neither of what is refused here without being asked first.
    #[tokio::test]
    async fn a_command_is_json_from_a_program() {
        let admin = Admin::new(Registry::new(), Readiness::new(), Arc::new(Fixed), Vec::new())
            .with_command(Arc::new(Switch(Mutex::new(false))));
        let post = async |headers: &[(HeaderName, &'static str)], body: &'static str, authority: &str| {
            let request = Request {
                method: Method::POST,
                uri: "/api/v1/switch".parse().unwrap(),
                authority: Some(authority.to_owned()),
                headers: headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect(),
                protocol: Protocol::H1,
                secure: false,
                body: Body::full(body),
                interim: None,
                link: None,
            };
            admin.call(request).wait().await.status
        };
        let json = [(CONTENT_TYPE, "application/json")];
        let local = "127.0.0.1:7091";
        assert_eq!(post(&[(CONTENT_TYPE, "text/plain")], "true", local).await, StatusCode::FORBIDDEN);
        let page = [(CONTENT_TYPE, "application/json"), (ORIGIN, "http://127.0.0.1:7091")];
        assert_eq!(post(&page, "true", local).await, StatusCode::FORBIDDEN);
        assert_eq!(post(&json, "true", "evil.example").await, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(post(&json, "{", local).await, StatusCode::BAD_REQUEST);
        assert_eq!(post(&json, "7", local).await, StatusCode::UNPROCESSABLE_ENTITY);
        let state = async || ask(&admin, Method::GET, "/api/v1/switch", Some(local)).await.1;
        assert_eq!(state().await, "false");
        assert_eq!(post(&json, "true", local).await, StatusCode::OK);
        assert_eq!(state().await, "true");
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

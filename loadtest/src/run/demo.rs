//! A running `weir demo`: where its relays are, and how they are made to fail.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use url::{Position, Url};

use super::RunError;

/// Longest answer of the demo, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Longest wait for one. A relay that is started again may take some seconds.
const WAIT: Duration = Duration::from_secs(20);
/// The field that carries the token by which the demo knows who may control it.
const CONTROL: HeaderName = HeaderName::from_static("weir-control");

/// What the demo says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Description {
    pub(crate) adapter: Adapter,
    pub(crate) relays: Vec<Relay>,
    control: Option<Control>,
    /// Channels, by name: what is none of the above and is a path.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// The adapter.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Adapter {
    pub(crate) http: Url,
    pub(crate) pid: Option<u32>,
}

/// A relay.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Relay {
    pub(crate) name: String,
    pub(crate) http: Url,
    pub(crate) https: Url,
    pub(crate) pid: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
struct Control {
    path: String,
    token: String,
}

/// What is done to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) verb: &'static str,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) seconds: Option<i64>,
    /// Begin or end, of what lasts.
    pub(crate) on: Option<bool>,
}

impl Description {
    /// Asks the demo's page.
    pub(crate) async fn read(page: &Url) -> Result<Self, RunError> {
        let failed = |reason: String| RunError::Demo { page: page.to_string(), reason };
        let url = page.join("/api/demo").map_err(|error| failed(error.to_string()))?;
        let (status, body) = call(&url, Method::GET, None, Bytes::new()).await.map_err(failed)?;
        if status != StatusCode::OK {
            return Err(failed(format!("{url} answers {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| failed(format!("{url} is no description of a demo: {error}")))
    }

    /// The path of a channel: itself when it is one, otherwise what the demo has under this name.
    pub(crate) fn channel<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if name.starts_with('/') {
            Some(name)
        } else {
            self.rest.get(name)?.as_str().filter(|path| path.starts_with('/'))
        }
    }

    /// Names of the channels.
    pub(crate) fn channels(&self) -> Vec<&str> {
        let is_path = |value: &serde_json::Value| value.as_str().is_some_and(|text| text.starts_with('/'));
        self.rest.iter().filter(|(_, value)| is_path(value)).map(|(name, _)| name.as_str()).collect()
    }

    /// Does something to a relay: `kill`, `restart`, `pause`, `resume`, or begins or ends `slow`, `corrupt`, `partition` and `skew`.
    pub(crate) async fn control(&self, page: &Url, relay: &str, act: &Act) -> Result<(), String> {
        let Some(Control { path, token }) = &self.control else {
            return Err("this demo cannot be controlled".to_owned());
        };
        let mut command = json!({ "relay": relay, "do": act.verb });
        if let Some(rate) = act.bytes_per_second {
            command["bytes_per_second"] = rate.into();
        }
        if let Some(seconds) = act.seconds {
            command["seconds"] = seconds.into();
        }
        if let Some(on) = act.on {
            command["on"] = on.into();
        }
        let url = page.join(path).map_err(|error| error.to_string())?;
        let (status, body) = call(&url, Method::POST, Some(token), command.to_string().into()).await?;
        if status == StatusCode::OK {
            return Ok(());
        }
        let told = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let why = told.as_ref().and_then(|told| told["error"].as_str()).unwrap_or_default();
        Err(format!("the demo answers {status}: {why}"))
    }
}

/// One exchange over a connection of its own, plain HTTP/1.1.
pub(crate) async fn call(
    url: &Url,
    method: Method,
    token: Option<&str>,
    body: Bytes,
) -> Result<(StatusCode, Bytes), String> {
    let exchange = async {
        if url.scheme() != "http" {
            return Err(format!("{url}: only http is spoken here"));
        }
        let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, port))
            .await
            .map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{url}: {error}"))?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let mut request = Request::builder()
            .method(method)
            .uri(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort]);
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token).map_err(|_| "the token is no field value".to_owned())?;
            value.set_sensitive(true);
            request = request.header(CONTROL, value).header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| format!("{url}: {error}"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| format!("{url}: {error}"))?.to_bytes()))
    };
    timeout(WAIT, exchange).await.map_err(|_| format!("{url} does not answer within {} s", WAIT.as_secs()))?
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn channels_are_paths_or_names() {
        let text = r#"{"live":"/live/master.m3u8","film":"/film/master.m3u8","h3":true,"spki_sha256":"x",
            "adapter":{"pid":7,"http":"http://127.0.0.1:1","admin":"http://127.0.0.1:2"},
            "control":{"path":"/api/control","token":"t"},
            "relays":[{"name":"a","peer":"p","pid":8,"http":"http://127.0.0.1:3","https":"https://127.0.0.1:4"}]}"#;
        let demo: Description = serde_json::from_str(text).unwrap();
        assert_eq!(demo.channel("live"), Some("/live/master.m3u8"));
        assert_eq!(demo.channel("/own/x.m3u8"), Some("/own/x.m3u8"));
        assert_eq!((demo.channel("spki_sha256"), demo.channel("nothing")), (None, None));
        assert_eq!(demo.channels(), ["film", "live"]);
        assert_eq!((demo.relays[0].name.as_str(), demo.relays[0].pid), ("a", Some(8)));
    }
}

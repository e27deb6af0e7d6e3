//! A log or a witness at a URL. Invariant: every answer has a bound and every exchange a time limit.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;
use weir_ledger::tile::MAX_OPENINGS_BUNDLE;

/// Limit for one exchange.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer of a witness, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A place that answers HTTP.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    base: Url,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Remote {
    /// The place at this URL.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let mut base = Url::parse(url).map_err(|error| error.to_string())?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err("an http or https URL is needed".into());
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| format!("the system's certificates cannot be read: {error}"))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { base, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// A file; `None` if there is none.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, String> {
        let (status, body) = self.exchange(Method::GET, name, Bytes::new(), MAX_OPENINGS_BUNDLE).await?;
        match StatusCode::from_u16(status) {
            Ok(StatusCode::OK) => Ok(Some(body)),
            Ok(StatusCode::NOT_FOUND) => Ok(None),
            _ => Err(format!("{}{name}: status {status}", self.base)),
        }
    }

    /// Posts a text.
    pub(super) async fn post(&self, name: &str, body: String) -> Result<(u16, String), String> {
        let (status, body) = self.exchange(Method::POST, name, body.into(), MAX_ANSWER).await?;
        let text =
            String::from_utf8(body.to_vec()).map_err(|_| format!("{}{name}: the answer is no text", self.base))?;
        Ok((status, text))
    }

    async fn exchange(&self, method: Method, name: &str, body: Bytes, most: usize) -> Result<(u16, Bytes), String> {
        let url = self.base.join(name).map_err(|error| error.to_string())?;
        let fail = |why: &dyn std::fmt::Display| format!("{url}: {why}");
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| fail(&error))?;
        let answered = timeout(PATIENCE, async {
            let response = self.client.request(request).await.map_err(|error| fail(&error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| fail(&error))?;
            Ok::<_, String>((status, body.to_bytes()))
        });
        answered.await.unwrap_or_else(|_| Err(fail(&"no answer within 30 seconds")))
    }
}

//! `POST /api/v1/purge`: an operator, or a publisher's own tools, declare content outdated. Invariant: nobody purges
//! without the token, and what is answered is what has been done.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use weir_protocol::{
    ids::PublisherId,
    resource::ResourceKey,
    wire::{Purge, PurgeScope},
};
use weir_relay::{
    fetch::Fetch,
    http::{Body, Response},
};

/// Longest order in bytes.
const MAX_ORDER: usize = 16 * 1024;
/// An order must be there this soon.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// Purges for whoever has the token.
pub struct PurgeDesk {
    fetch: Fetch,
    publishers: Vec<PublisherId>,
    token: String,
}

/// An order as JSON: exactly one of `all`, `url`, `path`, `prefix` and `tag`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Whose content; may be left out where there is one publisher.
    publisher: Option<String>,
    #[serde(default)]
    all: bool,
    /// Path and query.
    url: Option<String>,
    /// Path with every query.
    path: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    /// Stale instead of gone.
    #[serde(default)]
    soft: bool,
}

impl PurgeDesk {
    /// Purges what `fetch` holds of these publishers, and in the networks that it speaks for, for whoever names `token`.
    pub fn new(fetch: Fetch, publishers: Vec<PublisherId>, token: String) -> Self {
        Self { fetch, publishers, token }
    }

    /// Answers one order.
    pub(super) async fn answer(self: Arc<Self>, headers: HeaderMap, body: Body) -> Response {
        if !self.admits(&headers) {
            let text = "name the token of this node's data directory: Authorization: Bearer …";
            return Response::text(StatusCode::UNAUTHORIZED, text)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let purge = match timeout(ORDER_TIMEOUT, read(body)).await {
            Ok(Ok(bytes)) => self.purge_of(&bytes),
            Ok(Err(why)) => Err(why),
            Err(_) => Err("the order did not come in time".into()),
        };
        let purge = match purge {
            Ok(purge) => purge,
            Err(why) => return Response::text(StatusCode::BAD_REQUEST, why),
        };
        let started = Instant::now();
        let (here, there) = self.fetch.purge_everywhere(&purge).await;
        let took = started.elapsed();
        tracing::info!(scope = ?purge.scope, soft = purge.soft, here, relays = there.done, elsewhere = there.count, "purged");
        let complete = there.told == there.done;
        let text = json!({
            "count": here.saturating_add(there.count),
            "here": here,
            "relays": { "told": there.told, "done": there.done, "count": there.count },
            "complete": complete,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        // Accepted, but some relay has not said that it is done.
        let status = if complete { StatusCode::OK } else { StatusCode::ACCEPTED };
        Response::new(status)
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .body(Body::full(text.to_string()))
    }

    /// Compared in a time that tells nothing of how much is right.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let named = headers.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
        let Some(named) = named.and_then(|field| field.strip_prefix("Bearer ")) else { return false };
        let (named, token) = (named.trim().as_bytes(), self.token.as_bytes());
        let differences = named.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
        named.len() == token.len() && differences == 0 && !token.is_empty()
    }

    fn purge_of(&self, bytes: &[u8]) -> Result<Purge, String> {
        let order: Order = serde_json::from_slice(bytes).map_err(|error| format!("not an order: {error}"))?;
        let publisher = match (&order.publisher, self.publishers.as_slice()) {
            (None, [only]) => *only,
            (None, _) => return Err("name the publisher: this node serves several".into()),
            (Some(text), known) => text
                .parse()
                .ok()
                .filter(|publisher| known.contains(publisher))
                .ok_or_else(|| format!("{text} is no publisher that this node serves"))?,
        };
        let canonical =
            |target: &str| ResourceKey::parse(publisher, target).map_err(|error| format!("{target}: {error}"));
        let mut named = Vec::new();
        if order.all {
            named.push((PurgeScope::All, String::new()));
        }
        if let Some(url) = &order.url {
            named.push((PurgeScope::Resource, canonical(url)?.path_and_query()));
        }
        if let Some(path) = &order.path {
            named.push((PurgeScope::Path, canonical(path)?.path.as_str().to_owned()));
        }
        if let Some(prefix) = &order.prefix {
            named.push((PurgeScope::Prefix, canonical(prefix)?.path.as_str().to_owned()));
        }
        named.extend(order.tag.clone().map(|tag| (PurgeScope::Tag, tag)));
        match <[_; 1]>::try_from(named) {
            Ok([(scope, target)]) => Ok(Purge { publisher, number: 0, scope, target, soft: order.soft }),
            Err(_) => Err("name exactly one of all, url, path, prefix and tag".into()),
        }
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        bytes.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        if bytes.len() > MAX_ORDER {
            return Err(format!("an order has at most {MAX_ORDER} bytes"));
        }
    }
    Ok(bytes)
}

//! One session of a probe: an ordinary viewer's, counted to the byte.
//!
//! Invariant: what is counted is every byte of body that came from the relay, also of a response that broke off; no
//! request is under way when the session ends, so the relay counts no byte that did not arrive.

use super::plan::{GRACE, Session};
use crate::{
    exit::{CONFIGURATION, Failure},
    token,
};
use http::{HeaderMap, HeaderValue, header};
use std::{path::PathBuf, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::{Position, Url};
use weir_load::{
    client::{Protocol, Trust},
    viewer::{Choice, Config, Outcome, Viewer},
};

/// Requests for one resource, like a player's.
const ATTEMPTS: u32 = 3;
/// What sessions are taken for unless the operator says so himself.
pub(super) const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
];

/// How sessions go out.
#[derive(Debug, Clone)]
pub(super) struct Ways {
    pub(super) page: Option<Url>,
    pub(super) protocol: Option<Protocol>,
    pub(super) ca: Option<PathBuf>,
}

/// Bytes and objects that a session received from its relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) objects: u64,
    /// Whether it played at all.
    pub(super) played: bool,
}

/// Plays a session to its end.
pub(super) async fn play(session: &Session, ways: &Ways) -> Result<Received, Failure> {
    let bad = |why: &dyn std::fmt::Display| Failure::new(CONFIGURATION, format!("{}: {why}", session.url));
    let url = Url::parse(&session.url).map_err(|error| bad(&error))?;
    let host = format!(
        "{}:{}",
        &url[Position::BeforeHost..Position::AfterHost],
        url.port_or_known_default().unwrap_or_default()
    );
    let usual = if url.scheme() == "https" { Protocol::H2 } else { Protocol::H1 };
    let trust = ways.ca.clone().map_or(Trust::System, Trust::SystemAnd);
    let watch = Duration::from_millis(session.watch_ms);
    let config = Config {
        choice: Choice::Adaptive,
        attempts: ATTEMPTS,
        headers: headers(session, ways).map_err(|error| bad(&error))?,
        last_request: Some(watch),
        duration: Some(watch + GRACE),
        ..Config::new(token::with(url, &session.token), ways.protocol.unwrap_or(usual), trust)
    };
    // Nobody listens to the events; their URLs hold the token.
    let (sink, _) = mpsc::channel(1);
    let viewer = Viewer::new(config, sink).map_err(|error| bad(&error))?;
    let summary = viewer.run(CancellationToken::new()).await;
    if let Outcome::Failed { reason } = &summary.outcome {
        // A reason may name a URL with the token in it.
        let shown = reason.replace(&session.token, "…");
        tracing::warn!(relay = %session.relay.short(), reason = shown, "a probe's session failed");
    }
    let tally = summary.relays.get(&host).cloned().unwrap_or_default();
    Ok(Received {
        bytes: tally.bytes.saturating_add(tally.cut_bytes),
        objects: tally.segments,
        played: tally.segments > 0,
    })
}

fn headers(session: &Session, ways: &Ways) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_str(&session.user_agent)?);
    headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("en-US,en;q=0.9"));
    if let Some(page) = &ways.page {
        headers.insert(header::ORIGIN, HeaderValue::from_str(&page.origin().ascii_serialization())?);
        headers.insert(header::REFERER, HeaderValue::from_str(&page[..Position::AfterPath])?);
    }
    Ok(headers)
}

//! A target of the scenario made concrete: playlists, names of hosts, keys, processes.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;
use weir_protocol::wellknown::WELL_KNOWN_PATH;
use weir_protocol::{KeyRing, UnixMillis, wellknown::WellKnown};

use super::playlist::unix_millis;
use super::pool::authority;
use crate::client::{Client, Config, Get, Protocol, Timeouts, Trust};
use crate::run::RunError;
use crate::run::demo::{Description, call};
use crate::run::scenario::{Player, Target};

/// Longest wait for the publisher's keys.
const KEYS_WAIT: Duration = Duration::from_secs(10);
/// Most tokens of a file, and longest of them.
const MAX_TOKENS: usize = 1_000_000;

/// A target made concrete.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) name: String,
    pub(crate) urls: Vec<Url>,
    pub(crate) shares: Vec<(Protocol, f64)>,
    pub(crate) trust: Trust,
    pub(crate) connect: Option<std::net::SocketAddr>,
    /// Names of hosts, by host and port.
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) pids: Vec<u32>,
    /// The processes are those that the demo told.
    pids_are_the_demos: bool,
    pub(crate) keys: Option<KeyRing>,
    /// The demo's page and what it said.
    pub(crate) demo: Option<(Url, Description)>,
}

impl Aim {
    /// Asks the demo, if it is one, and fetches the publisher's keys.
    pub(crate) async fn take(target: &Target, player: &Player) -> Result<Self, RunError> {
        let shares = target.protocols.as_ref().unwrap_or(&player.protocols).each();
        let mut aim = Self {
            name: target.name.clone(),
            urls: target.urls.clone(),
            shares,
            trust: match (&target.ca, target.insecure) {
                (Some(file), _) => Trust::SystemAnd(file.clone()),
                (None, true) => Trust::Insecure,
                (None, false) => Trust::System,
            },
            connect: target.connect,
            names: BTreeMap::new(),
            pids: target.server_pids.clone(),
            pids_are_the_demos: false,
            keys: None,
            demo: None,
        };
        let mut verify = target.verify.clone();
        if let Some(page) = &target.demo {
            let description = Description::read(page).await?;
            aim.of_demo(page, &description, target.channel.as_deref().unwrap_or("film"))?;
            verify.get_or_insert(description.adapter.http.clone());
            aim.demo = Some((page.clone(), description));
        }
        if aim.shares.iter().any(|(protocol, _)| *protocol == Protocol::H3)
            && let Some(plain) = aim.urls.iter().find(|url| url.scheme() != "https")
        {
            return Err(RunError::Usage(format!("{plain} cannot be had over HTTP/3, which needs https")));
        }
        if let Some(from) = verify {
            aim.keys = Some(keys(&from, &aim.trust, target.publisher.as_deref()).await?);
        }
        Ok(aim)
    }

    fn of_demo(&mut self, page: &Url, demo: &Description, channel: &str) -> Result<(), RunError> {
        let failed = |reason: String| RunError::Demo { page: page.to_string(), reason };
        let path = demo
            .channel(channel)
            .ok_or_else(|| failed(format!("there is no channel `{channel}`, but {}", demo.channels().join(", "))))?;
        for relay in &demo.relays {
            let url = relay.https.join(path).map_err(|error| failed(error.to_string()))?;
            for door in [&relay.https, &relay.http] {
                self.names.insert(authority(door), relay.name.clone());
            }
            self.urls.push(url);
        }
        if self.urls.is_empty() {
            return Err(failed("it has no relay".to_owned()));
        }
        self.names.insert(authority(&demo.adapter.http), "adapter".to_owned());
        if self.pids.is_empty() {
            self.pids_are_the_demos = true;
            self.pids = demo.relays.iter().filter_map(|relay| relay.pid).chain(demo.adapter.pid).collect();
        }
        // The relays' certificate is the demo's own; what was received is checked by its content.
        self.trust = Trust::Insecure;
        Ok(())
    }

    /// A host's name, where it has one.
    pub(crate) fn name_of<'a>(&'a self, host: &'a str) -> &'a str {
        self.names.get(host).map_or(host, String::as_str)
    }
}

/// Fetches the document that tells a publisher's keys, and verifies it.
async fn keys(from: &Url, trust: &Trust, publisher: Option<&str>) -> Result<KeyRing, RunError> {
    let failed = |reason: String| RunError::Keys { from: from.to_string(), reason };
    let url = from.join(WELL_KNOWN_PATH).map_err(|error| failed(error.to_string()))?;
    let body = if url.scheme() == "http" {
        match call(&url, Method::GET, None, bytes::Bytes::new()).await.map_err(failed)? {
            (StatusCode::OK, body) => body.to_vec(),
            (status, _) => return Err(failed(format!("it answers {status}"))),
        }
    } else {
        let timeouts = Timeouts { connect: KEYS_WAIT, head: KEYS_WAIT, body_idle: KEYS_WAIT, total: KEYS_WAIT };
        let config = Config { protocol: Protocol::H1, trust: trust.clone(), connect: None, timeouts };
        let client = Client::new(config).map_err(|error| failed(error.to_string()))?;
        let connection = client.connect(&url).await.map_err(|error| failed(error.to_string()))?;
        let (headers, mut body) = (http::HeaderMap::new(), Vec::new());
        let get = Get { url: &url, headers: &headers, max_body: weir_protocol::wellknown::MAX_WELL_KNOWN as u64 };
        let got = connection.requester().get(&get, &mut |chunk| body.extend_from_slice(&chunk)).await;
        connection.close().await;
        match got.map_err(|error| failed(error.to_string()))?.status {
            StatusCode::OK => body,
            status => return Err(failed(format!("it answers {status}"))),
        }
    };
    let document = WellKnown::parse(&body).map_err(|error| failed(error.to_string()))?;
    if publisher.is_some_and(|expected| expected != document.publisher.to_string()) {
        return Err(failed(format!("the publisher is {}, not the one that the scenario names", document.publisher)));
    }
    KeyRing::verify(document.publisher, &document.keys, UnixMillis(unix_millis()))
        .map_err(|error| failed(error.to_string()))
}

/// The tokens that viewers show.
pub(crate) fn tokens(player: &Player) -> Result<Vec<String>, RunError> {
    let Some(file) = &player.token_file else { return Ok(player.token.iter().cloned().collect()) };
    let failed = |reason: String| RunError::Usage(format!("the token file {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let tokens: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MAX_TOKENS).map(str::to_owned).collect();
    if tokens.is_empty() { Err(failed("there is none inside".to_owned())) } else { Ok(tokens) }
}

impl Aim {
    /// Asks the demo again: a relay that was started anew has another process.
    pub(crate) async fn refresh(&mut self) -> Result<(), RunError> {
        if let Some((page, description)) = &mut self.demo {
            *description = Description::read(page).await?;
            let told: Vec<u32> =
                description.relays.iter().filter_map(|relay| relay.pid).chain(description.adapter.pid).collect();
            if self.pids_are_the_demos {
                self.pids = told;
            }
        }
        Ok(())
    }
}

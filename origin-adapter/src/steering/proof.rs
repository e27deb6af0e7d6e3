//! Is a door the relay's own? A relay could name anybody's address and have a publisher's viewers sent there. So each
//! door is asked who it is, before the first viewer comes and again and again: whoever answers with the relay's name is a
//! door of it, or somebody who wants to be taken for one.
//!
//! Invariant: a door counts as proven for [`HOLDS`] after an answer; at most [`MAX_QUESTIONS`] are asked at a time, with
//! HEAD and without following redirects, so a relay learns nothing from where it makes the adapter ask.

use super::place::canonical;
use http::{HeaderMap, Method};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_protocol::ids::RelayId;
use weir_relay::{
    http::Body,
    peer::Directory,
    source::{Asked, RawRequest, RawSource, Upstream, UpstreamConfig, UpstreamError},
};

/// The path that a door answers with its relay's name in the field [`RELAY_FIELD`].
pub const DOOR_PATH: &str = "/weir/door";
/// The response field with the relay's name.
pub const RELAY_FIELD: &str = "weir-relay";

/// How often what relays report is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A proven door is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// And one that has not answered after this.
const RETRY: Duration = Duration::from_secs(2);
/// Two questions may be lost.
const HOLDS: Duration = Duration::from_secs(25);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
const MAX_QUESTIONS: usize = 32;
/// Doors of the past that are remembered.
const MAX_FORMER: usize = 4096;

/// How doors are asked.
#[derive(Debug, Clone, Default)]
pub struct ProverConfig {
    /// Extra PEM certificates to trust.
    pub ca: Option<std::path::PathBuf>,
}

/// Which doors have shown whose they are.
#[derive(Default)]
pub struct Proofs(Mutex<State>);

#[derive(Default)]
struct State {
    doors: HashMap<RelayId, Proof>,
    former: HashSet<String>,
    order: VecDeque<String>,
}

struct Proof {
    url: String,
    proven: Option<Instant>,
    next: Instant,
    asking: bool,
}

impl Proofs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when that door of the relay has answered lately.
    pub fn holds(&self, relay: &RelayId, url: &str) -> bool {
        let state = self.state();
        let proof = state.doors.get(relay).filter(|proof| proof.url == url);
        proof.and_then(|proof| proof.proven).is_some_and(|at| at.elapsed() < HOLDS)
    }

    /// Doors that have answered lately.
    pub fn count(&self) -> usize {
        self.state().doors.values().filter(|proof| proof.proven.is_some_and(|at| at.elapsed() < HOLDS)).count()
    }

    /// True when a relay's door was there once.
    pub(super) fn was_door(&self, url: &str) -> bool {
        self.state().former.contains(url)
    }

    /// Asks the doors that the directory knows until `cancel`.
    ///
    /// # Errors
    /// [`UpstreamError`] when no question can be asked at all.
    pub async fn run(
        self: Arc<Self>,
        directory: Arc<Directory>,
        config: ProverConfig,
        cancel: CancellationToken,
    ) -> Result<(), UpstreamError> {
        let nowhere = Url::parse("http://localhost/").map_err(|_| UpstreamError::NoRoots)?;
        let mut client = UpstreamConfig::new(nowhere);
        client.ca = config.ca;
        client.connect_timeout = PATIENCE;
        let client = Upstream::new(client)?;
        let mut questions: JoinSet<(RelayId, String, bool)> = JoinSet::new();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(answer) = questions.join_next(), if !questions.is_empty() => {
                    if let Ok((relay, url, proven)) = answer {
                        self.answered(relay, &url, proven);
                    }
                }
                _ = ticks.tick() => {
                    for (relay, url) in self.due(&directory, MAX_QUESTIONS - questions.len()) {
                        let client = client.clone();
                        questions.spawn(async move {
                            let proven = ask(&client, &url, &relay).await;
                            (relay, url, proven)
                        });
                    }
                }
            }
        }
        questions.shutdown().await;
        Ok(())
    }

    /// The doors to ask now.
    fn due(&self, directory: &Directory, most: usize) -> Vec<(RelayId, String)> {
        let (doors, now) = (directory.doors(), Instant::now());
        let mut state = self.state();
        state.doors.retain(|relay, _| doors.iter().any(|door| door.relay == *relay));
        let mut due = Vec::new();
        for door in doors {
            let url = &door.report.url;
            let proof = state.doors.entry(door.relay).or_insert_with(|| Proof::new(url, now));
            if proof.url != *url {
                *proof = Proof::new(url, now);
            }
            if due.len() < most && !proof.asking && proof.next <= now {
                proof.asking = true;
                due.push((door.relay, url.clone()));
            }
        }
        due
    }

    fn answered(&self, relay: RelayId, url: &str, proven: bool) {
        let now = Instant::now();
        let mut state = self.state();
        let Some(proof) = state.doors.get_mut(&relay).filter(|proof| proof.url == url) else { return };
        proof.asking = false;
        proof.next = now + if proven { ASK_AGAIN } else { RETRY };
        if !proven {
            tracing::debug!(relay = %relay.short(), "a relay's door does not say that it is its own");
            return;
        }
        proof.proven = Some(now);
        if let Some(url) = canonical(url)
            && state.former.insert(url.clone())
        {
            state.order.push_back(url);
            if state.order.len() > MAX_FORMER
                && let Some(oldest) = state.order.pop_front()
            {
                state.former.remove(&oldest);
            }
        }
    }
}

impl Proof {
    fn new(url: &str, now: Instant) -> Self {
        Self { url: url.to_owned(), proven: None, next: now, asking: false }
    }
}

/// Asks a door who it is. The door stands at its origin's root whatever prefix the content has.
async fn ask(client: &Upstream, url: &str, relay: &RelayId) -> bool {
    let Some(door) = Url::parse(url).ok().and_then(|url| url.join("/").ok()) else { return false };
    let Ok(door) = client.at(door) else { return false };
    let request = RawRequest {
        path_and_query: DOOR_PATH.into(),
        asked: Arc::new(Asked::pass(Method::HEAD, HeaderMap::new(), Body::empty())),
        ..RawRequest::default()
    };
    match timeout(PATIENCE, door.fetch(&request)).await {
        Ok(Ok(response)) => {
            let said = response.headers.get(RELAY_FIELD).and_then(|name| name.to_str().ok());
            response.status.is_success() && said == Some(relay.to_string().as_str())
        }
        _ => false,
    }
}

//! Into a publisher's network from one URL. Invariants: nothing in the document is believed but what the publisher's
//! root key signed; the publisher behind a URL never changes once it has been seen; what was fetched is kept, so that
//! a relay starts again without the adapter.

use crate::{
    access::{KeepError, Kept},
    clock::Clock,
    peer::{Granted, Links, Network},
    quic::socket_addr_of,
    source::{RawRequest, RawSource, Upstream, UpstreamConfig, UpstreamError},
};
use bytes::BytesMut;
use futures_util::StreamExt;
use rand::RngExt;
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    keys::KeyRing,
    wellknown::{MAX_WELL_KNOWN, PeerInfo, WELL_KNOWN_PATH, WellKnown},
};

/// First and longest pause between attempts to reach the adapter.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(15);
/// How often the document is fetched again while all is well, for new keys and addresses.
const REFRESH: Duration = Duration::from_secs(600);
/// The same after the first connection: by then others have come that may be begun with.
const FIRST_REFRESH: Duration = Duration::from_secs(90);

/// Why a network cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] UpstreamError),
    /// The document cannot be fetched, and no earlier copy is kept.
    #[error("cannot fetch {0}{WELL_KNOWN_PATH}: {1}")]
    Fetch(Box<Url>, String),
    /// The document is not one, or its key list does not verify.
    #[error("{0}{WELL_KNOWN_PATH} does not describe a Weir network: {1}")]
    Document(Box<Url>, String),
    /// Another publisher than before answers at this URL.
    #[error("{0}")]
    Changed(Box<Changed>),
    /// The operator allows other publishers only.
    #[error("{0} belongs to publisher {1}, which is not among the allowed ones (--allow-publisher {1} allows it)")]
    NotAllowed(Box<Url>, PublisherId),
    /// The copy cannot be kept.
    #[error("cannot keep {0}: {1}")]
    Keep(PathBuf, io::Error),
    /// What is kept of the network cannot be used.
    #[error(transparent)]
    State(#[from] KeepError),
}

/// Two publishers at one URL.
#[derive(Debug, thiserror::Error)]
#[error("{url} now belongs to publisher {found}, it was {known}; remove {path} to accept that")]
pub struct Changed {
    /// The URL.
    pub url: Url,
    /// Who answers now.
    pub found: String,
    /// Who answered before.
    pub known: String,
    /// The kept document.
    pub path: PathBuf,
}

/// How to join.
pub struct Joining {
    /// The adapter's base URL.
    pub url: Url,
    /// Extra certificates to trust for it.
    pub ca: Option<PathBuf>,
    /// Directory for the kept copy.
    pub data: PathBuf,
    /// Who this relay is.
    pub me: RelayId,
    /// Publishers that the operator allows; empty: whoever answers at the URL.
    pub allowed: Vec<PublisherId>,
    /// The time.
    pub clock: Clock,
}

/// A joined network.
pub struct Joined {
    /// The network.
    pub network: Arc<Network>,
    /// The document it was made from.
    pub document: WellKnown,
    /// True when the adapter did not answer and the kept copy was used.
    pub from_copy: bool,
    joining: Joining,
    kept: Kept,
}

impl Joining {
    /// Fetches the document, or falls back to the kept copy.
    pub async fn join(self) -> Result<Joined, JoinError> {
        let path = self.copy_path();
        let kept = fs::read(&path).ok().and_then(|json| WellKnown::parse(&json).ok());
        let fetched = self.fetch().await;
        let (document, from_copy) = match (fetched, kept) {
            (Ok(document), Some(kept)) if document.publisher != kept.publisher => {
                let (found, known) = (document.publisher.to_string(), kept.publisher.to_string());
                return Err(JoinError::Changed(Box::new(Changed { url: self.url, found, known, path })));
            }
            (Ok(fetched), Some(kept)) => (self.with_newer_keys(fetched, &kept), false),
            (Ok(document), None) => (document, false),
            // Also when an error page came instead of the document: a relay that has been a member starts again.
            (Err(error @ (JoinError::Fetch(..) | JoinError::Document(..))), Some(kept)) => {
                tracing::warn!(%error, "joining from the kept copy");
                (kept, true)
            }
            (Err(error), _) => return Err(error),
        };
        let ring = self.verify(&document)?;
        if !self.allowed.is_empty() && !self.allowed.contains(&document.publisher) {
            return Err(JoinError::NotAllowed(Box::new(self.url), document.publisher));
        }
        if !from_copy {
            keep(&path, &document).map_err(|error| JoinError::Keep(path, error))?;
        }
        let network = Network::new(self.me, ring, document.adapter.relay, addresses(&document.adapter));
        network.set_bootstrap(bootstrap(&document));
        let kept = Kept::of(&self.data.join("networks"), document.publisher);
        network.set_requires_token(document.policy.tokens_required);
        network.restore(kept.grant(), kept.takedowns(document.publisher)?, self.clock.now());
        Ok(Joined { network: Arc::new(network), document, from_copy, joining: self, kept })
    }

    /// Whoever stands between may serve last month's document, whose keys may have been revoked since: of two valid
    /// key lists the newer one counts.
    fn with_newer_keys(&self, mut fetched: WellKnown, kept: &WellKnown) -> WellKnown {
        if let (Ok(ours), Ok(theirs)) = (self.verify(kept), self.verify(&fetched))
            && ours.issued() > theirs.issued()
        {
            tracing::warn!("the join document has an older key list than the one that is kept: keeping the newer");
            fetched.keys.clone_from(&kept.keys);
        }
        fetched
    }

    fn verify(&self, document: &WellKnown) -> Result<KeyRing, JoinError> {
        KeyRing::verify(document.publisher, &document.keys, self.clock.now())
            .map_err(|error| JoinError::Document(Box::new(self.url.clone()), error.to_string()))
    }

    async fn fetch(&self) -> Result<WellKnown, JoinError> {
        let failed = |error: String| JoinError::Fetch(Box::new(self.url.clone()), error);
        let mut config = UpstreamConfig::new(self.url.clone());
        config.ca.clone_from(&self.ca);
        let request = RawRequest { path_and_query: WELL_KNOWN_PATH.into(), ..RawRequest::default() };
        let response = Upstream::new(config)?.fetch(&request).await.map_err(|error| failed(error.to_string()))?;
        if !response.status.is_success() {
            return Err(failed(format!("status {}", response.status)));
        }
        let mut json = BytesMut::new();
        let mut body = response.body;
        while let Some(piece) = body.next().await {
            json.extend_from_slice(&piece.map_err(|error| failed(error.to_string()))?);
            if json.len() > MAX_WELL_KNOWN {
                return Err(JoinError::Document(Box::new(self.url.clone()), "it is too long".into()));
            }
        }
        WellKnown::parse(&json).map_err(|error| JoinError::Document(Box::new(self.url.clone()), error.to_string()))
    }

    fn copy_path(&self) -> PathBuf {
        let name = blake3::hash(self.url.as_str().as_bytes()).to_hex();
        self.data.join("networks").join(format!("{}.json", &name[..16]))
    }
}

fn addresses(peer: &PeerInfo) -> Vec<SocketAddr> {
    let parse = |address: &String| address.parse().ok().and_then(|address| Some(socket_addr_of(&address)?.0));
    peer.addresses.iter().filter_map(parse).collect()
}

fn bootstrap(document: &WellKnown) -> Vec<(RelayId, Vec<SocketAddr>)> {
    document.bootstrap.iter().map(|peer| (peer.relay, addresses(peer))).collect()
}

fn keep(path: &Path, document: &WellKnown) -> io::Result<()> {
    let json = document.to_json().map_err(io::Error::other)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let beside = path.with_extension("new");
    fs::write(&beside, json)?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(&beside, path)
}

impl Joined {
    /// Keeps a connection to the adapter open, keys and addresses up to date, and grant and takedowns on disk, until
    /// `cancel`. While the adapter is away the relay goes on with what it holds.
    pub async fn stay(self, links: Arc<Links>, cancel: CancellationToken) {
        tokio::join!(self.hold_link(links, &cancel), self.keep_news(&cancel));
    }

    /// Writes what the publisher has granted and taken down as soon as it changes.
    async fn keep_news(&self, cancel: &CancellationToken) {
        let mut news = self.network.news();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
            }
            let (network, kept) = (self.network.clone(), self.kept.clone());
            let writing = tokio::task::spawn_blocking(move || {
                let takedowns = network.withdrawn().book().encode();
                kept.keep_takedowns(&takedowns)?;
                match &*network.granted() {
                    Granted::Yes(grant) => kept.keep_grant(Some(grant.bytes())),
                    Granted::Refused(_) => kept.keep_grant(None),
                    Granted::Unknown => Ok(()),
                }
            });
            match writing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "grant and takedowns are not kept over a restart"),
                Err(error) => tracing::error!(%error, "the writer of grant and takedowns failed"),
            }
        }
    }

    async fn hold_link(&self, links: Arc<Links>, cancel: &CancellationToken) {
        let (mut pause, mut refresh) = (RETRY, FIRST_REFRESH);
        loop {
            let adapter = self.network.adapter;
            let link = links.get(adapter, &self.network.adapter_addresses()).await;
            let again = match link {
                Ok(connection) => {
                    // Whoever is refused asks again more and more seldom; the list may change.
                    pause = match &*self.network.granted() {
                        Granted::Refused(_) => (pause * 2).min(RETRY_CAP),
                        Granted::Unknown | Granted::Yes(_) => RETRY,
                    };
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        reason = connection.closed() => {
                            tracing::info!(%reason, "connection to the adapter ended");
                            pause
                        }
                        () = tokio::time::sleep(refresh) => {
                            refresh = REFRESH;
                            Duration::ZERO
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "adapter not reachable");
                    pause = (pause * 2).min(RETRY_CAP);
                    pause
                }
            };
            // Jitter: a thousand relays that lost the adapter together do not come back together.
            let jittered = again.mul_f64(rand::rng().random_range(0.5..1.0));
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(jittered) => {}
            }
            self.refresh().await;
        }
    }

    async fn refresh(&self) {
        let mut document = match self.joining.fetch().await {
            Ok(document) => document,
            Err(error) => {
                tracing::debug!(%error, "the network's document was not refreshed");
                return;
            }
        };
        if document.publisher != self.network.publisher || document.adapter.relay != self.network.adapter {
            tracing::warn!("another publisher or adapter answers at the join URL: ignored until restart");
            return;
        }
        self.network.offer_keys(&document.keys, self.joining.clock.now());
        self.network.set_adapter_addresses(addresses(&document.adapter));
        self.network.set_bootstrap(bootstrap(&document));
        self.network.set_requires_token(document.policy.tokens_required);
        document.keys = self.network.ring().encoded().to_vec();
        let path = self.joining.copy_path();
        if let Err(error) = keep(&path, &document) {
            tracing::warn!(path = %path.display(), %error, "the network's document could not be kept");
        }
    }
}

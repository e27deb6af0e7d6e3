//! A relay looks into each publisher's log by itself: whether what it submitted is there, and whether the log only grew.
//!
//! Invariant: nothing is believed but the log's key, which the publisher's signing key vouches for; a checkpoint that
//! contradicts the one that was seen before is kept beside it, as evidence.

use super::settled::{self, Settled};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_ledger::{
    Checkpoint, NodeHash, NoteVerifier, Opening, Salt, SignedCheckpoint, TreeSize,
    log::InclusionProof,
    merkle::verify_consistency,
    note::KeyKind,
    settle::SETTLEMENT_JSON,
    tile::{CHECKPOINT_FILE, Resolver, TilePlace},
};
use weir_protocol::{
    LogIdentity, RelayId,
    statement::{INCLUSION_WITHIN_MS, Unverified},
};
use weir_relay::{
    meter::{Kept, Meter},
    peer::Network,
    source::{RawRequest, RawSource as _, Upstream, UpstreamConfig},
};

/// How often a log is looked into.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The first look is sooner, so that a short demonstration has one.
const FIRST_LOOK: Duration = Duration::from_secs(8);
/// Messages whose proofs are made in one look.
const PROVED_AT_ONCE: usize = 64;
/// Messages that are remembered as proven.
const REMEMBERED: usize = 50_000;
/// Longest file of a log that is read, in bytes.
const MAX_FILE: usize = 64 * 1024;
/// Longest settlement that is read, in bytes.
const MAX_SETTLEMENT: usize = 32 << 20;
/// Where an adapter shows its log.
const LOG: &str = "/weir/log/";

/// What is known of one publisher's log.
#[derive(Debug, Default)]
struct Known {
    leaves: u64,
    proven: BTreeSet<u64>,
    /// Leaves that were promised and are not in a checkpoint that must have them.
    broken: Vec<u64>,
    /// What the settlement beside the log says of this relay.
    settled: Option<Value>,
    /// What was wrong at the last look.
    trouble: Option<String>,
}

/// The auditor of one publisher's log.
pub(super) struct Audit {
    me: RelayId,
    network: Arc<Network>,
    meter: Meter,
    upstream: Upstream,
    /// The last checkpoint that was seen.
    kept: PathBuf,
    known: Mutex<Known>,
}

impl Audit {
    /// Of the publisher whose adapter answers at `url`.
    pub(super) fn new(
        me: RelayId,
        network: Arc<Network>,
        meter: Meter,
        url: &Url,
        ca: Option<&PathBuf>,
        data: &std::path::Path,
    ) -> Result<Self, crate::exit::Failure> {
        let mut config = UpstreamConfig::new(url.clone());
        config.ca = ca.cloned();
        let kept = data.join("networks").join(format!("{}.checkpoint", network.publisher));
        Ok(Self { me, network, meter, upstream: Upstream::new(config)?, kept, known: Mutex::default() })
    }

    /// Looks now and then.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.reset_after(FIRST_LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let trouble = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked.err(),
            };
            if let Some(trouble) = &trouble {
                tracing::debug!(publisher = %self.network.publisher.short(), %trouble, "the publisher's log");
            }
            self.known().trouble = trouble;
        }
    }

    /// For the status page.
    pub(super) fn status(&self) -> Value {
        let known = self.known();
        json!({
            "publisher": self.network.publisher.to_string(),
            "leaves": known.leaves,
            "proven": known.proven.len(),
            "broken_promises": known.broken,
            "settlement": known.settled,
            "trouble": known.trouble,
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) -> Result<(), String> {
        let verifier = self.verifier().await?;
        let note = self.file(CHECKPOINT_FILE).await?;
        let note = String::from_utf8(note.to_vec()).map_err(|_| "the checkpoint is no text".to_owned())?;
        let checkpoint = SignedCheckpoint::verify(&note, &verifier).map_err(|error| error.to_string())?;
        let size = checkpoint.checkpoint().size;
        let mut tiles = BTreeMap::new();
        self.only_grew(&checkpoint, &verifier, &mut tiles).await?;
        let of = self.meter.clone();
        let publisher = self.network.publisher;
        let most = REMEMBERED;
        let read = tokio::task::spawn_blocking(move || of.journal().kept(&publisher, most));
        let kept = read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let now = self.meter.now();
        let mut proved = 0;
        for one in kept {
            if self.known().proven.contains(&one.index) {
                continue;
            }
            if one.index >= size.get() {
                let due = one.received.plus_ms(2 * INCLUSION_WITHIN_MS);
                let mut known = self.known();
                if now > due && !known.broken.contains(&one.index) && known.broken.len() < PROVED_AT_ONCE {
                    tracing::error!(leaf = one.index, "the publisher's log lacks a leaf that was promised");
                    known.broken.push(one.index);
                }
                continue;
            }
            if proved >= PROVED_AT_ONCE {
                continue;
            }
            self.prove(&one, &checkpoint, &mut tiles).await?;
            let mut known = self.known();
            known.proven.insert(one.index);
            known.broken.retain(|leaf| *leaf != one.index);
            if known.proven.len() > REMEMBERED {
                known.proven.pop_first();
            }
            proved += 1;
        }
        self.known().leaves = size.get();
        self.keep(&note).await?;
        let settled = self.settled(&checkpoint, &mut tiles).await?;
        self.known().settled = settled;
        Ok(())
    }

    /// What the settlement that stands beside the log says of this relay; it must be of this log's tree.
    async fn settled(
        &self,
        checkpoint: &SignedCheckpoint,
        tiles: &mut BTreeMap<TilePlace, Vec<NodeHash>>,
    ) -> Result<Option<Value>, String> {
        let Some(file) = self.file_if(SETTLEMENT_JSON, MAX_SETTLEMENT).await? else { return Ok(None) };
        let (publisher, me) = (self.network.publisher, self.me);
        let reading = tokio::task::spawn_blocking(move || settled::read(&file, &publisher, &me));
        let Settled { size, root, shown } = reading.await.map_err(|error| error.to_string())??;
        let Checkpoint { size: now, root: root_now, .. } = checkpoint.checkpoint();
        if size > *now {
            // The adapter's next checkpoint covers it.
            return Ok(None);
        }
        let proof = self.resolve(Resolver::consistency(size, *now).map_err(|error| error.to_string())?, tiles).await?;
        verify_consistency(size, root, *now, *root_now, &proof)
            .map_err(|error| format!("the settlement is not of this log: {error}"))?;
        Ok(Some(shown))
    }

    /// The log's key, in the publisher's own words.
    async fn verifier(&self) -> Result<NoteVerifier, String> {
        let identity = Unverified::<LogIdentity>::new(self.file(crate::ledger::IDENTITY_FILE).await?);
        let identity = identity.verify_with(&self.network.ring()).map_err(|error| error.to_string())?;
        let LogIdentity { origin, key, .. } = identity.statement();
        NoteVerifier::new(origin, KeyKind::Log, key).map_err(|error| error.to_string())
    }

    async fn only_grew(
        &self,
        checkpoint: &SignedCheckpoint,
        verifier: &NoteVerifier,
        tiles: &mut BTreeMap<TilePlace, Vec<NodeHash>>,
    ) -> Result<(), String> {
        let Ok(text) = fs::read_to_string(&self.kept) else { return Ok(()) };
        let Ok(before) = SignedCheckpoint::verify(&text, verifier) else { return Ok(()) };
        let (Checkpoint { size: old, root: old_root, .. }, Checkpoint { size: new, root, .. }) =
            (before.checkpoint(), checkpoint.checkpoint());
        if old > new {
            // The adapter may show an older file for a moment; only roots that contradict each other are evidence.
            return Err(format!("the log shows {new} leaves after {old}"));
        }
        let proof = self.resolve(Resolver::consistency(*old, *new).map_err(|error| error.to_string())?, tiles).await?;
        if let Err(error) = verify_consistency(*old, *old_root, *new, *root, &proof) {
            let beside = self.kept.with_extension("contradiction");
            let both = format!("{text}\n\n{}", checkpoint.note());
            if let Err(error) = fs::write(&beside, both) {
                tracing::error!(%error, "the evidence cannot be kept");
            }
            tracing::error!(evidence = %beside.display(), "the publisher's log was rewritten");
            return Err(format!("the log was rewritten: {error}; the evidence is {}", beside.display()));
        }
        Ok(())
    }

    async fn prove(
        &self,
        kept: &Kept,
        checkpoint: &SignedCheckpoint,
        tiles: &mut BTreeMap<TilePlace, Vec<NodeHash>>,
    ) -> Result<(), String> {
        let size: TreeSize = checkpoint.checkpoint().size;
        let path =
            self.resolve(Resolver::inclusion(kept.index, size).map_err(|error| error.to_string())?, tiles).await?;
        let opening =
            Opening { salt: Salt(kept.salt), received: kept.received, kind: kept.kind, message: kept.message.to_vec() };
        let proof = InclusionProof { index: kept.index, path, opening: Some(opening), checkpoint: checkpoint.clone() };
        proof.verify_opening().map(drop).map_err(|error| format!("leaf {}: {error}", kept.index))
    }

    async fn resolve(
        &self,
        mut resolver: Resolver,
        tiles: &mut BTreeMap<TilePlace, Vec<NodeHash>>,
    ) -> Result<Vec<NodeHash>, String> {
        for place in resolver.wants() {
            let hashes = match tiles.get(&place) {
                Some(hashes) => hashes.clone(),
                None => {
                    let bytes = self.file(&place.to_string()).await?;
                    let (hashes, rest) = bytes.as_chunks::<32>();
                    if !rest.is_empty() {
                        return Err(format!("{place} holds no hashes"));
                    }
                    let hashes: Vec<NodeHash> = hashes.iter().map(|hash| NodeHash::from_bytes(*hash)).collect();
                    tiles.insert(place, hashes.clone());
                    hashes
                }
            };
            resolver.give(place, hashes).map_err(|error| error.to_string())?;
        }
        resolver.proof().map_err(|error| error.to_string())
    }

    async fn file(&self, name: &str) -> Result<Bytes, String> {
        self.file_if(name, MAX_FILE).await?.ok_or_else(|| format!("{name}: status {}", StatusCode::NOT_FOUND))
    }

    /// A file of the log, if it has it.
    async fn file_if(&self, name: &str, longest: usize) -> Result<Option<Bytes>, String> {
        let request = RawRequest { path_and_query: format!("{LOG}{name}"), ..RawRequest::default() };
        let response = self.upstream.fetch(&request).await.map_err(|error| format!("{name}: {error}"))?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status.is_success() {
            return Err(format!("{name}: status {}", response.status));
        }
        let (mut all, mut body) = (BytesMut::new(), response.body);
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece.map_err(|error| format!("{name}: {error}"))?);
            if all.len() > longest {
                return Err(format!("{name} is too long"));
            }
        }
        Ok(Some(all.freeze()))
    }

    async fn keep(&self, note: &str) -> Result<(), String> {
        let (path, note) = (self.kept.clone(), note.to_owned());
        let writing = tokio::task::spawn_blocking(move || {
            let beside = path.with_extension("new");
            fs::write(&beside, note)?;
            fs::File::open(&beside)?.sync_all()?;
            fs::rename(&beside, &path)
        });
        writing
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("the checkpoint is not kept: {error}"))
    }
}

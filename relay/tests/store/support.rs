//! Entries, counters and a running store for the tests.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::HashMap,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    freshness::{Freshness, Storage, Validators},
    ids::{Generation, PublisherId, ResourceHash},
    resource::ResourceKey,
    time::UnixMillis,
};
use weir_relay::{
    object::{Entry, Evidence, Growing, Head},
    store::{
        DiskConfig, DiskOp, EvictReason, IntegrityStage, Reverify, SkipReason, Store, StoreConfig, StoreError,
        StoreEvents, Tier,
    },
};

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const MIB: u64 = 1 << 20;

/// Counts every event under its labels.
#[derive(Default)]
pub(crate) struct Counter(Mutex<HashMap<String, u64>>);

impl Counter {
    fn add(&self, parts: &[&dyn Debug]) {
        *self.0.lock().unwrap().entry(name(parts)).or_default() += 1;
    }

    pub(crate) fn count(&self, parts: &[&dyn Debug]) -> u64 {
        self.0.lock().unwrap().get(&name(parts)).copied().unwrap_or(0)
    }

    pub(crate) fn integrity_failures(&self) -> u64 {
        [IntegrityStage::DiskBody, IntegrityStage::DiskIndex, IntegrityStage::DiskRecord]
            .iter()
            .map(|stage| self.count(&[stage]))
            .sum()
    }
}

fn name(parts: &[&dyn Debug]) -> String {
    parts.iter().map(|part| format!("{part:?} ")).collect()
}

impl StoreEvents for Counter {
    fn evicted(&self, tier: Tier, reason: EvictReason) {
        self.add(&[&tier, &reason]);
    }
    fn integrity_failure(&self, stage: IntegrityStage) {
        self.add(&[&stage]);
    }
    fn disk_io(&self, op: DiskOp, _: f64) {
        self.add(&[&op]);
    }
    fn skipped(&self, reason: SkipReason) {
        self.add(&[&reason]);
    }
}

pub(crate) fn never() -> Reverify {
    Arc::new(|_, _| None)
}

pub(crate) fn config(dir: &Path, disk_bytes: u64) -> StoreConfig {
    let disk = Some(DiskConfig { dir: dir.to_owned(), bytes: disk_bytes });
    StoreConfig { memory_bytes: 64 * MIB, max_object_bytes: 8 * MIB, disk }
}

/// A store with its writer; its debug form is what a failed test prints.
pub(crate) struct Running {
    pub(crate) store: Arc<Store>,
    pub(crate) events: Arc<Counter>,
    cancel: CancellationToken,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {:?}", self.store.usage(), self.events.0.lock().unwrap())
    }
}

impl Running {
    pub(crate) fn open(dir: &Path) -> Self {
        Self::with(config(dir, 64 * MIB), never())
    }

    pub(crate) fn with(config: StoreConfig, reverify: Reverify) -> Self {
        let events = Arc::new(Counter::default());
        let store = Arc::new(Store::open(config, reverify, events.clone()).unwrap());
        let cancel = CancellationToken::new();
        let writer = tokio::spawn(store.clone().run(cancel.clone()));
        Self { store, events, cancel, writer }
    }

    /// Shuts down in order; the directory can be opened again.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.writer.await.unwrap().unwrap();
    }

    /// Puts an entry through both tiers.
    pub(crate) async fn keep(&self, entry: &Arc<Entry>) {
        self.store.insert(entry.clone());
        self.store.flush().await;
    }

    pub(crate) async fn body(&self, hash: &ResourceHash) -> Option<Bytes> {
        self.store.load(hash, NOW).await.map(|entry| entry.body.joined().unwrap())
    }
}

pub(crate) fn key(path: &str) -> ResourceKey {
    ResourceKey::parse(PublisherId::unsigned("https://upstream.example"), path).unwrap()
}

pub(crate) fn head(path: &str, length: usize, etag: &str) -> Head {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("video/mp4"));
    headers.append("x-many", HeaderValue::from_static("a"));
    headers.append("x-many", HeaderValue::from_static("b"));
    Head {
        key: key(path),
        status: StatusCode::OK,
        headers,
        length: Some(length as u64),
        generation: Generation(7),
        freshness: Freshness {
            created: NOW,
            initial_age_ms: 0,
            ttl_ms: 60_000,
            stale_while_revalidate_ms: 1_000,
            stale_if_error_ms: 2_000,
            store: Storage::Store,
        },
        validators: Validators { etag: Some(etag.to_owned()), last_modified: None },
        evidence: Evidence::Trusted,
        withheld: Vec::new(),
    }
}

/// A trusted entry.
pub(crate) fn entry(path: &str, body: impl Into<Bytes>) -> Arc<Entry> {
    tagged(path, body, "\"one\"")
}

pub(crate) fn tagged(path: &str, body: impl Into<Bytes>, etag: &str) -> Arc<Entry> {
    let body = body.into();
    let head = head(path, body.len(), etag);
    Arc::new(Entry::new(head, Growing::whole(body, None), NOW, 5_000, "origin"))
}

/// Bytes that depend on the seed alone.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Body files, temporary ones included.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let fans = std::fs::read_dir(dir.join("bodies")).unwrap();
    fans.flat_map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

/// What `du` says the directory takes, in bytes.
pub(crate) fn du(dir: &Path) -> u64 {
    let out = std::process::Command::new("du").args(["-s", "-B1"]).arg(dir).output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

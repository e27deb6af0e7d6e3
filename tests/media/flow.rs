//! The flow under test and what has to hold for all of it. Invariant: nothing here knows a particular input.

use crate::harness::{
    fetch::{Fetch, PROTOCOLS, Reply},
    ffmpeg::{decode, duration},
    files,
    process::Options,
    upstream::{Seen, Upstream},
    weir::{Adapter, Edge, Weir},
};
use std::{path::Path, time::Duration};

/// Seconds that every made input lasts, and how far a container may round.
pub(crate) const LENGTH: f64 = 10.0;
pub(crate) const ROUNDING: f64 = 0.2;
/// Longest time to play one input.
pub(crate) const PLAY: Duration = Duration::from_secs(60);
/// Where an AES-128 key lies, which is like no other resource.
pub(crate) const KEY_PATH: &str = "/enc.key";

/// Three relays in front of an adapter, and what they ought to serve.
pub(crate) struct Flow {
    pub(crate) adapter: Adapter,
    pub(crate) edges: [Edge; 3],
    pub(crate) content: Vec<(String, Vec<u8>)>,
}

impl Flow {
    pub(crate) async fn from_folder(folder: &Path) -> Self {
        Self::over(Adapter::start(folder.display(), Options::new()).await, folder).await
    }

    pub(crate) async fn from_http(upstream: &Upstream, folder: &Path) -> Self {
        Self::over(Adapter::start(upstream.url("/"), Options::new()).await, folder).await
    }

    async fn over(adapter: Adapter, folder: &Path) -> Self {
        let edges = Edge::three(&adapter, &Options::new()).await;
        let content = files::served(folder).into_iter().filter(|(path, _)| !path.ends_with(".keyinfo")).collect();
        Self { adapter, edges, content }
    }

    pub(crate) fn media(&self) -> impl Iterator<Item = &(String, Vec<u8>)> {
        self.content.iter().filter(|(path, _)| path != KEY_PATH)
    }

    /// Every resource from every edge: first while all three edges are cold and are asked at once, then by each
    /// version of HTTP.
    pub(crate) async fn bytes_are_the_origins(&self) {
        let [a, b, c] = &self.edges;
        tokio::join!(self.plain(a), self.plain(b), self.plain(c));
        for edge in &self.edges {
            for (path, bytes) in self.media() {
                for protocol in PROTOCOLS {
                    same(&Fetch::new(&edge.tls(path)).over(protocol).send().await, bytes, path);
                }
            }
        }
    }

    async fn plain(&self, edge: &Edge) {
        for (path, bytes) in self.media() {
            same(&edge.get(path).await, bytes, path);
        }
    }

    /// The publisher's name as the first path component leads to the same resources, which are held already; and the
    /// adapter's own door is the origin that players fall back to.
    pub(crate) async fn bytes_are_there_by_name_and_at_the_adapter(&self) {
        let name = self.adapter.report()["name"].as_str().unwrap();
        for (path, bytes) in self.media() {
            for edge in &self.edges {
                let reply = edge.get(&format!("/{name}{path}")).await;
                same(&reply, bytes, path);
                let cached = reply.header("cache-status");
                assert!(path.ends_with(".m3u8") || cached.contains("hit"), "{path} by name: {cached}");
            }
            same(&self.adapter.get(path).await, bytes, path);
        }
    }

    pub(crate) async fn plays(&self, playlist: &str) {
        for edge in &self.edges {
            let url = edge.url(playlist).to_string();
            assert_eq!(decode(&url, PLAY).await, [""; 0], "{url} does not play cleanly");
            let (length, said) = duration(&url, PLAY).await;
            assert_eq!(said, [""; 0], "{url} is not probed cleanly");
            assert!((length.unwrap() - LENGTH).abs() < ROUNDING, "{url} lasts {length:?} seconds");
        }
    }

    /// Relays fed one another, nothing failed to verify, and nearly everything came once from the adapter.
    pub(crate) async fn relays_shared(&self) {
        let total: usize = self.media().map(|(_, bytes)| bytes.len()).sum();
        let (mut from_peers, mut from_adapter) = (0.0, 0.0);
        for edge in &self.edges {
            let metrics = edge.metrics().await;
            from_peers += metrics.sum("weir_peer_bytes_total", &["direction=\"received\""]);
            from_adapter += metrics.sum("weir_origin_bytes_total", &[]);
            assert_eq!(metrics.sum("weir_integrity_failures_total", &[]), 0.0, "{}", metrics.text());
        }
        assert!(from_peers >= total as f64, "of three copies of {total} bytes, peers brought only {from_peers}");
        assert!(from_adapter < 1.5 * total as f64, "{from_adapter} bytes came from the adapter, {total} are there");
    }
}

pub(crate) fn same(reply: &Reply, bytes: &[u8], path: &str) {
    assert_eq!(reply.status, 200, "{path}: {:?}", reply.headers);
    assert!(reply.body == bytes, "{path} over {:?}: {} bytes differ", reply.version, reply.body.len());
}

/// The origin was asked for each object once, and sent it once.
pub(crate) fn fetched_once(upstream: &Upstream, flow: &Flow) {
    for (path, bytes) in flow.media() {
        assert_eq!(upstream.sent(path), bytes.len() as u64, "bytes of {path} sent by the origin");
        let full = upstream.seen().iter().filter(|seen| seen.target == *path && !conditional(seen)).count();
        assert_eq!(full, 1, "requests for {path} at the origin");
    }
}

pub(crate) fn conditional(seen: &Seen) -> bool {
    seen.headers.contains_key("if-none-match") || seen.headers.contains_key("if-modified-since")
}

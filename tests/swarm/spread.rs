//! Everybody gets everything, the origin and the adapter send it once, and killing three relays is not seen at the
//! others.

use std::time::Duration;

use super::{
    channel::{LENGTH, PLAYLIST, broadcast, path, publish},
    harness::{
        process::Options,
        upstream::Upstream,
        wait::until_within,
        weir::{Adapter, Edge, Weir},
    },
    viewer::Viewer,
};

/// Until everybody has a place in the tree.
const SETTLING: Duration = Duration::from_secs(30);
/// A viewer at the live edge has a segment this soon after it is listed, on a busy machine too.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// Segments before anything is killed, and after.
const QUIET: u64 = 10;
const AFTER: u64 = 10;
const KILLED: usize = 3;

async fn push(process: &impl Weir) -> (u64, u64) {
    let status = process.status().await;
    (status["push"]["renditions"].as_u64().unwrap(), status["push"]["children"].as_u64().unwrap())
}

struct Swarm {
    upstream: Upstream,
    adapter: Adapter,
    edges: Vec<Edge>,
    viewers: Vec<Viewer>,
}

impl Swarm {
    /// So many relays, each with a viewer, all fed.
    async fn start(relays: usize) -> Self {
        let upstream = Upstream::start().await;
        publish(&upstream, 1);
        let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
        let options = Options::new().arg("--memory", "64MiB").arg("--disk", "64MiB");
        let mut edges = Vec::new();
        for n in 0..relays {
            edges.push(Edge::named(&format!("edge {n}"), &adapter, options.clone()).await);
        }
        adapter.has_relays(relays).await;
        for edge in &edges {
            edge.knows(relays).await;
        }
        let viewers = edges.iter().map(Viewer::at).collect();
        let swarm = Self { upstream, adapter, edges, viewers };
        until_within(SETTLING, "everybody to be fed", async || {
            let mut fed = push(&swarm.adapter).await.1;
            for edge in &swarm.edges {
                fed += push(edge).await.1;
            }
            (fed == relays as u64).then_some(())
        })
        .await;
        swarm
    }

    /// Waits until every viewer has this segment.
    async fn everybody_has(&self, segment: u64) {
        until_within(CATCHING_UP, &format!("segment {segment} at every viewer"), async || {
            let missing = self.viewers.iter().filter(|viewer| !viewer.seen().segments.contains(&segment)).count();
            (missing == 0).then_some(())
        })
        .await;
    }

    async fn adapter_sent(&self) -> f64 {
        self.adapter.metrics().await.sum("weir_peer_bytes_total", &["direction=\"sent\""])
    }

    async fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let mut sum = 0.0;
        for edge in &self.edges {
            sum += edge.metrics().await.sum(name, labels);
        }
        sum
    }

    /// Kills relays that feed others, the head among them.
    async fn kill_inner(&mut self, count: usize) {
        let mut feeding = Vec::new();
        for (at, edge) in self.edges.iter().enumerate() {
            let from_adapter = edge.metrics().await.sum("weir_origin_bytes_total", &[]);
            feeding.push((push(edge).await.1 > 0, from_adapter, at));
        }
        // Those that feed somebody first, and of those the ones that got most from the adapter.
        feeding.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let mut chosen: Vec<usize> = feeding.iter().take(count).map(|(.., at)| *at).collect();
        chosen.sort_unstable_by(|a, b| b.cmp(a));
        for at in chosen {
            self.viewers.remove(at);
            self.edges.remove(at).kill9();
        }
    }
}

/// What a run measured.
#[expect(dead_code, reason = "printed whole, in its Debug form")]
#[derive(Debug)]
struct Figures {
    relays: usize,
    /// Copies of each segment that left the adapter, on average.
    copies: f64,
    /// Objects that were whole within 300 ms of the adapter having their heads, and all.
    within_300_ms: f64,
    objects: f64,
    mean_delay_seconds: f64,
    /// CPU seconds per second of the channel, and resident MiB: the adapter's and a relay's on average.
    adapter_cpu: f64,
    adapter_mib: f64,
    relay_cpu: f64,
    relay_mib: f64,
}

async fn run(relays: usize) -> Figures {
    let mut swarm = Swarm::start(relays).await;
    let first = 2;
    swarm.everybody_has(1).await;
    let cpu = |metrics: &super::harness::weir::Metrics| metrics.sum("process_cpu_seconds_total", &[]);
    let delay = ["stage=\"whole\""];
    let (sent, adapter_cpu) = (swarm.adapter_sent().await, cpu(&swarm.adapter.metrics().await));
    let relay_cpu = swarm.sum("process_cpu_seconds_total", &[]).await;
    let bucket = ["stage=\"whole\"", "le=\"0.3\""];
    let within = swarm.sum("weir_push_delay_seconds_bucket", &bucket).await;
    let objects = swarm.sum("weir_push_delay_seconds_count", &delay).await;
    let seconds = swarm.sum("weir_push_delay_seconds_sum", &delay).await;
    let quiet_end = first + QUIET - 1;
    broadcast(&swarm.upstream, first, quiet_end, async |_| ()).await;
    swarm.everybody_has(quiet_end).await;
    let sent = swarm.adapter_sent().await - sent;
    let per = |value: f64| value / QUIET as f64;
    let measured = swarm.adapter.metrics().await;
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let objects = swarm.sum("weir_push_delay_seconds_count", &delay).await - objects;
    let figures = Figures {
        relays,
        copies: sent / (QUIET as f64 * LENGTH as f64),
        within_300_ms: swarm.sum("weir_push_delay_seconds_bucket", &bucket).await - within,
        objects,
        mean_delay_seconds: (swarm.sum("weir_push_delay_seconds_sum", &delay).await - seconds) / objects,
        adapter_cpu: per(cpu(&measured) - adapter_cpu),
        adapter_mib: mib(measured.sum("process_resident_memory_bytes", &[])),
        relay_cpu: per(swarm.sum("process_cpu_seconds_total", &[]).await - relay_cpu) / relays as f64,
        relay_mib: mib(swarm.sum("process_resident_memory_bytes", &[]).await) / relays as f64,
    };
    for segment in first..=quiet_end {
        assert_eq!(swarm.upstream.requests(&path(segment)), 1, "segment {segment} was fetched from the origin again");
    }
    assert!(figures.copies <= 1.05, "{figures:?}");

    // In the middle of the channel, without a word.
    let last = quiet_end + AFTER;
    let upstream = &swarm.upstream;
    broadcast(upstream, quiet_end + 1, quiet_end + 2, async |_| ()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    swarm.kill_inner(KILLED).await;
    broadcast(&swarm.upstream, quiet_end + 3, last, async |_| ()).await;
    swarm.everybody_has(last).await;
    for (edge, viewer) in swarm.edges.iter().zip(&swarm.viewers) {
        let seen = viewer.seen();
        assert!(seen.failures.is_empty(), "{:?}\n{}", seen.failures, edge.stderr());
        let missing: Vec<u64> = (first..=last).filter(|segment| !seen.segments.contains(segment)).collect();
        assert!(missing.is_empty(), "missing {missing:?}");
        assert_eq!(edge.metrics().await.sum("weir_integrity_failures_total", &[]), 0.0);
    }
    for segment in first..=last {
        assert_eq!(swarm.upstream.requests(&path(segment)), 1, "segment {segment} was fetched from the origin again");
    }
    assert!(swarm.upstream.requests(PLAYLIST) > 0);
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_relays_get_a_live_channel_once_and_three_are_killed() {
    let figures = run(8).await;
    println!("{figures:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: twenty processes, and timing"]
async fn twenty_relays_get_a_live_channel_within_300_ms_and_three_are_killed() {
    let figures = run(20).await;
    println!("{figures:#?}");
    assert!(figures.within_300_ms >= 0.99 * figures.objects, "{figures:?}");
}

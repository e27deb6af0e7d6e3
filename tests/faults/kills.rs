//! kill -9 of each part while somebody watches.

use rustix::process::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weir_load::{
    client::{Protocol, Trust},
    viewer::{Config, Event, Outcome, Viewer},
};

use super::{
    content::{bytes, film, owned_by, playlist, segment},
    harness::{
        fetch::Fetch,
        process::Options,
        upstream::{Script, Upstream},
        wait::{PATIENCE, until, until_within, within},
        weir::{Adapter, Edge, Weir},
    },
};

const MIB: usize = 1 << 20;
/// One and a half target durations of the live channel.
const FROZEN: Duration = Duration::from_millis(1500);
/// An edge lets a player wait so long.
const PLAYER_PATIENCE: Duration = Duration::from_millis(2500);
/// For a machine that is busy with other tests.
const SLACK: Duration = Duration::from_millis(500);

/// The viewer sees nothing: its player goes on at the other host before the buffer is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_that_serves_dies_and_play_goes_on_elsewhere() {
    let upstream = Upstream::start().await;
    film(&upstream, "film", 8);
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let mut dies = Edge::named("edge a", &adapter, Options::new()).await;
    let lives = Edge::named("edge b", &adapter, Options::new()).await;
    let (sink, mut events) = mpsc::channel(1024);
    let mut config = Config::new(dies.url("/film.m3u8"), Protocol::H1, Trust::Insecure);
    config.alternatives = vec![lives.url("/")];
    config.buffer_target = Duration::from_secs(3);
    let viewing = tokio::spawn(Viewer::new(config, sink).unwrap().run(CancellationToken::new()));
    let mut segments = 0;
    while segments < 4 {
        if let Event::Segment(_) = within(PATIENCE, "segments", events.recv()).await.unwrap() {
            segments += 1;
        }
    }
    dies.kill9();
    let summary = within(PATIENCE, "the film's end", viewing).await.unwrap();
    assert_eq!(summary.outcome, Outcome::Completed, "{summary:?}");
    assert_eq!((summary.segments, summary.stalls, summary.integrity_failures), (8, 0, 0), "{summary:?}");
    assert!(summary.failovers >= 1 && summary.skipped_segments == 0, "{summary:?}");
}

async fn a_feeder_fails(fault: impl FnOnce(&mut Edge), within_seconds: u64) {
    let upstream = Upstream::start().await;
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let mut feeds = Edge::named("edge a", &adapter, Options::new()).await;
    let serves = Edge::named("edge b", &adapter, Options::new()).await;
    feeds.knows(2).await;
    serves.knows(2).await;
    let path = owned_by(&adapter, &[&feeds, &serves]).await;
    let body = bytes(4 * MIB, 1);
    upstream.put(&path, Script::body(body.clone()).trickle(64 * 1024, Duration::from_millis(25)));
    let url = serves.url(&path);
    let (half, mut reached) = mpsc::channel(1);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        let reply = Fetch::new(&url)
            .stream(|piece| {
                all.extend_from_slice(&piece);
                if all.len() >= MIB {
                    let _ = half.try_send(());
                }
            })
            .await;
        (reply, all)
    });
    within(PATIENCE, "the first quarter", reached.recv()).await.unwrap();
    let failed = Instant::now();
    fault(&mut feeds);
    let (reply, all) = within(PATIENCE, "the whole body", reading).await.unwrap();
    assert_eq!(reply.unwrap().status, 200);
    assert!(all == body, "{} bytes", all.len());
    assert!(failed.elapsed() < Duration::from_secs(within_seconds), "{:?}", failed.elapsed());
    assert_eq!(upstream.requests(&path), 1);
    let metrics = serves.metrics().await;
    let from_peer = metrics.sum("weir_peer_bytes_total", &["direction=\"received\""]);
    let from_adapter = metrics.sum("weir_origin_bytes_total", &[]);
    let twice = from_peer + from_adapter - 4.0 * MIB as f64;
    assert!(from_peer >= MIB as f64 && (0.0..=256.0 * 1024.0).contains(&twice), "{from_peer} + {from_adapter}");
    assert_eq!(metrics.sum("weir_integrity_failures_total", &[]), 0.0);
    assert!(metrics.sum("weir_failovers_total", &[]) >= 1.0);
}

/// The viewer sees nothing: the same response goes on from the byte where the peer fell silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_that_feeds_dies_and_the_transfer_goes_on() {
    a_feeder_fails(|edge| edge.kill9(), 6).await;
}

/// The same when it only hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_that_feeds_hangs_and_the_transfer_goes_on() {
    a_feeder_fails(|edge| edge.signal(Signal::STOP), 6).await;
}

/// The viewer sees: the film goes on from what relays hold. Live stops: no playlist that has not advanced for one and a
/// half target durations is served, and one request later, which may take a player's whole patience, comes the 404 that
/// makes the player change its pathway. Live is back soon after the adapter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_dies_and_relays_go_on_with_what_they_hold() {
    let upstream = Upstream::start().await;
    film(&upstream, "film", 4);
    let channel = |first: usize| {
        let kind = "application/vnd.apple.mpegurl";
        upstream.put("/live.m3u8", Script::body(playlist("live", first, 3, true)).header("content-type", kind));
        upstream.put(&format!("/live-{}.ts", first + 2), Script::body(segment(100, first as u8)));
    };
    channel(0);
    let mut adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let holds = Edge::named("edge a", &adapter, Options::new()).await;
    let other = Edge::named("edge b", &adapter, Options::new()).await;
    holds.knows(2).await;
    other.knows(2).await;
    for n in 0..4 {
        assert_eq!(holds.get(&format!("/film-{n}.ts")).await.status, 200);
    }
    channel(1);
    assert_eq!(other.get("/live.m3u8").await.status, 200);
    assert_eq!(other.get("/live-3.ts").await.status, 200);

    adapter.kill9();
    let killed = Instant::now();
    let gone = until("the live playlist to end", async || {
        let reply = other.get("/live.m3u8").await;
        if reply.status == 200 {
            // It last advanced before the kill.
            assert!(killed.elapsed() < FROZEN + SLACK, "a frozen playlist after {:?}", killed.elapsed());
            return None;
        }
        Some(reply)
    })
    .await;
    assert_eq!(gone.status, 404);
    // The last request may have waited for sources as long as a player's patience goes.
    assert!(killed.elapsed() < FROZEN + PLAYER_PATIENCE + SLACK, "a 404 after {:?}", killed.elapsed());
    // Also what only the other relay holds, and though the adapter has to be given up first.
    for n in 0..4 {
        let reply = until_within(Duration::from_secs(4), "a held segment", async || {
            let reply = other.get(&format!("/film-{n}.ts")).await;
            (reply.status == 200).then_some(reply)
        })
        .await;
        assert!(reply.body == segment(400, n));
    }

    adapter.restart().await;
    channel(9);
    let back = until_within(Duration::from_secs(25), "live to go on", async || {
        let reply = other.get("/live.m3u8").await;
        (reply.status == 200).then_some(reply)
    })
    .await;
    assert_eq!(back.text(), playlist("live", 9, 3, true));
    let newest = other.get("/live-11.ts").await;
    assert!(newest.body == segment(100, 9), "{} {}", newest.status, newest.text());
}

fn bodies(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { bodies(&path) } else { vec![path] }).collect()
}

/// The viewer sees nothing: what was on disk is served again after it was verified, and what was damaged is fetched
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_was_killed_serves_its_disk_verified_or_fetches_again() {
    const OBJECTS: usize = 12;
    let upstream = Upstream::start().await;
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let mut edge = Edge::join(&adapter, Options::new()).await;
    for n in 0..OBJECTS {
        upstream.put(&format!("/{n}.ts"), Script::body(bytes(100_000, n as u8)));
        assert_eq!(edge.get(&format!("/{n}.ts")).await.status, 200);
    }
    let directory = edge.data().join("cache/bodies");
    let files = until("all bodies on disk", async || {
        let whole = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.len() == 100_000);
        let files: Vec<PathBuf> = bodies(&directory).into_iter().filter(whole).collect();
        (files.len() == OBJECTS).then_some(files)
    })
    .await;
    // The index knows them once the adapter's later word is written too; some may still miss, which is no damage.
    edge.kill9();
    let mut damaged = fs::read(&files[0]).unwrap();
    damaged[50_000] ^= 1;
    fs::write(&files[0], damaged).unwrap();
    fs::write(&files[1], b"cut").unwrap();
    fs::remove_file(&files[2]).unwrap();
    edge.restart().await;
    edge.ready().await;
    for n in 0..OBJECTS {
        let reply = edge.get(&format!("/{n}.ts")).await;
        assert!(reply.status == 200 && reply.body == bytes(100_000, n as u8), "object {n}: {}", reply.status);
    }
    let metrics = edge.metrics().await;
    let from_disk = metrics.sum("weir_cache_requests_total", &["tier=\"disk\"", "result=\"hit\""]);
    assert!((1.0..=9.0).contains(&from_disk), "{from_disk} from disk");
    assert!(metrics.sum("weir_integrity_failures_total", &[]) >= 1.0);
    assert_eq!(metrics.sum("weir_origin_bytes_total", &[]), (OBJECTS as f64 - from_disk) * 100_000.0);
}

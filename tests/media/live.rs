//! A live channel whose window slides: it goes forward at every edge, keeps up with the origin, and ends.

use crate::{
    flow::PLAY,
    harness::{
        fetch::{Fetch, Protocol},
        ffmpeg::{Channel, decode},
        files,
        process::Options,
        upstream::Upstream,
        wait::{until, until_within},
        weir::{Adapter, Edge, Weir},
    },
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the channel is on air: longer than the polling that is asked for, with the last segments behind it.
const ON_AIR: u32 = 26;
/// A player that polls twice a segment.
const POLL: Duration = Duration::from_secs(1);
/// An edge may be so many segments behind the origin: one for the adapter's poll, one for the edge's, one in between.
const LAG: u64 = 3;

/// What one viewer of the live channel saw.
#[derive(Default)]
struct Watched {
    polls: u32,
    newest: u64,
    segments: BTreeMap<String, Vec<u8>>,
}

/// First sequence number and segment names.
fn window(playlist: &str) -> (u64, Vec<&str>) {
    let sequence = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let segments = playlist.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    (sequence.unwrap_or("0").parse().unwrap(), segments)
}

/// Polls the channel at one edge until it ends.
async fn watch(edge: &Edge, protocol: Protocol, channel: &Channel) -> Watched {
    let mut watched = Watched::default();
    let (mut first, mut last) = (0, 0);
    loop {
        let (origins, on_air) = channel.playlist().map_or((0, Vec::new()), |text| {
            let (sequence, segments) = window(&text);
            (sequence + segments.len() as u64, segments.into_iter().map(str::to_owned).collect())
        });
        let reply = Fetch::new(&edge.tls("/live.m3u8")).over(protocol).send().await;
        assert_eq!(reply.status, 200, "{:?}", reply.headers);
        let text = reply.text();
        let (sequence, segments) = window(&text);
        watched.newest = sequence + segments.len() as u64;
        assert!(
            sequence >= first && watched.newest >= last,
            "went from {first}..{last} to {sequence}..{}",
            watched.newest
        );
        assert!(watched.newest + LAG >= origins, "{} at the edge, {origins} at the origin", watched.newest);
        (first, last) = (sequence, watched.newest);
        for segment in segments {
            // The oldest may leave the origin between the two looks.
            if !watched.segments.contains_key(segment) && on_air.iter().skip(1).any(|name: &String| name == segment) {
                let reply = Fetch::new(&edge.tls(&format!("/{segment}"))).over(protocol).send().await;
                assert_eq!(reply.status, 200, "{segment}: {:?}", reply.headers);
                watched.segments.insert(segment.to_owned(), reply.body.to_vec());
            }
        }
        watched.polls += 1;
        if text.lines().any(|line| line == "#EXT-X-ENDLIST") {
            return watched;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Keeps each segment as the origin has it, until the channel ends.
async fn keep(channel: &Channel) -> BTreeMap<String, Vec<u8>> {
    let mut kept = BTreeMap::new();
    let patience = Duration::from_secs(u64::from(ON_AIR) + 30);
    until_within(patience, "the channel to go off air", async || {
        for (path, bytes) in files::served(channel.folder()) {
            if path.ends_with(".ts") {
                kept.insert(path[1..].to_owned(), bytes);
            }
        }
        channel.playlist()?.contains("#EXT-X-ENDLIST").then_some(())
    })
    .await;
    kept
}

/// Watches the channel at all three edges, one version of HTTP each and ffmpeg beside it, from first to last.
async fn goes_forward_to_its_end(channel: &Channel, edges: &[Edge; 3]) -> BTreeMap<String, Vec<u8>> {
    let began = Instant::now();
    let patience = Duration::from_secs(u64::from(ON_AIR) + 40);
    let urls = edges.each_ref().map(|edge| edge.url("/live.m3u8").to_string());
    let [a, b, c] = edges;
    let (kept, watched_a, watched_b, watched_c, said_a, said_b, said_c) = tokio::join!(
        keep(channel),
        watch(a, Protocol::H1, channel),
        watch(b, Protocol::H2, channel),
        watch(c, Protocol::H3, channel),
        decode(&urls[0], patience),
        decode(&urls[1], patience),
        decode(&urls[2], patience),
    );
    let watched_for = began.elapsed();
    assert!(watched_for >= Duration::from_secs(20), "watched for {watched_for:?}");
    for (url, said) in urls.iter().zip([said_a, said_b, said_c]) {
        assert_eq!(said, [""; 0], "{url} does not play cleanly");
    }
    let text = channel.playlist().unwrap();
    let (sequence, segments) = window(&text);
    assert!(sequence > 4, "the window slid to {sequence} only");
    for (edge, watched) in edges.iter().zip([watched_a, watched_b, watched_c]) {
        assert_eq!(watched.newest, sequence + segments.len() as u64, "the end that this edge showed");
        assert!(watched.polls >= 10, "{} polls", watched.polls);
        assert!(watched.segments.len() >= 10, "{} segments", watched.segments.len());
        for (name, bytes) in &watched.segments {
            assert!(kept.get(name) == Some(bytes), "{name} differs from the origin's");
        }
        // Segments follow one another, so that joined they are one stream that plays.
        let joined = tempfile::Builder::new().suffix(".ts").tempfile().unwrap();
        let stream: Vec<u8> = watched.segments.into_values().flatten().collect();
        std::fs::write(joined.path(), stream).unwrap();
        assert_eq!(decode(joined.path().to_str().unwrap(), PLAY).await, [""; 0]);
        assert_eq!(edge.metrics().await.sum("weir_integrity_failures_total", &[]), 0.0);
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn media_live_over_http_slides_forward_to_its_end() {
    let channel = Channel::start(ON_AIR).await;
    let upstream = Upstream::folder(channel.folder()).await;
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let edges = Edge::three(&adapter, &Options::new()).await;
    let kept = goes_forward_to_its_end(&channel, &edges).await;
    // The playlist is followed once for everybody, and each segment comes once.
    for name in kept.keys() {
        let requests = upstream.requests(&format!("/{name}"));
        assert!(requests <= 1, "{name} was fetched {requests} times");
    }
    let looks = upstream.requests("/live.m3u8");
    assert!(looks <= 2 * ON_AIR as usize, "the origin's playlist was asked for {looks} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_live_from_a_folder_slides_forward_to_its_end() {
    let channel = Channel::start(ON_AIR).await;
    let adapter = Adapter::start(channel.folder().display(), Options::new()).await;
    let edges = Edge::three(&adapter, &Options::new()).await;
    goes_forward_to_its_end(&channel, &edges).await;
}

/// When the encoder dies its last playlist lies there for ever: it is asked for anew at every look. When the origin is
/// gone as well it is served for a moment, and then a failure tells the player to go elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn media_live_that_froze_is_not_served_as_fresh() {
    let mut channel = Channel::start(ON_AIR).await;
    let upstream = Upstream::folder(channel.folder()).await;
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let edges = Edge::three(&adapter, &Options::new()).await;
    for edge in &edges {
        assert_eq!(edge.get("/live.m3u8").await.status, 200);
    }
    channel.kill9();
    let frozen = channel.playlist().unwrap();
    for edge in &edges {
        // While it is fresh, most looks so soon after one another are hits.
        let mut asked_anew = 0;
        until("the frozen playlist to lose its freshness", async || {
            let reply = edge.get("/live.m3u8").await;
            assert_eq!(reply.status, 200, "{:?}", reply.headers);
            let forwarded = reply.header("cache-status").contains("fwd=stale");
            asked_anew = if forwarded && reply.text() == frozen { asked_anew + 1 } else { 0 };
            (asked_anew == 10).then_some(())
        })
        .await;
    }
    drop(upstream);
    for edge in &edges {
        let failed = until("the playlist of a channel without an origin to fail", async || {
            let reply = edge.get("/live.m3u8").await;
            (reply.status != 200).then_some(reply)
        })
        .await;
        assert_eq!((failed.status, failed.header("cache-control")), (404, "no-store"));
    }
}

//! The viewer against synthetic films and channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_load::client::{Protocol, Trust};
use weir_load::viewer::{Choice, Config, Event, Outcome, Summary, Viewer};

use crate::media::{init, playlist, segment, transport_stream};
use crate::support::{Certificate, Handler, Reply, Server, at_once};

const MASTER: &str = "#EXTM3U\n\
    #EXT-X-STREAM-INF:BANDWIDTH=2000000\nhi/index.m3u8\n\
    #EXT-X-STREAM-INF:BANDWIDTH=300000\nlo/index.m3u8\n";
pub(crate) const MAP: &str = "#EXT-X-MAP:URI=\"init.mp4\"\n";
/// Frames in a segment of 0.4 s.
pub(crate) const FRAMES: u32 = 10;
pub(crate) const SECONDS: f64 = 0.4;

/// The number in `seg7.m4s`.
pub(crate) fn number(path: &str) -> u32 {
    path.rsplit_once("seg").and_then(|(_, rest)| rest.split('.').next()).unwrap().parse().unwrap()
}

pub(crate) fn fmp4(number: u32) -> Vec<u8> {
    segment(number * FRAMES, FRAMES, 1000)
}

/// A film of ten segments in two renditions.
pub(crate) fn film(path: &str) -> Reply {
    match path.rsplit('/').next().unwrap() {
        "master.m3u8" => Reply::ok(MASTER),
        "index.m3u8" => Reply::ok(playlist(MAP, 0, 10, SECONDS, |n| format!("seg{n}.m4s"), true)),
        "init.mp4" => Reply::ok(init()),
        _ => Reply::ok(fmp4(number(path))).header("cache-status", "edge; hit").header("weir-record", "r1"),
    }
}

pub(crate) fn config(server: &Server, path: &str) -> Config {
    let mut config = Config::new(server.url(path), Protocol::H1, Trust::System);
    config.realtime = false;
    config.backoff = Duration::from_millis(20);
    config
}

pub(crate) async fn watch(config: Config) -> (Summary, Vec<Event>) {
    let (sink, mut events) = mpsc::channel(10_000);
    let summary = Viewer::new(config, sink).unwrap().run(CancellationToken::new()).await;
    let mut seen = Vec::new();
    while let Some(event) = events.recv().await {
        seen.push(event);
    }
    assert_eq!(summary.events_lost, 0);
    (summary, seen)
}

pub(crate) fn sequences(events: &[Event]) -> Vec<u64> {
    let sequence = |event: &Event| match event {
        Event::Segment(segment) => Some(segment.media_sequence),
        _ => None,
    };
    events.iter().filter_map(sequence).collect()
}

#[tokio::test]
async fn a_film_is_read_whole_over_every_protocol() {
    let certificate = Certificate::new();
    for (protocol, version) in [(Protocol::H1, "h1"), (Protocol::H2, "h2"), (Protocol::H3, "h3")] {
        let server = match protocol {
            Protocol::H3 => Server::quic(&certificate, at_once(film)),
            _ => Server::tcp(Some(&certificate), at_once(film)).await,
        };
        let mut config = config(&server, "/film/master.m3u8");
        (config.client.protocol, config.client.trust) = (protocol, Trust::Insecure);
        config.observe = vec![HeaderName::from_static("weir-record")];
        let (summary, events) = watch(config).await;
        assert!(summary.is_clean(), "{summary:?}");
        assert_eq!(summary.outcome, Outcome::Completed);
        assert_eq!((summary.segments, summary.playlists, summary.versions[version]), (10, 2, 10));
        assert_eq!(summary.relays[&server.address.to_string()].bytes, summary.bytes);
        assert_eq!(sequences(&events), (0..10).collect::<Vec<_>>());
        assert_eq!(server.connections(), 1, "one connection serves the whole viewing");
        let Some(Event::Segment(last)) = events.last() else { panic!("{events:?}") };
        assert_eq!((last.fetched.version, last.bandwidth), (version, Some(2_000_000)));
        assert!(last.fetched.url.ends_with("/film/hi/seg9.m4s"), "{last:?}");
        assert_eq!(last.fetched.cache_status.as_deref(), Some("edge; hit"));
        assert_eq!(last.fetched.observed["weir-record"], "r1");
    }
}

#[tokio::test]
async fn choices_of_rendition() {
    let server = Server::tcp(None, at_once(film)).await;
    for (choice, first, last) in
        [(Choice::Lowest, "lo", "lo"), (Choice::Highest, "hi", "hi"), (Choice::Adaptive, "lo", "hi")]
    {
        let mut config = config(&server, "/master.m3u8");
        config.choice = choice;
        let (summary, events) = watch(config).await;
        assert!(summary.is_clean(), "{summary:?}");
        assert_eq!(sequences(&events), (0..10).collect::<Vec<_>>(), "a switch neither repeats nor skips");
        let of = |event: &Event| match event {
            Event::Segment(segment) => segment.fetched.url.rsplit('/').nth(1).map(str::to_owned),
            _ => None,
        };
        let rungs: Vec<_> = events.iter().filter_map(of).collect();
        assert_eq!((rungs[0].as_str(), rungs[9].as_str()), (first, last), "{choice:?}");
    }
}

#[tokio::test]
async fn a_film_in_real_time_takes_its_time_and_stalls_when_fed_late() {
    let slow: Handler = Arc::new(|path, _| {
        Box::pin(async move {
            if path.ends_with("seg3.m4s") {
                tokio::time::sleep(Duration::from_millis(900)).await;
            }
            film(&path)
        })
    });
    let server = Server::tcp(None, slow).await;
    let mut config = config(&server, "/lo/index.m3u8");
    config.realtime = true;
    config.buffer_target = Duration::from_millis(300);
    let begun = Instant::now();
    let (summary, events) = watch(config).await;
    assert!(begun.elapsed() >= Duration::from_secs_f64(10.0 * SECONDS + summary.stall_seconds));
    assert_eq!(summary.outcome, Outcome::Completed);
    assert!((summary.played_seconds - 10.0 * SECONDS).abs() < 0.01, "{summary:?}");
    assert!(summary.startup_seconds.is_some_and(|seconds| seconds < 1.0), "{summary:?}");
    // The buffer holds at most 0.3 s and one segment when the late one is asked for.
    assert!(summary.stalls >= 1 && summary.stall_seconds >= 0.15, "{summary:?}");
    assert!(events.iter().any(|event| matches!(event, Event::Stall { seconds } if *seconds >= 0.15)));
}

/// A channel of which each load of the playlist shows one segment more, up to `end`.
pub(crate) fn channel(loads: Arc<AtomicU64>, end: u64) -> Handler {
    at_once(move |path| match path {
        "/live/index.m3u8" => {
            let newest = (6 + loads.fetch_add(1, Ordering::Relaxed)).min(end);
            Reply::ok(playlist(MAP, newest - 5, newest, SECONDS, |n| format!("seg{n}.m4s"), newest == end))
        }
        "/live/init.mp4" => Reply::ok(init()),
        segment => Reply::ok(fmp4(number(segment))),
    })
}

#[tokio::test]
async fn a_channel_is_followed_to_its_end() {
    let server = Server::tcp(None, channel(Arc::default(), 9)).await;
    let (summary, events) = watch(config(&server, "/live/index.m3u8")).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(summary.outcome, Outcome::Completed);
    // The first playlist lists 1 to 5; three target durations of 1 s are more than it has.
    assert_eq!(sequences(&events), (1..9).collect::<Vec<_>>());
    assert_eq!(summary.playlists, 4);
    assert!(summary.seconds >= 3.0, "a changed playlist is loaded no sooner than a target duration later");
}

#[tokio::test]
async fn transport_streams_and_byte_ranges() {
    const PACKETS: u8 = 4;
    let head = |path: &str| {
        let broken = path == "/broken.m3u8";
        let mut text = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:1\n".to_owned();
        for index in 0..3 {
            let offset = index * 188 * u32::from(PACKETS) + u32::from(broken && index == 1) * 188;
            text += &format!("#EXTINF:0.4,\n#EXT-X-BYTERANGE:{}@{offset}\nall.ts\n", 188 * u32::from(PACKETS));
        }
        text + "#EXT-X-ENDLIST\n"
    };
    let server = Server::tcp(
        None,
        Arc::new(move |path, headers| {
            let range = headers.get("range").map(|value| value.to_str().unwrap().to_owned());
            Box::pin(async move {
                if path.ends_with(".m3u8") {
                    return Reply::ok(head(&path));
                }
                let mut whole = transport_stream(0, 3 * PACKETS);
                // A packet of the last third is lost on the way.
                whole[188 * 9 + 3] = 0x10 | 0x0f;
                let (begin, end) = range.as_deref().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (begin, end): (usize, usize) = (begin.parse().unwrap(), end.parse().unwrap());
                // Once everything, as a server may that knows no ranges.
                if begin == 0 {
                    Reply::ok(whole)
                } else {
                    Reply { status: 206, ..Reply::ok(whole[begin..=end].to_vec()) }
                }
            })
        }),
    )
    .await;
    let (summary, _) = watch(config(&server, "/film.m3u8")).await;
    assert_eq!((summary.segments, summary.integrity_failures), (3, 1), "{summary:?}");
    assert_eq!(summary.integrity["ts-counter"], 1);
}

#[tokio::test]
async fn cancelling_ends_at_once_even_within_a_request() {
    let silent: Handler = Arc::new(|path, _| {
        Box::pin(async move {
            if path.contains("seg") {
                std::future::pending::<()>().await;
            }
            film(&path)
        })
    });
    let server = Server::tcp(None, silent).await;
    let (sink, mut events) = mpsc::channel(100);
    let cancel = CancellationToken::new();
    let mut config = config(&server, "/lo/index.m3u8");
    config.client.timeouts.head = Duration::from_secs(60);
    let viewer = tokio::spawn(Viewer::new(config, sink).unwrap().run(cancel.clone()));
    while !matches!(events.recv().await.unwrap(), Event::Init { .. }) {}
    let asked = Instant::now();
    cancel.cancel();
    let summary = viewer.await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!((summary.outcome, summary.segments), (Outcome::Stopped, 0));
}

#[tokio::test]
async fn the_configured_time_ends_a_channel() {
    let server = Server::tcp(None, channel(Arc::default(), u64::MAX)).await;
    let mut config = config(&server, "/live/index.m3u8");
    config.realtime = true;
    config.duration = Some(Duration::from_millis(1300));
    let (summary, _) = watch(config).await;
    assert_eq!(summary.outcome, Outcome::DurationReached);
    assert!(summary.is_clean() && summary.stalls == 0, "{summary:?}");
    assert!((1.3..3.0).contains(&summary.seconds), "{summary:?}");
}

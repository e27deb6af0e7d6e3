//! The viewer when hosts fail or send what cannot be right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weir_load::viewer::{Event, Outcome, Viewer};

use crate::media::{playlist, segment};
use crate::support::{Reply, Server, at_once};
use crate::viewer::{FRAMES, MAP, SECONDS, channel, config, film, fmp4, number, sequences, watch};

#[tokio::test]
async fn a_failing_host_is_left_in_the_middle_without_losing_a_segment() {
    let dying = at_once(|path| if path.contains("seg") && number(path) >= 4 { Reply::status(503) } else { film(path) });
    let (first, second) = (Server::tcp(None, dying).await, Server::tcp(None, at_once(film)).await);
    let mut config = config(&first, "/film/master.m3u8");
    config.alternatives = vec![second.url("/")];
    let (summary, events) = watch(config).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(sequences(&events), (0..10).collect::<Vec<_>>());
    assert_eq!((summary.failovers, summary.errors["status-503"]), (1, 1));
    let (from, to) = (first.address.to_string(), second.address.to_string());
    assert_eq!((summary.relays[&from].segments, summary.relays[&to].segments), (4, 6));
    assert_eq!(summary.relays[&from].failures, 1);
    assert!(events.contains(&Event::Failover { from, to, class: "status-503".to_owned() }));
}

#[tokio::test]
async fn a_host_that_vanishes_is_left_and_the_channel_goes_on() {
    let loads = Arc::new(AtomicU64::new(0));
    let first = Server::tcp(None, channel(Arc::clone(&loads), 10)).await;
    let second = Server::tcp(None, channel(loads, 10)).await;
    let mut config = config(&first, "/live/index.m3u8");
    config.alternatives = vec![second.url("/")];
    let (sink, mut events) = mpsc::channel(10_000);
    let viewer = tokio::spawn(Viewer::new(config, sink).unwrap().run(CancellationToken::new()));
    let mut seen = Vec::new();
    let mut first = Some(first);
    while let Some(event) = events.recv().await {
        if matches!(&event, Event::Segment(segment) if segment.media_sequence == 6)
            && let Some(server) = first.take()
        {
            server.stop().await;
        }
        seen.push(event);
    }
    let summary = viewer.await.unwrap();
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(summary.outcome, Outcome::Completed);
    assert_eq!(sequences(&seen), (1..10).collect::<Vec<_>>());
    assert_eq!(summary.failovers, 1);
}

#[tokio::test]
async fn with_one_host_a_resource_is_asked_again_and_then_given_up() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let server = Server::tcp(
        None,
        at_once(move |path| {
            let is_bad = path.ends_with("seg2.m4s") && count.fetch_add(1, Ordering::Relaxed) < 2;
            if is_bad || path.ends_with("seg7.m4s") { Reply::status(404) } else { film(path) }
        }),
    )
    .await;
    let mut config = config(&server, "/lo/index.m3u8");
    config.attempts = 3;
    let (summary, events) = watch(config).await;
    assert!(matches!(&summary.outcome, Outcome::Failed { reason } if reason.contains("seg7")), "{summary:?}");
    assert!(!summary.is_clean());
    assert_eq!(sequences(&events), (0..7).collect::<Vec<_>>());
    assert_eq!((summary.errors["status-404"], summary.failovers, asked.load(Ordering::Relaxed)), (5, 0, 3));
}

#[tokio::test]
async fn what_cannot_be_right_is_an_integrity_failure() {
    let server = Server::tcp(
        None,
        at_once(|path| match path.rsplit('/').next().unwrap() {
            // Begins five frames late, so the next one is early.
            "seg3.m4s" => Reply::ok(segment(3 * FRAMES + 5, FRAMES, 10)),
            "seg6.m4s" => Reply::ok({
                let mut cut = fmp4(6);
                cut.truncate(200);
                cut
            }),
            _ => film(path),
        }),
    )
    .await;
    let (summary, events) = watch(config(&server, "/lo/index.m3u8")).await;
    assert!(!summary.is_clean());
    assert_eq!(summary.outcome, Outcome::Completed);
    assert_eq!((summary.integrity["decode-time"], summary.integrity["boxes"]), (2, 1));
    assert_eq!(summary.integrity_failures, 3);
    let is_late = |event: &Event| matches!(event, Event::Integrity { url, .. } if url.ends_with("seg3.m4s"));
    assert!(events.iter().any(is_late));
}

#[tokio::test]
async fn a_playlist_that_goes_back_is_reported_and_not_followed() {
    let loads = AtomicU64::new(0);
    let server = Server::tcp(
        None,
        at_once(move |path| match path {
            "/index.m3u8" => {
                let (first, ended) =
                    [(5, false), (3, false), (6, true)][loads.fetch_add(1, Ordering::Relaxed) as usize];
                Reply::ok(playlist(MAP, first, first + 3, SECONDS, |n| format!("seg{n}.m4s"), ended))
            }
            _ => film(path),
        }),
    )
    .await;
    let (summary, events) = watch(config(&server, "/index.m3u8")).await;
    assert_eq!(summary.integrity["playlist-backwards"], 1);
    assert_eq!(summary.integrity_failures, 1, "{summary:?}");
    assert_eq!(sequences(&events), [5, 6, 7, 8]);
}

#[tokio::test]
async fn what_is_no_playlist_fails_with_a_reason() {
    let server = Server::tcp(None, at_once(|_| Reply::ok("<html>"))).await;
    let (summary, _) = watch(config(&server, "/master.m3u8")).await;
    assert!(matches!(&summary.outcome, Outcome::Failed { reason } if reason.contains("EXTM3U")), "{summary:?}");
    assert_eq!(summary.integrity["playlist"], 1);
}

//! Virtual viewers against synthetic films and channels: what they play, what they find, where they go on when a host fails.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use weir_load::run::{Progress, Report, Scenario, run};

use crate::media::{init, segment};
use crate::support::{Certificate, Handler, Reply, Server, at_once};
use crate::viewer::{FRAMES, MAP, SECONDS, film, fmp4, number};

/// Runs a scenario that is written in TOML.
async fn played(text: &str) -> Report {
    let scenario: Scenario = toml::from_str(text).unwrap();
    scenario.check().unwrap();
    let (progress, told) = tokio::sync::watch::channel(Progress::default());
    let report = run(&scenario, CancellationToken::new(), progress).await.unwrap();
    assert!(told.has_changed().is_err(), "nobody tells any more");
    report
}

fn figure(report: &Report, name: &str) -> f64 {
    *report.targets[0].figures.get(name).unwrap_or_else(|| panic!("{name} in {:?}", report.targets[0].figures))
}

#[tokio::test]
async fn a_film_over_every_protocol_with_verdicts() {
    let certificate = Certificate::new();
    let tcp = Server::tcp(Some(&certificate), at_once(film)).await;
    let quic = Server::quic(&certificate, at_once(film));
    let report = played(&format!(
        r#"
        name = "film"
        viewers = 24
        seconds = 3
        ramp_seconds = 0.5
        rounds = 2
        rest_seconds = 0.1
        [player]
        buffer_seconds = 1.0
        viewers_per_connection = 4
        inspect_percent = 25
        random_start = true
        [[target]]
        name = "tcp"
        urls = ["{}"]
        protocols = {{ h1 = 1, h2 = 1 }}
        insecure = true
        server_pids = [{pid}]
        [[target]]
        name = "quic"
        urls = ["{}"]
        protocols = {{ h3 = 1 }}
        insecure = true
        [[expect]]
        figure = "rebuffer_count"
        at_most = 0
        [[expect]]
        figure = "segments"
        at_least = 1000000
        target = "quic"
        "#,
        tcp.url("/film/master.m3u8"),
        quic.url("/film/master.m3u8"),
        pid = std::process::id(),
    ))
    .await;
    assert_eq!((report.targets.len(), report.rounds), (2, 2));
    for target in &report.targets {
        let figures = &target.figures;
        assert_eq!((figures["viewers"], figures["errors"], figures["gave_up_viewers"]), (48.0, 0.0, 0.0), "{target:?}");
        assert_eq!((figures["rebuffer_count"], figures["unstarted_viewers"]), (0.0, 0.0), "{target:?}");
        assert_eq!((target.by_round.len(), target.integrity.failures()), (2, 0), "{:?}", target.integrity);
        // Each of the six inspected viewers of both rounds plays about 2.5 s of segments of 0.4 s.
        assert!(target.integrity.parsed >= 48, "{:?}", target.integrity);
        assert_eq!(target.start_up.count, 48);
        assert!(figures["segments"] >= 24.0 * 2.0 * 2.5 / SECONDS, "{figures:?}");
        assert_eq!(figures["segments"], target.protocols.values().sum::<u64>() as f64);
        assert!(target.curves.seconds.iter().any(|second| second.viewers == 24));
    }
    let [tcp_report, quic_report] = &report.targets[..] else { panic!("two targets") };
    assert_eq!(tcp_report.protocols.keys().collect::<Vec<_>>(), ["h1", "h2"]);
    assert!(tcp_report.server_cpu.iter().all(|cpu| cpu.as_ref().is_some_and(|cpu| cpu.seconds_per_gigabyte.is_some())));
    assert_eq!(quic_report.protocols.keys().collect::<Vec<_>>(), ["h3"]);
    // Twelve viewers with a connection each and twelve on three, in each of two rounds.
    assert_eq!(tcp.connections(), 30);
    assert_eq!(quic.connections(), 12);
    let met: Vec<bool> = report.expectations.iter().map(|verdict| verdict.met).collect();
    assert_eq!((met, report.is_met()), (vec![true, true, false], false));
    let page = report.html();
    assert!(page.contains("<svg") && !page.contains("NaN") && !page.contains("<script"), "{page}");
    assert!(report.to_string().contains("MISSED  quic: segments"), "{report}");
    let json = serde_json::to_vec(&report).unwrap();
    let compared = weir_load::run::compare(&json, &json).unwrap();
    assert!(!compared.is_worse() && compared.rows.len() > 40);
}

#[tokio::test]
async fn viewers_leave_a_host_that_fails_and_lose_nothing() {
    let begun = Instant::now();
    let failing: Handler = Arc::new(move |path, _| {
        Box::pin(async move {
            if begun.elapsed() > Duration::from_millis(1000) && path.contains("seg") {
                return Reply::status(503);
            }
            film(&path)
        })
    });
    let (failing, sound) = (Server::tcp(None, failing).await, Server::tcp(None, at_once(film)).await);
    let report = played(&format!(
        r#"
        name = "fail-over"
        viewers = 10
        seconds = 3
        [player]
        buffer_seconds = 1.2
        inspect_percent = 100
        [[target]]
        name = "two"
        urls = ["{}", "{}"]
        "#,
        failing.url("/film/master.m3u8"),
        sound.url("/film/master.m3u8"),
    ))
    .await;
    let target = &report.targets[0];
    let (left, to) = (&target.hosts[&failing.address.to_string()], &target.hosts[&sound.address.to_string()]);
    assert_eq!((left.failures, left.left), (5, 5), "each of the five meets one failure: {target:?}");
    assert_eq!((target.errors["status-503"], to.failures), (5, 0));
    assert_eq!((figure(&report, "failovers"), figure(&report, "rebuffer_count")), (5.0, 0.0));
    assert_eq!((figure(&report, "skipped_segments"), target.integrity.failures()), (0.0, 0), "{:?}", target.integrity);
}

#[tokio::test]
async fn forged_bytes_are_found_by_their_digest() {
    // The SHA-256 of "abc", which no segment is.
    let digest = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    let server = Server::tcp(
        None,
        at_once(move |path| match path {
            path if path.ends_with("seg3.m4s") => film(path).header("repr-digest", digest),
            path => film(path),
        }),
    )
    .await;
    let report = played(&format!(
        "name = \"forged\"\nviewers = 2\nseconds = 3\n[player]\ninspect_percent = 100\nbuffer_seconds = 2\nprotocols = {{ h1 = 1 }}\n\
         [[target]]\nname = \"t\"\nurls = [\"{}\"]\n[[expect]]\nfigure = \"integrity_failures\"\nat_most = 0\n",
        server.url("/lo/index.m3u8"),
    ))
    .await;
    let integrity = &report.targets[0].integrity;
    assert_eq!((integrity.classes["digest"], integrity.digests), (2, 2), "{integrity:?}");
    assert!(!report.is_met());
}

#[tokio::test]
async fn steering_moves_viewers_to_the_pathway_that_the_list_prefers() {
    let polls = Arc::new(Mutex::new(Vec::new()));
    let second = Server::tcp(None, at_once(film)).await;
    let elsewhere = second.url("/film/hi/index.m3u8");
    let seen = Arc::clone(&polls);
    let first = Server::tcp(
        None,
        at_once(move |path| match path {
            "/film/steered.m3u8" => Reply::ok(format!(
                "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer?v=1\",PATHWAY-ID=\"A\"\n\
                 #EXT-X-STREAM-INF:BANDWIDTH=2000000,PATHWAY-ID=\"A\",STABLE-VARIANT-ID=\"hi\"\nhi/index.m3u8\n\
                 #EXT-X-STREAM-INF:BANDWIDTH=2000000,PATHWAY-ID=\"B\",STABLE-VARIANT-ID=\"hi\"\n{elsewhere}\n"
            )),
            path if path.starts_with("/steer") => {
                let mut polls = seen.lock().unwrap();
                polls.push(path.to_owned());
                Reply::ok("{\"VERSION\":1,\"TTL\":1,\"PATHWAY-PRIORITY\":[\"B\",\"A\"]}")
            }
            path => film(path),
        }),
    )
    .await;
    let report = played(&format!(
        "name = \"steered\"\nviewers = 4\nseconds = 3\n[player]\nbuffer_seconds = 1\nprotocols = {{ h1 = 1 }}\n\
         [[target]]\nname = \"t\"\nurls = [\"{}\"]\n",
        first.url("/film/steered.m3u8"),
    ))
    .await;
    let target = &report.targets[0];
    assert!(target.hosts[&second.address.to_string()].segments >= 20, "{target:?}");
    assert_eq!((figure(&report, "errors"), figure(&report, "rebuffer_count")), (0.0, 0.0), "{target:?}");
    let polls = polls.lock().unwrap();
    assert!((8..=12).contains(&polls.len()), "each asks at once and every second: {polls:?}");
    assert!(polls[0].starts_with("/steer?v=1&_HLS_pathway=%22A%22"), "{polls:?}");
    assert!(polls.last().unwrap().contains("_HLS_pathway=%22B%22"), "{polls:?}");
}

/// Seconds of a part, and parts of a segment.
const PART: f64 = 0.2;
const PARTS: u64 = 2;

/// A low-latency channel whose first part was made at `begun`: what its playlist says when so many parts exist.
fn low_latency(parts: u64, unix: f64) -> String {
    let first = (parts / PARTS).saturating_sub(6);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET={PART}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}\n#EXT-X-MEDIA-SEQUENCE:{first}\n{MAP}",
        PART * 3.0
    );
    for part in first * PARTS..parts {
        if part % PARTS == 0 {
            let made = unix + part as f64 * PART;
            let (seconds, ms) = (made as u64, (made.fract() * 1000.0) as u64);
            let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
            let day = weir_day(seconds / 86_400);
            writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{day}T{hours:02}:{minutes:02}:{:02}.{ms:03}Z", seconds % 60)
                .unwrap();
        }
        writeln!(text, "#EXT-X-PART:DURATION={PART},URI=\"part{part}.m4s\",INDEPENDENT=YES").unwrap();
        if part % PARTS == PARTS - 1 {
            write!(text, "#EXTINF:{},\nseg{}.m4s\n", PART * PARTS as f64, part / PARTS).unwrap();
        }
    }
    text
}

/// The date of a day since 1970, by counting.
fn weir_day(mut days: u64) -> String {
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

#[tokio::test]
async fn a_low_latency_channel_is_played_part_by_part_close_to_its_edge() {
    // The channel has been on the air for ten seconds when the first viewer comes.
    let aired = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64() - 10.0;
    let begun = Instant::now() - Duration::from_secs(10);
    let asked: Arc<Mutex<HashMap<&str, u64>>> = Arc::default();
    let counts = Arc::clone(&asked);
    let early = Arc::new(AtomicU64::new(0));
    let premature = Arc::clone(&early);
    let handler: Handler = Arc::new(move |path, _| {
        let (counts, early) = (Arc::clone(&counts), Arc::clone(&premature));
        Box::pin(async move {
            let made = move || (begun.elapsed().as_secs_f64() / PART) as u64;
            let count = |what| *counts.lock().unwrap().entry(what).or_default() += 1;
            let name = path.rsplit('/').next().unwrap().to_owned();
            if name.starts_with("index.m3u8") {
                let value = |key: &str| {
                    let (_, rest) = name.split_once(key)?;
                    rest.split('&').next()?.parse::<u64>().ok()
                };
                if let Some(sequence) = value("_HLS_msn=") {
                    count("blocking");
                    let wanted = sequence * PARTS + value("_HLS_part=").unwrap();
                    while made() <= wanted {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                } else {
                    count("plain");
                }
                return Reply::ok(low_latency(made(), aired));
            }
            if name == "init.mp4" {
                return Reply::ok(init());
            }
            let frames = FRAMES / PARTS as u32;
            let part = name.strip_prefix("part").map(|rest| rest.split('.').next().unwrap().parse::<u32>().unwrap());
            if let Some(part) = part {
                count("parts");
                if u64::from(part) >= made() {
                    early.fetch_add(1, Ordering::Relaxed);
                }
                return Reply::ok(segment(part * frames, frames, 500));
            }
            count("segments");
            Reply::ok(fmp4(number(&name)))
        })
    });
    let server = Server::tcp(None, handler).await;
    let report = played(&format!(
        "name = \"ll\"\nviewers = 4\nseconds = 4\n[player]\nbuffer_seconds = 2\ninspect_percent = 100\nprotocols = {{ h2 = 1 }}\n\
         [[target]]\nname = \"t\"\nurls = [\"{}\"]\n",
        server.url("/live/index.m3u8"),
    ))
    .await;
    let target = &report.targets[0];
    assert_eq!(early.load(Ordering::Relaxed), 0, "no part is asked for before it is listed");
    assert_eq!(
        (figure(&report, "errors"), target.integrity.failures()),
        (0.0, 0),
        "{:?} {:?}",
        target.errors,
        target.integrity
    );
    let asked = asked.lock().unwrap();
    // About 3.4 s of parts for each of four viewers.
    assert!(asked["parts"] >= 60 && asked["blocking"] >= 56 && asked["plain"] == 4, "{asked:?}");
    assert!(target.latency_is_dated && target.latency.p50_us < 1_500_000, "{:?}", target.latency);
}

#[tokio::test]
async fn a_line_that_is_cut_is_told_and_survived() {
    let (near, far) = (Server::tcp(None, at_once(film)).await, Server::tcp(None, at_once(film)).await);
    let report = played(&format!(
        r#"
        name = "cut"
        viewers = 6
        seconds = 4
        [player]
        buffer_seconds = 2.0
        first_byte_seconds = 0.3
        connect_seconds = 0.3
        body_seconds = 0.3
        protocols = {{ h1 = 1 }}
        [[target]]
        name = "t"
        urls = ["{}", "{}"]
        [[line]]
        name = "uplink"
        to = "{near}"
        delay_ms = 5
        [[fault]]
        at_seconds = 1.0
        for_seconds = 1.0
        do = "partition"
        on = "uplink"
        "#,
        near.url("/film/master.m3u8"),
        far.url("/film/master.m3u8"),
        near = near.address,
    ))
    .await;
    let faults: Vec<_> =
        report.faults.iter().map(|fault| (fault.what.as_str(), fault.ends, fault.failed.is_some())).collect();
    assert_eq!(faults, [("partition uplink", false, false), ("partition uplink", true, false)]);
    let target = &report.targets[0];
    assert!(target.errors.contains_key("timeout-head"), "{:?}", target.errors);
    assert!(figure(&report, "failovers") >= 3.0 && figure(&report, "rebuffer_count") == 0.0, "{target:?}");
    assert!(target.first_byte.p99_us >= 10_000, "the line's delay is felt: {:?}", target.first_byte);
}

#[tokio::test]
async fn cmcd_and_tokens_reach_the_server() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let paths = Arc::clone(&seen);
    let server = Server::tcp(
        None,
        at_once(move |path| {
            paths.lock().unwrap().push(path.to_owned());
            film(path.split('?').next().unwrap())
        }),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "t-one\nt-two\n").unwrap();
    let report = played(&format!(
        "name = \"told\"\nviewers = 2\nseconds = 1\n[player]\nprotocols = {{ h1 = 1 }}\ntoken_file = \"{}\"\n\
         cmcd = {{ version = 1, content_id = \"c\" }}\n[[target]]\nname = \"t\"\nurls = [\"{}\"]\n",
        file.display(),
        server.url("/film/master.m3u8"),
    ))
    .await;
    assert_eq!(figure(&report, "errors"), 0.0, "{report}");
    let seen = seen.lock().unwrap();
    for token in ["t-one", "t-two"] {
        assert!(seen.iter().any(|path| path.contains(&format!("weir_token={token}"))), "{seen:?}");
    }
    assert!(seen.iter().all(|path| path.contains("weir_token=t-") && path.contains("CMCD=")), "{seen:?}");
    let segment = seen.iter().find(|path| path.contains("/seg3.m4s?")).unwrap();
    for part in ["cid%3D%22c%22", "d%3D400", "ot%3Dav", "nor%3D%22seg4.m4s%22", "sf%3Dh", "br%3D"] {
        assert!(segment.contains(part), "{part} in {segment}");
    }
}

#[tokio::test]
async fn audio_that_is_apart_is_loaded_in_step() {
    let seen: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let counts = Arc::clone(&seen);
    let server = Server::tcp(
        None,
        at_once(move |path| {
            let kind = path.split('/').nth(2).unwrap();
            if path.contains("seg") {
                *counts.lock().unwrap().entry(kind.to_owned()).or_default() += 1;
            }
            match path {
                "/av/master.m3u8" => Reply::ok(
                    "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",NAME=\"n\",DEFAULT=YES,URI=\"audio/index.m3u8\"\n\
                     #EXT-X-STREAM-INF:BANDWIDTH=300000,AUDIO=\"g\"\nvideo/index.m3u8\n",
                ),
                path => film(path),
            }
        }),
    )
    .await;
    let report = played(&format!(
        "name = \"apart\"\nviewers = 3\nseconds = 3\n[player]\nbuffer_seconds = 1\ninspect_percent = 100\nprotocols = {{ h1 = 1 }}\n\
         [[target]]\nname = \"t\"\nurls = [\"{}\"]\n",
        server.url("/av/master.m3u8"),
    ))
    .await;
    let seen = seen.lock().unwrap();
    assert!(seen["video"] >= 24 && seen["video"].abs_diff(seen["audio"]) <= 3, "{seen:?}");
    let target = &report.targets[0];
    assert_eq!((figure(&report, "rebuffer_count"), figure(&report, "errors")), (0.0, 0.0), "{target:?}");
    assert_eq!(target.integrity.failures(), 0, "{:?}", target.integrity);
    // Media is counted once, though it comes in two renditions.
    assert!(figure(&report, "bitrate_mbps") > 0.03, "{target:?}");
}

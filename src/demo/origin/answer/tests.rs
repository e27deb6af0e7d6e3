//! The origin seen from outside: what its answers hold, and that the media they carry is continuous.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::time::Duration;

use http::header::{IF_NONE_MATCH, RANGE};

use super::*;
use crate::demo::origin::boxes;

const RENDITIONS: [&str; 3] = ["360p", "540p", "720p"];

fn origin() -> Origin {
    Origin::new(Arc::new(OriginStats::default())).unwrap()
}

/// An instant `seconds` after the channel went on the air.
fn aired(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

fn ask(origin: &Origin, method: Method, path: &str, header: Option<(HeaderName, &str)>, at: u64) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    origin.answer(&request.body(()).unwrap(), aired(at))
}

fn get(origin: &Origin, path: &str, at: u64) -> Response<Bytes> {
    ask(origin, Method::GET, path, None, at)
}

fn text(origin: &Origin, path: &str, at: u64) -> String {
    let response = get(origin, path, at);
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    assert_eq!(response.headers()[CONTENT_TYPE], PLAYLIST);
    String::from_utf8(response.body().to_vec()).unwrap()
}

fn uris(playlist: &str) -> Vec<&str> {
    playlist.lines().filter(|line| !line.starts_with('#')).collect()
}

fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line.find(&format!("{name}=")).unwrap() + name.len() + 1;
    let rest = &line[start..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(',').next().unwrap(),
    }
}

/// For each track of a segment: its decode time and what its samples last, read without the code under test.
fn times(segment: &[u8]) -> (u32, Vec<(u32, u64, u64)>) {
    let moof = boxes::find(segment, 0..segment.len(), &[*b"moof"]).unwrap().unwrap();
    let mfhd = boxes::find(segment, moof.content(), &[*b"mfhd"]).unwrap().unwrap();
    let mut tracks = Vec::new();
    for traf in boxes::all(segment, moof.content(), *b"traf").unwrap() {
        let child = |kind| boxes::find(segment, traf.content(), &[kind]).unwrap().unwrap();
        let (tfhd, tfdt, trun) = (child(*b"tfhd"), child(*b"tfdt"), child(*b"trun"));
        // As the script writes the clip: one run without durations of its own, the default stands first in tfhd.
        let flags = boxes::u32_at(segment, trun.body).unwrap();
        let samples = boxes::u32_at(segment, trun.body + 4).unwrap();
        assert_eq!(flags & 0x100, 0);
        let each = boxes::u32_at(segment, tfhd.body + 8).unwrap();
        let start = boxes::u64_at(segment, tfdt.body + 4).unwrap();
        tracks.push((boxes::u32_at(segment, tfhd.body + 4).unwrap(), start, u64::from(samples) * u64::from(each)));
    }
    (boxes::u32_at(segment, mfhd.body + 4).unwrap(), tracks)
}

#[test]
fn the_film_is_continuous_across_loops() {
    let origin = origin();
    for name in RENDITIONS {
        let playlist = text(&origin, &format!("/film/{name}/index.m3u8"), 0);
        assert!(playlist.ends_with("#EXT-X-ENDLIST\n"));
        assert_eq!(playlist.matches("#EXTINF:2.00000,").count(), 64);
        let mut due: HashMap<u32, u64> = HashMap::new();
        for (number, uri) in uris(&playlist).iter().enumerate() {
            let (sequence, tracks) = times(get(&origin, &format!("/film/{name}/{uri}"), 0).body());
            assert_eq!(sequence as usize, number + 1);
            assert_eq!(tracks.len(), 2);
            for (track, starts, lasts) in tracks {
                assert_eq!(starts, due.get(&track).copied().unwrap_or(0), "{name} {uri} track {track}");
                due.insert(track, starts + lasts);
            }
        }
        // 128 s in units of the sound's timescale, the clip's second track.
        assert_eq!(due[&2], 128 * 48_000);
    }
}

#[test]
fn the_live_channel_is_continuous_far_beyond_32_bits() {
    let origin = origin();
    // Ten years on the air, at the joint of two laps.
    let late = 10 * 365 * 86_400;
    for name in RENDITIONS {
        let mut due: HashMap<u32, u64> = HashMap::new();
        for number in late / 2 - 6..late / 2 {
            let (_, tracks) = times(get(&origin, &format!("/live/{name}/seg-{number}.m4s"), late).body());
            for (track, starts, lasts) in tracks {
                assert!(starts > u64::from(u32::MAX));
                assert_eq!(starts, due.get(&track).copied().unwrap_or(starts), "{name} {number} track {track}");
                due.insert(track, starts + lasts);
            }
        }
    }
}

#[test]
fn laps_differ_only_in_the_patched_fields() {
    let origin = origin();
    let (first, fifth) = (get(&origin, "/film/720p/seg-1.m4s", 0), get(&origin, "/film/720p/seg-5.m4s", 0));
    let changed = first.body().iter().zip(fifth.body()).filter(|(a, b)| a != b).count();
    assert_eq!(first.body().len(), fifth.body().len());
    assert!((3..=20).contains(&changed), "{changed} bytes differ");
}

#[test]
fn the_master_playlist_tells_the_truth() {
    let origin = origin();
    let master = text(&origin, "/live/master.m3u8", 1000);
    assert_eq!(master, text(&origin, "/film/master.m3u8", 1000));
    let variants: Vec<&str> = master.lines().filter(|line| line.starts_with("#EXT-X-STREAM-INF:")).collect();
    assert_eq!(uris(&master), RENDITIONS.map(|name| format!("{name}/index.m3u8")));
    for ((line, name), size) in variants.iter().zip(RENDITIONS).zip(["640x360", "960x540", "1280x720"]) {
        let bits = |number| get(&origin, &format!("/film/{name}/seg-{number}.m4s"), 0).body().len() as u64 * 8;
        let lap: Vec<u64> = (0..4).map(bits).collect();
        let (peak, average) = (attribute(line, "BANDWIDTH"), attribute(line, "AVERAGE-BANDWIDTH"));
        assert_eq!(peak.parse::<u64>().unwrap(), lap.iter().max().unwrap() / 2);
        assert_eq!(average.parse::<u64>().unwrap(), lap.iter().sum::<u64>() / 8);
        assert_eq!((attribute(line, "RESOLUTION"), attribute(line, "FRAME-RATE")), (size, "25.000"));
        let (picture, sound) = attribute(line, "CODECS").split_once(',').unwrap();
        assert!(picture.starts_with("avc1.64") && picture.len() == 11, "{picture}");
        assert_eq!(sound, "mp4a.40.2");
    }
    assert!(attribute(variants[2], "AVERAGE-BANDWIDTH").parse::<u64>().unwrap() >= 1_500_000);
}

#[test]
fn the_live_playlist_advances_with_the_clock() {
    let origin = origin();
    let playlist = text(&origin, "/live/540p/index.m3u8", 101);
    assert!(playlist.contains("#EXT-X-MEDIA-SEQUENCE:44\n") && !playlist.contains("ENDLIST"));
    assert!(playlist.contains("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:01:28.000Z\n#EXTINF:2.00000,\nseg-44.m4s\n"));
    assert_eq!(uris(&playlist).len(), 6);
    let next = text(&origin, "/live/540p/index.m3u8", 102);
    assert_eq!(uris(&playlist)[1..], uris(&next)[..5]);
    assert_eq!(text(&origin, "/live/540p/index.m3u8", 103), next);
}

#[test]
fn live_segments_come_and_go() {
    let origin = origin();
    let status = |at| get(&origin, "/live/360p/seg-44.m4s", at).status();
    assert_eq!(status(89), StatusCode::NOT_FOUND);
    assert_eq!(status(90), StatusCode::OK);
    assert_eq!(status(115), StatusCode::OK);
    assert_eq!(status(116), StatusCode::NOT_FOUND);
}

#[test]
fn each_kind_has_its_headers() {
    let origin = origin();
    for (path, kind, cache) in [
        ("/film/master.m3u8", PLAYLIST, CACHE_FILM),
        ("/film/720p/index.m3u8", PLAYLIST, CACHE_FILM),
        ("/live/720p/index.m3u8", PLAYLIST, CACHE_LIVE),
        ("/live/720p/init.mp4", VIDEO, CACHE_MEDIA),
        ("/live/720p/seg-45.m4s", VIDEO, CACHE_MEDIA),
    ] {
        let response = get(&origin, path, 101);
        let headers = response.headers();
        assert_eq!(
            (&headers[CONTENT_TYPE], &headers[CACHE_CONTROL]),
            (&kind.parse().unwrap(), &cache.parse().unwrap())
        );
        let etag = headers[ETAG].to_str().unwrap();
        let again = ask(&origin, Method::GET, path, Some((IF_NONE_MATCH, etag)), 101);
        assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        let head = ask(&origin, Method::HEAD, path, None, 101);
        assert_eq!(head.headers(), headers, "{path}");
        assert!(head.body().is_empty());
    }
}

#[test]
fn ranges_are_cut_from_the_whole() {
    let origin = origin();
    let whole = get(&origin, "/film/360p/seg-7.m4s", 0);
    let part = ask(&origin, Method::GET, "/film/360p/seg-7.m4s", Some((RANGE, "bytes=10-19")), 0);
    assert_eq!((part.status(), part.body()), (StatusCode::PARTIAL_CONTENT, &whole.body().slice(10..20)));
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 10-19/{}", whole.body().len()));
    let beyond = ask(&origin, Method::GET, "/film/360p/seg-7.m4s", Some((RANGE, "bytes=99999999-")), 0);
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()[CACHE_CONTROL], CACHE_ERROR);
}

#[test]
fn unknown_names_are_not_found_and_not_cached() {
    let origin = origin();
    for path in [
        "/",
        "/film",
        "/film/",
        "/film/index.m3u8",
        "/tape/master.m3u8",
        "/film/720p",
        "/film/1080p/index.m3u8",
        "/film/720p/seg-64.m4s",
        "/film/720p/seg-07.m4s",
        "/film/720p/seg-+7.m4s",
        "/film/720p/seg-.m4s",
        "/film/720p/seg-99999999999999999999.m4s",
        "/live/720p/seg-18446744073709551615.m4s",
        "/film/720p/x/init.mp4",
        "/film/720p/../720p/init.mp4",
        "/film//720p/init.mp4",
    ] {
        let response = get(&origin, path, 1000);
        assert_eq!(
            (response.status(), &response.headers()[CACHE_CONTROL]),
            (StatusCode::NOT_FOUND, &CACHE_ERROR.parse().unwrap()),
            "{path}"
        );
    }
    assert_eq!(ask(&origin, Method::POST, "/film/master.m3u8", None, 0).status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn answers_are_counted() {
    let stats = Arc::new(OriginStats::default());
    let origin = Origin::new(Arc::clone(&stats)).unwrap();
    let sizes =
        ["/film/master.m3u8", "/film/360p/seg-0.m4s", "/nothing"].map(|path| get(&origin, path, 0).body().len() as u64);
    ask(&origin, Method::HEAD, "/film/360p/seg-0.m4s", None, 0);
    let totals = stats.totals();
    assert_eq!((totals.requests, totals.bytes, totals.segments), (4, sizes.iter().sum(), 1));
}

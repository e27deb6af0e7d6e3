//! What the reader makes of playlists as packagers write them, and of hostile ones.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use super::*;
use crate::uri::UriRole;

const BYTE_RANGES: &str = include_str!("../../tests/playlists/byte_ranges.m3u8");
const ENCRYPTED: &str = include_str!("../../tests/playlists/encrypted.m3u8");
const FMP4: &str = include_str!("../../tests/playlists/fmp4.m3u8");
const LIVE: &str = include_str!("../../tests/playlists/live.m3u8");
const LOW_LATENCY: &str = include_str!("../../tests/playlists/low_latency.m3u8");
const MULTIVARIANT: &str = include_str!("../../tests/playlists/multivariant.m3u8");
const VOD: &str = include_str!("../../tests/playlists/vod.m3u8");

fn media(text: &str) -> Media {
    match read(text.as_bytes(), &Bounds::default()).unwrap() {
        Playlist::Media(media) => media,
        Playlist::Multivariant(other) => panic!("multivariant: {other:?}"),
    }
}

fn refusal(text: &str) -> ReadError {
    read(text.as_bytes(), &Bounds::default()).unwrap_err()
}

fn refused_line(text: &str) -> usize {
    match refusal(text) {
        ReadError::Malformed { line, .. } => line,
        other => panic!("{other}"),
    }
}

#[test]
fn transport_stream_film() {
    let film = media(VOD);
    assert!(!film.is_live());
    assert!(film.ended);
    assert_eq!(film.playlist_type, Some(PlaylistType::Vod));
    assert_eq!(film.target_duration, Duration::from_secs(7));
    let uris: Vec<_> = film.segments.iter().map(|segment| segment.uri.as_str()).collect();
    // The second title holds a comma: not a URI.
    assert_eq!(uris, ["seg0.ts", "seg1.ts?x=1,2", "ünïcode/seg2.ts"]);
    assert_eq!(film.segments[0].duration, Duration::from_millis(6006));
    assert_eq!(film.duration(), Duration::from_nanos(6_006_000_000 + 6_006_000_000 + 3_337_000_000));
    assert_eq!(film.position().last_sequence(), Some(2));
    assert!(film.segments.iter().all(|segment| segment.map.is_none() && segment.byte_range.is_none()));
}

#[test]
fn fragmented_mp4_keeps_the_map_in_force() {
    let film = media(FMP4);
    let maps: Vec<_> = film.segments.iter().map(|segment| segment.map.as_ref().unwrap().uri.as_str()).collect();
    assert_eq!(maps, ["init.mp4", "init.mp4", "ad/init.mp4", "ad/init.mp4"]);
    assert!(film.segments[2].discontinuity && !film.segments[3].discontinuity);
    assert_eq!(film.segments[2].map.as_ref().unwrap().byte_range, Some(ByteRange { offset: 0, length: 720 }));
    let maps: Vec<_> = film.uris().iter().filter(|listed| listed.role == UriRole::Map).collect();
    assert_eq!(maps.len(), 2);
}

#[test]
fn byte_ranges_continue_the_previous_one() {
    let film = media(BYTE_RANGES);
    let ranges: Vec<_> = film.segments.iter().map(|segment| segment.byte_range.unwrap()).collect();
    assert_eq!(
        ranges,
        [
            ByteRange { offset: 720, length: 75_232 },
            ByteRange { offset: 75_952, length: 82_112 },
            ByteRange { offset: 158_064, length: 69_864 },
        ]
    );
    assert_eq!(ranges[0].end(), ranges[1].offset);
    assert_eq!(film.segments[2].map.as_ref().unwrap().byte_range, Some(ByteRange { offset: 0, length: 720 }));
}

#[test]
fn keys_are_those_a_player_fetches() {
    let film = media(ENCRYPTED);
    assert_eq!(film.keys, ["https://keys.example/k?id=1", "k2.key", "skd://fairplay"]);
    // All but the data: one; METHOD=NONE carries no URI.
    let listed: Vec<_> = film.uris().iter().filter(|uri| uri.role.is_key()).map(|uri| uri.uri.as_str()).collect();
    assert_eq!(listed, ["https://keys.example/k?id=1", "k2.key", "skd://fairplay", "k2.key"]);
}

#[test]
fn live_window() {
    let live = media(LIVE);
    assert!(live.is_live());
    assert_eq!((live.media_sequence, live.discontinuity_sequence), (2_680, 7));
    let numbers: Vec<_> = live.segments.iter().map(|segment| segment.media_sequence).collect();
    assert_eq!(numbers, [2_680, 2_681, 2_682]);
    assert!(live.segments[1].gap && !live.segments[2].gap);
    assert!(live.segments[2].discontinuity);
    let assets: Vec<_> = live.uris().iter().filter(|uri| uri.role == UriRole::AssetList).collect();
    assert_eq!(assets.len(), 1);
    assert_eq!(live.segments[1].uri, "seg2681.ts?token={$token}");
    assert_eq!(live.segments[2].uri, "{$base}/seg2682.ts");
}

#[test]
fn low_latency() {
    let live = media(LOW_LATENCY);
    let seconds = Duration::from_secs_f64;
    assert_eq!(
        live.server_control,
        ServerControl {
            can_block_reload: true,
            can_skip_until: Some(seconds(12.0)),
            can_skip_dateranges: false,
            hold_back: None,
            part_hold_back: Some(seconds(1.0)),
        }
    );
    assert_eq!(live.part_target, Some(Duration::from_millis(334)));
    assert_eq!(live.skipped_segments, 3);
    assert_eq!(live.segments.iter().map(|segment| segment.media_sequence).collect::<Vec<_>>(), [269, 270]);
    assert_eq!(live.segments[0].parts.len(), 0);
    assert_eq!(live.segments[1].parts.len(), 3);
    assert!(live.segments[1].parts[0].independent);
    assert!(live.segments[1].parts[2].gap);
    let ranges: Vec<_> = live.trailing_parts.iter().map(|part| part.byte_range.unwrap()).collect();
    assert_eq!(ranges, [ByteRange { offset: 0, length: 20_000 }, ByteRange { offset: 20_000, length: 23_000 }]);
    assert_eq!(
        live.preload_hints,
        [PreloadHint { kind: PreloadKind::Part, uri: "271.mp4".into(), start: 43_000, length: None }]
    );
    assert_eq!(
        live.rendition_reports,
        [RenditionReport { uri: "../1M/waitForMSN.php".into(), last_msn: Some(271), last_part: Some(1) }]
    );
    let position = live.position();
    assert_eq!((position.last_sequence(), position.last_part()), (Some(271), Some(1)));
    assert!(position.contains(271, Some(1)) && !position.contains(271, Some(2)) && !position.contains(271, None));
    assert!(position.contains(270, None) && position.contains(270, Some(9)));
}

#[test]
fn multivariant() {
    let Playlist::Multivariant(list) = read(MULTIVARIANT.as_bytes(), &Bounds::default()).unwrap() else {
        panic!("a media playlist");
    };
    assert_eq!(list.variants.len(), 3);
    let high = &list.variants[0];
    assert_eq!((high.uri.as_str(), high.bandwidth, high.average_bandwidth), ("hi/v.m3u8", 5_000_000, Some(4_200_000)));
    assert_eq!(high.resolution, Some(Resolution { width: 1920, height: 1080 }));
    assert_eq!(high.codecs.as_deref(), Some("avc1.640028,mp4a.40.2"));
    assert_eq!(high.frame_rate, Some(29.97));
    assert_eq!((high.audio.as_deref(), high.subtitles.as_deref()), (Some("aud"), Some("subs")));
    assert_eq!((high.pathway.as_deref(), high.stable_id.as_deref()), (Some("A"), Some("hi")));
    assert_eq!(list.variants[2].uri, "{$host}/audio.m3u8");
    assert_eq!(list.i_frame_streams.len(), 1);
    assert_eq!(list.i_frame_streams[0].uri, "hi/iframes.m3u8");
    let renditions: Vec<_> = list.renditions.iter().map(|found| (found.kind, found.uri.as_deref())).collect();
    assert_eq!(
        renditions,
        [
            (RenditionKind::Audio, Some("aud/en.m3u8")),
            (RenditionKind::Audio, None),
            (RenditionKind::Subtitles, Some("subs/en.m3u8")),
            (RenditionKind::ClosedCaptions, None),
        ]
    );
    assert!(list.renditions[0].default && !list.renditions[1].default);
    assert_eq!(list.session_keys, ["session.key"]);
    let roles: Vec<_> = list.uris().iter().map(|listed| listed.role).collect();
    assert_eq!(
        roles,
        [
            UriRole::Steering,
            UriRole::SessionData,
            UriRole::SessionKey,
            UriRole::Rendition,
            UriRole::Rendition,
            UriRole::Variant,
            UriRole::IFrame,
            UriRole::Variant,
            UriRole::Variant,
        ]
    );
}

#[test]
fn a_position_orders_parts_and_segments() {
    let at = |next_sequence, next_part, ended, discontinuity_sequence| Position {
        next_sequence,
        next_part,
        ended,
        discontinuity_sequence,
    };
    let rising = [
        at(0, 0, false, 0),
        at(0, 1, false, 0),
        at(0, 2, false, 0),
        at(1, 0, false, 0),
        at(1, 0, false, 1),
        at(1, 0, true, 0),
        at(2, 0, false, 0),
    ];
    assert!(rising.is_sorted_by(|a, b| a < b));
    assert_eq!(rising[0].last_sequence(), None);
    assert_eq!(rising[1].last_sequence(), Some(0));
    assert_eq!(rising[3].last_sequence(), Some(0));
    assert_eq!(rising[3].last_part(), None);
}

#[test]
fn endings_and_the_byte_order_mark_do_not_matter() {
    for text in [BYTE_RANGES, ENCRYPTED, FMP4, LIVE, LOW_LATENCY, MULTIVARIANT, VOD] {
        let plain = read(text.as_bytes(), &Bounds::default()).unwrap();
        let windows = format!("\u{feff}{}", text.trim_end().replace('\n', " \r\n"));
        assert_eq!(read(windows.as_bytes(), &Bounds::default()).unwrap(), plain);
    }
}

#[test]
fn bounds_hold() {
    let bounds = Bounds { max_bytes: 100, max_lines: 3, max_line_bytes: 30 };
    let limit = |text: String| match read(text.as_bytes(), &bounds) {
        Err(ReadError::TooLarge { limit, .. }) => Some(limit),
        _ => None,
    };
    assert_eq!(limit(format!("#EXTM3U\n{}", "#\n".repeat(3))), Some(Limit::Lines));
    assert_eq!(limit(format!("#EXTM3U\n{}\n", "#".repeat(31))), Some(Limit::LineBytes));
    assert_eq!(limit("#".repeat(101)), Some(Limit::Bytes));
    assert_eq!(limit(format!("#EXTM3U\n{}\n#\n", "#".repeat(30))), None);
}

#[test]
fn not_playlists() {
    for text in ["", "\n#EXTM3U\n", "<html>", "#EXTM3U8\n", " #EXT", "\u{feff}"] {
        assert_eq!(refusal(text), ReadError::NotAPlaylist, "{text:?}");
    }
}

#[test]
fn hostile_numbers_are_errors() {
    let with = |line: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{line}\n#EXTINF:2,\na.ts\n");
    for line in [
        "#EXT-X-MEDIA-SEQUENCE:18446744073709551616",
        "#EXT-X-MEDIA-SEQUENCE:-1",
        "#EXT-X-DISCONTINUITY-SEQUENCE:x",
        "#EXT-X-TARGETDURATION:99999999999",
        "#EXT-X-BYTERANGE:18446744073709551616@1",
        "#EXT-X-BYTERANGE:5@-1",
        "#EXT-X-PART:DURATION=1e9,URI=\"p\"",
        "#EXT-X-PART:DURATION=1,URI=\"p\",BYTERANGE=\"7\"",
        "#EXT-X-MAP:URI=\"m\",BYTERANGE=\"1@18446744073709551615\"",
        "#EXT-X-PART-INF:PART-TARGET=inf",
        "#EXT-X-SKIP:SKIPPED-SEGMENTS=99999999999999999999",
        "#EXT-X-SERVER-CONTROL:HOLD-BACK=NaN",
        "#EXT-X-RENDITION-REPORT:URI=\"r\",LAST-MSN=-1",
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"r\",BYTERANGE-START=x",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"never closed",
        "#EXT-X-DISCONTINUITY-SEQUENCE:",
    ] {
        assert_eq!(refused_line(&with(line)), 3, "{line}");
    }
    // What only the segment shows is reported at its URI line.
    assert_eq!(refused_line(&with("#EXT-X-BYTERANGE:18446744073709551615@1")), 5);
    assert_eq!(refused_line(&with("#EXT-X-BYTERANGE:5")), 5);
    assert_eq!(refused_line(&with("#EXT-X-MEDIA-SEQUENCE:18446744073709551615")), 0);
    assert_eq!(refused_line(&with("#EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-SKIP:SKIPPED-SEGMENTS=18446744073709551615")), 0);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=99999999999999999999\na\n"), 2);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=1x-1\na\n"), 2);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,FRAME-RATE=inf\na\n"), 2);
}

#[test]
fn broken_structure_is_an_error() {
    assert_eq!(refused_line("#EXTM3U\n#EXTINF:1,\na.ts\n"), 0);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-TARGETDURATION:1\na.ts\n"), 3);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n"), 2);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"), 2);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\nb\n"), 4);
    assert_eq!(refused_line("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n"), 3);
    assert_eq!(refused_line("#EXTM3U\na\rb\n"), 2);
}

#[test]
fn what_m3u8_rs_misreads_is_read_rightly() {
    let odd = media(concat!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n",
        "#EXT-X-DISCONTINUITY-FOO\n",
        "#EXT-X-KEY:METHOD=NONE\n",
        "#EXT-X-VENDOR:no equal sign here\n",
        "#EXTINF:2,one,two,\n,starts with a comma.ts\n",
        "#EXTINF:2\nb.ts?a=b\n",
        "#EXT-X-FOO-AT-THE-END",
    ));
    let segments: Vec<_> = odd.segments.iter().map(|found| (found.uri.as_str(), found.discontinuity)).collect();
    assert_eq!(segments, [(",starts with a comma.ts", false), ("b.ts?a=b", false)]);
}

/// A map of full line length before as many segments as fit must not be copied for each.
#[test]
fn maps_are_shared() {
    let map = "m".repeat(MAX_LINE_BYTES - 30);
    let text =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"{map}\"\n{}", "#EXTINF:1,\na\n".repeat(20_000));
    let long = media(&text);
    let first = long.segments[0].map.as_ref().unwrap();
    assert_eq!(std::sync::Arc::strong_count(first), 20_000);
}

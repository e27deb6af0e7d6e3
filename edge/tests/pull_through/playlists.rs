//! Playlists: how long a live one is fresh, that it never goes backwards, and how its text is coded.

use crate::{
    edge::{Edge, Got, MIB, Setup},
    upstream::{Reply, Seen, Step, gate},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::io::{Read, Write};

/// Target duration in milliseconds.
const TARGET: u64 = 4_000;

/// A live playlist whose first segment has this number; long enough to be worth compressing.
fn live(first: u64) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    for number in first..first + 12 {
        text += &format!("#EXTINF:4.000,\nsegment-{number:08}.ts\n");
    }
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(got: &Got) -> String {
    let mut text = String::new();
    GzDecoder::new(&got.body[..]).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_live_playlist_is_fresh_for_half_its_target_duration_whatever_the_origin_says() {
    let edge = Edge::new().await;
    edge.origin.on("/v.m3u8", |_: &Seen, n| Reply::ok(live(n as u64)).with("cache-control", "max-age=3600"));
    edge.get("/v.m3u8").await.is("fwd=uri-miss; stored; ttl=2", live(0));
    edge.idle().await;
    edge.advance(TARGET / 2 - 1);
    edge.get("/v.m3u8").await.is("hit", live(0));
    edge.advance(1);
    edge.get("/v.m3u8").await.is("fwd=", live(1));
    assert_eq!(edge.origin.count("/v.m3u8"), 2);
}

#[tokio::test]
async fn a_finished_playlist_is_as_fresh_as_the_origin_says() {
    let edge = Edge::new().await;
    let film = live(0) + "#EXT-X-ENDLIST\n";
    edge.origin.always("/v.m3u8", Reply::ok(film.clone()).with("cache-control", "max-age=60"));
    edge.get("/v.m3u8").await.is("fwd=uri-miss; stored; ttl=60", &film);
    edge.idle().await;
    edge.advance(59_000);
    edge.get("/v.m3u8").await.is("hit; ttl=1", &film);
}

#[tokio::test]
async fn an_upstream_that_goes_backwards_is_refused_while_the_newer_one_is_good() {
    let edge = Edge::new().await;
    edge.origin.on("/v.m3u8", |_, n| Reply::ok(live([7, 6, 5, 5][n])));
    edge.get("/v.m3u8").await.is("fwd=uri-miss", live(7));
    edge.idle().await;
    for waited in [TARGET / 2, TARGET] {
        edge.advance(TARGET / 2);
        let ttl = -(waited as i64 - TARGET as i64 / 2) / 1000;
        edge.get("/v.m3u8").await.is(&format!("hit; ttl={ttl}; detail=stale-if-error"), live(7));
        edge.idle().await;
    }
    // One and a half target durations after it last advanced, the newer one is no good any more.
    edge.advance(TARGET / 2);
    edge.get("/v.m3u8").await.is("fwd=", live(5));
}

#[tokio::test]
async fn a_frozen_playlist_is_not_fresh_after_one_and_a_half_target_durations() {
    for conditional in [false, true] {
        let edge = Edge::new().await;
        edge.origin.on("/v.m3u8", move |seen, _| match seen.field("if-none-match") {
            Some(_) if conditional => Reply::not_modified(),
            _ => Reply::ok(live(3)).with("etag", "\"3\"").with("cache-control", "max-age=3600"),
        });
        edge.get("/v.m3u8").await.is("fwd=uri-miss; stored; ttl=2", live(3));
        edge.idle().await;
        for ttl in [2, 2, 0, 0] {
            edge.advance(TARGET / 2);
            edge.get("/v.m3u8").await.is(&format!("fwd=stale; fwd-status=304; ttl={ttl}"), live(3));
            edge.idle().await;
        }
        let asked = edge.origin.count("/v.m3u8");
        edge.get("/v.m3u8").await.is("fwd=stale; fwd-status=304; ttl=0", live(3));
        assert_eq!(edge.origin.count("/v.m3u8"), asked + 1, "each request asks");
    }
}

#[tokio::test]
async fn a_frozen_playlist_is_not_served_once_the_upstream_fails() {
    let edge = Edge::new().await;
    edge.origin.on("/v.m3u8", |_, n| if n == 0 { Reply::ok(live(3)) } else { Reply::ok("").after(Step::Hang) });
    let impatient = Edge::over(edge.origin.clone(), edge.stop().await.1, Setup::patience(250));
    impatient.get("/v.m3u8").await.is("fwd=uri-miss", live(3));
    impatient.idle().await;
    impatient.advance(TARGET);
    impatient.get("/v.m3u8").await.is("hit; ttl=-2; detail=stale-if-error", live(3));
    impatient.advance(TARGET / 2);
    let failed = impatient.get("/v.m3u8").await;
    failed.is_status(404);
    assert_eq!(failed.field("cache-control"), "no-store");
}

#[tokio::test]
async fn a_compressed_playlist_is_decoded_and_sent_as_each_client_likes() {
    let edge = Edge::new().await;
    let text = live(0);
    let packed = gzip(text.as_bytes());
    let reply =
        Reply::ok(packed).with("content-encoding", "gzip").with("etag", "\"t\"").with("vary", "Accept-Encoding");
    edge.origin.always("/v.m3u8", reply);
    for (round, cache) in ["fwd=uri-miss", "hit"].into_iter().enumerate() {
        let packed = edge.ask("/v.m3u8", &[("accept-encoding", "gzip, br")]).await;
        packed.is_status(200);
        assert!(packed.cache().starts_with(cache), "{round}: {packed:?}");
        assert_eq!(gunzip(&packed), text);
        assert_eq!(
            ["content-encoding", "vary", "etag"].map(|name| packed.field(name)),
            ["gzip", "Accept-Encoding", "W/\"t\""]
        );
        edge.idle().await;
    }
    let plain = edge.ask("/v.m3u8", &[("accept-encoding", "gzip;q=0")]).await;
    plain.is("hit", &text);
    assert_eq!(["content-encoding", "vary", "etag"].map(|name| plain.field(name)), ["", "Accept-Encoding", "\"t\""]);
    // Either tag confirms either form, and a range is one of the plain form.
    for tag in ["\"t\"", "W/\"t\""] {
        for coding in ["gzip", "identity"] {
            let got = edge.ask("/v.m3u8", &[("accept-encoding", coding), ("if-none-match", tag)]).await;
            got.is_status(304);
            assert_eq!((got.field("vary"), got.field("content-encoding")), ("Accept-Encoding", ""));
        }
    }
    let part = edge.ask("/v.m3u8", &[("accept-encoding", "gzip"), ("range", "bytes=0-6")]).await;
    assert_eq!((part.status.as_u16(), part.text(), part.field("content-encoding")), (206, "#EXTM3U", ""));
    assert_eq!(part.field("vary"), "Accept-Encoding");
    let head = edge.head("/v.m3u8", &[("accept-encoding", "gzip")]).await;
    assert_eq!(head.field("content-encoding"), "gzip");
    assert!(head.field("content-length").parse::<usize>().unwrap() < text.len());
    assert_eq!(edge.origin.count("/v.m3u8"), 1);
    assert_eq!(edge.origin.seen("/v.m3u8")[0].field("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn fields_over_other_bytes_are_not_passed_on() {
    const OVER_CONTENT: [&str; 3] = ["content-digest", "content-md5", "digest"];
    let edge = Edge::new().await;
    let text = live(0);
    let signed = |body: Vec<u8>| {
        OVER_CONTENT
            .into_iter()
            .fold(Reply::ok(body), |reply, name| reply.with(name, "x"))
            .with("signature", "x=:eA==:")
    };
    edge.origin.always("/plain.m3u8", signed(text.clone().into_bytes()).with("vary", "Origin"));
    edge.origin.always("/packed.m3u8", signed(gzip(text.as_bytes())).with("content-encoding", "gzip"));
    for (path, coding, kept) in
        [("/plain.m3u8", "identity", true), ("/plain.m3u8", "gzip", false), ("/packed.m3u8", "identity", false)]
    {
        let got = edge.ask(path, &[("accept-encoding", coding)]).await;
        got.is_status(200);
        for name in OVER_CONTENT {
            assert_eq!(!got.field(name).is_empty(), kept, "{path} {coding} {name}");
        }
        assert_eq!(got.field("accept-ranges") == "bytes", coding == "identity");
        if coding == "gzip" {
            assert_eq!(got.field("signature"), "");
            let varies: Vec<_> = got.headers.get_all("vary").iter().collect();
            assert_eq!(varies, ["Origin", "Accept-Encoding"]);
        }
    }
    let part = edge.ask("/plain.m3u8", &[("range", "bytes=0-6")]).await;
    assert_eq!(OVER_CONTENT.map(|name| part.field(name)), ["", "", "x"], "the last is over the whole");
}

#[tokio::test]
async fn the_first_viewer_of_a_subtitle_gets_it_compressed_too() {
    let edge = Edge::new().await;
    let text = "WEBVTT\n\n".to_owned() + &"00:01.000 --> 00:02.000\nhello\n\n".repeat(50);
    edge.origin.always("/s.vtt", Reply::ok(text.clone()));
    let got = edge.ask("/s.vtt", &[("accept-encoding", "gzip")]).await;
    assert_eq!(gunzip(&got), text);
    // Media never is, and does not vary.
    edge.origin.always("/1.ts", Reply::ok(text.clone()));
    let media = edge.ask("/1.ts", &[("accept-encoding", "gzip")]).await;
    media.is("fwd", &text);
    assert_eq!((media.field("content-encoding"), media.field("vary")), ("", ""));
}

#[tokio::test]
async fn a_slow_subtitle_is_sent_plain_rather_than_late() {
    let edge = Edge::with(Setup::patience(250)).await;
    let open = gate();
    let steps = vec![Step::Send("WEBVTT\n".into()), Step::Gate(open.clone()), Step::Send("x".repeat(993).into())];
    edge.origin.always("/s.vtt", Reply::steps(1000, steps));
    let slow = edge.begin(crate::edge::request(http::Method::GET, "/s.vtt", &[("accept-encoding", "gzip")])).await;
    assert_eq!((slow.status.as_u16(), slow.headers.get("content-encoding")), (200, None));
    assert_eq!(slow.headers["vary"], "Accept-Encoding");
    open.add_permits(1);
    assert_eq!(Got::read(slow).await.body.len(), 1000);
}

#[tokio::test]
async fn a_gzip_file_of_several_members_is_read_to_its_end() {
    let edge = Edge::new().await;
    let text = live(0);
    let (front, back) = text.split_at(100);
    let packed = [gzip(front.as_bytes()), gzip(back.as_bytes())].concat();
    edge.origin.always("/v.m3u8", Reply::ok(packed).with("content-encoding", "gzip"));
    edge.get("/v.m3u8").await.is("fwd=uri-miss", &text);
}

#[tokio::test]
async fn bombs_broken_codings_and_endless_playlists_are_refused() {
    let edge = Edge::new().await;
    let bomb = gzip(&vec![b'\n'; 64 * MIB]);
    assert!(bomb.len() < MIB);
    for (path, reply) in [
        ("/bomb.m3u8", Reply::ok(bomb).with("content-encoding", "gzip")),
        ("/broken.m3u8", Reply::ok(gzip(live(0).as_bytes())[..60].to_vec()).with("content-encoding", "gzip")),
        ("/plain.m3u8", Reply::ok(live(0)).with("content-encoding", "gzip")),
        ("/brotli.m3u8", Reply::ok(live(0)).with("content-encoding", "br")),
        ("/endless.m3u8", Reply::ok(vec![b'\n'; 3 * MIB])),
    ] {
        edge.origin.always(path, reply);
        let got = edge.get(path).await;
        got.is_status(404);
        assert_eq!(got.field("cache-control"), "no-store", "{path}");
    }
    edge.idle().await;
    assert_eq!(edge.store.usage().memory_entries, 0);
}

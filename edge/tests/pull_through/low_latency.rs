//! Low-Latency HLS at a pull-through edge (draft-pantos-hls-rfc8216bis sections 6.2.5 and 6.2.6): one wait at the origin
//! whoever asks, directives followed by the playlist that is held, and parts that leave whole.

use crate::{
    edge::{Edge, Setup, request, until, within},
    upstream::{Reply, Step, gate},
};
use bytes::Bytes;
use http::Method;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CONTROL: &str = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6,PART-HOLD-BACK=1.5\n";

/// Segments 0 to 9 of one second are complete, of 10 so many parts are listed; the next one is announced.
fn live(control: &str, parts: usize) -> String {
    let segments: String = (0..10).map(|n| format!("#EXTINF:1,\ns{n}.m4s\n")).collect();
    let listed: String = (0..parts).map(|n| format!("#EXT-X-PART:DURATION=0.5,URI=\"p10.{n}.m4s\"\n")).collect();
    format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n{control}#EXT-X-PART-INF:PART-TARGET=0.5\n\
         #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-MAP:URI=\"i.mp4\"\n{segments}{listed}\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p10.{parts}.m4s\"\n"
    )
}

fn playlist(parts: usize) -> Reply {
    Reply::ok(live(CONTROL, parts)).with("cache-control", "max-age=1")
}

fn blocking(parts: usize) -> Reply {
    Reply::ok(live(CONTROL, parts)).with("cache-control", "max-age=6")
}

#[tokio::test]
async fn who_waits_for_the_next_part_waits_together() {
    let edge = std::sync::Arc::new(Edge::new().await);
    let (next, opened) = ("/v.m3u8?_HLS_msn=10&_HLS_part=1", gate());
    edge.origin.always("/v.m3u8", playlist(1));
    edge.origin.always(next, blocking(2).after(Step::Gate(opened.clone())));
    let mut waiting = JoinSet::new();
    for n in 0..20 {
        let edge = edge.clone();
        let path = match n % 3 {
            0 => next.to_owned(),
            1 => "/v.m3u8?_HLS_part=1&_HLS_msn=10".to_owned(),
            _ => format!("{next}&CMCD=sid%3D%22{n}%22"),
        };
        waiting.spawn(async move { edge.get(&path).await });
    }
    until(|| edge.origin.count(next) == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting.try_join_next().is_none(), "nobody is answered before the part is listed");
    // Who asks plainly does not wait for it.
    edge.get("/v.m3u8").await.is("hit", live(CONTROL, 1));
    opened.add_permits(1);
    for got in waiting.join_all().await {
        got.is("fwd=", live(CONTROL, 2));
        assert_eq!(got.field("cache-control"), "max-age=6", "six target durations");
    }
    assert_eq!((edge.origin.count(next), edge.origin.count("/v.m3u8")), (1, 1));
    // It is everybody's newest playlist now, whatever its other URL said about its lifetime.
    let got = edge.get("/v.m3u8").await;
    got.is("hit", live(CONTROL, 2));
    assert_eq!(got.field("cache-control"), "max-age=1");
    edge.get("/v.m3u8?_HLS_msn=9").await.is("hit", live(CONTROL, 2));
    assert_eq!((edge.origin.count(next), edge.origin.count("/v.m3u8")), (1, 1));
}

#[tokio::test]
async fn directives_are_followed_by_what_is_held() {
    let edge = Edge::new().await;
    edge.origin.always("/v.m3u8", playlist(1));
    for query in ["_HLS_part=0", "_HLS_msn=x", "_HLS_msn=12", "_HLS_msn=10&_HLS_part=7"] {
        let began = Instant::now();
        edge.get(&format!("/v.m3u8?{query}")).await.is_status(400);
        assert!(began.elapsed() < Duration::from_secs(1), "{query}");
    }
    let got = edge.get("/v.m3u8?_HLS_skip=YES").await;
    assert!(got.text().contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n"), "{}", got.text());
    assert!(got.text().contains("s4.m4s") && !got.text().contains("s3.m4s"));
    edge.get("/v.m3u8?_HLS_msn=9&_HLS_skip=YES").await.is("hit", got.text());
    edge.get("/v.m3u8?_HLS_skip=v2").await.is("hit", live(CONTROL, 1));
}

#[tokio::test]
async fn after_the_end_directives_are_ignored_and_elsewhere_the_origin_hears_them() {
    let edge = Edge::new().await;
    let ended = live(CONTROL, 1) + "#EXT-X-ENDLIST\n";
    edge.origin.always("/v.m3u8", playlist(1));
    edge.origin.always("/v.m3u8?_HLS_msn=10&_HLS_part=1", Reply::ok(ended.clone()));
    edge.get("/v.m3u8?_HLS_msn=10&_HLS_part=1").await.is("fwd=", &ended);
    edge.get("/v.m3u8?_HLS_msn=90&_HLS_part=90").await.is("hit", &ended);
    edge.get("/v.m3u8?_HLS_part=0").await.is("hit", &ended);
    // A playlist that offers nothing of this.
    let plain = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ns0.ts\n";
    edge.origin.always("/w.m3u8", Reply::ok(plain));
    edge.origin.always("/w.m3u8?_HLS_msn=5", Reply::ok("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ns5.ts\n"));
    assert!(edge.get("/w.m3u8?_HLS_msn=5").await.text().contains("s5.ts"));
}

#[tokio::test]
async fn an_origin_that_stands_still_is_waited_for_three_target_durations_and_left_in_peace() {
    let edge = Edge::new().await;
    edge.origin.always("/v.m3u8", playlist(1));
    // It does not hold requests, although it says so.
    edge.origin.always("/v.m3u8?_HLS_msn=10&_HLS_part=1", blocking(1));
    let began = Instant::now();
    let got = edge.get("/v.m3u8?_HLS_msn=10&_HLS_part=1").await;
    got.is_status(503);
    assert_eq!((got.field("retry-after"), got.field("cache-control")), ("1", "no-store"));
    assert!((2_900..4_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let asked = edge.origin.count("/v.m3u8?_HLS_msn=10&_HLS_part=1");
    assert!((2..12).contains(&asked), "{asked} requests in three seconds");
}

#[tokio::test]
async fn a_part_is_withheld_until_it_is_whole() {
    let edge = Edge::new().await;
    let opened = gate();
    edge.origin.always("/v.m3u8", playlist(1));
    edge.get("/v.m3u8").await.is_status(200);
    edge.idle().await;
    let (half, body) = (Bytes::from(vec![1; 5_000]), vec![1; 10_000]);
    let steps = vec![Step::Send(half.clone()), Step::Gate(opened.clone()), Step::Send(half)];
    for path in ["/p10.0.m4s", "/other.m4s"] {
        edge.origin.always(path, Reply::chunked(steps.clone()));
    }
    // What is no part leaves as it comes.
    drop(edge.begin(request(Method::GET, "/other.m4s", &[])).await);
    let response = edge.begin(request(Method::GET, "/p10.0.m4s", &[]));
    tokio::pin!(response);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut response).await;
    assert!(early.is_err(), "half of a part is nothing");
    opened.add_permits(2);
    let response = within(response).await;
    assert_eq!(response.body.length().or(Some(10_000)), Some(10_000));
    assert_eq!(crate::edge::Got::read(response).await.body, body);
}

/// The same with parts that are ranges of a segment of 3000 bytes each.
fn ranges(parts: u64) -> String {
    let listed: String = (0..parts)
        .map(|n| format!("#EXT-X-PART:DURATION=0.5,URI=\"s10.m4s\",BYTERANGE=\"3000@{}\"\n", n * 3000))
        .collect();
    let before = live(CONTROL, 0);
    let (before, _) = before.split_once("#EXT-X-PRELOAD-HINT").unwrap();
    format!("{before}{listed}#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s10.m4s\",BYTERANGE-START={}\n", parts * 3000)
}

#[tokio::test]
async fn an_open_ended_range_is_released_part_by_part() {
    let edge = Edge::new().await;
    let body: Vec<u8> = (0..9_000_u32).map(|n| (n / 1_000) as u8).collect();
    let opened = [gate(), gate()];
    let send = |from: usize, to: usize| Step::Send(Bytes::from(body[from..to].to_vec()));
    // The origin sends a little of the next part together with the end of each.
    edge.origin.always(
        "/s10.m4s",
        Reply::chunked(vec![
            send(0, 3_100),
            Step::Gate(opened[0].clone()),
            send(3_100, 6_100),
            Step::Gate(opened[1].clone()),
            send(6_100, 9_000),
        ]),
    );
    edge.origin.always("/v.m3u8", Reply::ok(ranges(1)));
    edge.get("/v.m3u8").await.is_status(200);
    edge.idle().await;
    let open = request(Method::GET, "/s10.m4s", &[("range", "bytes=0-9007199254740991")]);
    let mut open = edge.begin(open).await;
    assert_eq!(open.status.as_u16(), 206);
    assert_eq!(open.headers["content-range"], "bytes 0-9007199254740991/*");
    let mut got = Vec::new();
    while got.len() < 3_000 {
        got.extend_from_slice(&crate::edge::next(&mut open.body).await.unwrap().unwrap());
    }
    assert_eq!(got, body[..3_000], "what is here of the next part stays here");
    let more = std::future::poll_fn(|cx| open.body.poll_data(cx));
    assert!(tokio::time::timeout(Duration::from_millis(200), more).await.is_err());
    // The bytes alone are not enough: the playlist says that the part is one.
    opened[0].add_permits(1);
    let more = std::future::poll_fn(|cx| open.body.poll_data(cx));
    assert!(tokio::time::timeout(Duration::from_millis(200), more).await.is_err());
    edge.origin.always("/v.m3u8?_HLS_msn=10&_HLS_part=1", Reply::ok(ranges(2)));
    edge.get("/v.m3u8?_HLS_msn=10&_HLS_part=1").await.is_status(200);
    while got.len() < 6_000 {
        got.extend_from_slice(&crate::edge::next(&mut open.body).await.unwrap().unwrap());
    }
    assert_eq!(got, body[..6_000]);
    // A listed part is answered at once, with its place.
    let second = edge.ask("/s10.m4s", &[("range", "bytes=3000-5999")]).await;
    assert_eq!((second.status.as_u16(), second.field("content-range")), (206, "bytes 3000-5999/*"));
    assert_eq!(second.body, body[3_000..6_000]);
    // The end of the resource is the end of its last part.
    opened[1].add_permits(1);
    while let Some(piece) = crate::edge::next(&mut open.body).await {
        got.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(got, body);
    edge.idle().await;
    edge.ask("/s10.m4s", &[("range", "bytes=6000-8999")]).await.is_status(206);
    assert_eq!(edge.origin.count("/s10.m4s"), 1, "one request, whatever ranges were asked for");
}

#[tokio::test]
async fn what_is_announced_may_take_three_target_durations_and_was_never_missing() {
    let edge = Edge::with(Setup::patience(300)).await;
    edge.origin.always("/v.m3u8", playlist(1));
    edge.get("/v.m3u8").await.is_status(200);
    edge.idle().await;
    let later = Reply::ok("part").after(Step::Sleep(Duration::from_millis(900)));
    edge.origin.always("/p10.1.m4s", later.clone());
    edge.origin.always("/unlisted.m4s", later);
    edge.get("/p10.1.m4s").await.is("fwd=uri-miss", "part");
    edge.get("/unlisted.m4s").await.is_status(404);
    // A part that was not there before it was listed is asked for again when it is.
    edge.origin.on("/p10.2.m4s", |_, n| if n == 0 { Reply::new(404, "early") } else { Reply::ok("third") });
    edge.get("/p10.2.m4s").await.is_status(404);
    edge.idle().await;
    edge.get("/p10.2.m4s").await.is_status(404);
    edge.origin.always("/v.m3u8?_HLS_msn=10&_HLS_part=1", blocking(3));
    edge.get("/v.m3u8?_HLS_msn=10&_HLS_part=1").await.is_status(200);
    edge.get("/p10.2.m4s").await.is("fwd=uri-miss", "third");
}

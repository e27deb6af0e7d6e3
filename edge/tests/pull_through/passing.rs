//! What is passed through and never kept: private responses, keys, and what is too long.

use crate::{
    edge::{Edge, Got, MIB, Setup, next, noise, request, until},
    upstream::{Reply, Step, gate},
};
use http::Method;
use std::sync::Arc;
use tokio::task::JoinSet;

const MINUTE: &str = "max-age=60";

#[tokio::test]
async fn what_may_not_be_kept_is_asked_for_each_time() {
    let edge = Edge::new().await;
    for (path, name, value) in [
        ("/a.ts", "cache-control", "no-store"),
        ("/b.ts", "cache-control", "max-age=60, private"),
        ("/c.ts", "cache-control", "private=x, max-age=60"),
        ("/d.ts", "set-cookie", "session=1"),
        ("/f.ts", "vary", "*"),
        ("/g.m3u8", "cache-control", "no-store"),
    ] {
        edge.origin.on(path, move |_, n| Reply::ok(format!("body {n}")).with(name, value));
        for n in 0..2 {
            let got = edge.get(path).await;
            got.is("fwd=uri-miss; ttl=0", format!("body {n}"));
            assert_eq!(got.field(name), value);
            edge.idle().await;
        }
    }
    assert_eq!(edge.store.usage().memory_entries, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_ask_at_once_for_what_is_private_each_get_their_own() {
    let edge = Arc::new(Edge::new().await);
    let open = gate();
    let held = open.clone();
    edge.origin.on("/p", move |_, n| {
        let reply = Reply::ok(format!("for reader {n}")).with("cache-control", "private");
        if n == 0 { reply.after(Step::Gate(held.clone())) } else { reply }
    });
    let mut readers = JoinSet::new();
    for _ in 0..10 {
        let edge = edge.clone();
        readers.spawn(async move { edge.get("/p").await });
    }
    until(|| edge.origin.count("/p") == 1).await;
    open.add_permits(1);
    let mut bodies = Vec::new();
    while let Some(got) = readers.join_next().await {
        bodies.push(got.unwrap().text().to_owned());
    }
    bodies.sort();
    let expected: Vec<_> = (0..10).map(|n| format!("for reader {n}")).collect();
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn keys_are_never_kept_however_they_are_recognised() {
    let edge = Edge::new().await;
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n\
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"../keys/%6Bey.bin?id=1\"\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n";
    edge.origin.always("/live/v.m3u8", Reply::ok(playlist).with("cache-control", MINUTE));
    edge.get("/live/v.m3u8").await.is("fwd=uri-miss; stored", playlist);
    let sixteen = "0123456789abcdef";
    for (path, reply) in [
        // By its extension, by the playlist that named it, by its length, and by its length that nobody announced.
        ("/k.key", Reply::ok("a key of any length")),
        ("/keys/key.bin?id=1", Reply::ok("a longer key than AES-128's")),
        ("/license", Reply::ok(sixteen)),
        ("/drm", Reply::chunked(vec![Step::Send("01234567".into()), Step::Send("89abcdef".into())])),
    ] {
        edge.origin.always(path, reply.with("cache-control", MINUTE));
        for asked in 1..=2 {
            let got = edge.get(path).await;
            got.is_status(200);
            assert!(got.cut.is_none() && !got.cache().contains("stored"), "{path}: {got:?}");
            edge.idle().await;
            assert_eq!(edge.origin.count(path), asked, "{path}");
        }
    }
    // What is only nearly a key is an ordinary response, announced or not.
    for (path, reply) in [
        ("/other", Reply::ok("0123456789abcdefg")),
        ("/chunks", Reply::chunked(vec![Step::Send(sixteen.into()), Step::Send("g".into())])),
    ] {
        edge.origin.always(path, reply.with("cache-control", MINUTE));
        edge.get(path).await.is("fwd=uri-miss; stored", "0123456789abcdefg");
        edge.idle().await;
        edge.get(path).await.is("hit", "0123456789abcdefg");
    }
}

#[tokio::test]
async fn a_body_longer_than_is_kept_passes_through_whole() {
    let mut setup = Setup::default();
    setup.fetch.max_object_bytes = MIB as u64;
    setup.fetch.private_window_bytes = 64 * 1024;
    let edge = Edge::with(setup).await;
    let bytes = noise(5 * MIB);
    edge.origin.always("/film.mp4", Reply::ok(bytes.clone()).with("cache-control", MINUTE));
    for asked in 1..=2 {
        edge.get("/film.mp4").await.is("fwd=uri-miss; ttl", &bytes);
        edge.idle().await;
        assert_eq!(edge.origin.count("/film.mp4"), asked);
    }
    // A range far behind the window is found, and nothing before it blocks the way.
    let part = edge.ask("/film.mp4", &[("range", "bytes=5000000-5000009")]).await;
    part.is_status(206);
    assert!(part.body == bytes[5_000_000..5_000_010] && part.cut.is_none());
    assert_eq!(edge.store.usage().memory_entries, 0);
}

#[tokio::test]
async fn a_slow_reader_of_a_passing_body_slows_the_upstream() {
    let mut setup = Setup::default();
    setup.fetch.max_object_bytes = MIB as u64;
    setup.fetch.private_window_bytes = 64 * 1024;
    let edge = Edge::with(setup).await;
    let bytes = noise(64 * MIB);
    edge.origin.always("/film.mp4", Reply::ok(bytes.clone()));
    let mut response = edge.begin(request(Method::GET, "/film.mp4", &[])).await;
    let first = next(&mut response.body).await.unwrap().unwrap();
    // Until nothing moves any more: sockets hold some megabytes, this process only its window.
    let (mut sent, mut still) = (0, 0);
    while still < 2000 {
        tokio::task::yield_now().await;
        still = if edge.origin.sent() == sent { still + 1 } else { 0 };
        sent = edge.origin.sent();
    }
    assert!(edge.origin.sent() < 32 * MIB as u64, "{} bytes", edge.origin.sent());
    let rest = Got::read(response).await;
    assert!(rest.cut.is_none() && [&first, &rest.body[..]].concat() == bytes);
}

#[tokio::test]
async fn a_passing_body_ends_when_its_reader_leaves() {
    let edge = Edge::new().await;
    let bytes = noise(8 * MIB);
    edge.origin.always("/p", Reply::ok(bytes).with("cache-control", "private"));
    let mut response = edge.begin(request(Method::GET, "/p", &[])).await;
    next(&mut response.body).await.unwrap().unwrap();
    drop(response);
    // No fill is left that waits for a reader.
    let (_, _) = edge.stop().await;
}

#[tokio::test]
async fn a_body_of_unknown_length_is_broken_off_at_the_bound() {
    let mut setup = Setup::default();
    setup.fetch.max_object_bytes = MIB as u64;
    let edge = Edge::with(setup).await;
    let steps = vec![Step::Send(noise(3 * MIB)), Step::Hang];
    edge.origin.always("/endless.ts", Reply::chunked(steps).with("cache-control", MINUTE));
    let got = edge.get("/endless.ts").await;
    assert_eq!(got.status, 200);
    assert!(got.cut.is_some() && got.body.len() < 2 * MIB, "{} bytes", got.body.len());
    edge.idle().await;
    assert_eq!(edge.store.usage().memory_entries, 0);
}

#[tokio::test]
async fn growing_bodies_together_stay_below_their_bound() {
    let mut setup = Setup::default();
    setup.fetch.max_in_flight_bytes = MIB as u64;
    let edge = Edge::with(setup).await;
    edge.origin.always("/a.ts", Reply::steps(MIB as u64, vec![Step::Send(noise(MIB / 2)), Step::Hang]));
    edge.origin.always("/b.ts", Reply::ok(noise(MIB)));
    let mut held = edge.begin(request(Method::GET, "/a.ts", &[])).await;
    let mut read = 0;
    while read < MIB / 2 {
        read += next(&mut held.body).await.unwrap().unwrap().len();
    }
    let refused = edge.get("/b.ts").await;
    assert!(refused.cut.is_some());
    edge.idle_but(1).await;
    edge.origin.kill();
    assert!(next(&mut held.body).await.unwrap().is_err());
}

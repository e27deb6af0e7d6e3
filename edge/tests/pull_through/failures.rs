//! What viewers see when the upstream fails: an error at once, a reset once headers have left, never a clean short
//! body; and nothing of it is kept.

use crate::{
    edge::{Edge, Setup, next, noise, request},
    upstream::{Reply, Step, gate},
};
use http::Method;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_is_not_kept_and_is_fetched_again() {
    let edge = Edge::new().await;
    let bytes = noise(100_000);
    let whole = bytes.clone();
    edge.origin.on("/1.ts", move |_, n| match n {
        0 => Reply::steps(100_000, vec![Step::Send(whole.slice(..40_000))]),
        _ => Reply::ok(whole.clone()),
    });
    let cut = edge.get("/1.ts").await;
    assert_eq!((cut.status.as_u16(), cut.body.len()), (200, 40_000));
    assert!(cut.cut.is_some());
    edge.get("/1.ts").await.is("fwd=uri-miss; stored", &bytes);
    assert_eq!(edge.origin.count("/1.ts"), 2);
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_is_an_error_too() {
    let edge = Edge::new().await;
    let open = gate();
    let steps = vec![Step::Send(noise(1000)), Step::Gate(open.clone()), Step::Hang];
    edge.origin.always("/1.ts", Reply::chunked(steps));
    let mut response = edge.begin(request(Method::GET, "/1.ts", &[])).await;
    assert_eq!(response.body.length(), None);
    next(&mut response.body).await.unwrap().unwrap();
    let (origin, _) = (edge.origin.clone(), open.add_permits(1));
    // The process behind the connection dies.
    origin.kill();
    assert!(next(&mut response.body).await.unwrap().is_err());
    edge.idle().await;
    assert_eq!(edge.store.usage().memory_entries, 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_before_its_first_byte_is_an_error_response() {
    let edge = Edge::new().await;
    for (path, status) in [("/1.ts", 404), ("/v.vtt", 404), ("/page", 502)] {
        edge.origin.always(path, Reply::steps(1000, vec![]));
        let got = edge.get(path).await;
        got.is_status(status);
        assert_eq!(got.field("cache-control"), "no-store");
        assert_eq!(got.field("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn more_bytes_than_announced_are_cut_at_the_announced_length() {
    let edge = Edge::new().await;
    edge.origin.always("/1.ts", Reply::steps(4, vec![Step::Send("abcdefgh".into())]));
    edge.get("/1.ts").await.is("fwd=uri-miss", "abcd");
}

#[tokio::test]
async fn an_upstream_error_without_a_copy_is_passed_on_and_not_kept() {
    let edge = Edge::new().await;
    edge.origin.always("/page", Reply::new(503, "down"));
    for asked in 1..=2 {
        let got = edge.get("/page").await;
        got.is_status(503);
        assert_eq!((got.text(), got.cache().contains("stored")), ("down", false));
        edge.idle().await;
        assert_eq!(edge.origin.count("/page"), asked);
    }
}

#[tokio::test]
async fn an_upstream_error_that_may_be_kept_is_kept_for_ten_seconds_at_most() {
    let edge = Edge::new().await;
    edge.origin.always("/page", Reply::new(503, "down").with("cache-control", "max-age=60"));
    for (advance, asked) in [(0, 1), (9_900, 1), (100, 2)] {
        edge.advance(advance);
        edge.get("/page").await.is_status(503);
        edge.idle().await;
        assert_eq!(edge.origin.count("/page"), asked);
    }
}

#[tokio::test]
async fn a_refused_connection_is_404_for_players_and_502_for_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let edge = Edge::with(Setup { url: Some(url), ..Setup::default() }).await;
    for (path, status) in [("/1.ts", 404), ("/v.m3u8", 404), ("/a.vtt", 404), ("/page", 502), ("/k.key", 502)] {
        let got = edge.get(path).await;
        got.is_status(status);
        assert_eq!(got.field("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_by_the_upstreams_limit() {
    let edge = Edge::with(Setup { head_timeout: Duration::from_millis(50), ..Setup::default() }).await;
    for (path, status) in [("/1.ts", 404), ("/page", 504)] {
        edge.origin.always(path, Reply::ok("late").after(Step::Hang));
        edge.get(path).await.is_status(status);
    }
}

#[tokio::test]
async fn no_first_byte_in_time_is_404_for_players_and_504_for_others() {
    let edge = Edge::with(Setup::patience(250)).await;
    for (path, status) in [("/1.ts", 404), ("/v.m3u8", 404), ("/a.vtt", 404), ("/page", 504)] {
        for (what, reply) in
            [("head", Reply::ok("late").after(Step::Hang)), ("body", Reply::steps(1000, vec![Step::Hang]))]
        {
            let path = format!("/{what}{path}");
            edge.origin.always(&path, reply);
            let got = edge.get(&path).await;
            got.is_status(status);
            assert_eq!(got.field("cache-control"), "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn no_first_byte_in_time_falls_back_to_a_stale_copy() {
    let edge = Edge::with(Setup::patience(250)).await;
    let cases = [
        ("/head.ts", Reply::ok("late").after(Step::Hang)),
        ("/body.ts", Reply::steps(1000, vec![Step::Hang])),
        ("/cut.ts", Reply::steps(1000, vec![])),
    ];
    for (still_filling, (path, slow)) in cases.into_iter().enumerate() {
        edge.origin.on(path, move |_, n| match n {
            0 => Reply::ok("copy").with("cache-control", "max-age=10, stale-if-error=100"),
            _ => slow.clone(),
        });
        edge.get(path).await.is("fwd=uri-miss", "copy");
        edge.idle_but(still_filling).await;
        edge.advance(11_000);
        edge.get(path).await.is("hit; ttl=-1; detail=stale-if-error", "copy");
    }
}

#[tokio::test]
async fn a_body_that_stands_still_after_its_headers_is_reset() {
    for setup in [
        // The viewer's patience ends first, or the upstream's limit does.
        Setup::patience(250),
        Setup { idle_timeout: Duration::from_millis(50), ..Setup::default() },
    ] {
        let edge = Edge::with(setup).await;
        for (path, control) in [("/1.ts", "max-age=60"), ("/page", "no-store"), ("/2.ts", "no-store")] {
            let steps = vec![Step::Send(noise(1000)), Step::Hang];
            edge.origin.always(path, Reply::steps(2000, steps).with("cache-control", control));
            let got = edge.get(path).await;
            assert_eq!((got.status.as_u16(), got.body.len()), (200, 1000));
            assert!(got.cut.is_some(), "{path} ended cleanly");
        }
        assert_eq!(edge.store.usage().memory_entries, 0);
    }
}

#[tokio::test]
async fn a_body_without_a_length_that_stands_still_is_reset() {
    let edge = Edge::with(Setup::patience(250)).await;
    edge.origin.always("/1.ts", Reply::chunked(vec![Step::Send(noise(1000)), Step::Hang]));
    let got = edge.get("/1.ts").await;
    assert_eq!(got.body.len(), 1000);
    assert!(got.cut.is_some());
}

#[tokio::test]
async fn too_many_fills_at_once_are_an_overload() {
    let mut setup = Setup::default();
    setup.fetch.max_fills = 1;
    let edge = Edge::with(setup).await;
    edge.origin.always("/busy", Reply::ok("").after(Step::Hang));
    let busy = edge.begin(request(Method::GET, "/busy", &[]));
    tokio::select! {
        _ = busy => panic!("answered"),
        () = crate::edge::until(|| edge.origin.count("/busy") == 1) => {}
    }
    let refused = edge.get("/page").await;
    refused.is_status(503);
    assert_eq!(refused.field("retry-after"), "1");
    edge.get("/1.ts").await.is_status(404);
}

#[tokio::test]
async fn an_unrequested_206_is_no_whole_body() {
    let edge = Edge::new().await;
    edge.origin.always("/page", Reply::new(206, "part").with("content-range", "bytes 0-3/10"));
    edge.get("/page").await.is_status(502);
}

//! Representations, methods, credentials, parts, purges: what the request says decides what is kept and who gets it.

use crate::{
    edge::{Edge, noise, request},
    upstream::{Reply, Seen},
};
use http::Method;
use weir_protocol::{
    ids::PublisherId,
    part::SLICE,
    wire::{Purge, PurgeScope},
};
use weir_relay::http::Body;

const MINUTE: &str = "max-age=60";

#[tokio::test]
async fn each_representation_is_kept_for_those_who_select_it() {
    let edge = Edge::new().await;
    edge.origin.on("/page", |seen, _| {
        Reply::ok(format!("for {:?}", seen.field("x-kind"))).with("vary", "X-Kind").with("cache-control", MINUTE)
    });
    for (kind, cache) in [("a", "fwd=uri-miss; stored"), ("b", "fwd=vary-miss; stored"), ("a", "hit"), (" b ", "hit")] {
        let body = format!("for {:?}", Some(kind.trim()));
        edge.ask("/page", &[("x-kind", kind.trim()), ("x-other", kind)]).await.is(cache, body);
        edge.idle().await;
    }
    edge.get("/page").await.is("fwd=vary-miss", "for None");
    assert_eq!(edge.origin.count("/page"), 3);
}

#[tokio::test]
async fn a_stale_representation_is_validated_with_the_fields_that_selected_it() {
    let edge = Edge::new().await;
    edge.origin.on("/page", |seen, n| match n {
        0 => Reply::ok("one").with("vary", "x-kind").with("etag", "\"1\"").with("cache-control", MINUTE),
        _ => {
            assert_eq!((seen.field("x-kind"), seen.field("if-none-match")), (Some("a"), Some("\"1\"")));
            Reply::not_modified().with("vary", "x-kind").with("cache-control", MINUTE)
        }
    });
    edge.ask("/page", &[("x-kind", "a")]).await.is("fwd=", "one");
    edge.idle().await;
    edge.advance(61_000);
    edge.ask("/page", &[("x-kind", "a")]).await.is("fwd=stale; fwd-status=304", "one");
    edge.idle().await;
    edge.ask("/page", &[("x-kind", "a")]).await.is("hit", "one");
}

fn with_body(method: Method, path: &str, body: &'static str) -> weir_relay::http::Request {
    let mut made = request(method, path, &[("content-type", "text/plain"), ("connection", "x-hop"), ("x-hop", "1")]);
    made.body = Body::full(body);
    made
}

#[tokio::test]
async fn what_changes_something_is_passed_and_outdates_what_is_held() {
    let edge = Edge::new().await;
    let answer = |seen: &Seen, n: usize| match seen.method.as_str() {
        "GET" => Reply::ok(format!("version {n}")).with("cache-control", MINUTE),
        "DELETE" => Reply::new(500, "not deleted"),
        _ => Reply::new(201, "made").with("location", "made").with("cache-control", MINUTE),
    };
    edge.origin.on("/d/1.ts", answer);
    edge.origin.on("/d/made", answer);
    edge.get("/d/1.ts").await.is("fwd=", "version 0");
    edge.get("/d/made").await.is("fwd=", "version 0");
    edge.idle().await;
    // A failure changes nothing.
    edge.send(with_body(Method::DELETE, "/d/1.ts", "")).await.is_status(500);
    edge.get("/d/1.ts").await.is("hit", "version 0");
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let got = edge.send(with_body(method.clone(), "/d/1.ts", "content")).await;
        assert_eq!((got.status.as_u16(), got.text(), got.field("location")), (201, "made", "made"));
        assert!(got.cache().starts_with("fwd=method; fwd-status=201"), "{got:?}");
        let seen = edge.origin.seen("/d/1.ts").pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), (method.as_str(), b"content".as_slice()));
        assert_eq!((seen.field("content-type"), seen.field("x-hop")), (Some("text/plain"), None));
        edge.idle().await;
        let fresh = edge.get("/d/1.ts").await;
        assert!(fresh.cache().starts_with("fwd=uri-miss"), "{fresh:?}");
        edge.idle().await;
    }
    edge.get("/d/made").await.is("fwd=uri-miss", "version 1");
}

#[tokio::test]
async fn the_answer_to_credentials_is_shared_only_when_the_origin_says_so() {
    let edge = Edge::new().await;
    let me = [("authorization", "Bearer x")];
    for (path, control, shared) in [
        ("/a", MINUTE, false),
        ("/b", "max-age=60, public", true),
        ("/c", "max-age=60, must-revalidate", true),
        ("/d", "s-maxage=60", true),
    ] {
        edge.origin.on(path, move |_, n| Reply::ok(format!("{n}")).with("cache-control", control));
        edge.ask(path, &me).await.is("fwd=uri-miss", "0");
        assert_eq!(edge.origin.seen(path)[0].field("authorization"), Some("Bearer x"));
        edge.idle().await;
        let (cache, body) = if shared { ("hit", "0") } else { ("fwd=uri-miss", "1") };
        edge.get(path).await.is(cache, body);
        edge.idle().await;
        // What everybody may have, whoever has credentials may have as well.
        edge.ask(path, &me).await.is("hit", body);
    }
}

#[tokio::test]
async fn fields_that_are_somebodys_own_go_to_who_asked_and_are_not_kept() {
    let edge = Edge::new().await;
    let reply = Reply::ok("x").with("cache-control", "max-age=60, private=\"x-mine\"").with("x-mine", "1");
    edge.origin.always("/page", reply);
    assert_eq!(edge.get("/page").await.field("x-mine"), "1");
    edge.idle().await;
    let hit = edge.get("/page").await;
    hit.is("hit", "x");
    assert_eq!(hit.field("x-mine"), "");
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let edge = Edge::new().await;
    edge.origin.always("/page", Reply::ok("x").with("cache-control", MINUTE));
    let wants = [("cache-control", "only-if-cached")];
    edge.ask("/page", &wants).await.is_status(504);
    assert_eq!(edge.origin.count("/page"), 0);
    edge.get("/page").await.is("fwd=", "x");
    edge.idle().await;
    edge.ask("/page", &wants).await.is("hit", "x");
}

/// An origin that knows ranges.
fn ranged(body: &bytes::Bytes, tag: &'static str) -> impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static {
    let body = body.clone();
    move |seen, _| {
        let total = body.len();
        let whole = Reply::ok(body.clone()).with("etag", tag).with("cache-control", MINUTE);
        let Some(range) = seen.field("range").and_then(|field| field.strip_prefix("bytes=")) else { return whole };
        let (first, last) = range.split_once('-').unwrap();
        let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, last.min(total - 1)),
            (Ok(first), Err(_)) => (first, total - 1),
            (Err(_), count) => (total - count.unwrap(), total - 1),
        };
        if first >= total {
            return Reply::new(416, "").with("content-range", &format!("bytes */{total}"));
        }
        Reply::new(206, body.slice(first..=last))
            .with("content-range", &format!("bytes {first}-{last}/{total}"))
            .with("etag", tag)
            .with("cache-control", MINUTE)
    }
}

#[tokio::test]
async fn a_range_of_a_long_resource_costs_the_slices_it_touches_and_no_more() {
    let edge = Edge::new().await;
    let slice = SLICE as usize;
    let body = noise(3 * slice + 100);
    edge.origin.on("/film.mp4", ranged(&body, "\"1\""));
    for (first, last, asked) in [
        (10, 20, 1),
        (slice - 5, slice + 5, 2),
        (slice + 100, slice + 200, 2),
        (0, 2 * slice + 9, 3),
        (3 * slice + 1, 3 * slice + 99, 4),
        (5, 3 * slice + 99, 4),
    ] {
        let got = edge.ask("/film.mp4", &[("range", &format!("bytes={first}-{last}"))]).await;
        assert_eq!((got.status.as_u16(), got.cut.as_deref()), (206, None), "{first}-{last}");
        assert!(got.body == body[first..=last], "{first}-{last}");
        assert_eq!(got.field("content-range"), format!("bytes {first}-{last}/{}", body.len()));
        edge.idle().await;
        assert_eq!(edge.origin.count("/film.mp4"), asked, "{first}-{last}");
    }
    // A suffix, now that the length is known; a condition; a range behind the end.
    let tail = edge.ask("/film.mp4", &[("range", "bytes=-50")]).await;
    assert!(tail.body == body[body.len() - 50..]);
    edge.ask("/film.mp4", &[("range", "bytes=0-1"), ("if-none-match", "\"1\"")]).await.is_status(304);
    edge.ask("/film.mp4", &[("range", "bytes=0-1"), ("if-match", "\"2\"")]).await.is_status(412);
    let behind = edge.ask("/film.mp4", &[("range", "bytes=99999999-")]).await;
    behind.is_status(416);
    // The whole: only what follows the first slice is asked for, under the same tag.
    edge.get("/film.mp4").await.is("fwd=uri-miss; stored", &body);
    let last = edge.origin.seen("/film.mp4").pop().unwrap();
    assert_eq!((last.field("range"), last.field("if-range")), (Some("bytes=2097152-"), Some("\"1\"")));
    edge.idle().await;
    edge.ask("/film.mp4", &[("range", "bytes=7-9")]).await.is_status(206);
    edge.get("/film.mp4").await.is("hit", &body);
}

#[tokio::test]
async fn slices_of_two_bodies_are_never_joined() {
    let edge = Edge::new().await;
    let slice = SLICE as usize;
    let (old, new) = (noise(2 * slice), bytes::Bytes::from(vec![7; 2 * slice]));
    let (first, second) = (ranged(&old, "\"1\""), ranged(&new, "\"2\""));
    edge.origin.on("/film.mp4", move |seen, n| if n == 0 { first(seen, n) } else { second(seen, n) });
    edge.ask("/film.mp4", &[("range", "bytes=0-9")]).await.is_status(206);
    edge.idle().await;
    let across = edge.ask("/film.mp4", &[("range", &format!("bytes=0-{}", slice + 9))]).await;
    assert!(across.cut.is_some() && across.body.len() <= slice, "{:?}", across.cut);
}

#[tokio::test]
async fn a_place_that_contradicts_its_length_is_not_kept() {
    let edge = Edge::new().await;
    let reply = Reply::new(206, "01234").with("content-range", "bytes 4-9/10").with("cache-control", MINUTE);
    edge.origin.always("/1.ts", reply);
    for asked in 1..=2 {
        let got = edge.ask("/1.ts", &[("range", "bytes=-5")]).await;
        assert_eq!((got.status.as_u16(), got.text()), (206, "01234"));
        edge.idle().await;
        assert_eq!(edge.origin.count("/1.ts"), asked);
    }
}

fn purge(scope: PurgeScope, target: &str, soft: bool) -> Purge {
    Purge { publisher: PublisherId([1; 32]), number: 0, scope, target: target.into(), soft }
}

#[tokio::test]
async fn a_purge_takes_what_it_names_and_counts_it() {
    let directory = tempfile::tempdir().unwrap();
    let edge = Edge::with(crate::edge::Setup::on_disk(directory.path())).await;
    let reply = |tag: &str| Reply::ok("x").with("etag", "\"1\"").with("cache-control", MINUTE).with("cache-tag", tag);
    edge.origin.always("/a/1.ts", reply("odd"));
    edge.origin.always("/a/1.ts?q=1", reply("odd"));
    edge.origin.always("/a/2.ts", reply("even, all"));
    edge.origin.always("/b/3.ts", reply("odd, all"));
    let paths = ["/a/1.ts", "/a/1.ts?q=1", "/a/2.ts", "/b/3.ts"];
    for (order, gone) in [
        (purge(PurgeScope::Resource, "/a/1.ts", false), &paths[..1]),
        (purge(PurgeScope::Path, "/a/1.ts", false), &paths[..2]),
        (purge(PurgeScope::Prefix, "/a/", false), &paths[..3]),
        (purge(PurgeScope::Tag, "all", false), &paths[2..]),
        (purge(PurgeScope::All, "", false), &paths[..]),
    ] {
        for path in paths {
            edge.get(path).await.is_status(200);
        }
        edge.idle().await;
        edge.store.flush().await;
        assert_eq!(edge.fetch.purge(&order).await, gone.len() as u64, "{order:?}");
        for path in paths {
            let got = edge.get(path).await;
            assert_eq!(got.cache().starts_with("fwd="), gone.contains(&path), "{order:?} {path}");
        }
        edge.idle().await;
    }
}

#[tokio::test]
async fn a_soft_purge_leaves_what_can_be_validated_or_stand_in() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("x").with("etag", "\"1\"").with("cache-control", MINUTE),
        1 => Reply::new(503, ""),
        _ => Reply::not_modified().with("cache-control", MINUTE),
    });
    edge.get("/1.ts").await.is("fwd=", "x");
    edge.idle().await;
    assert_eq!(edge.fetch.purge(&purge(PurgeScope::All, "", true)).await, 1);
    edge.get("/1.ts").await.is("hit", "x");
    assert_eq!(edge.origin.count("/1.ts"), 2, "it was asked for and stood in for the error");
    edge.idle().await;
    edge.get("/1.ts").await.is("fwd=stale; fwd-status=304", "x");
}

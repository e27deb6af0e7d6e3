//! Hits, ages, revalidation and what is said about them (RFC 9111, RFC 5861, RFC 9211).

use crate::{
    edge::{Edge, Setup, now, until},
    upstream::{Reply, Step, date, gate},
};
use std::time::{Duration, UNIX_EPOCH};

const MINUTE: &str = "max-age=60";

#[tokio::test]
async fn a_miss_is_kept_and_its_hits_grow_older() {
    let edge = Edge::new().await;
    edge.origin.always("/a/1.ts", Reply::ok("segment").with("cache-control", MINUTE).with("age", "5"));
    let miss = edge.get("/a/1.ts").await;
    miss.is("fwd=uri-miss; stored; ttl=55; detail=origin", "segment");
    assert_eq!((miss.field("age"), miss.field("content-type")), ("5", "video/mp2t"));
    edge.idle().await;
    edge.advance(7_000);
    let hit = edge.get("/a/1.ts").await;
    hit.is("hit; ttl=48; detail=memory", "segment");
    assert_eq!((hit.field("age"), hit.field("cache-control")), ("12", MINUTE));
    assert!(hit.field("server-timing").starts_with("weir;desc=\"memory\";dur="));
    assert_eq!(edge.origin.count("/a/1.ts"), 1);
}

#[tokio::test]
async fn every_cache_status_is_a_list_with_one_member_and_known_parameters() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("x").with("etag", "\"1\"").with("cache-control", "max-age=1, stale-while-revalidate=1"),
        1 => Reply::not_modified().with("etag", "\"1\"").with("cache-control", MINUTE),
        _ => Reply::new(500, ""),
    });
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(edge.get("/1.ts").await.field("cache-status").to_owned());
        edge.idle().await;
        edge.advance(2_500);
    }
    told.push(edge.get("/2.ts").await.field("cache-status").to_owned());
    edge.advance(60_000);
    told.push(edge.get("/1.ts").await.field("cache-status").to_owned());
    for text in &told {
        let mut members = text.split("; ");
        assert_eq!(members.next(), Some("edge-1"), "{text}");
        let mut went = 0;
        for parameter in members {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, "?1"));
            let good = match name {
                "hit" | "fwd" => {
                    went += 1;
                    ["?1", "uri-miss", "stale"].contains(&value)
                }
                "stored" | "collapsed" => value == "?1",
                "ttl" | "fwd-status" => value.parse::<i64>().is_ok(),
                "detail" => value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                _ => false,
            };
            assert!(good, "{parameter} in {text}");
        }
        assert_eq!(went, 1, "either hit or fwd: {text}");
    }
    assert!(told[1].contains("fwd=stale; fwd-status=304"), "{told:?}");
    assert!(told[5].ends_with("hit; ttl=-8; detail=stale-if-error"), "{told:?}");
}

#[tokio::test]
async fn a_304_keeps_the_body_and_renews_the_rest() {
    let edge = Edge::new().await;
    let modified = date(-86_400);
    let tag = modified.clone();
    edge.origin.on("/1.ts", move |seen, n| match n {
        0 => Reply::ok("body").with("etag", "\"v1\"").with("last-modified", &tag).with("cache-control", "max-age=10"),
        _ => {
            assert_eq!(seen.field("if-none-match"), Some("\"v1\""));
            assert_eq!(seen.field("if-modified-since"), Some(&*tag));
            Reply::not_modified().with("cache-control", "max-age=20").with("x-new", "1")
        }
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "body");
    edge.idle().await;
    edge.advance(11_000);
    let renewed = edge.get("/1.ts").await;
    renewed.is("fwd=stale; fwd-status=304; ttl=20", "body");
    assert_eq!(
        ["age", "etag", "last-modified", "cache-control", "x-new"].map(|name| renewed.field(name).to_owned()),
        ["0", "\"v1\"", &*modified, "max-age=20", "1"].map(str::to_owned)
    );
    edge.advance(19_000);
    edge.get("/1.ts").await.is("hit; ttl=1", "body");
    assert_eq!(edge.origin.count("/1.ts"), 2);
}

#[tokio::test]
async fn a_304_without_a_date_does_not_inherit_the_old_one() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("body").with("etag", "\"v1\"").with("cache-control", "max-age=10"),
        _ => Reply::not_modified().with("etag", "\"v1\"").undated(),
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "body");
    edge.idle().await;
    edge.advance(30_000);
    edge.get("/1.ts").await.is("fwd=stale; fwd-status=304; ttl=10", "body");
}

#[tokio::test]
async fn a_response_without_a_date_gets_the_time_of_its_arrival() {
    let edge = Edge::new().await;
    edge.origin.always("/1.ts", Reply::ok("x").undated());
    let arrived = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now().0));
    assert_eq!(edge.get("/1.ts").await.field("date"), arrived);
    edge.idle().await;
    edge.advance(5_000);
    assert_eq!(edge.get("/1.ts").await.field("date"), arrived);
}

#[tokio::test]
async fn a_changed_body_replaces_the_old_one() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| {
        Reply::ok(["old", "new!"][n]).with("etag", ["\"1\"", "\"2\""][n]).with("cache-control", MINUTE)
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "old");
    edge.idle().await;
    edge.advance(61_000);
    let new = edge.get("/1.ts").await;
    new.is("fwd=", "new!");
    assert_eq!(new.field("etag"), "\"2\"");
    edge.idle().await;
    edge.get("/1.ts").await.is("hit", "new!");
}

#[tokio::test]
async fn a_304_about_another_body_confirms_nothing() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |seen, n| match n {
        0 => Reply::ok("old").with("etag", "\"1\"").with("cache-control", MINUTE),
        1 => Reply::not_modified().with("etag", "\"2\""),
        _ => {
            assert_eq!(seen.field("if-none-match"), None);
            Reply::ok("new").with("etag", "\"2\"")
        }
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "old");
    edge.idle().await;
    edge.advance(61_000);
    edge.get("/1.ts").await.is("fwd=", "new");
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_no_response() {
    let edge = Edge::new().await;
    edge.origin.always("/page", Reply::not_modified());
    edge.get("/page").await.is_status(502);
}

#[tokio::test]
async fn a_304_that_forbids_keeping_is_served_once_more_and_forgotten() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("body").with("etag", "\"1\"").with("cache-control", MINUTE),
        1 => Reply::not_modified().with("cache-control", "no-store"),
        _ => Reply::ok("other").with("cache-control", "no-store"),
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "body");
    edge.idle().await;
    edge.advance(61_000);
    edge.get("/1.ts").await.is("fwd=stale; fwd-status=304", "body");
    edge.idle().await;
    edge.get("/1.ts").await.is("fwd=uri-miss; ttl", "other");
    assert_eq!(edge.origin.seen("/1.ts")[2].field("if-none-match"), None);
}

#[tokio::test]
async fn a_304_does_not_bring_a_coding_back_that_was_undone() {
    let edge = Edge::new().await;
    edge.origin.on("/v.m3u8", |_, n| match n {
        0 => Reply::ok("#EXTM3U\n").with("etag", "\"1\"").with("cache-control", "max-age=1"),
        _ => Reply::not_modified().with("content-encoding", "gzip").with("cache-control", "max-age=1"),
    });
    edge.get("/v.m3u8").await.is("fwd=uri-miss", "#EXTM3U\n");
    edge.idle().await;
    edge.advance(2_000);
    let renewed = edge.get("/v.m3u8").await;
    renewed.is("fwd=stale", "#EXTM3U\n");
    assert_eq!(renewed.field("content-encoding"), "");
}

#[tokio::test]
async fn what_supersedes_a_kept_response_and_may_not_be_kept_removes_it() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("public").with("cache-control", "max-age=60, stale-if-error=600"),
        1 => Reply::ok("private").with("cache-control", "private"),
        _ => Reply::new(500, ""),
    });
    edge.get("/1.ts").await.is("fwd=uri-miss; stored", "public");
    edge.idle().await;
    edge.advance(61_000);
    edge.get("/1.ts").await.is("fwd=", "private");
    edge.idle().await;
    edge.get("/1.ts").await.is_status(500);
}

#[tokio::test]
async fn a_missing_segment_is_believed_missing_for_a_second_and_asked_for_without_conditions() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |seen, n| match n {
        0 => Reply::new(404, "none").with("etag", "\"error-page\"").with("last-modified", &date(0)),
        _ => {
            assert_eq!((seen.field("if-none-match"), seen.field("if-modified-since")), (None, None));
            Reply::ok("here")
        }
    });
    edge.get("/1.ts").await.is_status(404);
    edge.idle().await;
    edge.advance(900);
    let still = edge.get("/1.ts").await;
    still.is_status(404);
    assert!(still.cache().starts_with("hit"), "{still:?}");
    edge.advance(200);
    edge.get("/1.ts").await.is("fwd=", "here");
    assert_eq!(edge.origin.count("/1.ts"), 2);
}

#[tokio::test]
async fn a_404_is_never_believed_longer_than_ten_seconds() {
    let edge = Edge::new().await;
    edge.origin.always("/1.ts", Reply::new(404, "none").with("cache-control", "max-age=3600"));
    edge.get("/1.ts").await.is_status(404);
    edge.idle().await;
    edge.advance(10_000);
    edge.get("/1.ts").await.is_status(404);
    assert_eq!(edge.origin.count("/1.ts"), 2);
}

#[tokio::test]
async fn stale_while_revalidate_serves_at_once_and_refreshes_behind() {
    let edge = Edge::new().await;
    let open = gate();
    let held = open.clone();
    edge.origin.on("/1.ts", move |_, n| match n {
        0 => Reply::ok("old").with("cache-control", "max-age=10, stale-while-revalidate=10"),
        _ => Reply::ok("new").with("cache-control", MINUTE).after(Step::Gate(held.clone())),
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "old");
    edge.idle().await;
    edge.advance(15_000);
    for _ in 0..3 {
        edge.get("/1.ts").await.is("hit; ttl=-5; detail=stale-while-revalidate", "old");
    }
    open.add_permits(1);
    until(|| edge.fetch.fills() == 0).await;
    edge.get("/1.ts").await.is("hit; ttl=60", "new");
    assert_eq!(edge.origin.count("/1.ts"), 2);
}

#[tokio::test]
async fn a_stale_copy_stands_in_for_an_error_as_long_as_it_may() {
    let edge = Edge::with(Setup::default()).await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("copy").with("cache-control", "max-age=10, stale-if-error=20"),
        n => Reply::new([500, 502, 503, 504][n % 4], "broken"),
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "copy");
    edge.idle().await;
    edge.advance(15_000);
    for _ in 0..4 {
        edge.get("/1.ts").await.is("hit; ttl=-5; detail=stale-if-error", "copy");
        edge.idle().await;
    }
    edge.advance(15_000);
    let error = edge.get("/1.ts").await;
    assert!(error.status.is_server_error() && error.body == b"broken", "{error:?}");
}

#[tokio::test]
async fn must_revalidate_forbids_a_stale_copy() {
    let edge = Edge::new().await;
    edge.origin.on("/1.ts", |_, n| match n {
        0 => Reply::ok("copy").with("cache-control", "max-age=10, must-revalidate"),
        _ => Reply::new(503, "broken"),
    });
    edge.get("/1.ts").await.is("fwd=uri-miss", "copy");
    edge.idle().await;
    edge.advance(11_000);
    edge.get("/1.ts").await.is_status(503);
}

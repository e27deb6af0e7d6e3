//! Ranges, conditions and HEAD, on whole objects and on growing ones (RFC 9110 sections 13 and 14).

use crate::{
    edge::{Edge, Got, Setup, next, noise, request},
    upstream::{Reply, Step, date, gate},
};
use bytes::Bytes;
use http::Method;
use std::time::Duration;

const TAG: &str = "\"v1\"";

fn tagged(body: impl Into<Bytes>) -> Reply {
    Reply::ok(body).with("etag", TAG).with("last-modified", &date(-3600)).with("cache-control", "max-age=600")
}

/// An edge that holds `/1.ts` with ten bytes.
async fn holding() -> Edge {
    let edge = Edge::new().await;
    edge.origin.always("/1.ts", tagged("0123456789"));
    edge.get("/1.ts").await.is("fwd", "0123456789");
    edge.idle().await;
    edge
}

#[tokio::test]
async fn ranges_of_a_whole_object() {
    let edge = holding().await;
    for (range, status, content_range, body) in [
        ("bytes=0-0", 206, "bytes 0-0/10", "0"),
        ("bytes=3-5", 206, "bytes 3-5/10", "345"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-4", 206, "bytes 6-9/10", "6789"),
        ("bytes=-99", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=8-9007199254740991", 206, "bytes 8-9/10", "89"),
        ("bytes=0-1,5-6", 200, "", "0123456789"),
        ("bytes=5-3", 200, "", "0123456789"),
        ("items=0-1", 200, "", "0123456789"),
    ] {
        let got = edge.ask("/1.ts", &[("range", range)]).await;
        assert_eq!(
            (got.status.as_u16(), got.field("content-range"), got.text()),
            (status, content_range, body),
            "{range}"
        );
        assert_eq!((got.field("accept-ranges"), got.field("etag")), ("bytes", TAG));
        assert!(got.cache().starts_with("hit"), "{range}");
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let got = edge.ask("/1.ts", &[("range", range)]).await;
        got.is_status(416);
        assert_eq!((got.field("content-range"), got.field("cache-control")), ("bytes */10", "no-store"), "{range}");
    }
    assert_eq!(edge.origin.count("/1.ts"), 1);
}

#[tokio::test]
async fn a_range_counts_only_if_if_range_names_the_same_bytes() {
    let edge = holding().await;
    for (condition, status) in
        [(TAG, 206), ("\"v2\"", 200), ("W/\"v1\"", 200), (&*date(-3600), 206), (&*date(-3599), 200)]
    {
        let got = edge.ask("/1.ts", &[("range", "bytes=1-2"), ("if-range", condition)]).await;
        assert_eq!(
            (got.status.as_u16(), got.text()),
            (status, if status == 206 { "12" } else { "0123456789" }),
            "{condition}"
        );
    }
}

#[tokio::test]
async fn conditions_on_a_whole_object() {
    let edge = holding().await;
    for (name, value, status) in [
        ("if-none-match", TAG, 304),
        ("if-none-match", "W/\"v1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"v2\"", 200),
        ("if-modified-since", &*date(-3600), 304),
        ("if-modified-since", &*date(-3601), 200),
        ("if-match", "\"v2\"", 412),
        ("if-match", TAG, 200),
        ("if-unmodified-since", &*date(-3601), 412),
    ] {
        let got = edge.ask("/1.ts", &[(name, value)]).await;
        got.is_status(status);
        if status == 304 {
            assert!(got.body.is_empty(), "{got:?}");
            let fields = ["etag", "cache-control", "age", "content-type"].map(|name| got.field(name));
            assert_eq!(fields, [TAG, "max-age=600", "0", ""]);
        }
    }
    // A condition goes before a range.
    let got = edge.ask("/1.ts", &[("if-none-match", TAG), ("range", "bytes=0-1")]).await;
    got.is_status(304);
}

#[tokio::test]
async fn head_is_a_get_without_its_body() {
    let edge = Edge::new().await;
    edge.origin.always("/1.ts", tagged("0123456789"));
    for cache in ["fwd=uri-miss", "hit"] {
        let got = edge.head("/1.ts", &[("range", "bytes=0-1")]).await;
        got.is_status(200);
        assert!(got.body.is_empty() && got.cache().starts_with(cache), "{got:?}");
        assert_eq!((got.field("content-length"), got.field("etag")), ("10", TAG));
        edge.idle().await;
    }
    edge.head("/1.ts", &[("if-none-match", TAG)]).await.is_status(304);
    assert_eq!(edge.origin.count("/1.ts"), 1);
}

#[tokio::test]
async fn ranges_of_a_growing_object_stream_as_soon_as_their_bytes_are_there() {
    let edge = Edge::new().await;
    let (bytes, open) = (noise(10_000), gate());
    let steps = vec![Step::Send(bytes.slice(..4000)), Step::Gate(open.clone()), Step::Send(bytes.slice(4000..))];
    let reply = tagged("").replace(bytes.len() as u64, steps);
    edge.origin.always("/1.ts", reply);
    // There already: answered to its end while the upstream waits.
    let early = edge.ask("/1.ts", &[("range", "bytes=1000-2999")]).await;
    early.is_status(206);
    assert_eq!(early.field("content-range"), "bytes 1000-2999/10000");
    assert!(early.cut.is_none() && early.body == bytes[1000..3000]);
    // Across the edge of what is there: its first bytes come at once.
    let mut across = edge.begin(request(Method::GET, "/1.ts", &[("range", "bytes=3000-4999")])).await;
    let mut begun = 0;
    while begun < 1000 {
        let piece = next(&mut across.body).await.unwrap().unwrap();
        assert_eq!(piece, bytes[3000 + begun..3000 + begun + piece.len()]);
        begun += piece.len();
    }
    // Wholly to come, by a suffix; and answered without waiting: what lies outside, and what has not changed.
    let suffix = edge.begin(request(Method::GET, "/1.ts", &[("range", "bytes=-500")])).await;
    assert_eq!(suffix.headers["content-range"], "bytes 9500-9999/10000");
    edge.ask("/1.ts", &[("range", "bytes=10000-")]).await.is_status(416);
    edge.ask("/1.ts", &[("if-none-match", TAG)]).await.is_status(304);
    let head = edge.head("/1.ts", &[]).await;
    assert_eq!(head.field("content-length"), "10000");
    open.add_permits(1);
    assert!(Got::read(across).await.body == bytes[3000 + begun..5000]);
    assert!(Got::read(suffix).await.body == bytes[9500..]);
    edge.idle().await;
    edge.get("/1.ts").await.is("hit", &bytes);
    assert_eq!(edge.origin.count("/1.ts"), 1);
}

#[tokio::test]
async fn a_range_of_a_growing_object_of_unknown_length_is_answered_whole() {
    let edge = Edge::new().await;
    let open = gate();
    let steps = vec![Step::Send("01234".into()), Step::Gate(open.clone()), Step::Send("56789".into())];
    edge.origin.always("/1.ts", Reply::chunked(steps).with("cache-control", "max-age=60"));
    let growing = edge.begin(request(Method::GET, "/1.ts", &[("range", "bytes=2-3")])).await;
    assert_eq!((growing.status.as_u16(), growing.body.length()), (200, None));
    open.add_permits(1);
    Got::read(growing).await.is("fwd=uri-miss", "0123456789");
    edge.idle().await;
    let whole = edge.ask("/1.ts", &[("range", "bytes=2-3")]).await;
    assert_eq!((whole.status.as_u16(), whole.text()), (206, "23"));
}

#[tokio::test]
async fn patience_is_for_a_source_that_stands_still_not_for_one_that_is_on_its_way() {
    let edge = Edge::with(Setup::patience(500)).await;
    let bytes = noise(2000);
    // The range's first byte comes after several times the patience, but the source never pauses for so long.
    let pause = Duration::from_millis(60);
    let steps = bytes.chunks(100).flat_map(|piece| [Step::Send(bytes.slice_ref(piece)), Step::Sleep(pause)]);
    edge.origin.always("/1.ts", Reply::steps(2000, steps.collect()));
    let late = edge.ask("/1.ts", &[("range", "bytes=-100")]).await;
    late.is_status(206);
    assert_eq!(late.cut, None);
    assert!(late.body == bytes[1900..]);
}

#[tokio::test]
async fn an_empty_object_is_a_whole_answer() {
    let edge = Edge::new().await;
    edge.origin.always("/empty.ts", tagged(""));
    edge.get("/empty.ts").await.is("fwd=uri-miss; stored", "");
    edge.idle().await;
    edge.get("/empty.ts").await.is("hit", "");
    edge.ask("/empty.ts", &[("range", "bytes=0-0")]).await.is_status(416);
}

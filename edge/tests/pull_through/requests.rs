//! What a request must be to be served at all: a known publisher, a path inside its content, a method, no circle.

use crate::{
    edge::{Edge, NAME, Setup, request, site},
    upstream::Reply,
};
use http::Method;

fn two_sites() -> Setup {
    let sites = vec![site(1, Some("alpha"), &["a.example"]), site(2, Some("beta"), &["b.example"])];
    Setup { sites: Some(sites), ..Setup::default() }
}

#[tokio::test]
async fn two_publishers_with_the_same_paths_never_collide() {
    let edge = Edge::with(two_sites()).await;
    edge.origin.on("/1.ts", |_, n| Reply::ok(["first", "second"][n]).with("cache-control", "max-age=60"));
    let ask = async |host: &str, path: &str| {
        let mut request = request(Method::GET, path, &[]);
        request.authority = Some(host.into());
        let got = edge.send(request).await;
        edge.idle().await;
        got
    };
    ask("a.example", "/1.ts").await.is("fwd=uri-miss", "first");
    ask("B.example:7443", "/1.ts").await.is("fwd=uri-miss", "second");
    // By its name a publisher is the same one as by its host, and a host goes before a name.
    ask("edge.example", "/alpha/1.ts").await.is("hit", "first");
    ask("127.0.0.1", "/beta/1.ts").await.is("hit", "second");
    for (host, path) in [("edge.example", "/1.ts"), ("edge.example", "/gamma/1.ts"), ("c.example", "/alpha"), ("", "/")]
    {
        let got = ask(host, path).await;
        got.is_status(421);
        assert_eq!(got.field("cache-control"), "no-store");
    }
    ask("a.example", "/beta/1.ts").await.is_status(404);
    assert_eq!(edge.origin.count("/1.ts"), 2);
}

#[tokio::test]
async fn paths_that_lead_out_or_are_badly_written_are_refused_before_anybody_is_asked() {
    let edge = Edge::with(two_sites()).await;
    for path in [
        "/alpha/../beta/1.ts",
        "/alpha/..%2f..%2fetc/passwd",
        "/alpha/%2e%2e/beta/1.ts",
        "/alpha/a/../../b",
        "/alpha/a%00.ts",
        "/alpha/a%0d%0ahost:%20x",
        "/alpha/%5c..%5cx",
        "/alpha/a%",
        "/alpha/a%zz",
    ] {
        let got = edge.get(path).await;
        got.is_status(400);
        assert_eq!(got.field("access-control-allow-origin"), "*", "{path}");
    }
    let long = format!("/alpha/{}", "a".repeat(5000));
    edge.get(&long).await.is_status(414);
    assert_eq!(edge.origin.sent(), 0);
}

#[tokio::test]
async fn spellings_of_one_resource_are_one_resource() {
    let edge = Edge::new().await;
    edge.origin.always("/a/1.ts?q=1", Reply::ok("one"));
    edge.get("/a/1.ts?q=1").await.is("fwd=uri-miss", "one");
    edge.idle().await;
    for path in ["/a/%31.ts?q=1", "/a/b/../1.ts?q=1", "/a/./1%2ets?q=1&weir_token=t", "/a/1.ts?CMCD=br%3D1&q=1"] {
        edge.get(path).await.is("hit", "one");
    }
    edge.get("/a/1.ts?q=2").await.is_status(404);
}

#[tokio::test]
async fn options_is_a_preflight() {
    let edge = Edge::new().await;
    let preflight = edge.send(request(Method::OPTIONS, "/1.ts", &[("access-control-request-method", "GET")])).await;
    preflight.is_status(204);
    assert_eq!(preflight.field("access-control-allow-methods"), "GET, HEAD, OPTIONS, POST");
    assert!(preflight.field("access-control-allow-headers").contains("CMCD-Request"));
    assert_eq!(edge.origin.count("/1.ts"), 0);
}

#[tokio::test]
async fn every_response_can_be_read_and_timed_by_a_page_of_another_origin() {
    let edge = Edge::new().await;
    let reply = Reply::ok("x").with("access-control-allow-origin", "https://only.example").with("alt-svc", "h3=\":1\"");
    edge.origin.always("/1.ts", reply.with("via", "1.1 cdn").with("connection", "x-hop").with("x-hop", "1"));
    let got = edge.get("/1.ts").await;
    let fields = ["access-control-allow-origin", "timing-allow-origin", "via", "x-hop", "alt-svc"];
    assert_eq!(fields.map(|name| got.field(name)), ["*", "*", "1.1 edge-1", "", ""]);
    assert!(got.field("access-control-expose-headers").contains("Cache-Status"));
}

#[tokio::test]
async fn a_request_that_has_been_here_is_a_loop() {
    let edge = Edge::new().await;
    edge.origin.always("/1.ts", Reply::ok("x"));
    for via in [format!("1.1 {NAME}"), format!("2 cdn, 1.1 {NAME} (weir)"), format!("HTTP/1.1 {NAME},3 other")] {
        edge.ask("/1.ts", &[("via", &via)]).await.is_status(508);
    }
    assert_eq!(edge.origin.count("/1.ts"), 0);
    edge.ask("/1.ts", &[("via", "1.1 edge-10, 1.1 other")]).await.is("fwd=uri-miss", "x");
    // The name goes out with each request, so that a circle of this edge alone is seen, too.
    let seen = edge.origin.seen("/1.ts")[0].clone();
    assert_eq!(seen.field("via"), Some("1.1 edge-10, 1.1 other, 1.1 edge-1"));
    assert_eq!(seen.field("cdn-loop"), Some("weir; node=edge-1"));
    edge.ask("/1.ts", &[("cdn-loop", "other, weir; node=edge-1")]).await.is_status(508);
}

#[tokio::test]
async fn what_is_our_own_is_not_the_upstreams() {
    let edge = Edge::new().await;
    for (path, status) in [
        ("/weir/unknown", 404),
        ("/weir", 404),
        ("/weir/record", 400),
        ("/weir/record?key=..%2Fx", 400),
        ("/weir/record?key=%2F1.ts", 404),
    ] {
        edge.get(path).await.is_status(status);
    }
    assert_eq!(edge.origin.count("/weir/unknown"), 0);
}

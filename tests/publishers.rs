//! What an edge says about content: whose it is, and what its publisher signed.

#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

use harness::{
    fetch::{get, request},
    process::Options,
    upstream::{Script, Upstream},
    weir::{Adapter, Edge, Weir},
};
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request as a client writes it that found the edge by this host name.
async fn ask(address: &str, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn one_edge_serves_two_publishers_with_the_same_paths() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    for (upstream, text) in [(&one, "of the first"), (&two, "of the second")] {
        upstream.put("/a/seg0.ts", Script::body(text));
    }
    let named = |name: &str| Options::new().arg("--name", name).arg("--host", format!("{name}.example"));
    let first = Adapter::start(one.url("/"), named("first")).await;
    let second = Adapter::start(two.url("/"), named("second")).await;
    let edge = Edge::join(&first, Options::new().arg("--join", second.url("/"))).await;

    assert_eq!(get(&edge.url("/first/a/seg0.ts")).await.text(), "of the first");
    assert_eq!(get(&edge.url("/second/a/seg0.ts")).await.text(), "of the second");
    for (host, text) in [("first.example", "of the first"), ("second.example", "of the second")] {
        let reply = ask(&edge.address("http"), host, "/a/seg0.ts").await;
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with(text), "{host}: {reply}");
    }
    let nobody = get(&edge.url("/a/seg0.ts")).await;
    assert_eq!(nobody.status, 421, "neither host nor first component says whose content is meant");
    assert_eq!((one.requests("/a/seg0.ts"), two.requests("/a/seg0.ts")), (1, 1));
}

#[tokio::test]
async fn the_finished_record_is_to_be_had_and_is_what_the_headers_say() {
    let upstream = Upstream::start().await;
    upstream.put("/a/seg 0.ts?v=1", Script::body("bytes"));
    upstream.put("/a/seg0.ts", Script::body("bytes").header("etag", "\"x\""));
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let edge = Edge::join(&adapter, Options::new()).await;
    let record = get(&edge.url("/weir/record?key=%2Fa%2Fseg0.ts")).await;
    assert_eq!(record.status, 200, "{}", record.text());
    let record: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
    let reply = get(&edge.url("/a/seg0.ts")).await;
    for (member, header) in [
        ("repr_digest", "repr-digest"),
        ("weir_record", "weir-record"),
        ("signature_input", "signature-input"),
        ("signature", "signature"),
    ] {
        assert_eq!(record[member], reply.header(header), "{header}");
    }
    assert_eq!((&record["length"], &record["key"]), (&5.into(), &"/a/seg0.ts".into()));
    // The signature goes out with part of the bytes and with none, but never with transformed ones.
    let part = request(Method::GET, &edge.url("/a/seg0.ts"), &[("range", "bytes=1-2")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "yt"));
    assert_eq!(part.header("repr-digest"), reply.header("repr-digest"));
    let head = request(Method::HEAD, &edge.url("/a/seg0.ts"), &[]).await;
    assert_eq!(head.header("signature"), reply.header("signature"));
    let same = request(Method::GET, &edge.url("/a/seg0.ts"), &[("if-none-match", "\"x\"")]).await;
    assert_eq!((same.status, same.header("signature")), (304, reply.header("signature")));
    assert_eq!(get(&edge.url("/weir/record?key=%2Fnone.ts")).await.status, 200, "a 404 is signed too");
    assert_eq!(get(&edge.url("/weir/record")).await.status, 400);
}

//! Content steering over whole processes: what players are told while relays come, die and come back.

use serde_json::Value;
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

use super::harness::{
    fetch::{Reply, get},
    process::Options,
    upstream::{Script, Upstream},
    wait::{PATIENCE, until, until_within, within},
    weir::{Adapter, Edge, Weir},
};

const MULTIVARIANT: &str = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",URI=\"audio/en.m3u8\"\n\
                            #EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO=\"a\"\nlow/index.m3u8\n\
                            #EXT-X-STREAM-INF:BANDWIDTH=2000,AUDIO=\"a\"\nhigh/index.m3u8\n";
/// A relay that has died is in no list after this long (docs/steering.md), and what a poll takes.
const REPORT_INTERVAL: Duration = Duration::from_millis(5_500);

/// A port that is free on this address now.
fn free(host: &str) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

/// A port that is free on both addresses: relays that differ by host alone.
fn free_on_both(one: &str, other: &str) -> u16 {
    (0..100).map(|_| free(one)).find(|port| TcpListener::bind((other, *port)).is_ok()).unwrap()
}

async fn edge(label: &str, adapter: &Adapter, host: &str, port: u16) -> Edge {
    let options =
        Options::new().arg("--http", format!("{host}:{port}")).arg("--door", format!("http://{host}:{port}/"));
    Edge::named(label, adapter, options).await
}

fn list(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/vnd.apple.steering-list");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let list: Value = serde_json::from_slice(&reply.body).unwrap();
    let ttl = list["TTL"].as_u64().unwrap();
    assert!(list["VERSION"] == 1 && (10..=30).contains(&ttl), "{list}");
    assert!(list["PATHWAY-PRIORITY"].as_array().unwrap().len() >= 2, "{list}");
    list
}

fn clones(list: &Value) -> Vec<&Value> {
    list["PATHWAY-CLONES"].as_array().map(|all| all.iter().collect()).unwrap_or_default()
}

fn priority(list: &Value) -> Vec<&str> {
    list["PATHWAY-PRIORITY"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

/// The steering server that a playlist names.
fn server(playlist: &str, from: &Url) -> Url {
    let uri = playlist.split("SERVER-URI=\"").nth(1).unwrap().split('"').next().unwrap();
    from.join(uri).unwrap()
}

async fn post(url: &Url, body: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap();
        let (host, length) = (url.host_str().unwrap(), body.len());
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/cmcd\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
            url.path()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
    };
    within(PATIENCE, "a report's answer", exchange).await
}

/// A viewer sees: a playlist with two pathways, lists that name the relays there are, none that has died for longer than a
/// report interval, and a valid list when nobody is left to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_are_steered_to_relays_that_live() {
    let upstream = Upstream::start().await;
    upstream.put("/show/m.m3u8", Script::body(MULTIVARIANT));
    let public = free("127.0.0.1");
    let options = Options::new()
        .arg("--http", format!("127.0.0.1:{public}"))
        .arg("--public-url", format!("http://127.0.0.1:{public}"));
    let mut adapter = Adapter::start(upstream.url("/"), options).await;
    let port = free_on_both("127.0.0.1", "127.0.0.2");
    let a = edge("edge a", &adapter, "127.0.0.1", port).await;
    let mut b = edge("edge b", &adapter, "127.0.0.2", port).await;
    let other_port = free("127.0.0.1");
    let c = edge("edge c", &adapter, "127.0.0.1", other_port).await;
    for edge in [&a, &b, &c] {
        edge.knows(3).await;
    }

    let plain = a.get("/show/m.m3u8").await;
    assert_eq!(plain.text(), MULTIVARIANT);
    assert!(!plain.header("signature").is_empty() && plain.header("weir-transformed").is_empty());
    let steered = a.get("/show/m.m3u8?weir_steer=1").await;
    let text = steered.text();
    assert_eq!((steered.status, steered.header("weir-transformed")), (200, "steering"), "{text}");
    for name in ["signature", "signature-input", "repr-digest", "weir-record", "etag"] {
        assert_eq!(steered.header(name), "", "{name} is over what was signed");
    }
    assert!(text.contains(&format!("http://127.0.0.1:{public}/show/high/index.m3u8")), "{text}");
    let url = server(&text, &a.url("/show/m.m3u8"));
    assert_eq!(url.port(), Some(public), "the adapter answers steering, whatever becomes of relays");

    // All three doors have shown that they are the relays' own: a is the playlist's own pathway, b differs by host, c by
    // port.
    let full = until("three relays in the list", async || {
        let found = list(&get(&url).await);
        (clones(&found).len() == 2).then_some(found)
    })
    .await;
    assert_eq!(priority(&full).last(), Some(&"B"), "the fall-back is last: {full}");
    assert!(priority(&full).contains(&"A"));
    let replacement = |found: &Value, host: bool| {
        let mut all = clones(found).into_iter().map(|clone| clone["URI-REPLACEMENT"].clone());
        all.find(|replacement| replacement["HOST"].is_string() == host).unwrap()
    };
    assert_eq!(replacement(&full, true), serde_json::json!({ "HOST": "127.0.0.2", "PARAMS": {} }));
    let spelt = replacement(&full, false);
    let at_c = format!("http://127.0.0.1:{other_port}/show/");
    let urls = |of: &str| spelt[of].as_object().unwrap().values().map(Value::to_string).collect::<Vec<_>>();
    assert_eq!((urls("PER-VARIANT-URIS").len(), urls("PER-RENDITION-URIS").len()), (2, 1), "{spelt}");
    assert!(urls("PER-VARIANT-URIS").iter().all(|url| url.contains(&at_c)), "{spelt}");
    for id in spelt["PER-VARIANT-URIS"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("STABLE-VARIANT-ID=\"{id}\"")), "{id} is in the playlist");
    }

    // A relay answers for its adapter, and what a player says of itself keeps it where it is.
    let id_of_b = clones(&full)
        .into_iter()
        .find(|clone| clone["URI-REPLACEMENT"]["HOST"] == "127.0.0.2")
        .map(|clone| clone["ID"].as_str().unwrap().to_owned())
        .unwrap();
    let at_relay = |edge: &Edge| edge.url(&format!("{}?{}", url.path(), url.query().unwrap()));
    let staying =
        |edge: &Edge, id: &str| Url::parse(&format!("{}&_HLS_pathway={id}&_HLS_throughput=5", at_relay(edge))).unwrap();
    assert_eq!(priority(&list(&get(&staying(&c, &id_of_b)).await))[0], id_of_b);
    assert_eq!(priority(&list(&get(&staying(&c, "A")).await))[0], "A");

    b.kill9();
    let died = Instant::now();
    until_within(REPORT_INTERVAL, "the dead relay out of the list", async || {
        let found = list(&get(&url).await);
        (!found.to_string().contains("127.0.0.2")).then_some(())
    })
    .await;
    println!("# a dead relay was out of the list after {:?}", died.elapsed());
    b.restart().await;
    let again = until("the relay back", async || {
        let found = list(&get(&url).await);
        found.to_string().contains("127.0.0.2").then_some(found)
    })
    .await;
    assert!(!again.to_string().contains(&id_of_b), "a clone that players have seen is never changed");

    // Reports go through any relay.
    let report = "e=rr,ts=1700000000000,rc=404,sid=\"viewer-1\"\ne=ps,sta=p,ts=1700000000001\n";
    assert_eq!(post(&a.url("/weir/cmcd"), report).await.0, 204);
    let (status, why) = post(&c.url("/weir/cmcd"), "nothing").await;
    assert!(status == 400 && why.contains("key=value"), "{why}");
    let counted = adapter.metrics().await;
    assert_eq!(counted.sum("weir_cmcd_reports_total", &[]), 2.0);
    assert_eq!(counted.sum("weir_cmcd_unread_total", &[]), 1.0);
    assert!(!counted.text().contains("viewer-1") && !adapter.stderr().contains("viewer-1"));

    // Without its adapter a relay gives the last list, and one of its own where it has none.
    let held = list(&get(&at_relay(&a)).await);
    adapter.kill9();
    let stale = list(&get(&at_relay(&a)).await);
    assert_eq!(priority(&stale), priority(&held));
    let own = list(&get(&a.url("/weir/steer?_HLS_pathway=B")).await);
    assert_eq!(priority(&own), ["B", "A"]);
}

/// A relay that names somebody else's address as its door gets nobody sent there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_must_be_the_relays_own() {
    let upstream = Upstream::start().await;
    upstream.put("/m.m3u8", Script::body(MULTIVARIANT));
    let public = free("127.0.0.1");
    let adapter =
        Adapter::start(upstream.url("/"), Options::new().arg("--steer-fallback", format!("http://127.0.0.1:{public}")))
            .await;
    let honest = edge("honest", &adapter, "127.0.0.1", free("127.0.0.1")).await;
    let liar = Edge::named("liar", &adapter, Options::new().arg("--door", honest.url("/"))).await;
    let victim = Edge::named("second liar", &adapter, Options::new().arg("--door", upstream.url("/"))).await;
    adapter.has_relays(3).await;
    let doors = until("all doors reported", async || {
        let doors = adapter.status().await["relay_doors"].clone();
        (doors["reported"] == 3 && doors["proven"] != 0).then_some(doors)
    })
    .await;
    assert_eq!(doors["proven"], 1);
    let url = Url::parse(&format!("{}weir/steer?for=%2Fm.m3u8", adapter.url("/"))).unwrap();
    let found = list(&get(&url).await);
    assert_eq!(clones(&found).len(), 1, "{found}");
    assert!(found.to_string().contains(&honest.address("http")), "{found}");
    drop((liar, victim));
}

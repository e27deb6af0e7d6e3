//! What players say of themselves and what that changes: urgency, what is fetched beforehand, what they are told.

use crate::{
    edge::{Edge, LIMIT, Setup, request, until},
    upstream::Reply,
};
use http::Method;
use weir_edge::routes::RoutesConfig;

const FILM: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\ns0.ts\n#EXTINF:4.0,\ns1.ts\n#EXTINF:3.5,\ns2.ts\n\
                    #EXTINF:4.0,\nhttps://other.example/s3.ts\n#EXTINF:4.0,\ns4.ts\n#EXT-X-ENDLIST\n";

async fn edge(prefetch: usize) -> Edge {
    let routes = RoutesConfig { player_patience: LIMIT, patience: LIMIT, prefetch, ..RoutesConfig::default() };
    let edge = Edge::with(Setup { routes, ..Setup::default() }).await;
    edge.origin.always("/f/v.m3u8", Reply::ok(FILM).with("cache-control", "max-age=600"));
    for n in 0..6 {
        let segment = Reply::ok(format!("segment {n}")).with("cache-control", "max-age=600");
        edge.origin.always(&format!("/f/s{n}.ts"), segment);
    }
    edge
}

fn counts(edge: &Edge) -> Vec<usize> {
    (0..6).map(|n| edge.origin.count(&format!("/f/s{n}.ts"))).collect()
}

#[tokio::test]
async fn what_the_playlist_lists_next_is_there_before_it_is_asked_for() {
    let edge = edge(2).await;
    edge.get("/f/v.m3u8").await.is_status(200);
    edge.get("/f/s0.ts").await.is("fwd=uri-miss", "segment 0");
    until(|| counts(&edge) == [1, 1, 1, 0, 0, 0]).await;
    edge.idle().await;
    edge.get("/f/s1.ts").await.is("hit", "segment 1");
    // The next but one is another origin's.
    edge.get("/f/s2.ts").await.is("hit", "segment 2");
    until(|| counts(&edge) == [1, 1, 1, 0, 1, 0]).await;
    edge.idle().await;
    edge.get("/f/s4.ts").await.is("hit", "segment 4");
    assert_eq!(counts(&edge), [1, 1, 1, 0, 1, 0], "nothing comes after the last");
}

#[tokio::test]
async fn nothing_is_fetched_on_a_players_word_alone() {
    let edge = edge(2).await;
    edge.get("/f/s0.ts?CMCD=nor%3D%22s1.ts%22").await.is_status(200);
    edge.idle().await;
    assert_eq!(counts(&edge), [1, 0, 0, 0, 0, 0], "no playlist is known");
    edge.get("/f/v.m3u8").await.is_status(200);
    // s5 is in no playlist; s4 is, though not next.
    edge.get("/f/s0.ts?CMCD=nor%3D%22s5.ts%22").await.is("hit", "segment 0");
    edge.get("/f/s0.ts?CMCD=nor%3D%28%22s4.ts%22%20%22..%2F..%2Fx%22%29").await.is("hit", "segment 0");
    until(|| counts(&edge) == [1, 1, 1, 0, 1, 0]).await;
    edge.idle().await;
    assert_eq!(counts(&edge), [1, 1, 1, 0, 1, 0]);
}

#[tokio::test]
async fn what_players_add_is_no_part_of_the_resource() {
    let edge = edge(0).await;
    let own = ["?CMCD=bs%2Csid%3D%22a%22", "?weir_cmsd=1&CMCD=su", "?weir_steer=1", "?weir_token=a.b.c", ""];
    for (n, query) in own.iter().enumerate() {
        let got = edge.get(&format!("/f/s0.ts{query}")).await;
        got.is(if n == 0 { "fwd=uri-miss" } else { "hit" }, "segment 0");
        edge.idle().await;
    }
    let fields = [("cmcd-session", "sid=\"b\""), ("cmcd-status", "bs")];
    edge.ask("/f/s0.ts", &fields).await.is("hit", "segment 0");
    assert_eq!(counts(&edge), [1, 0, 0, 0, 0, 0], "nothing is fetched beforehand either");
    let seen = edge.origin.seen("/f/s0.ts");
    assert!(seen.iter().all(|seen| !seen.path.contains("CMCD") && seen.field("cmcd-session").is_none()));
}

#[tokio::test]
async fn responses_say_how_urgent_they_are() {
    let edge = edge(0).await;
    assert_eq!(edge.get("/f/v.m3u8").await.field("priority"), "u=1");
    for (query, priority) in
        [("", "u=4"), ("?CMCD=bs%2Cbr%3D100%2Ctb%3D6000", "u=2"), ("?CMCD=br%3D6000%2Ctb%3D6000%2Cbl%3D60000", "u=6")]
    {
        assert_eq!(edge.get(&format!("/f/s0.ts{query}")).await.field("priority"), priority, "{query}");
    }
    edge.origin.always("/f/own.ts", Reply::ok("x").with("priority", "u=0, i"));
    assert_eq!(edge.get("/f/own.ts").await.field("priority"), "u=0, i", "the origin knows best");
}

#[tokio::test]
async fn players_are_told_of_the_object_and_the_way_when_they_ask() {
    let edge = edge(0).await;
    edge.get("/f/v.m3u8").await.is_status(200);
    let plain = edge.get("/f/s1.ts").await;
    assert_eq!((plain.field("cmsd-static"), plain.field("cmsd-dynamic")), ("", ""));
    let told = edge.get("/f/s1.ts?weir_cmsd=1").await;
    assert_eq!(told.field("cmsd-static"), "sf=h,st=v,d=4000,nor=\"s2.ts\"");
    assert_eq!(told.field("cmsd-dynamic"), "\"edge-1\"");
    let mut over_a_slow_way = request(Method::GET, "/f/s2.ts?weir_cmsd=1", &[]);
    over_a_slow_way.link =
        Some(weir_relay::http::Link { round_trip: std::time::Duration::from_millis(80), kbit_per_second: Some(1999) });
    let told = edge.send(over_a_slow_way).await;
    assert_eq!(
        told.field("cmsd-static"),
        "sf=h,st=v,d=3500,nor=\"s4.ts\"",
        "what another origin has is not ours to name"
    );
    assert_eq!(told.field("cmsd-dynamic"), "\"edge-1\";rtt=80;etp=2000");
    assert_eq!(edge.get("/f/v.m3u8?weir_cmsd=1").await.field("cmsd-static"), "ot=m,sf=h");
}

#[tokio::test]
async fn a_door_without_a_network_gives_a_list_all_the_same() {
    let edge = edge(0).await;
    let got = edge.get("/weir/steer?for=%2Ff%2Fm.m3u8&_HLS_pathway=B").await;
    got.is_status(200);
    assert_eq!(got.text(), r#"{"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["B","A"]}"#);
    assert_eq!(got.field("content-type"), "application/vnd.apple.steering-list");
    assert_eq!(got.field("access-control-allow-origin"), "*");
    edge.get("/weir/door").await.is_status(404);
    edge.get("/weir/cmcd").await.is_status(405);
}

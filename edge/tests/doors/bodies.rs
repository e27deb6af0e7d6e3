//! Bodies in both directions over each HTTP version: whole, empty, cut off, abandoned.

use crate::{
    client::{Client, WAYS, Way},
    site::{Open, PIECE, PROTO, big, material, within},
};
use bytes::Bytes;
use http::{
    Method, StatusCode,
    header::{ALT_SVC, CONTENT_LENGTH, DATE},
};
use weir_edge::doors::Limits;

#[tokio::test]
async fn whole_bodies_arrive_with_the_heads_a_door_owes() {
    let open = Open::new();
    let expected = big();
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        for _ in 0..2 {
            let reply = client.get("/big").await;
            assert_eq!((reply.status, &reply.cut), (StatusCode::OK, &None), "{way:?}");
            assert!(reply.body == expected, "{way:?}");
            assert_eq!(reply.headers[CONTENT_LENGTH], expected.len().to_string(), "{way:?}");
            assert!(reply.headers.contains_key(DATE), "{way:?}");
            let label = match way {
                Way::H1Plain | Way::H1 => "h1",
                Way::H2Plain | Way::H2 => "h2",
                Way::H3 => "h3",
            };
            assert_eq!(reply.headers[PROTO], label);
            let alternative = format!("h3=\":{}\"; ma=86400", open.tls.port());
            let offered = reply.headers.get(ALT_SVC).map(|value| value.to_str().expect("text"));
            assert_eq!(offered, matches!(way, Way::H1 | Way::H2).then_some(&*alternative), "{way:?}");
        }
        assert_eq!(client.get("/late").await.body, b"late");
        assert_eq!(client.get("/streamed").await.body.len(), 2 * PIECE);
        assert_eq!(client.get("/authority").await.body, b"localhost");
        if way == Way::H3 {
            let heard = client.quic().stats().frame_rx;
            assert_eq!((heard.stop_sending, heard.reset_stream), (0, 0), "requests are read to their end");
        }
    }
    open.close().await;
}

#[tokio::test]
async fn both_address_families_are_served() {
    let open = Open::at("[::1]:0", Limits::default());
    for way in WAYS {
        assert_eq!(Client::open(&open, way).await.get("/hello").await.body, b"hello", "{way:?}");
    }
    open.close().await;
}

#[tokio::test]
async fn encrypted_doors_know_the_round_trip() {
    let open = Open::new();
    for way in WAYS {
        let told = String::from_utf8(Client::open(&open, way).await.get("/way").await.body).expect("text");
        match way {
            Way::H1Plain | Way::H2Plain => assert_eq!(told, "not measured"),
            Way::H1 | Way::H2 | Way::H3 => {
                let round_trip = told.parse::<u64>().unwrap_or_else(|_| panic!("{way:?}: {told}"));
                assert!((1..20_000_000).contains(&round_trip), "{way:?}: {round_trip} µs");
            }
        }
    }
    open.close().await;
}

#[tokio::test]
async fn heads_without_bodies() {
    let open = Open::new();
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        for (method, path, status, length) in [
            (Method::HEAD, "/head", StatusCode::OK, Some("77")),
            (Method::HEAD, "/hello", StatusCode::OK, Some("5")),
            (Method::GET, "/empty", StatusCode::OK, Some("0")),
            (Method::GET, "/cached", StatusCode::NOT_MODIFIED, None),
        ] {
            let reply = client.send(method, path, &[], Bytes::new()).await.expect("an answer");
            let told = reply.headers.get(CONTENT_LENGTH).map(|value| value.to_str().expect("text"));
            assert_eq!((reply.status, reply.body.len(), told), (status, 0, length), "{way:?} {path}");
        }
    }
    open.close().await;
}

#[tokio::test]
async fn a_body_that_fails_is_never_ended_cleanly() {
    let open = Open::new();
    for way in WAYS {
        for path in ["/broken", "/short"] {
            let mut client = Client::open(&open, way).await;
            // A reset may overtake the head.
            let cut = match client.send(Method::GET, path, &[], Bytes::new()).await {
                Ok(reply) => reply.cut.unwrap_or_else(|| panic!("{way:?} {path} ended cleanly")),
                Err(error) => error,
            };
            match way {
                Way::H3 => assert!(cut.contains("H3_INTERNAL_ERROR"), "{cut}"),
                Way::H2 | Way::H2Plain => assert!(cut.contains("INTERNAL_ERROR"), "{cut}"),
                Way::H1 | Way::H1Plain => assert!(!cut.is_empty()),
            }
            if !matches!(way, Way::H1 | Way::H1Plain) {
                assert_eq!(client.get("/hello").await.body, b"hello", "the connection lives on");
            }
        }
    }
    open.close().await;
}

#[tokio::test]
async fn request_bodies_arrive_and_are_bounded() {
    let open = Open::new();
    for way in WAYS {
        let sent = Bytes::from(big()).slice(..900_000);
        let reply =
            Client::open(&open, way).await.send(Method::POST, "/echo", &[], sent.clone()).await.expect("an answer");
        assert!(reply.body == sent, "{way:?}");
        let declared = [("content-length", "2000000")];
        let mut client = Client::open(&open, way).await;
        let outcome = client.send(Method::POST, "/echo", &declared, Bytes::from(vec![0; 2_000_000])).await;
        match outcome {
            Ok(reply) => assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{way:?}"),
            // The connection may close under a client that still sends.
            Err(_) => assert!(matches!(way, Way::H1 | Way::H1Plain), "{way:?}"),
        }
        assert_eq!(Client::open(&open, way).await.get("/hello").await.body, b"hello");
    }
    open.close().await;
}

#[tokio::test]
async fn clients_that_leave_cancel_their_answers() {
    let mut open = Open::new();
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        client.abandon("/never", async { assert_eq!(open.event().await, "answer awaited") }).await;
        assert_eq!(open.event().await, "answer dropped", "{way:?}");
        let mut client = Client::open(&open, way).await;
        client.abandon("/gated", async { assert_eq!(open.event().await, "body made") }).await;
        assert_eq!(open.event().await, "body dropped", "{way:?}");
    }
    let client = Client::open(&open, Way::H3).await;
    let quic = client.quic().clone();
    let mut client = client;
    client.abandon("/never", async { assert_eq!(open.event().await, "answer awaited") }).await;
    quic.close(0_u32.into(), b"");
    assert_eq!(open.event().await, "answer dropped");
    drop(client);
    open.close().await;
}

#[tokio::test]
async fn connections_and_requests_are_counted_while_they_last() {
    let mut open = Open::new();
    let mut clients = Vec::new();
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        client.get("/hello").await;
        clients.push(client);
    }
    assert_eq!(open.metrics.open_connections(), 5);
    let mut waiting = Client::open(&open, Way::H3).await;
    waiting.abandon("/never", async { assert_eq!(open.event().await, "answer awaited") }).await;
    assert_eq!(open.event().await, "answer dropped");
    drop((clients, waiting));
    let metrics = open.metrics.clone();
    open.close().await;
    assert_eq!((metrics.open_connections(), metrics.requests_in_flight()), (0, 0));
}

#[tokio::test]
async fn a_swapped_certificate_serves_new_connections() {
    let mut open = Open::new();
    let mut before = Client::open(&open, Way::H2).await;
    let next = material();
    open.holder.swap(&next).expect("a usable certificate");
    assert!(within(Client::try_open(&open, Way::H2)).await.is_err(), "the old certificate is gone");
    assert!(within(Client::try_open(&open, Way::H3)).await.is_err(), "the old certificate is gone");
    open.material = next;
    for way in [Way::H1, Way::H2, Way::H3] {
        assert_eq!(Client::open(&open, way).await.get("/hello").await.body, b"hello");
    }
    assert_eq!(before.get("/hello").await.body, b"hello", "old connections live on");
    open.close().await;
}

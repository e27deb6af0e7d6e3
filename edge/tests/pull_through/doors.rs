//! The same edge through a real door: what arrives on the wire.

use crate::{
    edge::{Edge, Setup, noise, within},
    upstream::{Reply, Step},
};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use weir_edge::doors::{DoorError, Doors, DoorsConfig};

struct Open {
    edge: Edge,
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<Result<(), DoorError>>,
}

impl Open {
    async fn with(setup: Setup) -> Self {
        let edge = Edge::with(setup).await;
        let doors = Doors::bind(DoorsConfig::plain(vec!["127.0.0.1:0".parse().unwrap()])).unwrap();
        let (address, stop) = (doors.local_addrs().plain[0], CancellationToken::new());
        let running = tokio::spawn(doors.run(edge.routes.clone(), stop.clone()));
        Self { edge, address, stop, running }
    }

    /// Head and body of one request on a connection of its own; the body is an error when it was cut off.
    async fn send(&self, method: &str, path: &str) -> (http::response::Parts, Result<Bytes, hyper::Error>) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driving = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "edge.example");
        let response = within(sender.send_request(request.body(Empty::<Bytes>::new()).unwrap())).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = within(body.collect()).await.map(http_body_util::Collected::to_bytes);
        drop(sender);
        let _ = within(driving).await;
        (parts, body)
    }

    async fn close(self) {
        self.stop.cancel();
        within(self.running).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_door_serves_misses_and_hits_with_their_length() {
    let open = Open::with(Setup::default()).await;
    let bytes = noise(200_000);
    open.edge.origin.always("/1.ts", Reply::ok(bytes.clone()));
    for cache in ["fwd=uri-miss", "hit"] {
        let (head, body) = open.send("GET", "/1.ts").await;
        assert_eq!((head.status.as_u16(), head.headers["content-length"].to_str().unwrap()), (200, "200000"));
        assert!(head.headers["cache-status"].to_str().unwrap().contains(cache));
        assert!(body.unwrap() == bytes);
        open.edge.idle().await;
    }
    let (head, body) = open.send("HEAD", "/1.ts").await;
    assert_eq!((head.headers["content-length"].to_str().unwrap(), body.unwrap().len()), ("200000", 0));
    open.close().await;
}

#[tokio::test]
async fn a_door_cuts_a_body_off_that_its_source_does_not_finish() {
    let open = Open::with(Setup::patience(250)).await;
    let origin = open.edge.origin.clone();
    origin.always("/stalls.ts", Reply::steps(2000, vec![Step::Send(noise(1000)), Step::Hang]));
    origin.always("/breaks.ts", Reply::steps(2000, vec![Step::Send(noise(1000))]));
    // Without a length only the missing end tells that something is missing.
    origin.always("/chunks.ts", Reply::chunked(vec![Step::Send(noise(1000)), Step::Hang]));
    for path in ["/stalls.ts", "/breaks.ts", "/chunks.ts"] {
        let (head, body) = open.send("GET", path).await;
        assert_eq!(head.status, 200);
        assert!(body.is_err(), "{path} ended cleanly");
    }
    origin.always("/hangs.ts", Reply::ok("").after(Step::Hang));
    let (head, _) = open.send("GET", "/hangs.ts").await;
    assert_eq!((head.status.as_u16(), head.headers["cache-control"].to_str().unwrap()), (404, "no-store"));
    open.close().await;
}

#[tokio::test]
async fn an_edge_whose_upstream_is_itself_says_so() {
    // The door's port must be known before the edge that stands behind it.
    let doors = Doors::bind(DoorsConfig::plain(vec!["127.0.0.1:0".parse().unwrap()])).unwrap();
    let address = doors.local_addrs().plain[0];
    let edge = Edge::with(Setup { url: Some(format!("http://{address}")), ..Setup::default() }).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(doors.run(edge.routes.clone(), stop.clone()));
    edge.get("/1.ts").await.is_status(508);
    stop.cancel();
    within(running).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_door_refuses_can_be_read_by_a_players_script() {
    let open = Open::with(Setup::default()).await;
    for (method, path, status) in [("GET", format!("/{}", "a".repeat(9000)), 414), ("TRACE", "/".to_owned(), 501)] {
        let (head, _) = open.send(method, &path).await;
        assert_eq!(head.status.as_u16(), status);
        assert_eq!(head.headers["access-control-allow-origin"], "*");
    }
    open.close().await;
}

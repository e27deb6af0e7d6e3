//! What is more urgent overtakes what was asked for before it, on one connection.
//!
//! One thread runs the door and its client, so that a busy machine holds both up together. The later body counts as
//! preferred when much less than its own length of the earlier one arrives beside it; without order it would be as much.

use crate::{
    client::quic_with,
    site::{Open, big, within},
};
use bytes::{Buf, Bytes};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{cell::Cell, future::poll_fn};
use tokio::{net::TcpStream, sync::oneshot};

/// Window of a stream in bytes: much smaller than the bodies.
const WINDOW: u32 = 256 * 1024;

fn request(path: &str) -> Request<()> {
    Request::get(format!("http://localhost{path}")).body(()).expect("a request")
}

/// What has arrived of the patient body, and how much of it came while the urgent one did.
#[derive(Default)]
struct Seen {
    patient: Cell<usize>,
    beside: Cell<usize>,
}

impl Seen {
    fn judge(&self) {
        let (patient, beside, whole) = (self.patient.get(), self.beside.get(), big().len());
        assert_eq!(patient, whole, "the patient body is whole");
        assert!(beside < whole / 2, "{beside} bytes of the patient body came beside {whole} of the urgent one");
    }
}

#[tokio::test]
async fn an_urgent_body_overtakes_on_http_2() {
    let open = Open::new();
    let stream = TcpStream::connect(open.plain).await.expect("a connection");
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let seen = Seen::default();
    let get = async |path: &'static str| {
        let mut sender = sender.clone();
        let asked = sender.send_request(request(path).map(|()| Empty::<Bytes>::new()));
        within(asked).await.expect("an answer").into_body()
    };
    let mut patient = get("/patient").await;
    let (begun, begins) = oneshot::channel();
    let reading = async {
        // A window full of it is here; the rest comes when the urgent one has begun.
        let _ = begins.await;
        while let Some(frame) = patient.frame().await {
            let length = frame.expect("a frame").into_data().map_or(0, |data| data.len());
            seen.patient.set(seen.patient.get() + length);
        }
    };
    let overtaking = async {
        let body = get("/urgent").await;
        let _ = begun.send(());
        assert!(body.collect().await.expect("the body").to_bytes() == big(), "the urgent body is whole");
        seen.beside.set(seen.patient.get());
    };
    within(async { tokio::join!(reading, overtaking) }).await;
    seen.judge();
    drop(sender);
    let _ = within(driving).await;
    open.close().await;
}

#[tokio::test]
async fn an_urgent_body_overtakes_on_http_3() {
    let open = Open::new();
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(WINDOW.into());
    let (endpoint, connection) = within(quic_with(&open, transport)).await.expect("a connection");
    let port = h3_quinn::Connection::new(connection);
    let (mut driver, sender) = within(h3::client::builder().send_grease(false).build(port)).await.expect("HTTP/3");
    let driving = tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
    let seen = Seen::default();
    let get = async |path: &'static str| {
        let mut sender: h3::client::SendRequest<_, Bytes> = sender.clone();
        let mut stream = within(sender.send_request(request(path))).await.expect("a stream");
        stream.finish().await.expect("the request's end");
        within(stream.recv_response()).await.expect("an answer");
        stream
    };
    let mut patient = get("/patient").await;
    let (begun, begins) = oneshot::channel();
    let reading = async {
        let _ = begins.await;
        while let Some(piece) = patient.recv_data().await.expect("a piece") {
            seen.patient.set(seen.patient.get() + piece.remaining());
        }
    };
    let overtaking = async {
        let mut urgent = get("/urgent").await;
        let _ = begun.send(());
        let mut length = 0;
        while let Some(piece) = urgent.recv_data().await.expect("a piece") {
            length += piece.remaining();
        }
        assert_eq!(length, big().len(), "the urgent body is whole");
        seen.beside.set(seen.patient.get());
    };
    within(async { tokio::join!(reading, overtaking) }).await;
    seen.judge();
    drop(sender);
    let _ = within(driving).await;
    endpoint.close(0_u32.into(), b"");
    open.close().await;
}

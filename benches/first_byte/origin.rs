//! The platform's origin: any path is an object that may be kept.

use super::OBJECT;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, net::SocketAddr};
use tokio::{net::TcpListener, task::JoinSet};

/// Listens; serves as long as the set lives.
pub(super) async fn start(tasks: &mut JoinSet<()>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let body = Bytes::from((0..OBJECT).map(|at| (at * 31 + at / 977) as u8).collect::<Vec<_>>());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // Otherwise the kernel holds small writes back until earlier ones are acknowledged.
            let _ = stream.set_nodelay(true);
            let body = body.clone();
            let service = service_fn(move |_: hyper::Request<Incoming>| {
                let response = Response::builder()
                    .header("content-type", "video/mp4")
                    .header("cache-control", "max-age=3600")
                    .body(Full::new(body.clone()));
                async move { Ok::<_, Infallible>(response.expect("the header fields are fit")) }
            });
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

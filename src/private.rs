//! A running adapter over its private address, for the commands that tell it something.

use crate::exit::{Failure, RUNTIME};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpStream;

/// Where an adapter's private address is unless somebody says otherwise.
pub(crate) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7091);
/// Longest answer, in bytes: every takedown that can be in force, with long paths.
const MAX_ANSWER: usize = 4 << 20;

/// One exchange: status and text of the answer.
pub(crate) async fn exchange(
    admin: SocketAddr,
    path: &str,
    method: Method,
    body: Vec<u8>,
) -> Result<(StatusCode, String), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            RUNTIME,
            format!("cannot reach the adapter at {admin}: {error}; is it running, and is --admin right?"),
        )
    };
    let stream = TcpStream::connect(admin).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, admin.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(bytes::Bytes::from(body)))
        .map_err(|error| failed(&error))?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(&error))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    // The connection is driven here, and ends with the answer.
    tokio::select! {
        answer = asking => answer,
        ended = connection => match ended {
            Ok(()) => Err(failed(&"it closed the connection")),
            Err(error) => Err(failed(&error)),
        },
    }
}

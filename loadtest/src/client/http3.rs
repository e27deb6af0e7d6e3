//! Requests on an open HTTP/3 connection, and the QUIC connection below it.
//!
//! Invariant: a stream is read to its FIN unless the exchange fails.

use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use http::Version;
use quinn::{Endpoint, VarInt};
use tokio::time::timeout;

use super::error::{Error, Stage};
use super::exchange::{Exchange, Intake, Prepared};
use super::patience::Patience;

/// Sends requests on an HTTP/3 connection.
pub(super) type SendRequest = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// The QUIC connection below an HTTP/3 connection, and its socket.
#[derive(Debug)]
pub(super) struct Transport {
    connection: quinn::Connection,
    endpoint: Endpoint,
}

impl Transport {
    pub(super) fn new(connection: quinn::Connection, endpoint: Endpoint) -> Self {
        Self { connection, endpoint }
    }

    /// Says good-bye and waits, at most so long, until it is sent.
    pub(super) async fn close(self, wait: Duration) {
        let code = VarInt::from_u64(Code::H3_NO_ERROR.value()).unwrap_or_default();
        self.connection.close(code, b"");
        if timeout(wait, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("a QUIC endpoint outlived its close");
        }
    }
}

/// One GET on its own stream, read to the stream's FIN: a stream dropped before it tells the server that the client
/// went away.
pub(super) async fn get(
    mut sender: SendRequest,
    get: &Prepared,
    sink: &mut (dyn FnMut(Bytes) + Send),
    patience: &mut Patience,
) -> Result<Exchange, Error> {
    let mut intake = Intake::new(get.max_body, sink);
    let head = async {
        let mut stream = sender.send_request(get.request()).await.map_err(|error| not_sent(&error))?;
        stream.finish().await.map_err(|error| Error::broken(&error))?;
        let response = stream.recv_response().await.map_err(|error| Error::broken(&error))?;
        Ok((stream, response))
    };
    let (mut stream, response) = patience.wait(Stage::Head, head).await??;
    intake.head();
    loop {
        let chunk = patience.wait(Stage::Body, stream.recv_data()).await?;
        match chunk.map_err(|error| Error::broken(&error))? {
            Some(mut chunk) => intake.chunk(chunk.copy_to_bytes(chunk.remaining()))?,
            None => break,
        }
    }
    patience.wait(Stage::Body, stream.recv_trailers()).await?.map_err(|error| Error::broken(&error))?;
    let (parts, ()) = response.into_parts();
    intake.end(parts.status, Version::HTTP_3, parts.headers)
}

fn not_sent(error: &StreamError) -> Error {
    match error {
        StreamError::ConnectionError { .. } | StreamError::RemoteClosing { .. } => Error::Closed,
        other => Error::broken(other),
    }
}

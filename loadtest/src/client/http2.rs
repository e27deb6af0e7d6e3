//! Requests on an open HTTP/2 connection (RFC 9113).
//!
//! The `h2` crate is used without hyper, whose tasks and channels between a request and its connection cost more than a
//! short request itself.

use bytes::Bytes;
use h2::Reason;

use super::error::{Error, Stage};
use super::exchange::{Exchange, Intake, Prepared};
use super::patience::Patience;

/// Sends requests on an HTTP/2 connection.
pub(super) type SendRequest = h2::client::SendRequest<Bytes>;

/// One GET on its own stream, read to the stream's end.
pub(super) async fn get(
    sender: SendRequest,
    get: &Prepared,
    sink: &mut (dyn FnMut(Bytes) + Send),
    patience: &mut Patience,
) -> Result<Exchange, Error> {
    let mut sender = patience.wait(Stage::Total, sender.ready()).await?.map_err(|_| Error::Closed)?;
    let mut intake = Intake::new(get.max_body, sink);
    let (response, _) = sender.send_request(get.request(), true).map_err(|error| not_processed(&error))?;
    let response = patience.wait(Stage::Head, response).await?.map_err(|error| not_processed(&error))?;
    let (parts, mut body) = response.into_parts();
    intake.head();
    while let Some(chunk) = patience.wait(Stage::Body, body.data()).await? {
        let chunk = chunk.map_err(|error| Error::broken(&error))?;
        body.flow_control().release_capacity(chunk.len()).map_err(|error| Error::broken(&error))?;
        intake.chunk(chunk)?;
    }
    patience.wait(Stage::Body, body.trailers()).await?.map_err(|error| Error::broken(&error))?;
    intake.end(parts.status, parts.version, parts.headers)
}

/// A server that is going away has not looked at streams beyond the last one that it names (RFC 9113 section 6.8).
fn not_processed(error: &h2::Error) -> Error {
    let unseen = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
    if unseen { Error::Closed } else { Error::broken(error) }
}

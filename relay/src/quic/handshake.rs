//! The one way from a started handshake to an authenticated connection, and from its failure to a reason.
//!
//! Invariant: what comes out as [`Established`] has proved its PeerId, and it is the expected one where one was expected.

use std::time::Duration;

use libp2p::PeerId;
use quinn::{ConnectionError, TransportErrorCode};

use super::error::DialError;
use super::tls;

/// TLS alert `access_denied` (RFC 8446 section 6.2): what our verifier raises for a valid certificate of another peer.
const ALERT_ACCESS_DENIED: u8 = 49;
/// TLS alert `no_application_protocol` (RFC 7301 section 3.2).
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// A connection whose other end is known.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) connection: quinn::Connection,
    pub(super) peer: PeerId,
}

/// Finishes a handshake within `limit`.
pub(super) async fn establish(
    connecting: quinn::Connecting,
    limit: Duration,
    expected: Option<PeerId>,
) -> Result<Established, DialError> {
    let connection = tokio::time::timeout(limit, connecting)
        .await
        .map_err(|_| DialError::TimedOut)?
        .map_err(|error| reason(error, expected))?;
    let peer = tls::peer_of(&connection)?;
    match expected {
        Some(expected) if expected != peer => Err(DialError::WrongPeer { expected }),
        _ => Ok(Established { connection, peer }),
    }
}

pub(super) fn reason(error: ConnectionError, expected: Option<PeerId>) -> DialError {
    match (&error, expected) {
        (ConnectionError::TransportError(local), Some(expected))
            if local.code == TransportErrorCode::crypto(ALERT_ACCESS_DENIED) =>
        {
            DialError::WrongPeer { expected }
        }
        (ConnectionError::ConnectionClosed(remote), _)
            if remote.error_code == TransportErrorCode::crypto(ALERT_NO_APPLICATION_PROTOCOL) =>
        {
            DialError::Protocol
        }
        (ConnectionError::TimedOut, _) => DialError::TimedOut,
        (ConnectionError::LocallyClosed, _) => DialError::ShutDown,
        _ => DialError::Handshake(error),
    }
}

//! What a command to the control swarm can fail with.

use std::io;

use libp2p::TransportError;
use libp2p::swarm::DialError;
use thiserror::Error;

/// Why a command was not carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The swarm has been shut down.
    #[error("the control swarm has been shut down")]
    ShutDown,
    /// As many dials are under way as the configuration allows.
    #[error("too many dials at once")]
    TooManyDials,
    /// The peer could not be reached, is not who it should be, or a connection limit was met.
    #[error("cannot dial")]
    Dial(#[source] Box<DialError>),
    /// The address cannot be listened on.
    #[error("cannot listen")]
    Listen(#[source] TransportError<io::Error>),
    /// No hole was punched: no circuit to the peer, or its NAT and ours do not allow it.
    #[error("no way through to the peer: {0}")]
    Punch(String),
    /// As many of its kind are under way as there may be.
    #[error("too many {0} at once")]
    TooMany(&'static str),
    /// The announcement was not sent.
    #[error("cannot announce: {0}")]
    Announce(String),
    /// The listener closed before it had an address.
    #[error("the listener closed before it had an address")]
    ListenerClosed,
}

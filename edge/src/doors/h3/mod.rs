//! The HTTP/3 door (RFC 9114) on quinn and the `h3` crate's framing. Invariant: a stream that did not end with the whole
//! body is reset, and an answer nobody waits for any more is dropped.

mod code;
mod connection;
mod endpoint;
mod handle;
mod port;
mod request;

pub(super) use endpoint::H3Door;

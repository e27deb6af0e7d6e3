//! The request, response and handler types that doors and routes share, so that a door can be exchanged without
//! touching a route, and a route never learns which transport carried it.

mod body;
mod handler;
mod message;

pub use body::{Body, BodyError, BodySource};
pub use handler::{Answer, Handler};
pub use message::{InterimSender, Link, Protocol, Request, Response};

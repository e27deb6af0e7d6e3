//! Where bytes come from. A [`Source`] yields only verified pieces; a [`RawSource`] yields plain bytes and must be
//! wrapped: in [`Trusted`] by a plain pull-through cache, in the origin-adapter's `Signed` by a publisher.

mod asked;
mod bodies;
mod error;
mod fields;
mod receive;
mod request;
mod trusted;
mod upstream;

pub use asked::{Asked, Hold, Interim, InterimListener};
pub use error::SourceError;
pub use receive::{Received, ReceivedBody, Receiver, ResponseParts};
pub use request::{
    Event, FillRequest, Incoming, Opened, RawBody, RawRequest, RawResponse, RawSource, RelaySource, Resume, Source,
};
pub use trusted::Trusted;
pub use upstream::{Upstream, UpstreamConfig, UpstreamError};

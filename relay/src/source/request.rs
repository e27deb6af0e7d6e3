//! The interfaces of sources: what the fetcher asks for and what it gets.

use super::SourceError;
use crate::object::{Entry, Head, Tree, VerifiedChunk};
use bao_tree::TreeNode;
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use weir_protocol::{freshness::Validators, ids::Generation, record::SignedRecord, resource::ResourceKey};

/// Continues a broken transfer at the byte where it stopped, if the source has exactly this body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Which body.
    pub generation: Generation,
    /// The first byte that is missing.
    pub offset: u64,
}

/// One request to a source.
#[derive(Clone)]
pub struct FillRequest {
    /// The resource.
    pub key: ResourceKey,
    /// What this node holds, stale, to be revalidated.
    pub have: Option<Arc<Entry>>,
    /// Where to continue.
    pub resume: Option<Resume>,
    /// Relays this request has passed so far, against circles.
    pub hops: u8,
}

/// A source's answer.
pub enum Opened {
    /// What the node holds is still right; the head is newer. The body stays.
    NotModified {
        /// The newer head.
        head: Box<Head>,
        /// Its age in milliseconds on arrival.
        age_ms: u64,
    },
    /// A response.
    Response(Box<Incoming>),
}

/// A response on its way in.
pub struct Incoming {
    /// What it is.
    pub head: Head,
    /// Its age in milliseconds on arrival.
    pub age_ms: u64,
    /// Length and root of the body, and as many inner nodes as are known, when the whole body is already signed.
    pub tree: Option<Tree>,
    /// The pieces, in order. The stream ends after the last one.
    pub events: BoxStream<'static, Result<Event, SourceError>>,
}

/// One verified piece of a response.
pub enum Event {
    /// Body bytes.
    Data(VerifiedChunk),
    /// An inner node of the body's tree.
    Parent(TreeNode, [u8; 64]),
    /// The body is whole: its tree, and inside a publisher's network the finished record.
    Finished {
        /// The tree over all bytes, when the source saw them all.
        tree: Option<Tree>,
        /// The publisher's signature over the whole response.
        record: Option<Arc<SignedRecord>>,
    },
}

/// Yields verified responses.
pub trait Source: Send + Sync + 'static {
    /// Asks for a response. The future resolves when the head is there; dropping it, or the stream, cancels.
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>>;
}

/// A plain request to a platform's origin.
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// Canonical path and retained query.
    pub path_and_query: String,
    /// Makes the request conditional.
    pub validators: Option<Validators>,
}

/// Body bytes as the origin sends them.
pub type RawBody = BoxStream<'static, Result<Bytes, SourceError>>;

/// A plain response.
pub struct RawResponse {
    /// Status.
    pub status: StatusCode,
    /// All header fields.
    pub headers: HeaderMap,
    /// Length of the body in bytes, when announced.
    pub length: Option<u64>,
    /// The body.
    pub body: RawBody,
}

/// Yields plain, unverified responses: an HTTP origin, a folder.
pub trait RawSource: Send + Sync + 'static {
    /// Sends one GET. Redirects have been followed; a status of 500 and above is an ordinary response.
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>>;
}

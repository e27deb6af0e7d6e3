//! The interfaces of sources: what the fetcher asks for and what it gets.

use super::{Asked, SourceError};
use crate::object::{Entry, Head, Tree, VerifiedChunk};
use bao_tree::TreeNode;
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, StatusCode};
use std::{sync::Arc, time::Duration};
use weir_protocol::{
    freshness::Validators,
    ids::{Generation, RelayId},
    record::SignedRecord,
    resource::ResourceKey,
    wire::Class,
};

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
    /// The fill's stage ([`mesh`](crate::mesh)), against circles: requests to nodes carry one more.
    pub hops: u8,
    /// How urgent the answer is.
    pub class: Class,
    /// What the first requester asked, for the origin.
    pub asked: Arc<Asked>,
    /// The first bytes of the body, when they are held: only the rest needs to be asked for.
    pub beginning: Option<Arc<Entry>>,
    /// The relay for which the fill began, if it was one.
    pub behind: Option<RelayId>,
    /// It has been asked in vain who has it: the adapter is to send it.
    pub insists: bool,
}

impl FillRequest {
    /// True when its adapter may name others instead of answering. What is held may only have to be confirmed; what is
    /// waited for at the live edge, or told to the adapter alone, comes from there.
    pub fn may_be_sent_on(&self) -> bool {
        let asked = &self.asked;
        let alone = asked.is_passed() || asked.is_personal() || asked.awaits().is_some();
        !(self.insists || alone || self.have.is_some() || self.class == Class::LivePart)
    }
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

    /// The relay that this source is; `None` when it cannot be asked beside another one.
    fn as_relay(&self) -> Option<&dyn RelaySource> {
        None
    }

    /// True when it waits for no relay: an adapter or an origin.
    fn is_root(&self) -> bool {
        self.as_relay().is_none()
    }
}

/// A source that is another relay: when it is late, a second one may be asked beside it.
pub trait RelaySource: Send + Sync {
    /// Which relay.
    fn relay(&self) -> RelayId;
    /// It is asked for what it holds, and asks nobody itself.
    fn only_holds(&self) -> bool;
    /// How long its head may take before it is late.
    fn hedge_after(&self) -> Duration;
    /// True when another one may be asked beside it now; it is counted against the budget.
    fn take_hedge(&self) -> bool;
    /// Another one was asked later and answered first, so long after this one was asked.
    fn outrun(&self, took: Duration);
}

/// A plain request to a platform's origin.
#[derive(Clone, Default)]
pub struct RawRequest {
    /// Canonical path and retained query.
    pub path_and_query: String,
    /// Makes the request conditional.
    pub validators: Option<Validators>,
    /// Asks for a part: a `Range` field's value, and the validator that it holds for.
    pub range: Option<(String, Option<String>)>,
    /// Method, fields and body.
    pub asked: Arc<Asked>,
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
    /// Sends one request. A GET's redirects have been followed; a status of 500 and above is an ordinary response.
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>>;
}

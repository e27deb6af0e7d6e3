//! The first frame of a request's stream.
//!
//! Invariant: a request is at most [`MAX_REQUEST`] bytes and says by its version how it is to be read.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::cbor;
use crate::ids::{Generation, PublisherId, RelayId};
use crate::record::{MAX_HEADER_BYTES, MAX_HEADER_FIELDS};
use crate::resource::{MAX_PATH_AND_QUERY, ResourceError, ResourceKey, VariantKey};
use crate::wire::class::Class;
use crate::wire::push::{MAX_RUNNING, PlaceRequest, PushRequest, SubscribeRequest};
use crate::wire::{VERSION, WireError, bounded, framed};

/// Longest request, in bytes, without its length prefix.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Most relays a request may pass; one more is a loop.
pub const MAX_HOPS: u8 = 8;

/// Longest body of a passed request, in bytes.
pub const MAX_PASS_BODY: u64 = 1024 * 1024;

const MAX_METHOD: usize = 16;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RequestKind {
    /// A resource that may be kept.
    #[n(0)]
    Get,
    /// Relayed to the adapter and never stored: POST, private, `Authorization`.
    #[n(1)]
    Pass,
    /// A resource that may be kept, but only if the peer holds it already: it must not ask anybody. So relays can
    /// ask one another without ever waiting in a circle.
    #[n(2)]
    Held,
    /// A place in the tree of a live rendition, from the adapter ([`PlaceRequest`]).
    #[n(3)]
    Place,
    /// Everything of a live rendition as it appears, from a parent in its tree ([`SubscribeRequest`]).
    #[n(4)]
    Subscribe,
    /// Not a question: the sender pushes an object that the receiver has subscribed to ([`PushRequest`]).
    #[n(5)]
    Push,
}

/// What a pass request carries beside its target.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PassRequest {
    /// HTTP method, at most 16 bytes.
    #[n(0)]
    pub method: String,
    /// End-to-end request headers: at most 64, 16 KiB together.
    #[n(1)]
    pub headers: Vec<(String, String)>,
    /// Bytes of body that follow this frame, unframed.
    #[n(2)]
    pub body_length: u64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// What is asked.
    #[n(1)]
    pub kind: RequestKind,
    /// Whose resource.
    #[n(2)]
    pub publisher: PublisherId,
    /// Origin-form target; the receiver normalises it ([`Request::resource_key`]).
    #[n(3)]
    pub path_and_query: String,
    /// Which representation.
    #[n(4)]
    pub variant: Option<VariantKey>,
    /// First byte wanted. Verified transfers start at the group that holds it.
    #[n(5)]
    pub offset: u64,
    /// Only this body will do: a transfer goes on where another source stopped. Otherwise `GenerationGone`.
    #[n(6)]
    pub generation: Option<Generation>,
    /// The asker holds this body: if it is still the current one, `NotModified` with a newer record suffices.
    #[n(7)]
    pub have: Option<Generation>,
    /// Relays the request has passed; each adds one. More than [`MAX_HOPS`] is a loop.
    #[n(8)]
    pub hops: u8,
    /// The answer must stay fresh for at least this long, in milliseconds (RFC 9111 section 5.2.1.3).
    #[n(9)]
    pub min_fresh_ms: Option<u64>,
    /// With [`RequestKind::Pass`], and only then.
    #[n(10)]
    pub pass: Option<PassRequest>,
    /// How urgent the answer is to the asker; absent means [`Class::Vod`]. The answerer may hold it lower.
    #[n(11)]
    pub class: Option<Class>,
    /// End-to-end request fields for the origin, by which its response may vary ([`Vary`](crate::vary::Vary)): at most
    /// 64, 16 KiB together. Not with [`RequestKind::Pass`], which carries its own.
    #[n(12)]
    pub fields: Option<Vec<(String, String)>>,
    /// With [`RequestKind::Place`], and only then.
    #[n(16)]
    pub place: Option<PlaceRequest>,
    /// With [`RequestKind::Subscribe`], and only then.
    #[n(17)]
    pub subscribe: Option<SubscribeRequest>,
    /// With [`RequestKind::Push`], and only then.
    #[n(18)]
    pub push: Option<PushRequest>,
    /// The resource is a live playlist, and the answer is held until it lists this. A peer that does not know the field
    /// answers at once, and the asker asks again.
    #[n(19)]
    pub awaits: Option<Awaits>,
    /// The asker, a relay at its adapter, will ask others if they are named ([`ReplyFrame::Elsewhere`]). Absent: it wants
    /// the resource itself.
    ///
    /// [`ReplyFrame::Elsewhere`]: super::ReplyFrame::Elsewhere
    #[n(20)]
    pub follows: Option<Follows>,
}

/// The asker goes where it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Follows {
    /// The relay for which it asks, which will have the resource as well.
    #[n(0)]
    pub behind: Option<RelayId>,
}

/// What a live playlist must list before it is an answer (draft-pantos-hls-rfc8216bis section 6.2.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Awaits {
    /// The segment with this media sequence number.
    #[n(0)]
    pub sequence: u64,
    /// Of it, this part.
    #[n(1)]
    pub part: Option<u64>,
}

impl Request {
    /// A request for the whole current body of a resource.
    #[must_use]
    pub fn get(key: &ResourceKey) -> Self {
        Self {
            version: VERSION,
            kind: RequestKind::Get,
            publisher: key.publisher,
            path_and_query: key.path_and_query(),
            variant: key.variant.clone(),
            offset: 0,
            generation: None,
            have: None,
            hops: 0,
            min_fresh_ms: None,
            pass: None,
            place: None,
            subscribe: None,
            push: None,
            class: None,
            fields: None,
            awaits: None,
            follows: None,
        }
    }

    /// A request for a place in the tree of the rendition with this playlist.
    #[must_use]
    pub fn place(playlist: &ResourceKey, place: PlaceRequest) -> Self {
        Self { kind: RequestKind::Place, place: Some(place), ..Self::get(playlist) }
    }

    /// A subscription to the rendition with this playlist.
    #[must_use]
    pub fn subscribe(playlist: &ResourceKey, subscribe: SubscribeRequest) -> Self {
        Self { kind: RequestKind::Subscribe, subscribe: Some(subscribe), ..Self::get(playlist) }
    }

    /// The announcement of an object that follows from `offset` on.
    #[must_use]
    pub fn push(object: &ResourceKey, generation: Generation, offset: u64, push: PushRequest) -> Self {
        Self { kind: RequestKind::Push, offset, generation: Some(generation), push: Some(push), ..Self::get(object) }
    }

    /// The resource that is meant.
    ///
    /// # Errors
    /// [`ResourceError`] if the target names none.
    pub fn resource_key(&self) -> Result<ResourceKey, ResourceError> {
        Ok(ResourceKey::parse(self.publisher, &self.path_and_query)?.with_variant(self.variant.clone()))
    }

    /// The request with its length prefix.
    ///
    /// # Errors
    /// [`WireError::OutOfBounds`] or [`WireError::BadLength`] if a bound is exceeded.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        self.check()?;
        framed(&cbor::to_vec(self), MAX_REQUEST)
    }

    /// Reads a request without its length prefix. The version is left to the caller, who can still refuse politely.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        cbor::check_length(frame, MAX_REQUEST)?;
        let request: Self = cbor::decode_exact(frame)?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), WireError> {
        bounded(&self.path_and_query, MAX_PATH_AND_QUERY, "path_and_query")?;
        let parts = [
            (RequestKind::Pass, self.pass.is_some(), "pass"),
            (RequestKind::Place, self.place.is_some(), "place"),
            (RequestKind::Subscribe, self.subscribe.is_some(), "subscribe"),
            (RequestKind::Push, self.push.is_some() && self.generation.is_some(), "push"),
        ];
        if let Some((.., part)) = parts.iter().find(|(kind, there, _)| *there != (*kind == self.kind)) {
            return Err(WireError::OutOfBounds(part));
        }
        check_fields(self.fields.as_deref().unwrap_or_default(), "fields")?;
        if self.pass.is_some() && self.fields.is_some() {
            return Err(WireError::OutOfBounds("fields"));
        }
        if self.subscribe.as_ref().is_some_and(|subscribe| subscribe.running.len() > MAX_RUNNING) {
            return Err(WireError::OutOfBounds("running"));
        }
        self.pass.as_ref().map_or(Ok(()), PassRequest::check)
    }
}

impl PassRequest {
    fn check(&self) -> Result<(), WireError> {
        bounded(&self.method, MAX_METHOD, "method")?;
        if self.body_length > MAX_PASS_BODY {
            return Err(WireError::OutOfBounds("body_length"));
        }
        check_fields(&self.headers, "headers")
    }
}

fn check_fields(fields: &[(String, String)], name: &'static str) -> Result<(), WireError> {
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.len() > MAX_HEADER_FIELDS || bytes > MAX_HEADER_BYTES {
        Err(WireError::OutOfBounds(name))
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{PassRequest, Request, RequestKind};
    use crate::ids::{Generation, PublisherId};
    use crate::resource::{ResourceKey, VariantKey};
    use crate::wire::{Class, WireError};

    #[test]
    fn requests_round_trip() {
        let key = ResourceKey::parse(PublisherId([1; 32]), "/a?b").unwrap();
        let key = key.with_variant(Some(VariantKey::new("br").unwrap()));
        let mut request = Request::get(&key);
        request.offset = 1 << 40;
        request.generation = Some(Generation(7));
        request.class = Some(Class::Background);
        request.awaits = Some(super::Awaits { sequence: 1 << 40, part: Some(3) });
        request.follows = Some(super::Follows::default());
        assert_eq!(Request::decode(&request.encode().unwrap()[4..]).unwrap(), request);
        assert_eq!(request.resource_key().unwrap(), key);
        request.kind = RequestKind::Pass;
        assert_eq!(request.encode(), Err(WireError::OutOfBounds("pass")));
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        request.pass = Some(PassRequest { method: "POST".into(), headers, body_length: 3 });
        assert_eq!(Request::decode(&request.encode().unwrap()[4..]).unwrap(), request);
    }
}

//! The wrapper that makes a platform's plain responses storable by strangers: while a body grows, a signed head and
//! signed chunks; when it is whole, the record. Invariant: nothing leaves here unsigned, and a generation is never
//! given to two bodies.

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use sha2::{Digest, Sha256};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::time::{Instant, timeout_at};
use weir_protocol::{
    freshness::Freshness,
    growing::{
        CHUNK_CLOSES_AFTER, FIRST_CHUNK, HeadBody, InterimBody, MAX_CHUNK, SignedChunk, SignedHead, SignedInterim,
    },
    ids::{Generation, ResourceHash},
    record::{HeaderBlock, RecordBody, SignedRecord},
    resource::ResourceKey,
};
use weir_relay::{
    clock::Clock,
    freshness::Rules,
    object::{Head, Tree, TreeBuilder, VerifiedChunk, next_generation, verified_leaves},
    source::{
        Event, FillRequest, Incoming, Interim, InterimListener, Opened, RawBody, RawSource, Received, ReceivedBody,
        Receiver, ResponseParts, Source, SourceError,
    },
};

use crate::keys::Signer;

/// A raw source under the publisher's signature.
pub struct Signed<S> {
    receiver: Receiver<S>,
    signer: Arc<Signer>,
    /// The newest generation given, so that two bodies of one millisecond get two.
    newest: AtomicU64,
}

impl<S: RawSource> Signed<S> {
    /// Signs what `source` answers; bodies longer than `max_object_bytes` are passed through and never kept.
    pub fn new(source: S, signer: Arc<Signer>, clock: Clock, max_object_bytes: u64) -> Self {
        Self { receiver: Receiver::new(source, clock, max_object_bytes), signer, newest: AtomicU64::new(0) }
    }

    async fn ask(&self, request: &FillRequest) -> Result<Opened, SourceError> {
        if request.resume.is_some() {
            // The origin may answer with another body now; only a new generation is safe.
            return Err(SourceError::GenerationGone);
        }
        let signing = request.asked.interim.clone().map(|listener| self.signing(request, listener));
        let request = &signing.unwrap_or_else(|| request.clone());
        match self.receiver.receive(request).await? {
            Received::NotModified(parts) => self.renew(request, parts),
            Received::Response(parts, ReceivedBody::Whole(text)) => self.whole(parts, &text, self.generation(request)),
            Received::Response(parts, ReceivedBody::Stream(body)) => {
                self.growing(parts, body, self.generation(request))
            }
        }
    }

    /// The request with a listener that hears what the origin says beforehand under the publisher's signature.
    fn signing(&self, request: &FillRequest, listener: InterimListener) -> FillRequest {
        let resource = request.key.clone().with_variant(None).hash();
        let (signer, clock) = (self.signer.clone(), self.receiver.clock().clone());
        let heard = move |said: Interim| {
            let fields = said.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
            let Ok(headers) = HeaderBlock::new(fields) else { return };
            let body = InterimBody { resource, status: said.status.as_u16(), at: clock.now(), headers };
            match SignedInterim::sign(body, signer.key()) {
                Ok(signed) => listener(Interim { signed: Some(signed.to_wire()), ..said }),
                Err(error) => tracing::debug!(%error, "an interim response is not passed on"),
            }
        };
        FillRequest { asked: Arc::new(request.asked.told_to(Arc::new(heard))), ..request.clone() }
    }

    /// Judges by these rules.
    #[must_use]
    pub fn judging_by(mut self, rules: Rules) -> Self {
        self.receiver = self.receiver.judging_by(rules);
        self
    }

    /// A name for a new body: later than the one that is held, and given only once.
    fn generation(&self, request: &FillRequest) -> Generation {
        let held = request.have.as_ref().map(|have| have.head.generation);
        let least = next_generation(held, self.receiver.clock().now()).0;
        let later = |newest: u64| least.max(newest.saturating_add(1));
        let before = self.newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| Some(later(newest)));
        Generation(before.map_or(least, later))
    }

    /// A newer record of the body that is held.
    fn renew(&self, request: &FillRequest, parts: ResponseParts) -> Result<Opened, SourceError> {
        let held = request.have.as_ref().and_then(|have| have.record());
        let Some(held) = held else {
            return Err(SourceError::BadResponse("not modified, but nothing finished is held".into()));
        };
        let block = header_block(&parts)?;
        let body = RecordBody {
            freshness: parts.freshness,
            validators: parts.validators.clone(),
            content_type: text(&parts, http::header::CONTENT_TYPE),
            content_encoding: text(&parts, http::header::CONTENT_ENCODING),
            ..held.body().clone()
        };
        let record = self.sign(body, block)?;
        Ok(Opened::NotModified { head: Box::new(Head::of_record(Arc::new(record))), age_ms: parts.age_ms })
    }

    fn whole(&self, parts: ResponseParts, bytes: &Bytes, generation: Generation) -> Result<Opened, SourceError> {
        let mut builder = TreeBuilder::default();
        builder.update(bytes);
        let tree = builder.finish();
        let sha256 = Sha256::digest(bytes).into();
        let about = About::new(&parts, generation)?;
        let record = self.sign(about.record(&tree, sha256), about.block.clone())?;
        let leaves = verified_leaves(&tree, bytes).map_err(|error| SourceError::Corrupt(error.to_string()))?;
        Ok(Opened::Response(Box::new(Incoming {
            head: Head::of_record(Arc::new(record)),
            age_ms: parts.age_ms,
            tree: Some(tree),
            events: stream::iter(leaves.into_iter().map(|leaf| Ok(Event::Data(leaf)))).boxed(),
        })))
    }

    fn growing(&self, parts: ResponseParts, body: RawBody, generation: Generation) -> Result<Opened, SourceError> {
        let about = About::new(&parts, generation)?;
        let head = SignedHead::sign(about.head(), about.block.clone(), self.signer.key())
            .map_err(|error| SourceError::BadResponse(format!("the origin's response cannot be signed: {error}")))?;
        let state = Growth {
            body,
            signer: self.signer.clone(),
            clock: self.receiver.clock().clone(),
            resource: about.key.hash(),
            about,
            pending: BytesMut::new(),
            closes: None,
            offset: 0,
            builder: TreeBuilder::default(),
            sha256: Sha256::new(),
            ended: false,
            finished: false,
        };
        Ok(Opened::Response(Box::new(Incoming {
            head: Head::of_signed(Arc::new(head)),
            age_ms: parts.age_ms,
            tree: None,
            events: stream::try_unfold(state, Growth::step).boxed(),
        })))
    }

    fn sign(&self, body: RecordBody, block: HeaderBlock) -> Result<SignedRecord, SourceError> {
        SignedRecord::sign(body, block, self.signer.key(), self.receiver.clock().now())
            .map_err(|error| SourceError::BadResponse(format!("the origin's response cannot be signed: {error}")))
    }
}

impl<S: RawSource> Source for Signed<S> {
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>> {
        self.ask(request).boxed()
    }
}

fn header_block(parts: &ResponseParts) -> Result<HeaderBlock, SourceError> {
    // What is signed is for everybody.
    let shared = |name: &http::HeaderName| !parts.withheld.contains(name);
    let fields = parts.headers.iter().filter(|(name, _)| shared(name));
    let fields = fields.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    HeaderBlock::new(fields).map_err(|error| SourceError::BadResponse(format!("the origin's headers: {error}")))
}

fn text(parts: &ResponseParts, name: http::HeaderName) -> Option<String> {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// What head and record say alike.
#[derive(Clone)]
struct About {
    key: ResourceKey,
    status: u16,
    content_type: Option<String>,
    content_encoding: Option<String>,
    length: Option<u64>,
    freshness: Freshness,
    validators: weir_protocol::freshness::Validators,
    generation: Generation,
    block: HeaderBlock,
}

/// Filled in by signing.
const BY_SIGNING: [u8; 32] = [0; 32];

impl About {
    fn new(parts: &ResponseParts, generation: Generation) -> Result<Self, SourceError> {
        Ok(Self {
            key: parts.key.clone(),
            status: parts.status.as_u16(),
            content_type: text(parts, http::header::CONTENT_TYPE),
            content_encoding: text(parts, http::header::CONTENT_ENCODING),
            length: parts.length,
            freshness: parts.freshness,
            validators: parts.validators.clone(),
            generation,
            block: header_block(parts)?,
        })
    }

    fn head(&self) -> HeadBody {
        HeadBody {
            key: self.key.clone(),
            status: self.status,
            content_type: self.content_type.clone(),
            content_encoding: self.content_encoding.clone(),
            length: self.length,
            freshness: self.freshness,
            validators: self.validators.clone(),
            generation: self.generation,
            headers_sha256: BY_SIGNING,
        }
    }

    fn record(&self, tree: &Tree, sha256: [u8; 32]) -> RecordBody {
        RecordBody {
            key: self.key.clone(),
            status: self.status,
            content_type: self.content_type.clone(),
            content_encoding: self.content_encoding.clone(),
            length: tree.length,
            sha256,
            root: *tree.root.as_bytes(),
            freshness: self.freshness,
            validators: self.validators.clone(),
            generation: self.generation,
            headers_sha256: BY_SIGNING,
        }
    }
}

/// Most bytes of a body's first chunk. A relay passes on nothing of a chunk before it has all of it: this one fits, with
/// the head, into the few packets that every congestion window and pacer lets go at once.
const OPENING: usize = 2 * 1024;

/// A body that grows chunk by signed chunk. A chunk closes when it is as long as all before it (at least
/// [`FIRST_CHUNK`], at most [`MAX_CHUNK`] bytes), at the body's end, or [`CHUNK_CLOSES_AFTER`] its first byte. The first
/// one is [`OPENING`] bytes at most and waits for nothing.
struct Growth {
    body: RawBody,
    signer: Arc<Signer>,
    clock: Clock,
    resource: ResourceHash,
    about: About,
    pending: BytesMut,
    closes: Option<Instant>,
    offset: u64,
    builder: TreeBuilder,
    sha256: Sha256,
    ended: bool,
    finished: bool,
}

impl Growth {
    async fn step(mut self) -> Result<Option<(Event, Self)>, SourceError> {
        if self.finished {
            return Ok(None);
        }
        let event = match self.payload().await? {
            Some(payload) => self.chunk(payload)?,
            None => self.finish()?,
        };
        Ok(Some((event, self)))
    }

    /// The bytes of the next chunk, `None` behind the last one.
    async fn payload(&mut self) -> Result<Option<Bytes>, SourceError> {
        let opening = self.offset == 0;
        let so_far = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let most = if opening { OPENING } else { so_far.clamp(FIRST_CHUNK, MAX_CHUNK) };
        while self.pending.len() < most && (!opening || self.pending.is_empty()) && !self.ended {
            let next = match self.closes {
                None => self.body.next().await,
                Some(closes) => match timeout_at(closes, self.body.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            match next.transpose()? {
                Some(bytes) => {
                    self.closes.get_or_insert_with(|| Instant::now() + CHUNK_CLOSES_AFTER);
                    self.pending.extend_from_slice(&bytes);
                }
                None => self.ended = true,
            }
        }
        let take = self.pending.len().min(most);
        let payload = self.pending.split_to(take).freeze();
        if self.pending.is_empty() {
            self.closes = None;
        }
        Ok((!payload.is_empty()).then_some(payload))
    }

    fn chunk(&mut self, payload: Bytes) -> Result<Event, SourceError> {
        self.builder.update(&payload);
        self.sha256.update(&payload);
        let signed = SignedChunk::sign(self.resource, self.about.generation, self.offset, &payload, self.signer.key())
            .map_err(|error| SourceError::Corrupt(error.to_string()))?;
        self.offset += payload.len() as u64;
        VerifiedChunk::signed(&signed, payload)
            .map(Event::Data)
            .ok_or_else(|| SourceError::Corrupt("a chunk of another length than signed".into()))
    }

    fn finish(&mut self) -> Result<Event, SourceError> {
        self.finished = true;
        let tree = std::mem::take(&mut self.builder).finish();
        let sha256 = std::mem::take(&mut self.sha256).finalize().into();
        let body = self.about.record(&tree, sha256);
        let record = SignedRecord::sign(body, self.about.block.clone(), self.signer.key(), self.clock.now())
            .map_err(|error| SourceError::BadResponse(format!("the origin's response cannot be signed: {error}")))?;
        Ok(Event::Finished { tree: Some(tree), record: Some(Arc::new(record)) })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};
    use weir_protocol::{ids::PublisherId, keys::SigningKey, wire::Class};
    use weir_relay::source::{RawRequest, RawResponse};

    struct Same;

    impl RawSource for Same {
        fn fetch<'a>(&'a self, _: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
            let body = stream::iter([Ok(Bytes::from_static(b"body"))]).boxed();
            let response = RawResponse { status: StatusCode::OK, headers: HeaderMap::new(), length: Some(4), body };
            async { Ok(response) }.boxed()
        }
    }

    #[tokio::test]
    async fn two_bodies_of_one_millisecond_have_two_generations() {
        let clock = Clock::Manual(Arc::new(AtomicU64::new(1_800_000_000_000)));
        let signer = Arc::new(Signer::new(SigningKey::from_bytes(&[7; 32])));
        let source = Signed::new(Same, signer, clock, 1 << 20);
        let key = ResourceKey::parse(PublisherId::from_bytes([1; 32]), "/a.ts").unwrap();
        let request = FillRequest {
            key,
            have: None,
            resume: None,
            hops: 0,
            class: Class::Vod,
            asked: Arc::default(),
            beginning: None,
            behind: None,
            insists: false,
        };
        let mut given = Vec::new();
        for _ in 0..3 {
            let Opened::Response(incoming) = source.open(&request).await.unwrap() else { panic!("a response") };
            given.push(incoming.head.generation.0);
        }
        assert_eq!(given, [1_800_000_000_000, 1_800_000_000_001, 1_800_000_000_002]);
    }
}

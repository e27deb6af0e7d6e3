//! A relay or the adapter as a source. Invariant: every event that leaves here was verified: the head or record
//! against the publisher's keys, each chunk against its signature, each group against the signed root.

use super::{
    Links, Network,
    class::CONTROL_PRIORITY,
    frames::ReplyReader,
    transfer::{ChunkTransfer, Load, Reply, TreeTransfer},
};
use crate::{
    clock::Clock,
    mesh::{Asking, Failure, Object, Step as Planned},
    object::{Head, Tree, TreeBuilder, TreeVerifier, header_map},
    source::{FillRequest, Incoming, Interim, Opened, RelaySource, Source, SourceError},
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{
    HeaderName, StatusCode,
    header::{AUTHORIZATION, COOKIE},
};
use quinn::{Connection, ConnectionError};
use std::{collections::VecDeque, future::poll_fn, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use weir_protocol::{
    freshness::Validators,
    growing::{HeadError, UnverifiedInterim},
    ids::RelayId,
    record::{RecordError, SignedRecord, UnverifiedRecord},
    resource::ResourceKey,
    wire::{Follows, MAX_PASS_BODY, PassRequest, RefusalReason, ReplyFrame, Request, RequestKind},
};

/// Silence after which a node is given up: it says `Wait` several times a second while it waits itself.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// How long a relay may take for a head or for the next frame, however often it says `Wait`. Shorter than an edge lets
/// a player wait (2.5 s), so that a relay that is stuck is passed over before the viewer gives up.
pub(super) const RELAY_PATIENCE: Duration = Duration::from_secs(2);
/// The adapter may be waiting for a slow origin.
const ADAPTER_PATIENCE: Duration = Duration::from_secs(15);
/// How far a record's own clock may disagree before its age is corrected: against replayed old records that claim to
/// be new.
const AGE_TOLERANCE_MS: u64 = 5_000;

/// One node of a publisher's network as a source.
#[derive(Clone)]
pub(crate) struct PeerSource {
    pub(crate) network: Arc<Network>,
    pub(crate) links: Arc<Links>,
    pub(crate) clock: Clock,
    pub(crate) relay: RelayId,
    /// For everything, or only for what it holds already.
    pub(crate) asking: Asking,
    /// What is asked for.
    pub(crate) object: Object,
    /// Where it is said to be; counts when nothing better is known.
    pub(crate) said: Arc<[SocketAddr]>,
}

impl Source for PeerSource {
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>> {
        async move { self.ask(request).await.inspect_err(|error| self.mark(error)) }.boxed()
    }

    fn as_relay(&self) -> Option<&dyn RelaySource> {
        self.is_relay().then_some(self)
    }
}

impl RelaySource for PeerSource {
    fn relay(&self) -> RelayId {
        self.relay
    }

    fn only_holds(&self) -> bool {
        self.asking == Asking::Holder
    }

    fn hedge_after(&self) -> Duration {
        let step = match self.asking {
            Asking::Owner => Planned::Owner(self.relay),
            Asking::Holder => Planned::Holder(self.relay),
        };
        self.network.mesh().hedge_after(&step).unwrap_or(Duration::MAX)
    }

    fn take_hedge(&self) -> bool {
        self.network.mesh().hedge()
    }

    fn outrun(&self, took: Duration) {
        self.network.mesh().outrun(&self.relay, self.asking, took, self.clock.now());
    }
}

impl PeerSource {
    pub(super) fn is_relay(&self) -> bool {
        self.relay != self.network.adapter
    }

    /// What it did counts against it.
    pub(crate) fn mark(&self, error: &SourceError) {
        self.mark_as(error, Failure::Stalled);
    }

    pub(super) fn mark_as(&self, error: &SourceError, late: Failure) {
        let failure = match error {
            SourceError::Corrupt(_) => Failure::Corrupt,
            SourceError::Unreachable(_) => Failure::Unreachable,
            SourceError::Timeout(_) => late,
            SourceError::Busy if self.is_relay() => return self.network.mesh().busy(&self.object, self.clock.now()),
            // It answered, and honestly.
            _ => return,
        };
        if failure == Failure::Corrupt {
            tracing::warn!(relay = %self.relay.short(), %error, "a peer sent what does not verify");
        }
        self.network.failed(&self.relay, failure, self.clock.now());
    }

    fn patience(&self) -> Duration {
        if self.is_relay() { RELAY_PATIENCE } else { ADAPTER_PATIENCE }
    }

    /// How long it may take for the head.
    fn head_within(&self, request: &FillRequest) -> Duration {
        if self.is_relay() { self.network.mesh().patience(request.hops) } else { ADAPTER_PATIENCE }
    }

    async fn ask(&self, request: &FillRequest) -> Result<Opened, SourceError> {
        let begun = Instant::now();
        let link = self.link(request, begun).await?;
        let asked = self.ask_over(&link, request, begun).await;
        // A node that has started again knows nothing of connections to the one before and says so when it is asked; and of
        // two connections one is closed. What is asked may be asked again over another one, when there is one; of the
        // adapter, which nobody stands in for, in any case. What changes something may have been done before the end.
        let again = match link.close_reason() {
            None => false,
            Some(ConnectionError::Reset) => true,
            Some(_) => !self.is_relay() || self.links.is_open(&self.relay),
        };
        if let Err(error) = &asked
            && again
            && !request.asked.is_passed()
        {
            tracing::debug!(peer = %self.relay.short(), %error, "asked again over another connection");
            let link = self.link(request, begun).await?;
            return self.ask_over(&link, request, begun).await;
        }
        asked
    }

    async fn link(&self, request: &FillRequest, begun: Instant) -> Result<Connection, SourceError> {
        let addresses = self.network.addresses_or(&self.relay, &self.said);
        let left = self.head_within(request).saturating_sub(begun.elapsed());
        // A dial that takes longer goes on for others.
        timeout(left, self.links.get(self.relay, &addresses))
            .await
            .map_err(|_| SourceError::Unreachable("no connection in time".into()))?
            .map_err(|error| SourceError::Unreachable(error.to_string()))
    }

    async fn ask_over(&self, link: &Connection, request: &FillRequest, begun: Instant) -> Result<Opened, SourceError> {
        let unreachable = |error: &dyn std::fmt::Display| SourceError::Unreachable(error.to_string());
        let load = self.is_relay().then(|| Load::of(self));
        if load.is_some() {
            self.network.mesh().round_trip(&self.relay, link.rtt(), self.clock.now());
        }
        let (mut send, receive) = timeout(SILENCE, link.open_bi())
            .await
            .map_err(|_| SourceError::Timeout("no room for another stream".into()))?
            .map_err(|error| unreachable(&error))?;
        // A stream nobody has reset yet takes any priority.
        let _ = send.set_priority(CONTROL_PRIORITY);
        let body = body_of(request).await?;
        let mut asked = Request::get(&request.key);
        asked.kind = match self.asking {
            Asking::Owner => RequestKind::Get,
            Asking::Holder => RequestKind::Held,
        };
        asked.hops = request.hops.saturating_add(1);
        asked.class = Some(request.class);
        asked.awaits = request.asked.awaits();
        let follows = !self.is_relay() && request.may_be_sent_on();
        asked.follows = follows.then_some(Follows { behind: request.behind });
        asked.have = request.have.as_ref().map(|have| have.head.generation);
        if let Some(resume) = request.resume {
            asked.offset = resume.offset;
            asked.generation = Some(resume.generation);
        }
        let fields = self.fields(request);
        if request.asked.is_passed() {
            asked.kind = RequestKind::Pass;
            let method = request.asked.method.as_str().to_owned();
            asked.pass = Some(PassRequest { method, headers: fields, body_length: body.len() as u64 });
        } else {
            asked.fields = (!fields.is_empty()).then_some(fields);
        }
        let frame = asked.encode().map_err(|error| SourceError::Refused(format!("too much to ask a peer: {error}")))?;
        send.write_chunk(frame).await.map_err(|error| unreachable(&error))?;
        if !body.is_empty() {
            timeout(self.patience(), send.write_chunk(body))
                .await
                .map_err(|_| SourceError::Timeout("the peer does not take the request's body".into()))?
                .map_err(|error| unreachable(&error))?;
        }
        // Finishing cannot fail on a stream nobody has reset yet; a reset shows when the reply is read.
        let _ = send.finish();
        let left = self.head_within(request).saturating_sub(begun.elapsed());
        let mut reply = Reply::new(ReplyReader::new(receive), left);
        let first = loop {
            match reply.next().await? {
                ReplyFrame::Interim(said) => self.interim(request, said)?,
                first => break first,
            }
        };
        if load.is_some() && !matches!(first, ReplyFrame::Refused { .. }) {
            self.network.mesh().head_after(&self.relay, self.asking, begun.elapsed(), self.clock.now());
        }
        (reply.load, reply.patience) = (load, self.patience());
        self.opened(request, first, reply)
    }

    /// What the origin may need to know. Who is asking, only the adapter learns.
    fn fields(&self, request: &FillRequest) -> Vec<(String, String)> {
        let tells = |name: &HeaderName| !self.is_relay() || (*name != AUTHORIZATION && *name != COOKIE);
        let fields = request.asked.onward().filter(|(name, _)| tells(name));
        fields.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
    }

    fn interim(&self, request: &FillRequest, said: UnverifiedInterim) -> Result<(), SourceError> {
        let resource = request.key.clone().with_variant(None).hash();
        let verified = said
            .clone()
            .verify(&self.network.ring(), &resource, self.clock.now())
            .map_err(|error| SourceError::Corrupt(error.to_string()))?;
        if let Some(listener) = &request.asked.interim {
            let body = verified.body();
            let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::PROCESSING);
            listener(Interim {
                status,
                headers: header_map(&body.headers, None, None, &Validators::default()),
                signed: Some(said),
            });
        }
        Ok(())
    }

    /// Reads on behind the first frame of a reply.
    pub(crate) fn opened(&self, request: &FillRequest, first: ReplyFrame, reply: Reply) -> Result<Opened, SourceError> {
        let (ring, now) = (self.network.ring(), self.clock.now());
        match first {
            ReplyFrame::Refused { reason, detail } => Err(refusal(reason, &detail)),
            ReplyFrame::Elsewhere(found) if !self.is_relay() && request.may_be_sent_on() => {
                self.network.mesh().adapter_succeeded();
                Err(SourceError::Elsewhere(found))
            }
            ReplyFrame::NotModified { record, age_ms } => {
                let record = self.verify(record, request)?;
                let head = Head::of_record(record);
                if request.have.as_ref().is_none_or(|have| have.head.generation != head.generation) {
                    return Err(SourceError::Corrupt("not modified, but of another body".into()));
                }
                self.check_age(&head)?;
                let age_ms = self.age(&head, age_ms);
                self.network.succeeded(&self.relay, 0, Duration::ZERO, self.clock.now());
                Ok(Opened::NotModified { head: Box::new(head), age_ms })
            }
            ReplyFrame::Whole { record, age_ms, offset } => {
                let record = self.verify(record, request)?;
                let root = blake3::Hash::from(record.body().root);
                let head = Head::of_record(record);
                check_variant(request, &head)?;
                check_generation(request, &head)?;
                self.check_age(&head)?;
                let length = head.length.unwrap_or(0);
                let wanted = request.resume.map_or(0, |resume| resume.offset);
                if offset > wanted {
                    return Err(SourceError::Corrupt("the transfer starts behind what was asked for".into()));
                }
                let mut state = Box::new(TreeTransfer {
                    receiving: self.network.receiving(self.relay, head.key.hash(), head.generation),
                    source: self.clone(),
                    least_rate: self.network.mesh().least_rate(),
                    reply,
                    verifier: TreeVerifier::new(length, root, offset),
                    from: offset,
                    at: offset,
                    length,
                    ready: VecDeque::new(),
                    failed: None,
                });
                state.reply.reader.expect(length.saturating_sub(offset));
                Ok(Opened::Response(Box::new(Incoming {
                    age_ms: self.age(&head, age_ms),
                    tree: Some(Tree::rooted(length, root)),
                    events: stream::try_unfold(state, TreeTransfer::step).boxed(),
                    head,
                })))
            }
            ReplyFrame::Head { head, age_ms } => {
                let signed = match head.clone().verify(&ring, &request.key, now) {
                    Err(HeadError::WrongResource(other)) if is_variant(&other, request) => {
                        head.verify(&ring, &other, now)
                    }
                    verified => verified,
                };
                let signed = signed.map_err(|error| match error {
                    HeadError::UnknownKey(_) | HeadError::Keys(_) => SourceError::Refused(error.to_string()),
                    _ => SourceError::Corrupt(error.to_string()),
                })?;
                let head = Head::of_signed(Arc::new(signed));
                check_variant(request, &head)?;
                check_generation(request, &head)?;
                self.check_age(&head)?;
                let at = request.resume.map_or(0, |resume| resume.offset);
                let mut of_this = request.clone();
                of_this.key = head.key.clone();
                let resource = of_this.key.hash();
                let state = Box::new(ChunkTransfer {
                    receiving: self.network.receiving(self.relay, resource, head.generation),
                    source: self.clone(),
                    resource,
                    request: of_this,
                    reply,
                    generation: head.generation,
                    at,
                    builder: (at == 0).then(TreeBuilder::default),
                    finished: false,
                });
                Ok(Opened::Response(Box::new(Incoming {
                    age_ms: self.age(&head, age_ms),
                    tree: None,
                    events: stream::try_unfold(state, ChunkTransfer::step).boxed(),
                    head,
                })))
            }
            _ => Err(SourceError::Corrupt("a reply that starts in the middle".into())),
        }
    }

    pub(super) fn verify(
        &self,
        record: UnverifiedRecord,
        request: &FillRequest,
    ) -> Result<Arc<SignedRecord>, SourceError> {
        let (ring, now) = (self.network.ring(), self.clock.now());
        let verified = match record.clone().verify(&ring, &request.key, now) {
            Err(RecordError::WrongResource(other)) if is_variant(&other, request) => record.verify(&ring, &other, now),
            verified => verified,
        };
        verified.map(Arc::new).map_err(|error| match error {
            // Ours may be the older key list: no reason to distrust the sender.
            RecordError::UnknownKey(_) | RecordError::Keys(_) | RecordError::FromTheFuture => {
                SourceError::Refused(error.to_string())
            }
            _ => SourceError::Corrupt(error.to_string()),
        })
    }

    /// The age the sender claims, but not much less than the record's own clock says.
    fn age(&self, head: &Head, claimed_ms: u64) -> u64 {
        let by_clock = head.freshness.age_at(self.clock.now()).saturating_sub(AGE_TOLERANCE_MS);
        claimed_ms.max(by_clock)
    }

    /// Refuses from a relay what has been stale for so long that nobody may serve it: a signature does not expire, so
    /// a relay could replay an old playlist for ever. What was stale when the adapter received it is no replay.
    fn check_age(&self, head: &Head) -> Result<(), SourceError> {
        let freshness = &head.freshness;
        let usable = freshness.ttl_ms.saturating_add(freshness.stale_if_error_ms);
        let left = usable.saturating_sub(freshness.initial_age_ms).saturating_add(AGE_TOLERANCE_MS);
        if self.is_relay() && self.clock.now().since(freshness.created) > left {
            return Err(SourceError::BadResponse("older than anybody may serve it".into()));
        }
        Ok(())
    }
}

/// True when `other` is the resource that was asked for, in whatever representation.
fn is_variant(other: &ResourceKey, request: &FillRequest) -> bool {
    request.resume.is_none() && other.clone().with_variant(None) == request.key.clone().with_variant(None)
}

/// Refuses a representation that the request does not select. A signature says what a representation is, not who gets
/// it: without this a relay could hand everybody the one in its own language.
fn check_variant(request: &FillRequest, head: &Head) -> Result<(), SourceError> {
    if head.key == request.key || head.key.variant == request.asked.variant(&head.vary()) {
        return Ok(());
    }
    Err(SourceError::Corrupt("a representation that the request does not select".into()))
}

/// The request's body; the doors bound it to what a pass may carry.
async fn body_of(request: &FillRequest) -> Result<Bytes, SourceError> {
    let Some(mut body) = request.asked.take_body() else { return Ok(Bytes::new()) };
    let mut all = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        let piece = piece.map_err(|error| SourceError::Refused(error.to_string()))?;
        if (all.len() + piece.len()) as u64 > MAX_PASS_BODY {
            return Err(SourceError::Refused(format!("a request body longer than {MAX_PASS_BODY} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

fn check_generation(request: &FillRequest, head: &Head) -> Result<(), SourceError> {
    if request.resume.is_some_and(|resume| resume.generation != head.generation) {
        return Err(SourceError::GenerationGone);
    }
    // A playlist never goes backwards: an older body than the one held is a stale copy or a replay.
    if request.have.as_ref().is_some_and(|have| have.head.generation > head.generation) {
        return Err(SourceError::BadResponse("older than what is held".into()));
    }
    Ok(())
}

pub(super) fn refusal(reason: RefusalReason, detail: &str) -> SourceError {
    match reason {
        RefusalReason::GenerationGone => SourceError::GenerationGone,
        RefusalReason::UpstreamTimeout => SourceError::UpstreamTimeout(detail.to_owned()),
        RefusalReason::Overloaded => SourceError::Busy,
        _ => SourceError::Refused(format!("{reason:?} {detail}")),
    }
}

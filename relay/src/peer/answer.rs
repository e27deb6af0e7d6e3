//! The answer to one peer's request: what it may have, and what the node has of it. Sending it is `send`'s.

use super::{
    PeerLimits, PeerObserver, TreeDoor,
    frames::{FrameError, read_frame, write_reply},
    gate::Gate,
    network::Upload,
    send::{BROKEN_OFF, hearing, refuse},
};
use crate::{
    fetch::{Ask, Fetch, FetchError, Reloaded, Served},
    http::Body,
    mesh::Denied,
    meter::Meter,
    object::{Ended, Entry},
    source::{Asked, Hold, Interim, SourceError},
    upload::UploadLimit,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use quinn::{RecvStream, SendStream};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use weir_hls::Directives;
use weir_protocol::{
    ids::RelayId,
    part::Part,
    resource::ResourceKey,
    wire::{Awaits, Found, MAX_REQUEST, PassRequest, RefusalReason, ReplyFrame, Request, RequestKind, VERSION},
};

/// A request must be there this soon after its stream opened.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interim responses that may wait to be sent on; more are dropped.
const MAX_INTERIM: usize = 8;
/// How long we wait for our own source before refusing.
const SOURCE_PATIENCE: Duration = Duration::from_secs(15);

/// Answers one peer.
pub(crate) struct Answering<'a> {
    pub(crate) fetch: &'a Fetch,
    pub(crate) observer: &'a dyn PeerObserver,
    pub(crate) limits: PeerLimits,
    pub(crate) upload: &'a UploadLimit,
    /// Who owes receipts; `None` at an adapter, which sends without being paid.
    pub(crate) meter: Option<&'a Meter>,
    pub(crate) peer: RelayId,
}

/// What is sent and how long it counts, or why nothing is.
type Answer = Result<(Request, Served, Option<Upload>), Instead>;

/// What a peer is told that is sent nothing.
enum Instead {
    Refused(RefusalReason, String),
    /// Others have it.
    Elsewhere(Vec<Found>),
}

impl Answering<'_> {
    /// Reads the request of one stream and answers it. An error means that the asker is gone or does not speak frames.
    pub(super) async fn run(
        &self,
        gate: &Gate,
        trees: Option<&dyn TreeDoor>,
        mut send: SendStream,
        mut receive: RecvStream,
    ) -> Result<(), FrameError> {
        let Ok(frame) = timeout(REQUEST_TIMEOUT, read_frame(&mut receive, MAX_REQUEST)).await else {
            return Ok(());
        };
        let frame = frame?;
        if let Some(trees) = trees
            && let Ok(request) = Request::decode(&frame)
            && matches!(request.kind, RequestKind::Place | RequestKind::Subscribe | RequestKind::Push)
            && request.version == VERSION
            && gate.refuses(&self.peer, &request.publisher).is_none()
            && request
                .resource_key()
                .is_ok_and(|key| gate.withholds(&self.peer, &key).is_none() && self.fetch.withheld(&key).is_none())
        {
            trees.serve(self.peer, request, send, receive).await;
            return Ok(());
        }
        let answered = self.answer(gate, &mut send, &mut receive, &frame).await;
        // The asker may have gone meanwhile, which the stream's own acknowledgement tells it. A reply that broke off
        // is reset, so that nothing of it waits for somebody who does not read.
        let _ = match &answered {
            Ok(()) => send.finish(),
            Err(_) => send.reset(BROKEN_OFF),
        };
        answered
    }

    async fn answer(
        &self,
        gate: &Gate,
        send: &mut SendStream,
        receive: &mut RecvStream,
        frame: &[u8],
    ) -> Result<(), FrameError> {
        match self.served(gate, send, receive, frame).await? {
            Ok((request, served, _upload)) => self.send(send, &request, &served).await,
            Err(Instead::Refused(reason, detail)) => refuse(send, reason, detail).await,
            Err(Instead::Elsewhere(found)) => write_reply(send, &ReplyFrame::Elsewhere(found)).await,
        }
    }

    async fn served(
        &self,
        gate: &Gate,
        send: &mut SendStream,
        receive: &mut RecvStream,
        frame: &[u8],
    ) -> Result<Answer, FrameError> {
        let refused = |reason, detail: &str| Ok(Err(Instead::Refused(reason, detail.to_owned())));
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) => return refused(RefusalReason::BadRequest, &error.to_string()),
        };
        if request.version != VERSION {
            return refused(RefusalReason::VersionMismatch, "this node speaks version 1");
        }
        if let Some((reason, detail)) = gate.refuses(&self.peer, &request.publisher) {
            return refused(reason, &detail);
        }
        if request.hops > weir_protocol::wire::MAX_HOPS {
            return refused(RefusalReason::LoopDetected, "");
        }
        let key = match request.resource_key() {
            // With the fields in hand the variant is found by them, unless it is a part.
            Ok(key) if request.fields.is_some() && part_of(&key).is_none() => key.with_variant(None),
            Ok(key) => key,
            Err(error) => return refused(RefusalReason::BadRequest, &error.to_string()),
        };
        if let Some(reason) = gate.withholds(&self.peer, &key) {
            return refused(reason, "the grant does not cover this path");
        }
        if let Some(why) = self.fetch.withheld(&key) {
            return refused(RefusalReason::Withheld, &why.to_string());
        }
        let upload = match gate.serve(&self.peer, &key, request.hops) {
            Ok(upload) => upload,
            Err(Denied::Busy) => return refused(RefusalReason::Overloaded, "sends this to as many as it can"),
            Err(Denied::Owes) => return refused(RefusalReason::Overloaded, "receipts are owed"),
        };
        if let (Some(_), RequestKind::Get, None, Gate::Adapter(directory)) =
            (request.follows, request.kind, request.have, gate)
        {
            let found = directory.elsewhere(&self.peer, &key);
            if !found.is_empty() {
                self.observer.sent_on(self.peer, request.publisher);
                return Ok(Err(Instead::Elsewhere(found)));
            }
        }
        let (said, mut heard) = mpsc::channel(MAX_INTERIM);
        let asked = match (&request.pass, gate) {
            (None, _) => header_map(request.fields.as_deref().unwrap_or_default()).map(Asked::get),
            (Some(_), Gate::Relay(_)) => return refused(RefusalReason::BadRequest, "only the adapter passes requests"),
            (Some(pass), Gate::Adapter(_)) => match timeout(REQUEST_TIMEOUT, body_of(receive, pass)).await {
                Ok(body) => passed(pass, body?),
                Err(_) => return refused(RefusalReason::BadRequest, "the request's body does not come"),
            },
        };
        let Some(asked) = asked else { return refused(RefusalReason::BadRequest, "fields or method of the request") };
        let asked = asked.heard_by(Some(Arc::new(move |interim: Interim| {
            if let Some(signed) = interim.signed {
                // A slow asker misses what is said beforehand; the answer itself waits for it.
                let _ = said.try_send(signed);
            }
        })));
        let class = request.class.unwrap_or_default();
        let patience = self.fetch.listing(&key).and_then(|listing| listing.patience());
        let asked = asked.holding(patience.map(|patience| Hold { awaits: None, patience }));
        let ask = Ask { key, hops: request.hops.max(1), class, asked: Arc::new(asked), behind: Some(self.peer) };
        let fetched = match request.kind {
            RequestKind::Place | RequestKind::Subscribe | RequestKind::Push => {
                return refused(RefusalReason::BadRequest, "this node is in no tree");
            }
            RequestKind::Held => match self.fetch.held_for(&ask).await {
                Some(served) if has_beyond(&served.entry, request.offset) => Ok(served),
                _ => return refused(RefusalReason::UpstreamFailed, "not held"),
            },
            RequestKind::Pass => {
                match hearing(send, &mut heard, timeout(SOURCE_PATIENCE, self.fetch.pass(&ask))).await? {
                    Ok(fetched) => fetched,
                    Err(_) => return refused(RefusalReason::UpstreamTimeout, "the origin did not answer in time"),
                }
            }
            RequestKind::Get => match request.generation {
                // A transfer goes on with the body it began with. A fill would bring a newer one, and cost the origin
                // a request for each relay whose source broke.
                Some(wanted) => match self.fetch.body(&ask.key, wanted, request.hops).await {
                    Some(served) => Ok(served),
                    None => return refused(RefusalReason::GenerationGone, ""),
                },
                None => {
                    let work = timeout(SOURCE_PATIENCE, self.get(&ask, request.awaits));
                    match hearing(send, &mut heard, work).await? {
                        Ok(fetched) => fetched,
                        Err(_) => return refused(RefusalReason::UpstreamTimeout, "no source answered in time"),
                    }
                }
            },
        };
        Ok(match fetched {
            Ok(served) if request.generation.is_none_or(|wanted| wanted == served.entry.head.generation) => {
                if let (RequestKind::Get, Gate::Adapter(directory)) = (request.kind, gate) {
                    let behind = request.follows.and_then(|follows| follows.behind);
                    directory.sends(&self.peer, behind.as_ref(), &served.entry);
                }
                Ok((request, served, upload))
            }
            Ok(_) => Err(Instead::Refused(RefusalReason::GenerationGone, String::new())),
            Err(error) => Err(explain(&error)),
        })
    }

    /// A response; with `awaits`, a live playlist once it lists that.
    async fn get(&self, ask: &Ask, awaits: Option<Awaits>) -> Result<Served, FetchError> {
        let Some(Awaits { sequence, part }) = awaits else { return self.fetch.get_for(ask).await };
        let Some(version) = self.fetch.version(ask).await? else { return self.fetch.get_for(ask).await };
        let directives = Directives { sequence: Some(sequence), part, skip: None };
        match self.fetch.reload(ask, version, &directives).await {
            Reloaded::Version(version, how) => Ok(Served { entry: version.entry.clone(), how }),
            Reloaded::Nothing(_) => {
                Err(FetchError::NoSource(SourceError::Timeout("the playlist has not advanced".into())))
            }
            Reloaded::TooFar => Err(FetchError::NoSource(SourceError::Refused("that is too far ahead".into()))),
        }
    }
}

/// True when there is something to send at once. Whoever asks for what is held has lost its own source; waiting for
/// more with it could be waiting for the asker itself, whose bytes may be the ones that arrive here.
fn has_beyond(entry: &Entry, offset: u64) -> bool {
    match entry.body.ended() {
        Some(Ended::Whole) => true,
        Some(Ended::Failed(_)) => false,
        None => entry.body.length() > offset,
    }
}

fn part_of(key: &ResourceKey) -> Option<Part> {
    key.variant.as_ref().and_then(Part::of)
}

fn header_map(fields: &[(String, String)]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(map)
}

fn passed(pass: &PassRequest, body: bytes::Bytes) -> Option<Asked> {
    let method = Method::from_bytes(pass.method.as_bytes()).ok()?;
    // What is a GET asks as one.
    let unfit = [Method::GET, Method::HEAD, Method::CONNECT, Method::TRACE].contains(&method);
    (!unfit).then_some(Asked::pass(method, header_map(&pass.headers)?, Body::full(body)))
}

/// The body that follows a pass request; its announced length was held against its bound.
async fn body_of(receive: &mut RecvStream, pass: &PassRequest) -> Result<bytes::Bytes, FrameError> {
    let mut left = usize::try_from(pass.body_length).unwrap_or(usize::MAX);
    let mut all = bytes::BytesMut::new();
    while left > 0 {
        let Some(chunk) = receive.read_chunk(left, true).await? else {
            return Err(FrameError::Wire(weir_protocol::wire::WireError::Truncated));
        };
        left -= chunk.bytes.len();
        all.extend_from_slice(&chunk.bytes);
    }
    Ok(all.freeze())
}

fn explain(error: &FetchError) -> Instead {
    let reason = match error {
        FetchError::Overloaded | FetchError::NoSource(SourceError::Busy) => RefusalReason::Overloaded,
        FetchError::NoSource(SourceError::Timeout(_) | SourceError::UpstreamTimeout(_)) => {
            RefusalReason::UpstreamTimeout
        }
        FetchError::NoSource(SourceError::TooLarge(_)) => RefusalReason::TooLarge,
        FetchError::Withheld(_) => RefusalReason::Withheld,
        FetchError::NoSource(_) | FetchError::Nobody | FetchError::Abandoned => RefusalReason::UpstreamFailed,
    };
    Instead::Refused(reason, error.to_string())
}

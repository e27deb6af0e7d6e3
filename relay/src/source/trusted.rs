//! The wrapper of a plain pull-through cache: what its upstream says over TLS is believed. The only place where bytes
//! become storable without a publisher's signature.

use super::{
    Event, FillRequest, Incoming, Opened, RawSource, Received, ReceivedBody, ResponseParts, Source, SourceError,
    receive::Receiver,
};
use crate::{
    clock::Clock,
    freshness::Rules,
    object::{Evidence, Head, TreeBuilder, VerifiedChunk, next_generation},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use weir_protocol::ids::Generation;

/// A raw source taken at its word.
pub struct Trusted<S>(Receiver<S>);

impl<S: RawSource> Trusted<S> {
    /// Takes `source` at its word; bodies longer than `max_object_bytes` are passed through and never kept.
    pub fn new(source: S, clock: Clock, max_object_bytes: u64) -> Self {
        Self(Receiver::new(source, clock, max_object_bytes))
    }

    /// Judges by these rules.
    #[must_use]
    pub fn judging_by(self, rules: Rules) -> Self {
        Self(self.0.judging_by(rules))
    }

    fn head(&self, parts: ResponseParts, generation: Generation) -> Head {
        Head {
            key: parts.key,
            status: parts.status,
            headers: parts.headers,
            length: parts.length,
            generation,
            freshness: parts.freshness,
            validators: parts.validators,
            evidence: Evidence::Trusted,
            withheld: parts.withheld,
        }
    }

    async fn ask(&self, request: &FillRequest) -> Result<Opened, SourceError> {
        if request.resume.is_some() {
            // Without a signature over the whole there is no telling whether a second answer continues the first.
            return Err(SourceError::GenerationGone);
        }
        let next = next_generation(request.have.as_ref().map(|have| have.head.generation), self.0.clock().now());
        let (parts, body) = match self.0.receive(request).await? {
            Received::NotModified(parts) => {
                let generation = request.have.as_ref().map_or(next, |have| have.head.generation);
                let age_ms = parts.age_ms;
                return Ok(Opened::NotModified { head: Box::new(self.head(parts, generation)), age_ms });
            }
            Received::Response(parts, body) => (parts, body),
        };
        let bytes = match body {
            ReceivedBody::Whole(text) => stream::iter([Ok(text)]).boxed(),
            ReceivedBody::Stream(body) => body,
        };
        let age_ms = parts.age_ms;
        let state = (bytes, TreeBuilder::default(), 0, false);
        let events = stream::try_unfold(state, |(mut bytes, mut builder, offset, done)| async move {
            if done {
                return Ok(None);
            }
            Ok(match bytes.next().await.transpose()? {
                Some(piece) => {
                    builder.update(&piece);
                    let next = offset + piece.len() as u64;
                    Some((Event::Data(VerifiedChunk::trusted(offset, piece)), (bytes, builder, next, false)))
                }
                None => {
                    let tree = Some(std::mem::take(&mut builder).finish());
                    Some((Event::Finished { tree, record: None }, (bytes, builder, offset, true)))
                }
            })
        });
        Ok(Opened::Response(Box::new(Incoming {
            head: self.head(parts, next),
            age_ms,
            tree: None,
            events: events.boxed(),
        })))
    }
}

impl<S: RawSource> Source for Trusted<S> {
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>> {
        self.ask(request).boxed()
    }
}

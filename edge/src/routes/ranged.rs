//! Ranges of what is not held whole: answered from a part that is fetched, shared and stored by itself. Invariant: a
//! range of a short resource costs the origin no more than the resource; a range of a long one no more than the slices it
//! touches.

use super::{
    body::body_of,
    cache_status::byte_source,
    errors,
    handler::Inner,
    respond::{Asked, Context, PartAnswer, judge_part, respond_part},
    sliced,
};
use crate::negotiate::{ByteRange, RangeSpec, range_spec};
use http::{Method, header};
use std::{sync::Arc, time::Instant};
use tokio::time::{Instant as Deadline, timeout_at};
use weir_hls::ResourceKind;
use weir_protocol::part::{Part, Place};
use weir_relay::{
    fetch::{Ask, Served, place},
    http::{Body, Response},
};

impl Inner {
    /// The range to answer from parts, when there is one and it is worth it.
    pub(super) fn by_parts(&self, asked: &Asked, ask: &Ask) -> Option<RangeSpec> {
        let headers = &asked.request.headers;
        let fit = asked.method == Method::GET
            && matches!(asked.kind, ResourceKind::Segment | ResourceKind::Other)
            && !asked.request.is_personal()
            && ask.key.variant.is_none();
        let field = headers.get(header::RANGE).filter(|_| fit)?.to_str().ok()?;
        let spec = range_spec(field)?;
        // Who asks for everything in the form of a range gets it like everybody else, unless it is too long to be kept.
        let whole = matches!(spec, RangeSpec::From(0, None));
        let long = self.fetch.layout(&ask.key).is_some_and(|layout| layout.total > self.fetch.longest());
        // What is on its way as a whole is read as it comes.
        (long || !whole && !self.fetch.is_arriving(&ask.key)).then_some(spec)
    }

    pub(super) async fn ranged(self: Arc<Self>, asked: Asked, ask: Ask, spec: RangeSpec, started: Instant) -> Response {
        let deadline = Deadline::now() + self.patience(asked.kind);
        let part = match (spec, self.fetch.layout(&ask.key)) {
            (RangeSpec::From(first, _), _) => Part::at(first),
            (RangeSpec::Last(0), _) => return self.fill(asked, ask, started).await,
            (RangeSpec::Last(count), Some(layout)) => Part::at(layout.total.saturating_sub(count)),
            (RangeSpec::Last(count), None) => Part::Tail(count),
        };
        if Part::of(&part.variant()).is_none() {
            // Beyond every slice, and every length.
            return self.fill(asked, ask, started).await;
        }
        let of_part = Ask { key: ask.key.clone().with_variant(Some(part.variant())), ..ask.clone() };
        let served = match timeout_at(deadline, self.fetch.get_for(&of_part)).await {
            Ok(Ok(served)) => served,
            Ok(Err(error)) => {
                tracing::debug!(err.kind = %error, "not served");
                return self.nothing(errors::not_fetched(asked.kind, &error), errors::label(&error));
            }
            Err(_) => return self.nothing(errors::too_slow(asked.kind), "too_slow"),
        };
        // While it is held, a body that is nobody else's knows that it is wanted.
        let _wanted = served.entry.body.reader(0, None);
        let Some(at) = place(&served.entry) else {
            if served.entry.head.status == http::StatusCode::PARTIAL_CONTENT {
                return self.odd_part(asked, ask, part, &served, started, deadline).await;
            }
            // The origin gave the whole, or said why there is none.
            return match self.first_byte(&asked, &served, deadline).await {
                Ok(()) => self.finish(asked, &served, started),
                Err(failure) => self.nothing(failure, "broke_off"),
            };
        };
        if let Err(failure) = self.first_byte(&asked, &served, deadline).await {
            return self.nothing(failure, "broke_off");
        }
        let context = self.context(&asked, started);
        let range = match judge_part(&asked, &served, &context, at.total) {
            PartAnswer::Done(response) => return self.booked(&asked, &served, response, started),
            PartAnswer::Whole => return self.fill(asked, ask, started).await,
            PartAnswer::Part(range) => range,
        };
        let (range, body) = self.bytes(&ask, &served, at, range, &context);
        let response = respond_part(&asked, &served, &context, range, at.total, body);
        self.booked(&asked, &served, response, started)
    }

    /// A part whose place and length contradict each other: for a slice the whole is asked for instead; a tail is what
    /// the client itself asked for, and goes to it as it is.
    async fn odd_part(
        self: Arc<Self>,
        asked: Asked,
        ask: Ask,
        part: Part,
        served: &Served,
        started: Instant,
        deadline: Deadline,
    ) -> Response {
        if matches!(part, Part::Slice(_)) {
            return self.fill(asked, ask, started).await;
        }
        match self.first_byte(&asked, served, deadline).await {
            Ok(()) => self.finish(asked, served, started),
            Err(failure) => self.nothing(failure, "broke_off"),
        }
    }

    /// The bytes of `range`, from the part and what follows it. An origin that gave another tail than was asked for is
    /// passed on as it spoke.
    fn bytes(
        &self,
        ask: &Ask,
        served: &Served,
        at: Place,
        range: ByteRange,
        context: &Context<'_>,
    ) -> (ByteRange, Body) {
        let inside = at.first <= range.first && range.first <= at.last;
        let range = if inside { range } else { ByteRange { first: at.first, last: at.last } };
        let entry = &served.entry;
        if range.last <= at.last {
            let body = body_of(&entry.body, range.first - at.first, Some(range.length()), context.patience);
            return (range, body);
        }
        let body = sliced::body(&self.fetch, ask, entry, at, (range.first, range.last), context.patience);
        (range, body)
    }

    fn context(&self, asked: &Asked, started: Instant) -> Context<'_> {
        Context {
            name: &self.name,
            now: self.fetch.clock().now(),
            took: started.elapsed(),
            patience: self.patience(asked.kind),
        }
    }

    fn booked(&self, asked: &Asked, served: &Served, mut response: Response, started: Instant) -> Response {
        self.dress(asked, served, &mut response);
        let source = byte_source(served);
        self.metrics.first_byte(source, started.elapsed());
        self.deliver(asked, response, source, started)
    }
}

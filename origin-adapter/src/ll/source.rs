//! The raw source itself: which requests the channels answer, and which pass through.

use super::{
    inner::{Inner, LowLatencyConfig},
    package::Packager,
};
use futures_util::{FutureExt, future::BoxFuture};
use std::sync::Arc;
use weir_relay::source::{RawRequest, RawResponse, RawSource, SourceError};

/// A source with low latency. Its channels live in the [`Packager`] that comes with it.
pub struct LowLatency<S>(Arc<Inner<S>>);

impl<S: RawSource> LowLatency<S> {
    /// Stands in front of `source`. Nothing is made until the packager runs.
    pub fn new(source: S, config: LowLatencyConfig) -> (Self, Packager<S>) {
        let (inner, wanted) = Inner::new(source, config);
        (Self(inner.clone()), Packager::new(inner, wanted))
    }
}

impl<S: RawSource> RawSource for LowLatency<S> {
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
        async move {
            // What is made here is for everybody.
            if !request.asked.is_passed()
                && !request.asked.is_personal()
                && let Some(response) = self.0.answer(&request.path_and_query).await
            {
                return Ok(response);
            }
            self.0.source.fetch(request).await
        }
        .boxed()
    }
}

//! The seam to hole punching: how a node is reached that cannot be dialled. Links know that there may be a way, not how
//! it is made.

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use weir_protocol::ids::RelayId;

/// Makes the way to a node: the address at which a bulk connection gets through afterwards, or why there is none.
pub type Way = BoxFuture<'static, Result<SocketAddr, String>>;

/// Knows ways to nodes that cannot be dialled.
pub trait Guide: Send + Sync + 'static {
    /// The way to `relay` and how long plain dialling gets before it is tried; `None` when trying makes no sense now.
    fn way(&self, relay: &RelayId) -> Option<(Way, Duration)>;
}

/// The guide, once there is one.
#[derive(Default)]
pub struct Ways(ArcSwapOption<Box<dyn Guide>>);

impl Ways {
    /// From now on this one is asked.
    pub fn set(&self, guide: impl Guide) {
        self.0.store(Some(Arc::new(Box::new(guide))));
    }

    pub(super) fn to(&self, relay: &RelayId) -> Option<(Way, Duration)> {
        self.0.load().as_ref()?.way(relay)
    }
}

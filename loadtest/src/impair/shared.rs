//! What all parts of one proxy share, and the two ways through it.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::counters::{Counters, DirectionCounters};
use super::link::{LinkConfig, LinkModel};

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// What the proxy does at the moment; may be changed while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Links {
    pub(super) up: LinkConfig,
    pub(super) down: LinkConfig,
    /// Nothing passes.
    pub(super) cut: bool,
}

/// What all parts of one proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    /// As it was at the start; what is done now is in `links`.
    pub(super) config: Config,
    pub(super) links: watch::Sender<Links>,
    pub(super) counters: Counters,
    pub(super) cancel: CancellationToken,
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        let links = watch::Sender::new(Links { up: config.up, down: config.down, cut: false });
        Self { config, links, counters: Counters::default(), cancel: CancellationToken::new() }
    }

    /// What is done to packets that go this way now.
    pub(super) fn link(&self, way: Way) -> LinkConfig {
        let links = self.links.borrow();
        match way {
            Way::Up => links.up,
            Way::Down => links.down,
        }
    }

    /// Whether nothing passes now.
    pub(super) fn is_cut(&self) -> bool {
        self.links.borrow().cut
    }

    /// Waits until something passes.
    pub(super) async fn passes(&self) {
        // The sender is in this value, so it cannot be gone.
        let _ = self.links.subscribe().wait_for(|links| !links.cut).await;
    }

    /// The model of one direction of the `index`-th flow. Flows draw from generators of their own, so that what one
    /// client loses does not depend on how its packets interleave with another's.
    pub(super) fn model(&self, way: Way, index: u64) -> LinkModel<Xoshiro256PlusPlus> {
        let (config, side) = match way {
            Way::Up => (self.link(way), 0),
            Way::Down => (self.link(way), 1),
        };
        let seed = self.config.seed.wrapping_add((index * 2 + side).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        LinkModel::new(config, Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Where a packet that goes this way is counted.
    pub(super) fn counters(&self, way: Way) -> &DirectionCounters {
        match way {
            Way::Up => &self.counters.up,
            Way::Down => &self.counters.down,
        }
    }
}

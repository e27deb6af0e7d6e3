//! What all parts of one proxy share, and the two ways through it.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::counters::{Counters, DirectionCounters};
use super::link::LinkModel;

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// What all parts of one proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Counters,
    pub(super) cancel: CancellationToken,
}

impl Shared {
    /// The model of one direction of the `index`-th flow. Flows draw from generators of their own, so that what one
    /// client loses does not depend on how its packets interleave with another's.
    pub(super) fn model(&self, way: Way, index: u64) -> LinkModel<Xoshiro256PlusPlus> {
        let (config, side) = match way {
            Way::Up => (self.config.up, 0),
            Way::Down => (self.config.down, 1),
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

//! What the publisher granted to each relay.

use bytes::Bytes;
use std::collections::HashMap;
use weir_protocol::grant::{Grant, PriceClass};
use weir_protocol::{CanonicalPath, Epoch, RelayId, UnixMillis, UnverifiedGrant};

use crate::evidence::keys::KeyHistory;

/// A grant as a settlement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The grant.
    pub grant: Grant,
}

impl Terms {
    /// Whether it holds for the whole of an epoch of this length. Grants may count in longer epochs than settlements do.
    #[must_use]
    pub fn holds(&self, epoch: Epoch, epoch_ms: u64) -> bool {
        let begins = self.grant.first.start(self.grant.epoch_length());
        begins <= epoch.start(epoch_ms) && epoch.end(epoch_ms) <= self.grant.ends()
    }

    /// Whether it covers a path.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        CanonicalPath::parse(path).is_ok_and(|path| self.grant.covers(&path))
    }

    /// The price that the publisher signed for this relay, which no policy lowers: millionths for each 2^30 bytes.
    #[must_use]
    pub fn micro_per_gib(&self, class: PriceClass) -> Option<u64> {
        let prices = self.grant.prices.as_ref()?;
        prices.prices.iter().find(|price| price.class == class).map(|price| price.micro_per_gib)
    }

    /// Bytes that count for this relay in one epoch.
    #[must_use]
    pub fn cap_bytes(&self) -> Option<u64> {
        self.grant.caps.as_ref().and_then(|caps| caps.bytes)
    }
}

/// All grants, by relay.
#[derive(Debug, Default)]
pub(super) struct Grants {
    grants: HashMap<RelayId, Vec<Terms>>,
}

impl Grants {
    pub(super) fn add(&mut self, message: Vec<u8>, received: UnixMillis, keys: &KeyHistory) -> bool {
        let grant = UnverifiedGrant(Bytes::from(message));
        let Ok(relay) = grant.claimed_relay() else { return false };
        let verified = keys.rings_at(received).find_map(|ring| grant.verify_of_any_time(ring, &relay, received).ok());
        let Some(verified) = verified else { return false };
        self.grants.entry(relay).or_default().push(Terms { grant: verified.grant().clone() });
        true
    }

    /// The grants that hold for an epoch, the latest issued first.
    pub(super) fn of(&self, relay: &RelayId, epoch: Epoch, epoch_ms: u64) -> Vec<&Terms> {
        let mut holding: Vec<&Terms> =
            self.grants.get(relay).into_iter().flatten().filter(|terms| terms.holds(epoch, epoch_ms)).collect();
        holding.sort_by_key(|terms| std::cmp::Reverse(terms.grant.issued));
        holding
    }
}

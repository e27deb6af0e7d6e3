//! The first frame in each direction: which versions a node speaks, what else it can do, and which networks it is in.
//!
//! Invariant: two nodes speak the highest version that both speak, or part with a reason; whatever else a newer Hello
//! says is ignored by who does not know it.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::grant::MAX_GRANT;
use crate::ids::PublisherId;
use crate::wire::purge::PURGE_FEATURE;
use crate::wire::{MAX_NAME, OLDEST_VERSION, VERSION, WireError, bounded};

/// Most features in a Hello.
pub const MAX_FEATURES: usize = 32;
/// Most networks in a Hello.
pub const MAX_HELLO_NETWORKS: usize = 32;
/// Feature: [`Changes`](crate::wire::Changes) of the members are understood.
pub const FEATURE_CHANGES: &str = "changes";

/// First frame in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The newest version the sender speaks ([`VERSION`]).
    #[n(0)]
    pub version: u16,
    /// What it can do beyond the version; unknown names are ignored. At most [`MAX_FEATURES`] of 128 bytes.
    #[n(1)]
    pub features: Vec<String>,
    /// Program and version, for logs; at most 128 bytes.
    #[n(2)]
    pub agent: String,
    /// The oldest version it speaks; absent: the same as the newest.
    #[n(3)]
    pub oldest: Option<u16>,
    /// The networks it is in, at most [`MAX_HELLO_NETWORKS`]. Here and not in a later frame, so that a node is known
    /// before its first request is read.
    #[n(4)]
    pub networks: Option<Vec<HelloNetwork>>,
}

/// A network as one of its nodes introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HelloNetwork {
    /// Whose network.
    #[n(0)]
    pub publisher: PublisherId,
    /// The sender's grant ([`UnverifiedGrant`](crate::grant::UnverifiedGrant)).
    #[n(1)]
    pub grant: Option<ByteVec>,
    /// What takedowns it knows, as a number that two nodes with the same ones share; 0 for none.
    #[n(2)]
    pub takedowns: Option<u64>,
}

impl Hello {
    /// A Hello of this version of the protocol, in no network.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        Self {
            version: VERSION,
            features: vec![FEATURE_CHANGES.to_owned(), PURGE_FEATURE.to_owned()],
            agent: agent.to_owned(),
            oldest: Some(OLDEST_VERSION),
            networks: None,
        }
    }

    /// The version to speak with the sender of `theirs`: the highest that both speak.
    #[must_use]
    pub fn common_version(&self, theirs: &Self) -> Option<u16> {
        let highest = self.version.min(theirs.version);
        (highest >= self.oldest_spoken().max(theirs.oldest_spoken())).then_some(highest)
    }

    /// Whether the sender has a feature.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    fn oldest_spoken(&self) -> u16 {
        self.oldest.unwrap_or(self.version)
    }

    pub(super) fn check(&self) -> Result<(), WireError> {
        if self.features.len() > MAX_FEATURES {
            return Err(WireError::OutOfBounds("features"));
        }
        self.features.iter().try_for_each(|feature| bounded(feature, MAX_NAME, "features"))?;
        bounded(&self.agent, MAX_NAME, "agent")?;
        if self.oldest_spoken() > self.version {
            return Err(WireError::OutOfBounds("oldest"));
        }
        let networks = self.networks.as_deref().unwrap_or_default();
        let fits = |network: &HelloNetwork| network.grant.as_ref().is_none_or(|grant| grant.len() <= MAX_GRANT);
        if networks.len() > MAX_HELLO_NETWORKS || !networks.iter().all(fits) {
            return Err(WireError::OutOfBounds("networks"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Hello;

    fn speaks(oldest: Option<u16>, version: u16) -> Hello {
        Hello { version, oldest, ..Hello::new("test") }
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        for (ours, theirs, common) in [
            (speaks(Some(1), 1), speaks(Some(1), 2), Some(1)),
            (speaks(Some(1), 3), speaks(Some(2), 2), Some(2)),
            (speaks(Some(1), 1), speaks(None, 1), Some(1)),
            (speaks(Some(1), 1), speaks(None, 2), None),
            (speaks(Some(1), 1), speaks(Some(2), 3), None),
            (speaks(Some(2), 3), speaks(Some(1), 1), None),
        ] {
            assert_eq!(ours.common_version(&theirs), common);
            assert_eq!(theirs.common_version(&ours), common);
        }
    }
}

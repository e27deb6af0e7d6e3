//! Blind probes: sessions in which the publisher itself plays through relays, named only after the relays claimed.
//!
//! Invariant: what is revealed hashes to what was committed to before the relays' claims, so a publisher cannot pick
//! its probes after it has seen them.

use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::cbor;
use crate::epoch::Epoch;
use crate::ids::{PublisherId, RelayId, TokenHash};
use crate::statement::error::StatementError;
use crate::statement::signed::{PublisherSigned, Statement};
use crate::time::UnixMillis;

/// Most probes in one list.
pub const MAX_PROBES: usize = 512;
/// Stands before the bytes that a commitment hashes.
const PLAN_CONTEXT: &[u8] = b"weir/probe-plan/1";

/// The hash of a list of probes, logged before they take place.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ProbeCommitment {
    /// Who probes, and signs.
    #[n(0)]
    pub publisher: PublisherId,
    /// The epoch that the probes take place in.
    #[n(1)]
    pub epoch: Epoch,
    /// Number of the list in this epoch.
    #[n(2)]
    pub list: u64,
    /// [`ProbeReveal::commitment`] of the list.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub commitment: [u8; 32],
    /// When it was signed.
    #[n(4)]
    pub time: UnixMillis,
}

impl Statement for ProbeCommitment {
    const CONTEXT: &'static str = "weir/probe-commitment/1";
    const MAX: usize = 512;

    fn check(&self) -> Result<(), StatementError> {
        Ok(())
    }
}

impl PublisherSigned for ProbeCommitment {
    fn publisher(&self) -> PublisherId {
        self.publisher
    }

    fn signed_at(&self) -> UnixMillis {
        self.time
    }
}

/// What one probe received.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ProbeResult {
    /// The relay that was probed.
    #[n(0)]
    pub relay: RelayId,
    /// The probe's token.
    #[n(1)]
    pub token: TokenHash,
    /// Verified body bytes that the probe received in the epoch.
    #[n(2)]
    pub bytes: u64,
    /// Objects that it received whole.
    #[n(3)]
    pub objects: u64,
}

/// A list of probes and what they received.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ProbeReveal {
    /// Who probed, and signs.
    #[n(0)]
    pub publisher: PublisherId,
    /// The epoch that the probes took place in.
    #[n(1)]
    pub epoch: Epoch,
    /// Number of the list in this epoch.
    #[n(2)]
    pub list: u64,
    /// 32 random bytes, so that nobody finds the list by trying.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// 1 to [`MAX_PROBES`], in ascending order of (token, relay's bytes), each pair once.
    #[n(4)]
    pub probes: Vec<ProbeResult>,
    /// When it was signed.
    #[n(5)]
    pub time: UnixMillis,
}

impl ProbeReveal {
    /// What must have been committed to: SHA-256 over `weir/probe-plan/1`, the nonce, and the deterministic CBOR of the
    /// array of arrays [relay, token], without the results.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        let plan: Vec<(RelayId, TokenHash)> = self.probes.iter().map(|probe| (probe.relay, probe.token)).collect();
        let hash = Sha256::new().chain_update(PLAN_CONTEXT).chain_update(self.nonce);
        hash.chain_update(cbor::to_vec(&plan)).finalize().into()
    }

    /// Whether this list is the one that was committed to.
    #[must_use]
    pub fn opens(&self, commitment: &ProbeCommitment) -> bool {
        (self.publisher, self.epoch, self.list) == (commitment.publisher, commitment.epoch, commitment.list)
            && self.commitment() == commitment.commitment
    }
}

impl Statement for ProbeReveal {
    const CONTEXT: &'static str = "weir/probe-reveal/1";
    const MAX: usize = crate::cose::MAX_COSE;

    fn check(&self) -> Result<(), StatementError> {
        let place = |probe: &ProbeResult| (probe.token, probe.relay.0.to_bytes());
        let ascending = self.probes.windows(2).all(|pair| place(&pair[0]) < place(&pair[1]));
        if self.probes.is_empty() || self.probes.len() > MAX_PROBES || !ascending {
            return Err(StatementError::Unfit("probes"));
        }
        Ok(())
    }
}

impl PublisherSigned for ProbeReveal {
    fn publisher(&self) -> PublisherId {
        self.publisher
    }

    fn signed_at(&self) -> UnixMillis {
        self.time
    }
}

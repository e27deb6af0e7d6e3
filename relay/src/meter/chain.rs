//! The chain of claims to one publisher. No I/O.
//!
//! Invariant: claims of an epoch are numbered from 1 without gaps, and each names its predecessor's hash, across
//! epochs; of the chain's end one value exists.

use super::session::{Session, Sum};
use std::collections::BTreeMap;
use weir_protocol::{
    EdgeClaim, Epoch, EvidenceKey, RelayId,
    statement::{MessageHash, StatementError, Verified},
};

/// Epochs whose counters are kept: claims of an epoch end soon after it.
const KEPT_EPOCHS: usize = 8;

/// Where a chain stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Hash of the last claim.
    pub(super) last: MessageHash,
    /// Claims in each epoch.
    pub(super) counters: BTreeMap<Epoch, u64>,
}

impl Chain {
    /// Signs the next claim.
    pub(super) fn sign(
        &mut self,
        me: RelayId,
        key: &EvidenceKey,
        session: &Session,
        sum: Sum,
    ) -> Result<Verified<EdgeClaim>, StatementError> {
        let counter = self.counters.get(&sum.epoch).copied().unwrap_or(0) + 1;
        let claim = EdgeClaim {
            publisher: session.publisher,
            edge: me,
            epoch: sum.epoch,
            class: session.class(),
            token: session.token,
            path: sum.path,
            counter,
            bytes: sum.bytes,
            objects: sum.objects,
            aborted_bytes: sum.aborted,
            first: sum.first,
            last: sum.last,
            http: sum.http,
            previous: self.last.0,
        };
        let signed = Verified::sign(claim, key)?;
        self.counters.insert(signed.statement().epoch, counter);
        while self.counters.len() > KEPT_EPOCHS {
            self.counters.pop_first();
        }
        self.last = signed.hash();
        Ok(signed)
    }

    /// The chain's end as bytes: the hash, then epoch and counter, 8 bytes each.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.last.0.to_vec();
        for (epoch, counter) in &self.counters {
            bytes.extend_from_slice(&epoch.0.to_be_bytes());
            bytes.extend_from_slice(&counter.to_be_bytes());
        }
        bytes
    }

    /// Reads them; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (last, counters) = bytes.split_first_chunk::<32>()?;
        let (pairs, rest) = counters.as_chunks::<16>();
        if !rest.is_empty() {
            return None;
        }
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let counters = pairs.iter().map(|pair| Some((Epoch(number(&pair[..8])?), number(&pair[8..])?)));
        Some(Self { last: MessageHash(*last), counters: counters.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_back_as_written() {
        let counters = BTreeMap::from([(Epoch(3), 9), (Epoch(4), 1)]);
        let chain = Chain { last: MessageHash([7; 32]), counters };
        assert_eq!(Chain::decode(&chain.encode()).unwrap(), chain);
        assert!(Chain::decode(&chain.encode()[1..]).is_none());
    }
}

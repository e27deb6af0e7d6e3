//! A Merkle distributor in the form of OpenZeppelin's `StandardMerkleTree`, version `standard-v1`.
//!
//! A leaf is keccak256(keccak256(abi.encode(address, uint256))) over (payee, cumulative amount in millionths); leaves are
//! sorted by hash; a pair is hashed with its smaller hash first; the tree is an array with the root in front. A contract
//! that pays `cumulative - claimed[payee]` cannot pay twice, whichever roots it has seen.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use crate::settle::{PayStatus, Settlement};

/// Why there is no distributor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DistributorError {
    /// Nobody with an address is due anything.
    #[error("no amount is due to an address: relays set one with a signed payee change")]
    Empty,
}

/// Addresses with cumulative amounts, and the tree over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distributor {
    /// In ascending order of the address.
    values: Vec<([u8; 20], u64)>,
    /// The tree as an array, root first.
    tree: Vec<[u8; 32]>,
    /// Place of each value in the tree.
    places: Vec<usize>,
}

impl Distributor {
    /// The distributor of a settlement: everything that is due, by address.
    ///
    /// # Errors
    /// [`DistributorError::Empty`].
    pub fn of(settlement: &Settlement) -> Result<Self, DistributorError> {
        let mut sums: BTreeMap<[u8; 20], u64> = BTreeMap::new();
        for payable in settlement.payouts.iter().filter(|payable| payable.status == PayStatus::Due) {
            let address = payable.address.as_deref().and_then(|text| text.strip_prefix("0x"));
            let bytes = address.and_then(|digits| HEXLOWER.decode(digits.as_bytes()).ok());
            if let Some(address) = bytes.and_then(|bytes| <[u8; 20]>::try_from(bytes).ok()) {
                // Several relays may share an address.
                *sums.entry(address).or_insert(0) += payable.cumulative;
            }
        }
        Self::new(sums.into_iter().collect())
    }

    /// The distributor of these amounts.
    ///
    /// # Errors
    /// [`DistributorError::Empty`].
    pub fn new(values: Vec<([u8; 20], u64)>) -> Result<Self, DistributorError> {
        if values.is_empty() {
            return Err(DistributorError::Empty);
        }
        let mut leaves: Vec<([u8; 32], usize)> =
            values.iter().enumerate().map(|(at, (address, amount))| (leaf(address, *amount), at)).collect();
        leaves.sort_unstable();
        let nodes = 2 * leaves.len() - 1;
        let mut tree = vec![[0; 32]; nodes];
        let mut places = vec![0; values.len()];
        for (at, (hash, value)) in leaves.iter().enumerate() {
            tree[nodes - 1 - at] = *hash;
            places[*value] = nodes - 1 - at;
        }
        for at in (0..nodes - leaves.len()).rev() {
            tree[at] = pair(&tree[2 * at + 1], &tree[2 * at + 2]);
        }
        Ok(Self { values, tree, places })
    }

    /// The root to give to a contract.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.tree[0]
    }

    /// The proof of a value, from its sibling to the root's child.
    #[must_use]
    pub fn proof(&self, value: usize) -> Vec<[u8; 32]> {
        let mut proof = Vec::new();
        let mut at = self.places[value];
        while at > 0 {
            proof.push(self.tree[if at % 2 == 1 { at + 1 } else { at - 1 }]);
            at = (at - 1) / 2;
        }
        proof
    }

    /// The dump that `StandardMerkleTree.load` reads.
    #[must_use]
    pub fn dump(&self) -> Value {
        let hex = |bytes: &[u8]| format!("0x{}", HEXLOWER.encode(bytes));
        let values: Vec<Value> = self
            .values
            .iter()
            .zip(&self.places)
            .map(
                |((address, amount), place)| json!({ "value": [hex(address), amount.to_string()], "treeIndex": place }),
            )
            .collect();
        json!({
            "format": "standard-v1",
            "leafEncoding": ["address", "uint256"],
            "tree": self.tree.iter().map(|hash| hex(hash)).collect::<Vec<_>>(),
            "values": values,
        })
    }
}

fn keccak(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// The ABI encodes both as 32 bytes, numbers big-endian.
fn leaf(address: &[u8; 20], amount: u64) -> [u8; 32] {
    let mut encoded = [0; 64];
    encoded[12..32].copy_from_slice(address);
    encoded[56..].copy_from_slice(&amount.to_be_bytes());
    keccak(&keccak(&encoded))
}

fn pair(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    keccak(&[first.as_slice(), second].concat())
}

#[cfg(test)]
mod tests {
    use super::{Distributor, DistributorError, leaf, pair};

    #[test]
    fn proofs_lead_to_the_root() {
        for count in [1_u8, 2, 3, 7, 100] {
            let values: Vec<_> = (0..count).map(|at| ([at; 20], u64::from(at) * 1000 + 1)).collect();
            let distributor = Distributor::new(values.clone()).unwrap_or_else(|_| unreachable!("there are values"));
            for (at, (address, amount)) in values.iter().enumerate() {
                let root = distributor.proof(at).iter().fold(leaf(address, *amount), |hash, other| pair(&hash, other));
                assert_eq!(root, distributor.root(), "value {at} of {count}");
            }
        }
        assert_eq!(Distributor::new(vec![]), Err(DistributorError::Empty));
    }
}

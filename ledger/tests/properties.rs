//! What holds for every tree: proofs verify, no changed bit does, and the growing tree is the recursive one.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use proptest::sample::Index;
use weir_ledger::{
    Frontier, LeafHash, NodeHash, RootHash, TreeSize, prove_consistency, prove_inclusion, verify_consistency,
    verify_inclusion,
};

/// Leaves of one tree at most: several levels of every shape, and a case stays under a millisecond.
const MAX_LEAVES: usize = 300;

/// MTH of RFC 6962 section 2.1, word by word.
fn recursive(leaves: &[LeafHash]) -> NodeHash {
    if let [leaf] = leaves {
        return (*leaf).into();
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    NodeHash::join(&recursive(&leaves[..k]), &recursive(&leaves[k..]))
}

fn root(leaves: &[LeafHash]) -> RootHash {
    if leaves.is_empty() { RootHash::of_empty_tree() } else { recursive(leaves).into() }
}

fn trees() -> impl Strategy<Value = Vec<LeafHash>> {
    // The salt makes the leaves differ from tree to tree, the number makes them differ within one.
    (any::<[u8; 8]>(), 1..=MAX_LEAVES).prop_map(|(salt, count)| {
        (0..count as u64).map(|number| LeafHash::of(&[salt, number.to_be_bytes()].concat())).collect()
    })
}

/// A list of hashes with one bit of one of them changed.
fn flip(hashes: &[NodeHash], bit: usize) -> Vec<NodeHash> {
    let mut changed = hashes.to_vec();
    changed[bit / 256] = NodeHash::from_bytes(flipped(hashes[bit / 256].as_bytes(), bit % 256));
    changed
}

fn flipped(bytes: &[u8; 32], bit: usize) -> [u8; 32] {
    let mut bytes = *bytes;
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

#[test]
fn every_proof_of_every_small_tree_verifies_and_no_other_length_does() {
    let leaves: Vec<_> = (0..70_u8).map(|leaf| LeafHash::of(&[leaf])).collect();
    let mut tree = Frontier::new();
    for count in 0..=leaves.len() {
        let (leaves, size, new_root) = (&leaves[..count], TreeSize::new(count as u64), root(&leaves[..count]));
        assert_eq!((tree.size(), tree.root()), (size, new_root));
        for (index, leaf) in (0..).zip(leaves) {
            let path = prove_inclusion(leaves, index).unwrap();
            assert_eq!(verify_inclusion(*leaf, index, size, new_root, &path), Ok(()));
            let longer = [path.as_slice(), &[(*leaf).into()]].concat();
            assert!(verify_inclusion(*leaf, index, size, new_root, &longer).is_err());
            if let Some((_, shorter)) = path.split_last() {
                assert!(verify_inclusion(*leaf, index, size, new_root, shorter).is_err());
            }
        }
        for old_count in 0..=count {
            let (old, old_root) = (TreeSize::new(old_count as u64), root(&leaves[..old_count]));
            let proof = prove_consistency(leaves, old).unwrap();
            assert_eq!(verify_consistency(old, old_root, size, new_root, &proof), Ok(()));
            let longer = [proof.as_slice(), &[NodeHash::from_bytes([0; 32])]].concat();
            assert!(verify_consistency(old, old_root, size, new_root, &longer).is_err());
            if let Some((_, shorter)) = proof.split_last() {
                assert!(verify_consistency(old, old_root, size, new_root, shorter).is_err());
            }
        }
        if let Some(next) = (count < 70).then(|| LeafHash::of(&[count as u8])) {
            tree.append(next).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_frontier_is_the_recursive_definition(leaves in trees()) {
        let mut tree = Frontier::new();
        for leaf in &leaves {
            tree.append(*leaf).unwrap();
        }
        prop_assert_eq!(tree.root(), root(&leaves));
        prop_assert_eq!(tree.size().get(), leaves.len() as u64);
        prop_assert_eq!(tree.peaks().len() as u32, (leaves.len() as u64).count_ones());
    }

    #[test]
    fn inclusion_proves_one_leaf_at_one_place(leaves in trees(), pick in any::<Index>(), other in any::<Index>(), bit in any::<Index>()) {
        let (size, tree_root) = (TreeSize::new(leaves.len() as u64), root(&leaves));
        let index = pick.index(leaves.len());
        let (leaf, number) = (leaves[index], index as u64);
        let path = prove_inclusion(&leaves, number).unwrap();
        prop_assert_eq!(verify_inclusion(leaf, number, size, tree_root, &path), Ok(()));

        let bit_of_hash = bit.index(256);
        let other_leaf = LeafHash::from_bytes(flipped(leaf.as_bytes(), bit_of_hash));
        prop_assert!(verify_inclusion(other_leaf, number, size, tree_root, &path).is_err());
        let other_root = RootHash::from_bytes(flipped(tree_root.as_bytes(), bit_of_hash));
        prop_assert!(verify_inclusion(leaf, number, size, other_root, &path).is_err());
        if !path.is_empty() {
            let changed = flip(&path, bit.index(path.len() * 256));
            prop_assert!(verify_inclusion(leaf, number, size, tree_root, &changed).is_err());
        }
        let elsewhere = other.index(leaves.len()) as u64;
        prop_assert_eq!(verify_inclusion(leaf, elsewhere, size, tree_root, &path).is_ok(), elsewhere == number);
    }

    #[test]
    fn consistency_proves_one_past(leaves in trees(), pick in any::<Index>(), bit in any::<Index>(), changed_leaf in any::<Index>()) {
        let count = 1 + pick.index(leaves.len());
        let (old, new) = (TreeSize::new(count as u64), TreeSize::new(leaves.len() as u64));
        let (old_root, new_root) = (root(&leaves[..count]), root(&leaves));
        let proof = prove_consistency(&leaves, old).unwrap();
        prop_assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));

        let bit_of_hash = bit.index(256);
        let other = RootHash::from_bytes(flipped(old_root.as_bytes(), bit_of_hash));
        prop_assert!(verify_consistency(old, other, new, new_root, &proof).is_err());
        let other = RootHash::from_bytes(flipped(new_root.as_bytes(), bit_of_hash));
        prop_assert!(verify_consistency(old, old_root, new, other, &proof).is_err());
        if !proof.is_empty() {
            let changed = flip(&proof, bit.index(proof.len() * 256));
            prop_assert!(verify_consistency(old, old_root, new, new_root, &changed).is_err());
        }

        // A publisher that rewrites the past cannot prove the new tree against the root it once signed.
        let mut rewritten = leaves.clone();
        let victim = changed_leaf.index(count);
        rewritten[victim] = LeafHash::from_bytes(flipped(leaves[victim].as_bytes(), bit_of_hash));
        let forged = prove_consistency(&rewritten, old).unwrap();
        prop_assert!(verify_consistency(old, old_root, new, root(&rewritten), &forged).is_err());
    }

    #[test]
    fn verifiers_bear_anything(
        sizes in any::<(u64, u64, u64)>(),
        path in proptest::collection::vec(any::<[u8; 32]>().prop_map(NodeHash::from_bytes), 0..70),
    ) {
        // Random hashes prove nothing but what needs no proof, and no size overflows.
        let (index, old, new) = (sizes.0, TreeSize::new(sizes.1), TreeSize::new(sizes.2));
        let root = RootHash::from_bytes([7; 32]);
        prop_assert!(verify_inclusion(LeafHash::of(b""), index, new, root, &path).is_err());
        prop_assert_eq!(verify_consistency(old, root, new, root, &path).is_ok(), old == new && path.is_empty());
    }
}

//! The vectors of `tests/vectors/merkle.json`, and the published numbers of the certificate-transparency reference
//! tests, which no program of ours computed.
#![expect(clippy::unwrap_used, reason = "tests")]

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use weir_ledger::{
    Frontier, LeafHash, NodeHash, RootHash, TreeSize, prove_consistency, prove_inclusion, verify_consistency,
    verify_inclusion,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    version: u32,
    #[serde(rename = "about")]
    _about: String,
    known: Known,
    numbered: Numbered,
}

#[derive(Deserialize)]
struct Known {
    inputs: Vec<String>,
    #[serde(flatten)]
    tree: Tree,
}

#[derive(Deserialize)]
struct Numbered {
    leaves: u64,
    #[serde(flatten)]
    tree: Tree,
}

#[derive(Deserialize)]
struct Tree {
    roots: Vec<Root>,
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
}

#[derive(Deserialize)]
struct Root {
    size: u64,
    root: String,
}

#[derive(Deserialize)]
struct Inclusion {
    index: u64,
    size: u64,
    leaf: String,
    path: Vec<String>,
}

#[derive(Deserialize)]
struct Consistency {
    old: u64,
    new: u64,
    proof: Vec<String>,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/merkle.json")).unwrap();
    assert_eq!(vectors.version, 1);
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap()
}

fn hash(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

fn nodes(texts: &[String]) -> Vec<NodeHash> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn root(leaves: &[LeafHash], size: u64) -> RootHash {
    let mut tree = Frontier::new();
    for leaf in &leaves[..size as usize] {
        tree.append(*leaf).unwrap();
    }
    tree.root()
}

fn run(leaves: &[LeafHash], tree: &Tree) {
    for vector in &tree.roots {
        assert_eq!(root(leaves, vector.size).to_string(), vector.root, "size {}", vector.size);
    }
    for vector in &tree.inclusion {
        let path = nodes(&vector.path);
        let leaf: LeafHash = vector.leaf.parse().unwrap();
        assert_eq!(leaf, leaves[vector.index as usize]);
        assert_eq!(prove_inclusion(&leaves[..vector.size as usize], vector.index).unwrap(), path);
        let size = TreeSize::new(vector.size);
        assert_eq!(verify_inclusion(leaf, vector.index, size, root(leaves, vector.size), &path), Ok(()));
    }
    for vector in &tree.consistency {
        let proof = nodes(&vector.proof);
        let (old, new) = (TreeSize::new(vector.old), TreeSize::new(vector.new));
        assert_eq!(prove_consistency(&leaves[..vector.new as usize], old).unwrap(), proof);
        let roots = (root(leaves, vector.old), root(leaves, vector.new));
        assert_eq!(verify_consistency(old, roots.0, new, roots.1, &proof), Ok(()), "{old} to {new}");
    }
}

#[test]
fn the_known_tree() {
    let known = vectors().known;
    let leaves: Vec<_> = known.inputs.iter().map(|hex| LeafHash::of(&bytes(hex))).collect();
    assert_eq!((leaves.len(), known.tree.inclusion.len(), known.tree.consistency.len()), (8, 36, 45));
    run(&leaves, &known.tree);
}

#[test]
fn the_numbered_tree() {
    let numbered = vectors().numbered;
    let leaves: Vec<_> = (0..numbered.leaves).map(|number| LeafHash::of(number.to_string().as_bytes())).collect();
    assert_eq!((numbered.tree.inclusion.len(), numbered.tree.consistency.len()), (8, 8));
    run(&leaves, &numbered.tree);
}

#[test]
fn the_published_numbers() {
    let leaves: Vec<_> = vectors().known.inputs.iter().map(|hex| LeafHash::of(&bytes(hex))).collect();
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (size, expected) in roots.into_iter().enumerate() {
        assert_eq!(root(&leaves, size as u64), RootHash::from_bytes(hash(expected)), "size {size}");
    }

    let leaf_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
    let leaf_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
    let leaf_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f";
    let from_2_to_4 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
    let from_4_to_6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
    let from_6_to_8 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
    let from_4_to_8 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
    let from_0_to_4 = roots[4];
    let path = |hex: &[&str]| -> Vec<_> { hex.iter().map(|hex| NodeHash::from_bytes(hash(hex))).collect() };

    for (index, size, expected) in [
        (0, 1, path(&[])),
        (0, 8, path(&[leaf_1, from_2_to_4, from_4_to_8])),
        (5, 8, path(&[leaf_4, from_6_to_8, from_0_to_4])),
        (2, 3, path(&[roots[2]])),
        (1, 5, path(&[roots[1], from_2_to_4, leaf_4])),
    ] {
        assert_eq!(prove_inclusion(&leaves[..size], index), Ok(expected), "leaf {index} of {size}");
    }
    for (old, new, expected) in [
        (1, 1, path(&[])),
        (1, 8, path(&[leaf_1, from_2_to_4, from_4_to_8])),
        (6, 8, path(&[from_4_to_6, from_6_to_8, from_0_to_4])),
        (2, 5, path(&[from_2_to_4, leaf_4])),
        (6, 7, path(&[from_4_to_6, leaf_6, from_0_to_4])),
    ] {
        assert_eq!(prove_consistency(&leaves[..new], TreeSize::new(old)), Ok(expected), "{old} to {new}");
    }
}

//! The BLAKE3 tree of a body in groups of 16 KiB, and its verified streaming (bao): parents before leaves, so that
//! each group is checked before it is passed on and a corrupt byte stops exactly at its group.

use super::VerifiedChunk;
use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges, TreeNode,
    iter::{BaoChunk, ResponseIter},
};
use blake3::{
    Hash, Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use bytes::{Buf, Bytes};
use std::{collections::HashMap, iter::Peekable};
use weir_protocol::wire::{MAX_GROUPS, MAX_NODES};

/// Bytes in one verified group.
pub const GROUP_BYTES: u64 = 16 * 1024;
const GROUP: BlockSize = BlockSize::from_chunk_log(4);
const CHUNK_BYTES: u64 = 1024;
/// Bytes of an inner node: the hashes of its two children.
pub(super) const PAIR: usize = 64;

/// Why a verified stream was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// A parent or a leaf does not hash to what its parent said.
    #[error("bytes at offset {0} do not match the signed root")]
    Mismatch(u64),
    /// The stream has a parent where a leaf belongs, a leaf of another length, or goes on after its end.
    #[error("verified stream out of order at offset {0}")]
    OutOfOrder(u64),
}

/// One item of the verified stream, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeItem {
    /// 64 bytes: the hashes of the left and right child of this node.
    Parent(TreeNode),
    /// Body bytes.
    Leaf {
        /// Absolute offset.
        offset: u64,
        /// Length in bytes, at most [`GROUP_BYTES`].
        length: usize,
    },
}

fn response(length: u64, offset: u64) -> ResponseIter {
    let first = offset.min(length.saturating_sub(1)) / GROUP_BYTES * GROUP_BYTES / CHUNK_BYTES;
    ResponseIter::new(BaoTree::new(length, GROUP), ChunkRanges::from(ChunkNum(first)..))
}

/// The items that carry a body of `length` bytes from the group that holds `offset` to the end.
pub fn plan(length: u64, offset: u64) -> impl Iterator<Item = TreeItem> + Send {
    response(length, offset).map(|item| match item {
        BaoChunk::Parent { node, .. } => TreeItem::Parent(node),
        BaoChunk::Leaf { start_chunk, size, .. } => {
            TreeItem::Leaf { offset: start_chunk.0 * CHUNK_BYTES, length: size }
        }
    })
}

/// Groups that follow one another, and the inner nodes that the verified stream has before the last of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The nodes, in order.
    pub nodes: Vec<TreeNode>,
    /// Absolute offset of the first group.
    pub offset: u64,
    /// Bytes of the groups together.
    pub length: usize,
}

/// The verified stream of a body cut into runs, for sending it in few large pieces.
pub struct Runs {
    items: Peekable<ResponseIter>,
    nodes: Vec<TreeNode>,
}

impl Runs {
    /// The body of `length` bytes from the group that holds `offset` to the end.
    pub fn new(length: u64, offset: u64) -> Self {
        Self { items: response(length, offset).peekable(), nodes: Vec::new() }
    }

    /// Where the next group begins and how long it is; `None` behind the last one, and for an empty body.
    pub fn group(&mut self) -> Option<(u64, usize)> {
        loop {
            match self.items.peek()? {
                BaoChunk::Leaf { size: 0, .. } => return None,
                BaoChunk::Leaf { start_chunk, size, .. } => return Some((start_chunk.0 * CHUNK_BYTES, *size)),
                BaoChunk::Parent { node, .. } => {
                    self.nodes.push(*node);
                    self.items.next();
                }
            }
        }
    }

    /// The next group and as many after it as end within `most` bytes and fit one frame; `None` behind the last one.
    pub fn run(&mut self, most: usize) -> Option<Run> {
        let (offset, length) = self.group()?;
        self.items.next();
        let mut run = Run { nodes: std::mem::take(&mut self.nodes), offset, length };
        let mut groups = 1;
        while groups < MAX_GROUPS
            && let Some((_, length)) = self.group()
            && run.length + length <= most
            && run.nodes.len() + self.nodes.len() <= MAX_NODES
        {
            self.items.next();
            run.nodes.append(&mut self.nodes);
            run.length += length;
            groups += 1;
        }
        Some(run)
    }
}

fn leaf_hash(start_chunk: u64, data: &[u8], is_root: bool) -> Hash {
    if is_root {
        return blake3::hash(data);
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start_chunk * CHUNK_BYTES);
    hasher.update(data);
    Hash::from(hasher.finalize_non_root())
}

fn parent_hash(pair: &[u8; 64], is_root: bool) -> Hash {
    let (left, right) = split(pair);
    if is_root {
        merge_subtrees_root(left.as_bytes(), right.as_bytes(), Mode::Hash)
    } else {
        Hash::from(merge_subtrees_non_root(left.as_bytes(), right.as_bytes(), Mode::Hash))
    }
}

fn split(pair: &[u8; 64]) -> (Hash, Hash) {
    let mut left = [0; 32];
    let mut right = [0; 32];
    left.copy_from_slice(&pair[..32]);
    right.copy_from_slice(&pair[32..]);
    (Hash::from(left), Hash::from(right))
}

/// The inner nodes of a body's tree, as far as they are known.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Length of the body in bytes.
    pub length: u64,
    /// BLAKE3 hash of the body.
    pub root: Hash,
    parents: HashMap<TreeNode, [u8; 64]>,
}

impl Tree {
    /// A tree of which only length and root are known.
    pub fn rooted(length: u64, root: Hash) -> Self {
        Self { length, root, parents: HashMap::new() }
    }

    /// Hashes a whole body, read group by group.
    pub fn compute(length: u64, mut read: impl FnMut(u64, usize) -> Bytes) -> Self {
        Self::assemble(length, |start_chunk, size, is_root| {
            leaf_hash(start_chunk, &read(start_chunk * CHUNK_BYTES, size), is_root)
        })
    }

    fn assemble(length: u64, mut leaf: impl FnMut(u64, usize, bool) -> Hash) -> Self {
        let mut parents = HashMap::new();
        let mut stack: Vec<Hash> = Vec::new();
        for item in BaoTree::new(length, GROUP).post_order_chunks_iter() {
            let hash = match item {
                BaoChunk::Leaf { start_chunk, size, is_root, .. } => leaf(start_chunk.0, size, is_root),
                BaoChunk::Parent { node, is_root, .. } => {
                    let right = stack.pop().expect("post-order visits children first");
                    let left = stack.pop().expect("post-order visits children first");
                    let mut pair = [0; 64];
                    pair[..32].copy_from_slice(left.as_bytes());
                    pair[32..].copy_from_slice(right.as_bytes());
                    parents.insert(node, pair);
                    parent_hash(&pair, is_root)
                }
            };
            stack.push(hash);
        }
        Self { length, root: stack.pop().expect("every tree has a root"), parents }
    }

    /// Remembers a verified inner node.
    pub fn learn(&mut self, node: TreeNode, pair: [u8; 64]) {
        self.parents.insert(node, pair);
    }

    /// The hashes of a node's children, when known.
    pub fn parent(&self, node: TreeNode) -> Option<[u8; 64]> {
        self.parents.get(&node).copied()
    }

    /// True when every inner node is known.
    pub fn is_complete(&self) -> bool {
        self.parents.len() as u64 + 1 >= self.length.div_ceil(GROUP_BYTES)
    }

    /// Bytes of memory the known nodes take, for the store's weights.
    pub fn weight(&self) -> u64 {
        self.parents.len() as u64 * 80
    }
}

/// Builds the tree while bytes pass, in pieces of any size, so that nothing is hashed twice.
pub struct TreeBuilder {
    length: u64,
    leaves: Vec<Hash>,
    group: Hasher,
    in_group: u64,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self { length: 0, leaves: Vec::new(), group: Hasher::new(), in_group: 0 }
    }
}

impl TreeBuilder {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.in_group == GROUP_BYTES {
                self.leaves.push(Hash::from(self.group.finalize_non_root()));
                self.group = Hasher::new();
                self.group.set_input_offset(self.length);
                self.in_group = 0;
            }
            let take = usize::try_from(GROUP_BYTES - self.in_group).map_or(bytes.len(), |room| room.min(bytes.len()));
            self.group.update(&bytes[..take]);
            self.in_group += take as u64;
            self.length += take as u64;
            bytes = &bytes[take..];
        }
    }

    /// The tree over all bytes taken.
    pub fn finish(mut self) -> Tree {
        if self.leaves.is_empty() {
            return Tree::rooted(self.length, self.group.finalize());
        }
        self.leaves.push(Hash::from(self.group.finalize_non_root()));
        let leaves = self.leaves;
        Tree::assemble(self.length, |start_chunk, _, _| leaves[(start_chunk * CHUNK_BYTES / GROUP_BYTES) as usize])
    }
}

/// Checks a verified stream against a signed root, item by item or run by run.
pub struct TreeVerifier {
    items: Peekable<ResponseIter>,
    stack: Vec<Hash>,
    at: u64,
    /// Of the run that is coming in, not checked yet.
    nodes: Bytes,
}

/// What of a run was found good.
#[derive(Debug)]
pub struct Verified {
    /// Inner nodes with the hashes of their children, in order.
    pub nodes: Vec<(TreeNode, [u8; PAIR])>,
    /// The groups, as one piece.
    pub chunk: Option<VerifiedChunk>,
}

impl TreeVerifier {
    /// Expects the body of `length` bytes from the group that holds `offset` to the end.
    pub fn new(length: u64, root: Hash, offset: u64) -> Self {
        Self { items: response(length, offset).peekable(), stack: vec![root], at: offset, nodes: Bytes::new() }
    }

    /// Checks an inner node; returns which one it is.
    pub fn parent(&mut self, pair: &[u8; PAIR]) -> Result<TreeNode, TreeError> {
        let Some(BaoChunk::Parent { node, is_root, left, right, .. }) = self.items.next() else {
            return Err(TreeError::OutOfOrder(self.at));
        };
        let expected = self.stack.pop().ok_or(TreeError::OutOfOrder(self.at))?;
        if parent_hash(pair, is_root) != expected {
            return Err(TreeError::Mismatch(self.at));
        }
        let (left_hash, right_hash) = split(pair);
        if right {
            self.stack.push(right_hash);
        }
        if left {
            self.stack.push(left_hash);
        }
        Ok(node)
    }

    /// Checks body bytes; what comes back may be stored and passed on.
    pub fn leaf(&mut self, bytes: Bytes) -> Result<VerifiedChunk, TreeError> {
        let (offset, size) = self.check(&bytes)?;
        if bytes.len() == size { Ok(VerifiedChunk::leaf(offset, bytes)) } else { Err(TreeError::OutOfOrder(offset)) }
    }

    /// Takes the nodes of the next run, 64 bytes each; they are checked as its groups come.
    pub fn nodes(&mut self, nodes: Bytes) -> Result<(), TreeError> {
        // Whatever is left over has no place in the stream; taking more on top of it would have no bound.
        if !self.nodes.is_empty() || !nodes.len().is_multiple_of(PAIR) {
            return Err(TreeError::OutOfOrder(self.at));
        }
        self.nodes = nodes;
        Ok(())
    }

    /// Checks groups that follow one another. What was good before the first error comes back beside it and may be
    /// stored and passed on; after an error nothing verifies any more.
    pub fn groups(&mut self, bytes: Bytes) -> (Verified, Result<(), TreeError>) {
        let (mut nodes, mut first, mut good) = (Vec::new(), None, 0);
        let mut result = Ok(());
        while result.is_ok() && good < bytes.len() {
            result = self.group(&bytes[good..], &mut nodes).map(|(offset, size)| {
                first.get_or_insert(offset);
                good += size;
            });
        }
        if result.is_err() {
            self.stack.clear();
        }
        let chunk = first.map(|offset| VerifiedChunk::leaf(offset, bytes.slice(..good)));
        (Verified { nodes, chunk }, result)
    }

    /// Checks the nodes before the next group, and the group at the beginning of `bytes`.
    fn group(&mut self, bytes: &[u8], nodes: &mut Vec<(TreeNode, [u8; PAIR])>) -> Result<(u64, usize), TreeError> {
        while let Some(BaoChunk::Parent { .. }) = self.items.peek() {
            let pair = *self.nodes.first_chunk().ok_or(TreeError::OutOfOrder(self.at))?;
            self.nodes.advance(PAIR);
            nodes.push((self.parent(&pair)?, pair));
        }
        self.check(bytes)
    }

    /// Checks the next group at the beginning of `bytes`; returns where it is and how long.
    fn check(&mut self, bytes: &[u8]) -> Result<(u64, usize), TreeError> {
        let Some(BaoChunk::Leaf { start_chunk, size, is_root, .. }) = self.items.next() else {
            return Err(TreeError::OutOfOrder(self.at));
        };
        let offset = start_chunk.0 * CHUNK_BYTES;
        let group = bytes.get(..size).ok_or(TreeError::OutOfOrder(offset))?;
        let expected = self.stack.pop().ok_or(TreeError::OutOfOrder(offset))?;
        if leaf_hash(start_chunk.0, group, is_root) != expected {
            return Err(TreeError::Mismatch(offset));
        }
        self.at = offset + size as u64;
        Ok((offset, size))
    }
}

/// A whole body as verified groups under its own tree, for a publisher that has it all at once.
pub fn verified_leaves(tree: &Tree, bytes: &Bytes) -> Result<Vec<VerifiedChunk>, TreeError> {
    let mut verifier = TreeVerifier::new(tree.length, tree.root, 0);
    let mut leaves = Vec::new();
    for item in plan(tree.length, 0) {
        match item {
            TreeItem::Parent(node) => {
                let pair = tree.parent(node).ok_or(TreeError::OutOfOrder(0))?;
                verifier.parent(&pair)?;
            }
            TreeItem::Leaf { offset, length } => {
                let start = usize::try_from(offset).map_err(|_| TreeError::OutOfOrder(offset))?;
                let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                let end = end.ok_or(TreeError::OutOfOrder(offset))?;
                leaves.push(verifier.leaf(bytes.slice(start..end))?);
            }
        }
    }
    Ok(leaves)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(length: usize) -> Bytes {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>().into()
    }

    fn tree_of(body: &Bytes) -> Tree {
        Tree::compute(body.len() as u64, |offset, length| body.slice(offset as usize..offset as usize + length))
    }

    fn stream(tree: &Tree, body: &Bytes, offset: u64) -> Vec<(TreeItem, Bytes)> {
        plan(tree.length, offset)
            .map(|item| match item {
                TreeItem::Parent(node) => (item, Bytes::copy_from_slice(&tree.parent(node).unwrap())),
                TreeItem::Leaf { offset, length } => (item, body.slice(offset as usize..offset as usize + length)),
            })
            .collect()
    }

    fn verify(verifier: &mut TreeVerifier, item: &(TreeItem, Bytes)) -> Result<usize, TreeError> {
        match item.0 {
            TreeItem::Parent(_) => verifier.parent(item.1.as_ref().try_into().unwrap()).map(|_| 0),
            TreeItem::Leaf { .. } => verifier.leaf(item.1.clone()).map(|chunk| chunk.bytes().len()),
        }
    }

    #[test]
    fn the_root_is_plain_blake3() {
        for length in [0, 1, 1024, 16 * 1024, 16 * 1024 + 1, 100_000, 1 << 20] {
            let body = body(length);
            assert_eq!(tree_of(&body).root, blake3::hash(&body), "{length} bytes");
        }
    }

    #[test]
    fn nodes_too_many_or_too_few_are_out_of_order() {
        let body = body(100_000);
        let tree = tree_of(&body);
        let run = Runs::new(tree.length, 0).run(usize::MAX).unwrap();
        let nodes: Vec<u8> = run.nodes.iter().flat_map(|node| tree.parent(*node).unwrap()).collect();
        let mut few = TreeVerifier::new(tree.length, tree.root, 0);
        few.nodes(Bytes::copy_from_slice(&nodes[64..])).unwrap();
        assert_eq!(few.groups(body.clone()).1, Err(TreeError::Mismatch(0)));
        let mut many = TreeVerifier::new(tree.length, tree.root, 0);
        many.nodes([nodes.as_slice(), &[0; 64]].concat().into()).unwrap();
        many.groups(body.clone()).1.unwrap();
        assert_eq!(many.nodes(Bytes::from(vec![0; 64])), Err(TreeError::OutOfOrder(100_000)));
        let mut long = TreeVerifier::new(tree.length, tree.root, 0);
        long.nodes(nodes.into()).unwrap();
        let longer = Bytes::from([&body[..], b"x"].concat());
        assert_eq!(long.groups(longer).1, Err(TreeError::OutOfOrder(100_000)));
        assert_eq!(Runs::new(0, 0).run(1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn building_in_any_pieces_gives_the_same_tree(length in 0usize..200_000, step in 1usize..40_000) {
            let body = body(length);
            let mut builder = TreeBuilder::default();
            body.chunks(step).for_each(|piece| builder.update(piece));
            let (built, computed) = (builder.finish(), tree_of(&body));
            prop_assert_eq!(built.root, computed.root);
            prop_assert_eq!(built.parents, computed.parents);
        }

        #[test]
        fn a_stream_from_any_offset_verifies(length in 0usize..300_000, offset in 0u64..300_000) {
            let body = body(length);
            let offset = offset.min(length as u64);
            let tree = tree_of(&body);
            let mut verifier = TreeVerifier::new(tree.length, tree.root, offset);
            let mut got = 0;
            for item in stream(&tree, &body, offset) {
                got += verify(&mut verifier, &item).unwrap();
            }
            prop_assert!(got as u64 >= length as u64 - offset);
        }

        #[test]
        fn runs_cut_anywhere_verify(
            length in 1usize..600_000, offset in 0u64..600_000, most in 1usize..400_000, cut in 1usize..8,
        ) {
            let body = body(length);
            let offset = offset.min(length as u64);
            let tree = tree_of(&body);
            let mut runs = Runs::new(tree.length, offset);
            let mut verifier = TreeVerifier::new(tree.length, tree.root, offset);
            let mut learned = Tree::rooted(tree.length, tree.root);
            let mut at = runs.group().unwrap().0;
            prop_assert!(at <= offset);
            while let Some(run) = runs.run(most) {
                prop_assert!(run.offset == at && run.length <= most.max(GROUP_BYTES as usize));
                let nodes: Vec<u8> = run.nodes.iter().flat_map(|node| tree.parent(*node).unwrap()).collect();
                verifier.nodes(nodes.into()).unwrap();
                let bytes = body.slice(at as usize..at as usize + run.length);
                // As a decoder hands them out: in parts of whole groups.
                for part in bytes.chunks(cut * GROUP_BYTES as usize) {
                    let (verified, result) = verifier.groups(bytes.slice_ref(part));
                    result.unwrap();
                    let chunk = verified.chunk.unwrap();
                    prop_assert!(chunk.offset() == at && chunk.bytes() == part);
                    at += part.len() as u64;
                    verified.nodes.into_iter().for_each(|(node, pair)| learned.learn(node, pair));
                }
            }
            prop_assert_eq!(at, length as u64);
            if offset < GROUP_BYTES {
                prop_assert_eq!(learned.parents, tree.parents);
            }
        }

        #[test]
        fn a_flipped_bit_in_a_run_stops_at_its_group(length in 1usize..300_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let body = body(length);
            let tree = tree_of(&body);
            let at = at.index(length);
            let mut bad = body.to_vec();
            bad[at] ^= 1 << bit;
            let bad = Bytes::from(bad);
            let mut runs = Runs::new(tree.length, 0);
            let mut verifier = TreeVerifier::new(tree.length, tree.root, 0);
            let mut passed = 0;
            let error = loop {
                let run = runs.run(usize::MAX).unwrap();
                let nodes: Vec<u8> = run.nodes.iter().flat_map(|node| tree.parent(*node).unwrap()).collect();
                verifier.nodes(nodes.into()).unwrap();
                let bytes = bad.slice(run.offset as usize..run.offset as usize + run.length);
                let (verified, result) = verifier.groups(bytes.clone());
                passed += verified.chunk.map_or(0, |chunk| chunk.bytes().len() as u64);
                if let Err(error) = result {
                    prop_assert!(verifier.groups(bytes).1.is_err(), "a failed verifier stays failed");
                    break error;
                }
            };
            let group = at as u64 / GROUP_BYTES * GROUP_BYTES;
            prop_assert_eq!((error, passed), (TreeError::Mismatch(group), group));
        }

        #[test]
        fn one_flipped_bit_stops_the_stream_at_its_group(length in 1usize..200_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let body = body(length);
            let tree = tree_of(&body);
            let at = at.index(length);
            let mut bad = body.to_vec();
            bad[at] ^= 1 << bit;
            let bad = Bytes::from(bad);
            let mut verifier = TreeVerifier::new(tree.length, tree.root, 0);
            let mut passed = 0;
            let mut stopped = None;
            for item in stream(&tree, &bad, 0) {
                match verify(&mut verifier, &item) {
                    Ok(bytes) => passed += bytes as u64,
                    Err(error) => { stopped = Some(error); break }
                }
            }
            let group = at as u64 / GROUP_BYTES * GROUP_BYTES;
            prop_assert_eq!(stopped, Some(TreeError::Mismatch(group)));
            prop_assert_eq!(passed, group);
        }
    }
}

//! One stored or growing response: its head, its body (read by any number of readers behind one writer) and the
//! BLAKE3 tree that lets other relays verify it piece by piece.

mod entry;
mod growing;
mod piece;
mod tree;

pub(crate) use entry::header_map;
pub use entry::{Entry, Evidence, Head, next_generation};
pub use growing::{Ended, Growing, PieceRef, Reader};
pub use piece::{Piece, VerifiedChunk};
pub use tree::{
    GROUP_BYTES, Run, Runs, Tree, TreeBuilder, TreeError, TreeItem, TreeVerifier, Verified, plan, verified_leaves,
};

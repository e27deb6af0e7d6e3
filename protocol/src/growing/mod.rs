//! Objects that still grow at the origin: a signed head, then chunks that are each signed alone.
//!
//! Invariant: a byte of a growing object is passed on only inside a chunk that verified for this resource, generation
//! and absolute offset. Chunks are not linked to one another, so slices of large objects work too; the final record
//! binds them all to the root.

mod chunk;
mod head;
mod interim;

pub use chunk::{
    CHUNK_CLOSES_AFTER, CHUNK_CONTEXT, Chunk, ChunkError, FIRST_CHUNK, MAX_CHUNK, MAX_CHUNK_SIGNATURE, SignedChunk,
    UnverifiedChunk,
};
pub use head::{HEAD_CONTEXT, HeadBody, HeadError, MAX_HEAD, SignedHead, UnverifiedHead};
pub use interim::{INTERIM_CONTEXT, InterimBody, InterimError, MAX_INTERIM, SignedInterim, UnverifiedInterim};

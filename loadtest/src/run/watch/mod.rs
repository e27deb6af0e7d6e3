//! Virtual viewers at work: what is decided in `player` is carried out here, over connections that viewers share.
//!
//! Invariant: a viewer holds one playlist and, when it is inspected, one segment; bodies of others are counted and dropped.

pub(super) mod aim;
mod inspect;
mod load;
mod media;
mod playlist;
pub(super) mod pool;
pub(super) mod stage;
mod steer;
mod track;
pub(super) mod viewer;

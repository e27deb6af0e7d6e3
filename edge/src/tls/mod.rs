//! Certificates of the encrypted doors: loaded from PEM files or made and kept by the edge itself, and held so that
//! they can be swapped while doors run. Invariant: a key that does not belong to its certificate is never held.

mod der;
mod holder;
mod material;
mod self_signed;

pub use holder::TlsHolder;
pub use material::{TlsError, TlsMaterial};
pub use self_signed::SelfSigned;

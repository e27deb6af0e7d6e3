//! Where a relay hangs in a tree, and why it may leave that place.

/// Who feeds a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Parent<N> {
    /// The adapter.
    Root,
    /// Another relay.
    Node(N),
}

impl<N: Copy> Parent<N> {
    /// The relay, when it is one.
    pub fn node(&self) -> Option<N> {
        match self {
            Self::Root => None,
            Self::Node(node) => Some(*node),
        }
    }
}

/// A relay's place, as the adapter assigns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<N> {
    /// Whom to subscribe at.
    pub parent: Parent<N>,
    /// Whom to turn to when the parent fails, best first, the adapter last. None of them is fed by this relay.
    pub backups: Vec<Parent<N>>,
    /// Steps from the adapter; 1 at the adapter itself.
    pub depth: u32,
}

/// Why a relay leaves its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The connection or the subscription ended.
    Gone,
    /// Nothing was heard for too long.
    Silent,
    /// It lives, but what the playlist lists does not arrive.
    Late,
    /// It sent what does not verify.
    Corrupt,
}

//! How a relay can be reached: its class and the addresses that lead to it.
//!
//! Invariant: a [`Reach`] that was decoded or checked names at most [`MAX_REACH_ADDRESSES`] socket addresses, each with
//! a port. They are hints: whoever dials them authenticates the peer by its PeerId.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};

use crate::wire::WireError;

/// Most addresses in a [`Reach`].
pub const MAX_REACH_ADDRESSES: usize = 6;

/// How others come to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum ReachClass {
    /// Not found out yet.
    #[default]
    #[n(0)]
    Unknown,
    /// Nothing in between: an address of its own can be dialled.
    #[n(1)]
    Direct,
    /// A router forwards a port of its own to the relay.
    #[n(2)]
    Mapped,
    /// Behind a NAT that lets a peer in when both sides send at the same moment (RFC 5128 section 3.3).
    #[n(3)]
    Punched,
    /// Nobody can come to it; it dials out.
    #[n(4)]
    PeerOnly,
}

impl ReachClass {
    /// For metrics and status pages: `unknown`, `direct`, `mapped`, `punched`, `peer-only`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Direct => "direct",
            Self::Mapped => "mapped",
            Self::Punched => "punched",
            Self::PeerOnly => "peer-only",
        }
    }

    /// True when a stranger's first packet gets through.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Direct | Self::Mapped)
    }
}

/// What a relay says about coming to it: to its adapter over the control stream, to the others by gossip.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Reach {
    /// How it can be reached.
    #[n(0)]
    pub class: ReachClass,
    /// UDP socket addresses, `ip:port`, best first; at most [`MAX_REACH_ADDRESSES`].
    #[n(1)]
    pub addresses: Vec<String>,
}

impl Reach {
    /// Names at most [`MAX_REACH_ADDRESSES`] of `addresses`, the first ones.
    pub fn new(class: ReachClass, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let addresses = addresses.into_iter().take(MAX_REACH_ADDRESSES).map(|address| address.to_string());
        Self { class, addresses: addresses.collect() }
    }

    /// The addresses, parsed.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().filter_map(|address| address.parse().ok())
    }

    /// Holds it against its bounds.
    ///
    /// # Errors
    /// [`WireError::OutOfBounds`].
    pub fn check(&self) -> Result<(), WireError> {
        let good = |address: &String| address.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0);
        if self.addresses.len() > MAX_REACH_ADDRESSES || !self.addresses.iter().all(good) {
            return Err(WireError::OutOfBounds("addresses"));
        }
        Ok(())
    }
}

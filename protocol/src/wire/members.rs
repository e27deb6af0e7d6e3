//! Who belongs to a publisher's network, as its adapter tells it: the whole list, or what has changed since one.
//!
//! Invariant: changes apply to exactly one earlier list, named by its epoch; whoever holds another one asks for the
//! whole list.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};

use crate::grant::MAX_WEIGHT;
use crate::ids::{PublisherId, RelayId};
use crate::time::UnixMillis;
use crate::wire::{MAX_NAME, WireError, bounded};

/// Most members in one Members frame, and most that join or leave in one Changes frame.
pub const MAX_MEMBERS: usize = 1024;
/// Most addresses of one member.
pub const MAX_MEMBER_ADDRESSES: usize = 8;
/// Most relays whose grants are taken back in one frame.
pub const MAX_REVOKED: usize = 1024;
/// Most relays that are named in place of an answer.
pub const MAX_FOUND: usize = 4;

/// One relay of a publisher's network.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Member {
    /// Who it is.
    #[n(0)]
    pub relay: RelayId,
    /// UDP socket addresses, `ip:port`; at most [`MAX_MEMBER_ADDRESSES`].
    #[n(1)]
    pub addresses: Vec<String>,
    /// Its region, at most 128 bytes; empty if unknown.
    #[n(2)]
    pub region: String,
    /// Its share of objects relative to others, 1 to [`MAX_WEIGHT`]; absent:
    /// [`DEFAULT_WEIGHT`](crate::grant::DEFAULT_WEIGHT).
    #[n(3)]
    pub weight: Option<u32>,
    /// Since when it has been a member; absent: unknown.
    #[n(4)]
    pub since: Option<UnixMillis>,
    /// True when its grant covers some paths only: being in this list does not suffice then, it must show the grant.
    #[n(5)]
    pub scoped: Option<bool>,
}

/// Who belongs to a publisher's network, from the adapter. The list with the highest epoch counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Members {
    /// Whose network.
    #[n(0)]
    pub publisher: PublisherId,
    /// Grows with each change.
    #[n(1)]
    pub epoch: u64,
    /// At most [`MAX_MEMBERS`]: the receiver's region, and some of other regions.
    #[n(2)]
    pub members: Vec<Member>,
    /// Relays whose grants no longer count; at most [`MAX_REVOKED`].
    #[n(3)]
    pub revoked: Option<Vec<RelayId>>,
}

/// What has changed since an earlier list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Changes {
    /// Whose network.
    #[n(0)]
    pub publisher: PublisherId,
    /// Epoch of the list that these changes apply to.
    #[n(1)]
    pub since: u64,
    /// Epoch of the list that they make of it.
    #[n(2)]
    pub epoch: u64,
    /// Members that are new or have changed; at most [`MAX_MEMBERS`].
    #[n(3)]
    pub joined: Vec<Member>,
    /// Relays that are gone; at most [`MAX_MEMBERS`].
    #[n(4)]
    pub left: Vec<RelayId>,
    /// All relays whose grants no longer count, if these have changed; at most [`MAX_REVOKED`].
    #[n(5)]
    pub revoked: Option<Vec<RelayId>>,
}

/// A relay and where it is, for whoever may not know it as a member: an asker is told of a part of them only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// Who it is.
    #[n(0)]
    pub relay: RelayId,
    /// UDP socket addresses, `ip:port`; at most [`MAX_MEMBER_ADDRESSES`].
    #[n(1)]
    pub addresses: Vec<String>,
}

impl Found {
    pub(super) fn check(&self) -> Result<(), WireError> {
        check_addresses(&self.addresses)
    }
}

fn check_addresses(addresses: &[String]) -> Result<(), WireError> {
    let parse = |address: &String| address.len() <= MAX_NAME && address.parse::<SocketAddr>().is_ok();
    if addresses.len() > MAX_MEMBER_ADDRESSES || !addresses.iter().all(parse) {
        return Err(WireError::OutOfBounds("addresses"));
    }
    Ok(())
}

impl Member {
    fn check(&self) -> Result<(), WireError> {
        check_addresses(&self.addresses)?;
        if self.weight.is_some_and(|weight| !(1..=MAX_WEIGHT).contains(&weight)) {
            return Err(WireError::OutOfBounds("weight"));
        }
        bounded(&self.region, MAX_NAME, "region")
    }
}

impl Members {
    pub(super) fn check(&self) -> Result<(), WireError> {
        check(&self.members, "members")?;
        check_revoked(self.revoked.as_deref())
    }
}

impl Changes {
    pub(super) fn check(&self) -> Result<(), WireError> {
        check(&self.joined, "joined")?;
        if self.left.len() > MAX_MEMBERS {
            return Err(WireError::OutOfBounds("left"));
        }
        if self.epoch <= self.since {
            return Err(WireError::OutOfBounds("epoch"));
        }
        check_revoked(self.revoked.as_deref())
    }
}

fn check(members: &[Member], field: &'static str) -> Result<(), WireError> {
    if members.len() > MAX_MEMBERS {
        return Err(WireError::OutOfBounds(field));
    }
    members.iter().try_for_each(Member::check)
}

fn check_revoked(revoked: Option<&[RelayId]>) -> Result<(), WireError> {
    if revoked.is_some_and(|revoked| revoked.len() > MAX_REVOKED) {
        return Err(WireError::OutOfBounds("revoked"));
    }
    Ok(())
}

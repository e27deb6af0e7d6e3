//! Names and bytes of what the journal keeps.
//!
//! Invariant: rows of one series sort together, and a name tells its kind, publisher and epoch.

use bytes::Bytes;
use weir_protocol::{
    EdgeClaim, Epoch, PeerReceipt, PublisherId, RelayId, TokenHash, UnixMillis, ViewerReceipt,
    statement::{ClaimClass, Kind},
};

/// Bytes of a name.
pub(super) const NAME: usize = 1 + 32 + 32 + 8 + 16;
/// Tag of the end of a publisher's chain of claims; kinds of statements are far below.
const CHAIN: u8 = 0xf0;

/// The name of a series: what has it replaces or follows one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub(super) [u8; NAME]);

impl Name {
    fn new(tag: u8, publisher: &PublisherId, id: &[u8; 32], epoch: Epoch, rest: [u8; 16]) -> Self {
        let mut name = [0; NAME];
        name[0] = tag;
        name[1..33].copy_from_slice(&publisher.0);
        name[33..65].copy_from_slice(id);
        name[65..73].copy_from_slice(&epoch.0.to_be_bytes());
        name[73..].copy_from_slice(&rest);
        Self(name)
    }

    /// Receipts from one relay to another.
    pub(crate) fn receipts(publisher: &PublisherId, sender: &RelayId, receiver: &RelayId, epoch: Epoch) -> Self {
        let pair = blake3::hash(&[sender.0.to_bytes(), receiver.0.to_bytes()].concat());
        Self::new(Kind::PeerReceipt as u8, publisher, pair.as_bytes(), epoch, [0; 16])
    }

    /// The series of a receipt.
    pub(crate) fn of_receipt(receipt: &PeerReceipt) -> Self {
        Self::receipts(&receipt.publisher, &receipt.sender, &receipt.receiver, receipt.epoch)
    }

    /// The series of a claim.
    pub(crate) fn of_claim(claim: &EdgeClaim) -> Self {
        let class = match claim.class {
            ClaimClass::Viewer => 0,
            ClaimClass::Service => 1,
        };
        let path = short(&[&[class], claim.path.as_bytes()].concat());
        Self::new(Kind::EdgeClaim as u8, &claim.publisher, claim.token.as_bytes(), claim.epoch, path)
    }

    /// The first and the last name that claims with one token can have.
    pub(super) fn claims_with(publisher: &PublisherId, token: &TokenHash) -> (Self, Self) {
        let of = |epoch, rest| Self::new(Kind::EdgeClaim as u8, publisher, token.as_bytes(), epoch, rest);
        (of(Epoch(0), [0; 16]), of(Epoch(u64::MAX), [0xff; 16]))
    }

    /// The series of a viewer's receipts.
    pub(crate) fn of_viewer(receipt: &ViewerReceipt) -> Self {
        let key = short(&receipt.session_key);
        Self::new(Kind::ViewerReceipt as u8, &receipt.publisher, receipt.token.as_bytes(), receipt.epoch, key)
    }

    /// A token.
    pub(crate) fn of_token(publisher: &PublisherId, token: &TokenHash) -> Self {
        Self::new(Kind::Token as u8, publisher, token.as_bytes(), Epoch(0), [0; 16])
    }

    /// The payee.
    pub(crate) fn of_payee(publisher: &PublisherId) -> Self {
        Self::new(Kind::PayeeChange as u8, publisher, &[0; 32], Epoch(0), [0; 16])
    }

    /// The end of a publisher's chain of claims.
    pub(crate) fn of_chain(publisher: &PublisherId) -> Self {
        Self::new(CHAIN, publisher, &[0; 32], Epoch(0), [0; 16])
    }
}

fn short(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

/// A message that waits to be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its place in the journal.
    pub(crate) number: u64,
    /// What it is.
    pub(crate) kind: Kind,
    /// The message.
    pub(crate) message: Bytes,
}

/// A message that is in the ledger, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Whose ledger.
    pub publisher: PublisherId,
    /// What it is.
    pub kind: Kind,
    /// Its leaf.
    pub index: u64,
    /// When the publisher received it; part of the leaf's commitment.
    pub received: UnixMillis,
    /// The salt of the commitment.
    pub salt: [u8; 16],
    /// The message.
    pub message: Bytes,
}

/// A row of the outbox.
pub(super) struct OutRow<'a> {
    pub(super) publisher: PublisherId,
    pub(super) kind: Kind,
    pub(super) name: Name,
    pub(super) message: &'a [u8],
}

impl<'a> OutRow<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.publisher.0[..], &[self.kind as u8], &self.name.0, self.message].concat()
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (publisher, rest) = bytes.split_first_chunk::<32>()?;
        let (kind, rest) = rest.split_first()?;
        let (name, message) = rest.split_first_chunk::<NAME>()?;
        let kind = Kind::from_number(*kind)?;
        Some(Self { publisher: PublisherId(*publisher), kind, name: Name(*name), message })
    }
}

impl Kept {
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.index.to_be_bytes(), self.received.0.to_be_bytes()].concat();
        [&self.publisher.0[..], &[self.kind as u8], &numbers, &self.salt, &self.message].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (publisher, rest) = bytes.split_first_chunk::<32>()?;
        let (kind, rest) = rest.split_first()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (received, rest) = rest.split_first_chunk::<8>()?;
        let (salt, message) = rest.split_first_chunk::<16>()?;
        Some(Self {
            publisher: PublisherId(*publisher),
            kind: Kind::from_number(*kind)?,
            index: u64::from_be_bytes(*index),
            received: UnixMillis(u64::from_be_bytes(*received)),
            salt: *salt,
            message: Bytes::copy_from_slice(message),
        })
    }
}

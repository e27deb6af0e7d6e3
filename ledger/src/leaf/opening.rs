//! Commitments and openings.
//!
//! Invariant: a commitment binds salt, time, kind and message: none of them can be exchanged for another that fits.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use weir_protocol::statement::Kind;
use weir_protocol::time::UnixMillis;

use crate::merkle::LeafHash;

/// Longest message in the log, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of a log entry: a version and the commitment.
pub const ENTRY_LEN: usize = 33;

/// Version of the entry format.
const ENTRY_VERSION: u8 = 1;
/// Domain of a commitment.
const LEAF_CONTEXT: &[u8] = b"weir/leaf/1";
/// Domain of a message's id.
const ID_CONTEXT: &[u8] = b"weir/message/1";
/// Bytes of an encoded opening before its message: salt, time, kind.
const OPENING_HEAD: usize = 16 + 8 + 1;

/// Why bytes are no opening or entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not the length that the format prescribes, or longer than a message may be.
    #[error("{0} bytes are no opening")]
    Length(usize),
    /// A kind that this version does not know.
    #[error("kind {0} is unknown")]
    Kind(u8),
    /// Not an entry of version 1.
    #[error("not a log entry of version 1")]
    Entry,
}

/// What hides a message in its commitment: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl fmt::Debug for Salt {
    /// A salt is what keeps a deleted session unlinked: it is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

/// What a leaf of the log commits to a message with: SHA-256 over `weir/leaf/1`, salt, time of receipt (8 big-endian
/// bytes, milliseconds), kind (1 byte) and message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment(pub [u8; 32]);

impl Commitment {
    /// The entry as the log carries it: version 1, commitment.
    #[must_use]
    pub fn entry(&self) -> [u8; ENTRY_LEN] {
        let mut entry = [ENTRY_VERSION; ENTRY_LEN];
        entry[1..].copy_from_slice(&self.0);
        entry
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`LeafError::Entry`].
    pub fn from_entry(entry: &[u8]) -> Result<Self, LeafError> {
        match entry.split_first() {
            Some((&ENTRY_VERSION, commitment)) => commitment.try_into().map(Self).map_err(|_| LeafError::Entry),
            _ => Err(LeafError::Entry),
        }
    }

    /// The hash of the entry in the Merkle tree.
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        LeafHash::of(&self.entry())
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

/// Tells whether a message is in the log already. It names the message to whoever guesses it, so it is deleted together
/// with the opening.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId(pub [u8; 16]);

/// What opens a commitment.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// Random, drawn for this message alone.
    pub salt: Salt,
    /// When the publisher received the message, by its clock.
    pub received: UnixMillis,
    /// What the message is.
    pub kind: Kind,
    /// The message as its maker signed it.
    pub message: Vec<u8>,
}

impl Opening {
    /// The commitment that it opens.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        let hash = Sha256::new()
            .chain_update(LEAF_CONTEXT)
            .chain_update(self.salt.0)
            .chain_update(self.received.0.to_be_bytes())
            .chain_update([self.kind.number()])
            .chain_update(&self.message);
        Commitment(hash.finalize().into())
    }

    /// The id of its message.
    #[must_use]
    pub fn id(&self) -> MessageId {
        let hash =
            Sha256::new().chain_update(ID_CONTEXT).chain_update([self.kind.number()]).chain_update(&self.message);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        MessageId(id)
    }

    /// The stored and published form: salt, time (8 big-endian bytes), kind, message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(OPENING_HEAD + self.message.len());
        bytes.extend_from_slice(&self.salt.0);
        bytes.extend_from_slice(&self.received.0.to_be_bytes());
        bytes.push(self.kind.number());
        bytes.extend_from_slice(&self.message);
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`LeafError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LeafError> {
        let wrong = LeafError::Length(bytes.len());
        if bytes.len() > OPENING_HEAD + MAX_MESSAGE {
            return Err(wrong);
        }
        let (salt, rest) = bytes.split_first_chunk::<16>().ok_or_else(|| wrong.clone())?;
        let (received, rest) = rest.split_first_chunk::<8>().ok_or_else(|| wrong.clone())?;
        let (kind, message) = rest.split_first().ok_or(wrong)?;
        Ok(Self {
            salt: Salt(*salt),
            received: UnixMillis(u64::from_be_bytes(*received)),
            kind: Kind::from_number(*kind).ok_or(LeafError::Kind(*kind))?,
            message: message.to_vec(),
        })
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({}, {}, {} bytes)", self.kind, self.received, self.message.len())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Commitment, LeafError, Opening, Salt};
    use weir_protocol::statement::Kind;
    use weir_protocol::time::UnixMillis;

    fn opening() -> Opening {
        Opening { salt: Salt([1; 16]), received: UnixMillis(7), kind: Kind::Token, message: b"a.b.c".to_vec() }
    }

    #[test]
    fn an_opening_round_trips_and_opens_nothing_else() {
        let opening = opening();
        assert_eq!(Opening::decode(&opening.encode()).unwrap(), opening);
        let encoded = opening.encode();
        for at in 0..encoded.len() {
            let mut other = encoded.clone();
            other[at] ^= 1;
            let opened = Opening::decode(&other).map(|other| other.commitment());
            assert_ne!(opened, Ok(opening.commitment()), "byte {at}");
        }
        assert_eq!(Opening::decode(&encoded[..24]), Err(LeafError::Length(24)));
        assert_eq!(Opening::decode(&[0; 25]), Err(LeafError::Kind(0)));
    }

    #[test]
    fn the_same_message_has_one_id_and_many_commitments() {
        let other = Opening { salt: Salt([2; 16]), received: UnixMillis(8), ..opening() };
        assert_eq!(other.id(), opening().id());
        assert_ne!(other.commitment(), opening().commitment());
        assert_ne!(Opening { kind: Kind::Policy, ..opening() }.id(), opening().id());
        assert!(!format!("{:?}", opening().salt).contains('1'));
    }

    #[test]
    fn entries_have_one_form() {
        let commitment = opening().commitment();
        assert_eq!(Commitment::from_entry(&commitment.entry()), Ok(commitment));
        assert_eq!(Commitment::from_entry(&commitment.0), Err(LeafError::Entry));
        assert_eq!(Commitment::from_entry(&[]), Err(LeafError::Entry));
    }
}

//! A publisher's takedown: a resource, or everything below a path, is withdrawn, purged and refused.
//!
//! Invariants: a signed takedown fits [`MAX_TAKEDOWN`] bytes, whatever the path; of two takedowns of one target the one
//! with the higher serial number counts, so that an old one cannot be replayed over a newer, and lifting one is a newer
//! one that has ended.

use bytes::Bytes;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{self, CborError};
use crate::cose::{self, CoseError, UnverifiedSign1};
use crate::gossip::MAX_ANNOUNCEMENT_BODY;
use crate::ids::{KeyId, PublisherId, ResourceHash};
use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::resource::{CanonicalPath, ResourceKey};
use crate::time::{CLOCK_SKEW_MS, UnixMillis};

/// COSE context of a takedown.
pub const TAKEDOWN_CONTEXT: &str = "weir/takedown/1";
/// Longest signed takedown, in bytes: it is the body of an announcement.
pub const MAX_TAKEDOWN: usize = MAX_ANNOUNCEMENT_BODY;
/// Longest path that is named as it is, in bytes; a longer one is named by its hash.
pub const MAX_PLAIN_PATH: usize = 80;

/// BLAKE3 key-derivation context of a path that is too long to be named.
const PATH_CONTEXT: &str = "weir/path/1";

/// Why a takedown is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakedownError {
    /// Not a takedown, or its signature does not verify.
    #[error("takedown: {0}")]
    Cose(#[from] CoseError),
    /// The signed payload is no takedown.
    #[error("takedown payload: {0}")]
    Payload(#[from] CborError),
    /// Another publisher's.
    #[error("the takedown is of publisher {0}")]
    WrongPublisher(PublisherId),
    /// The publisher's key list does not let this key sign then. Ours may be the older list.
    #[error("key {0} may not sign this takedown")]
    UnknownKey(KeyId),
    /// Its serial number lies in the future: one of the two clocks is wrong.
    #[error("the takedown was issued at {issued}, now it is {now}")]
    FromTheFuture {
        /// Serial number, read as a time.
        issued: UnixMillis,
        /// The time it was checked at.
        now: UnixMillis,
    },
    /// The key list itself has expired.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// What is withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One resource: path, query and variant.
    Resource(ResourceHash),
    /// A path and everything below it, with any query and variant ([`CanonicalPath::covers`]). At most
    /// [`MAX_PLAIN_PATH`] bytes.
    Path(CanonicalPath),
    /// The same for a longer path.
    LongPath {
        /// Bytes of the path.
        length: u16,
        /// BLAKE3 (derive_key, context `weir/path/1`) of the path.
        hash: [u8; 32],
    },
}

impl Target {
    /// A path and everything below it.
    #[must_use]
    pub fn path(path: CanonicalPath) -> Self {
        match u16::try_from(path.as_str().len()) {
            Ok(length) if path.as_str().len() > MAX_PLAIN_PATH => {
                Self::LongPath { length, hash: path_hash(path.as_str()) }
            }
            _ => Self::Path(path),
        }
    }

    /// Whether a resource is meant.
    #[must_use]
    pub fn covers(&self, key: &ResourceKey) -> bool {
        match self {
            Self::Resource(hash) => key.hash() == *hash,
            Self::Path(path) => path.covers(&key.path),
            Self::LongPath { length, hash } => {
                let (path, end) = (key.path.as_str(), usize::from(*length));
                let start = path.get(..end);
                start.is_some_and(|start| ends_at_segment(path, end) && path_hash(start) == *hash)
            }
        }
    }
}

/// The hash that stands for a long path.
#[must_use]
pub fn path_hash(path: &str) -> [u8; 32] {
    blake3::derive_key(PATH_CONTEXT, path.as_bytes())
}

/// Whether the first `end` bytes of a path are a path that covers it.
#[must_use]
pub fn ends_at_segment(path: &str, end: usize) -> bool {
    let bytes = path.as_bytes();
    end == bytes.len() || bytes.get(end) == Some(&b'/') || end > 0 && bytes.get(end - 1) == Some(&b'/')
}

const RESOURCE: u8 = 0;
const PATH: u8 = 1;
const LONG_PATH: u8 = 2;

impl<C> Encode<C> for Target {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        match self {
            Self::Resource(hash) => hash.encode(e.array(2)?.u8(RESOURCE)?, c),
            Self::Path(path) => path.encode(e.array(2)?.u8(PATH)?, c),
            Self::LongPath { length, hash } => e.array(3)?.u8(LONG_PATH)?.u16(*length)?.bytes(hash)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Target {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        let members = d.array()?;
        match (members, d.u8()?) {
            (Some(2), RESOURCE) => Ok(Self::Resource(d.decode_with(c)?)),
            (Some(2), PATH) => {
                let path: CanonicalPath = d.decode_with(c)?;
                if path.as_str().len() > MAX_PLAIN_PATH {
                    return Err(DecodeError::message("a longer path is named by its hash"));
                }
                Ok(Self::Path(path))
            }
            (Some(3), LONG_PATH) => {
                let length = d.u16()?;
                let hash = d.bytes()?.try_into().map_err(|_| DecodeError::message("a hash has 32 bytes"))?;
                if usize::from(length) <= MAX_PLAIN_PATH {
                    return Err(DecodeError::message("a short path is named as it is"));
                }
                Ok(Self::LongPath { length, hash })
            }
            _ => Err(DecodeError::message("no target of a takedown")),
        }
    }
}

/// What a takedown states.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Takedown {
    /// Whose content.
    #[n(0)]
    pub publisher: PublisherId,
    /// Serial number: the time of issue in milliseconds, and higher than any the publisher has used before.
    #[n(1)]
    pub serial: UnixMillis,
    /// From this moment on it no longer holds; absent: until it is lifted. Not later than `serial`: it is lifted.
    #[n(2)]
    pub until: Option<UnixMillis>,
    /// What is withdrawn.
    #[n(3)]
    pub target: Target,
}

impl Takedown {
    /// True while the target is withdrawn.
    #[must_use]
    pub fn holds_at(&self, now: UnixMillis) -> bool {
        self.until.is_none_or(|until| until > self.serial && now < until)
    }
}

/// A takedown whose signature was made or verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTakedown {
    bytes: Bytes,
    takedown: Takedown,
}

impl SignedTakedown {
    /// Signs a takedown.
    #[must_use]
    pub fn sign(takedown: Takedown, key: &SigningKey) -> Self {
        let bytes = cose::sign(key.dalek(), TAKEDOWN_CONTEXT, &cbor::to_vec(&takedown)).into();
        Self { bytes, takedown }
    }

    /// The COSE message, at most [`MAX_TAKEDOWN`] bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it states.
    #[must_use]
    pub fn takedown(&self) -> &Takedown {
        &self.takedown
    }
}

/// The COSE message of a takedown as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedTakedown(pub Bytes);

impl UnverifiedTakedown {
    /// Verifies that the ring's publisher has issued it.
    ///
    /// # Errors
    /// [`TakedownError`].
    pub fn verify(&self, ring: &KeyRing, now: UnixMillis) -> Result<SignedTakedown, TakedownError> {
        ring.check_expiry(now)?;
        let takedown = self.claimed()?;
        let message = UnverifiedSign1::parse(&self.0)?;
        let key = ring.key(&message.kid, takedown.serial).ok_or(TakedownError::UnknownKey(message.kid))?;
        message.verify(key, TAKEDOWN_CONTEXT)?;
        if takedown.publisher != ring.publisher() {
            return Err(TakedownError::WrongPublisher(takedown.publisher));
        }
        if takedown.serial > now.plus_ms(CLOCK_SKEW_MS) {
            return Err(TakedownError::FromTheFuture { issued: takedown.serial, now });
        }
        Ok(SignedTakedown { bytes: self.0.clone(), takedown })
    }

    /// What it says, without believing it: for a node that reads again what it has verified before.
    ///
    /// # Errors
    /// [`TakedownError`] if it is no takedown.
    pub fn claimed(&self) -> Result<Takedown, TakedownError> {
        cbor::check_length(&self.0, MAX_TAKEDOWN)?;
        Ok(cbor::decode_canonical(UnverifiedSign1::parse(&self.0)?.payload)?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{MAX_PLAIN_PATH, MAX_TAKEDOWN, SignedTakedown, Takedown, Target};
    use crate::ids::PublisherId;
    use crate::keys::SigningKey;
    use crate::resource::{CanonicalPath, ResourceKey};
    use crate::time::UnixMillis;

    const PUBLISHER: PublisherId = PublisherId::from_bytes([1; 32]);

    fn key(path: &str) -> ResourceKey {
        ResourceKey::parse(PUBLISHER, path).unwrap()
    }

    #[test]
    fn a_path_is_withdrawn_with_everything_below_it_whatever_its_length() {
        for length in [5, MAX_PLAIN_PATH, MAX_PLAIN_PATH + 1, 4000] {
            let path = format!("/{}", "p".repeat(length - 1));
            let target = Target::path(CanonicalPath::parse(&path).unwrap());
            assert_eq!(matches!(target, Target::LongPath { .. }), length > MAX_PLAIN_PATH);
            for (tail, covered) in [("", true), ("?q=1", true), ("/x.ts", true), ("x", false), ("x/y", false)] {
                assert_eq!(target.covers(&key(&format!("{path}{tail}"))), covered, "{length} {tail}");
            }
            let longest = Takedown {
                publisher: PUBLISHER,
                serial: UnixMillis(u64::MAX - 1),
                until: Some(UnixMillis(u64::MAX)),
                target,
            };
            let signed = SignedTakedown::sign(longest, &SigningKey::from_bytes(&[2; 32]));
            assert!(signed.bytes().len() <= MAX_TAKEDOWN, "{} bytes", signed.bytes().len());
        }
    }

    #[test]
    fn a_folder_and_a_single_resource_are_told_apart() {
        let folder = Target::path(CanonicalPath::parse("/film/").unwrap());
        assert!(folder.covers(&key("/film/a.ts")) && !folder.covers(&key("/film")));
        let one = Target::Resource(key("/film/a.ts?x=1").hash());
        assert!(one.covers(&key("/film/a.ts?x=1")) && !one.covers(&key("/film/a.ts")));
    }

    #[test]
    fn a_takedown_that_has_ended_before_it_began_lifts() {
        let serial = UnixMillis(1000);
        let takedown =
            |until| Takedown { publisher: PUBLISHER, serial, until, target: Target::Resource(key("/a").hash()) };
        assert!(takedown(None).holds_at(UnixMillis(u64::MAX)));
        assert!(takedown(Some(UnixMillis(2000))).holds_at(UnixMillis(1999)));
        assert!(!takedown(Some(UnixMillis(2000))).holds_at(UnixMillis(2000)));
        assert!(!takedown(Some(serial)).holds_at(UnixMillis(0)));
    }
}

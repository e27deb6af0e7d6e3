//! The way from bytes to a statement that can be believed.
//!
//! Invariant: a [`Verified`] exists only where its signature was made or verified here, by the key that the statement
//! names, and its payload is in the one deterministic encoding.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use ed25519_dalek::VerifyingKey;
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::cbor;
use crate::cose::{self, UnverifiedSign1};
use crate::ids::{KeyId, PublisherId};
use crate::keys::{EvidenceKey, KeyRing, SigningKey};
use crate::statement::error::StatementError;
use crate::time::UnixMillis;

/// A kind of signed statement.
pub trait Statement: Clone + fmt::Debug + Encode<()> + for<'b> Decode<'b, ()> {
    /// COSE context.
    const CONTEXT: &'static str;
    /// Longest COSE message, in bytes.
    const MAX: usize;

    /// Whether every field is within its bounds.
    ///
    /// # Errors
    /// [`StatementError::Unfit`] names the field.
    fn check(&self) -> Result<(), StatementError>;
}

/// A statement that names the key that signs it.
pub trait SelfSigned: Statement {
    /// The Ed25519 public key; `None` if the signer has no such key.
    fn signer(&self) -> Option<[u8; 32]>;
}

/// A statement by a publisher, signed by a key of its key list.
pub trait PublisherSigned: Statement {
    /// Who states it.
    fn publisher(&self) -> PublisherId;
    /// When it was signed: the key must have been allowed to then.
    fn signed_at(&self) -> UnixMillis;
}

/// SHA-256 of a whole COSE message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MessageHash(pub [u8; 32]);

impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A statement whose signature was made or verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<S> {
    statement: S,
    bytes: Bytes,
}

impl<S> Verified<S> {
    pub(super) fn new(statement: S, bytes: Bytes) -> Self {
        Self { statement, bytes }
    }

    /// What is stated.
    #[must_use]
    pub fn statement(&self) -> &S {
        &self.statement
    }

    /// The COSE message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the COSE message.
    #[must_use]
    pub fn hash(&self) -> MessageHash {
        MessageHash(Sha256::digest(&self.bytes).into())
    }

    /// The message in the form that travels.
    #[must_use]
    pub fn to_wire(&self) -> Unverified<S> {
        Unverified::new(self.bytes.clone())
    }
}

impl<S: SelfSigned> Verified<S> {
    /// Signs a statement as the party that it names.
    ///
    /// # Errors
    /// [`StatementError::Unfit`], or [`StatementError::WrongKey`] if the statement names another signer.
    pub fn sign(statement: S, key: &EvidenceKey) -> Result<Self, StatementError> {
        statement.check()?;
        if statement.signer() != Some(key.public_bytes()) {
            return Err(StatementError::WrongKey(KeyId::of(&key.public_bytes())));
        }
        let bytes = cose::sign(key.dalek(), S::CONTEXT, &cbor::to_vec(&statement));
        Ok(Self { statement, bytes: bytes.into() })
    }
}

impl<S: PublisherSigned> Verified<S> {
    /// Signs a statement as the publisher.
    ///
    /// # Errors
    /// [`StatementError::Unfit`].
    pub fn sign_as_publisher(statement: S, key: &SigningKey) -> Result<Self, StatementError> {
        statement.check()?;
        let bytes = cose::sign(key.dalek(), S::CONTEXT, &cbor::to_vec(&statement));
        Ok(Self { statement, bytes: bytes.into() })
    }
}

/// The COSE message of a statement as received.
#[derive(Clone, PartialEq, Eq)]
pub struct Unverified<S> {
    bytes: Bytes,
    kind: PhantomData<fn() -> S>,
}

impl<S> Unverified<S> {
    /// Takes bytes from the network.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, kind: PhantomData }
    }

    /// The COSE message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<S: Statement> Unverified<S> {
    /// What the message claims to state, before anything is verified: to sort messages by, and to know whose key it
    /// takes to verify them.
    ///
    /// # Errors
    /// [`StatementError`] if it is no such statement.
    pub fn claimed(&self) -> Result<S, StatementError> {
        Ok(parse::<S>(&self.bytes)?.1)
    }
}

impl<S> fmt::Debug for Unverified<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified({} bytes)", self.bytes.len())
    }
}

/// A message that was read, and the key that must have signed it.
pub(super) struct Read<'b, S> {
    pub(super) message: UnverifiedSign1<'b>,
    pub(super) statement: S,
    pub(super) key: VerifyingKey,
}

impl<S: SelfSigned> Unverified<S> {
    /// Verifies the signature strictly: this is what a settlement goes by.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify(&self) -> Result<Verified<S>, StatementError> {
        let read = self.read()?;
        read.message.verify(&read.key, S::CONTEXT)?;
        Ok(Verified::new(read.statement, self.bytes.clone()))
    }

    pub(super) fn read(&self) -> Result<Read<'_, S>, StatementError> {
        let (message, statement) = parse::<S>(&self.bytes)?;
        let wrong = StatementError::WrongKey(message.kid);
        let public = statement.signer().ok_or(StatementError::Unfit("signer"))?;
        if KeyId::of(&public) != message.kid {
            return Err(wrong);
        }
        match VerifyingKey::from_bytes(&public) {
            Ok(key) if !key.is_weak() => Ok(Read { message, statement, key }),
            _ => Err(StatementError::Unfit("signer")),
        }
    }
}

impl<S: PublisherSigned> Unverified<S> {
    /// Verifies a publisher's statement with the key list that was good when it was signed.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify_with(&self, ring: &KeyRing) -> Result<Verified<S>, StatementError> {
        let (message, statement) = parse::<S>(&self.bytes)?;
        if statement.publisher() != ring.publisher() {
            return Err(StatementError::WrongPublisher(statement.publisher()));
        }
        let key = ring.key(&message.kid, statement.signed_at()).ok_or(StatementError::UnknownKey(message.kid))?;
        message.verify(key, S::CONTEXT)?;
        Ok(Verified::new(statement, self.bytes.clone()))
    }
}

fn parse<S: Statement>(bytes: &[u8]) -> Result<(UnverifiedSign1<'_>, S), StatementError> {
    cbor::check_length(bytes, S::MAX)?;
    let message = UnverifiedSign1::parse(bytes)?;
    let statement: S = cbor::decode_canonical(message.payload)?;
    statement.check()?;
    Ok((message, statement))
}

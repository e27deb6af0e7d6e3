//! COSE_Sign1 (RFC 9052 section 4.2) for this crate's signed CBOR.
//!
//! Written by hand on minicbor because exactly one shape is allowed: tag 18, protected header `{1: -8, 4: kid}`, empty
//! unprotected header, payload inside, Ed25519. Invariant: the external AAD is the message's context string, so a
//! signature made for one kind of message never verifies as another.

use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::cbor::CborError;
use crate::ids::KeyId;

/// Upper bound of any COSE_Sign1 message, in bytes.
pub const MAX_COSE: usize = 64 * 1024;

const TAG_SIGN1: u64 = 18;
const HEADER_ALG: i64 = 1;
const HEADER_KID: i64 = 4;
const ALG_EDDSA: i64 = -8;

/// Why a COSE_Sign1 message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Not the one COSE_Sign1 shape this protocol uses.
    #[error("not a COSE_Sign1 message of this protocol: {0}")]
    Malformed(#[from] CborError),
    /// The signature does not verify.
    #[error("signature of key {0} does not verify")]
    BadSignature(KeyId),
}

impl From<minicbor::decode::Error> for CoseError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.into())
    }
}

/// A parsed message whose signature has not been checked.
#[derive(Debug)]
pub(crate) struct UnverifiedSign1<'b> {
    pub(crate) kid: KeyId,
    pub(crate) payload: &'b [u8],
    protected: &'b [u8],
    signature: [u8; 64],
}

/// Signs `payload` for `context`.
pub(crate) fn sign(key: &ed25519_dalek::SigningKey, context: &str, payload: &[u8]) -> Vec<u8> {
    let kid = KeyId::of(key.verifying_key().as_bytes());
    let protected = protected_header(kid);
    let signature = key.sign(&sig_structure(&protected, context, payload)).to_bytes();
    envelope(&protected, payload, &signature)
}

impl<'b> UnverifiedSign1<'b> {
    /// Parses a message in its deterministic encoding.
    pub(crate) fn parse(bytes: &'b [u8]) -> Result<Self, CoseError> {
        crate::cbor::check_length(bytes, MAX_COSE)?;
        let mut d = Decoder::new(bytes);
        if d.tag()? != Tag::new(TAG_SIGN1) || d.array()? != Some(4) {
            return Err(shape("expected tag 18 and an array of four"));
        }
        let protected = d.bytes()?;
        if d.map()? != Some(0) {
            return Err(shape("the unprotected header must be empty"));
        }
        let payload = d.bytes()?;
        let signature = <[u8; 64]>::try_from(d.bytes()?).map_err(|_| shape("the signature must have 64 bytes"))?;
        let kid = parse_protected(protected)?;
        if protected_header(kid) != protected || envelope(protected, payload, &signature) != bytes {
            return Err(CborError::NotCanonical.into());
        }
        Ok(Self { kid, payload, protected, signature })
    }

    /// Checks the signature (strictly: no small-order keys, no second encodings) and hands out the payload.
    pub(crate) fn verify(&self, key: &VerifyingKey, context: &str) -> Result<&'b [u8], CoseError> {
        key.verify_strict(&self.signed_bytes(context), &self.signature())
            .map_err(|_| CoseError::BadSignature(self.kid))?;
        Ok(self.payload)
    }

    /// What the signature is over.
    pub(crate) fn signed_bytes(&self, context: &str) -> Vec<u8> {
        sig_structure(self.protected, context, self.payload)
    }

    /// The signature, not yet checked.
    pub(crate) fn signature(&self) -> Signature {
        Signature::from_bytes(&self.signature)
    }
}

fn parse_protected(protected: &[u8]) -> Result<KeyId, CoseError> {
    let mut d = Decoder::new(protected);
    if d.map()? != Some(2) || d.i64()? != HEADER_ALG || d.i64()? != ALG_EDDSA || d.i64()? != HEADER_KID {
        return Err(shape("the protected header must be {1: -8, 4: kid}"));
    }
    let kid = <[u8; 8]>::try_from(d.bytes()?).map_err(|_| shape("a key id has 8 bytes"))?;
    Ok(KeyId(kid))
}

fn shape(what: &str) -> CoseError {
    CoseError::Malformed(CborError::Malformed(what.to_owned()))
}

fn protected_header(kid: KeyId) -> Vec<u8> {
    write(|e| {
        e.map(2)?.i64(HEADER_ALG)?.i64(ALG_EDDSA)?.i64(HEADER_KID)?.bytes(&kid.0)?;
        Ok(())
    })
}

/// RFC 9052 section 4.4.
fn sig_structure(protected: &[u8], context: &str, payload: &[u8]) -> Vec<u8> {
    write(|e| {
        e.array(4)?.str("Signature1")?.bytes(protected)?.bytes(context.as_bytes())?.bytes(payload)?;
        Ok(())
    })
}

fn envelope(protected: &[u8], payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    write(|e| {
        e.tag(Tag::new(TAG_SIGN1))?.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?.bytes(signature)?;
        Ok(())
    })
}

type VecEncoder<'a> = Encoder<&'a mut Vec<u8>>;
type EncodeResult = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(fill: impl FnOnce(&mut VecEncoder<'_>) -> EncodeResult) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut Encoder::new(&mut out)).expect("writing to a Vec cannot fail");
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{CoseError, UnverifiedSign1, sign};

    #[test]
    fn context_and_every_byte_are_bound() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key();
        let message = sign(&key, "weir/test/1", b"payload");
        let parsed = UnverifiedSign1::parse(&message).unwrap();
        assert_eq!(parsed.verify(&public, "weir/test/1").unwrap(), b"payload");
        assert!(matches!(parsed.verify(&public, "weir/test/2"), Err(CoseError::BadSignature(_))));
        for position in 0..message.len() {
            for bit in 0..8 {
                let mut mutated = message.clone();
                mutated[position] ^= 1 << bit;
                let refused = UnverifiedSign1::parse(&mutated)
                    .is_ok_and(|m| m.verify(&public, "weir/test/1").is_ok() && m.kid == parsed.kid);
                assert!(!refused, "bit {bit} of byte {position}");
            }
        }
    }
}

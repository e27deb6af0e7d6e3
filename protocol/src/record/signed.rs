//! Signing records and verifying them.
//!
//! Invariant: there are two ways to a [`SignedRecord`], `sign` and `verify`, and both end in the same state.

use ed25519_dalek::Signature;
use minicbor::{Decode, Encode};

use crate::cbor;
use crate::ids::KeyId;
use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::record::body::{RecordBody, unfit_type};
use crate::record::error::RecordError;
use crate::record::field;
use crate::record::headers::HeaderBlock;
use crate::record::signature::{Covered, parse_input, parse_signature, write_signature};
use crate::resource::ResourceKey;
use crate::time::{CLOCK_SKEW_MS, UnixMillis};

/// Longest wire form of a record, in bytes.
pub const MAX_RECORD: usize = 48 * 1024;

/// The HTTP field values of a signed record, exactly as a viewer gets them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordFields {
    /// `Repr-Digest` (RFC 9530).
    #[n(0)]
    pub repr_digest: String,
    /// `Weir-Record` (RFC 9651 dictionary).
    #[n(1)]
    pub weir_record: String,
    /// `Signature-Input` (RFC 9421).
    #[n(2)]
    pub signature_input: String,
    /// `Signature` (RFC 9421).
    #[n(3)]
    pub signature: String,
}

/// A record whose signature was made or verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    body: RecordBody,
    headers: HeaderBlock,
    fields: RecordFields,
    /// Creation second and key, as in `Signature-Input`.
    signed_by: (u64, KeyId),
}

impl SignedRecord {
    /// Signs what the origin answered. `body.headers_sha256` is set from `headers`.
    ///
    /// # Errors
    /// [`RecordError::OutOfRange`] and [`RecordError::UnfitText`] if `body` cannot be carried by HTTP fields.
    pub fn sign(
        mut body: RecordBody,
        headers: HeaderBlock,
        key: &SigningKey,
        now: UnixMillis,
    ) -> Result<Self, RecordError> {
        body.headers_sha256 = headers.sha256();
        body.check()?;
        let repr_digest = field::write_digest(&body.sha256)?;
        let weir_record = field::write_record(&body)?;
        let covered = Covered {
            content_type: body.content_type.as_deref(),
            content_encoding: body.content_encoding.as_deref(),
            repr_digest: &repr_digest,
            weir_record: &weir_record,
        };
        let (created, key_id) = (now.as_secs(), key.key_id());
        let signature = key.sign_raw(covered.base(created, key_id).as_bytes());
        let signature_input = covered.input(created, key_id);
        let signature = write_signature(&signature);
        let fields = RecordFields { repr_digest, weir_record, signature_input, signature };
        Ok(Self { body, headers, fields, signed_by: (created, key_id) })
    }

    /// What the record states.
    #[must_use]
    pub fn body(&self) -> &RecordBody {
        &self.body
    }

    /// The origin's end-to-end headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderBlock {
        &self.headers
    }

    /// The field values for viewers.
    #[must_use]
    pub fn fields(&self) -> &RecordFields {
        &self.fields
    }

    /// The text that is signed (RFC 9421 section 2.5), for whoever checks a signature by hand.
    #[must_use]
    pub fn signature_base(&self) -> String {
        let (created, key_id) = self.signed_by;
        let covered = Covered {
            content_type: self.body.content_type.as_deref(),
            content_encoding: self.body.content_encoding.as_deref(),
            repr_digest: &self.fields.repr_digest,
            weir_record: &self.fields.weir_record,
        };
        covered.base(created, key_id)
    }

    /// The key that signed the record.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.signed_by.1
    }

    /// When the record was signed, to the second.
    #[must_use]
    pub fn signed_at(&self) -> UnixMillis {
        UnixMillis::from_secs(self.signed_by.0)
    }

    /// The form that travels between relays and lies on disk.
    #[must_use]
    pub fn to_wire(&self) -> UnverifiedRecord {
        UnverifiedRecord {
            fields: self.fields.clone(),
            content_type: self.body.content_type.clone(),
            content_encoding: self.body.content_encoding.clone(),
            headers: self.headers.clone(),
        }
    }
}

/// A record as received: nothing in it may be believed before [`UnverifiedRecord::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnverifiedRecord {
    /// The signed field values.
    #[n(0)]
    pub fields: RecordFields,
    /// `Content-Type`, covered by the signature.
    #[n(1)]
    pub content_type: Option<String>,
    /// `Content-Encoding`, covered by the signature.
    #[n(2)]
    pub content_encoding: Option<String>,
    /// The header block, bound by its hash in `weir-record`.
    #[n(3)]
    pub headers: HeaderBlock,
}

impl UnverifiedRecord {
    /// CBOR wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the CBOR wire form.
    ///
    /// # Errors
    /// [`RecordError::Wire`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        cbor::check_length(bytes, MAX_RECORD)?;
        Ok(cbor::decode_exact(bytes)?)
    }

    /// Verifies the record as one of `expected`, signed by a key that the publisher's list allows at its time.
    ///
    /// `now` serves the expiry of the key list and refuses records from the future. To reread a record that was
    /// verified before it was stored, pass the time it was stored at.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn verify(self, ring: &KeyRing, expected: &ResourceKey, now: UnixMillis) -> Result<SignedRecord, RecordError> {
        if ring.publisher() != expected.publisher {
            return Err(KeyError::WrongPublisher(ring.publisher()).into());
        }
        let (body, signed_by) = self.verify_seen(ring, now)?;
        let Self { fields, headers, .. } = self;
        if body.key != *expected {
            return Err(RecordError::WrongResource(Box::new(body.key)));
        }
        if body.headers_sha256 != headers.sha256() {
            return Err(RecordError::WrongHeaders);
        }
        Ok(SignedRecord { body, headers, fields, signed_by })
    }

    /// Verifies what a viewer sees of a record: the field values, without the header block, which no response carries whole.
    /// Returns what they state, with the second of their making and the key. Whether it is the resource that was asked for,
    /// and whether the digest is that of the body, is left to the caller.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn verify_seen(&self, ring: &KeyRing, now: UnixMillis) -> Result<(RecordBody, (u64, KeyId)), RecordError> {
        ring.check_expiry(now)?;
        let (content_type, content_encoding) = (self.content_type.clone(), self.content_encoding.clone());
        if let Some(field) = unfit_type(content_type.as_deref(), content_encoding.as_deref()) {
            return Err(RecordError::UnfitText(field));
        }
        let signed_by = self.verify_signature(ring, now)?;
        let sha256 = field::parse_digest(&self.fields.repr_digest)?;
        let body = field::parse_record(&self.fields.weir_record, sha256, content_type, content_encoding)?;
        Ok((body, signed_by))
    }

    fn verify_signature(&self, ring: &KeyRing, now: UnixMillis) -> Result<(u64, KeyId), RecordError> {
        let covered = Covered {
            content_type: self.content_type.as_deref(),
            content_encoding: self.content_encoding.as_deref(),
            repr_digest: &self.fields.repr_digest,
            weir_record: &self.fields.weir_record,
        };
        let (created, key_id) = parse_input(&self.fields.signature_input)?;
        if covered.input(created, key_id) != self.fields.signature_input {
            return Err(RecordError::BadField("signature-input"));
        }
        let at = UnixMillis::from_secs(created);
        if at > now.plus_ms(CLOCK_SKEW_MS) {
            return Err(RecordError::FromTheFuture);
        }
        let key = ring.key(&key_id, at).ok_or(RecordError::UnknownKey(key_id))?;
        let signature = Signature::from_bytes(&parse_signature(&self.fields.signature)?);
        key.verify_strict(covered.base(created, key_id).as_bytes(), &signature)
            .map_err(|_| RecordError::BadSignature)?;
        Ok((created, key_id))
    }
}

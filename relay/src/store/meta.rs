//! What the index keeps of an entry: a versioned CBOR array. Invariant: decoding believes nothing; what comes out is
//! served only after the record has been verified again and the body hashed.

use super::catalogue::Root;
use crate::object::{Entry, Evidence, Growing, Head};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use minicbor::{
    Decoder, Encoder,
    data::Type,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
use std::sync::Arc;
use weir_protocol::{
    freshness::{Freshness, Validators},
    ids::Generation,
    record::{SignedRecord, UnverifiedRecord},
    resource::ResourceKey,
    time::UnixMillis,
};

const VERSION: u8 = 1;
const MEMBERS: u64 = 12;
/// Longest index entry in bytes: a record, the header fields once more, and the key.
pub(super) const MAX_META: usize = 96 * 1024;
/// Header fields of one response.
const MAX_HEADERS: u64 = 128;

/// An index entry, read but not believed.
pub(super) struct Meta {
    pub(super) root: Root,
    pub(super) length: u64,
    pub(super) key: ResourceKey,
    status: StatusCode,
    headers: HeaderMap,
    generation: Generation,
    freshness: Freshness,
    validators: Validators,
    /// `None`: the upstream's TLS was trusted.
    pub(super) record: Option<UnverifiedRecord>,
    received: UnixMillis,
    age_then_ms: u64,
}

/// What vouches for an entry once the process has ended: nothing, the upstream's TLS, or a record.
pub(super) enum Vouched<'a> {
    No,
    Trusted,
    Record(&'a SignedRecord),
}

pub(super) fn vouched(entry: &Entry) -> Vouched<'_> {
    match (entry.record(), &entry.head.evidence) {
        (Some(record), _) => Vouched::Record(record),
        (None, Evidence::Trusted) => Vouched::Trusted,
        // A signed head is silent about the whole body.
        (None, Evidence::Head(_) | Evidence::Record(_)) => Vouched::No,
    }
}

/// The index entry of a whole response; `None` when it is longer than [`MAX_META`] or nothing vouches for it.
pub(super) fn encode(entry: &Entry, root: &Root) -> Option<Vec<u8>> {
    let record = match vouched(entry) {
        Vouched::No => return None,
        Vouched::Trusted => None,
        Vouched::Record(record) => Some(record.to_wire().encode()),
    };
    let mut out = Vec::with_capacity(1024);
    write(entry, root, record.as_deref(), &mut Encoder::new(&mut out)).ok()?;
    (out.len() <= MAX_META).then_some(out)
}

fn write<W: Write>(
    entry: &Entry,
    root: &Root,
    record: Option<&[u8]>,
    e: &mut Encoder<W>,
) -> Result<(), EncodeError<W::Error>> {
    let head = &entry.head;
    e.array(MEMBERS)?.u8(VERSION)?.bytes(root)?.u64(entry.body.length())?.encode(&head.key)?;
    e.u16(head.status.as_u16())?.array(head.headers.len() as u64 * 2)?;
    for (name, value) in &head.headers {
        e.str(name.as_str())?.bytes(value.as_bytes())?;
    }
    e.encode(head.generation)?.encode(head.freshness)?.encode(&head.validators)?;
    match record {
        Some(record) => e.bytes(record)?,
        None => e.null()?,
    };
    e.encode(entry.received)?.u64(entry.age_then_ms)?.ok()
}

/// Root and length of the body an index entry refers to, without reading the rest.
pub(super) fn body_of(bytes: &[u8]) -> Result<(Root, u64), DecodeError> {
    start(&mut Decoder::new(bytes))
}

/// Which response an index entry is of: its key and header fields.
pub(super) fn named(bytes: &[u8]) -> Result<(ResourceKey, HeaderMap), DecodeError> {
    let d = &mut Decoder::new(bytes);
    start(d)?;
    let key = d.decode()?;
    d.u16()?;
    Ok((key, headers(d)?))
}

/// The key of an index entry, without reading the rest.
pub(super) fn key_of(bytes: &[u8]) -> Result<ResourceKey, DecodeError> {
    let mut d = Decoder::new(bytes);
    start(&mut d)?;
    d.decode()
}

fn start(d: &mut Decoder<'_>) -> Result<(Root, u64), DecodeError> {
    if d.array()? != Some(MEMBERS) || d.u8()? != VERSION {
        return Err(DecodeError::message("another version"));
    }
    let root = d.bytes()?.try_into().map_err(|_| DecodeError::message("not a BLAKE3 hash"))?;
    Ok((root, d.u64()?))
}

impl Meta {
    /// Reads an index entry.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let d = &mut Decoder::new(bytes);
        let (root, length) = start(d)?;
        let key = d.decode()?;
        let status = StatusCode::from_u16(d.u16()?).map_err(|_| DecodeError::message("not a status"))?;
        let headers = headers(d)?;
        let (generation, freshness, validators) = (d.decode()?, d.decode()?, d.decode()?);
        let record = if d.datatype()? == Type::Null {
            d.null()?;
            None
        } else {
            Some(UnverifiedRecord::decode(d.bytes()?).map_err(|_| DecodeError::message("not a record"))?)
        };
        let (received, age_then_ms) = (d.decode()?, d.u64()?);
        if d.position() != bytes.len() {
            return Err(DecodeError::message("goes on after its end"));
        }
        Ok(Self {
            root,
            length,
            key,
            status,
            headers,
            generation,
            freshness,
            validators,
            record,
            received,
            age_then_ms,
        })
    }

    /// The entry, with a hashed body and the record verified again. With a record, nothing the index says counts; the age goes on from when the entry was received first.
    pub(super) fn into_entry(self, body: Growing, record: Option<Arc<SignedRecord>>) -> Entry {
        let head = match record {
            Some(record) => Head::of_record(record),
            None => Head {
                key: self.key,
                status: self.status,
                headers: self.headers,
                length: Some(self.length),
                generation: self.generation,
                freshness: self.freshness,
                validators: self.validators,
                evidence: Evidence::Trusted,
                withheld: Vec::new(),
            },
        };
        Entry::new(head, body, self.received, self.age_then_ms, "disk")
    }
}

fn headers(d: &mut Decoder<'_>) -> Result<HeaderMap, DecodeError> {
    let members = d.array()?.filter(|members| members % 2 == 0 && *members <= 2 * MAX_HEADERS);
    let members = members.ok_or(DecodeError::message("too many header fields"))?;
    let mut headers = HeaderMap::new();
    for _ in 0..members / 2 {
        let name = HeaderName::from_bytes(d.str()?.as_bytes());
        let value = HeaderValue::from_bytes(d.bytes()?);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(DecodeError::message("not a header field"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

//! The `Weir-Record` and `Repr-Digest` field values (RFC 9651 dictionaries).
//!
//! Invariant: `parse` inverts `write`. Unknown members are ignored, so that a record can grow; missing or mistyped ones
//! are an error, and version 1 is the only version.

use sfv::{BareItem, DictSerializer, Dictionary, Integer, KeyRef, ListEntry, Parser, RefBareItem, StringRef};

use crate::freshness::{Freshness, Storage, Validators};
use crate::ids::{Generation, PublisherId};
use crate::record::body::RecordBody;
use crate::record::error::RecordError;
use crate::resource::{ResourceKey, VariantKey};
use crate::time::UnixMillis;

/// Version of the `Weir-Record` dictionary.
const VERSION: u64 = 1;
const SHA256: &str = "sha-256";

/// `Repr-Digest` (RFC 9530 section 3).
pub(super) fn write_digest(sha256: &[u8; 32]) -> Result<String, RecordError> {
    let mut dict = DictSerializer::new();
    dict.bare_item(name(SHA256)?, sha256.as_slice());
    dict.finish().ok_or(RecordError::BadField("repr-digest"))
}

/// The SHA-256 digest in a `Repr-Digest`; other algorithms beside it are ignored.
pub(super) fn parse_digest(value: &str) -> Result<[u8; 32], RecordError> {
    let dict: Dictionary = Parser::new(value).parse().map_err(|_| RecordError::BadField("repr-digest"))?;
    Members(&dict).hash(SHA256)
}

/// `Weir-Record`.
pub(super) fn write_record(body: &RecordBody) -> Result<String, RecordError> {
    let mut out = Writer(DictSerializer::new());
    let publisher = body.key.publisher.to_string();
    let f = &body.freshness;
    out.integer("v", VERSION)?;
    out.string("pub", &publisher)?;
    out.string("path", body.key.path.as_str())?;
    out.optional("query", body.key.query.as_ref().map(|q| q.as_str()))?;
    out.optional("variant", body.key.variant.as_ref().map(|v| v.as_str()))?;
    out.integer("status", u64::from(body.status))?;
    out.integer("length", body.length)?;
    out.bytes("blake3", &body.root)?;
    out.integer("created", f.created.0)?;
    out.integer("age", f.initial_age_ms)?;
    out.integer("ttl", f.ttl_ms)?;
    out.integer("swr", f.stale_while_revalidate_ms)?;
    out.integer("sie", f.stale_if_error_ms)?;
    out.boolean("store", f.store == Storage::Store)?;
    out.optional("etag", body.validators.etag.as_deref())?;
    out.optional("modified", body.validators.last_modified.as_deref())?;
    out.integer("gen", body.generation.0)?;
    out.bytes("headers", &body.headers_sha256)?;
    out.0.finish().ok_or(RecordError::BadField("weir-record"))
}

/// Reads a `Weir-Record` and joins it with what other fields state.
pub(super) fn parse_record(
    value: &str,
    sha256: [u8; 32],
    content_type: Option<String>,
    content_encoding: Option<String>,
) -> Result<RecordBody, RecordError> {
    let dict: Dictionary = Parser::new(value).parse().map_err(|_| RecordError::BadField("weir-record"))?;
    let members = Members(&dict);
    if members.integer("v")? != VERSION {
        return Err(RecordError::Version);
    }
    let publisher: PublisherId = members.string("pub")?.parse().map_err(|_| RecordError::BadMember("pub"))?;
    let freshness = Freshness {
        created: UnixMillis(members.integer("created")?),
        initial_age_ms: members.integer("age")?,
        ttl_ms: members.integer("ttl")?,
        stale_while_revalidate_ms: members.integer("swr")?,
        stale_if_error_ms: members.integer("sie")?,
        store: if members.boolean("store")? { Storage::Store } else { Storage::Pass },
    };
    let validators = Validators {
        etag: members.optional("etag")?.map(str::to_owned),
        last_modified: members.optional("modified")?.map(str::to_owned),
    };
    let body = RecordBody {
        key: members.key(publisher)?,
        status: members.integer("status")?.try_into().map_err(|_| RecordError::OutOfRange("status"))?,
        content_type,
        content_encoding,
        length: members.integer("length")?,
        sha256,
        root: members.hash("blake3")?,
        freshness,
        validators,
        generation: Generation(members.integer("gen")?),
        headers_sha256: members.hash("headers")?,
    };
    body.check()?;
    Ok(body)
}

struct Writer(DictSerializer<String>);

impl Writer {
    fn item<'b>(&mut self, key: &'static str, value: impl Into<RefBareItem<'b>>) -> Result<(), RecordError> {
        self.0.bare_item(name(key)?, value);
        Ok(())
    }

    fn integer(&mut self, key: &'static str, value: u64) -> Result<(), RecordError> {
        self.item(key, Integer::try_from(value).map_err(|_| RecordError::OutOfRange(key))?)
    }

    fn boolean(&mut self, key: &'static str, value: bool) -> Result<(), RecordError> {
        self.item(key, value)
    }

    fn bytes(&mut self, key: &'static str, value: &[u8]) -> Result<(), RecordError> {
        self.item(key, value)
    }

    fn string(&mut self, key: &'static str, value: &str) -> Result<(), RecordError> {
        self.item(key, StringRef::from_str(value).map_err(|_| RecordError::UnfitText(key))?)
    }

    fn optional(&mut self, key: &'static str, value: Option<&str>) -> Result<(), RecordError> {
        value.map_or(Ok(()), |value| self.string(key, value))
    }
}

fn name(key: &'static str) -> Result<&'static KeyRef, RecordError> {
    KeyRef::from_str(key).map_err(|_| RecordError::BadMember(key))
}

struct Members<'d>(&'d Dictionary);

impl<'d> Members<'d> {
    fn get(&self, key: &'static str) -> Result<Option<&'d BareItem>, RecordError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(ListEntry::Item(item)) => Ok(Some(&item.bare_item)),
            Some(ListEntry::InnerList(_)) => Err(RecordError::BadMember(key)),
        }
    }

    fn need<T>(&self, key: &'static str, read: impl FnOnce(&'d BareItem) -> Option<T>) -> Result<T, RecordError> {
        let item = self.get(key)?.ok_or(RecordError::Missing(key))?;
        read(item).ok_or(RecordError::BadMember(key))
    }

    fn integer(&self, key: &'static str) -> Result<u64, RecordError> {
        self.need(key, |item| item.as_integer().and_then(|n| u64::try_from(n).ok()))
    }

    fn boolean(&self, key: &'static str) -> Result<bool, RecordError> {
        self.need(key, BareItem::as_boolean)
    }

    fn hash(&self, key: &'static str) -> Result<[u8; 32], RecordError> {
        self.need(key, |item| item.as_byte_sequence().and_then(|bytes| bytes.try_into().ok()))
    }

    fn string(&self, key: &'static str) -> Result<&'d str, RecordError> {
        self.need(key, |item| item.as_string().map(StringRef::as_str))
    }

    fn optional(&self, key: &'static str) -> Result<Option<&'d str>, RecordError> {
        if self.get(key)?.is_none() { Ok(None) } else { self.string(key).map(Some) }
    }

    /// The resource key, which must be in its canonical form already.
    fn key(&self, publisher: PublisherId) -> Result<ResourceKey, RecordError> {
        let path = self.string("path")?;
        let query = self.optional("query")?;
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let key = ResourceKey::parse(publisher, &target).map_err(|_| RecordError::BadMember("path"))?;
        if key.path.as_str() != path || key.query.as_ref().map(|q| q.as_str()) != query {
            return Err(RecordError::BadMember("path"));
        }
        let variant = self.optional("variant")?.map(VariantKey::new).transpose();
        Ok(key.with_variant(variant.map_err(|_| RecordError::BadMember("variant"))?))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{parse_digest, parse_record};
    use crate::record::error::RecordError;

    fn record() -> Vec<String> {
        let zeros = data_encoding::BASE64.encode(&[0; 32]);
        let publisher = crate::ids::PublisherId([1; 32]);
        let text = format!(
            "v=1|pub=\"{publisher}\"|path=\"/a\"|status=200|length=3|blake3=:{zeros}:|created=5|age=0|ttl=1|swr=2|sie=3|\
             store=?0|gen=4|headers=:{zeros}:"
        );
        text.split('|').map(str::to_owned).collect()
    }

    fn parse(members: &[String]) -> Result<(), RecordError> {
        parse_record(&members.join(", "), [0; 32], None, None).map(drop)
    }

    #[test]
    fn unknown_members_are_ignored_and_missing_ones_are_not() {
        let mut members = record();
        members.push("later=(1 2)".to_owned());
        parse(&members).unwrap();
        for missing in 0..record().len() {
            let mut members = record();
            let removed = members.remove(missing);
            assert!(matches!(parse(&members), Err(RecordError::Missing(_))), "{removed}");
        }
    }

    #[test]
    fn mistyped_members_are_refused() {
        for (member, error) in [
            ("v=2", RecordError::Version),
            ("length=-1", RecordError::BadMember("length")),
            ("length=\"3\"", RecordError::BadMember("length")),
            ("path=\"/a/../b\"", RecordError::BadMember("path")),
            ("path=\"/a?weir_token=b\"", RecordError::BadMember("path")),
            ("query=\"\"", RecordError::BadMember("path")),
            ("blake3=:AAAA:", RecordError::BadMember("blake3")),
            ("status=(200)", RecordError::BadMember("status")),
            ("status=70000", RecordError::OutOfRange("status")),
            ("variant=\"\"", RecordError::BadMember("variant")),
        ] {
            let mut members = record();
            members.push(member.to_owned());
            assert_eq!(parse(&members), Err(error), "{member}");
        }
    }

    #[test]
    fn other_digests_are_ignored() {
        let zeros = data_encoding::BASE64.encode(&[0; 32]);
        assert_eq!(parse_digest(&format!("sha-512=:AAAA:, sha-256=:{zeros}:")), Ok([0; 32]));
        assert_eq!(parse_digest("sha-512=:AAAA:"), Err(RecordError::Missing("sha-256")));
    }
}

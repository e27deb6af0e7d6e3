//! The RFC 9421 signature of a record: its `Signature-Input`, its signature base, its `Signature`.
//!
//! Invariant: there is one allowed `Signature-Input` for given content fields, creation second and key. A verifier reads
//! the two variable parameters, rebuilds the whole value, and compares; nothing else can be covered or left out.

use data_encoding::BASE64;
use sfv::{Dictionary, ListEntry, Parser};

use crate::ids::KeyId;
use crate::record::error::RecordError;

/// Label of the signature in `Signature-Input` and `Signature`.
pub const RECORD_LABEL: &str = "weir";
/// The `tag` parameter (RFC 9421 section 2.3): keeps record signatures apart from any other use of a key.
pub const RECORD_TAG: &str = "weir/record/1";

/// The signed field values in their covered order.
pub(super) struct Covered<'a> {
    pub(super) content_type: Option<&'a str>,
    pub(super) content_encoding: Option<&'a str>,
    pub(super) repr_digest: &'a str,
    pub(super) weir_record: &'a str,
}

impl Covered<'_> {
    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("content-type", self.content_type),
            ("content-encoding", self.content_encoding),
            ("repr-digest", Some(self.repr_digest)),
            ("weir-record", Some(self.weir_record)),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
    }

    /// RFC 9421 section 2.3, the value of `@signature-params`.
    fn params(&self, created_secs: u64, key: KeyId) -> String {
        let names: Vec<String> = self.fields().map(|(name, _)| format!("\"{name}\"")).collect();
        format!("({});created={created_secs};keyid=\"{key}\";alg=\"ed25519\";tag=\"{RECORD_TAG}\"", names.join(" "))
    }

    /// The `Signature-Input` field value.
    pub(super) fn input(&self, created_secs: u64, key: KeyId) -> String {
        format!("{RECORD_LABEL}={}", self.params(created_secs, key))
    }

    /// RFC 9421 section 2.5.
    pub(super) fn base(&self, created_secs: u64, key: KeyId) -> String {
        let mut base = String::new();
        for (name, value) in self.fields() {
            base.push('"');
            base.push_str(name);
            base.push_str("\": ");
            base.push_str(value);
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(&self.params(created_secs, key));
        base
    }
}

/// The creation second and key named by a `Signature-Input`. The caller must rebuild and compare the whole value.
pub(super) fn parse_input(value: &str) -> Result<(u64, KeyId), RecordError> {
    const FIELD: RecordError = RecordError::BadField("signature-input");
    let dict: Dictionary = Parser::new(value).parse().map_err(|_| FIELD)?;
    let Some(ListEntry::InnerList(list)) = dict.get(RECORD_LABEL) else {
        return Err(FIELD);
    };
    let created = list.params.get("created").and_then(|item| item.as_integer());
    let created = created.and_then(|n| u64::try_from(n).ok()).ok_or(FIELD)?;
    let key = list.params.get("keyid").and_then(|item| item.as_string()).ok_or(FIELD)?;
    Ok((created, key.as_str().parse().map_err(|_| FIELD)?))
}

/// The `Signature` field value.
pub(super) fn write_signature(signature: &[u8; 64]) -> String {
    format!("{RECORD_LABEL}=:{}:", BASE64.encode(signature))
}

/// The one signature in a `Signature` field value, which must be in its canonical form.
pub(super) fn parse_signature(value: &str) -> Result<[u8; 64], RecordError> {
    const FIELD: RecordError = RecordError::BadField("signature");
    let dict: Dictionary = Parser::new(value).parse().map_err(|_| FIELD)?;
    let Some(ListEntry::Item(item)) = dict.get(RECORD_LABEL) else {
        return Err(FIELD);
    };
    let bytes = item.bare_item.as_byte_sequence().ok_or(FIELD)?;
    let signature: [u8; 64] = bytes.try_into().map_err(|_| FIELD)?;
    if write_signature(&signature) == value { Ok(signature) } else { Err(FIELD) }
}

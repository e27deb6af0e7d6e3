//! What a verifier refuses about records and heads, and why.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{NOW, head, headers, key, record, record_body, ring, root, signing};
use weir_protocol::growing::HeadError;
use weir_protocol::keys::KeyError;
use weir_protocol::record::RecordError;
use weir_protocol::{
    Generation, HeaderBlock, KeyEntry, KeyRing, RecordBody, ResourceKey, RootKey, SignedRecord, SigningKey,
    SigningKeyList, UnixMillis, UnverifiedRecord,
};

const DAY: u64 = 86_400_000;

fn verify(record: UnverifiedRecord) -> Result<SignedRecord, RecordError> {
    record.verify(&ring(), &key(), NOW)
}

#[test]
fn a_verified_record_equals_the_signed_one() {
    let record = record();
    let wire = UnverifiedRecord::decode(&record.to_wire().encode()).unwrap();
    assert_eq!(verify(wire).unwrap(), record);
    assert_eq!(record.key_id(), signing().key_id());
    assert_eq!(record.signed_at(), UnixMillis(NOW.0 - 250));
    assert_eq!(record.headers().get("connection"), None);
}

#[test]
fn a_viewer_verifies_without_the_header_block() {
    let mut seen = record().to_wire();
    seen.headers = HeaderBlock::default();
    let (body, (created, by)) = seen.verify_seen(&ring(), NOW).unwrap();
    assert_eq!((&body, created, by), (record().body(), record().signed_at().as_secs(), signing().key_id()));
    seen.fields.repr_digest = record_body_of_nothing();
    assert_eq!(seen.verify_seen(&ring(), NOW), Err(RecordError::BadSignature));
}

/// The digest of an empty body.
fn record_body_of_nothing() -> String {
    "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:".to_owned()
}

#[test]
fn content_encoding_is_covered() {
    let body = RecordBody { content_encoding: Some("gzip".into()), content_type: None, ..record_body() };
    let record = SignedRecord::sign(body, headers(), &signing(), NOW).unwrap();
    assert!(
        record.fields().signature_input.starts_with("weir=(\"content-encoding\" \"repr-digest\" \"weir-record\");")
    );
    assert_eq!(verify(record.to_wire()).unwrap(), record);
    let mut stripped = record.to_wire();
    stripped.content_encoding = None;
    assert_eq!(verify(stripped), Err(RecordError::BadField("signature-input")));
}

#[test]
fn fewer_covered_components_are_refused() {
    let mut wire = record().to_wire();
    wire.fields.signature_input = wire.fields.signature_input.replace("\"repr-digest\" ", "");
    assert_eq!(verify(wire), Err(RecordError::BadField("signature-input")));
    let mut wire = record().to_wire();
    wire.fields.signature_input.push_str(";nonce=\"1\"");
    assert_eq!(verify(wire), Err(RecordError::BadField("signature-input")));
}

#[test]
fn another_resource_publisher_or_header_block_is_refused() {
    let other = ResourceKey::parse(root().publisher_id(), "/other").unwrap();
    let error = record().to_wire().verify(&ring(), &other, NOW).unwrap_err();
    assert_eq!(error, RecordError::WrongResource(Box::new(key())));
    assert!(matches!(head().to_wire().verify(&ring(), &other, NOW), Err(HeadError::WrongResource(_))));

    let stranger = ResourceKey { publisher: RootKey::from_bytes(&[9; 32]).publisher_id(), ..key() };
    let error = record().to_wire().verify(&ring(), &stranger, NOW).unwrap_err();
    assert!(matches!(error, RecordError::Keys(KeyError::WrongPublisher(_))));

    let mut wire = record().to_wire();
    wire.headers = HeaderBlock::new([("cache-control", "max-age=5")]).unwrap();
    assert_eq!(verify(wire), Err(RecordError::WrongHeaders));
    let mut wire = head().to_wire();
    wire.headers = HeaderBlock::default();
    assert!(matches!(wire.verify(&ring(), &key(), NOW), Err(HeadError::WrongHeaders)));
}

#[test]
fn keys_sign_only_in_their_time() {
    let sign_at = |at| SignedRecord::sign(record_body(), headers(), &signing(), at).unwrap().to_wire();
    let unknown = || Err(RecordError::UnknownKey(signing().key_id()));
    assert!(verify(sign_at(NOW.minus_ms(1000))).is_ok());
    assert_eq!(verify(sign_at(NOW.minus_ms(3000))), unknown());
    let after = NOW.plus_ms(DAY + 1000);
    assert_eq!(sign_at(after).verify(&ring(), &key(), after), unknown());
    assert_eq!(verify(sign_at(NOW.plus_ms(DAY / 2))), Err(RecordError::FromTheFuture));
    let later = NOW.plus_ms(8 * DAY);
    let error = record().to_wire().verify(&ring(), &key(), later).unwrap_err();
    assert!(matches!(error, RecordError::Keys(KeyError::Expired { .. })));
    // A record outlives its key's life as long as the list still names the key.
    assert!(record().to_wire().verify(&ring(), &key(), NOW.plus_ms(2 * DAY)).is_ok());
}

#[test]
fn a_key_that_left_the_list_is_revoked() {
    let publisher = root().publisher_id();
    let successor = KeyEntry::new(&SigningKey::from_bytes(&[7; 32]), NOW, NOW.plus_ms(DAY));
    let issued = NOW.plus_ms(1);
    let list = SigningKeyList { publisher, issued, expires: NOW.plus_ms(DAY), keys: vec![successor] };
    let ring = KeyRing::verify(publisher, &list.sign(&root()).unwrap(), NOW).unwrap();
    let error = record().to_wire().verify(&ring, &key(), NOW).unwrap_err();
    assert_eq!(error, RecordError::UnknownKey(signing().key_id()));
    assert!(matches!(head().to_wire().verify(&ring, &key(), NOW), Err(HeadError::UnknownKey(_))));
}

#[test]
fn what_fields_cannot_carry_is_not_signed() {
    let sign = |body| SignedRecord::sign(body, headers(), &signing(), NOW).unwrap_err();
    let mut body = record_body();
    body.validators.etag = Some("\"é\"".into());
    assert_eq!(sign(body), RecordError::UnfitText("etag"));
    let body = RecordBody { content_type: Some("text/html\r\nx: y".into()), ..record_body() };
    assert_eq!(sign(body), RecordError::UnfitText("content-type"));
    let body = RecordBody { generation: Generation(Generation::MAX.0 + 1), ..record_body() };
    assert_eq!(sign(body), RecordError::OutOfRange("generation"));
    let body = RecordBody { status: 100, ..record_body() };
    assert_eq!(sign(body), RecordError::OutOfRange("status"));
}

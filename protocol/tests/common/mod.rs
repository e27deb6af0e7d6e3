//! Fixed keys, times and messages that the vectors and the properties share.

use weir_protocol::{
    Freshness, Generation, HeadBody, HeaderBlock, KeyEntry, KeyRing, RecordBody, ResourceKey, RootKey, SignedHead,
    SignedRecord, SigningKey, SigningKeyList, Storage, UnixMillis, Validators,
};

/// 2027-01-15T08:00:00.250Z.
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_250);
/// Secret bytes of the root key.
pub(crate) const ROOT_SEED: [u8; 32] = [0x11; 32];
/// Secret bytes of the signing key.
pub(crate) const SIGNING_SEED: [u8; 32] = [0x22; 32];
/// The body that record, head and chunks describe.
pub(crate) const BODY: &[u8] = b"#EXTM3U\n#EXT-X-VERSION:9\n";

pub(crate) fn root() -> RootKey {
    RootKey::from_bytes(&ROOT_SEED)
}

pub(crate) fn signing() -> SigningKey {
    SigningKey::from_bytes(&SIGNING_SEED)
}

pub(crate) fn key_list() -> Vec<u8> {
    let entry = KeyEntry::new(&signing(), NOW.minus_ms(1000), NOW.plus_ms(86_400_000));
    let publisher = root().publisher_id();
    let list = SigningKeyList { publisher, issued: NOW, expires: NOW.plus_ms(604_800_000), keys: vec![entry] };
    list.sign(&root()).expect("a list of one key is fit")
}

pub(crate) fn ring() -> KeyRing {
    KeyRing::verify(root().publisher_id(), &key_list(), NOW).expect("the list was just signed")
}

pub(crate) fn key() -> ResourceKey {
    let target = "/live/%e4%b8%ad/index.m3u8?_HLS_msn=7&weir_token=t&a=1";
    ResourceKey::parse(root().publisher_id(), target).expect("the target is fit")
}

pub(crate) fn headers() -> HeaderBlock {
    HeaderBlock::new([("X-Origin", "é \"1\""), ("Cache-Control", "max-age=4"), ("Connection", "close")])
        .expect("the headers are fit")
}

pub(crate) fn freshness() -> Freshness {
    Freshness {
        created: NOW,
        initial_age_ms: 120,
        ttl_ms: 4000,
        stale_while_revalidate_ms: 2000,
        stale_if_error_ms: 30_000,
        store: Storage::Store,
    }
}

pub(crate) fn validators() -> Validators {
    Validators { etag: Some("W/\"v\\1\"".into()), last_modified: Some("Fri, 15 Jan 2027 08:00:00 GMT".into()) }
}

pub(crate) fn record_body() -> RecordBody {
    use sha2::Digest as _;
    RecordBody {
        key: key(),
        status: 200,
        content_type: Some("application/vnd.apple.mpegurl".into()),
        content_encoding: None,
        length: u64::try_from(BODY.len()).expect("a short body"),
        sha256: sha2::Sha256::digest(BODY).into(),
        root: *blake3::hash(BODY).as_bytes(),
        freshness: freshness(),
        validators: validators(),
        generation: Generation(42),
        headers_sha256: [0; 32],
    }
}

pub(crate) fn record() -> SignedRecord {
    SignedRecord::sign(record_body(), headers(), &signing(), NOW).expect("the record is fit")
}

pub(crate) fn head() -> SignedHead {
    let body = HeadBody {
        key: key(),
        status: 200,
        content_type: Some("video/mp4".into()),
        content_encoding: None,
        length: None,
        freshness: freshness(),
        validators: validators(),
        generation: Generation(42),
        headers_sha256: [0; 32],
    };
    SignedHead::sign(body, headers(), &signing()).expect("the head is fit")
}

//! A stored or growing response as a whole: head, body, and the evidence it stands under.

use super::Growing;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};
use weir_protocol::{
    freshness::{Freshness, Storage, Validators},
    growing::SignedHead,
    ids::{Generation, ResourceHash},
    record::{HeaderBlock, SignedRecord},
    resource::ResourceKey,
    time::UnixMillis,
    vary::Vary,
};

/// What vouches for a response.
#[derive(Clone)]
pub enum Evidence {
    /// The upstream's TLS alone: a plain pull-through cache, outside any publisher's network.
    Trusted,
    /// The publisher signed the head; the record follows when the body is whole.
    Head(Arc<SignedHead>),
    /// The publisher signed the whole response.
    Record(Arc<SignedRecord>),
}

/// What a response is, apart from its body.
#[derive(Clone)]
pub struct Head {
    /// The resource.
    pub key: ResourceKey,
    /// Status the origin answered.
    pub status: StatusCode,
    /// End-to-end header fields, without framing, freshness or hop-by-hop fields.
    pub headers: HeaderMap,
    /// Length in bytes, when known.
    pub length: Option<u64>,
    /// Names this body of the resource.
    pub generation: Generation,
    /// How long it is fresh and whether it may be kept.
    pub freshness: Freshness,
    /// ETag and Last-Modified.
    pub validators: Validators,
    /// What vouches for it.
    pub evidence: Evidence,
    /// Fields among the headers that only whoever asked may see; what is signed or stored is without them.
    pub withheld: Vec<HeaderName>,
}

/// A response in this node's hands.
pub struct Entry {
    /// Head.
    pub head: Head,
    /// Hash of the key, under which it is stored.
    pub hash: ResourceHash,
    /// Body, perhaps still growing.
    pub body: Growing,
    /// When this node received the head.
    pub received: UnixMillis,
    /// Its age then, in milliseconds.
    pub age_then_ms: u64,
    /// Which source it came from (`origin`, `adapter`, `peer`, `disk`), for Cache-Status and metrics.
    pub source: &'static str,
    record: OnceLock<Arc<SignedRecord>>,
    compressed: OnceLock<Bytes>,
    /// Milliseconds since the epoch when it was declared stale by a soft purge; 0 while it was not.
    expired: AtomicU64,
}

impl Entry {
    /// An entry whose head was received at `received`, already `age_then_ms` old.
    pub fn new(head: Head, body: Growing, received: UnixMillis, age_then_ms: u64, source: &'static str) -> Self {
        let record = OnceLock::new();
        if let Evidence::Record(signed) = &head.evidence {
            record.get_or_init(|| signed.clone());
        }
        let hash = head.key.hash();
        Self {
            head,
            hash,
            body,
            received,
            age_then_ms,
            source,
            record,
            compressed: OnceLock::new(),
            expired: AtomicU64::new(0),
        }
    }

    /// Stale from now on, whatever its age: a soft purge.
    pub fn expire(&self, now: UnixMillis) {
        let _ = self.expired.compare_exchange(0, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// True once a soft purge has declared it stale.
    pub fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed) != 0
    }

    /// The age that counts against its freshness: once expired, at least its lifetime and the time since then.
    fn effective_age_ms(&self, now: UnixMillis) -> u64 {
        let age = self.age_ms(now);
        match self.expired.load(Ordering::Relaxed) {
            0 => age,
            at => age.max(self.head.freshness.ttl_ms.saturating_add(now.since(UnixMillis(at)))),
        }
    }

    /// Current age in milliseconds (RFC 9111 section 4.2.3, with the age summed hop by hop).
    pub fn age_ms(&self, now: UnixMillis) -> u64 {
        // What a peer claims may be any number.
        self.age_then_ms.saturating_add(now.since(self.received))
    }

    /// True while it may be served without asking anybody.
    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        self.head.freshness.is_fresh(self.effective_age_ms(now))
    }

    /// How long it may still be served without asking anybody, in milliseconds.
    pub fn fresh_for_ms(&self, now: UnixMillis) -> u64 {
        self.head.freshness.ttl_ms.saturating_sub(self.effective_age_ms(now))
    }

    /// True while it may be served stale because no source answers.
    pub fn usable_on_error(&self, now: UnixMillis) -> bool {
        self.head.freshness.usable_on_error(self.effective_age_ms(now))
    }

    /// True while it may be served stale and refreshed behind the reader's back.
    pub fn usable_while_revalidating(&self, now: UnixMillis) -> bool {
        self.head.freshness.usable_while_revalidating(self.effective_age_ms(now))
    }

    /// True when it may be kept and shared between requests.
    pub fn is_shareable(&self) -> bool {
        self.head.freshness.store == Storage::Store
    }

    /// The publisher's signature over the whole response, once it is whole.
    pub fn record(&self) -> Option<&Arc<SignedRecord>> {
        self.record.get()
    }

    /// Sets the finished record; only the first counts.
    pub fn set_record(&self, record: Arc<SignedRecord>) {
        self.record.get_or_init(|| record);
    }

    /// The gzip form, made once by `compress` and kept beside the body.
    pub fn compressed(&self, compress: impl FnOnce() -> Bytes) -> Bytes {
        self.compressed.get_or_init(compress).clone()
    }

    /// Bytes of memory it takes: body, tree and a flat amount for the head.
    pub fn weight(&self) -> u64 {
        const HEAD: u64 = 2048;
        self.body.length() + self.body.tree().map_or(0, |tree| tree.weight()) + HEAD
    }
}

/// Names a new body: the millisecond in which it appeared, and always later than the body before it.
pub fn next_generation(before: Option<Generation>, now: UnixMillis) -> Generation {
    Generation(before.map_or(now.0, |before| now.0.max(before.0.saturating_add(1))))
}

/// Header fields of a block, and what stands beside it.
pub(crate) fn header_map(
    block: &HeaderBlock,
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    validators: &Validators,
) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in block.iter() {
        // The block was bounded and checked when it was made; a field that http cannot hold is left out.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            map.append(name, value);
        }
    }
    // What the signed part states itself is not repeated in the block.
    let stated = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_ENCODING, content_encoding),
        (header::ETAG, validators.etag.as_deref()),
        (header::LAST_MODIFIED, validators.last_modified.as_deref()),
    ];
    for (name, value) in stated {
        if let Some(value) = value.and_then(|text| text.parse::<HeaderValue>().ok()) {
            map.insert(name, value);
        }
    }
    map
}

impl Head {
    /// The same without what only the first requester may see.
    #[must_use]
    pub fn shared(mut self) -> Self {
        for name in std::mem::take(&mut self.withheld) {
            self.headers.remove(name);
        }
        self
    }

    /// What it varies by.
    pub fn vary(&self) -> Vary {
        Vary::parse(self.headers.get_all(header::VARY).iter().map(|line| line.to_str().unwrap_or("*")))
    }

    /// The head of a response whose record was made or verified here.
    pub fn of_record(record: Arc<SignedRecord>) -> Self {
        let body = record.body();
        Self {
            key: body.key.clone(),
            // The record's own checks keep the status within 200 to 599.
            status: StatusCode::from_u16(body.status).unwrap_or(StatusCode::BAD_GATEWAY),
            headers: header_map(
                record.headers(),
                body.content_type.as_deref(),
                body.content_encoding.as_deref(),
                &body.validators,
            ),
            length: Some(body.length),
            generation: body.generation,
            freshness: body.freshness,
            validators: body.validators.clone(),
            evidence: Evidence::Record(record),
            withheld: Vec::new(),
        }
    }

    /// The head of a growing response whose signature was made or verified here.
    pub fn of_signed(signed: Arc<SignedHead>) -> Self {
        let body = signed.body();
        Self {
            key: body.key.clone(),
            status: StatusCode::from_u16(body.status).unwrap_or(StatusCode::BAD_GATEWAY),
            headers: header_map(
                signed.headers(),
                body.content_type.as_deref(),
                body.content_encoding.as_deref(),
                &body.validators,
            ),
            length: body.length,
            generation: body.generation,
            freshness: body.freshness,
            validators: body.validators.clone(),
            evidence: Evidence::Head(signed),
            withheld: Vec::new(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::{freshness::Storage, ids::PublisherId};

    #[test]
    fn an_absurd_age_is_old_and_stays_old() {
        let head = Head {
            key: ResourceKey::parse(PublisherId::from_bytes([1; 32]), "/a").unwrap(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            length: Some(0),
            generation: Generation(1),
            freshness: Freshness {
                created: UnixMillis(1),
                initial_age_ms: 0,
                ttl_ms: 1000,
                stale_while_revalidate_ms: 0,
                stale_if_error_ms: 1000,
                store: Storage::Store,
            },
            validators: Validators::default(),
            evidence: Evidence::Trusted,
            withheld: Vec::new(),
        };
        let entry = Entry::new(head, Growing::whole(Bytes::new(), None), UnixMillis(10), u64::MAX, "peer");
        for now in [10, 11, 5000] {
            assert_eq!(entry.age_ms(UnixMillis(now)), u64::MAX);
            assert!(!entry.is_fresh(UnixMillis(now)) && !entry.usable_on_error(UnixMillis(now)));
        }
    }
}

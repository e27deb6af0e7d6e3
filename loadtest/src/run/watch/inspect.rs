//! Whether what an inspected viewer received is what the publisher made and what a player can play: parsed boxes and packets,
//! continuous decode times, digests (RFC 9530) and the record's signature (RFC 9421).

use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use url::{Position, Url};
use weir_protocol::{HeaderBlock, KeyRing, RecordFields, ResourceKey, UnixMillis, UnverifiedRecord};

use crate::run::tally::Integrity;
use crate::viewer::check::Checker;

/// Checks what one viewer receives, segment after segment.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    checker: Checker,
}

/// A response to be checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) url: &'a Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Inspector {
    /// The next segment need not continue the last one.
    pub(crate) fn reset(&mut self) {
        self.checker.reset();
    }

    /// Looks into an initialisation section.
    pub(crate) fn init(&mut self, bytes: &[u8], integrity: &mut Integrity) {
        integrity.parsed += 1;
        if let Some(finding) = self.checker.init(bytes) {
            integrity.fail(finding.class, &finding.detail);
        }
    }

    /// Looks into a segment or part.
    pub(crate) fn segment(&mut self, bytes: &[u8], has_init: bool, integrity: &mut Integrity) {
        integrity.parsed += 1;
        for finding in self.checker.segment(bytes, has_init) {
            integrity.fail(finding.class, &finding.detail);
        }
    }
}

/// Compares a whole body with its digest, and the digest with the publisher's signature where keys are at hand.
pub(crate) fn signature(received: Received<'_>, keys: Option<&KeyRing>, now: UnixMillis, integrity: &mut Integrity) {
    let Received { url, status, headers, body } = received;
    if status != StatusCode::OK {
        return;
    }
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(repr_digest) = field("repr-digest") else {
        integrity.unsigned += 1;
        return;
    };
    let expected = digest(&repr_digest);
    if let Some(expected) = &expected {
        integrity.digests += 1;
        if Sha256::digest(body).as_slice() != expected {
            integrity.fail("digest", &format!("{url}: the body is not what Repr-Digest says"));
        }
    }
    let (Some(weir_record), Some(signature_input), Some(signature)) =
        (field("weir-record"), field("signature-input"), field("signature"))
    else {
        integrity.unsigned += 1;
        return;
    };
    let Some(keys) = keys else { return };
    let fields = RecordFields { repr_digest, weir_record, signature_input, signature };
    let record = UnverifiedRecord {
        fields,
        content_type: field("content-type"),
        content_encoding: field("content-encoding"),
        headers: HeaderBlock::default(),
    };
    integrity.signatures += 1;
    match record.verify_seen(keys, now) {
        Err(error) => integrity.fail("signature", &format!("{url}: {error}")),
        Ok((stated, _)) if stated.key.publisher != keys.publisher() => {
            integrity.fail("signature", &format!("{url}: signed for another publisher"));
        }
        Ok((stated, _)) if !is_of(&stated.key, url) => {
            integrity.fail("resource", &format!("{url}: the record is of {}", stated.key.path_and_query()));
        }
        Ok((stated, _)) if stated.length != body.len() as u64 => {
            integrity.fail("length", &format!("{url}: {} bytes, signed are {}", body.len(), stated.length));
        }
        Ok(_) => {}
    }
}

/// Whether a record is of the URL that was asked for. Relays that serve several publishers have the publisher's name before
/// the path.
fn is_of(key: &ResourceKey, url: &Url) -> bool {
    let asked = &url[Position::BeforePath..Position::AfterQuery];
    let same = |target: &str| {
        ResourceKey::parse(key.publisher, target).is_ok_and(|own| own.path == key.path && own.query == key.query)
    };
    same(asked) || asked[1..].find('/').is_some_and(|at| same(&asked[1 + at..]))
}

/// The SHA-256 in a `Repr-Digest`; other algorithms beside it are ignored.
fn digest(value: &str) -> Option<Vec<u8>> {
    let member = value.split(',').find_map(|member| member.trim().strip_prefix("sha-256=:")?.strip_suffix(':'))?;
    base64(member)
}

/// Standard base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in digits.bytes() {
        bits = (bits << 6 | value(digit)?) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::HeaderValue;

    use super::*;

    const OF_ABC: &str = "sha-512=:AA==:, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

    fn check(body: &[u8], digest: Option<&'static str>) -> Integrity {
        let (url, mut headers, mut integrity) =
            (Url::parse("http://h/a").unwrap(), HeaderMap::new(), Integrity::default());
        if let Some(digest) = digest {
            headers.insert("repr-digest", HeaderValue::from_static(digest));
        }
        let received = Received { url: &url, status: StatusCode::OK, headers: &headers, body };
        signature(received, None, UnixMillis(0), &mut integrity);
        integrity
    }

    #[test]
    fn a_digest_is_compared_with_the_body() {
        let right = check(b"abc", Some(OF_ABC));
        assert_eq!((right.digests, right.failures()), (1, 0));
        let wrong = check(b"abd", Some(OF_ABC));
        assert_eq!(wrong.classes["digest"], 1);
        assert_eq!(check(b"abc", None).unsigned, 1);
    }

    #[test]
    fn a_record_is_of_the_path_with_or_without_the_publishers_name() {
        let publisher = weir_protocol::RootKey::from_bytes(&[9; 32]).publisher_id();
        let key = ResourceKey::parse(publisher, "/film/s1.m4s").unwrap();
        for (url, expected) in [
            ("http://h/film/s1.m4s?weir_token=x&CMCD=bs", true),
            ("http://h/demo/film/s1.m4s", true),
            ("http://h/film/s2.m4s", false),
            ("http://h/a/b/film/s1.m4s", false),
        ] {
            assert_eq!(is_of(&key, &Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}

//! Which resource is meant: the one canonical name that caches, records and owners agree on.
//!
//! Invariant: two requests that an origin must answer alike have the same [`ResourceKey`], and no key's path leaves the
//! origin's root, whether its dots are written plainly or percent-encoded.

mod path;
mod query;

use std::fmt;

use minicbor::{Decode, Decoder, Encode};

use crate::cbor;
use crate::freshness::is_field_text;
use crate::ids::{PublisherId, ResourceHash};

pub use path::CanonicalPath;
pub use query::{CMSD_PARAMETER, RetainedQuery, STEER_PARAMETER, TOKEN_PARAMETER, token_in_query};

/// Longest path with query, in bytes, before and after normalisation.
pub const MAX_PATH_AND_QUERY: usize = 4096;
/// Longest variant key, in bytes.
pub const MAX_VARIANT: usize = 256;
/// BLAKE3 key-derivation context of [`ResourceHash`].
pub const RESOURCE_CONTEXT: &str = "weir/resource/1";

/// Why a request target names no resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Longer than [`MAX_PATH_AND_QUERY`], as received or once normalised.
    #[error("path and query exceed 4096 bytes")]
    TooLong,
    /// Not origin-form (RFC 9112 section 3.2.1): it must start with `/`.
    #[error("the request target must start with a slash")]
    NotOriginForm,
    /// A fragment never reaches a server.
    #[error("a request target has no fragment")]
    Fragment,
    /// NUL, a control character, a space or a backslash, plain or (in the path) percent-encoded.
    #[error("control character, space or backslash in the request target")]
    ForbiddenCharacter,
    /// `%` without two hexadecimal digits.
    #[error("broken percent-encoding")]
    BadEncoding,
    /// Dot segments lead above the root.
    #[error("the path leads above the root")]
    EscapesRoot,
    /// A variant key is 1 to [`MAX_VARIANT`] printable ASCII characters.
    #[error("a variant key is 1 to 256 printable ASCII characters")]
    BadVariant,
}

/// Which of several representations of one URL is meant (RFC 9111 section 4.1): opaque, made by the adapter from the
/// request headers that the origin's `Vary` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct VariantKey(#[n(0)] String);

impl VariantKey {
    /// A variant key.
    ///
    /// # Errors
    /// [`ResourceError::BadVariant`].
    pub fn new(text: &str) -> Result<Self, ResourceError> {
        if is_field_text(text, MAX_VARIANT) { Ok(Self(text.to_owned())) } else { Err(ResourceError::BadVariant) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'b, C> Decode<'b, C> for VariantKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(minicbor::decode::Error::message)
    }
}

/// The canonical name of a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct ResourceKey {
    /// Whose resource it is.
    #[n(0)]
    pub publisher: PublisherId,
    /// Its path below the origin's root.
    #[n(1)]
    pub path: CanonicalPath,
    /// The part of the query that the origin sees.
    #[n(2)]
    pub query: Option<RetainedQuery>,
    /// Which representation, where the origin has several.
    #[n(3)]
    pub variant: Option<VariantKey>,
}

impl ResourceKey {
    /// Normalises a request target in origin-form.
    ///
    /// Path: RFC 3986 section 6.2.2 (unreserved characters decoded, upper-case hex, dot segments removed; `%2F` stays
    /// encoded); characters that RFC 3986 does not allow in a path are percent-encoded. Query: kept in its order, our
    /// own and players' parameters taken out ([`RetainedQuery`]). Parsing its own output changes nothing.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub fn parse(publisher: PublisherId, path_and_query: &str) -> Result<Self, ResourceError> {
        if path_and_query.len() > MAX_PATH_AND_QUERY {
            return Err(ResourceError::TooLong);
        }
        if path_and_query.contains('#') {
            return Err(ResourceError::Fragment);
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let path = CanonicalPath::parse(path)?;
        let query = query.map(RetainedQuery::parse).transpose()?.flatten();
        let key = Self { publisher, path, query, variant: None };
        if key.target_len() > MAX_PATH_AND_QUERY {
            return Err(ResourceError::TooLong);
        }
        Ok(key)
    }

    /// The same URL's representation `variant`.
    #[must_use]
    pub fn with_variant(mut self, variant: Option<VariantKey>) -> Self {
        self.variant = variant;
        self
    }

    /// The resource whose URL has no HLS delivery directives, and the directives as a query; `None` where this one's has
    /// none.
    #[must_use]
    pub fn without_directives(&self) -> Option<(Self, &str)> {
        let (query, directives) = self.query.as_ref()?.without_directives();
        let plain = || Self { query, ..self.clone() };
        (!directives.is_empty()).then(|| (plain(), directives))
    }

    /// The request target to send upstream. Append it to the origin's base; never resolve it as a relative reference,
    /// since a path may begin with two slashes.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let mut target = String::with_capacity(self.target_len());
        target.push_str(self.path.as_str());
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(query.as_str());
        }
        target
    }

    /// BLAKE3 (derive_key, context `weir/resource/1`) over the key's deterministic CBOR.
    #[must_use]
    pub fn hash(&self) -> ResourceHash {
        ResourceHash(blake3::derive_key(RESOURCE_CONTEXT, &cbor::to_vec(self)))
    }

    fn target_len(&self) -> usize {
        self.path.as_str().len() + self.query.as_ref().map_or(0, |q| 1 + q.as_str().len())
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.publisher.short(), self.path_and_query())
    }
}

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

fn push_encoded(out: &mut String, byte: u8) {
    out.push('%');
    out.push(char::from(UPPER_HEX[usize::from(byte >> 4)]));
    out.push(char::from(UPPER_HEX[usize::from(byte & 15)]));
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Normalises percent-encoding. `plain` says which characters beside the unreserved ones stand as they are; `refused`
/// which octets may not occur in percent-encoded form.
fn normalise(text: &str, plain: &[u8], refused: fn(u8) -> bool) -> Result<String, ResourceError> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit).ok_or(ResourceError::BadEncoding)?;
                let low = bytes.next().and_then(hex_digit).ok_or(ResourceError::BadEncoding)?;
                let octet = high << 4 | low;
                if refused(octet) {
                    return Err(ResourceError::ForbiddenCharacter);
                }
                if is_unreserved(octet) { out.push(char::from(octet)) } else { push_encoded(&mut out, octet) }
            }
            b'\\' | 0..=b' ' | 0x7f => return Err(ResourceError::ForbiddenCharacter),
            _ if is_unreserved(byte) || plain.contains(&byte) => out.push(char::from(byte)),
            _ => push_encoded(&mut out, byte),
        }
    }
    Ok(out)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{ResourceError, ResourceKey, VariantKey};
    use crate::cbor;
    use crate::ids::PublisherId;

    const PUBLISHER: PublisherId = PublisherId::from_bytes([1; 32]);

    fn canonical(target: &str) -> Result<String, ResourceError> {
        ResourceKey::parse(PUBLISHER, target).map(|key| key.path_and_query())
    }

    #[test]
    fn spellings_of_one_resource_meet() {
        for (target, expected) in [
            ("/a/b.m4s", "/a/b.m4s"),
            ("/%61/b%2em4s", "/a/b.m4s"),
            ("/a/./c/../b.m4s", "/a/b.m4s"),
            ("/a/%2E/b", "/a/b"),
            ("/a/x/%2e%2E/b", "/a/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a%2fb", "/a%2Fb"),
            ("/ü|", "/%C3%BC%7C"),
            ("//a", "//a"),
            ("/a?", "/a"),
            ("/a?&", "/a"),
            ("/a?x=1&weir_token=t&y=%7e", "/a?x=1&y=~"),
            ("/a?%77eir_token=t", "/a"),
            ("/a?CMCD=br%3D1&cmcd=2", "/a?cmcd=2"),
            ("/l?_HLS_part=2&_HLS_msn=1&a=1&_HLS_pathway=x&_HLS_throughput=9", "/l?a=1&_HLS_msn=1&_HLS_part=2"),
            ("/a?weir_steer=1&b", "/a?b"),
            ("/a?u=/b?c", "/a?u=/b?c"),
            ("/a?d=..%2F..&n=%0A", "/a?d=..%2F..&n=%0A"),
        ] {
            assert_eq!(canonical(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn directives_are_told_from_the_resource() {
        for (target, plain, directives) in [
            ("/l?_HLS_part=2&_HLS_msn=1&a=1", "/l?a=1", "_HLS_msn=1&_HLS_part=2"),
            ("/l?_HLS_skip=YES", "/l", "_HLS_skip=YES"),
        ] {
            let key = ResourceKey::parse(PUBLISHER, target).unwrap();
            let (found, said) = key.without_directives().unwrap();
            assert_eq!((found.path_and_query().as_str(), said), (plain, directives));
            assert_eq!(found, ResourceKey::parse(PUBLISHER, plain).unwrap());
        }
        for target in ["/l", "/l?a=_HLS_msn&b"] {
            assert_eq!(ResourceKey::parse(PUBLISHER, target).unwrap().without_directives(), None);
        }
    }

    #[test]
    fn hostile_targets_are_refused() {
        for (target, error) in [
            ("", ResourceError::NotOriginForm),
            ("a", ResourceError::NotOriginForm),
            ("http://x/a", ResourceError::NotOriginForm),
            ("?a", ResourceError::NotOriginForm),
            ("/a#b", ResourceError::Fragment),
            ("/..", ResourceError::EscapesRoot),
            ("/a/../../b", ResourceError::EscapesRoot),
            ("/%2e%2e/b", ResourceError::EscapesRoot),
            ("/a%2F..%2f..%2fb", ResourceError::EscapesRoot),
            ("/.%2E%2fb", ResourceError::EscapesRoot),
            ("/a%", ResourceError::BadEncoding),
            ("/a%1g", ResourceError::BadEncoding),
            ("/a%00", ResourceError::ForbiddenCharacter),
            ("/a?b=%00", ResourceError::ForbiddenCharacter),
            ("/a%0Ab", ResourceError::ForbiddenCharacter),
            ("/a%5cb", ResourceError::ForbiddenCharacter),
            ("/a\\b", ResourceError::ForbiddenCharacter),
            ("/a b", ResourceError::ForbiddenCharacter),
            ("/a\r\n", ResourceError::ForbiddenCharacter),
        ] {
            assert_eq!(canonical(target), Err(error), "{target}");
        }
        assert_eq!(canonical(&format!("/{}", "a".repeat(4096))), Err(ResourceError::TooLong));
        assert_eq!(canonical(&format!("/{}", "ü".repeat(1000))), Err(ResourceError::TooLong));
    }

    #[test]
    fn hash_tells_keys_apart() {
        let plain = ResourceKey::parse(PUBLISHER, "/a?b").unwrap();
        let other = ResourceKey::parse(PublisherId::from_bytes([2; 32]), "/a?b").unwrap();
        let variant = plain.clone().with_variant(Some(VariantKey::new("br").unwrap()));
        assert_ne!(plain.hash(), other.hash());
        assert_ne!(plain.hash(), variant.hash());
        let decoded: ResourceKey = cbor::decode_canonical(&cbor::to_vec(&variant)).unwrap();
        assert_eq!(decoded, variant);
    }
}

//! Where a request carries a token: the query parameter `weir_token`, or a Bearer token of a publisher that is served
//! here (RFC 6750 section 2). Any other `Authorization` is the origin's business and stays.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use weir_protocol::{PublisherId, token::UnverifiedToken};

/// The query parameter.
const PARAMETER: &str = "weir_token";
/// RFC 9110 section 11.1: the scheme's name knows no case.
const SCHEME: &str = "bearer";

/// A token as a request carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) compact: String,
    /// By the query: then playlists carry it onward.
    pub(super) by_query: bool,
}

/// Takes the token out of the headers, and reads the one in the query.
pub(super) fn take(
    query: Option<&str>,
    headers: &mut HeaderMap,
    is_ours: impl Fn(&PublisherId) -> bool,
) -> Option<Carried> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(bearer)
        .filter(|token| UnverifiedToken::parse(token).is_ok_and(|token| is_ours(token.issuer())));
    let bearer = bearer.map(str::to_owned);
    if bearer.is_some() {
        headers.remove(AUTHORIZATION);
    }
    let in_query =
        query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix('=')));
    match in_query.filter(|token| !token.is_empty()) {
        Some(token) => {
            let compact = percent_encoding::percent_decode_str(token).decode_utf8_lossy().into_owned();
            Some(Carried { compact, by_query: true })
        }
        None => bearer.map(|compact| Carried { compact, by_query: false }),
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::{
        keys::SigningKey,
        token::{SessionClaims, TokenUse},
    };

    fn token(iss: PublisherId) -> String {
        let claims = SessionClaims {
            iss,
            sid: "s".into(),
            prefix: "/".into(),
            exp: 9,
            nbf: None,
            iat: None,
            max_bytes: None,
            cnf: None,
            relays: Vec::new(),
            usage: TokenUse::Service,
        };
        claims.sign(&SigningKey::from_bytes(&[1; 32])).unwrap()
    }

    #[test]
    fn a_bearer_token_is_ours_only_if_its_issuer_is_served_here() {
        let ours = PublisherId([1; 32]);
        let mut headers = HeaderMap::new();
        for (value, taken) in [
            (format!("Bearer {}", token(ours)), true),
            (format!("bEARER  {}", token(ours)), true),
            (format!("Bearer {}", token(PublisherId([2; 32]))), false),
            ("Bearer not-a-jwt".into(), false),
            ("Basic dXNlcjpwYXNz".into(), false),
        ] {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            let carried = take(Some("a=b"), &mut headers, |iss| *iss == ours);
            assert_eq!(carried.is_some(), taken, "{value}");
            assert_eq!(headers.contains_key(AUTHORIZATION), !taken, "{value}");
        }
    }

    #[test]
    fn the_query_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", token(PublisherId([1; 32]))).parse().unwrap());
        let carried = take(Some("x=1&weir_token=a%2Eb.c&y"), &mut headers, |_| true).unwrap();
        assert_eq!(carried, Carried { compact: "a.b.c".into(), by_query: true });
        assert!(headers.is_empty(), "a token of ours never goes on");
        assert_eq!(take(Some("weir_token=&weir_tokens=1"), &mut headers, |_| true), None);
    }
}

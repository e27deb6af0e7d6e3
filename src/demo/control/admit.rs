//! Who may control the demo: a page that the demo itself served, and programs on this machine that were told the token.
//!
//! The attacks: a page on another site posts a form or a script's request to this port (forgery); another site's name is
//! made to resolve to a loopback address, so that its page counts as this one's (DNS rebinding). Against the first stand
//! the token, which other sites cannot read, a field and a type that a form cannot send and for which a browser asks
//! leave first, and what browsers themselves say of a request's origin. Against the second stands the name in `Host`.

use http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::{HeaderName, StatusCode};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The field that carries the token.
const TOKEN: HeaderName = HeaderName::from_static("weir-control");
/// What a browser says of a request's relation to the page (Fetch Metadata).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A random secret of one run of the demo.
#[derive(Clone)]
pub(in crate::demo) struct Token(String);

impl Token {
    /// 128 random bits.
    pub(in crate::demo) fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// For the page that the demo serves.
    pub(in crate::demo) fn text(&self) -> &str {
        &self.0
    }

    /// Looks at every byte, so that the time it takes tells nothing of the secret.
    fn is(&self, given: &[u8]) -> bool {
        let differences = self.0.bytes().zip(given).fold(0, |all, (one, other)| all | (one ^ other));
        given.len() == self.0.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

const fn refused(status: StatusCode, why: &'static str) -> Refusal {
    Refusal { status, why }
}

/// Whether the request names this machine and not a domain that somebody else owns.
pub(in crate::demo) fn is_for_this_machine(authority: Option<&str>) -> bool {
    let Some(authority) = authority else { return false };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.eq_ignore_ascii_case("localhost")
        || authority.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        || authority.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a browser says that another site's page sent it.
pub(in crate::demo) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

/// Lets a request change something, or says why not.
pub(super) fn admit(authority: Option<&str>, headers: &HeaderMap, token: &Token) -> Result<(), Refusal> {
    let forbidden = |why| Err(refused(StatusCode::FORBIDDEN, why));
    let here = authority.filter(|authority| is_for_this_machine(Some(authority)));
    let Some(here) = here else {
        return Err(refused(StatusCode::MISDIRECTED_REQUEST, "ask by the loopback address"));
    };
    if headers.get_all(HOST).iter().count() > 1 {
        return forbidden("more than one Host");
    }
    // `none` is a request that no page made, and no such request has a body.
    if headers.get(SITE).is_some_and(|site| site != "same-origin") {
        return forbidden("only the demo's own page may control it");
    }
    if headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes() != format!("http://{here}").as_bytes()) {
        return forbidden("only the demo's own page may control it");
    }
    if !headers.get(TOKEN).is_some_and(|given| token.is(given.as_bytes())) {
        return forbidden("Weir-Control must hold the token that /api/demo tells");
    }
    let is_json = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the command must be application/json"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::HeaderValue;

    const HERE: Option<&str> = Some("127.0.0.1:7080");

    fn fields(token: &Token) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, HeaderValue::from_str(token.text()).unwrap());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
    }

    #[test]
    fn the_own_page_and_local_programs_are_let_in() {
        let token = Token::random();
        let mut headers = fields(&token);
        assert_eq!(admit(HERE, &headers, &token), Ok(()), "a program");
        headers.insert(ORIGIN, HeaderValue::from_static("http://127.0.0.1:7080"));
        headers.insert(SITE, HeaderValue::from_static("same-origin"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        assert_eq!(admit(HERE, &headers, &token), Ok(()), "the page");
    }

    #[test]
    fn everything_else_is_refused() {
        let token = Token::random();
        let status = |authority, change: &dyn Fn(&mut HeaderMap)| {
            let mut headers = fields(&token);
            change(&mut headers);
            admit(authority, &headers, &token).unwrap_err().status.as_u16()
        };
        let set = |name: HeaderName, value: &'static str| {
            move |headers: &mut HeaderMap| drop(headers.insert(name.clone(), HeaderValue::from_static(value)))
        };
        assert_eq!(status(Some("evil.example:7080"), &|_| {}), 421, "DNS rebinding");
        assert_eq!(status(None, &|_| {}), 421);
        assert_eq!(status(HERE, &set(SITE, "cross-site")), 403);
        assert_eq!(status(HERE, &set(SITE, "same-site")), 403);
        assert_eq!(status(HERE, &set(SITE, "none")), 403);
        assert_eq!(status(HERE, &set(ORIGIN, "http://evil.example")), 403);
        assert_eq!(status(HERE, &set(ORIGIN, "null")), 403);
        // Another demo on this machine is another origin.
        assert_eq!(status(HERE, &set(ORIGIN, "http://127.0.0.1:7081")), 403);
        assert_eq!(status(HERE, &set(TOKEN, "0")), 403);
        assert_eq!(status(HERE, &|headers| drop(headers.remove(TOKEN))), 403);
        assert_eq!(status(HERE, &set(CONTENT_TYPE, "text/plain")), 415, "what a form can send");
        assert_eq!(status(HERE, &|headers| drop(headers.remove(CONTENT_TYPE))), 415);
    }

    #[test]
    fn only_loopback_is_this_machine() {
        for here in ["127.0.0.1:1", "127.0.0.3", "[::1]:7080", "::1", "localhost:7080", "LOCALHOST"] {
            assert!(is_for_this_machine(Some(here)), "{here}");
        }
        for elsewhere in ["10.0.0.1:1", "localhost.evil.example", "127.0.0.1.evil.example:7080", "", ":80"] {
            assert!(!is_for_this_machine(Some(elsewhere)), "{elsewhere}");
        }
    }
}

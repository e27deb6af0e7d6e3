//! What a requester asked, as far as the origin may need to know it. Invariant: what describes one connection, what this
//! cache answers itself (conditions, ranges, codings) and what is between the viewer and its player stays here.

use crate::http::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use weir_protocol::{growing::UnverifiedInterim, resource::VariantKey, vary::Vary, wire::Awaits};

/// What the origin says before its answer.
#[derive(Clone)]
pub struct Interim {
    /// 102 to 199.
    pub status: StatusCode,
    /// End-to-end fields.
    pub headers: HeaderMap,
    /// Inside a publisher's network, the adapter's signature over it.
    pub signed: Option<UnverifiedInterim>,
}

/// Hears it.
pub type InterimListener = Arc<dyn Fn(Interim) + Send + Sync>;

/// A source may hold its answer back, because what is asked for is not made yet.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    /// What the answer, a live playlist, must list.
    pub awaits: Option<Awaits>,
    /// For how long.
    pub patience: Duration,
}

/// A requester's method, fields and body.
pub struct Asked {
    /// GET unless the request is passed.
    pub method: Method,
    /// All fields as received.
    pub headers: HeaderMap,
    /// Hears interim responses, when the requester's protocol can carry them.
    pub interim: Option<InterimListener>,
    /// Set when it is known that the answer may not exist yet.
    pub hold: Option<Hold>,
    /// The body of a passed request, until it is taken.
    body: Mutex<Option<Body>>,
}

impl Default for Asked {
    fn default() -> Self {
        Self::get(HeaderMap::new())
    }
}

/// Fields that never go on: they describe this hop (RFC 9110 section 7.6.1), are answered here, are a player's report to
/// us (CTA-5004), or say where a viewer sits and which page it looks at, which is nobody's business when the answer is
/// everybody's.
const STAYS: [&str; 35] = [
    "accept-encoding",
    "cmcd-object",
    "cmcd-request",
    "cmcd-session",
    "cmcd-status",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "priority",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "weir-record",
    "x-forwarded-for",
    "x-real-ip",
];
/// Of these, what still goes on with a request whose answer is nobody else's.
const GOES_WHEN_PASSED: [&str; 11] = [
    "forwarded",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "referer",
    "x-forwarded-for",
    "x-real-ip",
];

impl Asked {
    /// A plain GET with these fields.
    pub fn get(headers: HeaderMap) -> Self {
        Self { method: Method::GET, headers, interim: None, hold: None, body: Mutex::new(None) }
    }

    /// A request that is passed to the origin.
    pub fn pass(method: Method, headers: HeaderMap, body: Body) -> Self {
        Self { method, headers, interim: None, hold: None, body: Mutex::new(Some(body)) }
    }

    /// Who hears what the origin says beforehand.
    #[must_use]
    pub fn heard_by(mut self, interim: Option<InterimListener>) -> Self {
        self.interim = interim;
        self
    }

    /// The source may hold its answer back.
    #[must_use]
    pub fn holding(mut self, hold: Option<Hold>) -> Self {
        self.hold = hold;
        self
    }

    /// What the answer must list.
    pub fn awaits(&self) -> Option<Awaits> {
        self.hold?.awaits
    }

    /// The same with another listener; it takes the body along.
    #[must_use]
    pub fn told_to(&self, interim: InterimListener) -> Self {
        Self {
            method: self.method.clone(),
            headers: self.headers.clone(),
            interim: Some(interim),
            hold: self.hold,
            body: Mutex::new(self.take_body()),
        }
    }

    /// True for what only the origin can do: everything but GET.
    pub fn is_passed(&self) -> bool {
        self.method != Method::GET
    }

    /// True when its answer is nobody else's until the origin says otherwise (RFC 9111 section 3.5).
    pub fn is_authorized(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION)
    }

    /// True when it tells who is asking: relays on the way must not learn that.
    pub fn is_personal(&self) -> bool {
        self.is_authorized() || self.headers.contains_key(header::COOKIE)
    }

    /// Takes the body; once.
    pub fn take_body(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The fields that go on to the origin.
    pub fn onward(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let named = connection_options(&self.headers);
        let passed = self.is_passed();
        self.headers.iter().filter(move |(name, _)| {
            let name = name.as_str();
            let stays = STAYS.contains(&name) && !(passed && GOES_WHEN_PASSED.contains(&name));
            !stays && !named.iter().any(|option| option == name)
        })
    }

    /// Which representation it selects.
    pub fn variant(&self, vary: &Vary) -> Option<VariantKey> {
        if vary.is_none() {
            return None;
        }
        let named = connection_options(&self.headers);
        vary.variant(|name| {
            if STAYS.contains(&name) || named.iter().any(|option| option == name) {
                return Vec::new();
            }
            let lines = self.headers.get_all(name).iter();
            lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect()
        })
    }
}

/// The field names that `Connection` lists, in lower case.
pub(crate) fn connection_options(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn asked(method: Method, fields: &[(&str, &str)]) -> Asked {
        let headers = fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect();
        Asked::pass(method, headers, Body::empty())
    }

    fn names(asked: &Asked) -> Vec<&str> {
        let mut names: Vec<&str> = asked.onward().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn only_what_the_origin_may_need_goes_on() {
        let fields = [
            ("host", "a"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"a\""),
            ("origin", "https://a.example"),
            ("accept-language", "de"),
            ("cmcd-session", "sid=\"x\""),
            ("x-own", "1"),
        ];
        assert_eq!(names(&asked(Method::GET, &fields)), ["accept-language", "x-own"]);
        let passed = asked(Method::PUT, &fields);
        assert_eq!(names(&passed), ["accept-language", "if-none-match", "origin", "x-own"]);
        assert!(passed.take_body().is_some() && passed.take_body().is_none());
    }

    #[test]
    fn what_does_not_go_on_selects_nothing() {
        let vary = Vary::parse(["range, x-own"]);
        let one = asked(Method::GET, &[("range", "bytes=0-1"), ("x-own", "1")]).variant(&vary);
        assert_eq!(one, asked(Method::GET, &[("x-own", "1")]).variant(&vary));
        assert_ne!(one, asked(Method::GET, &[("x-own", "2")]).variant(&vary));
    }
}

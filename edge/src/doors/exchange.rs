//! What all HTTP versions share: checks before a handler sees a request, and the head that goes out with its
//! response. Invariant: a handler sees an origin-form path, at most one authority, and never CONNECT or TRACE.

use super::{config::Limits, dates::Dates};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri, Version,
    header::{ALT_SVC, CONNECTION, CONTENT_LENGTH, DATE, HOST, TRANSFER_ENCODING},
    request::Parts,
    uri,
};
use std::{sync::Arc, time::SystemTime};
use weir_relay::http::{Answer, Body, Handler, InterimSender, Link, Protocol, Request, Response};

/// Overhead that RFC 9113 section 6.5.2 counts for each header field.
const FIELD_OVERHEAD: usize = 32;

/// One door's share of every exchange.
pub(super) struct Exchange {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) secure: bool,
    pub(super) alt_svc: Option<HeaderValue>,
    pub(super) dates: Arc<Dates>,
}

impl Exchange {
    /// Checks a request and gives it to the handler.
    pub(super) fn call(
        &self,
        parts: Parts,
        protocol: Protocol,
        body: Body,
        interim: Option<InterimSender>,
        link: Option<Link>,
    ) -> Answer {
        match self.admit(parts, protocol, body) {
            Ok(request) => self.handler.call(Request { interim, link, ..request }),
            Err((status, reason)) => Answer::Ready(self.handler.refuse(status, reason)),
        }
    }

    fn admit(&self, parts: Parts, protocol: Protocol, body: Body) -> Result<Request, (StatusCode, &'static str)> {
        let Parts { method, uri, version, headers, .. } = parts;
        if fields_size(&headers) > self.limits.max_header_bytes as usize {
            return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header fields too large"));
        }
        if method == Method::CONNECT || method == Method::TRACE {
            return Err((StatusCode::NOT_IMPLEMENTED, "method not implemented"));
        }
        let authority = authority(&uri, &headers, version)?;
        let target = uri.into_parts().path_and_query.ok_or((StatusCode::BAD_REQUEST, "no path"))?;
        if target.as_str().len() > self.limits.max_uri_bytes {
            return Err((StatusCode::URI_TOO_LONG, "path and query too long"));
        }
        if !target.path().starts_with('/') {
            return Err((StatusCode::BAD_REQUEST, "the path must begin with /"));
        }
        if body.length().is_some_and(|length| length > self.limits.max_request_body) {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "request body too large"));
        }
        let mut origin_form = uri::Parts::default();
        origin_form.path_and_query = Some(target);
        let uri = Uri::from_parts(origin_form).map_err(|_| (StatusCode::BAD_REQUEST, "bad path"))?;
        Ok(Request { method, uri, authority, headers, protocol, secure: self.secure, body, interim: None, link: None })
    }

    /// Completes a response's head and drops the body where the request or the status forbids one.
    pub(super) fn finish(&self, head_only: bool, protocol: Protocol, response: Response) -> (http::Response<()>, Body) {
        let Response { status, mut headers, mut body } = response;
        let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless {
            body = Body::empty();
        } else {
            let declared = body.length().filter(|length| !head_only || *length > 0);
            if let Some(length) = declared {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            } else if !head_only {
                headers.remove(CONTENT_LENGTH);
            }
            if head_only {
                body = Body::empty();
            }
        }
        if let Some(alt_svc) = &self.alt_svc
            && protocol != Protocol::H3
        {
            headers.entry(ALT_SVC).or_insert_with(|| alt_svc.clone());
        }
        if protocol == Protocol::H3 {
            // hyper sees to these for the other two versions.
            headers.remove(CONNECTION);
            headers.remove(TRANSFER_ENCODING);
            headers.entry(DATE).or_insert_with(|| self.dates.at(SystemTime::now()));
        }
        let mut head = http::Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = headers;
        (head, body)
    }
}

fn fields_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum()
}

/// RFC 9112 section 3.2: an HTTP/1.1 request has exactly one Host, and an absolute target overrides it. Two different
/// authorities would let a client reach one publisher's content under another's name.
fn authority(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Option<String>, (StatusCode, &'static str)> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err((StatusCode::BAD_REQUEST, "more than one Host"));
    }
    if host.is_none() && version == Version::HTTP_11 {
        return Err((StatusCode::BAD_REQUEST, "Host is missing"));
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str().to_owned()));
    }
    let Some(host) = host else { return Ok(None) };
    let host = host.to_str().map_err(|_| (StatusCode::BAD_REQUEST, "bad Host"))?;
    if host.is_empty() {
        return Ok(None);
    }
    host.parse::<uri::Authority>().map_err(|_| (StatusCode::BAD_REQUEST, "bad Host"))?;
    Ok(Some(host.to_owned()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::header::RANGE;

    struct Echo;
    impl Handler for Echo {
        fn call(&self, request: Request) -> Answer {
            let seen = format!("{} {}", request.authority.as_deref().unwrap_or("-"), request.uri);
            Answer::Ready(Response::new(StatusCode::OK).body(Body::full(seen)))
        }
    }

    fn exchange() -> Exchange {
        Exchange {
            handler: Arc::new(Echo),
            limits: Limits::default(),
            secure: true,
            alt_svc: Some(HeaderValue::from_static("h3=\":443\"; ma=86400")),
            dates: Arc::new(Dates::new()),
        }
    }

    async fn ask(request: http::request::Builder) -> (StatusCode, String) {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let Answer::Ready(mut response) = exchange().call(parts, Protocol::H1, Body::empty(), None, None) else {
            panic!("the echo is ready")
        };
        let piece = std::future::poll_fn(|cx| response.body.poll_data(cx)).await.unwrap().unwrap();
        (response.status, String::from_utf8(piece.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn handlers_see_one_authority_and_an_origin_form_path() {
        let get = || http::Request::builder().version(Version::HTTP_11);
        assert_eq!(ask(get().uri("/a?b").header(HOST, "x:1")).await.1, "x:1 /a?b");
        assert_eq!(ask(get().uri("http://y/a?b").header(HOST, "x")).await.1, "y /a?b");
        for bad in [
            get().uri("/"),
            get().uri("/").header(HOST, "a").header(HOST, "a"),
            get().uri("/").header(HOST, "a b"),
            get().uri("*").method("OPTIONS").header(HOST, "a"),
        ] {
            assert_eq!(ask(bad).await.0, StatusCode::BAD_REQUEST);
        }
        assert_eq!(ask(get().uri("a:1").method("CONNECT").header(HOST, "a")).await.0, StatusCode::NOT_IMPLEMENTED);
        let long = format!("/{}", "p".repeat(9000));
        assert_eq!(ask(get().uri(long).header(HOST, "a")).await.0, StatusCode::URI_TOO_LONG);
        let huge = get().uri("/").header(HOST, "a").header(RANGE, "1".repeat(33_000));
        assert_eq!(ask(huge).await.0, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }

    #[test]
    fn heads_carry_length_and_date_and_alternatives() {
        let exchange = exchange();
        let whole = || Response::new(StatusCode::OK).body(Body::full("abc"));
        let (head, body) = exchange.finish(false, Protocol::H2, whole());
        assert_eq!((head.headers()[CONTENT_LENGTH].as_bytes(), body.length()), (&b"3"[..], Some(3)));
        assert!(head.headers().contains_key(ALT_SVC));
        let (head, body) = exchange.finish(true, Protocol::H3, whole());
        assert_eq!((head.headers()[CONTENT_LENGTH].as_bytes(), body.length()), (&b"3"[..], Some(0)));
        assert!(head.headers().contains_key(DATE) && !head.headers().contains_key(ALT_SVC));
        let told = Response::new(StatusCode::OK).with(CONTENT_LENGTH, HeaderValue::from(77));
        assert_eq!(exchange.finish(true, Protocol::H1, told).0.headers()[CONTENT_LENGTH], "77");
        let (head, _) = exchange.finish(false, Protocol::H1, Response::new(StatusCode::NOT_MODIFIED));
        assert!(!head.headers().contains_key(CONTENT_LENGTH));
    }
}

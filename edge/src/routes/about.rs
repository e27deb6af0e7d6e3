//! `/.well-known/weir` at a relay of a network: which relay answers, whose content it serves, and the publisher's signed
//! key list, so that a player can check what it gets without asking the adapter.
//!
//! Invariant: nothing here has to be believed. The key list is signed by the publisher's root key, which the player knows
//! by the publisher's id; a relay's name decides only to whom a receipt goes.

use crate::negotiate::cors_headers;
use data_encoding::BASE64;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use std::sync::Arc;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    wellknown::WELL_KNOWN_VERSION,
};
use weir_relay::http::{Body, Response};

/// Finds the signed key list of a publisher whose network was joined.
pub type KeyLists = Arc<dyn Fn(&PublisherId) -> Option<Vec<u8>> + Send + Sync>;

/// What a relay says of itself.
pub struct About {
    /// Which relay it is.
    pub relay: RelayId,
    /// The key lists it goes by.
    pub keys: KeyLists,
}

impl About {
    /// The answer; nothing if no network of this publisher was joined, or if it is asked otherwise than by GET or HEAD.
    pub(super) fn say(&self, method: &Method, publisher: &PublisherId) -> Option<Response> {
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        let keys = (self.keys)(publisher)?;
        let text = json!({
            "version": WELL_KNOWN_VERSION, "publisher": publisher, "keys": BASE64.encode(&keys), "relay": self.relay,
        })
        .to_string();
        let mut response = Response::new(StatusCode::OK)
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            // As the adapter's own: a rotated key must be known soon.
            .with(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        cors_headers(&mut response.headers);
        Some(if method == Method::HEAD {
            response.with(header::CONTENT_LENGTH, HeaderValue::from(text.len()))
        } else {
            response.body(Body::full(text))
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn it_names_the_relay_and_carries_the_list_of_its_own_publishers_alone() {
        let relay = RelayId::from_public_bytes(&[0x55; 32]);
        let relay = relay.unwrap_or_else(|| "12D3KooWBRFW3HkJCLKSWb4yG6iWRBpgNjbM4FFvNsL5T5JKTqrd".parse().unwrap());
        let (mine, other) = (PublisherId([1; 32]), PublisherId([2; 32]));
        let about = About { relay, keys: Arc::new(move |asked| (*asked == mine).then(|| vec![7, 7])) };
        assert!(about.say(&Method::GET, &other).is_none() && about.say(&Method::POST, &mine).is_none());
        let said = about.say(&Method::GET, &mine).unwrap();
        assert_eq!(said.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let said: serde_json::Value = serde_json::from_slice(&said.body.collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(said["keys"], "Bwc=");
        assert_eq!(
            (said["publisher"].as_str(), said["relay"].as_str()),
            (Some(&*mine.to_string()), Some(&*relay.to_string()))
        );
        assert_eq!(about.say(&Method::HEAD, &mine).unwrap().body.length(), Some(0));
    }
}

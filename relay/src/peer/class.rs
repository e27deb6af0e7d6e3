//! Which class a reply gets, and what that means on its connection. Invariant: nobody raises a transfer above what the
//! signed answer itself allows, and a playlist never waits behind background transfers.
//!
//! QUIC streams of one connection are sent by priority (RFC 9000 section 2.3 leaves it to the sender): a stream of a
//! higher one goes first whenever it has something to send. Between connections the upload limiter decides.

use crate::object::Head;
use http::header;
use weir_hls::ResourceKind;
use weir_protocol::{time::UnixMillis, wire::Class};

/// Control frames and requests: a few bytes that everything else waits for.
pub const CONTROL_PRIORITY: i32 = 40;
/// A playlist goes before media of its class: nobody can ask for what it does not list yet.
const BEFORE_BYTES: i32 = 5;
/// What was published longer ago than this is not the live edge, in milliseconds.
pub(super) const LIVE_MS: u64 = 60_000;

/// The priority of a stream that carries a transfer of this class, for [`quinn::SendStream::set_priority`].
pub fn stream_priority(class: Class) -> i32 {
    match class {
        Class::LivePart => 30,
        Class::LiveSegment => 20,
        Class::Vod => 10,
        Class::Background => 0,
    }
}

/// The class of the reply that `head` begins, when `asked` was asked for, and the priority of its stream.
pub(super) fn granted(asked: Option<Class>, head: &Head, now: UnixMillis) -> (Class, i32) {
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = ResourceKind::of(head.key.path.as_str(), content_type);
    let class = grant(asked.unwrap_or_default(), kind, now.since(head.freshness.created));
    (class, stream_priority(class) + if kind == ResourceKind::Playlist { BEFORE_BYTES } else { 0 })
}

fn grant(asked: Class, kind: ResourceKind, published_ms_ago: u64) -> Class {
    let (most_urgent, least_urgent) = match kind {
        ResourceKind::Playlist => (Class::LivePart, Class::Vod),
        _ if published_ms_ago <= LIVE_MS => (Class::LivePart, Class::Background),
        _ => (Class::Vod, Class::Background),
    };
    asked.clamp(most_urgent, least_urgent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_urgent_classes_have_higher_priorities() {
        let priorities = Class::ALL.map(stream_priority);
        assert!(priorities.is_sorted_by(|a, b| a > b) && priorities[0] < CONTROL_PRIORITY, "{priorities:?}");
    }

    #[test]
    fn an_asker_may_lower_itself_but_not_raise_old_content() {
        let segment = ResourceKind::Segment;
        for class in Class::ALL {
            assert_eq!(grant(class, segment, 1_000), class, "at the live edge the asker knows best");
            assert_eq!(grant(class, segment, LIVE_MS + 1), class.max(Class::Vod));
            assert!(grant(class, ResourceKind::Playlist, u64::MAX) < Class::Background);
        }
    }
}

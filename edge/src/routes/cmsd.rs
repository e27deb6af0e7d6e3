//! What a response tells a player of the object and of the way to it: CMSD (CTA-5006), when it is asked for with
//! `weir_cmsd=1` or always.
//!
//! Invariant: a value that is not measured is not said. Shaka believes these by default: `mb` caps its choice, and a wrong
//! `etp` is half of its estimate.

use super::ahead::Place;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::num::NonZeroU64;
use weir_hls::ResourceKind;
pub(super) use weir_protocol::resource::CMSD_PARAMETER as PARAMETER;
use weir_protocol::resource::ResourceKey;
use weir_relay::http::Link;

const STATIC: HeaderName = HeaderName::from_static("cmsd-static");
const DYNAMIC: HeaderName = HeaderName::from_static("cmsd-dynamic");
/// What stands as it is in `nor` (CTA-5006 section 3.1: percent-encoded).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is known beside the object.
pub(super) struct Facts<'a> {
    /// This cache's name.
    pub(super) name: &'a str,
    pub(super) kind: ResourceKind,
    pub(super) place: Option<Place>,
    pub(super) link: Option<Link>,
    /// Bytes a second for all viewers, and how many there are.
    pub(super) share: Option<(NonZeroU64, u64)>,
}

/// Adds both fields. An origin's own static field stays; an entry of ours follows those of others in the dynamic one.
pub(super) fn add(headers: &mut HeaderMap, key: &ResourceKey, facts: &Facts<'_>) {
    if let Ok(value) = HeaderValue::try_from(fixed(key, facts)) {
        headers.entry(STATIC).or_insert(value);
    }
    if let Ok(value) = HeaderValue::try_from(measured(facts)) {
        headers.append(DYNAMIC, value);
    }
}

fn fixed(key: &ResourceKey, facts: &Facts<'_>) -> String {
    let mut members = Vec::new();
    if facts.kind == ResourceKind::Playlist {
        members.push("ot=m".to_owned());
    }
    members.push("sf=h".to_owned());
    if let Some(place) = &facts.place {
        members.push(format!("st={}", if place.live { "l" } else { "v" }));
        members.push(format!("d={}", place.segment.duration));
        if let Some(next) = place.next.first() {
            members.push(format!("nor=\"{}\"", utf8_percent_encode(&relative(key, next), PLAIN)));
        }
    }
    members.join(",")
}

fn measured(facts: &Facts<'_>) -> String {
    let mut text = format!("\"{}\"", facts.name);
    if let Some(link) = facts.link {
        text.push_str(&format!(";rtt={}", link.round_trip.as_millis()));
        if let Some(rate) = link.kbit_per_second {
            // Rounded to 100 kbit/s, as CMCD's throughput is.
            text.push_str(&format!(";etp={}", rate.div_ceil(100) * 100));
        }
    }
    if let Some((capacity, viewers)) = facts.share {
        let share = capacity.get() * 8 / 1000 / viewers.max(1);
        text.push_str(&format!(";mb={}", (share / 100).max(1) * 100));
    }
    text
}

/// `to` as a reference from `from`: a name where both are in one folder, else an absolute path.
fn relative(from: &ResourceKey, to: &ResourceKey) -> String {
    let target = to.path_and_query();
    let folder = &from.path.as_str()[..=from.path.as_str().rfind('/').unwrap_or(0)];
    match target.strip_prefix(folder) {
        Some(name) if !name.split('?').next().unwrap_or_default().contains(['/', ':']) && !name.is_empty() => {
            name.to_owned()
        }
        _ => target,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{super::ahead::Segment, *};
    use std::time::Duration;
    use weir_protocol::ids::PublisherId;

    fn key(path: &str) -> ResourceKey {
        ResourceKey::parse(PublisherId([1; 32]), path).unwrap()
    }

    #[test]
    fn only_what_is_known_is_said() {
        let mut headers = HeaderMap::new();
        let mut facts = Facts { name: "weir-1", kind: ResourceKind::Segment, place: None, link: None, share: None };
        add(&mut headers, &key("/a/1.ts"), &facts);
        assert_eq!(
            (&headers[STATIC], &headers[DYNAMIC]),
            (&HeaderValue::from_static("sf=h"), &HeaderValue::from_static("\"weir-1\""))
        );
        facts.place = Some(Place {
            segment: Segment { key: key("/a/1.ts"), duration: 2002 },
            next: vec![key("/a/2.ts?x=1")],
            live: true,
        });
        facts.link = Some(Link { round_trip: Duration::from_millis(12), kbit_per_second: Some(4321) });
        facts.share = NonZeroU64::new(1_000_000).map(|capacity| (capacity, 3));
        let mut headers = HeaderMap::new();
        add(&mut headers, &key("/a/1.ts"), &facts);
        assert_eq!(headers[STATIC], "sf=h,st=l,d=2002,nor=\"2.ts%3Fx%3D1\"");
        assert_eq!(headers[DYNAMIC], "\"weir-1\";rtt=12;etp=4400;mb=2600");
    }

    #[test]
    fn references_lead_to_what_they_name() {
        for (from, to) in
            [("/a/1.ts", "/a/2.ts"), ("/a/1.ts", "/b/2.ts"), ("/1.ts", "/2.ts?q=/x"), ("/a/1.ts", "/a/c:d.ts")]
        {
            let written = relative(&key(from), &key(to));
            assert_eq!(weir_hls::resolve(from, &written).unwrap().to_string(), to, "{written}");
        }
    }
}

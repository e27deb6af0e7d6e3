//! What a request tells beside what it asks for: a player's CMCD, and a client's own `Priority` (RFC 9218 section 4).
//! From both, how urgent the response is on its connection.
//!
//! Invariant: of two segments that a player asks for in the same state, one of a higher rung is never more urgent; and a
//! client may be less urgent than we think, never more (Chromium calls everything it fetches urgent).

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use weir_hls::{
    ResourceKind,
    cmcd::{Cmcd, HEADERS, ObjectType, QUERY_PARAMETER},
};

const PRIORITY: HeaderName = HeaderName::from_static("priority");
/// What a client says that says nothing (RFC 9218 section 4.1).
const DEFAULT: u8 = 3;
/// Least urgent of what a player waits for; 7 is for what nobody waits for.
const LAST: u8 = 6;
/// Above this a player is in no hurry, in ms.
const COMFORTABLE: u64 = 30_000;
/// Below this it is, in ms.
const SHORT: u64 = 4_000;

/// What a request tells.
#[derive(Default)]
pub(super) struct Told {
    pub(super) cmcd: Option<Box<Cmcd>>,
    client: Option<u8>,
}

impl Told {
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let query = uri.query().filter(|query| query.contains(QUERY_PARAMETER));
        let cmcd = query.and_then(Cmcd::from_query).or_else(|| {
            let said = HEADERS.iter().filter_map(|name| headers.get(*name)).filter_map(|value| value.to_str().ok());
            Cmcd::from_headers(said)
        });
        let client = headers.get(PRIORITY).and_then(|value| urgency_in(value.to_str().ok()?));
        Self { cmcd: cmcd.map(Box::new), client }
    }

    /// 0 to 7, the least the most urgent.
    pub(super) fn urgency(&self, kind: ResourceKind) -> u8 {
        let ours = self.computed(kind);
        self.client.filter(|theirs| *theirs > DEFAULT).map_or(ours, |theirs| ours.max(theirs))
    }

    fn computed(&self, kind: ResourceKind) -> u8 {
        let cmcd = self.cmcd.as_deref();
        match (kind, cmcd.and_then(|cmcd| cmcd.object)) {
            (ResourceKind::Playlist | ResourceKind::Key, _) | (_, Some(ObjectType::Manifest | ObjectType::Key)) => 1,
            (ResourceKind::Segment, Some(ObjectType::Init)) => 2,
            (ResourceKind::Segment, object) => cmcd.map_or(4, |cmcd| segment(cmcd, object)),
            (ResourceKind::Subtitle, _) => 4,
            (ResourceKind::Other, _) => 5,
        }
    }
}

/// 2 to 6: by the rung, and a step more or less by how much is buffered.
fn segment(cmcd: &Cmcd, object: Option<ObjectType>) -> u8 {
    let rung = match (object, cmcd.bitrate_kbps, cmcd.top_kbps) {
        // Without sound nothing plays, and it is small.
        (Some(ObjectType::Audio), ..) => 3,
        (_, Some(bitrate), Some(top)) if top > 0 => match bitrate.saturating_mul(3) / top {
            0 => 3,
            1 => 4,
            _ => 5,
        },
        _ => 4,
    };
    let short = cmcd.buffer_ms.is_some_and(|buffer| buffer < SHORT);
    if cmcd.starved || cmcd.startup || short {
        rung - 1
    } else if cmcd.buffer_ms.is_some_and(|buffer| buffer > COMFORTABLE) {
        (rung + 1).min(LAST)
    } else {
        rung
    }
}

/// Tells the door, and whoever stands between, how urgent a response is. What the origin says itself stays.
pub(super) fn mark(headers: &mut HeaderMap, urgency: u8) {
    const SAID: [&str; 8] = ["u=0", "u=1", "u=2", "u=3", "u=4", "u=5", "u=6", "u=7"];
    headers.entry(PRIORITY).or_insert(HeaderValue::from_static(SAID[usize::from(urgency.min(7))]));
}

/// The urgency in a `Priority` field.
fn urgency_in(text: &str) -> Option<u8> {
    let value = text.split(',').find_map(|member| member.trim().strip_prefix("u="))?;
    value.split(';').next()?.trim().parse().ok().filter(|urgency| *urgency <= 7)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(query: &str, fields: &[(&str, &str)]) -> Told {
        let headers = fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect();
        Told::of(&format!("/a.m4s?{query}").parse().unwrap(), &headers)
    }

    #[test]
    fn urgency_follows_kind_buffer_and_rung() {
        let urgency = |query: &str| told(query, &[]).urgency(ResourceKind::Segment);
        assert_eq!(told("", &[]).urgency(ResourceKind::Playlist), 1);
        assert_eq!(urgency(""), 4);
        assert_eq!(urgency("CMCD=ot%3Di"), 2);
        assert_eq!(urgency("CMCD=ot%3Da%2Cbs"), 2);
        assert_eq!(urgency("CMCD=br%3D500%2Ctb%3D6000%2Cbl%3D10000"), 3);
        assert_eq!(urgency("CMCD=br%3D6000%2Ctb%3D6000%2Cbl%3D10000"), 5);
        assert_eq!(urgency("CMCD=br%3D6000%2Ctb%3D6000%2Csu"), 4);
        assert_eq!(urgency("CMCD=br%3D6000%2Ctb%3D6000%2Cbl%3D60000"), 6);
    }

    #[test]
    fn a_client_may_be_less_urgent_but_not_more() {
        let urgency = |priority: &str| told("", &[("priority", priority)]).urgency(ResourceKind::Segment);
        assert_eq!(urgency("u=1, i"), 4, "what Chromium says of every fetch");
        assert_eq!(urgency("i, u=7"), 7);
        assert_eq!(urgency("u=9"), 4);
        let by_header = told("", &[("cmcd-status", "bs"), ("cmcd-object", "br=100,tb=6000,ot=v")]);
        assert_eq!(by_header.urgency(ResourceKind::Segment), 2);
    }

    proptest! {
        #[test]
        fn a_higher_rung_is_never_more_urgent(
            (low, high, top) in (0_u64..20_000, 0_u64..20_000, 0_u64..20_000),
            (buffer, starved, startup) in (proptest::option::of(0_u64..90_000), any::<bool>(), any::<bool>()),
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let at = |bitrate| Told {
                cmcd: Some(Box::new(Cmcd {
                    bitrate_kbps: Some(bitrate),
                    top_kbps: Some(top),
                    buffer_ms: buffer,
                    starved,
                    startup,
                    ..Cmcd::default()
                })),
                client: None,
            };
            let (low, high) = (at(low).urgency(ResourceKind::Segment), at(high).urgency(ResourceKind::Segment));
            prop_assert!(low <= high && (2..=6).contains(&low) && (2..=6).contains(&high));
        }

        #[test]
        fn any_field_is_read_or_not(text in "[ -~]{0,40}") {
            prop_assert!(urgency_in(&text).is_none_or(|urgency| urgency <= 7));
        }
    }
}

//! Common media client data: version 1 (CTA-5004) and the request mode of version 2 (CTA-5004-A), in the query or in request
//! fields. Keys stand in alphabetical order, as both ask.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::pathway::set_parameter;
use crate::run::scenario::{Cmcd, CmcdWay};

/// What is asked for (`ot`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    /// A playlist.
    Manifest,
    /// An initialisation section.
    Init,
    /// Audio and video together.
    Muxed,
    /// Video alone.
    Video,
    /// Audio alone.
    Audio,
    /// A decryption key.
    Key,
}

/// What a player tells with one request. Times in milliseconds, rates in bit/s.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts<'a> {
    pub(crate) object: Object,
    /// Bitrate of the rendition.
    pub(crate) bitrate: Option<u64>,
    /// Highest bitrate of the ladder.
    pub(crate) top_bitrate: Option<u64>,
    /// Buffer ahead of the play-head.
    pub(crate) buffer_ms: Option<u64>,
    /// The buffer ran empty since the last request.
    pub(crate) starved: bool,
    /// Duration of the object.
    pub(crate) duration_ms: Option<u64>,
    /// Measured throughput.
    pub(crate) throughput: Option<u64>,
    /// Path of the next object, relative to this one.
    pub(crate) next: Option<&'a str>,
    /// Play has not begun, or stands still.
    pub(crate) startup: bool,
    pub(crate) live: bool,
    pub(crate) low_latency: bool,
    /// Session of this viewer.
    pub(crate) session: &'a str,
}

/// The groups of request fields (CTA-5004 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Object,
    Request,
    Session,
    Status,
}

const GROUPS: [(Group, HeaderName); 4] = [
    (Group::Object, HeaderName::from_static("cmcd-object")),
    (Group::Request, HeaderName::from_static("cmcd-request")),
    (Group::Session, HeaderName::from_static("cmcd-session")),
    (Group::Status, HeaderName::from_static("cmcd-status")),
];

/// Adds the data to a request.
pub(crate) fn tell(config: &Cmcd, facts: &Facts<'_>, url: &mut Url, headers: &mut HeaderMap) {
    let pairs = pairs(config, facts);
    match config.way {
        CmcdWay::Query => set_parameter(url, "CMCD", &join(pairs.iter().map(|(_, pair)| pair))),
        CmcdWay::Headers => {
            for (group, name) in GROUPS {
                let text = join(pairs.iter().filter(|(of, _)| *of == group).map(|(_, pair)| pair));
                if let Ok(value) = HeaderValue::from_str(&text)
                    && !text.is_empty()
                {
                    headers.insert(name, value);
                }
            }
        }
    }
}

fn join<'a>(pairs: impl Iterator<Item = &'a String>) -> String {
    pairs.fold(String::new(), |mut all, pair| {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(pair);
        all
    })
}

fn pairs(config: &Cmcd, facts: &Facts<'_>) -> Vec<(Group, String)> {
    let second = config.version == 2;
    // Version 2 has a list where version 1 has a number: one for each kind of media.
    let number = |name: &str, value: u64| if second { format!("{name}=({value})") } else { format!("{name}={value}") };
    let hundreds = |value: u64| value.saturating_add(50) / 100 * 100;
    let mut pairs = Vec::new();
    let mut add = |group, pair: String| pairs.push((group, pair));
    if let Some(buffer) = facts.buffer_ms {
        add(Group::Request, number("bl", hundreds(buffer)));
    }
    if let Some(bitrate) = facts.bitrate {
        add(Group::Object, number("br", bitrate / 1000));
    }
    if facts.starved {
        add(Group::Status, "bs".to_owned());
    }
    if let Some(id) = &config.content_id {
        add(Group::Session, format!("cid={}", quoted(id)));
    }
    if let Some(duration) = facts.duration_ms {
        add(Group::Object, format!("d={duration}"));
    }
    if let Some(buffer) = facts.buffer_ms {
        // Play at normal speed: what is buffered is also the deadline.
        add(Group::Request, format!("dl={}", hundreds(buffer)));
    }
    if let Some(throughput) = facts.throughput {
        add(Group::Request, number("mtp", hundreds(throughput / 1000)));
    }
    if let Some(next) = facts.next {
        let text = if second { format!("nor=({})", quoted(next)) } else { format!("nor={}", quoted(&escaped(next))) };
        add(Group::Request, text);
    }
    let object = match facts.object {
        Object::Manifest => "m",
        Object::Init => "i",
        Object::Muxed => "av",
        Object::Video => "v",
        Object::Audio => "a",
        Object::Key => "k",
    };
    add(Group::Object, format!("ot={object}"));
    add(Group::Session, "sf=h".to_owned());
    add(Group::Session, format!("sid={}", quoted(facts.session)));
    let stream = match (facts.live, facts.low_latency && second) {
        (true, true) => "ll",
        (true, false) => "l",
        (false, _) => "v",
    };
    add(Group::Session, format!("st={stream}"));
    if facts.startup {
        add(Group::Request, "su".to_owned());
    }
    if let Some(top) = facts.top_bitrate {
        add(Group::Object, number("tb", top / 1000));
    }
    // Version 1 is the default and not to be sent.
    if second {
        add(Group::Session, "v=2".to_owned());
    }
    pairs
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `nor` of version 1 is percent-encoded before it is quoted.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const FACTS: Facts<'static> = Facts {
        object: Object::Muxed,
        bitrate: Some(2_100_500),
        top_bitrate: Some(4_000_000),
        buffer_ms: Some(12_345),
        starved: true,
        duration_ms: Some(2000),
        throughput: Some(9_876_543),
        next: Some("../b/s2.mp4"),
        startup: true,
        live: true,
        low_latency: true,
        session: "5f",
    };

    fn config(version: u8, way: CmcdWay) -> Cmcd {
        Cmcd { version, way, content_id: Some("a\"b".to_owned()) }
    }

    #[test]
    fn version_1_in_the_query() {
        let mut url = Url::parse("https://h/s.mp4?x=1").unwrap();
        tell(&config(1, CmcdWay::Query), &FACTS, &mut url, &mut HeaderMap::new());
        let (_, value) = url.query_pairs().find(|(name, _)| name == "CMCD").unwrap();
        assert_eq!(
            value,
            r#"bl=12300,br=2100,bs,cid="a\"b",d=2000,dl=12300,mtp=9900,nor="..%2Fb%2Fs2.mp4",ot=av,sf=h,sid="5f",st=l,su,tb=4000"#
        );
        assert!(url.as_str().starts_with("https://h/s.mp4?x=1&CMCD=bl%3D12300%2C"), "{url}");
    }

    #[test]
    fn version_2_in_request_fields() {
        let (mut url, mut headers) = (Url::parse("https://h/s.mp4").unwrap(), HeaderMap::new());
        tell(&config(2, CmcdWay::Headers), &FACTS, &mut url, &mut headers);
        assert_eq!(url.query(), None);
        assert_eq!(headers["cmcd-object"], "br=(2100),d=2000,ot=av,tb=(4000)");
        assert_eq!(headers["cmcd-request"], r#"bl=(12300),dl=12300,mtp=(9900),nor=("../b/s2.mp4"),su"#);
        assert_eq!(headers["cmcd-session"], r#"cid="a\"b",sf=h,sid="5f",st=ll,v=2"#);
        assert_eq!(headers["cmcd-status"], "bs");
    }
}

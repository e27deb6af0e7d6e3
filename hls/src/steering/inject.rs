//! Tells a player of a steering server, in a multivariant playlist that does not yet: an `EXT-X-CONTENT-STEERING` tag,
//! the playlist's own streams as the first pathway, and the same streams from another base as the second, with media
//! groups of their own (section 4.4.6.6; players that take groups for one pathway's fetch audio from the wrong one).

use super::{
    is_pathway_id,
    stable::id_of,
    tags::{edited, get},
};
use crate::{
    attribute::Attribute,
    line::{Kind, Line, lines},
    resolve::{Reference, resolve},
    uri::is_data,
};

/// Attributes that name a media group.
const GROUPS: [&str; 5] = ["GROUP-ID", "AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"];
const PATHWAY: &str = "PATHWAY-ID";
const VARIANT: &str = "STABLE-VARIANT-ID";
const RENDITION: &str = "STABLE-RENDITION-ID";

/// What is put in.
#[derive(Debug, Clone, Copy)]
pub struct Injection<'a> {
    /// Where players ask for lists: a URI relative to the playlist, or an absolute one.
    pub server_uri: &'a str,
    /// The pathway of the playlist's own streams, relative as they are.
    pub first: &'a str,
    /// The pathway of the added streams.
    pub second: &'a str,
    /// Absolute path of the playlist, by which its references are resolved.
    pub path: &'a str,
    /// What the second pathway's paths are appended to: scheme, authority and perhaps a path, without a slash at its end.
    pub base: &'a str,
}

/// Why a playlist stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotInjected {
    /// There is no variant in it.
    #[error("not a multivariant playlist with variants")]
    NoVariant,
    /// The publisher steers already.
    #[error("the playlist has pathways or a steering server of its own")]
    Steered,
    /// A URI whose meaning depends on `EXT-X-DEFINE` or that no player could resolve: it cannot be written for another
    /// base.
    #[error("a URI cannot be resolved without the player's variables")]
    Unresolved,
    /// A line that matters is not text, or a tag's attribute list is broken or empty.
    #[error("a line cannot be read")]
    Unreadable,
    /// The injection itself: not a pathway ID, or a character that would end a quoted value.
    #[error("the pathways or addresses to put in are not usable")]
    Injection,
}

/// Puts a steering server and a second pathway in. Every line of `text` is in the result, in order and with its line
/// ending; lines of streams and renditions have attributes added to their end, others are the same bytes.
///
/// # Errors
/// [`NotInjected`]; then the playlist should be answered as it is.
pub fn inject(text: &[u8], injection: &Injection<'_>) -> Result<Vec<u8>, NotInjected> {
    injection.check()?;
    let found: Vec<Line<'_>> = lines(text).collect();
    check(&found)?;
    let newline = if text.windows(2).any(|pair| pair == b"\r\n") { "\r\n" } else { "\n" };
    let mut out = Vec::with_capacity(text.len() * 2 + 256);
    let mut second = String::new();
    let (mut copied, mut first_line) = (0, true);
    let mut open: Option<(&str, String)> = None;
    for (index, line) in found.iter().enumerate() {
        let end = line.start + line.text.len();
        match line.kind() {
            Kind::Tag { name: "EXT-X-STREAM-INF", value, .. } => {
                let uri = found[index + 1..].iter().find_map(|line| match line.kind() {
                    Kind::Uri(uri) => Some(uri),
                    _ => None,
                });
                let id = id_of(value, VARIANT, uri.ok_or(NotInjected::Unreadable)?);
                add_to(text, &mut out, &mut copied, end, value, &own(value, injection.first, VARIANT, &id));
                open = Some((value, id));
            }
            Kind::Uri(uri) => {
                if let Some((value, id)) = open.take() {
                    let list = edited(value, regrouped(injection), &own(value, injection.second, VARIANT, &id));
                    let moved = injection.moved(uri)?;
                    second.push_str(&format!("#EXT-X-STREAM-INF:{list}{newline}{moved}{newline}"));
                }
            }
            Kind::Tag { name: "EXT-X-I-FRAME-STREAM-INF", value, .. } => {
                let uri = get(value, "URI").ok_or(NotInjected::Unreadable)?.value;
                let id = id_of(value, VARIANT, uri);
                add_to(text, &mut out, &mut copied, end, value, &own(value, injection.first, VARIANT, &id));
                let list = injection.elsewhere(value, &own(value, injection.second, VARIANT, &id))?;
                second.push_str(&format!("#EXT-X-I-FRAME-STREAM-INF:{list}{newline}"));
            }
            Kind::Tag { name: "EXT-X-MEDIA", value, .. } => {
                let id = get(value, "URI").map(|uri| id_of(value, RENDITION, uri.value));
                let added: Vec<(&str, String)> = match id {
                    Some(id) if get(value, RENDITION).is_none() => vec![(RENDITION, id)],
                    _ => Vec::new(),
                };
                add_to(text, &mut out, &mut copied, end, value, &added);
                second.push_str(&format!("#EXT-X-MEDIA:{}{newline}", injection.elsewhere(value, &added)?));
            }
            _ => {}
        }
        if std::mem::take(&mut first_line) {
            let next = found.get(index + 1).map_or(text.len(), |_| after_line(text, end));
            out.extend_from_slice(&text[copied..next]);
            copied = next;
            if !out.ends_with(b"\n") {
                out.extend_from_slice(newline.as_bytes());
            }
            let Injection { server_uri, first, .. } = injection;
            let tag = format!("#EXT-X-CONTENT-STEERING:SERVER-URI=\"{server_uri}\",PATHWAY-ID=\"{first}\"{newline}");
            out.extend_from_slice(tag.as_bytes());
        }
    }
    out.extend_from_slice(&text[copied..]);
    if !out.ends_with(b"\n") {
        out.extend_from_slice(newline.as_bytes());
    }
    out.extend_from_slice(second.as_bytes());
    Ok(out)
}

/// The first byte of the next line.
fn after_line(text: &[u8], end: usize) -> usize {
    text[end..].iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| end + at + 1)
}

/// Copies up to the end of a line and adds attributes there.
fn add_to(text: &[u8], out: &mut Vec<u8>, copied: &mut usize, end: usize, list: &str, added: &[(&str, String)]) {
    out.extend_from_slice(&text[*copied..end]);
    *copied = end;
    let whole = edited(list, |_| None, added);
    out.extend_from_slice(&whole.as_bytes()[list.len()..]);
}

/// What a stream has to say of itself and does not.
fn own<'a>(list: &str, pathway: &str, stable: &'a str, id: &str) -> Vec<(&'a str, String)> {
    let mut added = vec![(PATHWAY, pathway.to_owned())];
    if get(list, stable).is_none() {
        added.push((stable, id.to_owned()));
    }
    added
}

/// Media groups of the second pathway have names of their own.
fn regrouped(injection: &Injection<'_>) -> impl Fn(&Attribute<'_>) -> Option<String> {
    let second = injection.second.to_owned();
    move |attribute| GROUPS.contains(&attribute.name).then(|| format!("{}@{second}", attribute.value))
}

fn check(found: &[Line<'_>]) -> Result<(), NotInjected> {
    let Some(Kind::Tag { name: "EXTM3U", .. }) = found.first().map(Line::kind) else {
        return Err(NotInjected::NoVariant);
    };
    let mut streams = false;
    for line in found {
        match line.kind() {
            Kind::Tag { name: "EXT-X-CONTENT-STEERING", .. } => return Err(NotInjected::Steered),
            Kind::Tag {
                name: name @ ("EXT-X-STREAM-INF" | "EXT-X-I-FRAME-STREAM-INF" | "EXT-X-MEDIA"), value, ..
            } => {
                streams |= name == "EXT-X-STREAM-INF";
                // Without attributes there need not even be the colon that more could stand behind.
                let mut attributes = crate::attribute::Attributes::new(value).peekable();
                if attributes.peek().is_none() || attributes.any(|attribute| attribute.is_err()) {
                    return Err(NotInjected::Unreadable);
                }
                if get(value, PATHWAY).is_some() {
                    return Err(NotInjected::Steered);
                }
                if value.contains("{$") {
                    return Err(NotInjected::Unresolved);
                }
            }
            Kind::Opaque => return Err(NotInjected::Unreadable),
            _ => {}
        }
    }
    if streams { Ok(()) } else { Err(NotInjected::NoVariant) }
}

impl Injection<'_> {
    fn check(&self) -> Result<(), NotInjected> {
        let quotable = |text: &str| !text.is_empty() && text.chars().all(|c| c != '"' && !c.is_control() && c != ' ');
        let ids = is_pathway_id(self.first) && is_pathway_id(self.second) && self.first != self.second;
        let fit = ids
            && quotable(self.server_uri)
            && quotable(self.base)
            && !self.base.ends_with('/')
            && self.path.starts_with('/');
        if fit { Ok(()) } else { Err(NotInjected::Injection) }
    }

    /// A tag of the second pathway that carries its URI itself.
    fn elsewhere(&self, list: &str, added: &[(&str, String)]) -> Result<String, NotInjected> {
        let uri = get(list, "URI").map(|uri| self.moved(uri.value)).transpose()?;
        let group = regrouped(self);
        Ok(edited(list, |attribute| if attribute.name == "URI" { uri.clone() } else { group(attribute) }, added))
    }

    /// The same resource from the other base. What names a host of its own stays there.
    fn moved(&self, uri: &str) -> Result<String, NotInjected> {
        if is_data(uri) || uri.is_empty() {
            return Ok(uri.to_owned());
        }
        match resolve(self.path, uri).ok_or(NotInjected::Unresolved)? {
            found @ Reference::SameOrigin { .. } => Ok(format!("{}{found}", self.base)),
            found @ Reference::Absolute { .. } => Ok(found.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bounds, Playlist, read};

    const INJECTION: Injection<'static> = Injection {
        server_uri: "/weir/steer?for=%2Flive%2Fmaster.m3u8",
        first: "A",
        second: "B",
        path: "/live/master.m3u8",
        base: "https://cdn.example/base",
    };

    #[test]
    fn a_second_pathway_with_groups_of_its_own() {
        let before = concat!(
            "#EXTM3U\n",
            "#EXT-X-VERSION:6\n",
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud\",NAME=\"en\",URI=\"a/en.m3u8?x=1\"\n",
            "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"c\",INSTREAM-ID=\"CC1\"\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"aud\",CLOSED-CAPTIONS=\"cc\",STABLE-VARIANT-ID=\"hi\"\n",
            "v/1.m3u8\n",
            "#X-COMMENT\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"aud\",CLOSED-CAPTIONS=NONE\n",
            "https://other.example/2.m3u8\n",
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=3,URI=\"i.m3u8\"",
        );
        let after = inject(before.as_bytes(), &INJECTION).map(|text| String::from_utf8_lossy(&text).into_owned());
        let expected = concat!(
            "#EXTM3U\n",
            "#EXT-X-CONTENT-STEERING:SERVER-URI=\"/weir/steer?for=%2Flive%2Fmaster.m3u8\",PATHWAY-ID=\"A\"\n",
            "#EXT-X-VERSION:6\n",
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud\",NAME=\"en\",URI=\"a/en.m3u8?x=1\",STABLE-RENDITION-ID=\"~en\"\n",
            "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"c\",INSTREAM-ID=\"CC1\"\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"aud\",CLOSED-CAPTIONS=\"cc\",STABLE-VARIANT-ID=\"hi\",PATHWAY-ID=\"A\"\n",
            "v/1.m3u8\n",
            "#X-COMMENT\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"aud\",CLOSED-CAPTIONS=NONE,PATHWAY-ID=\"A\",STABLE-VARIANT-ID=\"~2\"\n",
            "https://other.example/2.m3u8\n",
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=3,URI=\"i.m3u8\",PATHWAY-ID=\"A\",STABLE-VARIANT-ID=\"~i\"\n",
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud@B\",NAME=\"en\",URI=\"https://cdn.example/base/live/a/en.m3u8?x=1\",STABLE-RENDITION-ID=\"~en\"\n",
            "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc@B\",NAME=\"c\",INSTREAM-ID=\"CC1\"\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"aud@B\",CLOSED-CAPTIONS=\"cc@B\",STABLE-VARIANT-ID=\"hi\",PATHWAY-ID=\"B\"\n",
            "https://cdn.example/base/live/v/1.m3u8\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"aud@B\",CLOSED-CAPTIONS=NONE,PATHWAY-ID=\"B\",STABLE-VARIANT-ID=\"~2\"\n",
            "https://other.example/2.m3u8\n",
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=3,URI=\"https://cdn.example/base/live/i.m3u8\",PATHWAY-ID=\"B\",STABLE-VARIANT-ID=\"~i\"\n",
        )
        .replace("~en", &id_of("", "", "a/en.m3u8"))
        .replace("~2", &id_of("", "", "https://other.example/2.m3u8"))
        .replace("~i", &id_of("", "", "i.m3u8"));
        assert_eq!(after.as_deref(), Ok(expected.as_str()));
        let again = inject(expected.as_bytes(), &INJECTION);
        assert_eq!(again, Err(NotInjected::Steered));
        match read(expected.as_bytes(), &Bounds::default()) {
            Ok(Playlist::Multivariant(list)) => {
                let pathways: Vec<_> = list.variants.iter().filter_map(|variant| variant.pathway.as_deref()).collect();
                assert_eq!(pathways, ["A", "A", "B", "B"]);
                assert_eq!(list.variants[0].stable_id, list.variants[2].stable_id);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_steered_stays_as_it_is() {
        let head = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1";
        for (text, why) in [
            ("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n".to_owned(), NotInjected::NoVariant),
            ("no playlist".to_owned(), NotInjected::NoVariant),
            (format!("{head},PATHWAY-ID=\"X\"\nv.m3u8\n"), NotInjected::Steered),
            (format!("{head}\n{{$base}}/v.m3u8\n"), NotInjected::Unresolved),
            (format!("{head},NAME=\"open\nv.m3u8\n"), NotInjected::Unreadable),
            (format!("{head}\n"), NotInjected::Unreadable),
            (format!("{head}\nv.m3u8\n#EXT-X-STREAM-INF\nw.m3u8\n"), NotInjected::Unreadable),
            (format!("{head}\nv.m3u8\n#EXT-X-MEDIA:\n"), NotInjected::Unreadable),
        ] {
            assert_eq!(inject(text.as_bytes(), &INJECTION), Err(why), "{text}");
        }
        let bad = Injection { base: "https://x/\"", ..INJECTION };
        assert_eq!(inject(format!("{head}\nv.m3u8\n").as_bytes(), &bad), Err(NotInjected::Injection));
    }

    #[test]
    fn line_endings_and_the_byte_order_mark_are_kept() {
        let text = "\u{feff}#EXTM3U\r\n#EXT-X-STREAM-INF:BANDWIDTH=1  \r\n v.m3u8\r\n";
        let after = inject(text.as_bytes(), &INJECTION).map(|text| String::from_utf8_lossy(&text).into_owned());
        let after = after.unwrap_or_default();
        assert!(after.starts_with("\u{feff}#EXTM3U\r\n#EXT-X-CONTENT-STEERING:"), "{after}");
        assert!(after.contains("\r\n v.m3u8\r\n#EXT-X-STREAM-INF:"), "{after}");
        assert!(after.contains("\"  \r\n"), "blanks at the end of a line stay there: {after}");
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    }
}

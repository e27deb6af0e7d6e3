//! Exchanges URIs in a playlist and keeps every other byte.
//!
//! Invariant: outside the URIs that the caller exchanges, output and input are equal byte for byte: line endings, a
//! missing last one, blanks, unknown tags, wrong UTF-8. A playlist is never re-emitted from a parsed form, because
//! every such round trip loses tags that the parser does not know.

use crate::uri::{Form, UriRole, visit};

/// Offers every URI of `text` to `f` with its role, as written (`EXT-X-DEFINE` variables such as `{$token}` are not
/// resolved), and puts what `f` returns in its place; `None` keeps it.
///
/// Not offered: `data:` URIs, empty attribute values, and lines that are not UTF-8 text. What `f` returns cannot break
/// the playlist: characters that would end the URI early (control characters, a quotation mark in a quoted value, a
/// comma in a bare one, blanks at the ends or a leading `#` on a line) are percent-encoded, and an empty replacement
/// keeps what was there.
pub fn rewrite(text: &[u8], mut f: impl FnMut(UriRole, &str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    visit(text, |spot| {
        let Some(replacement) = f(spot.role, spot.uri).filter(|replacement| !replacement.is_empty()) else {
            return;
        };
        out.extend_from_slice(&text[copied..spot.range.start]);
        push_encoded(&mut out, &replacement, spot.form);
        copied = spot.range.end;
    });
    out.extend_from_slice(&text[copied..]);
    out
}

/// Writes `uri` so that a reader finds exactly it again.
pub(crate) fn push_encoded(out: &mut Vec<u8>, uri: &str, form: Form) {
    let is_blank = |c| matches!(c, ' ' | '\t');
    let first = uri.len() - uri.trim_start_matches(is_blank).len();
    let end = uri.trim_end_matches(is_blank).len();
    for (index, c) in uri.char_indices() {
        let is_outer_blank = index < first || index >= end;
        let ends_early = (c.is_control() && c != '\t')
            || match form {
                Form::Line => is_outer_blank || (index == 0 && c == '#'),
                Form::Quoted => c == '"',
                Form::Bare => is_outer_blank || matches!(c, '"' | ','),
            };
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).as_bytes();
        if ends_early {
            for byte in bytes {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        } else {
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_token(text: &str) -> String {
        let out = rewrite(text.as_bytes(), |_, uri| Some(format!("{uri}?t=1")));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_place_is_rewritten_and_nothing_else() {
        let before = concat!(
            "\u{feff}#EXTM3U\r\n",
            "#EXT-X-DEFINE:QUERYPARAM=\"tok\"\r\n",
            "#EXT-X-CONTENT-STEERING:SERVER-URI=\"/s.json\",PATHWAY-ID=\"A\"\r\n",
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a,b\",NAME=\"x, URI=\",URI=\"a{$tok}.m3u8\"\r\n",
            "#EXT-X-SESSION-DATA:DATA-ID=\"u\",URI=\"d.json\"\r\n",
            "#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"sk\"\r\n",
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\r\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a,b\"\n",
            "v.m3u8  \n",
            "\n",
            "#EXT-X-MAP:URI=\"m.mp4\",BYTERANGE=\"1@0\"\n",
            "#EXT-X-KEY:METHOD=AES-128,URI=\"data:text/plain,k\",IV=0x1\n",
            "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n",
            "#EXT-X-DATERANGE:ID=\"1\",X-ASSET-URI=\"ad.m3u8\",X-ASSET-LIST=\"l.json\",X-COM-URI=\"no\"\n",
            "#EXT-X-PART:DURATION=1,URI=\"p.m4s\"\n",
            "#EXTINF:1,URI=\"no\"\n",
            "\ts.m4s\n",
            "#EXT-X-VENDOR:URI=\"no\"\n",
            "#EXT-X-PARTS:URI=\"no\"\n",
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=bare,BYTERANGE-START=0\n",
            "#EXT-X-RENDITION-REPORT:URI=\"../r.m3u8\",LAST-MSN=1\n",
            "# URI=\"no\"\n",
            "last",
        );
        let after = before
            .replace("\"/s.json\"", "\"/s.json?t=1\"")
            .replace("a{$tok}.m3u8", "a{$tok}.m3u8?t=1")
            .replace("d.json", "d.json?t=1")
            .replace("\"sk\"", "\"sk?t=1\"")
            .replace("i.m3u8", "i.m3u8?t=1")
            .replace("v.m3u8", "v.m3u8?t=1")
            .replace("m.mp4", "m.mp4?t=1")
            .replace("\"k\"", "\"k?t=1\"")
            .replace("ad.m3u8", "ad.m3u8?t=1")
            .replace("l.json", "l.json?t=1")
            .replace("p.m4s", "p.m4s?t=1")
            .replace("\ts.m4s", "\ts.m4s?t=1")
            .replace("=bare", "=bare?t=1")
            .replace("../r.m3u8", "../r.m3u8?t=1")
            .replace("last", "last?t=1");
        assert_eq!(with_token(before), after);
    }

    #[test]
    fn roles_are_told() {
        let text = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n#EXTINF:1,\ns\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n";
        let mut seen = Vec::new();
        let out = rewrite(text.as_bytes(), |role, uri| {
            seen.push((role, uri.to_owned()));
            (role == UriRole::Key).then(|| "K".to_owned())
        });
        assert_eq!(
            seen,
            [(UriRole::Variant, "v".to_owned()), (UriRole::Segment, "s".to_owned()), (UriRole::Key, "k".to_owned())]
        );
        assert_eq!(out, text.replace("\"k\"", "\"K\"").as_bytes());
    }

    #[test]
    fn a_replacement_cannot_break_out() {
        let text = b"#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\ns.ts\n#EXT-X-PART:URI=p\n";
        let out = rewrite(text, |_, _| Some("#x\",A=\"\n y ".to_owned()));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "#EXT-X-KEY:METHOD=AES-128,URI=\"#x%22,A=%22%0A y \"\n%23x\",A=\"%0A y%20\n#EXT-X-PART:URI=#x%22%2CA=%22%0A y%20\n"
        );
        assert_eq!(rewrite(text, |_, _| Some(String::new())), text);
    }
}

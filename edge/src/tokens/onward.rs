//! A session's token on its way through a playlist: every reference that stays with this host carries it onward.
//!
//! Invariant: a token is never written into a reference to another host, and a playlist keeps every other byte.

use weir_hls::rewrite;

/// Longest playlist that is rewritten, in bytes.
pub(crate) const MAX_CARRIED: u64 = weir_hls::MAX_BYTES as u64;
const PARAMETER: &str = "weir_token=";
/// What a publisher writes who passes the token on itself, with `EXT-X-DEFINE:QUERYPARAM="weir_token"`.
const VARIABLE: &str = "{$weir_token}";

/// The playlist with the token in its references. `authority` is the host that was asked for.
pub(crate) fn carry(playlist: &[u8], token: &str, authority: Option<&str>) -> Vec<u8> {
    rewrite(playlist, |_, reference| {
        (stays(reference, authority) && !carries(reference)).then(|| with(reference, token))
    })
}

/// True for a reference to the same host: without one of its own (RFC 3986 section 4.2), or with this one.
fn stays(reference: &str, authority: Option<&str>) -> bool {
    let scheme_end = reference.find([':', '/', '?', '#']).filter(|at| reference.as_bytes()[*at] == b':');
    let behind_scheme = match scheme_end {
        Some(at) => {
            let scheme = &reference[..at];
            if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
                return false;
            }
            &reference[at + 1..]
        }
        None => reference,
    };
    match behind_scheme.strip_prefix("//") {
        Some(rest) => {
            let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        }
        // A reference that begins with a variable may turn out to be anything.
        None => scheme_end.is_none() && !reference.starts_with("{$"),
    }
}

fn carries(reference: &str) -> bool {
    let query = reference.split('#').next().and_then(|reference| reference.split_once('?')).map(|(_, query)| query);
    reference.contains(VARIABLE) || query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with(PARAMETER)))
}

fn with(reference: &str, token: &str) -> String {
    let (reference, fragment) = match reference.find('#') {
        Some(at) => reference.split_at(at),
        None => (reference, ""),
    };
    let joint = match reference.find('?') {
        None => "?",
        Some(at) if at + 1 == reference.len() => "",
        Some(_) => "&",
    };
    // A compact JWS has only unreserved characters (RFC 7515 section 2, RFC 3986 section 2.3).
    format!("{reference}{joint}{PARAMETER}{token}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_this_host_and_to_no_other() {
        let carried = |reference: &str| {
            let playlist = format!("#EXTM3U\n#EXTINF:1,\n{reference}\n");
            let out = carry(playlist.as_bytes(), "a.b.c", Some("relay.example:7443"));
            String::from_utf8_lossy(&out).lines().last().unwrap_or_default().to_owned()
        };
        for (before, after) in [
            ("seg.ts", "seg.ts?weir_token=a.b.c"),
            ("../x/seg.ts?v=1", "../x/seg.ts?v=1&weir_token=a.b.c"),
            ("seg.ts?", "seg.ts?weir_token=a.b.c"),
            ("/abs/seg.ts#t=1", "/abs/seg.ts?weir_token=a.b.c#t=1"),
            ("https://Relay.example:7443/s.ts", "https://Relay.example:7443/s.ts?weir_token=a.b.c"),
            ("//relay.example:7443/s.ts", "//relay.example:7443/s.ts?weir_token=a.b.c"),
            ("a/b:c.ts", "a/b:c.ts?weir_token=a.b.c"),
        ] {
            assert_eq!(carried(before), after);
        }
        for kept in [
            "https://other.example/s.ts",
            "https://relay.example/s.ts",
            "//other.example/s.ts",
            "https://user@relay.example:7443/s.ts",
            "skd://key",
            "https:s.ts",
            "seg.ts?weir_token=x.y.z",
            "seg.ts?t={$weir_token}",
            "{$base}/seg.ts",
        ] {
            assert_eq!(carried(kept), kept);
        }
    }

    #[test]
    fn attributes_carry_it_and_the_rest_is_kept() {
        let text =
            "#EXTM3U\r\n#EXT-X-MAP:URI=\"i.mp4\"\r\n#EXT-X-PART:DURATION=1,URI=\"p.m4s\"\r\n#X-ODD:\u{1}\r\nv.ts";
        let out = carry(text.as_bytes(), "T", None);
        let wanted = text
            .replace("i.mp4", "i.mp4?weir_token=T")
            .replace("p.m4s", "p.m4s?weir_token=T")
            .replace("v.ts", "v.ts?weir_token=T");
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}

//! Properties that hold for any bytes: nothing panics, nothing is lost, nothing points outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use weir_hls::{
    Bounds, Directives, Playlist, UriRole, delta, read, reload, resolve, rewrite,
    steering::{Injection, NotInjected, inject},
};

const PLAYLISTS: &[&str] = &[
    include_str!("playlists/byte_ranges.m3u8"),
    include_str!("playlists/encrypted.m3u8"),
    include_str!("playlists/fmp4.m3u8"),
    include_str!("playlists/live.m3u8"),
    include_str!("playlists/low_latency.m3u8"),
    include_str!("playlists/multivariant.m3u8"),
    include_str!("playlists/vod.m3u8"),
];

/// Pieces that are likely to matter to a parser.
const TOKENS: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    ",",
    "=",
    "\"",
    ":",
    "#",
    "#EXT",
    "#EXTINF:",
    "#EXTINF:-1,",
    "@",
    "x",
    ".",
    "-",
    " ",
    "\t",
    "\0",
    "\u{feff}",
    "\u{a0}",
    "\u{85}",
    "é",
    "0",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "NaN",
    "inf",
    "URI=\"",
    "URI=",
    "data:,",
    "{$x}",
    "../",
    "//",
    "#EXT-X-STREAM-INF:BANDWIDTH=1\n",
    "#EXT-X-ENDLIST",
    "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n",
    "#EXT-X-BYTERANGE:1\n",
    "#EXT-X-PART:DURATION=1,URI=\"p\"\n",
    "#EXT-X-DISCONTINUITY",
    "#EXT-X-MEDIA-SEQUENCE:",
    "#EXT-X-MAP:URI=\"m\"",
    "#EXT-X-SKIP:SKIPPED-SEGMENTS=",
    "#EXTM3U\n",
    "#EXT-X-TARGETDURATION:1\n",
];

#[derive(Debug, Clone)]
enum Edit {
    Insert(Index, &'static str),
    Replace(Index, u8),
    Remove(Index, Index),
    SwapLines(Index, Index),
    CopyLine(Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), select(TOKENS)).prop_map(|(at, token)| Edit::Insert(at, token)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Remove(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Edit::SwapLines(one, other)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::CopyLine(from, to)),
    ]
}

fn apply(mut text: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let places = text.len() + 1;
        match edit {
            Edit::Insert(at, token) => {
                let at = at.index(places);
                text.splice(at..at, token.bytes());
            }
            Edit::Replace(at, byte) if !text.is_empty() => {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            Edit::Replace(..) => {}
            Edit::Remove(from, length) => {
                let from = from.index(places);
                let to = (from + length.index(40)).min(text.len());
                text.drain(from..to);
            }
            Edit::SwapLines(one, other) | Edit::CopyLine(one, other) => {
                let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                if matches!(edit, Edit::SwapLines(..)) {
                    lines.swap(one, other);
                } else {
                    lines.insert(other, lines[one].clone());
                }
                text = lines.join(&b'\n');
            }
        }
    }
    text
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    (select(PLAYLISTS), vec(edit(), 0..8)).prop_map(|(text, edits)| apply(text.as_bytes().to_vec(), &edits))
}

/// Lines of tokens, some of which look like playlists.
fn assembled() -> impl Strategy<Value = Vec<u8>> {
    vec(select(TOKENS), 0..60).prop_map(|tokens| format!("#EXTM3U\n{}", tokens.concat()).into_bytes())
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => mutated(), 2 => assembled(), 1 => vec(any::<u8>(), 0..400)]
}

/// What must hold of whatever was read.
fn check(playlist: &Playlist) -> Result<(), TestCaseError> {
    let with =
        |role: UriRole| playlist.uris().iter().filter(move |listed| listed.role == role).map(|listed| &listed.uri);
    match playlist {
        Playlist::Media(media) => {
            let read = media.segments.iter().map(|segment| &segment.uri).filter(|uri| !uri.starts_with("data:"));
            let listed = with(UriRole::Segment).filter(|uri| !uri.starts_with("data:"));
            prop_assert!(read.eq(listed), "m3u8-rs and the line reader agree on the segments");
            let numbers = media.segments.iter().map(|segment| segment.media_sequence);
            let first = media.media_sequence + media.skipped_segments;
            prop_assert!(numbers.eq((first..).take(media.segments.len())));
            for range in media.segments.iter().filter_map(|segment| segment.byte_range) {
                prop_assert!(range.offset.checked_add(range.length) == Some(range.end()));
            }
            let _ = (media.duration(), media.is_live(), media.position().last_sequence(), media.position().to_string());
        }
        Playlist::Multivariant(list) => {
            let read = list.variants.iter().map(|variant| &variant.uri).filter(|uri| !uri.starts_with("data:"));
            let listed = with(UriRole::Variant).filter(|uri| !uri.starts_with("data:"));
            prop_assert!(read.eq(listed), "m3u8-rs and the line reader agree on the variants");
            prop_assert!(list.variants.iter().all(|variant| !variant.uri.is_empty()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_never_panics_and_never_disagrees(text in any_text()) {
        match read(&text, &Bounds::default()) {
            Ok(playlist) => check(&playlist)?,
            Err(weir_hls::ReadError::Disagreement(about)) => prop_assert!(false, "{about}"),
            Err(_) => {}
        }
    }

    #[test]
    fn rewriting_nothing_changes_nothing(text in any_text()) {
        prop_assert_eq!(rewrite(&text, |_, _| None), text);
    }

    #[test]
    fn putting_the_same_back_changes_nothing(text in any_text()) {
        prop_assert_eq!(rewrite(&text, |_, uri| Some(uri.to_owned())), text);
    }

    /// Replaces every URI by a mark, in the input by hand and by the rewriter: the rest must be the same bytes.
    #[test]
    fn only_uris_change(text in any_text()) {
        let mut offered = Vec::new();
        let out = rewrite(&text, |_, uri| { offered.push(uri.to_owned()); Some(format!("{uri}~mark~")) });
        let mut expected_lengths = text.len();
        expected_lengths += offered.len() * "~mark~".len();
        prop_assert_eq!(out.len(), expected_lengths);
        let mut rest = &out[..];
        let mut back = Vec::new();
        while let Some(at) = rest.windows(6).position(|window| window == b"~mark~") {
            back.extend_from_slice(&rest[..at]);
            rest = &rest[at + 6..];
        }
        back.extend_from_slice(rest);
        prop_assert_eq!(back, text);
    }

    /// A second pass finds the same URIs in the same roles, whatever was put in.
    #[test]
    fn replacements_stay_whole(text in any_text(), replacement in "\\PC{1,12}|[\"#, \t\r\n=a]{1,6}") {
        let mut roles = Vec::new();
        let once = rewrite(&text, |role, _| { roles.push(role); Some(format!("u{replacement}")) });
        let mut again = Vec::new();
        let twice = rewrite(&once, |role, uri| { again.push(role); Some(uri.to_owned()) });
        prop_assert_eq!(roles, again);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn rewriting_is_idempotent(text in any_text()) {
        let add = |_: UriRole, uri: &str| (!uri.ends_with("?t=1")).then(|| format!("{uri}?t=1"));
        let once = rewrite(&text, add);
        prop_assert_eq!(rewrite(&once, add), once.clone());
    }

    /// Whatever can be injected holds the original: every line is there, in order, with at most attributes behind it, and
    /// the result reads as the original did. It is never injected twice.
    #[test]
    fn an_injected_playlist_holds_the_original(text in any_text()) {
        let injection =
            Injection { server_uri: "/s?x", first: "A", second: "B", path: "/a/m.m3u8", base: "https://cdn.example" };
        if let Ok(after) = inject(&text, &injection) {
            let mut rest = after.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
                prop_assert!(rest.any(|found| found.starts_with(line)), "{}", String::from_utf8_lossy(line));
            }
            prop_assert_eq!(inject(&after, &injection), Err(NotInjected::Steered));
            match (read(&text, &Bounds::default()), read(&after, &Bounds::default())) {
                (Ok(Playlist::Multivariant(one)), Ok(Playlist::Multivariant(both))) => {
                    prop_assert_eq!(both.variants.len(), 2 * one.variants.len());
                    prop_assert_eq!(both.renditions.len(), 2 * one.renditions.len());
                    let pathways = both.variants.iter().map(|variant| variant.pathway.as_deref());
                    let expected = std::iter::repeat_n(Some("A"), one.variants.len())
                        .chain(std::iter::repeat_n(Some("B"), one.variants.len()));
                    prop_assert!(pathways.eq(expected));
                    for (first, second) in both.variants.iter().zip(&both.variants[one.variants.len()..]) {
                        prop_assert!(first.stable_id.is_some() && first.stable_id == second.stable_id);
                        prop_assert!(second.uri.contains("://") || second.uri.starts_with("//") || second.uri.starts_with("data:"));
                    }
                }
                (Err(_), Err(_)) => {}
                (before, after) => prop_assert!(false, "{before:?} became {after:?}"),
            }
        }
    }

    /// The reader lists what the rewriter offers.
    #[test]
    fn reader_and_rewriter_see_the_same(text in any_text()) {
        if let Ok(playlist) = read(&text, &Bounds::default()) {
            let mut offered = Vec::new();
            rewrite(&text, |role, uri| { offered.push((role, uri.to_owned())); None });
            let listed: Vec<_> = playlist.uris().iter().map(|listed| (listed.role, listed.uri.clone())).collect();
            prop_assert_eq!(offered, listed);
        }
    }

    #[test]
    fn resolving_stays_inside(
        base in "(/|[a-z%2e.\\\\/?#]{0,20})*",
        reference in prop_oneof![
            "(\\.|\\.\\.|%2[eE]|/|\\\\|[a-z]|\\?|#|:|//|https?://|[ -~é]){0,16}".boxed(),
            "\\PC{0,30}".boxed(),
        ],
    ) {
        if let Some(found) = resolve(&format!("/{base}"), &reference) {
            prop_assert!(found.path().starts_with('/'));
            for segment in found.path().split('/') {
                let plain = segment.to_ascii_lowercase().replace("%2e", ".");
                prop_assert!(plain != "." && plain != "..", "{found}");
            }
            prop_assert!(found.to_string().bytes().all(|byte| byte != b' ' && byte != b'#' && !byte.is_ascii_control()));
            // What is resolved resolves to itself.
            let again = resolve("/", &found.path().replacen("//", "/.//", usize::from(found.path().starts_with("//"))));
            prop_assert_eq!(again.map(|again| again.path().to_owned()), Some(found.path().to_owned()));
        }
    }
}

#[test]
fn the_fixtures_themselves_are_read() {
    for text in PLAYLISTS {
        check(&read(text.as_bytes(), &Bounds::default()).unwrap()).unwrap();
    }
}

proptest! {
    /// A delta update has only lines of the whole, and reads as its end.
    #[test]
    fn deltas_stand_for_the_whole(segments in vec(segment(), 1..40), parts in 0_usize..4, until in 1_u32..20) {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL={until}\n#EXT-X-MEDIA-SEQUENCE:3\n"
        );
        for (number, lines) in segments.iter().enumerate() {
            text.push_str(&lines.replace('N', &number.to_string()));
        }
        for part in 0..parts {
            text.push_str(&format!("#EXT-X-PART:DURATION=0.5,URI=\"t{part}\"\n"));
        }
        let Ok(Playlist::Media(whole)) = read(text.as_bytes(), &Bounds::default()) else { return Ok(()) };
        let Some(made) = delta(text.as_bytes(), &whole) else { return Ok(()) };
        let made = String::from_utf8(made).unwrap();
        let Ok(Playlist::Media(short)) = read(made.as_bytes(), &Bounds::default()) else {
            return Err(TestCaseError::fail(format!("{made}\n---\n{text}")));
        };
        prop_assert_eq!(short.position(), whole.position());
        let skipped = usize::try_from(short.skipped_segments).unwrap();
        prop_assert!(skipped > 0);
        prop_assert_eq!(&short.segments[..], &whole.segments[skipped..]);
        prop_assert!(short.duration() >= std::time::Duration::from_secs(until.into()));
        prop_assert!(made.lines().all(|line| line.starts_with("#EXT-X-SKIP:") || text.lines().any(|other| other == line)));
        let dates = |text: &str| text.matches("#EXT-X-DATERANGE").count();
        prop_assert_eq!(dates(&made), dates(&text));
        // And it is none to make another of.
        prop_assert_eq!(delta(made.as_bytes(), &short), None);
    }

    /// Directives in any query are read without a panic, and what a playlist answers to them is decided.
    #[test]
    fn directives_of_any_query(query in "(_HLS_(msn|part|skip)=?[0-9]{0,21}&?|[^#]{0,8}){0,4}", text in mutated()) {
        if let (Ok(Some(directives)), Ok(Playlist::Media(media))) =
            (Directives::of(&query), read(&text, &Bounds::default()))
        {
            let _ = reload(&media, &directives);
            prop_assert_eq!(Directives::of(&directives.query()), Ok(Some(directives)));
        }
    }
}

/// The lines of one segment; N stands for its number.
fn segment() -> impl Strategy<Value = String> {
    let line = select(vec![
        "",
        "",
        "",
        "#EXT-X-DISCONTINUITY\n",
        "#EXT-X-MAP:URI=\"mN\"\n",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"kN\"\n",
        "#EXT-X-KEY:METHOD=NONE\n",
        "#EXT-X-DATERANGE:ID=\"dN\",START-DATE=\"2026-01-01T00:00:00Z\"\n",
        "#EXT-X-GAP\n",
        "#EXT-OWN:N\n",
        "# a note\n",
        "#EXT-X-PART:DURATION=1,URI=\"pN\"\n",
        "#EXT-X-PART:DURATION=1,URI=\"all\",BYTERANGE=\"5@N\"\n",
    ]);
    let range = select(vec!["", "#EXT-X-BYTERANGE:10\n", "#EXT-X-BYTERANGE:10@N\n"]);
    (vec(line, 0..3), range, select(vec!["1", "2", "1.5"]), select(vec!["sN", "all"]))
        .prop_map(|(lines, range, duration, uri)| format!("{}{range}#EXTINF:{duration},\n{uri}\n", lines.concat()))
}

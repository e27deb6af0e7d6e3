//! A playlist as a virtual player needs it, read once for all players that got the same bytes.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;
use weir_hls::{Bounds, Media, Multivariant, Playlist, ReadError, Rendition, RenditionKind, Segment, UriRole, Variant};

use super::clock;
use super::pathway::{Pathway, Rung};

/// Most rungs of a pathway.
const MAX_RUNGS: usize = 64;
/// The pathway of variants that name none (section 4.4.6.6).
const UNNAMED: &str = ".";

/// A playlist that was read.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// What it was read from.
    pub(crate) bytes: Bytes,
    /// What it says.
    pub(crate) playlist: Playlist,
    /// Where `EXT-X-CONTENT-STEERING` leads, and the pathway to begin with.
    pub(crate) steering: Option<(String, Option<String>)>,
    /// Index of a segment and when it was made, in seconds since 1970.
    date: Option<(usize, f64)>,
}

impl Parsed {
    /// Reads a playlist.
    pub(crate) fn read(bytes: Bytes) -> Result<Self, ReadError> {
        let playlist = weir_hls::read(&bytes, &Bounds::default())?;
        let server = playlist.uris().iter().find(|one| one.role == UriRole::Steering).map(|one| one.uri.clone());
        let steering = server.map(|server| (server, first_pathway(&bytes)));
        let date = clock::first_date(&bytes);
        Ok(Self { bytes, playlist, steering, date })
    }

    /// The media playlist, if it is one.
    pub(crate) fn media(&self) -> Option<&Media> {
        self.playlist.as_media()
    }

    /// When the segment at this index was made, in seconds since 1970, reckoned from a dated one without a discontinuity
    /// between.
    pub(crate) fn made(&self, index: usize) -> Option<f64> {
        let (dated, date) = self.date?;
        let segments = &self.media()?.segments;
        let sum = |range: &[Segment]| range.iter().map(|segment| segment.duration.as_secs_f64()).sum::<f64>();
        let broken = |range: &[Segment]| range.iter().any(|segment| segment.discontinuity);
        if index >= dated {
            let between = segments.get(dated..index)?;
            let crossed = segments.get(dated + 1..=index.min(segments.len().saturating_sub(1)))?;
            (!broken(crossed)).then(|| date + sum(between))
        } else {
            let between = segments.get(index..dated)?;
            (!broken(segments.get(index + 1..=dated)?)).then(|| date - sum(between))
        }
    }
}

/// `PATHWAY-ID` of `EXT-X-CONTENT-STEERING`.
fn first_pathway(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let line = text.lines().find(|line| line.starts_with("#EXT-X-CONTENT-STEERING:"))?;
    let (_, rest) = line.split_once("PATHWAY-ID=\"")?;
    let (id, _) = rest.split_once('"')?;
    Some(id.to_owned())
}

/// The pathways of a multivariant playlist. What differs by pathway only is one rung in each of them.
pub(crate) fn pathways(playlist: &Multivariant, base: &Url, max_bandwidth: Option<u64>) -> Vec<Pathway> {
    let mut pathways: Vec<Pathway> = Vec::new();
    for variant in &playlist.variants {
        let Some(rung) = rung(playlist, variant, base) else { continue };
        let id = variant.pathway.as_deref().unwrap_or(UNNAMED);
        match pathways.iter_mut().find(|pathway| pathway.id == id) {
            Some(pathway) if pathway.ladder.len() < MAX_RUNGS => pathway.ladder.push(rung),
            Some(_) => {}
            None => pathways.push(Pathway { id: id.to_owned(), ladder: vec![rung] }),
        }
    }
    for pathway in &mut pathways {
        pathway.ladder.sort_by_key(|rung| rung.bandwidth);
        // The lowest rung stays, whatever the limit.
        let fits = pathway.ladder.iter().filter(|rung| max_bandwidth.is_none_or(|max| rung.bandwidth <= max)).count();
        pathway.ladder.truncate(fits.max(1));
    }
    pathways
}

fn rung(playlist: &Multivariant, variant: &Variant, base: &Url) -> Option<Rung> {
    let url = base.join(&variant.uri).ok()?;
    let of_group = |one: &&Rendition| {
        one.kind == RenditionKind::Audio && one.uri.is_some() && variant.audio.as_ref() == Some(&one.group)
    };
    // As players do that were told no language (section 4.4.6.1).
    let audio = playlist.renditions.iter().filter(of_group).min_by_key(|one| (!one.default, !one.autoselect));
    // Without a URI the audio is in the variant's own segments.
    let audio = audio.and_then(|one| base.join(one.uri.as_deref()?).ok());
    Some(Rung { url, bandwidth: variant.bandwidth, stable_id: variant.stable_id.clone(), audio })
}

/// A delta update (section 6.2.5.1) put together with the playlist before it; `None` where the two do not meet.
pub(crate) fn whole(old: &Media, delta: &Media) -> Option<Media> {
    let first = delta.media_sequence;
    let after = first.checked_add(delta.skipped_segments)?;
    let kept = old.segments.iter().filter(|segment| (first..after).contains(&segment.media_sequence));
    let mut segments: Vec<Segment> = kept.cloned().collect();
    if segments.len() as u64 != delta.skipped_segments {
        return None;
    }
    let map = segments.last().and_then(|segment| segment.map.clone());
    segments.extend(
        delta.segments.iter().cloned().map(|segment| Segment { map: segment.map.or_else(|| map.clone()), ..segment }),
    );
    let mut whole = delta.clone();
    (whole.segments, whole.skipped_segments) = (segments, 0);
    Some(whole)
}

/// Playlists that were read lately, so that a thousand viewers of one channel cost one reading.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    recent: std::collections::VecDeque<Arc<Parsed>>,
}

/// Playlists on the shelf.
const SHELF: usize = 128;

impl Shelf {
    /// The playlist with these bytes, if it is there.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Arc<Parsed>> {
        self.recent.iter().rev().find(|one| one.bytes == bytes).cloned()
    }

    /// Puts a playlist on the shelf; the oldest falls off.
    pub(crate) fn put(&mut self, parsed: &Arc<Parsed>) {
        if self.recent.len() >= SHELF {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(parsed));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Parsed {
        Parsed::read(Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn dates_are_reckoned_up_to_a_discontinuity() {
        let parsed = read(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:01:00Z\n#EXTINF:1,\nb\n\
             #EXTINF:2,\nc\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\nd\n",
        );
        let made: Vec<_> = (0..5).map(|index| parsed.made(index)).collect();
        assert_eq!(made, [Some(58.0), Some(60.0), Some(61.0), None, None]);
    }

    #[test]
    fn variants_are_grouped_by_pathway_and_limited() {
        let parsed = read(
            "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"/s\",PATHWAY-ID=\"B\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=9,PATHWAY-ID=\"A\"\nhi\n#EXT-X-STREAM-INF:BANDWIDTH=5,PATHWAY-ID=\"A\"\nlo\n\
             #EXT-X-STREAM-INF:BANDWIDTH=9,PATHWAY-ID=\"B\"\nhttp://b/hi\n",
        );
        assert_eq!(parsed.steering, Some(("/s".to_owned(), Some("B".to_owned()))));
        let Playlist::Multivariant(multivariant) = &parsed.playlist else { panic!("multivariant") };
        let base = Url::parse("http://a/x/m.m3u8").unwrap();
        let urls = |max| {
            let pathways = pathways(multivariant, &base, max);
            pathways
                .iter()
                .map(|one| one.ladder.iter().map(|rung| rung.url.to_string()).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        assert_eq!(urls(None), [vec!["http://a/x/lo", "http://a/x/hi"], vec!["http://b/hi"]]);
        assert_eq!(urls(Some(5)), [vec!["http://a/x/lo"], vec!["http://b/hi"]]);
    }

    #[test]
    fn the_default_audio_of_a_variants_group_is_taken() {
        let parsed = read(
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"x.m3u8\"\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"y\",DEFAULT=YES,AUTOSELECT=YES,URI=\"y.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=9,AUDIO=\"a\"\nhi\n#EXT-X-STREAM-INF:BANDWIDTH=5\nlo\n",
        );
        let Playlist::Multivariant(multivariant) = &parsed.playlist else { panic!("multivariant") };
        let pathways = pathways(multivariant, &Url::parse("http://a/m").unwrap(), None);
        let audio: Vec<_> = pathways[0].ladder.iter().map(|rung| rung.audio.as_ref().map(Url::as_str)).collect();
        assert_eq!(audio, [None, Some("http://a/y.m3u8")]);
    }

    #[test]
    fn a_delta_is_completed_or_refused() {
        let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n";
        let media = |text: String| Parsed::read(Bytes::from(text)).unwrap().media().unwrap().clone();
        let old = media(format!("{head}#EXT-X-MEDIA-SEQUENCE:4\n#EXTINF:2,\ne\n#EXTINF:2,\nf\n#EXTINF:2,\ng\n"));
        let delta = |first: u64| {
            media(format!("{head}#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXTINF:2,\nh\n"))
        };
        let whole_one = whole(&old, &delta(5)).unwrap();
        let uris: Vec<_> = whole_one.segments.iter().map(|one| one.uri.as_str()).collect();
        assert_eq!((uris, whole_one.position().next_sequence), (vec!["f", "g", "h"], 8));
        assert_eq!(whole(&old, &delta(6)), None);
    }

    #[test]
    fn the_shelf_keeps_the_newest() {
        let mut shelf = Shelf::default();
        for number in 0..=SHELF {
            let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{number}\n");
            shelf.put(&Arc::new(Parsed::read(Bytes::from(text)).unwrap()));
        }
        assert!(shelf.find(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n0\n").is_none());
        assert!(shelf.find(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n1\n").is_some());
    }
}

//! What there is to watch: objects, their sizes and names, and who asks for which.

use super::{
    queue::{Micros, millis},
    random::{Random, mix},
    scenario::{Live, Scenario, Vod},
};
use weir_protocol::ids::ResourceHash;

/// Pushed with each segment: the playlist that lists it, in bytes for each segment in its window and once.
const PLAYLIST_LINE: f64 = 60.0;
const PLAYLIST_HEAD: f64 = 180.0;

/// One object: a segment of a live rendition, or of a title.
pub(super) type Object = u32;

/// One live rendition of one channel; each has a tree of its own in every region.
pub(super) type Rendition = u16;

/// All objects.
pub(super) struct Content {
    renditions: u32,
    per_rendition: u32,
    per_title: u32,
    rendition_bytes: Vec<u32>,
    title_bytes: u32,
    /// Bytes of a live playlist.
    pub(super) playlist_bytes: u64,
    /// Length of a live segment, and of one of a title.
    pub(super) live_segment: Micros,
    pub(super) vod_segment: Micros,
    /// How much of a live segment arrives at once; the whole length when it is published whole.
    pub(super) piece: Option<Micros>,
    channels: Zipf,
    catalogue: Zipf,
    kbps_share: Vec<f64>,
    name: u64,
}

fn segment_bytes(kbps: f64, seconds: f64) -> u32 {
    (kbps * seconds * 125.0).round().max(1.0) as u32
}

impl Content {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let live = scenario.live.as_ref();
        let vod = scenario.vod.as_ref();
        let per_rendition =
            live.map_or(0, |live| (f64::from(scenario.seconds) / live.segment_s) as u32 + live.window + 3);
        let kbps: &[f64] = live.map_or(&[], |live| &live.kbps);
        let channels = live.map_or(0, |live| live.channels);
        let rendition_bytes =
            live.map_or_else(Vec::new, |live| kbps.iter().map(|kbps| segment_bytes(*kbps, live.segment_s)).collect());
        Self {
            renditions: channels * kbps.len() as u32,
            per_rendition,
            per_title: vod.map_or(0, |vod| (vod.minutes * 60.0 / vod.segment_s).ceil() as u32),
            rendition_bytes,
            title_bytes: vod.map_or(1, |vod| segment_bytes(vod.kbps, vod.segment_s)),
            playlist_bytes: (PLAYLIST_HEAD + PLAYLIST_LINE * live.map_or(0.0, |live| f64::from(live.window))) as u64,
            live_segment: live.map_or(1, |live: &Live| millis(live.segment_s * 1e3)),
            vod_segment: vod.map_or(1, |vod: &Vod| millis(vod.segment_s * 1e3)),
            piece: live.filter(|live| live.piece_ms > 0.0).map(|live| millis(live.piece_ms)),
            channels: Zipf::new(channels, live.map_or(0.0, |live| live.zipf)),
            catalogue: Zipf::new(vod.map_or(0, |vod| vod.titles), vod.map_or(0.0, |vod| vod.zipf)),
            kbps_share: live.map_or_else(Vec::new, |live| live.kbps_share.clone()),
            name: mix(seed),
        }
    }

    pub(super) fn renditions(&self) -> Rendition {
        Rendition::try_from(self.renditions).expect("the scenario's check bounds the renditions")
    }

    pub(super) fn segments_of_a_title(&self) -> u32 {
        self.per_title
    }

    pub(super) fn live(&self, rendition: Rendition, number: u32) -> Object {
        u32::from(rendition) * self.per_rendition + number.min(self.per_rendition - 1)
    }

    pub(super) fn vod(&self, title: u32, number: u32) -> Object {
        self.renditions * self.per_rendition + title * self.per_title + number
    }

    /// The rendition and number of a live segment.
    pub(super) fn as_live(&self, object: Object) -> Option<(Rendition, u32)> {
        (object < self.renditions * self.per_rendition).then(|| {
            let rendition = Rendition::try_from(object / self.per_rendition).expect("bounded by the scenario's check");
            (rendition, object % self.per_rendition)
        })
    }

    pub(super) fn bytes(&self, object: Object) -> u32 {
        match self.as_live(object) {
            Some((rendition, _)) => self.rendition_bytes[usize::from(rendition) % self.rendition_bytes.len()],
            None => self.title_bytes,
        }
    }

    /// What caches and owners are chosen by. The real hash is BLAKE3 of a path; any well mixed 256 bits do.
    pub(super) fn hash(&self, object: Object) -> ResourceHash {
        let mut bytes = [0; 32];
        for (eight, salt) in bytes.chunks_exact_mut(8).zip(1u64..) {
            eight.copy_from_slice(&mix(self.name ^ (u64::from(object) << 8) ^ salt).to_le_bytes());
        }
        ResourceHash::from_bytes(bytes)
    }

    /// What is asked for together: the segments of a rendition, or of a title.
    pub(super) fn group(&self, object: Object) -> u64 {
        let live = self.renditions * self.per_rendition;
        match self.as_live(object) {
            Some((rendition, _)) => mix(self.name ^ u64::from(rendition)),
            None => mix(self.name ^ (1 << 32) ^ u64::from((object - live) / self.per_title.max(1))),
        }
    }

    /// A rendition for a viewer who comes.
    pub(super) fn pick_rendition(&self, random: &mut Random) -> Rendition {
        let channel = self.channels.pick(random) as usize;
        let rung = random.weighted(&self.kbps_share);
        Rendition::try_from(channel * self.kbps_share.len() + rung).expect("bounded by the scenario's check")
    }

    /// A title for a viewer who comes.
    pub(super) fn pick_title(&self, random: &mut Random) -> u32 {
        self.catalogue.pick(random)
    }
}

/// Zipf's law: the n-th of many is asked for in proportion to n^-s.
struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(count: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let add = |rank: u32| {
            sum += f64::from(rank).powf(-exponent);
            sum
        };
        Self { cumulated: (1..=count).map(add).collect() }
    }

    fn pick(&self, random: &mut Random) -> u32 {
        let at = random.unit() * self.cumulated.last().copied().unwrap_or(0.0);
        let index = self.cumulated.partition_point(|sum| *sum <= at).min(self.cumulated.len().saturating_sub(1));
        u32::try_from(index).expect("there are no more than u32::MAX")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_follows_zipf() {
        let zipf = Zipf::new(1000, 1.0);
        let mut random = Random::new(3, "zipf");
        let mut counts = vec![0u32; 1000];
        (0..200_000).for_each(|_| counts[zipf.pick(&mut random) as usize] += 1);
        let (first, tenth) = (f64::from(counts[0]), f64::from(counts[9]));
        assert!((first / tenth - 10.0).abs() < 1.0, "{first} and {tenth}");
    }
}

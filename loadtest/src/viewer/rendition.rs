//! Which variant to play. Without I/O and clock.

use std::time::Duration;

use weir_hls::Variant;

use super::config::Choice;

/// Share of the measured throughput that a variant may take.
const SHARE: f64 = 0.8;
/// Weight of the newest segment in the measured throughput.
const NEWEST: f64 = 0.4;
/// Most variants that are looked at.
const MAX_VARIANTS: usize = 64;

/// The variants of the first pathway, by rising bandwidth: the others are the same content elsewhere.
pub(super) fn ladder(variants: Vec<Variant>) -> Vec<Variant> {
    let pathway = variants.first().and_then(|first| first.pathway.clone());
    let mut ladder: Vec<_> = variants.into_iter().filter(|one| one.pathway == pathway).take(MAX_VARIANTS).collect();
    ladder.sort_by_key(|one| one.bandwidth);
    ladder
}

/// Index into a ladder that is not empty.
pub(super) fn choose(ladder: &[Variant], choice: Choice, throughput: &Throughput) -> usize {
    match choice {
        Choice::Lowest => 0,
        Choice::Highest => ladder.len() - 1,
        Choice::Adaptive => {
            let budget = throughput.bits_per_second.map_or(0.0, |rate| rate * SHARE);
            ladder.iter().rposition(|one| one.bandwidth as f64 <= budget).unwrap_or(0)
        }
    }
}

/// Throughput of the last segments.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    bits_per_second: Option<f64>,
}

impl Throughput {
    pub(super) fn add(&mut self, bytes: u64, took: Duration) {
        let seconds = took.as_secs_f64();
        if seconds > 0.0 {
            let rate = bytes as f64 * 8.0 / seconds;
            self.bits_per_second = Some(self.bits_per_second.map_or(rate, |old| old + (rate - old) * NEWEST));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use weir_hls::{Bounds, Playlist};

    use super::*;

    #[test]
    fn adaptive_climbs_and_falls_with_the_throughput() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=3000000,PATHWAY-ID=\"a\"\nhi\n\
            #EXT-X-STREAM-INF:BANDWIDTH=300000,PATHWAY-ID=\"a\"\nlo\n\
            #EXT-X-STREAM-INF:BANDWIDTH=9000000,PATHWAY-ID=\"b\"\nother\n";
        let Playlist::Multivariant(read) = weir_hls::read(text.as_bytes(), &Bounds::default()).unwrap() else {
            panic!("a multivariant playlist");
        };
        let ladder = ladder(read.variants);
        assert_eq!(ladder.iter().map(|one| one.uri.as_str()).collect::<Vec<_>>(), ["lo", "hi"]);
        let mut throughput = Throughput::default();
        assert_eq!(choose(&ladder, Choice::Highest, &throughput), 1);
        assert_eq!(choose(&ladder, Choice::Adaptive, &throughput), 0);
        throughput.add(500_000, Duration::from_secs(1));
        assert_eq!(choose(&ladder, Choice::Adaptive, &throughput), 1);
        throughput.add(10_000, Duration::from_secs(1));
        assert_eq!(choose(&ladder, Choice::Adaptive, &throughput), 0);
    }
}

//! What one round of one target came to, added up as it happens. Viewers write to one of several sheets, so that they do not
//! wait for one another; sheets are added up at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::raw::report::Clock;

/// Sheets that viewers write to.
const SHEETS: usize = 8;
/// Examples of failures that are kept for people.
const EXAMPLES: usize = 16;
/// Longest example, in characters.
const EXAMPLE: usize = 300;
/// Most seconds of the curves; later ones count as the last.
const MAX_SECONDS: usize = 86_400;

/// What was found by inspected viewers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Integrity {
    /// Initialisation sections, segments and parts that were parsed.
    pub parsed: u64,
    /// Bodies whose SHA-256 was compared with `Repr-Digest`.
    pub digests: u64,
    /// Records whose signature was verified.
    pub signatures: u64,
    /// Responses without a digest or a record: of servers that do not sign, or while an object still grew.
    pub unsigned: u64,
    /// What cannot be right, by class.
    pub classes: BTreeMap<String, u64>,
    /// The first of them, for people.
    pub examples: Vec<String>,
}

impl Integrity {
    /// Something cannot be right.
    pub(crate) fn fail(&mut self, class: &str, detail: &str) {
        *self.classes.entry(class.to_owned()).or_default() += 1;
        example(&mut self.examples, &format!("{class}: {detail}"));
    }

    /// How often something could not be right.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.classes.values().sum()
    }

    fn add(&mut self, other: &Self) {
        self.parsed += other.parsed;
        self.digests += other.digests;
        self.signatures += other.signatures;
        self.unsigned += other.unsigned;
        add_counts(&mut self.classes, &other.classes);
        other.examples.iter().for_each(|one| example(&mut self.examples, one));
    }
}

fn example(examples: &mut Vec<String>, text: &str) {
    if examples.len() < EXAMPLES {
        examples.push(text.chars().take(EXAMPLE).collect());
    }
}

fn add_counts<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(key.clone()).or_default() += count;
    }
}

/// What one host did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Bytes of body of anything.
    pub bytes: u64,
    /// Media segments and parts.
    pub segments: u64,
    /// Failed requests.
    pub failures: u64,
    /// Viewers that left it for another after a failure.
    pub left: u64,
}

/// One second of a round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Second {
    /// Bytes of bodies that ended in it, by host.
    pub(crate) bytes: BTreeMap<String, u64>,
    /// Bits and seconds of media that was loaded.
    pub(crate) media_bits: f64,
    pub(crate) media_seconds: f64,
    /// Viewers' time without media, in seconds.
    pub(crate) stalled: f64,
    /// Failed requests.
    pub(crate) failures: u64,
    /// Segments and parts, and the sum of their times in seconds.
    pub(crate) segments: u64,
    pub(crate) segment_seconds: f64,
    /// Longest of them.
    pub(crate) slowest: f64,
    /// Viewers there at the second's end; the runner writes it.
    pub(crate) viewers: u32,
}

/// All that is counted.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// From a viewer's coming to its first picture.
    pub(crate) start_up: Clock,
    pub(crate) connect: Clock,
    /// To the first byte of a segment or part.
    pub(crate) first_byte: Clock,
    /// From when a segment or part was due to its end.
    pub(crate) segment: Clock,
    /// The same, corrected for coordinated omission.
    pub(crate) corrected: Clock,
    pub(crate) playlist: Clock,
    /// Distance of the play-head from the live edge, once for each segment or part.
    pub(crate) latency: Clock,
    /// How late this program was itself.
    pub(crate) lateness: Clock,
    /// Latencies that came from dates in the playlist; the others from its end.
    pub(crate) dated: u64,
    pub(crate) hosts: BTreeMap<String, Host>,
    /// Segments and parts by version of HTTP.
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) examples: Vec<String>,
    pub(crate) integrity: Integrity,
    /// Viewers that came.
    pub(crate) viewers: u64,
    /// Of those: that never saw a picture, that stalled at least once, that gave up.
    pub(crate) unstarted: u64,
    pub(crate) stalled_viewers: u64,
    pub(crate) gave_up: u64,
    pub(crate) stalls: u64,
    pub(crate) stalled: f64,
    pub(crate) longest_stall: f64,
    /// Stalls that ended until now.
    pub(crate) ended_stalls: u64,
    pub(crate) played: f64,
    /// Viewers' time in all, in seconds.
    pub(crate) watched: f64,
    pub(crate) segments: u64,
    pub(crate) playlists: u64,
    pub(crate) skipped: u64,
    pub(crate) failovers: u64,
    pub(crate) steered: u64,
    pub(crate) switches: u64,
    pub(crate) bytes: u64,
    pub(crate) media_bits: f64,
    pub(crate) media_seconds: f64,
    pub(crate) seconds: Vec<Second>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            start_up: Clock::new(),
            connect: Clock::new(),
            first_byte: Clock::new(),
            segment: Clock::new(),
            corrected: Clock::new(),
            playlist: Clock::new(),
            latency: Clock::new(),
            lateness: Clock::new(),
            dated: 0,
            hosts: BTreeMap::new(),
            versions: BTreeMap::new(),
            errors: BTreeMap::new(),
            examples: Vec::new(),
            integrity: Integrity::default(),
            viewers: 0,
            unstarted: 0,
            stalled_viewers: 0,
            gave_up: 0,
            stalls: 0,
            stalled: 0.0,
            longest_stall: 0.0,
            ended_stalls: 0,
            played: 0.0,
            watched: 0.0,
            segments: 0,
            playlists: 0,
            skipped: 0,
            failovers: 0,
            steered: 0,
            switches: 0,
            bytes: 0,
            media_bits: 0.0,
            media_seconds: 0.0,
            seconds: Vec::new(),
        }
    }

    /// The second in which this moment of the round lies.
    pub(crate) fn second(&mut self, at: Duration) -> &mut Second {
        let index = usize::try_from(at.as_secs()).unwrap_or(usize::MAX).min(MAX_SECONDS - 1);
        if self.seconds.len() <= index {
            self.seconds.resize_with(index + 1, Second::default);
        }
        &mut self.seconds[index]
    }

    /// A body, or what there was of it, came from a host.
    pub(crate) fn received(&mut self, at: Duration, host: &str, bytes: u64) {
        self.bytes += bytes;
        self.host(host).bytes += bytes;
        let by_host = &mut self.second(at).bytes;
        match by_host.get_mut(host) {
            Some(sum) => *sum += bytes,
            None => drop(by_host.insert(host.to_owned(), bytes)),
        }
    }

    pub(crate) fn host(&mut self, host: &str) -> &mut Host {
        if !self.hosts.contains_key(host) {
            self.hosts.insert(host.to_owned(), Host::default());
        }
        self.hosts.get_mut(host).expect("it was just made sure of")
    }

    /// A request failed.
    pub(crate) fn failed(&mut self, at: Duration, host: &str, class: &str, detail: &str) {
        *self.errors.entry(class.to_owned()).or_default() += 1;
        example(&mut self.examples, detail);
        self.host(host).failures += 1;
        self.second(at).failures += 1;
    }

    /// A viewer stood still from one moment to another.
    pub(crate) fn stood(&mut self, from: Duration, to: Duration) {
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        if to <= from {
            return;
        }
        self.longest_stall = self.longest_stall.max(to - from);
        self.ended_stalls += 1;
        let (first, last) = (from.floor(), to.floor());
        let mut second = first;
        while second <= last {
            let part = to.min(second + 1.0) - from.max(second);
            self.second(Duration::from_secs_f64(second)).stalled += part.max(0.0);
            second += 1.0;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.start_up.add(&other.start_up);
        self.connect.add(&other.connect);
        self.first_byte.add(&other.first_byte);
        self.segment.add(&other.segment);
        self.corrected.add(&other.corrected);
        self.playlist.add(&other.playlist);
        self.latency.add(&other.latency);
        self.lateness.add(&other.lateness);
        self.dated += other.dated;
        for (name, host) in &other.hosts {
            let own = self.host(name);
            own.bytes += host.bytes;
            own.segments += host.segments;
            own.failures += host.failures;
            own.left += host.left;
        }
        add_counts(&mut self.versions, &other.versions);
        add_counts(&mut self.errors, &other.errors);
        other.examples.iter().for_each(|one| example(&mut self.examples, one));
        self.integrity.add(&other.integrity);
        self.viewers += other.viewers;
        self.unstarted += other.unstarted;
        self.stalled_viewers += other.stalled_viewers;
        self.gave_up += other.gave_up;
        self.stalls += other.stalls;
        self.stalled += other.stalled;
        self.longest_stall = self.longest_stall.max(other.longest_stall);
        self.ended_stalls += other.ended_stalls;
        self.played += other.played;
        self.watched += other.watched;
        self.segments += other.segments;
        self.playlists += other.playlists;
        self.skipped += other.skipped;
        self.failovers += other.failovers;
        self.steered += other.steered;
        self.switches += other.switches;
        self.bytes += other.bytes;
        self.media_bits += other.media_bits;
        self.media_seconds += other.media_seconds;
        for (index, second) in other.seconds.iter().enumerate() {
            let own = self.second(Duration::from_secs(index as u64));
            add_counts(&mut own.bytes, &second.bytes);
            own.media_bits += second.media_bits;
            own.media_seconds += second.media_seconds;
            own.stalled += second.stalled;
            own.failures += second.failures;
            own.segments += second.segments;
            own.segment_seconds += second.segment_seconds;
            own.slowest = own.slowest.max(second.slowest);
            own.viewers += second.viewers;
        }
    }
}

/// The sheets of one round.
#[derive(Debug)]
pub(crate) struct Sheets(Vec<Mutex<Tally>>);

impl Sheets {
    pub(crate) fn new() -> Self {
        Self((0..SHEETS).map(|_| Mutex::new(Tally::new())).collect())
    }

    /// Writes on a viewer's sheet.
    pub(crate) fn write<T>(&self, viewer: u32, write: impl FnOnce(&mut Tally) -> T) -> T {
        let sheet = &self.0[viewer as usize % SHEETS];
        write(&mut sheet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was counted until now.
    pub(crate) fn sum(&self) -> Tally {
        let mut sum = Tally::new();
        for sheet in &self.0 {
            sum.add(&sheet.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_spread_over_its_seconds() {
        let mut tally = Tally::new();
        tally.stood(Duration::from_millis(1500), Duration::from_millis(3250));
        let stalled: Vec<f64> = tally.seconds.iter().map(|second| second.stalled).collect();
        assert_eq!(stalled, [0.0, 0.5, 1.0, 0.25]);
        assert_eq!(tally.longest_stall, 1.75);
    }

    #[test]
    fn sheets_add_up() {
        let sheets = Sheets::new();
        for viewer in 0..20 {
            sheets.write(viewer, |tally| {
                tally.received(Duration::from_secs(u64::from(viewer % 3)), "h:1", 100);
                tally.failed(Duration::ZERO, "h:1", "broken", "x");
                tally.integrity.fail("digest", "y");
            });
        }
        let sum = sheets.sum();
        assert_eq!((sum.bytes, sum.hosts["h:1"].bytes, sum.hosts["h:1"].failures), (2000, 2000, 20));
        assert_eq!((sum.errors["broken"], sum.integrity.failures(), sum.examples.len()), (20, 20, EXAMPLES));
        assert_eq!(sum.seconds.iter().map(|second| second.bytes["h:1"]).sum::<u64>(), 2000);
    }
}

//! What is worth keeping where (after TinyLFU: an object earns its place by being asked for again). What leaves a full
//! tier is the store's decision. Invariant: fixed memory, and what others depend on is always kept.

use super::sketch::Sketch;

/// Additions after which the frequencies are halved, for each counter in a row.
const SAMPLE: u64 = 1;

/// What kind of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Playlists and the segments of a live window: everybody wants them now.
    Live,
    /// Everything else.
    Vod,
}

/// Where a filled object is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// In every tier.
    Keep,
    /// In memory only: nobody has asked for it twice yet, and the disk is full of what somebody has.
    MemoryOnly,
}

#[derive(Debug)]
pub(super) struct Frequencies(Sketch);

impl Frequencies {
    pub(super) fn new(width: usize) -> Self {
        Self(Sketch::new(width))
    }

    pub(super) fn requested(&mut self, key: u64) {
        if self.0.counted() >= SAMPLE * self.0.width() as u64 {
            self.0.halve(1);
        }
        self.0.add(key);
    }

    pub(super) fn admit(&self, key: u64, class: Class, owner: bool, full: bool) -> Admission {
        let wanted_again = || self.0.estimate(key) >= 2;
        if class == Class::Live || owner || !full || wanted_again() { Admission::Keep } else { Admission::MemoryOnly }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_what_is_asked_for_again() {
        let mut frequencies = Frequencies::new(1024);
        frequencies.requested(1);
        frequencies.requested(2);
        frequencies.requested(2);
        let admit = |key, class, owner, full| frequencies.admit(key, class, owner, full);
        assert_eq!(admit(1, Class::Vod, false, true), Admission::MemoryOnly);
        assert_eq!(admit(1, Class::Vod, false, false), Admission::Keep);
        assert_eq!(admit(1, Class::Vod, true, true), Admission::Keep);
        assert_eq!(admit(1, Class::Live, false, true), Admission::Keep);
        assert_eq!(admit(2, Class::Vod, false, true), Admission::Keep);
    }

    #[test]
    fn a_scan_of_many_objects_does_not_make_each_of_them_popular() {
        let mut frequencies = Frequencies::new(1024);
        let mut admitted = 0;
        for n in 0u64..100_000 {
            let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            frequencies.requested(key);
            admitted += u32::from(frequencies.admit(key, Class::Vod, false, true) == Admission::Keep);
        }
        // Some collide.
        assert!(admitted < 10_000, "{admitted}");
    }
}

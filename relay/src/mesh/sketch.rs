//! How often something was seen lately, for any number of things in fixed memory: a count-min sketch that is halved
//! now and then. Invariant: an estimate is never less than the true (halved) count, below the counters' ceiling.

/// Rows; an estimate is the least of them.
const ROWS: usize = 4;

/// The sketch. It takes no memory before something is counted.
#[derive(Debug)]
pub(super) struct Sketch {
    width: usize,
    counters: Vec<u16>,
    counted: u64,
}

impl Sketch {
    /// A sketch of four rows of `width` counters, rounded up to a power of two of at least 16; two bytes each.
    pub(super) fn new(width: usize) -> Self {
        Self { width: width.clamp(16, 1 << 20).next_power_of_two(), counters: Vec::new(), counted: 0 }
    }

    fn cells(&self, key: u64) -> [usize; ROWS] {
        let (mut at, step) = (key, key.rotate_left(32) | 1);
        let mut row = 0;
        [(); ROWS].map(|()| {
            at = at.wrapping_add(step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            row += 1;
            (row - 1) * self.width + (at >> 32) as usize % self.width
        })
    }

    /// Counts once more; the estimate then. Only the least counters grow, which keeps strangers' shares small.
    pub(super) fn add(&mut self, key: u64) -> u32 {
        if self.counters.is_empty() {
            self.counters = vec![0; ROWS * self.width];
        }
        let cells = self.cells(key);
        let grown = cells.iter().map(|cell| self.counters[*cell]).min().unwrap_or(0).saturating_add(1);
        for cell in cells {
            self.counters[cell] = self.counters[cell].max(grown);
        }
        self.counted += 1;
        grown.into()
    }

    /// How often it was counted.
    pub(super) fn estimate(&self, key: u64) -> u32 {
        if self.counters.is_empty() {
            return 0;
        }
        self.cells(key).iter().map(|cell| self.counters[*cell]).min().unwrap_or(0).into()
    }

    /// Halves every count `times`.
    pub(super) fn halve(&mut self, times: u64) {
        if times >= 16 {
            self.counters = Vec::new();
        }
        self.counters.iter_mut().for_each(|counter| *counter >>= times.min(15));
        self.counted >>= times.min(63);
    }

    /// Additions since the last halving, with half of those before it.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    /// Counters in a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn estimates_are_never_too_low_and_seldom_too_high(seen in prop::collection::vec(0u64..300, 0..2000)) {
            let mut sketch = Sketch::new(1024);
            let mut exact: HashMap<u64, u32> = HashMap::new();
            for key in &seen {
                let key = key.wrapping_mul(0x2545_f491_4f6c_dd1d);
                sketch.add(key);
                *exact.entry(key).or_default() += 1;
            }
            prop_assert!(exact.iter().all(|(key, count)| sketch.estimate(*key) >= *count));
            let wrong = exact.iter().filter(|(key, count)| sketch.estimate(**key) > **count + 3).count();
            prop_assert!(wrong <= exact.len() / 20, "{wrong} of {}", exact.len());
        }
    }

    #[test]
    fn halving_forgets_and_counters_stop_at_their_ceiling() {
        let mut sketch = Sketch::new(0);
        assert_eq!(sketch.estimate(7), 0);
        for _ in 0..70_000 {
            sketch.add(7);
        }
        assert_eq!(sketch.estimate(7), u32::from(u16::MAX));
        sketch.halve(1);
        assert_eq!(sketch.estimate(7), 32_767);
        sketch.halve(16);
        assert_eq!((sketch.estimate(7), sketch.counted()), (0, 0));
    }
}

//! Ranks relays for a viewer. A pure function: the same doors, viewer and moment give the same order.
//!
//! Relays of the viewer's region come first. Among them a viewer's number draws one by weighted rendezvous hashing, the
//! weight being what was granted times what is free, less for a long way: so viewers spread as capacity does, a viewer
//! stays where it is when others come and go, and what it plays from stays first while it is healthy.

use std::time::Duration;

/// From this load on, per mille, a relay gets no new viewers while others are below it.
const FULL: u16 = 950;
/// A way of this length halves a relay's weight.
const LONG_WAY: Duration = Duration::from_millis(50);

/// A relay that could serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its pathway.
    pub id: String,
    /// Names it through restarts.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its share as granted.
    pub weight: u32,
    /// How busy it is, per mille.
    pub load: u16,
    /// It lets its viewers finish.
    pub draining: bool,
    /// From the adapter to it and back.
    pub round_trip: Option<Duration>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Viewer<'a> {
    /// Its region; empty when nobody knows.
    pub region: &'a str,
    /// The number that draws its relay.
    pub spread: u64,
    /// The pathway it plays from.
    pub at: Option<&'a str>,
}

/// The candidates' places in the slice, best first. Who drains is left out.
pub fn choose(candidates: &[Candidate], viewer: Viewer<'_>) -> Vec<usize> {
    let mut ranked: Vec<(bool, bool, bool, f64, usize)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| !candidate.draining)
        .map(|(at, candidate)| {
            let full = candidate.load >= FULL;
            let stays = viewer.at == Some(candidate.id.as_str()) && !full;
            (!stays, full, candidate.region != viewer.region, -score(candidate, viewer.spread), at)
        })
        .collect();
    ranked.sort_by(|one, other| {
        (one.0, one.1, one.2)
            .cmp(&(other.0, other.1, other.2))
            .then(one.3.total_cmp(&other.3))
            .then(one.4.cmp(&other.4))
    });
    ranked.into_iter().map(|(.., at)| at).collect()
}

/// Weighted rendezvous hashing: `-weight / ln(u)` with `u` drawn from the pair's hash.
fn score(candidate: &Candidate, spread: u64) -> f64 {
    let free = f64::from(1000 - candidate.load.min(1000)).max(1.0) / 1000.0;
    let way = candidate.round_trip.map_or(1.0, |way| 1.0 + way.as_secs_f64() / LONG_WAY.as_secs_f64());
    let weight = f64::from(candidate.weight.max(1)) * free / way;
    -weight / unit(&candidate.name, spread).ln()
}

/// A number between 0 and 1, neither included.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn unit(name: &str, spread: u64) -> f64 {
    let mut hash = fnv(name.as_bytes(), fnv(&spread.to_be_bytes(), 0xcbf2_9ce4_8422_2325));
    // FNV's high bits hardly depend on its last bytes; this is the finaliser of splitmix64.
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// FNV-1a, 64 bit.
pub(super) fn fnv(bytes: &[u8], start: u64) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(n: u32, region: &str) -> Candidate {
        Candidate {
            id: format!("R{n}"),
            name: format!("relay {n}"),
            region: region.into(),
            weight: 100,
            load: 0,
            draining: false,
            round_trip: None,
        }
    }

    fn viewer(spread: u64) -> Viewer<'static> {
        Viewer { region: "eu", spread, at: None }
    }

    /// How many of a thousand viewers get each relay.
    fn shares(candidates: &[Candidate]) -> Vec<usize> {
        let mut counts = vec![0; candidates.len()];
        for spread in 0..1000 {
            if let Some(first) = choose(candidates, viewer(spread)).first() {
                counts[*first] += 1;
            }
        }
        counts
    }

    #[test]
    fn viewers_spread_as_free_capacity_does() {
        let mut relays = vec![relay(1, "eu"), relay(2, "eu"), relay(3, "eu"), relay(4, "us")];
        relays[1].load = 500;
        relays[2].round_trip = Some(Duration::from_millis(50));
        let shares = shares(&relays);
        assert!((440..560).contains(&shares[0]), "{shares:?}");
        assert!((200..300).contains(&shares[1]) && (200..300).contains(&shares[2]), "{shares:?}");
        assert_eq!(shares[3], 0, "another region only when there is none in the viewer's");
    }

    #[test]
    fn who_is_full_or_drains_gets_nobody_new() {
        let mut relays = vec![relay(1, "eu"), relay(2, "us"), relay(3, "eu")];
        relays[0].load = FULL;
        relays[2].draining = true;
        assert_eq!(choose(&relays, viewer(7)), [1, 0]);
        relays[1].load = 1000;
        assert_eq!(choose(&relays, viewer(7))[0], 0, "all are full: the viewer's region again");
    }

    #[test]
    fn a_viewer_stays_where_it_is_while_that_is_healthy() {
        let mut relays: Vec<Candidate> = (0..20).map(|n| relay(n, if n < 10 { "eu" } else { "us" })).collect();
        let at = |relays: &[Candidate], spread| choose(relays, Viewer { at: Some("R15"), ..viewer(spread) })[0];
        assert!((0..100).all(|spread| at(&relays, spread) == 15));
        relays[15].load = FULL;
        assert!((0..100).all(|spread| at(&relays, spread) < 10));
        // And one that leaves moves nobody but its own viewers.
        let before: Vec<usize> = (0..1000).map(|spread| choose(&relays, viewer(spread))[0]).collect();
        relays[3].draining = true;
        for (spread, first) in before.iter().enumerate() {
            let now = choose(&relays, viewer(spread as u64))[0];
            assert!(now == *first || *first == 3);
        }
    }
}

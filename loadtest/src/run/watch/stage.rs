//! What the viewers of one round share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;
use weir_protocol::KeyRing;

use super::pool::Pool;
use crate::client::Protocol;
use crate::run::player::parsed::Shelf;
use crate::run::progress::States;
use crate::run::scenario::Player;
use crate::run::tally::{Sheets, Tally};

/// What the viewers of one round share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) player: Player,
    /// The same playlist at each host of the target.
    pub(crate) urls: Vec<Url>,
    pub(crate) keys: Option<KeyRing>,
    pub(crate) pool: Pool,
    pub(crate) sheets: Sheets,
    pub(crate) shelf: Mutex<Shelf>,
    pub(crate) started: Instant,
    /// Viewers that are there.
    pub(crate) present: AtomicU32,
    /// What each viewer shows, by the number of its seat.
    pub(crate) screens: Box<[Screen]>,
}

/// What a viewer shows at the moment. It is written when something changes, and what the mere passing of time changes is told by the
/// reader: a viewer who waits for media does not notice that its buffer ran empty.
#[derive(Debug, Default)]
pub(crate) struct Screen(AtomicU64);

impl Screen {
    const ABSENT: u64 = 0;
    const STARTING: u64 = 1;
    const EMPTY: u64 = 2;

    pub(crate) fn absent(&self) {
        self.0.store(Self::ABSENT, Ordering::Relaxed);
    }

    /// No picture yet.
    pub(crate) fn starting(&self) {
        self.0.store(Self::STARTING, Ordering::Relaxed);
    }

    /// Stands still, until more is loaded.
    pub(crate) fn empty(&self) {
        self.0.store(Self::EMPTY, Ordering::Relaxed);
    }

    /// Plays until then, in time of the round.
    pub(crate) fn plays_until(&self, end: Duration) {
        let end = u64::try_from(end.as_micros()).unwrap_or(u64::MAX);
        self.0.store(end.max(Self::EMPTY + 1), Ordering::Relaxed);
    }

    fn count(&self, now: Duration, states: &mut States) {
        match self.0.load(Ordering::Relaxed) {
            Self::ABSENT => {}
            Self::STARTING => states.starting += 1,
            end if u128::from(end) > now.as_micros() => states.playing += 1,
            _ => states.rebuffering += 1,
        }
    }
}

impl Stage {
    /// Time since the round began.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the viewers show.
    pub(crate) fn states(&self) -> States {
        let (now, mut states) = (self.now(), States::default());
        self.screens.iter().for_each(|screen| screen.count(now, &mut states));
        states
    }

    /// Viewers that are there.
    pub(crate) fn viewers(&self) -> u32 {
        self.present.load(Ordering::Relaxed)
    }
}

/// One viewer's place.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) number: u32,
    pub(crate) protocol: Protocol,
    /// Viewers of one group share connections.
    pub(crate) group: u32,
    /// Index of the host to begin with.
    pub(crate) host: usize,
    pub(crate) inspected: bool,
    pub(crate) token: Option<String>,
    pub(crate) seed: u64,
    /// When the viewer comes.
    pub(crate) comes: Duration,
}

/// Deals out seats: versions of HTTP by their shares, hosts in turn within each version, groups of viewers with the same
/// version and host.
pub(crate) fn seats(
    player: &Player,
    shares: &[(Protocol, f64)],
    hosts: usize,
    tokens: &[String],
    viewers: u32,
    ramp: Duration,
    seed: u64,
) -> Vec<Seat> {
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    let inspected = f64::from(viewers) * player.inspect_percent / 100.0;
    let every = if inspected > 0.0 { (f64::from(viewers) / inspected.max(1.0)).max(1.0) as u32 } else { 0 };
    let mut given = vec![0.0; shares.len()];
    let mut of_version = vec![0u32; shares.len()];
    let hosts = hosts.max(1);
    (0..viewers)
        .map(|number| {
            // Whoever is furthest behind his share is next, so that each part of the ramp has the same mixture.
            let behind = |index: usize| shares[index].1 / total * f64::from(number + 1) - given[index];
            let version =
                (0..shares.len()).max_by(|a, b| behind(*a).total_cmp(&behind(*b)).then(b.cmp(a))).unwrap_or_default();
            given[version] += 1.0;
            let turn = of_version[version];
            of_version[version] += 1;
            let protocol = shares[version].0;
            let together = if protocol == Protocol::H1 { 1 } else { player.viewers_per_connection };
            let turns = turn / hosts as u32;
            Seat {
                number,
                protocol,
                group: match protocol {
                    Protocol::H1 => number,
                    _ => turns / together * hosts as u32 + turn % hosts as u32,
                },
                host: turn as usize % hosts,
                // The last of each so many: in the middle of the ramp, not all at its beginning.
                inspected: every > 0 && number % every == every - 1,
                token: match tokens.len() {
                    0 => None,
                    count => tokens.get(number as usize % count).cloned(),
                },
                seed: seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                comes: ramp.mul_f64(f64::from(number) / f64::from(viewers.max(1))),
            }
        })
        .collect()
}

impl Stage {
    /// Writes on a seat's sheet.
    pub(crate) fn write<T>(&self, seat: &Seat, write: impl FnOnce(&mut Tally) -> T) -> T {
        self.sheets.write(seat.number, write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_stands_still_when_what_it_had_was_played() {
        let screens: [Screen; 5] = std::array::from_fn(|_| Screen::default());
        screens[1].starting();
        screens[2].empty();
        screens[3].plays_until(Duration::from_secs(5));
        screens[4].plays_until(Duration::ZERO);
        let at = |seconds| {
            let mut states = States::default();
            screens.iter().for_each(|screen| screen.count(Duration::from_secs(seconds), &mut states));
            (states.starting, states.playing, states.rebuffering)
        };
        assert_eq!((at(4), at(6)), ((1, 1, 2), (1, 0, 3)));
    }

    #[test]
    fn seats_follow_shares_hosts_and_groups() {
        let player = Player { viewers_per_connection: 4, inspect_percent: 5.0, ..Player::default() };
        let shares = [(Protocol::H1, 1.0), (Protocol::H3, 3.0)];
        let seats = seats(&player, &shares, 3, &[], 120, Duration::from_secs(12), 1);
        let of = |protocol| seats.iter().filter(move |seat| seat.protocol == protocol);
        assert_eq!((of(Protocol::H1).count(), of(Protocol::H3).count()), (30, 90));
        for host in 0..3 {
            assert_eq!(of(Protocol::H3).filter(|seat| seat.host == host).count(), 30);
        }
        let mut groups: Vec<(u32, usize)> = of(Protocol::H3).map(|seat| (seat.group, seat.host)).collect();
        groups.sort_unstable();
        let sizes: Vec<usize> = groups.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).collect();
        assert!(sizes.iter().all(|size| *size <= 4) && sizes.len() == 24, "{sizes:?}");
        assert!(groups.chunk_by(|a, b| a.0 == b.0).all(|group| group.iter().all(|one| one.1 == group[0].1)));
        assert_eq!(seats.iter().filter(|seat| seat.inspected).count(), 6);
        assert_eq!(seats[60].comes, Duration::from_secs(6));
        let one = super::seats(&player, &shares, 1, &[], 1, Duration::ZERO, 1);
        assert!(one[0].inspected, "at least one is");
    }
}

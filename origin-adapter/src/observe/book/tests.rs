#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use weir_protocol::EvidenceKey;

const HOUR: u64 = 3_600_000;
/// The beginning of an hour.
const T: u64 = 500_000 * HOUR;
const MEGABYTE: u64 = 8_000_000;

fn relay(seed: u8) -> RelayId {
    EvidenceKey::from_bytes(&[seed; 32]).relay_id()
}

fn token(n: u64) -> TokenHash {
    TokenHash::of(&n.to_string())
}

fn poll(n: u64, at: u64, from: Option<u8>, bits: Option<u64>) -> Sighting {
    let from = from.map_or(From::Unsaid, |seed| From::Relay(relay(seed)));
    Sighting { token: token(n), from, issued: Some(UnixMillis(at)), throughput: bits, at: UnixMillis(at) }
}

/// What is stated at a time, and kept as stated.
fn state(book: &mut Book, at: u64) -> Vec<(Place, u64)> {
    let changed = book.changed(UnixMillis(at));
    changed.iter().for_each(|(place, bytes)| book.stated(*place, *bytes));
    book.tidy(UnixMillis(at));
    changed
}

#[test]
fn throughput_times_time_bounds_what_was_delivered() {
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    for n in 0..=30 {
        book.see(poll(1, T + 60_000 + n * 10_000, Some(1), Some(MEGABYTE)));
    }
    let [((epoch, from, of), bytes)] = state(&mut book, T + 400_000)[..] else { panic!("one sum") };
    assert_eq!((epoch, from, of), (Epoch(500_000), relay(1), token(1)));
    // 300 s of polls, the time before the first and after the last, and a quarter for the estimate.
    assert_eq!(bytes, (300 + 15 + 30) * 1_000_000 * 5 / 4);
    assert_eq!(state(&mut book, T + 400_000), [], "what is stated is not stated again");
}

#[test]
fn the_time_in_which_a_player_changes_counts_for_both_relays() {
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    for n in 0..=6 {
        book.see(poll(1, T + 60_000 + n * 10_000, Some(1), Some(MEGABYTE)));
    }
    let before = state(&mut book, T + 120_000)[0].1;
    book.see(poll(1, T + 130_000, Some(2), Some(MEGABYTE)));
    let after = state(&mut book, T + 130_000);
    assert_eq!(after, [((Epoch(500_000), relay(2), token(1)), (10 + 30) * 1_250_000)]);
    // The first one's last ten seconds lie within what was stated for it.
    assert_eq!(before, (60 + 15 + 30) * 1_250_000);
    // It comes back much later: only what a poll can account for counts.
    book.see(poll(1, T + 1_130_000, Some(2), None));
    assert_eq!(state(&mut book, T + 1_130_000)[0].1, (10 + 90 + 30) * 1_250_000);
}

#[test]
fn time_at_the_fall_back_counts_for_no_relay() {
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    (0..3).for_each(|n| book.see(poll(1, T + 60_000 + n * 10_000, Some(1), Some(MEGABYTE))));
    let before = state(&mut book, T + 80_000)[0].1;
    for n in 0..6 {
        book.see(Sighting { from: From::Elsewhere, ..poll(1, T + 90_000 + n * 10_000, None, Some(MEGABYTE)) });
    }
    assert_eq!((before, state(&mut book, T + 140_000)), (65 * 1_250_000, Vec::new()));
}

#[test]
fn an_interval_is_cut_where_epochs_end() {
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    for n in 0..=4 {
        book.see(poll(1, T - 20_000 + n * 10_000, Some(1), Some(MEGABYTE)));
    }
    let stated = state(&mut book, T + 20_000);
    let bytes: Vec<(u64, u64)> = stated.iter().map(|((epoch, ..), bytes)| (epoch.0, *bytes)).collect();
    assert_eq!(bytes, [(499_999, 35 * 1_250_000), (500_000, 50 * 1_250_000)]);
    // The tail of a session that ended just before the hour is of the next one, once that has begun.
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    (0..3).for_each(|n| book.see(poll(1, T - 30_000 + n * 10_000, Some(1), Some(MEGABYTE))));
    let epochs = |stated: Vec<(Place, u64)>| stated.iter().map(|((epoch, ..), _)| epoch.0).collect::<Vec<_>>();
    assert_eq!(epochs(state(&mut book, T - 1)), [499_999]);
    book.see(poll(1, T - 5_000, Some(1), None));
    book.end(|_| true);
    assert_eq!(epochs(state(&mut book, T - 1)), [0; 0], "it was stated up to the hour");
    assert_eq!(epochs(state(&mut book, T)), [500_000]);
}

#[test]
fn a_throughput_that_was_told_once_says_nothing() {
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    book.see(poll(1, T + 60_000, Some(1), Some(500_000)));
    book.see(poll(1, T + 70_000, Some(1), None));
    book.see(poll(1, T + 80_000, Some(1), Some(0)));
    assert_eq!(state(&mut book, T + 80_000), []);
    book.tidy(UnixMillis(T + 80_000 + IDLE_MS + 1));
    assert_eq!((book.sessions(), state(&mut book, T + HOUR - 1)), (0, Vec::new()), "nor after the session has ended");
    // Whoever is not known to play from a relay is not counted for any.
    book.see(poll(2, T + 60_000, None, Some(MEGABYTE)));
    book.see(poll(2, T + 70_000, None, Some(MEGABYTE)));
    assert_eq!(state(&mut book, T + 70_000), []);
    book.see(poll(2, T + 80_000, Some(1), Some(MEGABYTE)));
    assert_eq!(state(&mut book, T + 80_000)[0].1, (15 + 20 + 30) * 1_250_000, "since it is known where from");
}

#[test]
fn bounds_hold_and_what_is_dropped_is_counted() {
    let mut book = Book::new(HOUR, 32, UnixMillis(0));
    for n in 0..1000 {
        book.see(poll(n, T + n * 100, Some(1), Some(u64::MAX)));
        book.see(poll(n, T + n * 100 + 50, Some(1), Some(u64::MAX)));
        assert!(book.sessions() <= 32);
    }
    assert_eq!(book.dropped(), 1000 - book.sessions() as u64);
    let stated = state(&mut book, T + 200_000);
    assert_eq!(stated.len(), 1000, "a session that was dropped is stated as it was seen");
    assert!(stated.iter().all(|(_, bytes)| *bytes <= 46 * MAX_BITS / 8 * 5 / 4), "nobody is believed without end");
    book.tidy(UnixMillis(T + 2 * HOUR));
    assert!(book.sums.is_empty());
}

#[test]
fn sums_go_on_after_a_restart_and_the_time_away_counts_for_the_relay() {
    let mut book = Book::new(HOUR, 100, UnixMillis(0));
    let place = (Epoch(500_000), relay(1), token(1));
    book.restore(place, 77_000_000, UnixMillis(T + 100_000));
    assert_eq!(state(&mut book, T + 100_000), []);
    book.see(poll(1, T + 700_000, Some(1), Some(MEGABYTE)));
    assert_eq!(state(&mut book, T + 700_000), [(place, 77_000_000 + (600 + 30) * 1_250_000)]);
}

#[test]
fn what_was_played_while_nobody_looked_counts_for_the_relay() {
    // The process began ten minutes after the session did.
    let issued = Some(UnixMillis(T + 60_000));
    let mut book = Book::new(HOUR, 100, UnixMillis(T + 660_000));
    let seen = |at: u64, from| Sighting { issued, ..poll(1, at, from, Some(MEGABYTE)) };
    book.see(seen(T + 700_000, Some(1)));
    book.see(seen(T + 710_000, Some(1)));
    assert_eq!(state(&mut book, T + 710_000)[0].1, (600 + 15 + 10 + 30) * 1_250_000);
    // Which relay it was is said later.
    let mut book = Book::new(HOUR, 100, UnixMillis(T + 660_000));
    book.see(seen(T + 665_000, None));
    book.see(seen(T + 675_000, Some(1)));
    assert_eq!(state(&mut book, T + 675_000)[0].1, (615 + 30) * 1_250_000);
    // A session that began under its eyes has what it was seen for, and one that was dropped is one that was not seen.
    book.see(poll(2, T + 700_000, Some(1), Some(MEGABYTE)));
    book.see(poll(2, T + 710_000, Some(1), Some(MEGABYTE)));
    let of = |book: &mut Book| state(book, T + 720_000).into_iter().find(|((.., of), _)| *of == token(2)).unwrap().1;
    assert_eq!(of(&mut book), (15 + 10 + 30) * 1_250_000);
    book.end(|_| true);
    book.was_blind(UnixMillis(T + 1_000_000));
    book.see(Sighting { issued: Some(UnixMillis(T + 700_000)), ..poll(2, T + 1_010_000, Some(1), None) });
    assert!(of(&mut book) >= (310 + 30) * 1_250_000);
}

/// Whatever comes in whatever order, a statement is never smaller than the one before.
#[test]
fn statements_never_fall() {
    let mut book = Book::new(20_000, 8, UnixMillis(0));
    let mut last: HashMap<Place, u64> = HashMap::new();
    let (mut at, mut random) = (T, 1_u64);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = |shift: u32, of: u64| (random >> shift) % of;
        at += draw(20, 7_000);
        let from = [None, Some(1), Some(2)][usize::try_from(draw(30, 3)).unwrap()];
        let bits = (draw(40, 2) == 0).then_some(draw(41, 1 << 20));
        book.see(poll(draw(50, 12), at.saturating_sub(draw(33, 9_000)), from, bits));
        if draw(60, 4) == 0 {
            for (place, bytes) in state(&mut book, at) {
                assert!(last.insert(place, bytes).is_none_or(|before| before < bytes));
            }
        }
    }
    assert!(last.len() > 100);
}

//! What a peer owes this relay in receipts. No I/O.
//!
//! Invariant: a peer that signs nothing gets no more than the window and one piece, ever, however many transfers it begins
//! at once: a piece is charged before it is written. Bytes of transfers that broke off are pardoned only in proportion to
//! what the peer has signed: what was under way when it turned away cannot be told from what it kept and did not sign for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use weir_protocol::{Epoch, PeerReceipt, statement::Cumulative};

/// Bytes that a peer may owe receipts for.
pub const CREDIT_WINDOW: u64 = 8 << 20;
/// Of what a peer has signed for, one byte in so many may be pardoned of transfers that broke off.
const PARDON_SHARE: u64 = 8;

/// What became of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// It says more than the last one.
    More,
    /// An older one, or the same again.
    Old,
    /// Its counter rises and a sum falls, or its counter is known with another content.
    Contradicts,
}

#[derive(Debug, Default)]
struct State {
    owed: u64,
    /// Of `owed`, sent in transfers that broke off.
    broken: u64,
    /// May still be pardoned.
    pardon: u64,
    last: Option<PeerReceipt>,
}

/// One peer's credit for one publisher's content.
#[derive(Debug)]
pub struct Credit {
    state: Mutex<State>,
    news: watch::Sender<()>,
}

impl Default for Credit {
    fn default() -> Self {
        Self { state: Mutex::default(), news: watch::Sender::new(()) }
    }
}

impl Credit {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from the receipt that was held before a restart.
    pub(super) fn resume(&self, last: PeerReceipt) {
        let mut state = self.lock();
        if state.last.is_none() {
            state.last = Some(last);
        }
    }

    /// Charges a piece that is about to be sent; false, and nothing is charged, if the peer owes the window already.
    pub fn charge(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let room = state.owed < CREDIT_WINDOW;
        if room {
            state.owed += bytes;
        }
        room
    }

    /// A transfer for which so much was charged broke off.
    pub fn broke_off(&self, bytes: u64) {
        let mut state = self.lock();
        state.broken = (state.broken + bytes).min(state.owed);
        state.pardon();
        drop(state);
        self.news.send_replace(());
    }

    /// Bytes that receipts are owed for.
    pub fn owed(&self) -> u64 {
        self.lock().owed
    }

    /// Charges a piece as soon as the peer owes less than the window. Nothing is charged if this is given up.
    pub async fn charged(&self, bytes: u64) {
        let mut news = self.news.subscribe();
        while !self.charge(bytes) {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// The epoch of the last receipt.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.lock().last.as_ref().map(|last| last.epoch)
    }

    /// A receipt whose signature was verified strictly, for this peer and publisher.
    pub(super) fn receipt(&self, receipt: &PeerReceipt) -> Took {
        let mut state = self.lock();
        let before = match &state.last {
            Some(last) if last.epoch > receipt.epoch => return Took::Old,
            Some(last) if last.epoch == receipt.epoch => {
                if last.counter == receipt.counter {
                    return if last == receipt { Took::Old } else { Took::Contradicts };
                }
                let (earlier, later) = if last.counter < receipt.counter { (last, receipt) } else { (receipt, last) };
                if later.falls_behind(earlier) {
                    return Took::Contradicts;
                }
                if last.counter > receipt.counter {
                    return Took::Old;
                }
                last.bytes
            }
            _ => 0,
        };
        let more = receipt.bytes - before;
        state.pardon = (state.pardon + more / PARDON_SHARE).min(CREDIT_WINDOW);
        state.owed = state.owed.saturating_sub(more);
        state.broken = state.broken.min(state.owed);
        state.pardon();
        state.last = Some(receipt.clone());
        drop(state);
        self.news.send_replace(());
        Took::More
    }
}

impl State {
    fn pardon(&mut self) {
        let pardoned = self.broken.min(self.pardon).min(self.owed);
        self.owed -= pardoned;
        self.broken -= pardoned;
        self.pardon -= pardoned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use weir_protocol::{EvidenceKey, PublisherId, UnixMillis, statement::ReceivedDigest};

    fn receipt(epoch: u64, counter: u64, bytes: u64) -> PeerReceipt {
        let relay = |seed| EvidenceKey::from_bytes(&[seed; 32]).relay_id();
        PeerReceipt {
            publisher: PublisherId([1; 32]),
            sender: relay(1),
            receiver: relay(2),
            epoch: Epoch(epoch),
            counter,
            bytes,
            unique_bytes: bytes,
            objects: 0,
            received: ReceivedDigest::default(),
            time: UnixMillis(5),
        }
    }

    #[test]
    fn a_peer_that_signs_nothing_gets_the_window_and_one_that_signs_goes_on() {
        let credit = Credit::default();
        assert!(credit.charge(CREDIT_WINDOW - 1) && credit.charge(1));
        assert!(!credit.charge(1) && credit.charged(1).now_or_never().is_none());
        assert_eq!(credit.receipt(&receipt(1, 1, CREDIT_WINDOW / 2)), Took::More);
        assert!(credit.charged(0).now_or_never().is_some());
        assert_eq!(credit.owed(), CREDIT_WINDOW / 2);
        assert_eq!(credit.receipt(&receipt(1, 1, CREDIT_WINDOW / 2)), Took::Old, "a replay changes nothing");
        assert_eq!(credit.owed(), CREDIT_WINDOW / 2);
        assert_eq!(credit.receipt(&receipt(2, 1, CREDIT_WINDOW / 2)), Took::More, "sums begin anew with an epoch");
        assert_eq!(credit.owed(), 0);
    }

    #[test]
    fn many_transfers_at_once_get_no_more_than_one_piece_beyond_the_window() {
        let credit = Credit::default();
        let piece = 256 << 10;
        let charged = (0..1000).filter(|_| credit.charge(piece)).count() as u64 * piece;
        assert_eq!((charged, credit.owed()), (CREDIT_WINDOW, CREDIT_WINDOW));
    }

    #[test]
    fn aborting_every_transfer_earns_a_share_of_what_is_signed_for_and_no_more() {
        let free = Credit::default();
        let mut got = 0;
        for _ in 0..1000 {
            if free.charge(1 << 20) {
                free.broke_off(1 << 20);
                got += 1 << 20;
            }
        }
        assert_eq!(got, CREDIT_WINDOW);
        let honest = Credit::default();
        let mut signed = 0;
        for n in 1..=1000 {
            assert!(honest.charge(1 << 20));
            signed += 1 << 20;
            assert_eq!(honest.receipt(&receipt(1, n, signed)), Took::More);
            if n % 10 == 0 {
                // One transfer in ten is given up, with what is under way.
                assert!(honest.charge(1 << 20));
                honest.broke_off(1 << 20);
            }
            assert!(honest.owed() < CREDIT_WINDOW, "{n}");
        }
    }

    #[test]
    fn sums_that_fall_and_counters_used_twice_are_seen() {
        let credit = Credit::default();
        assert!(credit.charge(100));
        assert_eq!(credit.receipt(&receipt(1, 2, 50)), Took::More);
        assert_eq!(credit.receipt(&receipt(1, 3, 49)), Took::Contradicts);
        assert_eq!(credit.receipt(&receipt(1, 2, 51)), Took::Contradicts);
        assert_eq!(credit.receipt(&receipt(1, 1, 51)), Took::Contradicts);
        assert_eq!(credit.receipt(&receipt(1, 1, 20)), Took::Old);
        assert_eq!(credit.owed(), 50, "none of them paid anything");
    }
}

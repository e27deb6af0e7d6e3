//! A body that is spoilt on its way out: late, or not what was stored.
//!
//! Invariant: it is as long as the body it spoils, and accounts for its bytes in that body's stead, so that a relay's
//! books are right whatever it does.

use super::order::Faults;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep_until};
use weir_relay::http::{Body, BodyError, BodySource};
use weir_relay::meter::Delivery;

/// A slow door hands out so many pieces a second, so that a player sees the pace and not jumps.
const PIECES_A_SECOND: u64 = 20;
/// The smallest piece.
const LEAST_PIECE: u64 = 512;

/// `body` as a relay under these faults hands it out.
pub(super) fn spoilt(mut body: Body, faults: &Arc<Faults>, is_media: bool) -> Body {
    let length = body.length();
    let delivery = std::mem::replace(body.delivery(), Delivery::unmetered());
    let is_metered = body.is_metered();
    let source = Spoilt { body, faults: faults.clone(), is_media, rest: Bytes::new(), turn: None };
    let spoilt = Body::source(source, length);
    if is_metered { spoilt.metered(delivery) } else { spoilt }
}

struct Spoilt {
    body: Body,
    faults: Arc<Faults>,
    is_media: bool,
    /// What the body yielded and has not left yet.
    rest: Bytes,
    /// Until when the next piece, of this length, waits.
    turn: Option<(Pin<Box<Sleep>>, usize)>,
}

impl BodySource for Spoilt {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.rest.is_empty() {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) if self.is_media && self.faults.corrupts() => self.rest = with_a_bit_flipped(&piece),
                Some(Ok(piece)) => self.rest = piece,
                end => return Poll::Ready(end),
            }
        }
        let length = match (&mut self.turn, self.faults.rate()) {
            (Some((turn, length)), Some(_)) => {
                ready!(turn.as_mut().poll(cx));
                *length
            }
            (None, Some(rate)) => {
                let most = usize::try_from((rate.get() / PIECES_A_SECOND).max(LEAST_PIECE)).unwrap_or(usize::MAX);
                let length = self.rest.len().min(most);
                let mut turn = Box::pin(sleep_until(self.faults.turn(length, rate)));
                if turn.as_mut().poll(cx).is_pending() {
                    self.turn = Some((turn, length));
                    return Poll::Pending;
                }
                length
            }
            (_, None) => self.rest.len(),
        };
        self.turn = None;
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}

/// The lowest bit of the middle byte: what a faulty memory or a liar who is careful would do.
fn with_a_bit_flipped(piece: &Bytes) -> Bytes {
    let mut bytes = piece.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::demo::faults::Order;
    use http_body_util::BodyExt;
    use std::num::NonZeroU64;
    use std::sync::Mutex;
    use tokio::time::Instant;
    use weir_relay::meter::{Account, Outcome};

    #[derive(Default)]
    struct Book(Mutex<Vec<Outcome>>);
    impl Account for Book {
        fn settle(&self, outcome: Outcome) {
            self.0.lock().unwrap().push(outcome);
        }
    }

    fn faults(order: Order) -> Arc<Faults> {
        let faults = Arc::new(Faults::default());
        faults.obey(order);
        faults
    }

    async fn read(body: Body) -> Vec<u8> {
        body.collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn one_bit_of_each_piece_differs_and_the_books_are_right() {
        let whole = vec![0_u8; 200 * 1024];
        let faults = faults(Order { corrupt: true, ..Order::default() });
        let book = Arc::new(Book::default());
        let body = Body::full(whole.clone()).metered(Delivery::new(book.clone()));
        let got = read(spoilt(body, &faults, true)).await;
        let wrong = got.iter().zip(&whole).filter(|(one, other)| one != other).count();
        assert_eq!((got.len(), wrong), (whole.len(), 2), "two pieces of at most 128 KiB");
        assert_eq!(read(spoilt(Body::full(whole.clone()), &faults, false)).await, whole, "playlists are left alone");
        let settled = book.0.lock().unwrap();
        assert_eq!((settled.len(), settled[0].handed, settled[0].completed), (1, 200 * 1024, true));
    }

    #[tokio::test(start_paused = true)]
    async fn all_bodies_share_the_rate_of_a_slow_relay() {
        let faults = faults(Order { slow: NonZeroU64::new(10_000), ..Order::default() });
        let begun = Instant::now();
        let one = tokio::spawn(read(spoilt(Body::full(vec![1; 20_000]), &faults, true)));
        let other = tokio::spawn(read(spoilt(Body::full(vec![2; 20_000]), &faults, false)));
        assert_eq!((one.await.unwrap(), other.await.unwrap()), (vec![1; 20_000], vec![2; 20_000]));
        let took = begun.elapsed().as_secs_f64();
        assert!((3.8..4.1).contains(&took), "40 000 bytes at 10 000 a second took {took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_slowly_goes_on_fast_when_the_fault_ends() {
        let faults = faults(Order { slow: NonZeroU64::new(1_000), ..Order::default() });
        let begun = Instant::now();
        let reading = tokio::spawn(read(spoilt(Body::full(vec![1; 100_000]), &faults, true)));
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        faults.obey(Order::default());
        assert_eq!(reading.await.unwrap().len(), 100_000);
        assert!(begun.elapsed().as_secs_f64() < 4.0);
    }
}

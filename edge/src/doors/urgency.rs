//! In what order the responses of one connection leave: RFC 9218, by the urgency that the routes have written into the
//! response. HTTP/3 hands it to QUIC's scheduler; and since that knows only what it was given, and the library for HTTP/2
//! takes whatever body has something, a body waits its turn here.
//!
//! Invariant: a body waits only while a more urgent one of its connection moves, and at most [`LONGEST`] for each piece; a
//! more urgent one that stands still, for want of bytes or of window, holds nobody up for longer than [`MOVES_FOR`].

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use weir_relay::http::{Body, BodyError};

const PRIORITY: HeaderName = HeaderName::from_static("priority");
/// What is not said (RFC 9218 section 4.1).
const DEFAULT: u8 = 3;
/// How long after its last piece a body counts as moving.
const MOVES_FOR: Duration = Duration::from_millis(25);
/// Longest wait for one piece.
const LONGEST: Duration = Duration::from_secs(2);

/// The urgency in a response's `Priority` field: 0, the most urgent, to 7.
pub(super) fn of(headers: &HeaderMap) -> u8 {
    let text = headers.get(PRIORITY).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = text.split(',').find_map(|member| member.trim().strip_prefix("u="));
    let urgency = value.and_then(|value| value.split(';').next()?.trim().parse().ok());
    urgency.filter(|urgency| *urgency <= 7).unwrap_or(DEFAULT)
}

/// The bodies that leave over one connection.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    bodies: Vec<Leaving>,
}

struct Leaving {
    number: u64,
    urgency: u8,
    moved: Option<Instant>,
    waker: Option<Waker>,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A body of this urgency begins to leave.
    pub(super) fn enter(self: &Arc<Self>, urgency: u8) -> Turn {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        // It counts at once: what is less urgent shall not fill the way just before its first piece.
        state.bodies.push(Leaving { number, urgency, moved: Some(Instant::now()), waker: None });
        Turn { turns: self.clone(), number, urgency, waits: None }
    }
}

/// One body's place among them.
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    urgency: u8,
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Turn {
    /// Ready when nothing more urgent moves.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let until = {
                let mut state = self.turns.state();
                let ahead = state.bodies.iter().filter(|body| body.urgency < self.urgency);
                let until = ahead.filter_map(|body| body.moved).map(|moved| moved + MOVES_FOR).max();
                let until = until.filter(|until| *until > now);
                if let Some(own) = state.bodies.iter_mut().find(|body| body.number == self.number) {
                    own.waker = until.is_some().then(|| cx.waker().clone());
                }
                until
            };
            let Some(until) = until else { break };
            let (began, sleep) = self.waits.get_or_insert_with(|| (now, Box::pin(tokio::time::sleep_until(until))));
            if now.duration_since(*began) >= LONGEST {
                break;
            }
            sleep.as_mut().reset(until.min(*began + LONGEST));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.waits = None;
        Poll::Ready(())
    }

    /// The body's next piece, when its turn has come.
    pub(super) fn poll_data(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        ready!(self.poll(cx));
        let next = body.poll_data(cx);
        if next.is_pending() {
            self.idles();
        }
        next
    }

    /// It has sent a piece.
    pub(super) fn moved(&self) {
        self.set(Some(Instant::now()));
    }

    /// It has nothing to send now.
    pub(super) fn idles(&self) {
        self.set(None);
    }

    fn set(&self, moved: Option<Instant>) {
        let mut state = self.turns.state();
        if let Some(own) = state.bodies.iter_mut().find(|body| body.number == self.number) {
            own.moved = moved;
        }
        if moved.is_none() {
            wake(state);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.bodies.retain(|body| body.number != self.number);
        wake(state);
    }
}

/// Has everybody who waits look again.
fn wake(mut state: MutexGuard<'_, State>) {
    let wakers: Vec<Waker> = state.bodies.iter_mut().filter_map(|body| body.waker.take()).collect();
    drop(state);
    for waker in wakers {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::future::poll_fn;
    use tokio::time::timeout;

    fn poll(turn: &mut Turn) -> bool {
        turn.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn what_is_not_said_is_three() {
        let at = |text: &'static str| of(&HeaderMap::from_iter([(PRIORITY, HeaderValue::from_static(text))]));
        assert_eq!((at("u=1"), at("i, u=6"), at("u=9"), at("i"), of(&HeaderMap::new())), (1, 6, 3, 3, 3));
    }

    #[tokio::test]
    async fn a_less_urgent_body_waits_while_a_more_urgent_one_moves() {
        let turns = Arc::new(Turns::default());
        let (urgent, mut equal, mut later) = (turns.enter(1), turns.enter(1), turns.enter(4));
        assert!(poll(&mut equal) && !poll(&mut later));
        urgent.idles();
        equal.idles();
        assert!(poll(&mut later), "they have nothing to send");
        urgent.moved();
        assert!(!poll(&mut later));
        let ended = async {
            tokio::task::yield_now().await;
            drop(urgent);
        };
        let waiting = timeout(MOVES_FOR / 2, poll_fn(|cx| later.poll(cx)));
        let (waited, ()) = tokio::join!(waiting, ended);
        assert!(waited.is_ok(), "the end of the more urgent one wakes it");
    }

    #[tokio::test]
    async fn nobody_waits_for_long() {
        let turns = Arc::new(Turns::default());
        let (stuck, mut later) = (turns.enter(0), turns.enter(7));
        let began = Instant::now();
        poll_fn(|cx| later.poll(cx)).await;
        assert!(began.elapsed() < MOVES_FOR * 8, "a body whose client takes nothing holds nobody up");
        drop(stuck);
    }
}

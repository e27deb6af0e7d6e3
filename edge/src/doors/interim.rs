//! Interim responses (RFC 9110 section 15.2) on an HTTP/1.1 connection, for which hyper has no way: they are written
//! between two of its messages. Invariant: nothing is written here while hyper has bytes of an earlier response left
//! (it flushes the socket only when it has none), and a final response waits until what precedes it is written.

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tokio::io::AsyncWrite;

/// Interim responses that may wait; more are dropped, since a client can do without.
const MAX_WAITING: usize = 8;

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    /// The connection's task, while a request is on its way.
    task: Option<Waker>,
}

/// One connection's interim responses.
#[derive(Default)]
pub(super) struct Interims(Mutex<State>);

impl Interims {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves only plain data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends this as soon as the connection's task runs.
    pub(super) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let mut state = self.lock();
        if state.waiting.len() < MAX_WAITING {
            state.waiting.push_back(encode(status, headers));
            if let Some(task) = state.task.take() {
                task.wake();
            }
        }
    }

    /// Wakes this task for the next one.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.lock().task = Some(cx.waker().clone());
    }

    /// True when everything is written; else this task is woken to look again.
    pub(super) fn is_written(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        let written = state.waiting.is_empty();
        state.task = (!written).then(|| cx.waker().clone());
        written
    }

    /// Writes what waits. To be called where hyper flushes the socket.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(mut bytes) = self.lock().waiting.front().cloned() else { return Poll::Ready(Ok(())) };
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, &bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(written);
            let mut state = self.lock();
            match (state.waiting.front_mut(), bytes.is_empty()) {
                (Some(front), false) => *front = bytes,
                _ => {
                    state.waiting.pop_front();
                }
            }
            if state.waiting.is_empty()
                && let Some(task) = state.task.take()
            {
                task.wake();
            }
        }
    }
}

/// RFC 9112 section 4: a status line, fields, an empty line.
fn encode(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut text =
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("Interim")).into_bytes();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.into()
}

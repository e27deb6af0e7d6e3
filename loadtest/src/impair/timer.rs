//! Delivery at a point in time: one thread that sleeps until the earliest deadline and then hands over what is due.
//!
//! Invariants: nothing is handed over early; equal deadlines keep their order; at most [`MAX_PENDING`] jobs wait.

use std::cmp::{Ordering as Order, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::counters::count;
use super::shared::{Shared, Way};

/// Most jobs that wait at a time. At 1500 bytes a datagram this is about 100 MB under way.
const MAX_PENDING: usize = 65_536;

/// What is done when its time has come.
#[derive(Debug)]
pub(super) enum Job {
    /// Send a datagram on a non-blocking socket; without an address, to where the socket is connected. Not a socket of
    /// the runtime: that one refuses to send until the runtime has noticed that it can.
    Send { way: Way, socket: Arc<UdpSocket>, to: Option<SocketAddr>, datagram: Bytes },
    /// Wake a task.
    Wake(oneshot::Sender<()>),
}

/// Too many jobs wait.
#[derive(Debug)]
pub(super) struct Full;

/// Puts jobs into the timer's queue.
#[derive(Debug, Clone)]
pub(super) struct Timer {
    jobs: Sender<(Instant, Job)>,
    pending: Arc<AtomicUsize>,
}

impl Timer {
    /// Has the job done at `deadline`, or very soon after.
    pub(super) fn at(&self, deadline: Instant, job: Job) -> Result<(), Full> {
        let room =
            self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < MAX_PENDING).then_some(n + 1));
        if room.is_err() || self.jobs.send((deadline, job)).is_err() {
            return Err(Full);
        }
        Ok(())
    }

    /// Waits until `deadline`.
    pub(super) async fn wait(&self, deadline: Instant) {
        if deadline <= Instant::now() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        if self.at(deadline, Job::Wake(wake)).is_err() || woken.await.is_err() {
            // No room: the runtime's coarser timer is late rather than early.
            tokio::time::sleep_until(deadline.into()).await;
        }
    }
}

/// The timer's thread. It ends when the last [`Timer`] is gone.
#[derive(Debug)]
pub(super) struct Thread(JoinHandle<()>);

impl Thread {
    /// Waits for the end of the thread.
    pub(super) async fn join(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the proxy's timer ended early");
        }
    }
}

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<(Timer, Thread)> {
    let (jobs, inbox) = channel();
    let pending = Arc::new(AtomicUsize::new(0));
    let timer = Timer { jobs, pending: Arc::clone(&pending) };
    let thread = std::thread::Builder::new()
        .name("impair-timer".to_owned())
        .spawn(move || work(&inbox, &pending, |job| perform(job, &shared)))?;
    Ok((timer, Thread(thread)))
}

fn perform(job: Job, shared: &Shared) {
    match job {
        Job::Send { way, socket, to, datagram } => send(shared, way, &socket, to, &datagram),
        // The task may be gone; then nobody waits.
        Job::Wake(wake) => drop(wake.send(())),
    }
}

/// Sends a datagram now, and counts what became of it.
pub(super) fn send(shared: &Shared, way: Way, socket: &UdpSocket, to: Option<SocketAddr>, datagram: &[u8]) {
    let sent = match to {
        Some(to) => socket.send_to(datagram, to),
        None => socket.send(datagram),
    };
    let counters = shared.counters(way);
    match sent {
        Ok(_) => count(&counters.forwarded),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // The report is about an earlier datagram, and consumed by being read: this one was not sent yet.
            let again = match to {
                Some(to) => socket.send_to(datagram, to),
                None => socket.send(datagram),
            };
            count(if again.is_ok() { &counters.forwarded } else { &counters.overflowed });
        }
        Err(_) => count(&counters.overflowed),
    }
}

fn work(inbox: &Receiver<(Instant, Job)>, pending: &AtomicUsize, mut perform: impl FnMut(Job)) {
    let mut queue = Queue::default();
    loop {
        while let Some(job) = queue.pop_due(Instant::now()) {
            pending.fetch_sub(1, Ordering::Relaxed);
            perform(job);
        }
        let next = match queue.next() {
            Some(deadline) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok((deadline, job)) => queue.push(deadline, job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Everything that arrived meanwhile is ordered before the next hand-over.
        while let Ok((deadline, job)) = inbox.try_recv() {
            queue.push(deadline, job);
        }
    }
}

/// Jobs by deadline, then by order of arrival.
#[derive(Debug)]
struct Queue<J> {
    heap: BinaryHeap<Reverse<Entry<J>>>,
    arrivals: u64,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), arrivals: 0 }
    }
}

impl<J> Queue<J> {
    fn push(&mut self, deadline: Instant, job: J) {
        self.arrivals += 1;
        self.heap.push(Reverse(Entry { key: (deadline, self.arrivals), job }));
    }

    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.key.0)
    }

    fn pop_due(&mut self, now: Instant) -> Option<J> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.job)
    }
}

#[derive(Debug)]
struct Entry<J> {
    key: (Instant, u64),
    job: J,
}

impl<J> PartialEq for Entry<J> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<J> Eq for Entry<J> {}

impl<J> PartialOrd for Entry<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Entry<J> {
    fn cmp(&self, other: &Self) -> Order {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_leave_by_deadline_then_arrival_and_never_early() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = Queue::default();
        for (deadline, name) in [(20, "c"), (10, "a"), (20, "d"), (10, "b"), (30, "e")] {
            queue.push(at(deadline), name);
        }
        assert_eq!(queue.pop_due(at(9)), None);
        assert_eq!(queue.next(), Some(at(10)));
        let mut due = Vec::new();
        while let Some(name) = queue.pop_due(at(20)) {
            due.push(name);
        }
        assert_eq!(due, ["a", "b", "c", "d"]);
        assert_eq!(queue.next(), Some(at(30)));
    }
}

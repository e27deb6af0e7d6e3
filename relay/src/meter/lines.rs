//! Ways to send control frames to the nodes that are connected now. Invariant: a line's queue is bounded, and whoever does
//! not read loses frames, not this relay its memory.

use dashmap::DashMap;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;
use weir_protocol::{RelayId, wire::ControlFrame};

/// Frames that wait for one node.
const QUEUE: usize = 64;

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: DashMap<RelayId, Vec<(u64, mpsc::Sender<ControlFrame>)>>,
    next: AtomicU64,
}

/// One control stream's end of a line; the line is cut when it is dropped.
#[derive(Debug)]
pub struct Line {
    lines: Arc<Lines>,
    peer: RelayId,
    id: u64,
    frames: mpsc::Receiver<ControlFrame>,
}

impl Lines {
    pub(super) fn attach(self: &Arc<Self>, peer: RelayId) -> Line {
        let (sender, frames) = mpsc::channel(QUEUE);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lines.entry(peer).or_default().push((id, sender));
        Line { lines: self.clone(), peer, id, frames }
    }

    /// Queues a frame for a node, on its newest line; false if there is none, or no room.
    pub(super) fn send(&self, peer: &RelayId, frame: ControlFrame) -> bool {
        let Some(sender) = self.lines.get(peer).and_then(|lines| lines.last().map(|(_, sender)| sender.clone())) else {
            return false;
        };
        sender.try_send(frame).is_ok()
    }

    pub(super) fn is_open(&self, peer: &RelayId) -> bool {
        self.lines.contains_key(peer)
    }
}

impl Line {
    /// The next frame to send. Waits for ever while there is none; safe to call off.
    pub async fn next(&mut self) -> ControlFrame {
        match self.frames.recv().await {
            Some(frame) => frame,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.lines.remove_if_mut(&self.peer, |_, lines| {
            lines.retain(|(id, _)| *id != self.id);
            lines.is_empty()
        });
    }
}

//! The one listener of the socket: which addresses it has announced, and the events that keep the swarm informed.
//!
//! Invariant: every `NewAddress` is followed by exactly one `AddressExpired` before or at the listener's end, and
//! `ListenerClosed` is its last event. Performs no I/O.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use libp2p::core::transport::ListenerId;

/// What the swarm has to be told about a listener.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    New(ListenerId, SocketAddr),
    Expired(ListenerId, SocketAddr),
    Closed(ListenerId),
}

#[derive(Debug, Default)]
pub(super) struct ListenerState {
    active: Option<(ListenerId, BTreeSet<IpAddr>)>,
    changes: VecDeque<Change>,
}

impl ListenerState {
    /// Starts the listener; `false` if there is one.
    pub(super) fn open(&mut self, id: ListenerId) -> bool {
        let free = self.active.is_none();
        if free {
            self.active = Some((id, BTreeSet::new()));
        }
        free
    }

    pub(super) fn id(&self) -> Option<ListenerId> {
        self.active.as_ref().map(|(id, _)| *id)
    }

    /// Notes which addresses the machine has now.
    pub(super) fn update(&mut self, now: BTreeSet<IpAddr>, port: u16) {
        let Some((id, before)) = &mut self.active else { return };
        let gone = before.difference(&now).map(|ip| Change::Expired(*id, SocketAddr::new(*ip, port)));
        let new = now.difference(before).map(|ip| Change::New(*id, SocketAddr::new(*ip, port)));
        self.changes.extend(gone.chain(new));
        *before = now;
    }

    /// Ends the listener; `false` if it is not this one.
    pub(super) fn close(&mut self, id: ListenerId, port: u16) -> bool {
        let Some((id, announced)) = self.active.take_if(|(active, _)| *active == id) else {
            return false;
        };
        self.changes.extend(announced.into_iter().map(|ip| Change::Expired(id, SocketAddr::new(ip, port))));
        self.changes.push_back(Change::Closed(id));
        true
    }

    pub(super) fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 7;

    fn ips(last: impl IntoIterator<Item = u8>) -> BTreeSet<IpAddr> {
        last.into_iter().map(|n| IpAddr::from([10, 0, 0, n])).collect()
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], PORT))
    }

    fn drain(state: &mut ListenerState) -> Vec<Change> {
        std::iter::from_fn(|| state.next_change()).collect()
    }

    #[test]
    fn interface_changes_become_events() {
        let (mut state, id) = (ListenerState::default(), ListenerId::next());
        assert!(state.open(id));
        state.update(ips([1, 2]), PORT);
        state.update(ips([2, 3]), PORT);
        state.update(ips([2, 3]), PORT);
        let expected =
            [Change::New(id, at(1)), Change::New(id, at(2)), Change::Expired(id, at(1)), Change::New(id, at(3))];
        assert_eq!(drain(&mut state), expected);
    }

    #[test]
    fn close_expires_everything_and_frees_the_place() {
        let (mut state, id, other) = (ListenerState::default(), ListenerId::next(), ListenerId::next());
        assert!(state.open(id));
        assert!(!state.open(other));
        state.update(ips([1]), PORT);
        assert!(!state.close(other, PORT));
        assert!(state.close(id, PORT));
        assert!(!state.close(id, PORT));
        assert_eq!(drain(&mut state), [Change::New(id, at(1)), Change::Expired(id, at(1)), Change::Closed(id)]);
        state.update(ips([2]), PORT);
        assert!(drain(&mut state).is_empty());
        assert!(state.open(other));
    }
}

//! The control stream of one connection: Hello both ways, then from the adapter who is in the network and which keys
//! sign. Invariant: only the adapter of a network is believed about that network.

use super::{
    Directory, Networks,
    directory::Present,
    frames::{ControlReader, FrameError, read_frame, write_control},
};
use crate::clock::Clock;
use quinn::{RecvStream, SendStream};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::RelayId,
    wire::{ControlFrame, Hello, MAX_CONTROL_FRAME, Member, Members, VERSION},
};

/// A session is sent the list of members at most this often: relays that come and go quickly must not make the adapter
/// send it to everybody each time.
const LIST_EVERY: Duration = Duration::from_millis(250);
/// How often the adapter looks where a relay is now: a home line changes its address, and the connection moves with it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Both Hellos must be there this soon.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// What the other side of a connection gets to hear.
pub(super) enum Role {
    Relay { networks: Arc<Networks>, clock: Clock },
    Adapter(Arc<Directory>),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no Hello in {HELLO_TIMEOUT:?}")]
    NoHello,
    #[error("speaks version {0}, this node speaks {VERSION}")]
    Version(u16),
    #[error("the network is full")]
    Full,
}

fn hello() -> ControlFrame {
    ControlFrame::Hello(Hello {
        version: VERSION,
        features: Vec::new(),
        agent: concat!("weir/", env!("CARGO_PKG_VERSION")).into(),
    })
}

impl Role {
    /// Runs the control stream until the connection ends; `address` tells where the other side is now; `entered` is notified once the other side is known.
    pub(super) async fn run(
        &self,
        peer: RelayId,
        address: impl Fn() -> SocketAddr,
        (mut send, mut receive): (SendStream, RecvStream),
        entered: &Notify,
        stopping: &CancellationToken,
    ) -> Result<(), SessionError> {
        write_control(&mut send, &hello()).await?;
        let first = timeout(HELLO_TIMEOUT, read_frame(&mut receive, MAX_CONTROL_FRAME))
            .await
            .map_err(|_| SessionError::NoHello)??;
        match ControlFrame::decode(&first).map_err(FrameError::from)? {
            ControlFrame::Hello(hello) if hello.version == VERSION => {}
            ControlFrame::Hello(hello) => return Err(SessionError::Version(hello.version)),
            _ => return Err(SessionError::NoHello),
        }
        let reader = ControlReader::new(receive);
        match self {
            Self::Relay { networks, clock } => {
                entered.notify_one();
                relay(networks, clock, peer, send, reader).await
            }
            Self::Adapter(directory) => {
                let member = Membership::enter(directory, peer, address(), stopping).ok_or(SessionError::Full)?;
                entered.notify_one();
                adapter(directory, member.session, address, send, reader).await
            }
        }
    }
}

/// A relay's place in the directory, given up when its session ends in whatever way, unless the adapter itself is
/// stopping: relays that heard how the others leave one by one would refuse each other just when they need each other.
struct Membership<'a> {
    directory: &'a Directory,
    stopping: &'a CancellationToken,
    session: u64,
}

impl<'a> Membership<'a> {
    fn enter(
        directory: &'a Directory,
        relay: RelayId,
        address: SocketAddr,
        stopping: &'a CancellationToken,
    ) -> Option<Self> {
        directory.enter(relay, address).map(|session| Self { directory, stopping, session })
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        if !self.stopping.is_cancelled() {
            self.directory.leave(self.session);
        }
    }
}

async fn adapter(
    directory: &Directory,
    session: u64,
    address: impl Fn() -> SocketAddr,
    mut send: SendStream,
    mut reader: ControlReader,
) -> Result<(), SessionError> {
    let (mut members, mut keys) = directory.watch();
    // A relay that comes, or comes back, hears both at once: it may have missed a change of either.
    members.mark_changed();
    keys.mark_changed();
    let mut next_list = Instant::now();
    let mut look = interval(LOOK_EVERY);
    loop {
        let changed = async {
            sleep_until(next_list).await;
            members.changed().await
        };
        tokio::select! {
            changed = changed => {
                if changed.is_err() { return Ok(()) }
                next_list = Instant::now() + LIST_EVERY;
                let frame = {
                    let state = members.borrow_and_update();
                    let member = |member: &Present| Member {
                        relay: member.relay,
                        addresses: vec![member.address.to_string()],
                        region: "default".into(),
                    };
                    ControlFrame::Members(Members {
                        publisher: directory.publisher(),
                        epoch: state.epoch,
                        members: state.members.iter().map(member).collect(),
                    })
                };
                write_control(&mut send, &frame).await?;
            }
            _ = look.tick() => directory.moved(session, address()),
            changed = keys.changed() => {
                if changed.is_err() { return Ok(()) }
                let bytes = keys.borrow_and_update().clone();
                write_control(&mut send, &ControlFrame::Keys { bytes }).await?;
            }
            frame = reader.next() => match frame? {
                Some(ControlFrame::Ping(number)) => write_control(&mut send, &ControlFrame::Pong(number)).await?,
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

async fn relay(
    networks: &Networks,
    clock: &Clock,
    peer: RelayId,
    mut send: SendStream,
    mut reader: ControlReader,
) -> Result<(), SessionError> {
    for network in networks.all().into_iter().filter(|network| network.adapter == peer) {
        network.adapter_is_back();
    }
    while let Some(frame) = reader.next().await? {
        match frame {
            ControlFrame::Ping(number) => write_control(&mut send, &ControlFrame::Pong(number)).await?,
            ControlFrame::Members(list) => {
                let Some(network) = networks.get(&list.publisher).filter(|network| network.adapter == peer) else {
                    tracing::debug!(peer = %peer.short(), "a peer spoke for a network that is not its own");
                    continue;
                };
                let parsed = list.members.into_iter().map(|member| {
                    let addresses = member.addresses.iter().filter_map(|address| address.parse().ok()).collect();
                    (member.relay, addresses)
                });
                network.set_members(list.epoch, parsed.collect());
            }
            ControlFrame::Keys { bytes } => {
                for network in networks.all().into_iter().filter(|network| network.adapter == peer) {
                    network.offer_keys(&bytes, clock.now());
                }
            }
            ControlFrame::Hello(_)
            | ControlFrame::Pong(_)
            | ControlFrame::Goodbye { .. }
            | ControlFrame::Unknown { .. } => {}
        }
    }
    Ok(())
}

//! Pushed objects as sources of fills. One object may come from one parent after another: each new stream goes on where
//! the body stands. Invariant: what leaves here went through the same verification as a reply that was asked for.

use crate::{
    clock::Clock,
    mesh::Asking,
    peer::{Links, Network, PeerSource, Reply, object_of},
    source::{FillRequest, Opened, Resume, Source, SourceError},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc};
use weir_protocol::{
    ids::{Generation, RelayId},
    resource::ResourceKey,
    wire::PushRequest,
};

/// How long a broken transfer waits for a new parent to go on with it: longer than it takes to notice a parent's
/// silence, shorter than an edge lets a player wait.
const REPAIR: Duration = Duration::from_millis(1_500);
/// Streams of one object that may wait to be read.
pub(super) const STREAMS: usize = 4;
/// Streams of one object that are tried before others are asked.
pub(super) const TRIES: usize = 3;

/// A pushed object that has begun to arrive.
pub(super) struct Arrival {
    pub(super) from: RelayId,
    pub(super) key: ResourceKey,
    pub(super) generation: Generation,
    /// First byte that follows.
    pub(super) offset: u64,
    pub(super) push: PushRequest,
    pub(super) reply: Reply,
}

/// A pushed transfer failed.
#[derive(Debug)]
pub(super) struct PushFailed {
    pub(super) from: RelayId,
    pub(super) error: SourceError,
}

/// What every stream of a feed needs.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) network: Arc<Network>,
    pub(super) links: Arc<Links>,
    pub(super) clock: Clock,
    pub(super) failed: mpsc::Sender<PushFailed>,
}

/// One pushed object as a source.
pub(super) struct PushSource {
    means: Means,
    arrivals: Mutex<mpsc::Receiver<Arrival>>,
}

impl PushSource {
    pub(super) fn new(means: Means, arrivals: mpsc::Receiver<Arrival>) -> Self {
        Self { means, arrivals: Mutex::new(arrivals) }
    }

    async fn ask(&self, request: &FillRequest) -> Result<Opened, SourceError> {
        let mut arrivals = self.arrivals.lock().await;
        // The first stream is there already; a later one comes when a new parent has been found.
        let arrival = match tokio::time::timeout(REPAIR, arrivals.recv()).await {
            Ok(Some(arrival)) => arrival,
            Ok(None) => return Err(SourceError::Unreachable("no parent pushes it any more".into())),
            Err(_) => return Err(SourceError::Timeout("no new parent goes on with it".into())),
        };
        drop(arrivals);
        self.take(request, arrival).await
    }

    async fn take(&self, request: &FillRequest, arrival: Arrival) -> Result<Opened, SourceError> {
        let Arrival { from, generation, offset, mut reply, .. } = arrival;
        let have = request.resume.map_or(0, |resume| resume.offset);
        if offset > have {
            return Err(SourceError::BadResponse("pushed from behind what is here".into()));
        }
        let Means { network, links, clock, failed } = self.means.clone();
        let object = object_of(&request.key);
        let source =
            PeerSource { network, links, clock, relay: from, asking: Asking::Owner, object, said: Arc::default() };
        let resume = (offset > 0).then_some(Resume { generation, offset });
        let request = FillRequest { resume, ..request.clone() };
        let tell = move |error: &SourceError| {
            // A full queue has others of this kind in front.
            let _ = failed.try_send(PushFailed { from, error: error.clone() });
        };
        let opened = match reply.next().await {
            Ok(first) => source.opened(&request, first, reply),
            Err(error) => Err(error),
        };
        match opened {
            Ok(Opened::Response(mut incoming)) if incoming.head.generation == generation => {
                let events = incoming.events.inspect(move |event| {
                    if let Err(error) = event {
                        tell(error);
                    }
                });
                incoming.events = events.boxed();
                Ok(Opened::Response(incoming))
            }
            Ok(_) => Err(SourceError::BadResponse("another body than announced".into())),
            Err(error) => {
                source.mark(&error);
                tell(&error);
                Err(error)
            }
        }
    }
}

impl Source for PushSource {
    fn open<'a>(&'a self, request: &'a FillRequest) -> BoxFuture<'a, Result<Opened, SourceError>> {
        self.ask(request).boxed()
    }

    fn is_root(&self) -> bool {
        // A parent waits for its own parent.
        false
    }
}

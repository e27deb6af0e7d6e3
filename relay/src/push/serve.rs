//! A child's subscription: it is told at once where this node hangs, sent what it lacks, and from then on each object
//! as it becomes known here, each on a stream of its own. Invariant: at most so many objects are under way to a child;
//! one that does not keep up is let go.

use super::{
    feed::{Feed, Object},
    node::Push,
    observer::PushEvent,
};
use crate::{
    fetch::{How, Served},
    mesh::tree::Position,
    peer::{Answering, BROKEN_OFF, CONTROL_PRIORITY, FrameError, PeerLimits, refuse, write_reply},
};
use quinn::{RecvStream, SendStream};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use weir_protocol::{
    ids::RelayId,
    wire::{
        Accepted, Class, MAX_CANDIDATES, PushClass, PushRequest, RefusalReason, ReplyFrame, Request, SubscribeRequest,
    },
};

/// How often a child hears that this node lives.
const TICK_EVERY: Duration = Duration::from_millis(250);
/// Objects under way to one child.
const MAX_UNDER_WAY: usize = 24;
/// A stream to a child must be there this soon.
const OPEN: Duration = Duration::from_secs(2);
/// A child says every second that it lives; after so long without a word its seat is another's.
const SILENT: Duration = Duration::from_secs(3);
/// Bytes of a child's words that are read at once; what they say does not matter.
const WORDS: usize = 1024;
/// A child that takes nothing of its subscription for so long is gone.
const STUCK: Duration = Duration::from_secs(3);

/// One child of one feed.
pub(super) struct Child {
    pub(super) push: Push,
    pub(super) feed: Arc<Feed>,
    pub(super) peer: RelayId,
    pub(super) subscribe: SubscribeRequest,
}

impl Child {
    /// Serves the subscription until either side ends it.
    pub(super) async fn run(self, mut send: SendStream, receive: RecvStream) {
        // Fails only on a stream that is gone, which the first write tells.
        let _ = send.set_priority(CONTROL_PRIORITY);
        let served = self.serve(&mut send, receive).await;
        if let Err(error) = served {
            tracing::debug!(peer = %self.peer.short(), %error, "a child's subscription ended");
        }
        let _ = send.finish();
    }

    async fn serve(&self, send: &mut SendStream, mut receive: RecvStream) -> Result<(), FrameError> {
        let seat = match self.feed.seat(self.peer, self.push.seats(&self.feed)) {
            Ok(seat) => seat,
            Err(children) => {
                self.push.observer().happened(PushEvent::ChildRedirected);
                let others = children.into_iter().filter(|child| *child != self.peer).take(MAX_CANDIDATES).collect();
                return self.write(send, &ReplyFrame::Redirect(others)).await;
            }
        };
        let SubscribeRequest { id: _, epoch, next, running } = self.subscribe.clone();
        let mut position = Position { epoch, next, running };
        let mut news = self.feed.news();
        let mut way = None;
        let mut mark = 0;
        let mut under_way = JoinSet::new();
        let mut ticks = interval(TICK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = false;
        let mut heard = Instant::now();
        loop {
            let now = self.feed.way();
            if !ending && way.as_ref() != Some(&now) {
                let counts_anew = way.as_ref().is_none_or(|way| way.epoch != now.epoch);
                if now.epoch == 0 && position.epoch != 0 {
                    // It has lost its parent, and this node has none either: others will do better.
                    return self.refuse(send, RefusalReason::UpstreamFailed, "not fed here").await;
                }
                let first = self.feed.first_for(&position);
                let accepted = Accepted { epoch: now.epoch, ancestors: now.ancestors.clone(), first };
                self.write(send, &ReplyFrame::Accepted(accepted)).await?;
                way = Some(now);
                if counts_anew {
                    let (missing, next) = self.feed.missing(&position);
                    mark = next;
                    for (number, offset, object) in missing {
                        self.start(&mut under_way, number, offset, object);
                    }
                    // Whoever counts anew after this has nothing of it.
                    position.epoch = 0;
                }
            }
            if !ending {
                let (since, next) = self.feed.since(mark);
                mark = next;
                for (number, object) in since {
                    self.start(&mut under_way, number, 0, object);
                }
            }
            if self.feed.is_closed() {
                return self.refuse(send, RefusalReason::GoingAway, "not followed here any more").await;
            }
            if under_way.len() > MAX_UNDER_WAY {
                self.push.observer().happened(PushEvent::ChildTooSlow);
                return self.refuse(send, RefusalReason::Overloaded, "too slow for what is pushed").await;
            }
            tokio::select! {
                said = receive.read_chunk(WORDS, true), if !ending => match said {
                    Ok(None) => ending = true,
                    Ok(Some(_)) => heard = Instant::now(),
                    Err(_) => break,
                },
                // The sender lives in the feed, which is held here.
                _ = news.changed(), if !ending => {}
                _ = ticks.tick() => {
                    if !ending && heard.elapsed() > SILENT {
                        return self.refuse(send, RefusalReason::GoingAway, "nothing heard for too long").await;
                    }
                    self.write(send, &ReplyFrame::Tick(self.feed.tick())).await?;
                }
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            }
            if ending && under_way.is_empty() {
                break;
            }
        }
        drop(seat);
        Ok(())
    }

    async fn write(&self, send: &mut SendStream, frame: &ReplyFrame) -> Result<(), FrameError> {
        timeout(STUCK, write_reply(send, frame)).await.map_err(|_| FrameError::Stuck)?
    }

    async fn refuse(&self, send: &mut SendStream, reason: RefusalReason, why: &str) -> Result<(), FrameError> {
        timeout(STUCK, refuse(send, reason, why.to_owned())).await.map_err(|_| FrameError::Stuck)?
    }

    fn start(&self, under_way: &mut JoinSet<()>, number: u64, offset: u64, object: Object) {
        let Some(epoch) = self.epoch() else { return };
        let pushing = Pushing {
            push: self.push.clone(),
            peer: self.peer,
            about: PushRequest { id: self.subscribe.id, epoch, number, class: object.class, begun_ms: object.begun_ms },
            object,
            offset,
        };
        under_way.spawn(async move {
            let (peer, number) = (pushing.peer, pushing.about.number);
            if let Err(error) = pushing.run().await {
                tracing::debug!(peer = %peer.short(), number, %error, "a push ended early");
            }
        });
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.feed.next().0).filter(|epoch| *epoch != 0)
    }
}

/// One object on its way to one child.
struct Pushing {
    push: Push,
    peer: RelayId,
    about: PushRequest,
    object: Object,
    offset: u64,
}

/// More urgent objects go first on the child's connection, and under the node's upload limit.
fn urgency(class: PushClass) -> Class {
    match class {
        PushClass::Playlist | PushClass::Part => Class::LivePart,
        PushClass::Segment => Class::LiveSegment,
    }
}

impl Pushing {
    async fn run(self) -> Result<(), FrameError> {
        let Object { key, generation, class, playlist, .. } = &self.object;
        let served = match playlist {
            // Taken down since it became known.
            _ if self.push.fetch().withheld(key).is_some() => None,
            Some(entry) => Some(Served { entry: entry.clone(), how: How::Hit }),
            None => self.push.fetch().body(key, *generation, 0).await,
        };
        // The child's own connection, whoever opened it; it is never dialled for this.
        let Ok(connection) = self.push.links().get(self.peer, &[]).await else { return Ok(()) };
        let Ok(Ok((mut send, _receive))) = timeout(OPEN, connection.open_bi()).await else { return Ok(()) };
        // The request goes ahead; what follows has the priority of its class.
        let _ = send.set_priority(CONTROL_PRIORITY);
        let offset = served.as_ref().map_or(0, |served| aligned(served, self.offset));
        let mut request = Request::push(key, *generation, offset, self.about);
        request.class = Some(urgency(*class));
        send.write_chunk(request.encode()?).await?;
        let answering = Answering {
            fetch: self.push.fetch(),
            observer: self.push.peers(),
            limits: PeerLimits::default(),
            upload: &self.push.config().upload,
            meter: self.push.meter(),
            peer: self.peer,
        };
        if let (Some(directory), Some(served)) = (self.push.directory(), &served) {
            directory.pushes(&self.peer, &served.entry);
        }
        let sent = match &served {
            Some(served) => answering.send(&mut send, &request, served).await,
            // The child asks others.
            None => refuse(&mut send, RefusalReason::GenerationGone, "not held any more".into()).await,
        };
        // As with any reply: one that broke off is reset, so that nothing waits for somebody who does not read.
        let _ = match &sent {
            Ok(()) => send.finish(),
            Err(_) => send.reset(BROKEN_OFF),
        };
        sent
    }
}

/// Where to start so that the child can verify: chunks are signed as wholes.
fn aligned(served: &Served, offset: u64) -> u64 {
    if served.entry.record().is_some() {
        return offset;
    }
    served.entry.body.piece(offset).map_or(offset, |piece| piece.offset)
}

//! One rendition that this relay follows: it has a place in the tree, a parent, and what the parent pushes. Invariants:
//! the rendition is left when nobody has watched it for a few target durations and no child is fed; a parent is blamed
//! for what does not arrive only when somebody else has it.

use super::{
    arrival::{Arrival, Means, PushFailed},
    config::MAX_NEW_SEGMENTS,
    feed::Feed,
    intake::{Done, Intake},
    node::Push,
    observer::PushEvent,
    parent::{News, Parents, Said},
    place::{Keeper, report},
};
use crate::{
    live::{hold, listed, media_of},
    mesh::tree::{Branch, Heard, Moved, Parent, Step, Why},
    peer::Network,
    source::SourceError,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use weir_hls::{Media, Segment};
use weir_protocol::{
    ids::{Generation, RelayId, ResourceHash},
    resource::ResourceKey,
    wire::{Accepted, PushClass, Report, Tick},
};

/// How often time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What waits in each queue of a subscription.
const QUEUE: usize = 64;
/// Shortest time after which a rendition that nobody watches is left; otherwise three target durations.
const LEAST_IDLE: Duration = Duration::from_secs(6);
/// An object that the parent knows, or that the playlist lists, must begin to arrive in this time, or in a target
/// duration if that is longer.
const LATE: Duration = Duration::from_millis(1_500);
/// How long whoever asks for a newly listed segment waits for its push to begin: the adapter fetches it while the playlist
/// travels. Short beside the 2.5 s after which a player is told that there is nothing.
const PUSH_BEGINS: Duration = Duration::from_millis(500);
/// What somebody else has may still be on its way here for so long.
const GRACE: Duration = Duration::from_secs(1);
/// What is pushed may stand still for a target duration, within these bounds.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
const MOST_PATIENCE: Duration = Duration::from_secs(10);
/// A tick's word that the playlist is current holds for so long: a few ticks may be late.
const CURRENT_MS: u64 = 1_000;
/// A rendition that has ended is left after so long, when children have its last objects.
const ENDED: Duration = Duration::from_secs(5);
/// Checks that may run at once.
const MAX_CHECKS: usize = 4;
/// Objects that may wait for their parent's word on how it counts: more than a parent has under way to one child.
const MAX_EARLY: usize = 32;

/// Who wants a rendition.
pub(super) struct Wanted {
    /// When it was last asked for.
    pub(super) watched: watch::Receiver<Instant>,
    /// Its target duration.
    pub(super) target: Duration,
}

/// One rendition that is followed.
pub(super) struct Subscription {
    push: Push,
    network: Arc<Network>,
    feed: Arc<Feed>,
    wanted: Wanted,
}

impl Subscription {
    pub(super) fn new(push: Push, network: Arc<Network>, feed: Arc<Feed>, wanted: Wanted) -> Self {
        Self { push, network, feed, wanted }
    }

    /// Follows until nobody wants it any more, or `cancel`.
    pub(super) async fn run(self, cancel: CancellationToken) {
        let Self { push, network, feed, wanted } = self;
        let playlist = feed.playlist.clone();
        let (news_in, mut news) = mpsc::channel(QUEUE);
        let (arrivals_in, mut arrivals) = mpsc::channel::<Arrival>(QUEUE);
        let (failed_in, mut failed) = mpsc::channel(QUEUE);
        let (placed_in, mut placed) = mpsc::channel(1);
        let (reports, reports_out) = mpsc::channel(QUEUE);
        let patience = wanted.target.clamp(LEAST_PATIENCE, MOST_PATIENCE);
        let keeper = Keeper {
            push: push.clone(),
            network: network.clone(),
            feed: feed.clone(),
            placed: placed_in,
            reports: reports_out,
        };
        let mut keeping = JoinSet::new();
        keeping.spawn(keeper.run());
        let means = Means {
            network: network.clone(),
            links: push.links().clone(),
            clock: push.clock().clone(),
            failed: failed_in,
        };
        let retention = wanted.target * 10;
        let mut following = Following {
            me: network.me(),
            branch: Branch::new(network.me()),
            intake: Intake::new(push.clone(), feed.clone(), means, retention),
            parents: Parents::new(push.clone(), network, playlist, patience, news_in, arrivals_in),
            checks: JoinSet::new(),
            started: Instant::now(),
            behind_since: None,
            expected: None,
            advanced: Instant::now(),
            newest: Generation(0),
            ended: None,
            suspect: None,
            listed: None,
            early: Vec::new(),
            moved: None,
            late: LATE.max(wanted.target),
            push,
            feed,
            wanted,
            reports,
        };
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(place) = placed.recv() => {
                    let step = following.branch.placed(place, following.now_ms());
                    following.act(step);
                }
                Some(one) = news.recv() => following.hear(one),
                Some(arrival) = arrivals.recv() => following.arrive(arrival),
                Some(one) = failed.recv() => following.failed(&one),
                done = following.intake.done(), if following.intake.is_busy() => following.done(done).await,
                Some(found) = following.checks.join_next(), if !following.checks.is_empty() => {
                    if let Ok(Some(found)) = found {
                        following.checked(found);
                    }
                }
                _ = looks.tick() => {
                    if following.is_idle() { break }
                    following.look();
                }
            }
        }
        following.close().await;
        keeping.shutdown().await;
    }
}

/// What a check found elsewhere.
struct Found {
    key: ResourceHash,
    generation: Generation,
}

struct Following {
    me: RelayId,
    push: Push,
    feed: Arc<Feed>,
    wanted: Wanted,
    branch: Branch<RelayId>,
    intake: Intake,
    parents: Parents,
    reports: mpsc::Sender<Report>,
    checks: JoinSet<Option<Found>>,
    started: Instant,
    /// Since when the parent has known an object that has not begun to arrive.
    behind_since: Option<(u64, Instant)>,
    /// The newest segment that the playlist lists, and until when it must begin to arrive.
    expected: Option<(ResourceKey, Instant)>,
    /// When the playlist last advanced, or somebody was last asked whether it has.
    advanced: Instant,
    newest: Generation,
    /// When the playlist's last word came.
    ended: Option<Instant>,
    /// What others have and this parent has not passed on, and since when that is known.
    suspect: Option<(Found, Instant)>,
    /// Media sequence number of the newest segment that the last pushed playlist lists: later ones are pushed here.
    listed: Option<u64>,
    /// What overtook its parent's word on how it counts: each object has a stream of its own.
    early: Vec<Arrival>,
    /// A parent was left; the adapter must hear where this relay went.
    moved: Option<Moved<RelayId>>,
    late: Duration,
}

impl Following {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn act(&mut self, step: Step<RelayId>) {
        if let Step::Subscribe(parent) = step {
            tracing::debug!(?parent, "subscribing");
            // While a parent feeds this relay, that one finishes what is under way.
            let position = self.intake.position(self.branch.parent().is_none());
            self.parents.subscribe(parent, &position);
        }
    }

    fn lose(&mut self, parent: Parent<RelayId>, why: Why) {
        let fed = self.branch.parent() == Some(parent);
        if fed {
            let event = match why {
                Why::Gone => PushEvent::LostGone,
                Why::Silent => PushEvent::LostSilent,
                Why::Late => PushEvent::LostLate,
                Why::Corrupt => PushEvent::LostCorrupt,
            };
            self.push.observer().happened(event);
            tracing::debug!(?parent, ?why, "a parent was lost");
        }
        self.parents.drop_parent(parent);
        self.early.retain(|early| self.parents.has(early.push.id));
        let step = self.branch.lost(parent, why, self.now_ms());
        if fed {
            // At once, although nobody else feeds this relay yet: the adapter may have to place others anew.
            self.report();
        }
        (self.behind_since, self.expected, self.suspect) = (None, None, None);
        self.act(step);
    }

    fn report(&mut self) {
        let parent = self.branch.parent();
        self.moved = self.branch.take_moved().or(self.moved);
        let moved = self.moved.take_if(|_| parent.is_some()).or(self.moved);
        // A full queue is the keeper's, which cannot reach the adapter; the next report says where this relay is.
        let _ = self.reports.try_send(report(parent, moved));
    }

    fn hear(&mut self, news: News) {
        let News { link, said } = news;
        let now_ms = self.now_ms();
        match said {
            Said::Accepted(accepted) => self.accepted(link, accepted),
            Said::Tick(tick) => {
                if let Some(parent) = self.parents.feeds(link) {
                    self.branch.heard(parent, Heard { root_age_ms: tick.root_age_ms }, now_ms);
                    self.ticked(&tick);
                }
            }
            Said::Redirect(relays) => {
                if let Some(parent) = self.parents.tried(link) {
                    self.parents.drop_link(link);
                    let step = self.branch.refused(parent, &relays, now_ms);
                    self.act(step);
                }
            }
            Said::Ended(why) => match self.parents.feeds(link).or_else(|| self.parents.tried(link)) {
                Some(parent) => self.lose(parent, why),
                None => self.parents.drop_link(link),
            },
        }
    }

    fn accepted(&mut self, link: u64, accepted: Accepted) {
        let tried = self.parents.tried(link);
        let Some(parent) = tried.or_else(|| self.parents.feeds(link)) else { return };
        if accepted.ancestors.contains(&self.me) {
            return self.lose(parent, Why::Gone);
        }
        if accepted.epoch != 0 && accepted.epoch != self.feed.next().0 {
            self.intake.begin();
            self.feed.begin(accepted.epoch, accepted.first);
            // It is sent the newest playlist and what comes after it: of what that lists anew, not all may come.
            self.listed = None;
        }
        if accepted.epoch != 0 && accepted.first > self.feed.next().1 {
            // It came later than this relay and lacks what is missing here, or it has turned to somebody who does.
            if tried.is_none() {
                return self.lose(parent, Why::Gone);
            }
            if self.branch.is_choosy() {
                self.parents.drop_link(link);
                let step = self.branch.refused(parent, &[], self.now_ms());
                return self.act(step);
            }
            self.feed.advance_to(accepted.first);
            self.listed = None;
        }
        let relay = parent.node();
        self.feed.set_ancestors(relay.into_iter().chain(accepted.ancestors).collect());
        if tried.is_some() {
            self.branch.accepted(parent, self.now_ms());
            self.parents.accepted();
            self.push.observer().happened(PushEvent::Subscribed);
            self.advanced = Instant::now();
            // What is held already need not be pushed; what is newer must be.
            let held = self.push.fetch().store().get(&self.feed.playlist.hash());
            self.newest = held.map_or(self.newest, |held| held.head.generation.max(self.newest));
            (self.behind_since, self.expected, self.suspect) = (None, None, None);
            self.report();
        }
        // A parent that is not fed itself does not count yet.
        for arrival in self.early.extract_if(.., |arrival| arrival.push.id == link && accepted.epoch != 0) {
            self.intake.arrive(arrival);
        }
    }

    fn ticked(&mut self, tick: &Tick) {
        self.feed.heard(tick);
        let (_, next) = self.feed.next();
        if tick.next > next {
            // The time runs for one object; when that has come, it runs anew for the next.
            if self.behind_since.is_none_or(|(number, _)| number != next) {
                self.behind_since = Some((next, Instant::now()));
            }
            return;
        }
        self.behind_since = None;
        let target_ms = u64::try_from(self.wanted.target.as_millis()).unwrap_or(u64::MAX);
        if tick.looked_ms <= target_ms {
            let until = self.push.clock().now().plus_ms(CURRENT_MS);
            self.push.fetch().set_current(self.feed.playlist.hash(), Some(until));
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        if self.expected.as_ref().is_some_and(|(key, _)| *key == arrival.key) {
            self.expected = None;
        }
        if arrival.push.epoch == self.feed.next().0 {
            return self.intake.arrive(arrival);
        }
        self.early.retain(|early| self.parents.has(early.push.id));
        if self.early.len() < MAX_EARLY && self.parents.has(arrival.push.id) {
            self.early.push(arrival);
        }
    }

    fn failed(&mut self, failed: &PushFailed) {
        let Some(parent) = self.parents.current(failed.from) else { return };
        match failed.error {
            SourceError::Corrupt(_) => self.lose(parent, Why::Corrupt),
            SourceError::Timeout(_) => self.lose(parent, Why::Late),
            // The end of the subscription tells more than the end of one stream.
            _ => {}
        }
    }

    async fn done(&mut self, done: Done) {
        let Some(entry) = done.entry.filter(|_| done.class == PushClass::Playlist) else { return };
        if entry.head.generation < self.newest {
            return;
        }
        let (newer, follows) = (entry.head.generation > self.newest, self.newest != Generation(0));
        if newer {
            self.newest = entry.head.generation;
            self.advanced = Instant::now();
        }
        let Some(media) = media_of(&entry).await else { return };
        if newer {
            self.expect(&media, follows);
        }
        self.listed = media.segments.last().map(|segment| segment.media_sequence);
    }

    /// What is newly listed should be on its way by now.
    fn expect(&mut self, media: &Media, follows: bool) {
        self.ended = (!media.is_live()).then(Instant::now);
        self.wanted.target = media.target_duration;
        self.late = LATE.max(media.target_duration);
        let newest = media.segments.last().and_then(|segment| self.lacked(segment));
        self.expected = newest.map(|key| (key, Instant::now() + self.late));
        // What a first playlist lists may have been pushed before this relay was fed.
        if follows {
            // One look at the origin can find several that are new.
            let new = |segment: &&Segment| self.listed.is_some_and(|listed| segment.media_sequence > listed);
            let before = media.segments.iter().rev().skip(1).take_while(new).take(MAX_NEW_SEGMENTS);
            for key in media.segments.last().into_iter().chain(before).filter_map(|segment| self.lacked(segment)) {
                self.push.fetch().await_push(key.hash(), PUSH_BEGINS);
            }
            self.expect_parts(media);
        }
    }

    /// The key of a listed segment that is fetched as a whole and has not come yet.
    fn lacked(&self, segment: &Segment) -> Option<ResourceKey> {
        if segment.byte_range.is_some() || segment.gap { None } else { self.lacked_at(&segment.uri) }
    }

    /// The key of something listed that has not come yet.
    fn lacked_at(&self, uri: &str) -> Option<ResourceKey> {
        let key = listed(&self.feed.playlist, uri)?;
        let hash = key.hash();
        let come = self.intake.has_seen(&hash) || self.push.fetch().store().get(&hash).is_some();
        (!come).then_some(key)
    }

    /// The newest parts should be on their way too, and the next one comes as soon as it is made.
    fn expect_parts(&self, media: &Media) {
        let newest = match media.trailing_parts.last() {
            Some(part) => Some(part),
            None => media.segments.last().and_then(|segment| segment.parts.last()),
        };
        let newest = newest.filter(|part| part.byte_range.is_none() && !part.gap).map(|part| (&part.uri, PUSH_BEGINS));
        let hints = media.preload_hints.iter().filter(|hint| hint.start == 0 && hint.length.is_none());
        let hints = hints.map(|hint| (&hint.uri, hold(media.target_duration)));
        for (uri, within) in newest.into_iter().chain(hints) {
            if let Some(key) = self.lacked_at(uri) {
                self.push.fetch().await_push(key.hash(), within);
            }
        }
    }

    fn is_idle(&self) -> bool {
        if self.ended.is_some_and(|ended| ended.elapsed() > ENDED) {
            return true;
        }
        let idle = LEAST_IDLE.max(self.wanted.target * 3);
        self.wanted.watched.borrow().elapsed() > idle && self.feed.children() == 0
    }

    fn look(&mut self) {
        let fed = self.branch.parent().is_some();
        if let Some(rendition) = self.push.fetch().rendition(&self.feed.playlist.hash()) {
            rendition.set_fed(fed);
        }
        let now_ms = self.now_ms();
        let (fed, tried) = (self.branch.parent(), self.branch.trying());
        let step = self.branch.poll(now_ms);
        if self.branch.parent() != fed
            && let Some(parent) = fed
        {
            self.push.observer().happened(PushEvent::LostSilent);
            self.parents.drop_parent(parent);
            self.report();
        }
        if self.branch.trying() != tried
            && let Some(parent) = tried
        {
            self.parents.drop_parent(parent);
        }
        self.act(step);
        let Some(parent) = self.branch.parent() else { return };
        if self.behind_since.is_some_and(|(_, since)| since.elapsed() > self.late) {
            return self.lose(parent, Why::Late);
        }
        if let Some((found, since)) = &self.suspect {
            if !self.lacks(found) {
                self.suspect = None;
            } else if since.elapsed() > GRACE {
                return self.lose(parent, Why::Late);
            }
        }
        if let Some((key, _)) = self.expected.take_if(|(_, until)| *until <= Instant::now()) {
            self.check(key, false);
        }
        // A playlist that should have advanced: whoever asks elsewhere knows whether this parent holds it back.
        if self.ended.is_none() && self.advanced.elapsed() > self.wanted.target.mul_f32(1.5).max(LATE) {
            self.advanced = Instant::now();
            self.check(self.feed.playlist.clone(), true);
        }
    }

    /// Asks elsewhere for what did not arrive.
    fn check(&mut self, key: ResourceKey, refresh: bool) {
        if self.checks.len() < MAX_CHECKS {
            let push = self.push.clone();
            self.checks.spawn(async move {
                let served = push.fetch().receive(&key, refresh, Vec::new()).await.ok()?;
                Some(Found { key: served.entry.hash, generation: served.entry.head.generation })
            });
        }
    }

    /// What was found elsewhere may be on its way here too: a parent is blamed when it does not come.
    fn checked(&mut self, found: Found) {
        if self.lacks(&found) && self.suspect.is_none() {
            self.suspect = Some((found, Instant::now()));
        }
    }

    fn lacks(&self, found: &Found) -> bool {
        if found.key == self.feed.playlist.hash() {
            found.generation > self.newest
        } else {
            !self.intake.has_seen(&found.key)
        }
    }

    async fn close(self) {
        self.push.fetch().set_current(self.feed.playlist.hash(), None);
        if let Some(rendition) = self.push.fetch().rendition(&self.feed.playlist.hash()) {
            rendition.set_fed(false);
        }
        self.push.unfollow(&self.feed);
        self.parents.close().await;
        self.intake.close().await;
    }
}

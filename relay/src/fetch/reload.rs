//! Requests that wait until a live playlist lists what they ask for (draft-pantos-hls-rfc8216bis section 6.2.5.2).
//! Invariants: one request for the next version is under way to a source, however many wait here, and none where
//! versions are pushed; nobody waits longer than three target durations.

use super::{Ask, Fetch, FetchError, How, fill::Wanted, lookup::wait};
use crate::{
    live::{Growth, Listing, Rendition, Version, hold},
    object::{Ended, Entry},
    source::{Asked, Hold},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use weir_hls::{Directives, Reload, reload};
use weir_protocol::{
    ids::ResourceHash,
    resource::ResourceKey,
    wire::{Awaits, Class},
};

/// How often somebody who waits looks whether the next version is still being brought.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Shortest and longest pause after a source that brought nothing new: it may not block, or fail.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// A source gets this much longer than who waits here, so that it is the one to say that nothing has come.
const SLACK: Duration = Duration::from_secs(1);
/// A version answers requests for what it lists for so many target durations (appendix B.1).
const GOOD_FOR: u32 = 6;

/// What became of a request with directives.
pub enum Reloaded {
    /// This version lists what was asked for, or need not.
    Version(Arc<Version>, How),
    /// It asks for what lies too far ahead: 400.
    TooFar,
    /// Nothing came in time: 503, to be tried again after so long.
    Nothing(Duration),
}

impl Fetch {
    /// The newest version of a live playlist that offers low latency, as good as an answer to a blocking request must
    /// be; `None` for everything else.
    ///
    /// # Errors
    /// [`FetchError`] as of any playlist.
    pub async fn version(&self, ask: &Ask) -> Result<Option<Arc<Version>>, FetchError> {
        if let Some(why) = self.withheld(&ask.key) {
            return Err(why.into());
        }
        if ask.asked.is_personal() {
            return Ok(None);
        }
        let hash = ask.key.hash();
        if let Some(version) = self.held_version(&hash) {
            return Ok(Some(version));
        }
        let served = self.get_for(ask).await?;
        if !served.entry.is_shareable() || !whole(&served.entry).await {
            return Ok(None);
        }
        self.0.core.live.note(&self.0.core.store, &served.entry);
        Ok(self.rendition(&hash).and_then(|rendition| rendition.newest()))
    }

    fn held_version(&self, hash: &ResourceHash) -> Option<Arc<Version>> {
        let now = self.clock().now();
        let version = self.rendition(hash)?.newest()?;
        // What was purged is not in the store any more.
        self.store().get(hash)?;
        let target_ms = u64::try_from(version.media.target_duration.as_millis()).unwrap_or(u64::MAX);
        let good = version.entry.age_ms(now) < target_ms.saturating_mul(GOOD_FOR.into());
        (good && !version.entry.is_expired()).then_some(version)
    }

    /// The live playlist of this name, once a version of it is known to offer low latency.
    pub fn rendition(&self, playlist: &ResourceHash) -> Option<Arc<Rendition>> {
        self.0.core.live.get(playlist)
    }

    /// What live playlists say of this resource.
    pub fn listing(&self, media: &ResourceKey) -> Option<Listing> {
        self.0.core.live.listing(&media.hash())
    }

    /// How far the parts of this resource are listed, when a live playlist lists ranges of it as parts.
    pub fn growth(&self, media: &ResourceKey) -> Option<Arc<Growth>> {
        self.0.core.live.growth(&media.hash())
    }

    /// Follows `directives` from `version` on, which is what [`Fetch::version`] found for `ask`.
    pub async fn reload(&self, ask: &Ask, mut version: Arc<Version>, directives: &Directives) -> Reloaded {
        let hash = ask.key.hash();
        let Some(rendition) = self.rendition(&hash) else { return Reloaded::Version(version, How::Hit) };
        let begun = Instant::now();
        let deadline = begun + hold(version.media.target_duration);
        let mut how = How::Hit;
        let mut asked_anew = false;
        let mut versions = rendition.listen();
        loop {
            if let Some(newest) = versions.borrow_and_update().clone() {
                version = newest;
            }
            match reload(&version.media, directives) {
                Reload::Now => {
                    self.0.core.plan.requested(&ask.key, how == How::Hit);
                    self.0.core.observer.served(&version.entry, how);
                    return Reloaded::Version(version, how);
                }
                Reload::TooFar if asked_anew || self.is_new(&version, &hash) => return Reloaded::TooFar,
                Reload::TooFar => {
                    // The asker may know more than this node.
                    asked_anew = true;
                    let _ = timeout_at(deadline, self.fetch(ask, Wanted::Refresh)).await;
                }
                Reload::Later => {
                    how = How::Collapsed;
                    self.bring(&ask.key, &rendition);
                    let look = deadline.min(Instant::now() + LOOK_EVERY);
                    // The sender lives in the rendition, which is held here.
                    if timeout_at(look, versions.changed()).await.is_err() && Instant::now() >= deadline {
                        // Who waits is a viewer, whatever comes of it.
                        self.0.core.observer.served(&version.entry, how);
                        return Reloaded::Nothing(version.media.target_duration);
                    }
                }
            }
        }
    }

    /// True when there can hardly be a newer one.
    fn is_new(&self, version: &Version, hash: &ResourceHash) -> bool {
        let now = self.clock().now();
        let new = version.media.part_target.unwrap_or(version.media.target_duration / 2);
        let pushed = self.rendition(hash).is_some_and(|rendition| rendition.is_fed());
        pushed || u128::from(version.entry.age_ms(now)) < new.as_millis()
    }

    /// Sees to it that somebody asks for the version after the newest, as long as anybody waits for it.
    pub fn bring(&self, playlist: &ResourceKey, rendition: &Arc<Rendition>) {
        if rendition.is_fed() {
            return;
        }
        let Some(mut pulling) = rendition.pull() else { return };
        let (fetch, playlist, rendition) = (self.clone(), playlist.clone(), rendition.clone());
        self.0.tasks.spawn(async move {
            loop {
                pull(&fetch, &playlist, &rendition).await;
                drop(pulling);
                // Whoever came while this was ending has found the place taken.
                let wanted = rendition.is_awaited() && !rendition.is_fed();
                let live = rendition.newest().is_some_and(|newest| newest.media.is_live());
                match rendition.pull().filter(|_| wanted && live) {
                    Some(again) => pulling = again,
                    None => break,
                }
            }
        });
    }
}

async fn pull(fetch: &Fetch, playlist: &ResourceKey, rendition: &Arc<Rendition>) {
    let mut pause = LEAST_PAUSE;
    while rendition.is_awaited() && !rendition.is_fed() {
        let Some(version) = rendition.newest() else { return };
        if !version.media.is_live() {
            return;
        }
        match next(fetch, playlist, &version).await {
            Ok(true) => pause = LEAST_PAUSE,
            Ok(false) => {
                sleep(pause).await;
                pause = (pause * 2).min(MOST_PAUSE);
            }
            Err(error) => {
                tracing::debug!(%error, "the next version of a live playlist did not come");
                sleep(pause).await;
                pause = (pause * 2).min(MOST_PAUSE);
            }
        }
    }
}

/// Asks for the version after this one. False when something came that is not newer.
async fn next(fetch: &Fetch, playlist: &ResourceKey, version: &Version) -> Result<bool, FetchError> {
    let media = &version.media;
    let directives = Directives::next_after(media.position(), media.part_target.is_some());
    let awaits = directives.sequence.filter(|_| media.server_control.can_block_reload);
    let awaits = awaits.map(|sequence| Awaits { sequence, part: directives.part });
    let hold = Hold { awaits, patience: hold(media.target_duration) + SLACK };
    let asked = Arc::new(Asked::default().holding(Some(hold)));
    let ask = Ask { class: Class::LivePart, asked, ..Ask::plain(playlist, crate::mesh::LAST_STAGE) };
    let mut outcome = fetch.alone(playlist, &ask, Wanted::Refresh)?;
    let served = wait(&mut outcome).await?;
    if !whole(&served.entry).await || !served.entry.is_shareable() {
        return Ok(false);
    }
    // Until the fill is over: it is kept and noted then, in this order, so that nobody who has seen it here is answered
    // with an older one.
    while outcome.changed().await.is_ok() {}
    Ok(served.entry.head.generation > version.entry.head.generation)
}

/// True once all of it is here; false when it broke off.
async fn whole(entry: &Entry) -> bool {
    while entry.body.ended().is_none() {
        entry.body.beyond(entry.body.length()).await;
    }
    entry.body.ended() == Some(Ended::Whole)
}

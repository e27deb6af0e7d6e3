//! What is followed, and when it is looked at. Invariant: a playlist that nobody has asked for in three target
//! durations and that no relay wants is asked for no more.

use super::look::{Known, Look, New, look, look_on};
use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use weir_hls::Media;
use weir_protocol::{resource::ResourceKey, wire::PushClass};
use weir_relay::{
    fetch::{Fetch, FetchError, Served},
    object::Entry,
    push::{Lead, Push, Watched},
};

/// Playlists followed at once; more are served on demand only.
const MAX_FOLLOWED: usize = 1024;
/// Looks and fetches that may run at once, each. Of a low-latency playlist one fetch waits for what is announced.
const MAX_WORK: usize = 64;
const MAX_FETCHES: usize = 256 + MAX_FOLLOWED;
/// Shortest and longest pause between two looks at a playlist.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
/// Target durations that an origin may hold a request for what is not made yet.
const HELD: u32 = 3;

/// Follows what is watched.
pub struct Follower {
    watched: Watched,
    pushing: Option<(Push, mpsc::Receiver<ResourceKey>)>,
}

struct Followed {
    watched: Instant,
    look: Instant,
    /// Known after the first look.
    target: Option<Duration>,
    known: Known,
    lead: Option<Lead>,
    /// The origin holds requests for the next version, so there is always one waiting.
    blocking: bool,
}

impl Followed {
    fn is_wanted(&self, now: Instant) -> bool {
        let patience = self.target.unwrap_or(LONGEST) * 3;
        now.duration_since(self.watched) <= patience || self.lead.as_ref().is_some_and(Lead::is_wanted)
    }
}

/// Media whose head is here, and the playlist that lists it.
struct Fetched {
    playlist: ResourceKey,
    new: New,
    result: Result<Served, FetchError>,
}

async fn get(fetch: Fetch, playlist: ResourceKey, new: New) -> Fetched {
    // Whoever asks for it next joins this fill.
    let result = match new.patience {
        Some(patience) => fetch.receive_held(&new.key, patience).await,
        None => fetch.receive(&new.key, false, Vec::new()).await,
    };
    Fetched { playlist, new, result }
}

impl Follower {
    /// Follows what is served.
    pub fn new(watched: Watched) -> Self {
        Self { watched, pushing: None }
    }

    /// Also what relays want, and pushes it.
    pub fn pushing(self, push: Push, wants: mpsc::Receiver<ResourceKey>) -> Self {
        Self { pushing: Some((push, wants)), ..self }
    }

    /// Follows until `cancel`.
    pub async fn run(mut self, fetch: Fetch, cancel: CancellationToken) {
        let mut followed: HashMap<ResourceKey, Followed> = HashMap::new();
        let mut looks: JoinSet<Look> = JoinSet::new();
        let mut waits: JoinSet<Look> = JoinSet::new();
        let mut fetches: JoinSet<Fetched> = JoinSet::new();
        let (push, mut wants) = self.pushing.take().unzip();
        loop {
            let next = followed.values().map(|one| one.look).min();
            let wanted = async {
                match &mut wants {
                    Some(wants) => wants.recv().await,
                    None => None,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(entry) = self.watched.next() => notice(&mut followed, &entry.head.key),
                Some(key) = wanted => notice(&mut followed, &key),
                Some(done) = async {
                    tokio::select! {
                        Some(done) = looks.join_next() => Some(done),
                        Some(done) = waits.join_next() => Some(done),
                        else => None,
                    }
                }, if !looks.is_empty() || !waits.is_empty() => match done {
                    Ok(Look { key, found }) => {
                        for new in looked(&mut followed, push.as_ref(), &key, found) {
                            if fetches.len() < MAX_FETCHES {
                                fetches.spawn(get(fetch.clone(), key.clone(), new));
                            }
                        }
                    }
                    Err(error) => tracing::error!(%error, "a look at a playlist failed"),
                },
                Some(done) = fetches.join_next(), if !fetches.is_empty() => match done {
                    Ok(fetched) => take_in(&mut followed, fetched),
                    Err(error) => tracing::error!(%error, "fetching a segment failed"),
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && looks.len() < MAX_WORK => {
                    let now = Instant::now();
                    followed.retain(|_, one| one.is_wanted(now));
                    for (key, one) in &mut followed {
                        if one.look <= now && one.blocking {
                            let patience = one.target.unwrap_or(LONGEST) * HELD;
                            one.look = now + LONGEST.max(patience) * 2;
                            waits.spawn(look_on(fetch.clone(), key.clone(), one.known.generation(), patience));
                        } else if one.look <= now && looks.len() < MAX_WORK {
                            // Until the look is over; one that hangs is ended by the source's own limits.
                            one.look = now + LONGEST * 3;
                            looks.spawn(look(fetch.clone(), key.clone()));
                        }
                    }
                }
            }
        }
        looks.shutdown().await;
        waits.shutdown().await;
        fetches.shutdown().await;
    }
}

fn notice(followed: &mut HashMap<ResourceKey, Followed>, key: &ResourceKey) {
    let now = Instant::now();
    if let Some(one) = followed.get_mut(key) {
        one.watched = now;
    } else if followed.len() < MAX_FOLLOWED {
        // Look soon: whether it is live, and how long its segments are, is not known yet.
        let look = now + SHORTEST;
        let (known, lead) = (Known::default(), None);
        let fresh = Followed { watched: now, look, target: None, known, lead, blocking: false };
        followed.insert(key.clone(), fresh);
    }
}

/// Media that is to be pushed; what could not be had is tried again when it is listed again.
fn take_in(followed: &mut HashMap<ResourceKey, Followed>, fetched: Fetched) {
    let Fetched { playlist, new, result } = fetched;
    let Some(one) = followed.get_mut(&playlist) else { return };
    match result {
        Ok(served) if served.entry.head.status.is_success() => {
            if let Some(lead) = &one.lead {
                lead.media(&served, new.class);
            }
        }
        Ok(served) => {
            tracing::debug!(status = %served.entry.head.status, "listed media is not there");
            one.known.forget(&new.key);
        }
        Err(error) => {
            tracing::debug!(%error, "listed media was not fetched");
            one.known.forget(&new.key);
        }
    }
}

/// Segments, as something to be fetched.
fn segments(keys: Vec<ResourceKey>) -> Vec<New> {
    keys.into_iter().map(|key| New { key, class: PushClass::Segment, patience: None }).collect()
}

/// Takes in what a look found; returns the media that is new.
fn looked(
    followed: &mut HashMap<ResourceKey, Followed>,
    push: Option<&Push>,
    key: &ResourceKey,
    found: Result<(Arc<Entry>, Option<Arc<Media>>), FetchError>,
) -> Vec<New> {
    let Slot::Occupied(mut slot) = followed.entry(key.clone()) else { return Vec::new() };
    let one = slot.get_mut();
    let pause = |target: Option<Duration>| (target.unwrap_or(LONGEST) / 2).clamp(SHORTEST, LONGEST);
    let (entry, media) = match found {
        Ok((entry, Some(media))) if media.is_live() => (entry, media),
        Ok((entry, Some(media))) if one.known.advance(&entry) && one.lead.is_some() => {
            // It has ended: relays get its last word, and then it is followed no more.
            if let Some(lead) = &one.lead {
                lead.playlist(&entry);
            }
            let mut new = one.known.new_parts_in(key, &media, SHORTEST);
            new.extend(segments(one.known.new_in(key, &media)));
            (one.target, one.blocking) = (None, false);
            one.look = Instant::now() + LONGEST;
            return new;
        }
        Ok(_) => {
            slot.remove();
            return Vec::new();
        }
        Err(error) => {
            tracing::debug!(%error, "a followed playlist was not refreshed");
            one.look = Instant::now() + pause(one.target);
            return Vec::new();
        }
    };
    let target = media.target_duration.max(SHORTEST);
    one.target = Some(target);
    let advanced = one.known.advance(&entry);
    one.blocking = media.server_control.can_block_reload;
    // One that did not advance although its origin was waited for is not asked again at once.
    one.look = if one.blocking && advanced { Instant::now() } else { Instant::now() + pause(Some(target)) };
    if let Some(push) = push {
        one.lead.get_or_insert_with(|| push.lead(key));
    }
    if advanced {
        if let Some(lead) = &one.lead {
            lead.playlist(&entry);
        }
        let mut new = if one.blocking { one.known.new_parts_in(key, &media, target * HELD) } else { Vec::new() };
        new.extend(segments(one.known.new_in(key, &media)));
        return new;
    }
    if let Some(lead) = &one.lead {
        lead.looked();
    }
    Vec::new()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{keys::Signer, signed::Signed};
    use bytes::Bytes;
    use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
    use http::{HeaderMap, StatusCode};
    use std::sync::atomic::{AtomicU64, Ordering};
    use weir_protocol::{ids::PublisherId, keys::SigningKey};
    use weir_relay::{
        clock::Clock,
        fetch::{Candidate, FetchConfig, Observer, Plan},
        push::watching,
        source::{RawRequest, RawResponse, RawSource, Source, SourceError},
        store::{Store, StoreConfig},
    };

    /// A live channel of 4 s segments whose playlist advances with every look.
    #[derive(Default)]
    struct Channel {
        looks: AtomicU64,
        segments: AtomicU64,
    }

    struct Shared(Arc<Channel>);

    impl RawSource for Shared {
        fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
            let body = if request.path_and_query == "/live.m3u8" {
                let look = self.0.looks.fetch_add(1, Ordering::SeqCst);
                Bytes::from(format!(
                    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{look}\n#EXTINF:4,\nseg{look}.ts\n"
                ))
            } else {
                self.0.segments.fetch_add(1, Ordering::SeqCst);
                Bytes::from_static(b"segment")
            };
            let length = Some(body.len() as u64);
            async move {
                let body = stream::iter([Ok(body)]).boxed();
                Ok(RawResponse { status: StatusCode::OK, headers: HeaderMap::new(), length, body })
            }
            .boxed()
        }
    }

    struct One(Arc<dyn Source>);

    impl Plan for One {
        fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
            vec![Candidate { source: self.0.clone(), label: "origin" }]
        }
    }

    struct Silent;
    impl Observer for Silent {}

    #[tokio::test(start_paused = true)]
    async fn a_live_playlist_is_followed_only_while_somebody_watches() {
        let channel = Arc::new(Channel::default());
        let signer = Arc::new(Signer::new(SigningKey::from_bytes(&[7; 32])));
        let source = Signed::new(Shared(channel.clone()), signer, Clock::System, 1 << 20);
        let store = Arc::new(Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap());
        let (watching, watched) = watching(Arc::new(Silent));
        let follower = Follower::new(watched);
        let plan = Arc::new(One(Arc::new(source)));
        let fetch = Fetch::new(store, plan, Arc::new(watching), Clock::System, FetchConfig::default());
        let cancel = CancellationToken::new();
        let running = tokio::spawn(follower.run(fetch.clone(), cancel.clone()));
        let key = ResourceKey::parse(PublisherId::from_bytes([1; 32]), "/live.m3u8").unwrap();

        fetch.get(&key, 0).await.unwrap();
        tokio::time::sleep(Duration::from_secs(8)).await;
        let (looks, segments) = (channel.looks.load(Ordering::SeqCst), channel.segments.load(Ordering::SeqCst));
        assert!((4..=6).contains(&looks), "{looks} looks in 8 s at a target duration of 4 s");
        assert_eq!(segments, looks - 1, "each look of the follower fetches the newest segment");

        tokio::time::sleep(Duration::from_secs(60)).await;
        let after = channel.looks.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(channel.looks.load(Ordering::SeqCst), after, "nobody has watched for a minute");

        fetch.refresh(&key).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(channel.looks.load(Ordering::SeqCst) > after + 1, "watched again, followed again");
        cancel.cancel();
        running.await.unwrap();
    }
}

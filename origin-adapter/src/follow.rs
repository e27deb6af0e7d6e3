//! Follows live playlists while somebody watches, so that relays find them fresh and new segments are already on
//! their way. Invariant: a playlist nobody has asked for in three target durations is asked for no more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use weir_hls::{Bounds, Media, Playlist, Reference, ResourceKind, read, resolve};
use weir_protocol::resource::ResourceKey;
use weir_relay::{
    fetch::{Fetch, How, Observer},
    object::Entry,
    source::SourceError,
};

/// Playlists followed at once; more are served on demand only.
const MAX_FOLLOWED: usize = 1024;
/// Notices that may wait for the follower; more are dropped, the next one does.
const NOTICES: usize = 1024;
/// Refreshes and prefetches that may run at once.
const MAX_WORK: usize = 64;
/// Shortest and longest pause between two looks at a playlist.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// Tells the follower what is asked for. It passes everything on to the observer it wraps.
pub struct Watching {
    inner: Arc<dyn Observer>,
    notices: mpsc::Sender<ResourceKey>,
}

/// Follows what is watched.
pub struct Follower {
    notices: mpsc::Receiver<ResourceKey>,
}

/// An observer for the fetcher, and the follower it feeds.
pub fn follow(inner: Arc<dyn Observer>) -> (Watching, Follower) {
    let (sender, notices) = mpsc::channel(NOTICES);
    (Watching { inner, notices: sender }, Follower { notices })
}

impl Observer for Watching {
    fn served(&self, entry: &Arc<Entry>, how: How) {
        self.inner.served(entry, how);
        let content_type = entry.head.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if ResourceKind::of(entry.head.key.path.as_str(), content_type) == ResourceKind::Playlist {
            // A full queue means that the follower is busy; whoever watches asks again soon.
            let _ = self.notices.try_send(entry.head.key.clone());
        }
    }

    fn asked(&self, label: &'static str, result: Result<(), &SourceError>, took: Duration) {
        self.inner.asked(label, result, took);
    }

    fn filled(&self, label: &'static str, bytes: u64) {
        self.inner.filled(label, bytes);
    }

    fn failed_over(&self, why: &SourceError) {
        self.inner.failed_over(why);
    }
}

struct Followed {
    watched: Instant,
    look: Instant,
    target: Duration,
}

/// What a look at a playlist found: `None` when it is not live.
type Found = (ResourceKey, Option<Duration>);

impl Follower {
    /// Follows until `cancel`.
    pub async fn run(mut self, fetch: Fetch, cancel: CancellationToken) {
        let mut followed: HashMap<ResourceKey, Followed> = HashMap::new();
        let mut work: JoinSet<Found> = JoinSet::new();
        // Refreshing counts as serving, so our own looks come back as notices; they must not keep a playlist alive.
        let own: Arc<Mutex<HashMap<ResourceKey, usize>>> = Arc::default();
        loop {
            let next = followed.values().map(|one| one.look).min();
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(key) = self.notices.recv() => {
                    if !take_own(&own, &key) {
                        notice(&mut followed, key);
                    }
                }
                Some(done) = work.join_next(), if !work.is_empty() => match done {
                    Ok((key, Some(target))) => {
                        if let Some(one) = followed.get_mut(&key) {
                            one.target = target;
                            one.look = Instant::now() + (target / 2).clamp(SHORTEST, LONGEST);
                        }
                    }
                    Ok((key, None)) => {
                        followed.remove(&key);
                    }
                    Err(error) => tracing::error!(%error, "a look at a playlist failed"),
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && work.len() < MAX_WORK => {
                    let now = Instant::now();
                    followed.retain(|_, one| now.duration_since(one.watched) <= one.target * 3);
                    for (key, one) in &mut followed {
                        if one.look <= now && work.len() < MAX_WORK {
                            // Until the look is over; a refresh that hangs is ended by the source's own limits.
                            one.look = now + LONGEST * 3;
                            *own.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default() += 1;
                            work.spawn(look(fetch.clone(), key.clone(), own.clone()));
                        }
                    }
                }
            }
        }
        work.shutdown().await;
    }
}

fn take_own(own: &Mutex<HashMap<ResourceKey, usize>>, key: &ResourceKey) -> bool {
    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(count) = own.get_mut(key) else { return false };
    *count -= 1;
    if *count == 0 {
        own.remove(key);
    }
    true
}

fn notice(followed: &mut HashMap<ResourceKey, Followed>, key: ResourceKey) {
    let now = Instant::now();
    if let Some(one) = followed.get_mut(&key) {
        one.watched = now;
    } else if followed.len() < MAX_FOLLOWED {
        // Look soon: whether it is live, and how long its segments are, is not known yet.
        followed.insert(key, Followed { watched: now, look: now + SHORTEST, target: LONGEST });
    }
}

async fn look(fetch: Fetch, key: ResourceKey, own: Arc<Mutex<HashMap<ResourceKey, usize>>>) -> Found {
    let media = match fetch.refresh(&key).await {
        Ok(served) => media_of(&served.entry).await,
        Err(error) => {
            tracing::debug!(%error, "a followed playlist was not refreshed");
            // No response was served, so no notice of our own will come.
            take_own(&own, &key);
            return (key, Some(LONGEST));
        }
    };
    let Some(media) = media.filter(Media::is_live) else { return (key, None) };
    if let Some(newest) = media.segments.last()
        && let Some(Reference::SameOrigin { path, query }) = resolve(key.path.as_str(), &newest.uri)
    {
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        if let Ok(segment) = ResourceKey::parse(key.publisher, &target) {
            // Whoever asks for it next joins this fill.
            let _ = fetch.get(&segment, 0).await;
        }
    }
    (key, Some(media.target_duration.max(SHORTEST)))
}

async fn media_of(entry: &Entry) -> Option<Media> {
    while entry.body.ended().is_none() {
        entry.body.beyond(entry.body.length()).await;
    }
    match read(&entry.body.joined()?, &Bounds::default()) {
        Ok(Playlist::Media(media)) => Some(media),
        _ => None,
    }
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
        fetch::{Candidate, FetchConfig, Plan},
        source::{RawRequest, RawResponse, RawSource, Source},
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
        let (watching, follower) = follow(Arc::new(Silent));
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
